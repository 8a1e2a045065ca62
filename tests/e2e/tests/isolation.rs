//! A member of one home reads nothing of another, and every RPC is for whom its rule names: all RPCs of the contract, by
//! every kind of person, about random things, in random order.

#![expect(
    clippy::unwrap_used,
    reason = "test code: a failure here is the test's"
)]

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use hearth::MODULES;
use hearth_api::accounts::v1 as accounts;
use hearth_api::accounts::v1::homes_service_client::HomesServiceClient;
use hearth_api::ingest::v1 as ingest;
use hearth_api::ingest::v1::readings_service_client::ReadingsServiceClient;
use hearth_api::types::v1 as types;
use hearth_e2e::bodies::{Things, body};
use hearth_e2e::dynamic::{Answer, call, methods};
use hearth_e2e::household::{Household, Kind, SECRET_AREA, join, method};
use hearth_e2e::random::Random;
use hearth_host::contract;
use hearth_kernel::Role;
use hearth_rpc::rules::{Authorisation, Idempotency, MethodRule};
use hearth_testkit::Sandbox;
use hearth_testkit::person::request_id;
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// How often each method is called by each kind of person, in an order of chance.
const ROUNDS: usize = 3;
/// Calls under way: who is told that there is no such home may wait for it a moment.
const AT_ONCE: usize = 24;

/// One call that is to be made.
struct Try {
    rule: MethodRule,
    kind: Kind,
    /// Whether it is about what the guest may not see.
    hidden: bool,
    /// Whether it names a home of the caller's own, and the things of the other in it.
    own_home: bool,
}

fn rules() -> Vec<MethodRule> {
    let mut rows = contract::rules(&MODULES).unwrap().rows();
    // The health service is gRPC's own, and everybody's.
    rows.retain(|row| row.path.starts_with("/hearth."));
    assert_eq!(rows.len(), methods().len(), "every RPC has a row");
    rows
}

fn name_of(rule: &MethodRule) -> &'static str {
    rule.path.rsplit('/').next().unwrap()
}

/// What the contract names for a caller who shows a wrong secret, or names what is not hers: nothing else counts.
fn named(method: &str) -> &'static [&'static str] {
    match method {
        "VerifyEmail" => &["VERIFICATION_FAILED"],
        // After some wrong passwords, nobody's password is looked at for a while.
        "SignIn" | "CloseAccount" => &["INVALID_CREDENTIALS", "TOO_MANY_REQUESTS"],
        "RefreshSession" => &["SESSION_ENDED"],
        "RevokeSession" | "GetErasure" | "GetKeyReceipt" | "GetByteReceipt" | "ListResiduals" => {
            &["NOT_FOUND"]
        }
        "ReopenAccount" => &["NOT_FOUND", "NOT_SIGNED_IN"],
        "AcceptInvitation" => &["INVITATION_NOT_VALID"],
        "GetPairing" => &["NOT_FOUND"],
        "BeginPairing" | "Ingest" => &["HUB_NOT_PROVED"],
        _ => &[],
    }
}

fn reason(status: &Status) -> String {
    let info = status.get_details_error_info();
    info.map(|info| info.reason).unwrap_or_default()
}

/// The code that a refusal for membership, role or sign-in has.
fn refusal(reason: &str) -> Option<Code> {
    match reason {
        "NOT_FOUND" => Some(Code::NotFound),
        "NOT_ALLOWED" => Some(Code::PermissionDenied),
        "NOT_SIGNED_IN" | "INVALID_CREDENTIALS" | "SESSION_ENDED" | "HUB_NOT_PROVED" => {
            Some(Code::Unauthenticated)
        }
        _ => None,
    }
}

/// Whether a text, or the id that it spells, stands in an answer.
fn shows(answer: &[Bytes], text: &str) -> bool {
    let stands = |wanted: &[u8]| {
        let in_one = |bytes: &Bytes| bytes.windows(wanted.len()).any(|it| it == wanted);
        answer.iter().any(in_one)
    };
    let id = hex::decode(text).ok().filter(|id| id.len() == 16);
    stands(text.as_bytes()) || id.is_some_and(|id| stands(&id))
}

