//! The refresh tokens of one session: a family that rotates, in which only the newest token counts.
//!
//! No token is stored. A token names its generation and proves it by a keyed hash over the session, the seed and that
//! generation; so whoever asks twice gets the same token twice, and this record stays a few bytes for ever.

use hearth_kernel::{AccountId, CommitId, Decider, Failure, PartSlot, Parts, Reason, Timestamp};

use crate::limits::{REFRESH_GRACE, SESSION_IDLE, SESSION_LIVES};

/// The aggregate.
#[derive(Debug)]
pub struct SessionFamily;

/// Where the family stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Whose session it is; `None` before it is opened.
    pub account: Option<AccountId>,
    /// What its tokens are derived from: the commit that opened the session in the account.
    pub seed: CommitId,
    /// The newest generation, from 1.
    pub generation: u64,
    /// When the session was opened.
    pub opened_at: Timestamp,
    /// When the newest generation was made.
    pub rotated_at: Timestamp,
}

impl State {
    /// When the session ends unless it is refreshed.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        self.rotated_at
            .plus(SESSION_IDLE)
            .min(self.opened_at.plus(SESSION_LIVES))
    }
}

/// What somebody wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// The first token of a session that its account has opened.
    Open {
        /// Whose.
        account: AccountId,
        /// What its tokens are derived from.
        seed: CommitId,
        /// When the account opened it.
        at: Timestamp,
    },
    /// A new token for one whose hash was found right.
    Rotate {
        /// The generation that the shown token names.
        shown: u64,
    },
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The first token is out.
    Opened {
        /// Whose.
        account: AccountId,
        /// What its tokens are derived from.
        seed: CommitId,
        /// When.
        at: Timestamp,
    },
    /// The next token is out.
    Rotated {
        /// Its generation.
        generation: u64,
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
    /// There is no such session, or it has ended.
    HasEnded,
    /// It was not used for too long, or lives long enough.
    HasExpired,
    /// A token that was replaced long ago was shown again: one of the two who have it stole it.
    TokenWasReused,
    /// Another account opened it.
    IsAnothers,
}

impl From<Rejection> for Failure {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::IsAnothers => Self::new(Reason::INTERNAL),
            _ => Self::new(Reason::SESSION_ENDED),
        }
    }
}

impl Decider for SessionFamily {
    type State = State;
    type Command = Command;
    type Event = Event;
    type Facts = Timestamp;
    type Rejection = Rejection;

    fn decide(state: &State, command: &Command, now: &Timestamp) -> Result<Vec<Event>, Rejection> {
        match (command, state.account) {
            (Command::Open { account, seed, at }, None) => Ok(vec![Event::Opened {
                account: *account,
                seed: *seed,
                at: *at,
            }]),
            (Command::Open { account, .. }, Some(holder)) if holder == *account => Ok(Vec::new()),
            (Command::Open { .. }, Some(_)) => Err(Rejection::IsAnothers),
            (Command::Rotate { .. }, None) => Err(Rejection::HasEnded),
            (Command::Rotate { .. }, Some(_)) if *now >= state.expires_at() => {
                Err(Rejection::HasExpired)
            }
            (Command::Rotate { shown }, Some(_)) if *shown == state.generation => {
                Ok(vec![Event::Rotated {
                    generation: state.generation.saturating_add(1),
                    at: *now,
                }])
            }
            // A concurrent caller showed the same token: it gets the same new one.
            (Command::Rotate { shown }, Some(_))
                if shown.checked_add(1) == Some(state.generation)
                    && *now < state.rotated_at.plus(REFRESH_GRACE) =>
            {
                Ok(Vec::new())
            }
            (Command::Rotate { .. }, Some(_)) => Err(Rejection::TokenWasReused),
        }
    }

    fn evolve(mut state: State, event: &Event) -> State {
        match event {
            Event::Opened { account, seed, at } => State {
                account: Some(*account),
                seed: *seed,
                generation: 1,
                opened_at: *at,
                rotated_at: *at,
            },
            Event::Rotated { generation, at } => {
                state.generation = *generation;
                state.rotated_at = *at;
                state
            }
        }
    }

