//! A member of one home reads nothing of another: random principals, objects and RPCs.

#![expect(
    clippy::unwrap_used,
    reason = "test code: a failure here is the test's"
)]

use std::sync::Arc;
use std::time::Duration;

use hearth_api::accounts::v1 as accounts;
use hearth_api::accounts::v1::homes_service_client::HomesServiceClient;
use hearth_api::ingest::v1 as ingest;
use hearth_api::ingest::v1::readings_service_client::ReadingsServiceClient;
use hearth_api::types::v1::{CommitToken, Role};
use hearth_e2e::dynamic::{Filler, call, encode, methods, path, set_text};
use hearth_e2e::random::Random;
use hearth_testkit::person::{code_in, request_id};
use hearth_testkit::{Person, Sandbox};
use tonic::Code;

/// Random calls.
const CALLS: usize = 600;

/// Everything of a home that has an id, as texts.
async fn texts_of(person: &Person, home: &str) -> Vec<String> {
    let mut client = HomesServiceClient::new(person.channel.clone());
    let area = client
        .create_area(person.with(accounts::CreateAreaRequest {
            request_id: request_id(),
            home_id: home.to_owned(),
            name: "Secret room".to_owned(),
        }))
        .await
        .unwrap()
        .into_inner()
        .area_id;
    let members = client
        .list_members(person.with(accounts::ListMembersRequest {
            home_id: home.to_owned(),
            ..accounts::ListMembersRequest::default()
        }))
        .await
        .unwrap()
        .into_inner()
        .members;
    let mut texts: Vec<String> = members
        .into_iter()
        .map(|member| member.membership_id)
        .collect();
    texts.extend([home.to_owned(), area, person.account_id.clone()]);
    texts
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_another_home_is_answered_to_any_rpc() {
    let mut random = Random::seeded("isolation");
    let sandbox = Sandbox::start().await;
    let (anna, bojan) = (sandbox.person("anna").await, sandbox.person("bojan").await);
    let (hers, his) = (
        anna.home("Annas house").await,
        bojan.home("Bojans house").await,
    );
    let (of_hers, of_his) = (texts_of(&anna, &hers).await, texts_of(&bojan, &his).await);
    let of_home: Vec<_> = methods()
        .into_iter()
        .filter(|m| m.input().get_field_by_name("home_id").is_some())
        .collect();
    assert!(of_home.len() > 20, "the contract has methods about homes");
    for _ in 0..CALLS {
        let method = random.of(&of_home).clone();
        let anna_asks = random.below(2) == 0;
        let (caller, home, texts) = if anna_asks {
            (&anna, &his, &of_his)
        } else {
            (&bojan, &hers, &of_hers)
        };
        let mut filler = Filler {
            random: &mut random,
            texts,
            oddness: 0,
        };
        let mut message = filler.message(&method.input(), 0);
        set_text(&mut message, "home_id", home);
        set_text(&mut message, "request_id", &request_id());
        let token = Some(caller.tokens.access_token.as_str());
        let answer = call(&caller.channel, &method, token, vec![encode(&message)]).await;
        let status = answer.expect_err(&format!("{} answered a stranger", path(&method)));
        assert!(
            matches!(status.code(), Code::NotFound | Code::InvalidArgument),
            "{}: {status:?}",
            path(&method)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_member_is_refused_within_two_seconds_on_open_streams_too() {
    let sandbox = Sandbox::start().await;
    let (anna, bojan) = (sandbox.person("anna").await, sandbox.person("bojan").await);
    let home = anna.home("House").await;
    let (membership, token) = join(&sandbox, &anna, &bojan, &home).await;
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

/// Anna invites Bojan, who accepts by the code in his mail. Answers his membership, and the token of its commit.
async fn join(
    sandbox: &Sandbox,
    anna: &Person,
    bojan: &Person,
    home: &str,
) -> (String, Option<CommitToken>) {
    let invitation = HomesServiceClient::new(anna.channel.clone())
        .invite_member(anna.with(accounts::InviteMemberRequest {
            request_id: request_id(),
            home_id: home.to_owned(),
            email: bojan.email.clone(),
            role: Role::Adult.into(),
            ..accounts::InviteMemberRequest::default()
        }))
        .await
        .unwrap()
        .into_inner();
    let mails = Arc::clone(&sandbox.mails);
    let code = sandbox
        .until("an invitation", async || {
            let sent = mails.sent();
            let text = sent.iter().rev().find_map(|mail| {
                let text = mail.text.expose_text()?;
                text.contains(&invitation.invitation_id)
                    .then(|| text.to_owned())
            })?;
            code_in(&text)
        })
        .await;
    let accepted = HomesServiceClient::new(bojan.channel.clone())
        .accept_invitation(bojan.with(accounts::AcceptInvitationRequest {
            request_id: request_id(),
            invitation_id: invitation.invitation_id,
            code,
        }))
        .await
        .unwrap()
        .into_inner();
    (accepted.membership_id, accepted.token)
}
