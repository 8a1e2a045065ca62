//! Every event and every state along an erasure survives its stored form; what is not understood is refused.
//!
//! `golden/v1.txt` is frozen: lines are added, never changed. A new event is added to the samples, and the line that
//! the failing test prints goes to the end of the file.

use std::time::Duration;

use hearth_engine::{Aggregate, CodecError};
use hearth_kernel::laws::check_codec;
use hearth_kernel::{
    AccountId, AggregateRef, Decider, ErasureId, HomeId, MembershipId, Origin, Owner, Part,
    Purpose, ReceiptId, Sealed, Service, Timestamp,
};
use hearth_retention_domain::erasure::{
    Closing, Control, Event, Left, Pass, Receipt, Request, Residual, State, Store,
};
use hearth_retention_domain::signing::{self, Taken};

use crate::aggregates::{Erasure, Signing};

const GOLDEN: &str = include_str!("golden/v1.txt");
const AT: Timestamp = Timestamp::from_micros(1_800_000_000_123_456);

fn sealed() -> Part {
    Part::Sealed(Sealed {
        owner: Owner::Service(Service::Retention),
        purpose: Purpose::Records,
        origin: Origin {
            aggregate: AggregateRef::new(
                Service::Retention,
                "erasure",
                ErasureId::from_bytes([1; 16]),
            ),
            version: 2,
            event: 0,
            part: 0,
        },
        bytes: [7; 60].as_slice().into(),
    })
}

fn receipt(byte: u8) -> Receipt {
    Receipt {
        body: vec![byte; 20],
        signature: [byte; 64],
        public_key: [byte; 32],
    }
}

/// One of each event, in the order in which they happen.
fn events() -> Vec<Event> {
    let account = AccountId::from_bytes([2; 16]);
    let home = HomeId::from_bytes([3; 16]);
    let left = |ends_at| Left {
        what: "backups".to_owned(),
        ends_at,
    };
    let residual = |ends_at| Residual {
        what: "tombstones".to_owned(),
        store: "log".to_owned(),
        ends_at,
    };
    let store = Store {
        name: "accounts.profile".to_owned(),
        removed: 4,
        residuals: vec![left(None), left(Some(AT))],
    };
    vec![
        Event::Announced(Closing {
            account,
            receipt: ReceiptId::from_bytes([4; 16]),
            secret_hash: [5; 32],
            closed_at: AT,
            grace_ends_at: AT.plus(Duration::from_secs(9)),
        }),
        Event::Requested(Request {
            account,
            homes: [home].into(),
            memberships: [MembershipId::from_bytes([6; 16])].into(),
            services: [Service::Accounts, Service::Ingest].into(),
            policy: 1,
            at: AT,
        }),
        Event::Controlled(Control {
            markers: 3,
            found: 8,
            key_ids: sealed(),
            at: AT,
        }),
        Event::Fenced {
            owner: Owner::Account(account),
            since: AT,
        },
        Event::Fenced {
            owner: Owner::Home(home),
            since: AT,
        },
        Event::AllFenced { at: AT },
        Event::LeasesEnded { at: AT },
        Event::Answered {
            service: Service::Accounts,
            stores: vec![store],
        },
        Event::Answered {
            service: Service::Ingest,
            stores: Vec::new(),
        },
        Event::Purged {
            residuals: [residual(None), residual(Some(AT))].into(),
            at: AT,
        },
        Event::Verified {
            pass: Pass {
                files: 1,
                bytes: 2,
                markers: 3,
                residual: 4,
                outside: 0,
            },
            at: AT,
        },
        Event::KeysGone {
            receipt: receipt(1),
            at: AT,
        },
        Event::BytesGone {
            receipt: receipt(2),
            at: AT,
        },
    ]
}

fn check_state(state: &State) {
    let decode = |bytes: &[u8]| Erasure::decode_state(Erasure::STATE_SCHEMA, bytes);
    check_codec(state, Erasure::encode_state, decode).unwrap();
}

