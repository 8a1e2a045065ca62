//! A registration: what somebody asked for, kept until it is settled and for a day at most.
//!
//! It is written before anybody looks whether the address is known, so that the answer cannot tell. What it
//! says about a person is sealed under the account that it may become.

use hearth_kernel::{
    AccountId, Decider, Failure, Owner, Part, PartSlot, Parts, Purpose, Reason, Timestamp,
};

use crate::account::Profile;
use crate::limits::{REGISTRATION_LIVES, REGISTRATION_TRIES};

/// The aggregate.
#[derive(Debug)]
pub struct Registration;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The account it becomes when it is confirmed.
    pub account: AccountId,
    /// What it says about its person.
    pub profile: Profile,
    /// The PHC string of the password's hash.
    pub password: Part,
    /// SHA-256 of the client's secret.
    pub client_secret_hash: [u8; 32],
}

/// How far it has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// There is none.
    #[default]
    Absent,
    /// Nobody has looked at it yet.
    Requested(Box<Request>),
    /// The account waits for its confirmation.
    Pending {
        /// The account.
        account: AccountId,
        /// SHA-256 of the client's secret.
        client_secret_hash: [u8; 32],
    },
    /// Nothing came of it: the address is known, or gets too many mails.
    Dropped {
        /// The account that it named: a key ring was made for it. Records of the first release do not say.
        account: Option<AccountId>,
    },
}

/// What is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// How far it has come.
    pub stage: Stage,
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// Wrong codes so far.
    pub tries: u8,
}

impl State {
    /// When it lapses.
    #[must_use]
    pub fn lapses_at(&self) -> Timestamp {
        self.requested_at.plus(REGISTRATION_LIVES)
    }
}

/// What somebody wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// An account.
    Ask(Box<Request>),
    /// To go on: the account was made, and its mail is on the way.
    Proceed,
    /// To stop here: there is nothing to confirm.
    Drop,
    /// To note a wrong code.
    CountWrongCode,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Somebody asked.
    Asked {
        /// For what.
        request: Box<Request>,
        /// When.
        at: Timestamp,
    },
    /// The account was made; what it was made of is forgotten here.
    Proceeded,
    /// There is nothing to confirm; all is forgotten.
    Dropped,
    /// A wrong code was shown.
    WrongCodeCounted,
}

impl Parts for Event {
    fn parts(&mut self) -> Vec<PartSlot<'_>> {
        let Self::Asked { request, .. } = self else {
            return Vec::new();
        };
        let owner = Owner::Account(request.account);
        let [email, username, locale] = request.profile.parts();
        [email, username, locale, &mut request.password]
            .into_iter()
            .map(|part| PartSlot {
                owner,
                purpose: Purpose::Profile,
                part,
            })
            .collect()
    }
}

/// Why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// There is no such registration, or it is over.
    IsOver,
    /// It was asked for already.
    Exists,
}

impl From<Rejection> for Failure {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::IsOver => Self::new(Reason::VERIFICATION_FAILED),
            Rejection::Exists => Self::new(Reason::REQUEST_ID_REUSED),
        }
    }
}

impl Decider for Registration {
    type State = State;
    type Command = Command;
    type Event = Event;
    type Facts = Timestamp;
    type Rejection = Rejection;

    fn decide(state: &State, command: &Command, now: &Timestamp) -> Result<Vec<Event>, Rejection> {
        match (command, &state.stage) {
            (Command::Ask(request), Stage::Absent) => Ok(vec![Event::Asked {
                request: request.clone(),
                at: *now,
            }]),
            (Command::Ask(_), _) => Err(Rejection::Exists),
            (Command::Proceed, Stage::Requested(_)) => Ok(vec![Event::Proceeded]),
            (Command::Drop, Stage::Requested(_)) => Ok(vec![Event::Dropped]),
            (Command::Proceed, Stage::Pending { .. }) | (Command::Drop, Stage::Dropped { .. }) => {
                Ok(Vec::new())
            }
            (Command::CountWrongCode, Stage::Pending { .. })
                if state.tries < REGISTRATION_TRIES =>
            {
                Ok(vec![Event::WrongCodeCounted])
            }
            _ => Err(Rejection::IsOver),
        }
    }

    fn evolve(mut state: State, event: &Event) -> State {
        match event {
            Event::Asked { request, at } => State {
                stage: Stage::Requested(request.clone()),
                requested_at: *at,
                tries: 0,
            },
            Event::Proceeded => {
                if let Stage::Requested(request) = &state.stage {
                    state.stage = Stage::Pending {
                        account: request.account,
                        client_secret_hash: request.client_secret_hash,
                    };
                }
                state
            }
            Event::Dropped => {
                let account = match &state.stage {
                    Stage::Requested(request) => Some(request.account),
                    _ => None,
                };
                state.stage = Stage::Dropped { account };
                state
            }
            Event::WrongCodeCounted => {
                state.tries = state.tries.saturating_add(1);
                state
            }
        }
    }

    fn invariant(state: &State) -> Result<(), &'static str> {
        if state.tries > REGISTRATION_TRIES {
            return Err("a registration bears five wrong codes");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    //! The way of a registration, and the laws.

    use hearth_kernel::laws::{self, Step};
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(9);

    fn request() -> Box<Request> {
        Box::new(Request {
            account: AccountId::from_bytes([1; 16]),
            profile: Profile {
                email: Part::clear("anna@example.org"),
                username: Part::clear("Anna"),
                locale: Part::clear("mk"),
            },
            password: Part::clear("$argon2id$"),
            client_secret_hash: [3; 32],
        })
    }

    fn after(commands: &[Command]) -> State {
        let mut state = State::default();
        for command in commands {
            for event in Registration::decide(&state, command, &NOW).unwrap() {
                state = Registration::evolve(state, &event);
            }
        }
        state
    }

    #[test]
    fn what_it_says_about_a_person_goes_when_it_proceeds() {
        let state = after(&[Command::Ask(request()), Command::Proceed]);
        let pending = Stage::Pending {
            account: request().account,
            client_secret_hash: [3; 32],
        };
        assert_eq!(state.stage, pending);
        assert_eq!(state.lapses_at(), NOW.plus(REGISTRATION_LIVES));
    }

    #[test]
    fn five_wrong_codes_end_it() {
        let mut commands = vec![Command::Ask(request()), Command::Proceed];
        commands.extend(vec![Command::CountWrongCode; 5]);
        assert_eq!(
            Registration::decide(&after(&commands), &Command::CountWrongCode, &NOW),
            Err(Rejection::IsOver)
        );
    }

    #[test]
    fn one_that_was_dropped_cannot_be_confirmed() {
        let state = after(&[Command::Ask(request()), Command::Drop]);
        assert_eq!(
            Registration::decide(&state, &Command::Proceed, &NOW),
            Err(Rejection::IsOver)
        );
    }

    proptest! {
        #[test]
        fn laws_hold(script in prop::collection::vec(0u8..6, 0..20), cut in 0usize..20) {
            let script: Vec<Step<Registration>> = script.into_iter().map(|what| Step {
                command: match what {
                    0 => Command::Ask(request()),
                    1 => Command::Proceed,
                    2 => Command::Drop,
                    _ => Command::CountWrongCode,
                },
                facts: NOW,
                idempotent: what < 3,
            }).collect();
            prop_assert!(laws::check(&script, cut).is_ok());
        }
    }
}