/// What must not stand in any answer to somebody of that kind.
fn secrets(household: &Household, kind: Kind) -> Vec<String> {
    let (seen, hidden) = (&household.seen, &household.hidden);
    let owner = household.person(Kind::Owner).unwrap();
    let mut secrets = match kind.role() {
        None => vec![&seen.home, &seen.area, &seen.device, &seen.hub, &seen.rule],
        _ => vec![],
    };
    if kind.role().is_none_or(|role| role == Role::Guest) {
        secrets.extend([&hidden.area, &hidden.device, &hidden.rule, &hidden.notice]);
    }
    let mut secrets: Vec<String> = secrets.into_iter().cloned().collect();
    if kind.role().is_none_or(|role| role == Role::Guest) {
        secrets.push(SECRET_AREA.to_owned());
    }
    if kind != Kind::Owner {
        let of_her = [&owner.account_id, &owner.session_id, &owner.email];
        secrets.extend(of_her.map(Clone::clone));
    }
    secrets
}

async fn ask(household: &Household, kind: Kind, name: &str, things: &Things) -> Answer {
    let person = household.person(kind);
    let channel = &household.person(Kind::Owner).unwrap().channel;
    let channel = person.map_or(channel, |person| &person.channel);
    let token = person.map(|person| person.tokens.access_token.as_str());
    // "No" is said only by who knows it all; who does not at the moment asks to be asked again.
    let asked = household.sandbox.until(name, async || {
        let answer = call(channel, &method(name), token, vec![body(name, things)]).await;
        let again = answer
            .as_ref()
            .is_err_and(|it| it.code() == Code::Unavailable);
        (!again).then_some(answer)
    });
    asked.await
}

/// What is wrong with an answer, if it is not the one that the contract names for this caller.
fn complaint(household: &Household, tried: &Try, answer: &Answer) -> Option<String> {
    let (path, kind) = (tried.rule.path, tried.kind);
    let own = if tried.own_home {
        " in her own home"
    } else {
        ""
    };
    let what = format!("{path} by {kind:?}{own}");
    if let Ok(answer) = answer {
        let told = secrets(household, kind)
            .into_iter()
            .find(|it| shows(answer, it));
        if let Some(told) = told {
            return Some(format!("{what} is told {told}"));
        }
    }
    let got = answer.as_ref().err().map(reason);
    let code = got.as_deref().and_then(refusal);
    let fits = code.is_none_or(|code| answer.as_ref().is_err_and(|it| it.code() == code));
    let right = fits && expected(tried, got.as_deref());
    (!right).then(|| format!("{what}: {answer:?}"))
}

/// Whether the contract names that reason for this caller; `None` is an answer.
fn expected(tried: &Try, got: Option<&str>) -> bool {
    let (name, kind) = (name_of(&tried.rule), tried.kind);
    if kind == Kind::Nobody && tried.rule.authorisation.needs_sign_in() {
        return got == Some("NOT_SIGNED_IN");
    }
    let Authorisation::HomeMember(least) = tried.rule.authorisation else {
        let named = named(name);
        return got.map_or(named.is_empty(), |got| named.contains(&got));
    };
    if tried.own_home {
        // She may in her own home; what is not of it does not exist in it. Whether anything changed in the other is
        // looked at in the end.
        return !matches!(got, Some("NOT_ALLOWED" | "NOT_SIGNED_IN"));
    }
    match kind.role() {
        None => got == Some("NOT_FOUND"),
        Some(role) if role < least => got == Some("NOT_ALLOWED"),
        // The guest, who may read, about what she may not see.
        Some(Role::Guest) if name == "QueryReadings" && tried.hidden => got == Some("NOT_FOUND"),
        Some(_) => got.is_none(),
    }
}

