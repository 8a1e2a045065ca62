//! Given what happened, when somebody wants something, then this; and the laws.

use std::collections::BTreeSet;
use std::time::Duration;

use hearth_kernel::decider::fold;
use hearth_kernel::laws::{self, Step};
use hearth_kernel::{
    AccountId, AreaId, Decider, HomeId, MembershipId, Part, ReceiptId, RegistrationId, Role,
    SessionId, Timestamp, TokenId,
};
use proptest::prelude::*;

use super::*;
use crate::limits::{
    JOINING_LASTS, KNOWN_ADDRESS_PAUSE, REGISTRATION_LIVES, REVOKED_NAMED, SESSION_LIVES, SESSIONS,
    SHORTEST_GRACE,
};

const ANNA: AccountId = AccountId::from_bytes([1; 16]);
const START: Timestamp = Timestamp::from_seconds(1_000_000);

fn facts(now: Timestamp) -> Facts {
    Facts { account: ANNA, now }
}

fn mail(kind: MailKind) -> Box<Mail> {
    Box::new(Mail {
        id: TokenId::from_bytes([9; 16]),
        kind,
        content: Part::clear("content"),
        expires_at: START.plus(Duration::from_secs(60)),
    })
}

fn session(n: u8) -> SessionId {
    SessionId::from_bytes([n; 16])
}

fn home(n: u8) -> HomeId {
    HomeId::from_bytes([n; 16])
}

fn membership(n: u8) -> MembershipId {
    MembershipId::from_bytes([n; 16])
}

fn access(member: u8, revision: u64) -> Access {
    Access {
        membership: membership(member),
        role: Role::Adult,
        areas: BTreeSet::new(),
        expires_at: None,
        revision,
    }
}

fn register() -> Command {
    Command::Register {
        registration: RegistrationId::from_bytes([2; 16]),
        address_key: AddressKey([6; 16]),
        profile: Box::new(Profile {
            email: Part::clear("anna@example.org"),
            username: Part::clear("Anna"),
            locale: Part::clear("mk"),
        }),
        mail: mail(MailKind::Verification),
    }
}

fn verify() -> Command {
    Command::Verify {
        address: Part::clear("address"),
        session: session(1),
        label: Part::clear("phone"),
    }
}

fn open(n: u8) -> Command {
    Command::OpenSession {
        session: session(n),
        label: Part::clear("tablet"),
    }
}

fn end(n: u8) -> Command {
    Command::EndSession {
        session: session(n),
        cause: Cause::SignedOut,
    }
}

fn join(at: u8, member: u8) -> Command {
    Command::Join {
        home: home(at),
        membership: membership(member),
    }
}

fn note(at: u8, access: Access) -> Command {
    Command::NoteAccess {
        home: home(at),
        access,
    }
}

fn closing(grace: Duration) -> Closing {
    Closing {
        closed_at: START,
        grace_ends_at: START.plus(grace),
        receipt: ReceiptId::from_bytes([4; 16]),
        receipt_secret_hash: [5; 32],
    }
}

fn close(grace: Duration) -> Command {
    Command::StartClosing {
        closing: closing(grace),
        mail: mail(MailKind::Closing),
    }
}

/// The state after these commands, each of which must be taken.
fn given(commands: &[Command]) -> State {
    commands.iter().fold(State::default(), |state, command| {
        let events = Account::decide(&state, command, &facts(START)).expect("taken");
        fold::<Account>(state, &events)
    })
}

fn when(state: &State, command: &Command, now: Timestamp) -> Result<Vec<Event>, Rejection> {
    Account::decide(state, command, &facts(now))
}

fn active() -> Vec<Command> {
    vec![register(), verify()]
}

#[test]
fn registering_asks_for_the_mail_in_the_same_commit() {
    let events = when(&State::default(), &register(), START).unwrap();
    assert!(matches!(
        events[..],
        [Event::Registered { .. }, Event::MailRequested { .. }]
    ));
}

