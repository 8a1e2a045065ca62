//! What proves that somebody is the person of an account: the hash of her password, and how often it was guessed at.

use hearth_kernel::{
    AccountId, Decider, Failure, Owner, Part, PartSlot, Parts, Purpose, Reason, Timestamp,
};

use crate::limits::{ATTEMPTS, wait_after};

/// The aggregate.
#[derive(Debug)]
pub struct Credentials;

/// What is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The PHC string of the password's hash; `None` before one is set.
    pub password: Option<Part>,
    /// Wrong passwords in a row, counted up to [`ATTEMPTS`].
    pub failures: u32,
    /// When the last wrong one was.
    pub failed_at: Timestamp,
}

impl State {
    /// When the next password is tried.
    #[must_use]
    pub fn next_attempt_at(&self) -> Timestamp {
        self.failed_at.plus(wait_after(self.failures))
    }

    /// Whether a password is tried now.
    #[must_use]
    pub fn may_attempt(&self, now: Timestamp) -> bool {
        self.failures == 0 || now >= self.next_attempt_at()
    }
}

/// What somebody wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A new password.
    SetPassword {
        /// The account.
        account: AccountId,
        /// The PHC string of its hash.
        password: Part,
    },
    /// The same password, hashed anew at today's cost.
    Rehash {
        /// The account.
        account: AccountId,
        /// The new PHC string.
        password: Part,
    },
    /// A wrong one was shown.
    Fail,
    /// The right one was shown.
    Succeed,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// There is a new password.
    PasswordSet {
        /// The account.
        account: AccountId,
        /// The PHC string of its hash.
        password: Part,
    },
    /// It is hashed at today's cost.
    PasswordRehashed {
        /// The account.
        account: AccountId,
        /// The PHC string of its hash.
        password: Part,
    },
    /// A wrong one was shown.
    AttemptFailed {
        /// When.
        at: Timestamp,
    },
    /// The count of wrong ones begins again.
    AttemptsForgiven,
}

impl Parts for Event {
    fn parts(&mut self) -> Vec<PartSlot<'_>> {
        match self {
            Self::PasswordSet { account, password }
            | Self::PasswordRehashed { account, password } => vec![PartSlot {
                owner: Owner::Account(*account),
                purpose: Purpose::Profile,
                part: password,
            }],
            Self::AttemptFailed { .. } | Self::AttemptsForgiven => Vec::new(),
        }
    }
}

/// Why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// There is no password yet.
    HasNoPassword,
}

impl From<Rejection> for Failure {
    fn from(_: Rejection) -> Self {
        Self::new(Reason::INVALID_CREDENTIALS)
    }
}

impl Decider for Credentials {
    type State = State;
    type Command = Command;
    type Event = Event;
    type Facts = Timestamp;
    type Rejection = Rejection;

    fn decide(state: &State, command: &Command, now: &Timestamp) -> Result<Vec<Event>, Rejection> {
        if state.password.is_none() && !matches!(command, Command::SetPassword { .. }) {
            return Err(Rejection::HasNoPassword);
        }
        Ok(match command {
            Command::SetPassword { account, password } => vec![Event::PasswordSet {
                account: *account,
                password: password.clone(),
            }],
            Command::Rehash { account, password } => vec![Event::PasswordRehashed {
                account: *account,
                password: password.clone(),
            }],
            Command::Fail => vec![Event::AttemptFailed { at: *now }],
            Command::Succeed if state.failures == 0 => Vec::new(),
            Command::Succeed => vec![Event::AttemptsForgiven],
        })
    }

    fn evolve(mut state: State, event: &Event) -> State {
        match event {
            Event::PasswordSet { password, .. } => State {
                password: Some(password.clone()),
                ..State::default()
            },
            Event::PasswordRehashed { password, .. } => {
                state.password = Some(password.clone());
                state
            }
            Event::AttemptFailed { at } => {
                state.failures = state.failures.saturating_add(1).min(ATTEMPTS);
                state.failed_at = *at;
                state
            }
            Event::AttemptsForgiven => {
                state.failures = 0;
                state
            }
        }
    }

    fn invariant(state: &State) -> Result<(), &'static str> {
        if state.failures > ATTEMPTS {
            return Err("no more than 100 wrong passwords in a row are counted");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    //! Guessing, forgiveness, and the laws.

    use std::time::Duration;

    use hearth_kernel::laws::{self, Step};
    use proptest::prelude::*;

    use super::*;
    use crate::limits::LONGEST_WAIT;

    const ANNA: AccountId = AccountId::from_bytes([1; 16]);
    const START: Timestamp = Timestamp::from_seconds(1_000);

    fn set() -> Command {
        Command::SetPassword {
            account: ANNA,
            password: Part::clear("$argon2id$"),
        }
    }

    fn after(commands: &[Command]) -> State {
        let mut state = State::default();
        for command in commands {
            for event in Credentials::decide(&state, command, &START).unwrap() {
                state = Credentials::evolve(state, &event);
            }
        }
        state
    }

    #[test]
    fn nothing_can_be_guessed_where_there_is_no_password() {
        assert_eq!(
            Credentials::decide(&State::default(), &Command::Fail, &START),
            Err(Rejection::HasNoPassword)
        );
    }

    #[test]
    fn the_fifth_wrong_password_costs_half_a_minute() {
        let mut commands = vec![set()];
        commands.extend(vec![Command::Fail; 4]);
        assert!(after(&commands).may_attempt(START));
        commands.push(Command::Fail);
        let state = after(&commands);
        assert!(!state.may_attempt(START.plus(Duration::from_secs(29))));
        assert!(state.may_attempt(START.plus(Duration::from_secs(30))));
        commands.push(Command::Succeed);
        assert!(after(&commands).may_attempt(START));
    }

    #[test]
    fn however_many_were_wrong_the_wait_ends_and_the_next_wrong_one_costs_it_again() {
        let mut commands = vec![set()];
        commands.extend(vec![Command::Fail; 150]);
        let state = after(&commands);
        assert_eq!(state.failures, ATTEMPTS);
        let end = START.plus(LONGEST_WAIT);
        assert!(!state.may_attempt(end.minus(Duration::from_secs(1))));
        assert!(state.may_attempt(end));
        let failed = Credentials::decide(&state, &Command::Fail, &end).unwrap();
        let state = Credentials::evolve(state, &failed[0]);
        assert!(!state.may_attempt(end));
        assert!(state.may_attempt(end.plus(LONGEST_WAIT)));
        commands.push(set());
        assert!(after(&commands).may_attempt(START));
    }

    proptest! {
        #[test]
        fn laws_hold(script in prop::collection::vec((0u8..8, 0i64..100), 0..150), cut in 0usize..150) {
            let script: Vec<Step<Credentials>> = script.into_iter().map(|(what, now)| Step {
                command: match what {
                    0 => set(),
                    1 => Command::Succeed,
                    2 => Command::Rehash { account: ANNA, password: Part::clear("$argon2id$2") },
                    _ => Command::Fail,
                },
                facts: Timestamp::from_seconds(now),
                idempotent: what == 1,
            }).collect();
            prop_assert!(laws::check(&script, cut).is_ok());
        }
    }
}