    fn invariant(state: &State) -> Result<(), &'static str> {
        if state.account.is_some() && state.generation == 0 {
            return Err("an open session has a token");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    //! Rotation, its grace, reuse and the ends of a session; and the laws.

    use std::time::Duration;

    use hearth_kernel::laws::{self, Step};
    use proptest::prelude::*;

    use super::*;

    const ANNA: AccountId = AccountId::from_bytes([1; 16]);
    const START: Timestamp = Timestamp::from_seconds(1_000);

    fn open() -> Command {
        Command::Open {
            account: ANNA,
            seed: CommitId::from_bytes([7; 16]),
            at: START,
        }
    }

    fn family(rotations: &[Timestamp]) -> State {
        let mut state = State::default();
        for event in SessionFamily::decide(&state, &open(), &START).unwrap() {
            state = SessionFamily::evolve(state, &event);
        }
        for now in rotations {
            let shown = state.generation;
            for event in SessionFamily::decide(&state, &Command::Rotate { shown }, now).unwrap() {
                state = SessionFamily::evolve(state, &event);
            }
        }
        state
    }

    fn rotate(state: &State, shown: u64, now: Timestamp) -> Result<Vec<Event>, Rejection> {
        SessionFamily::decide(state, &Command::Rotate { shown }, &now)
    }

    #[test]
    fn the_newest_token_makes_a_new_one() {
        let state = family(&[]);
        let made = rotate(&state, 1, START).unwrap();
        assert_eq!(
            made,
            [Event::Rotated {
                generation: 2,
                at: START
            }]
        );
    }

    #[test]
    fn the_one_before_is_answered_with_the_same_for_ten_seconds_and_then_is_a_theft() {
        let state = family(&[START]);
        let edge = START.plus(REFRESH_GRACE);
        assert_eq!(
            rotate(&state, 1, edge.minus(Duration::from_micros(1))),
            Ok(vec![])
        );
        assert_eq!(rotate(&state, 1, edge), Err(Rejection::TokenWasReused));
    }

    #[test]
    fn older_and_unknown_generations_are_a_theft_at_once() {
        let state = family(&[START, START]);
        for shown in [0, 1, 4, u64::MAX] {
            assert_eq!(
                rotate(&state, shown, START),
                Err(Rejection::TokenWasReused),
                "{shown}"
            );
        }
    }

    #[test]
    fn it_ends_when_idle_and_when_old() {
        let idle = START.plus(SESSION_IDLE);
        assert_eq!(rotate(&family(&[]), 1, idle), Err(Rejection::HasExpired));
        let mut now = START;
        let mut often = Vec::new();
        while now < START.plus(SESSION_LIVES) {
            often.push(now);
            now = now.plus(SESSION_IDLE / 2);
        }
        let state = family(&often);
        assert_eq!(state.expires_at(), START.plus(SESSION_LIVES));
        assert_eq!(
            rotate(&state, state.generation, START.plus(SESSION_LIVES)),
            Err(Rejection::HasExpired)
        );
    }

    #[test]
    fn a_session_that_is_not_there_has_ended() {
        assert_eq!(
            rotate(&State::default(), 1, START),
            Err(Rejection::HasEnded)
        );
    }

    proptest! {
        #[test]
        fn laws_hold(script in prop::collection::vec((0u8..4, 0u64..6, 0i64..40), 0..30), cut in 0usize..30) {
            let script: Vec<Step<SessionFamily>> = script.into_iter().map(|(what, shown, seconds)| Step {
                command: if what == 0 { open() } else { Command::Rotate { shown } },
                facts: START.plus(Duration::from_secs(u64::try_from(seconds).unwrap())),
                idempotent: true,
            }).collect();
            prop_assert!(laws::check(&script, cut).is_ok());
        }
    }
}