#[test]
fn registering_again_is_nothing_and_another_registration_is_refused() {
    let state = given(&[register()]);
    assert_eq!(when(&state, &register(), START), Ok(vec![]));
    let mut other = register();
    if let Command::Register { registration, .. } = &mut other {
        *registration = RegistrationId::from_bytes([3; 16]);
    }
    assert_eq!(when(&state, &other, START), Err(Rejection::Exists));
}

#[test]
fn verifying_opens_the_first_session() {
    let state = given(&active());
    assert_eq!(state.status, Status::Active);
    assert!(state.sessions.contains_key(&session(1)));
    assert!(state.address.is_some());
}

#[test]
fn verifying_is_too_late_after_a_day_and_once_only() {
    let state = given(&[register()]);
    let late = START.plus(REGISTRATION_LIVES);
    assert_eq!(when(&state, &verify(), late), Err(Rejection::HasLapsed));
    assert_eq!(
        when(&given(&active()), &verify(), START),
        Err(Rejection::IsVerified)
    );
}

#[test]
fn of_lapsing_and_verifying_the_first_one_wins() {
    let replaced = Command::Lapse { replaced: true };
    let lapsed = given(&[register(), replaced.clone()]);
    assert_eq!(when(&lapsed, &verify(), START), Err(Rejection::HasLapsed));
    assert_eq!(
        when(&given(&active()), &replaced, START),
        Err(Rejection::IsVerified)
    );
}

#[test]
fn what_never_came_to_be_is_abandoned_once_and_says_nothing_of_anybody() {
    let abandon = Command::Abandon {
        registration: RegistrationId::from_bytes([2; 16]),
    };
    let mut events = when(&State::default(), &abandon, START).unwrap();
    assert!(matches!(
        events[..],
        [Event::Registered { .. }, Event::Lapsed]
    ));
    let empty = |slot: PartSlot<'_>| *slot.part == Part::clear("");
    assert!(events[0].parts().into_iter().all(empty));
    assert_eq!(events[0].parts().len(), 3);
    let state = given(std::slice::from_ref(&abandon));
    assert_eq!(state.status, Status::Lapsed);
    assert_eq!(when(&state, &abandon, START), Ok(vec![]));
    assert_eq!(when(&state, &verify(), START), Err(Rejection::HasLapsed));
    let used = given(&active());
    assert_eq!(when(&used, &abandon, START), Err(Rejection::IsVerified));
}

#[test]
fn nobody_signs_in_to_what_is_not_verified_or_is_closed() {
    for state in [State::default(), given(&[register()])] {
        assert!(when(&state, &open(2), START).is_err());
    }
    let closed = after_grace(&active());
    assert_eq!(when(&closed, &open(2), START), Err(Rejection::IsClosed));
}

/// The state after a closing whose grace is over.
fn after_grace(commands: &[Command]) -> State {
    let state = given(&[commands, &[close(SHORTEST_GRACE)]].concat());
    let end = when(&state, &Command::EndGrace, START.plus(SHORTEST_GRACE)).unwrap();
    fold::<Account>(state, &end)
}

#[test]
fn one_session_too_many_displaces_the_oldest() {
    let mut state = given(&active());
    for n in 2..=u8::try_from(SESSIONS).unwrap() {
        let now = START.plus(Duration::from_secs(u64::from(n)));
        let events = when(&state, &open(n), now).unwrap();
        state = fold::<Account>(state, &events);
    }
    let now = START.plus(Duration::from_secs(100));
    let events = when(&state, &open(200), now).unwrap();
    let displaced = Event::SessionEnded {
        session: session(1),
        cause: Cause::Displaced,
        at: now,
    };
    assert_eq!(events[0], displaced);
    assert_eq!(events.len(), 2);
}

#[test]
fn sessions_that_lived_their_time_end_when_another_opens() {
    let state = given(&active());
    let events = when(&state, &open(2), START.plus(SESSION_LIVES)).unwrap();
    assert!(matches!(
        events[0],
        Event::SessionEnded {
            cause: Cause::Expired,
            ..
        }
    ));
}

