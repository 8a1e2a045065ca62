//! Whose a membership is.
//!
//! A home names people by membership only, and nothing in a home's log leads to an account: not even the owner of a
//! sealed part. This record does, and it goes with the person, or with the membership.

use hearth_kernel::{AccountId, Decider, Failure, HomeId, PartSlot, Parts, Reason};

/// The aggregate.
#[derive(Debug)]
pub struct Membership;

/// Whose it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The account and the home; `None` while it is nobody's.
    pub holder: Option<(AccountId, HomeId)>,
}

/// What somebody wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// The membership, which her account has noted before.
    Take {
        /// The account.
        account: AccountId,
        /// The home.
        home: HomeId,
    },
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It is somebody's.
    Taken {
        /// The account.
        account: AccountId,
        /// The home.
        home: HomeId,
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
    /// It is another's: ids that are random do not meet.
    IsAnothers,
}

impl From<Rejection> for Failure {
    fn from(_: Rejection) -> Self {
        Self::new(Reason::INTERNAL)
    }
}

impl Decider for Membership {
    type State = State;
    type Command = Command;
    type Event = Event;
    type Facts = ();
    type Rejection = Rejection;

    fn decide(state: &State, command: &Command, (): &()) -> Result<Vec<Event>, Rejection> {
        let Command::Take { account, home } = *command;
        match state.holder {
            None => Ok(vec![Event::Taken { account, home }]),
            Some(holder) if holder == (account, home) => Ok(Vec::new()),
            Some(_) => Err(Rejection::IsAnothers),
        }
    }

    fn evolve(_: State, event: &Event) -> State {
        let Event::Taken { account, home } = *event;
        State {
            holder: Some((account, home)),
        }
    }

    fn invariant(_: &State) -> Result<(), &'static str> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    //! It is taken once; and the laws.

    use hearth_kernel::laws::{self, Step};
    use proptest::prelude::*;

    use super::*;

    fn take(account: u8, home: u8) -> Command {
        Command::Take {
            account: AccountId::from_bytes([account; 16]),
            home: HomeId::from_bytes([home; 16]),
        }
    }

    #[test]
    fn it_is_taken_once() {
        let taken = Membership::decide(&State::default(), &take(1, 2), &()).unwrap();
        let state = Membership::evolve(State::default(), &taken[0]);
        assert_eq!(Membership::decide(&state, &take(1, 2), &()), Ok(vec![]));
        for other in [take(3, 2), take(1, 3)] {
            assert_eq!(
                Membership::decide(&state, &other, &()),
                Err(Rejection::IsAnothers)
            );
        }
    }

    proptest! {
        #[test]
        fn laws_hold(script in prop::collection::vec((0u8..2, 0u8..2), 0..10), cut in 0usize..10) {
            let script: Vec<Step<Membership>> = script.into_iter().map(|(account, home)| Step {
                command: take(account, home),
                facts: (),
                idempotent: true,
            }).collect();
            prop_assert!(laws::check(&script, cut).is_ok());
        }
    }
}
