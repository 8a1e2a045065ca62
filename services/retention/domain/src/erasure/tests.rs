//! The order of steps, their conditions, convergence through crashes, and the laws.

use std::time::Duration;

use hearth_kernel::decider::fold;
use hearth_kernel::laws::{self, Step};
use hearth_kernel::{AccountId, Decider, HomeId, MembershipId, Owner, ReceiptId, Service};
use proptest::prelude::*;

use super::*;
use crate::limits;

const START: Timestamp = Timestamp::from_seconds(1_800_000_000);
const DAY: Duration = Duration::from_secs(86_400);
const ANNA: AccountId = AccountId::from_bytes([0xa; 16]);
const HOUSE: HomeId = HomeId::from_bytes([0xb; 16]);

fn closing() -> Closing {
    Closing {
        account: ANNA,
        receipt: ReceiptId::from_bytes([0xc; 16]),
        secret_hash: [0xd; 32],
        closed_at: START,
        grace_ends_at: START.plus(DAY * 3),
    }
}

fn request(homes: &[HomeId]) -> Command {
    Command::Request {
        closing: closing(),
        homes: homes.iter().copied().collect(),
        memberships: [MembershipId::from_bytes([7; 16])].into(),
        services: [Service::Accounts, Service::Ingest].into(),
    }
}

fn controlled() -> Command {
    Command::Control {
        key_ids: vec![3; 32],
        markers: 4,
        found: 9,
        missing: 0,
    }
}

fn store(ends_at: Option<Timestamp>) -> Store {
    Store {
        name: "accounts.profile".into(),
        removed: 3,
        residuals: vec![Left {
            what: "records".into(),
            ends_at,
        }],
    }
}

fn receipt() -> Receipt {
    Receipt {
        body: vec![1],
        signature: [2; 64],
        public_key: [3; 32],
    }
}

fn grace_over() -> Timestamp {
    START.plus(DAY * 3)
}

/// What the outside would answer to a step, and how the clock would move.
fn done(state: &State, step: &Next, now: &mut Timestamp) -> Option<Command> {
    Some(match step {
        Next::Nothing | Next::Forget => return None,
        Next::Search(Search::Control) => controlled(),
        Next::Search(Search::Purge) => Command::Verify(Pass::default()),
        Next::Search(Search::Residuals) => Command::SignBytes(Pass::default(), receipt()),
        Next::Fence(owner) => Command::Fence {
            owner: *owner,
            since: *now,
        },
        Next::EndLeases => Command::EndLeases,
        Next::Wait(until) => {
            *now = *until;
            return done(state, &next(state, *now), now);
        }
        Next::Await(services) => Command::Answer {
            service: *services.first()?,
            stores: vec![store(None)],
        },
        Next::SignKeys => Command::SignKeys(receipt()),
    })
}

fn run(commands: &[(Command, Timestamp)]) -> Result<State, Rejection> {
    let mut state = State::default();
    for (command, now) in commands {
        let events = Erasure::decide(&state, command, now)?;
        state = fold::<Erasure>(state, &events);
        Erasure::invariant(&state).unwrap();
    }
    Ok(state)
}

/// Runs the machine to its end; `lost` says which outcomes are lost by a crash before their event is stored.
fn to_the_end(homes: &[HomeId], mut lost: impl FnMut() -> bool) -> (State, Vec<Event>) {
    let mut now = grace_over();
    let mut events = Erasure::decide(&State::default(), &request(homes), &now).unwrap();
    let mut state = fold::<Erasure>(State::default(), &events);
    for _ in 0..1_000 {
        let step = next(&state, now);
        let Some(command) = done(&state, &step, &mut now) else {
            return (state, events);
        };
        now = now.plus(Duration::from_secs(1));
        if lost() {
            continue;
        }
        for event in Erasure::decide(&state, &command, &now).unwrap() {
            state = Erasure::evolve(state, &event);
            Erasure::invariant(&state).unwrap();
            events.push(event);
        }
    }
    panic!("it never ends");
}