#[test]
fn an_ended_session_is_named_for_a_while() {
    let state = given(&[active(), vec![end(1)]].concat());
    assert!(state.revoked.contains_key(&session(1)));
    assert_eq!(when(&state, &end(1), START), Ok(vec![]));
    assert_eq!(
        when(&state, &end(7), START),
        Err(Rejection::SessionHasEnded)
    );
    let events = when(&state, &open(3), START.plus(REVOKED_NAMED)).unwrap();
    assert!(fold::<Account>(state, &events).revoked.is_empty());
}

#[test]
fn older_words_of_a_home_change_nothing() {
    let state = given(&[active(), vec![join(1, 1), note(1, access(1, 5))]].concat());
    assert_eq!(when(&state, &note(1, access(1, 5)), START), Ok(vec![]));
    assert_eq!(when(&state, &note(1, access(1, 4)), START), Ok(vec![]));
    assert_eq!(
        when(&state, &note(1, access(1, 6)), START).unwrap().len(),
        1
    );
    assert_eq!(
        when(&state, &note(1, access(2, 9)), START),
        Err(Rejection::IsMemberAlready)
    );
}

#[test]
fn a_membership_that_is_over_never_comes_back() {
    let over = Command::EndAccess {
        home: home(1),
        membership: membership(1),
    };
    let state = given(
        &[
            active(),
            vec![join(1, 1), note(1, access(1, 5)), over.clone()],
        ]
        .concat(),
    );
    assert!(state.homes.is_empty());
    assert_eq!(when(&state, &over, START), Ok(vec![]));
    assert_eq!(
        when(&state, &note(1, access(1, 6)), START),
        Err(Rejection::MembershipIsOver)
    );
    assert_eq!(
        when(&state, &join(1, 1), START),
        Err(Rejection::MembershipIsOver)
    );
    assert!(when(&state, &join(1, 2), START).is_ok());
}

#[test]
fn a_home_is_joined_once_and_a_join_that_never_arrives_makes_room() {
    let state = given(&[active(), vec![join(1, 1)]].concat());
    assert_eq!(when(&state, &join(1, 1), START), Ok(vec![]));
    assert_eq!(
        when(&state, &join(1, 2), START),
        Err(Rejection::IsMemberAlready)
    );
    let stale = when(&state, &join(1, 2), START.plus(JOINING_LASTS)).unwrap();
    assert!(matches!(
        stale[..],
        [Event::AccessEnded { .. }, Event::JoinBegun { .. }]
    ));
    let state = given(&[active(), vec![join(1, 1), note(1, access(1, 1))]].concat());
    assert_eq!(
        when(&state, &join(1, 2), START),
        Err(Rejection::IsMemberAlready)
    );
}

#[test]
fn a_home_cannot_note_what_the_account_never_began() {
    let state = given(&active());
    assert_eq!(
        when(&state, &note(1, access(1, 1)), START),
        Err(Rejection::MembershipIsUnknown)
    );
}

#[test]
fn a_grace_is_from_72_hours_to_30_days_and_can_be_taken_back_until_its_end() {
    let state = given(&active());
    for hours in [71, 30 * 24 + 1] {
        let grace = Duration::from_secs(hours * 3600);
        assert_eq!(
            when(&state, &close(grace), START),
            Err(Rejection::GraceIsOutOfBounds)
        );
    }
    let state = given(&[active(), vec![close(SHORTEST_GRACE)]].concat());
    let end = START.plus(SHORTEST_GRACE);
    let before = end.minus(Duration::from_micros(1));
    assert_eq!(
        when(&state, &Command::EndGrace, before),
        Err(Rejection::IsNotDue)
    );
    assert_eq!(
        when(&state, &Command::Reopen, before),
        Ok(vec![Event::Reopened])
    );
    assert_eq!(
        when(&state, &Command::Reopen, end),
        Err(Rejection::IsClosed)
    );
    assert_eq!(
        when(&state, &Command::EndGrace, end),
        Ok(vec![Event::Closed])
    );
}

