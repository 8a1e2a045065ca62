//! Every event and state goes out and comes back; and every byte string ever released still comes back as what it was.
//!
//! `golden/v1.txt` is frozen: lines are added, never changed. A new event is added to the samples, and the line that
//! the failing test prints goes to the end of the file.

mod samples;

use hearth_engine::Aggregate;
use hearth_kernel::laws::check_codec;
use hearth_kernel::{Part, Parts, Secret};

use crate::aggregates::{
    Account, Credentials, Email, Home, Membership, Registration, SessionFamily, TokenKeys,
};

const GOLDEN: &str = include_str!("golden/v1.txt");

/// The event as its public part tells it: the engine keeps the parts beside it.
fn bare<A: Aggregate>(event: &A::Event) -> A::Event {
    let mut event = event.clone();
    for slot in event.parts() {
        *slot.part = Part::Clear(Secret::default());
    }
    event
}

/// The lines of the corpus for these samples; each has come back unchanged.
fn lines<A: Aggregate>(events: &[A::Event], states: &[A::State]) -> Vec<String> {
    let mut lines = Vec::new();
    for event in events {
        let out = A::encode_event(event);
        let back = A::decode_event(out.name, out.major, &out.public).expect("comes back");
        assert_eq!(back, bare::<A>(event));
        lines.push(format!(
            "{} event {} {} {}",
            A::KIND,
            out.name,
            out.major,
            word(&out.public)
        ));
    }
    for state in states {
        check_codec(state, A::encode_state, |bytes| {
            A::decode_state(A::STATE_SCHEMA, bytes)
        })
        .expect("comes back");
        let bytes = A::encode_state(state);
        lines.push(format!(
            "{} state {} {}",
            A::KIND,
            A::STATE_SCHEMA,
            word(&bytes)
        ));
    }
    lines
}

/// Bytes as a word: an empty message is a dash.
fn word(bytes: &[u8]) -> String {
    match bytes {
        [] => "-".to_owned(),
        bytes => hex::encode(bytes),
    }
}

fn all() -> Vec<String> {
    [
        lines::<Account>(&samples::account_events(), &samples::account_states()),
        lines::<Home>(&samples::home_events(), &samples::home_states()),
        lines::<Registration>(
            &samples::registration_events(),
            &samples::registration_states(),
        ),
        lines::<Email>(&samples::email_events(), &samples::email_states()),
        lines::<Credentials>(
            &samples::credentials_events(),
            &samples::credentials_states(),
        ),
        lines::<SessionFamily>(&samples::session_events(), &samples::session_states()),
        lines::<TokenKeys>(&samples::token_keys_events(), &samples::token_keys_states()),
        lines::<Membership>(&samples::membership_events(), &samples::membership_states()),
    ]
    .concat()
}

#[test]
fn what_is_written_today_is_in_the_corpus() {
    let missing: Vec<String> = all()
        .into_iter()
        .filter(|line| !GOLDEN.lines().any(|golden| golden == line))
        .collect();
    assert!(missing.is_empty(), "\n{}", missing.join("\n"));
}

#[test]
fn every_line_of_the_corpus_is_still_understood() {
    for line in GOLDEN.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let understood = match words[0] {
            "account" => understands::<Account>(&words),
            "home" => understands::<Home>(&words),
            "registration" => understands::<Registration>(&words),
            "email" => understands::<Email>(&words),
            "credentials" => understands::<Credentials>(&words),
            "session" => understands::<SessionFamily>(&words),
            "keys" => understands::<TokenKeys>(&words),
            "membership" => understands::<Membership>(&words),
            _ => false,
        };
        assert!(understood, "{line}");
    }
}

fn understands<A: Aggregate>(words: &[&str]) -> bool {
    let bytes = |n: usize| match words[n] {
        "-" => Vec::new(),
        word => hex::decode(word).expect("hex"),
    };
    let number = |n: usize| words[n].parse().expect("a number");
    match words[1] {
        "event" => A::decode_event(words[2], number(3), &bytes(4)).is_ok(),
        _ => A::decode_state(number(2), &bytes(3)).is_ok(),
    }
}

#[test]
fn what_is_not_known_is_refused_and_never_skipped() {
    assert!(Account::decode_event("renounced", 1, &[]).is_err());
    assert!(Account::decode_event("registered", 2, &[]).is_err());
    assert!(Account::decode_event("registered", 1, &[0xff]).is_err());
    assert!(Account::decode_event("registered", 1, &[]).is_err());
    assert!(Home::decode_event("painted", 1, &[]).is_err());
    assert!(Home::decode_state(9, &[]).is_err());
    assert!(Email::decode_event("given", 1, &[]).is_err());
}
