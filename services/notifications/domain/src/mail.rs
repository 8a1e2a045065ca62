//! The history of one mail that another service asked for: taken over, tried, done.
//!
//! Its content stays sealed as that service sealed it; it is opened when it is sent, and each time anew.

use std::sync::Arc;

use hearth_kernel::{AccountId, Decider, Failure, PartSlot, Parts, Timestamp};

use crate::delivery::{Delivery, Outcome, Tried};

/// The aggregate.
#[derive(Debug)]
pub struct Mail;

/// A mail that was taken over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The account whose key seals it.
    pub account: AccountId,
    /// Address, language and body: a sealed part in its self-contained form.
    pub sealed: Arc<[u8]>,
    /// Not sent after this.
    pub expires_at: Timestamp,
}

/// What the past amounts to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The mail; `None` before it was taken over.
    pub taken: Option<Taken>,
    /// How it fares.
    pub delivery: Delivery,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// To take it over.
    Take(Taken),
    /// To note what a try came to.
    NoteTry {
        /// Which try.
        attempt: u8,
        /// What came of it.
        tried: Tried,
    },
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It was taken over.
    Taken {
        /// The mail.
        mail: Taken,
        /// When.
        at: Timestamp,
    },
    /// A try failed; another comes.
    TryFailed {
        /// Which try comes next.
        attempt: u8,
        /// When.
        due: Timestamp,
    },
    /// It is done.
    Done {
        /// The account whose key seals it.
        account: AccountId,
        /// What came of it.
        outcome: Outcome,
    },
}

impl Parts for Event {
    fn parts(&mut self) -> Vec<PartSlot<'_>> {
        Vec::new()
    }
}

/// Why not: never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {}

impl From<Rejection> for Failure {
    fn from(rejection: Rejection) -> Self {
        match rejection {}
    }
}

impl Decider for Mail {
    type State = State;
    type Command = Command;
    type Event = Event;
    /// Now.
    type Facts = Timestamp;
    type Rejection = Rejection;

    fn decide(state: &State, command: &Command, now: &Timestamp) -> Result<Vec<Event>, Rejection> {
        Ok(match (command, &state.taken) {
            (Command::Take(mail), None) => vec![Event::Taken {
                mail: mail.clone(),
                at: *now,
            }],
            (Command::NoteTry { attempt, tried }, Some(taken)) => {
                match state
                    .delivery
                    .after(*attempt, *tried, *now, taken.expires_at)
                {
                    Some(Delivery::Queued { attempt, due }) => {
                        vec![Event::TryFailed { attempt, due }]
                    }
                    Some(Delivery::Done(outcome)) => vec![Event::Done {
                        account: taken.account,
                        outcome,
                    }],
                    Some(Delivery::Off) | None => Vec::new(),
                }
            }
            _ => Vec::new(),
        })
    }

    fn evolve(mut state: State, event: &Event) -> State {
        match event {
            Event::Taken { mail, at } => {
                state.taken = Some(mail.clone());
                state.delivery = Delivery::begin(*at);
            }
            Event::TryFailed { attempt, due } => {
                state.delivery = Delivery::Queued {
                    attempt: *attempt,
                    due: *due,
                };
            }
            Event::Done { outcome, .. } => state.delivery = Delivery::Done(*outcome),
        }
        state
    }

    fn invariant(state: &State) -> Result<(), &'static str> {
        if state.taken.is_none() && state.delivery != Delivery::Off {
            return Err("nothing is sent before it is taken over");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hearth_kernel::laws::{self, Step};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn laws_hold_and_it_is_done_once(
            script in prop::collection::vec((0u8..8, 0u8..5, 0u64..4000), 0..40),
            cut in 0usize..40,
        ) {
            let start = Timestamp::from_seconds(1_000);
            let take = Command::Take(Taken {
                account: AccountId::from_bytes([1; 16]),
                sealed: Arc::from([1u8, 2, 3].as_slice()),
                expires_at: start.plus(Duration::from_secs(3600)),
            });
            let mut now = start;
            let mut steps = vec![Step::<Mail> { command: take.clone(), facts: now, idempotent: true }];
            for (attempt, what, seconds) in script {
                now = now.plus(Duration::from_secs(seconds));
                let tried = match what {
                    0 => None,
                    1 => Some(Tried::Accepted),
                    2 => Some(Tried::Unwanted),
                    _ => Some(Tried::Failed),
                };
                let command = tried.map_or_else(|| take.clone(), |tried| Command::NoteTry { attempt, tried });
                steps.push(Step { command, facts: now, idempotent: true });
            }
            let (events, _) = laws::check(&steps, cut).map_err(|broken| TestCaseError::fail(format!("{broken:?}")))?;
            let done = events.iter().filter(|event| matches!(event, Event::Done { .. })).count();
            prop_assert!(done <= 1);
        }
    }
}