#[test]
fn a_timer_that_comes_after_a_reopening_does_nothing() {
    let state = given(&[active(), vec![close(SHORTEST_GRACE), Command::Reopen]].concat());
    assert_eq!(when(&state, &Command::EndGrace, Timestamp::MAX), Ok(vec![]));
}

#[test]
fn a_closed_account_departs_when_every_home_is_left() {
    let departed = Command::NoteDeparture(Departure {
        ended: [home(1)].into(),
        left: BTreeSet::new(),
    });
    let state = after_grace(&[active(), vec![join(1, 1), note(1, access(1, 1))]].concat());
    let silent = Command::NoteDeparture(Departure::default());
    assert_eq!(when(&state, &silent, START), Err(Rejection::IsNotDue));
    let events = when(&state, &departed, START).unwrap();
    assert!(matches!(
        events[..],
        [Event::AccessEnded { .. }, Event::Departed(_)]
    ));
    let state = fold::<Account>(state, &events);
    assert!(state.homes.is_empty());
    assert_eq!(state.departure.ended, [home(1)].into());
    assert_eq!(when(&state, &departed, START), Ok(vec![]));
}

#[test]
fn she_is_told_at_most_once_an_hour_that_her_address_is_known() {
    let tell = Command::RequestMail(mail(MailKind::KnownAddress));
    let state = given(&[active(), vec![tell.clone()]].concat());
    assert_eq!(when(&state, &tell, START), Ok(vec![]));
    assert_eq!(
        when(&state, &tell, START.plus(KNOWN_ADDRESS_PAUSE))
            .unwrap()
            .len(),
        1
    );
}

fn any_command() -> impl Strategy<Value = (Command, bool)> {
    let small = 0u8..4;
    prop_oneof![
        Just((register(), true)),
        Just((verify(), true)),
        any::<u8>().prop_map(|n| (open(n), true)),
        small.clone().prop_map(|n| (end(n), true)),
        (
            small.clone(),
            small.clone(),
            0u64..5,
            prop::option::of(0u8..3)
        )
            .prop_map(|(at, member, revision, area)| {
                let areas = area
                    .map(|n| AreaId::from_bytes([n; 16]))
                    .into_iter()
                    .collect();
                let access = Access {
                    areas,
                    ..access(member, revision)
                };
                (note(at, access), true)
            }),
        (small.clone(), small).prop_map(|(at, member)| {
            let over = Command::EndAccess {
                home: home(at),
                membership: membership(member),
            };
            (over, true)
        }),
        Just((Command::RequestMail(mail(MailKind::KnownAddress)), true)),
        Just((Command::RequestMail(mail(MailKind::Invitation)), false)),
        Just((close(SHORTEST_GRACE), true)),
        Just((Command::Reopen, true)),
        Just((Command::EndGrace, true)),
        Just((Command::NoteDeparture(Departure::default()), true)),
        any::<bool>().prop_map(|replaced| (Command::Lapse { replaced }, true)),
        Just((
            Command::Abandon {
                registration: RegistrationId::from_bytes([2; 16])
            },
            true
        )),
    ]
}

proptest! {
    #[test]
    fn laws_hold(
        start in any::<bool>(),
        script in prop::collection::vec((any_command(), 0u64..100 * 3600), 0..80),
        cut in 0usize..80,
    ) {
        // Most scripts begin with an account in use, or all they did would be refused.
        let first = if start { active() } else { Vec::new() };
        let first = first.into_iter().map(|command| ((command, true), 0));
        let mut now = START;
        let script: Vec<Step<Account>> = first.chain(script).map(|((command, idempotent), seconds)| {
            now = now.plus(Duration::from_secs(seconds));
            Step { command, facts: facts(now), idempotent }
        }).collect();
        let checked = laws::check(&script, cut);
        prop_assert!(checked.is_ok(), "{checked:?}");
    }
}