#[test]
fn every_step_is_taken_once_and_in_order() {
    let (state, events) = to_the_end(&[HOUSE], || false);
    let names: Vec<_> = events
        .iter()
        .map(|event| {
            format!("{event:?}")
                .split([' ', '(', '{'])
                .next()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(
        names,
        [
            "Announced",
            "Requested",
            "Controlled",
            "Fenced",
            "Fenced",
            "AllFenced",
            "LeasesEnded",
            "Answered",
            "Answered",
            "Purged",
            "Verified",
            "KeysGone",
            "BytesGone"
        ]
    );
    assert!(state.is_over());
}

#[test]
fn nothing_is_fenced_before_the_search_found_everybody() {
    let before = [(request(&[]), grace_over())];
    let state = run(&before).unwrap();
    for (found, missing) in [(0, 0), (5, 1)] {
        let failed = Command::Control {
            key_ids: Vec::new(),
            markers: 2,
            found,
            missing,
        };
        assert_eq!(
            Erasure::decide(&state, &failed, &grace_over()),
            Err(Rejection::ControlFailed)
        );
    }
    let fence = Command::Fence {
        owner: Owner::Account(ANNA),
        since: grace_over(),
    };
    assert_eq!(
        Erasure::decide(&state, &fence, &grace_over()),
        Err(Rejection::IsNotThere)
    );
}

#[test]
fn leases_end_ninety_seconds_after_the_last_fence() {
    let now = grace_over();
    let fence = |owner, since| (Command::Fence { owner, since }, since);
    let later = now.plus(Duration::from_secs(30));
    let state = run(&[
        (request(&[HOUSE]), now),
        (controlled(), now),
        fence(Owner::Account(ANNA), now),
        fence(Owner::Home(HOUSE), later),
    ])
    .unwrap();
    let end = later.plus(limits::LEASES_END);
    let early = end.minus(Duration::from_micros(1));
    assert_eq!(next(&state, early), Next::Wait(end));
    assert_eq!(
        Erasure::decide(&state, &Command::EndLeases, &early),
        Err(Rejection::TooEarly)
    );
    assert_eq!(next(&state, end), Next::EndLeases);
}

#[test]
fn the_grace_is_waited_for_and_a_reopened_account_stays() {
    let early = grace_over().minus(Duration::from_micros(1));
    assert_eq!(run(&[(request(&[]), early)]), Err(Rejection::TooEarly));
    let reopened = [
        (Command::Announce(closing()), START),
        (Command::Cancel, START),
    ];
    let state = run(&reopened).unwrap();
    assert!(state.is_over());
    assert_eq!(
        Erasure::decide(&state, &request(&[]), &grace_over()),
        Err(Rejection::IsCancelled)
    );
    let begun = run(&[
        (request(&[]), grace_over()),
        (Command::Cancel, grace_over()),
    ])
    .unwrap();
    assert_eq!(
        begun.cancelled_at, None,
        "the fact ends also when it begins"
    );
}

#[test]
fn residuals_are_settled_with_their_ends_and_the_last_is_waited_for() {
    let (state, _) = to_the_end(&[HOUSE], || false);
    let purged = state.purged_at.unwrap();
    let frames = state
        .residuals
        .iter()
        .find(|it| it.what == "frames")
        .unwrap();
    assert_eq!(
        frames.ends_at,
        Some(purged.plus(limits::FRAMES).plus(limits::SLACK))
    );
    assert!(
        state
            .residuals
            .iter()
            .any(|it| it.store == "accounts.profile")
    );
    let end = state.residuals_end_at().unwrap();
    assert_eq!(end, purged.plus(limits::EVENTS).plus(limits::SLACK));
    assert!(state.bytes_gone.unwrap().1 >= end);

    let (state, _) = to_the_end(&[], || false);
    assert!(
        state.residuals.iter().all(|it| it.what != "frames"),
        "no home, no frames"
    );
}

#[test]
fn a_search_that_finds_something_signs_nothing() {
    let found = Pass {
        outside: 1,
        ..Pass::default()
    };
    let (mut state, _) = to_the_end(&[], || false);
    let end = state.residuals_end_at().unwrap();
    state.bytes_gone = None;
    assert_eq!(
        Erasure::decide(&state, &Command::SignBytes(found, receipt()), &end),
        Err(Rejection::SomethingLeft)
    );
    state.keys_gone = None;
    state.verified = None;
    assert_eq!(
        Erasure::decide(&state, &Command::Verify(found), &end),
        Err(Rejection::SomethingLeft)
    );
}

fn commands() -> impl Strategy<Value = Command> {
    let owner = prop_oneof![
        Just(Owner::Account(ANNA)),
        Just(Owner::Home(HOUSE)),
        Just(Owner::Home(HomeId::from_bytes([9; 16])))
    ];
    let service = prop_oneof![
        Just(Service::Accounts),
        Just(Service::Ingest),
        Just(Service::Media)
    ];
    let pass = (0u64..2).prop_map(|outside| Pass {
        outside,
        ..Pass::default()
    });
    prop_oneof![
        1 => Just(Command::Announce(closing())),
        1 => Just(Command::Cancel),
        3 => Just(request(&[HOUSE])),
        3 => Just(controlled()),
        6 => owner.prop_map(|owner| Command::Fence { owner, since: grace_over() }),
        3 => Just(Command::EndLeases),
        6 => service.prop_map(|service| Command::Answer { service, stores: vec![store(Some(START))] }),
        3 => pass.clone().prop_map(Command::Verify),
        3 => Just(Command::SignKeys(receipt())),
        3 => pass.prop_map(|pass| Command::SignBytes(pass, receipt())),
    ]
}

proptest! {
    #[test]
    fn laws_hold(script in prop::collection::vec((commands(), 0u64..4), 0..40), cut in 0usize..40) {
        let mut now = START;
        let script: Vec<Step<Erasure>> = script.into_iter().map(|(command, days)| {
            now = now.plus(DAY * u32::try_from(days).unwrap());
            Step { command, facts: now, idempotent: true }
        }).collect();
        prop_assert!(laws::check(&script, cut).is_ok());
    }

    #[test]
    fn it_converges_whatever_is_lost(lost in prop::collection::vec(any::<bool>(), 0..60), homes in 0u8..4) {
        let homes: Vec<_> = (0..homes).map(|n| HomeId::from_bytes([n + 1; 16])).collect();
        let mut lost = lost.into_iter();
        let (state, events) = to_the_end(&homes, || lost.next().unwrap_or(false));
        prop_assert!(state.bytes_gone.is_some());
        let once = events.iter().filter(|event| matches!(event, Event::Purged { .. })).count();
        prop_assert_eq!(once, 1);
        prop_assert_eq!(state.fenced.len(), homes.len() + 1);
    }
}