/// Everything that is to be refused or to say nothing, each method by each kind of person.
fn tries(random: &mut Random) -> Vec<Try> {
    let mut tries = Vec::new();
    for rule in rules() {
        for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Owner) {
            // What would end the session that the other calls need is for nobody but nobody.
            let ends = name_of(&rule) == "SignOut" && kind != Kind::Nobody;
            let at_home = matches!(rule.authorisation, Authorisation::HomeMember(_));
            let is_read = rule.idempotency == Idempotency::Read;
            let refused = match rule.authorisation {
                Authorisation::HomeMember(least) => kind.role().is_none_or(|role| role < least),
                _ => true,
            };
            // What she may and what changes something comes afterwards.
            if ends || (at_home && !refused && !is_read) {
                continue;
            }
            for _ in 0..ROUNDS {
                tries.push(Try {
                    rule,
                    kind,
                    hidden: random.below(2) == 0,
                    own_home: false,
                });
            }
            if at_home && kind == Kind::Stranger {
                let hidden = random.below(2) == 0;
                tries.push(Try {
                    rule,
                    kind,
                    hidden,
                    own_home: true,
                });
            }
        }
    }
    random.shuffle(&mut tries);
    tries
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rpc_is_for_whom_its_rule_names_and_nobody_else() {
    let mut random = Random::seeded("isolation");
    let household = Household::build().await;
    let before = household.state().await;
    let all = futures::stream::iter(tries(&mut random)).map(async |tried| {
        let mut things = if tried.hidden {
            household.hidden.clone()
        } else {
            household.seen.clone()
        };
        if tried.own_home {
            things.home.clone_from(&household.strange.home);
        }
        let answer = ask(&household, tried.kind, name_of(&tried.rule), &things).await;
        complaint(&household, &tried, &answer)
    });
    let found: Vec<Option<String>> = all.buffer_unordered(AT_ONCE).collect().await;
    let mut complaints: Vec<String> = found.into_iter().flatten().collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    // Nothing of what was refused happened.
    for ((name, before), (_, after)) in before.iter().zip(&household.state().await) {
        assert_eq!(before, after, "{name} is not what it was");
    }
    // Who has the role, or a higher one, gets what the same bodies ask for: they were refused for nothing else.
    let mut rules = rules();
    random.shuffle(&mut rules);
    rules.sort_by_key(|rule| name_of(rule) == "TransferHome");
    for rule in rules {
        let Authorisation::HomeMember(least) = rule.authorisation else {
            continue;
        };
        for kind in Kind::ALL {
            if kind.role().is_some_and(|role| role >= least) {
                let things = household.fresh(name_of(&rule), kind).await;
                let answer = ask(&household, kind, name_of(&rule), &things).await;
                let tried = Try {
                    rule,
                    kind,
                    hidden: false,
                    own_home: false,
                };
                complaints.extend(complaint(&household, &tried, &answer));
            }
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_member_is_refused_within_two_seconds_on_open_streams_too() {
    let sandbox = Sandbox::start().await;
    let (anna, bojan) = (sandbox.person("anna").await, sandbox.person("bojan").await);
    let home = anna.home("House").await;
    let grant = (types::Role::Adult, vec![], None);
    let (membership, token) = join(&sandbox, &anna, &bojan, &home, grant).await;
    let mut readings = ReadingsServiceClient::new(bojan.channel.clone());
    // Ingest learns of it by itself; the token is for who does not want to wait and see.
    let latest = ingest::LatestReadingsRequest {
        home_id: home.clone(),
        after: token.into_iter().collect(),
        ..Default::default()
    };
    readings.latest_readings(bojan.with(latest)).await.unwrap();
    let watch = ingest::WatchReadingsRequest {
        home_id: home.clone(),
        ..Default::default()
    };
    let mut request = bojan.with(watch);
    request.set_timeout(Duration::from_secs(120));
    let mut stream = readings.watch_readings(request).await.unwrap().into_inner();
    HomesServiceClient::new(anna.channel.clone())
        .remove_member(anna.with(accounts::RemoveMemberRequest {
            request_id: request_id(),
            home_id: home.clone(),
            membership_id: membership,
        }))
        .await
        .unwrap();
    // The bound is the promise, not a measurement: it has room for a machine that does other things.
    let end = tokio::time::timeout(Duration::from_secs(2), async {
        loop {
            match stream.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("it ended without saying why"),
                Err(status) => break status,
            }
        }
    });
    let status = end.await.expect("the stream is still open after 2 s");
    assert_eq!(status.code(), Code::NotFound, "{status:?}");
    let latest = ingest::LatestReadingsRequest {
        home_id: home,
        ..Default::default()
    };
    let refused = readings
        .latest_readings(bojan.with(latest))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::NotFound, "{refused:?}");
}
