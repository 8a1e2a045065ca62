//! The reservation of an e-mail address, under the keyed hash of its normal form.
//!
//! The first append of this record is what makes an address unique. It names an account, and holds when that account's
//! own log says so: a registration that nobody confirms lapses, or gives way to a newer one.

use hearth_kernel::{AccountId, Decider, Failure, PartSlot, Parts, Reason, Timestamp};

use crate::limits::pause_after;

/// The aggregate.
#[derive(Debug)]
pub struct Email;

/// Whom the address is reserved for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The account; `None` while nobody has it.
    pub account: Option<AccountId>,
    /// Since when.
    pub reserved_at: Timestamp,
    /// How many accounts it was reserved for, one after the other, since it was free.
    pub reservations: u32,
}

impl State {
    /// When another registration may take the place of one that nobody proved: later each time.
    #[must_use]
    pub fn may_change_at(&self) -> Timestamp {
        self.reserved_at.plus(pause_after(self.reservations))
    }
}

/// What somebody wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// The address for an account.
    Reserve {
        /// The account.
        account: AccountId,
        /// The account it may be taken from, which its own log shows as abandoned.
        from: Option<AccountId>,
    },
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The address is an account's.
    Reserved {
        /// The account.
        account: AccountId,
        /// When.
        at: Timestamp,
    },
}

impl Parts for Event {
    fn parts(&mut self) -> Vec<PartSlot<'_>> {
        Vec::new()
    }
}

/// Why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// Somebody else has it.
    IsTaken(AccountId),
}

impl From<Rejection> for Failure {
    fn from(_: Rejection) -> Self {
        // No client ever sees this: who asks learns what became of it by mail.
        Self::new(Reason::INTERNAL)
    }
}

impl Decider for Email {
    type State = State;
    type Command = Command;
    type Event = Event;
    type Facts = Timestamp;
    type Rejection = Rejection;

    fn decide(state: &State, command: &Command, now: &Timestamp) -> Result<Vec<Event>, Rejection> {
        let Command::Reserve { account, from } = command;
        match state.account {
            Some(holder) if holder == *account => Ok(Vec::new()),
            Some(holder) if Some(holder) != *from => Err(Rejection::IsTaken(holder)),
            _ => Ok(vec![Event::Reserved {
                account: *account,
                at: *now,
            }]),
        }
    }

    fn evolve(state: State, event: &Event) -> State {
        let Event::Reserved { account, at } = event;
        State {
            account: Some(*account),
            reserved_at: *at,
            reservations: state.reservations.saturating_add(1),
        }
    }

    fn invariant(_: &State) -> Result<(), &'static str> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    //! Who gets an address, and the laws.

    use hearth_kernel::laws::{self, Step};
    use proptest::prelude::*;

    use super::*;

    const ANNA: AccountId = AccountId::from_bytes([1; 16]);
    const BORIS: AccountId = AccountId::from_bytes([2; 16]);

    fn reserve(account: AccountId, from: Option<AccountId>) -> Command {
        Command::Reserve { account, from }
    }

    #[test]
    fn the_first_one_gets_it_and_a_second_only_from_who_gave_it_up() {
        let now = Timestamp::from_seconds(5);
        let taken = Email::decide(&State::default(), &reserve(ANNA, None), &now).unwrap();
        let state = Email::evolve(State::default(), &taken[0]);
        assert_eq!(
            Email::decide(&state, &reserve(ANNA, None), &now),
            Ok(vec![])
        );
        assert_eq!(
            Email::decide(&state, &reserve(BORIS, None), &now),
            Err(Rejection::IsTaken(ANNA))
        );
        assert_eq!(
            Email::decide(&state, &reserve(BORIS, Some(BORIS)), &now),
            Err(Rejection::IsTaken(ANNA))
        );
        let given = Email::decide(&state, &reserve(BORIS, Some(ANNA)), &now).unwrap();
        assert_eq!(Email::evolve(state, &given[0]).account, Some(BORIS));
    }

    #[test]
    fn each_change_is_farther_from_the_next() {
        let mut state = State::default();
        let mut pauses = Vec::new();
        for n in 1..=10 {
            let account = AccountId::from_bytes([n; 16]);
            let command = reserve(account, state.account);
            let now = state.may_change_at();
            let reserved = Email::decide(&state, &command, &now).unwrap();
            state = Email::evolve(state, &reserved[0]);
            pauses.push(state.may_change_at().since(now).as_secs() / 60);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]);
    }

    proptest! {
        #[test]
        fn laws_hold(script in prop::collection::vec((0u8..3, prop::option::of(0u8..3), 0i64..100), 0..20), cut in 0usize..20) {
            let id = |n: u8| AccountId::from_bytes([n; 16]);
            let script: Vec<Step<Email>> = script.into_iter().map(|(account, from, now)| Step {
                command: reserve(id(account), from.map(id)),
                facts: Timestamp::from_seconds(now),
                idempotent: true,
            }).collect();
            prop_assert!(laws::check(&script, cut).is_ok());
        }
    }
}