#[test]
fn every_event_and_every_state_on_the_way_come_back() {
    let mut state = State::default();
    check_state(&state);
    let mut names = std::collections::BTreeSet::new();
    for event in events() {
        let encoded = Erasure::encode_event(&event);
        names.insert(encoded.name);
        let mut back = Erasure::decode_event(encoded.name, encoded.major, &encoded.public).unwrap();
        // The engine keeps parts beside the event, and puts them back.
        if let Event::Controlled(control) = &mut back {
            control.key_ids = sealed();
        }
        assert_eq!(back, event);
        state = Erasure::evolve(state, &event);
        Erasure::invariant(&state).unwrap();
        check_state(&state);
    }
    assert_eq!(names.len(), 11);
    let cancelled = Event::Cancelled { at: AT };
    let encoded = Erasure::encode_event(&cancelled);
    let back = Erasure::decode_event(encoded.name, encoded.major, &encoded.public);
    assert_eq!(back, Ok(cancelled));
}

#[test]
fn keys_come_back() {
    let mut state = signing::State::default();
    for byte in 1..4 {
        let event = Taken {
            public: [byte; 32],
            at: AT,
        };
        let encoded = Signing::encode_event(&event);
        let back = Signing::decode_event(encoded.name, encoded.major, &encoded.public);
        assert_eq!(back, Ok(event.clone()));
        state = Signing::evolve(state, &event);
        let decode = |bytes: &[u8]| Signing::decode_state(Signing::STATE_SCHEMA, bytes);
        check_codec(&state, Signing::encode_state, decode).unwrap();
    }
}

#[test]
fn what_is_not_understood_is_refused() {
    let unknown = |outcome| matches!(outcome, Err(CodecError::UnknownEvent { .. }));
    assert!(unknown(Erasure::decode_event("erasure_sung", 1, &[])));
    assert!(unknown(Erasure::decode_event("erasure_cancelled", 2, &[])));
    assert!(Signing::decode_event("key_lost", 1, &[]).is_err());
    assert!(Erasure::decode_event("erasure_announced", 1, &[]).is_err());
    assert!(Erasure::decode_event("erasure_fenced", 1, &[0xff]).is_err());
    assert!(Erasure::decode_state(99, &[]).is_err());
    assert!(Signing::decode_state(99, &[]).is_err());
}

/// Bytes as a word: an empty message is a dash.
fn word(bytes: &[u8]) -> String {
    match bytes {
        [] => "-".to_owned(),
        bytes => hex::encode(bytes),
    }
}

fn line<A: Aggregate>(event: &A::Event) -> String {
    let out = A::encode_event(event);
    let public = word(&out.public);
    format!("{} event {} {} {public}", A::KIND, out.name, out.major)
}

fn state_line<A: Aggregate>(state: &A::State) -> String {
    let state = word(&A::encode_state(state));
    format!("{} state {} {state}", A::KIND, A::STATE_SCHEMA)
}

fn samples() -> Vec<String> {
    let events = [events(), vec![Event::Cancelled { at: AT }]].concat();
    let whole = events.iter().fold(State::default(), Erasure::evolve);
    let taken = Taken {
        public: [9; 32],
        at: AT,
    };
    let keys = Signing::evolve(signing::State::default(), &taken);
    let of_erasures = events.iter().map(line::<Erasure>);
    of_erasures
        .chain([
            state_line::<Erasure>(&whole),
            line::<Signing>(&taken),
            state_line::<Signing>(&keys),
        ])
        .collect()
}

#[test]
fn what_is_written_today_is_in_the_corpus() {
    let known = |line: &String| GOLDEN.lines().any(|golden| golden == line);
    let missing: Vec<_> = samples().into_iter().filter(|it| !known(it)).collect();
    assert!(missing.is_empty(), "\n{}", missing.join("\n"));
}

#[test]
fn every_line_of_the_corpus_is_still_understood() {
    for line in GOLDEN.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let understood = match words[0] {
            "erasure" => understands::<Erasure>(&words),
            "signing" => understands::<Signing>(&words),
            _ => false,
        };
        assert!(understood, "{line}");
    }
}

fn understands<A: Aggregate>(words: &[&str]) -> bool {
    let bytes = |n: usize| match words[n] {
        "-" => Vec::new(),
        word => hex::decode(word).unwrap(),
    };
    let number = |n: usize| words[n].parse().unwrap();
    match words[1] {
        "event" => A::decode_event(words[2], number(3), &bytes(4)).is_ok(),
        _ => A::decode_state(number(2), &bytes(3)).is_ok(),
    }
}
