//! The history of one episode: a rule came true for one thing, and later no longer was. It makes the notices.
//!
//! Its id is a keyed hash of home, rule, subject and beginning, so finding the same episode again finds this one.

use hearth_kernel::{
    Decider, Failure, HomeId, Owner, Part, PartSlot, Parts, Purpose, Reason, RuleId, Timestamp,
};

use crate::preferences::Topic;

/// The aggregate.
#[derive(Debug)]
pub struct Episode;

/// What an episode is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Of {
    /// The home.
    pub home: HomeId,
    /// The rule.
    pub rule: RuleId,
    /// What its notices are about.
    pub topic: Topic,
}

/// What the past amounts to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// What it is of; `None` before it began.
    pub of: Option<Of>,
    /// Whether it is over.
    pub ended: bool,
}

/// What the rules found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// That it began.
    Begin {
        /// What it is of.
        of: Of,
        /// Device, area and time, for the notices.
        content: Part,
    },
    /// That it is over.
    End {
        /// The time.
        content: Part,
    },
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It began.
    Began {
        /// What it is of.
        of: Of,
        /// Device, area and time, for the notices.
        content: Part,
        /// When it was found.
        at: Timestamp,
    },
    /// It is over.
    Ended {
        /// What it is of.
        of: Of,
        /// The time.
        content: Part,
        /// When that was found.
        at: Timestamp,
    },
}

impl Event {
    /// What it is of.
    #[must_use]
    pub const fn of(&self) -> Of {
        match self {
            Self::Began { of, .. } | Self::Ended { of, .. } => *of,
        }
    }
}

impl Parts for Event {
    fn parts(&mut self) -> Vec<PartSlot<'_>> {
        let owner = Owner::Home(self.of().home);
        match self {
            Self::Began { content, .. } | Self::Ended { content, .. } => vec![PartSlot {
                owner,
                purpose: Purpose::Signals,
                part: content,
            }],
        }
    }
}

/// Why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// Another episode has this id.
    IsAnothers,
}

impl From<Rejection> for Failure {
    fn from(Rejection::IsAnothers: Rejection) -> Self {
        Self::new(Reason::INTERNAL)
    }
}

impl Decider for Episode {
    type State = State;
    type Command = Command;
    type Event = Event;
    /// Now.
    type Facts = Timestamp;
    type Rejection = Rejection;

    fn decide(state: &State, command: &Command, now: &Timestamp) -> Result<Vec<Event>, Rejection> {
        match (command, state.of) {
            (Command::Begin { of, content }, None) => Ok(vec![Event::Began {
                of: *of,
                content: content.clone(),
                at: *now,
            }]),
            (Command::Begin { of, .. }, Some(known)) if known != *of => Err(Rejection::IsAnothers),
            (Command::End { content }, Some(of)) if !state.ended => Ok(vec![Event::Ended {
                of,
                content: content.clone(),
                at: *now,
            }]),
            // Found before. One that never began had no notices, and none end.
            (Command::Begin { .. } | Command::End { .. }, _) => Ok(Vec::new()),
        }
    }

    fn evolve(mut state: State, event: &Event) -> State {
        match event {
            Event::Began { of, .. } => state.of = Some(*of),
            Event::Ended { .. } => state.ended = true,
        }
        state
    }

    fn invariant(state: &State) -> Result<(), &'static str> {
        if state.ended && state.of.is_none() {
            return Err("what is over has begun");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use hearth_kernel::laws::{self, Step};
    use proptest::prelude::*;

    use super::*;

    fn begin(rule: u8) -> Command {
        let of = Of {
            home: HomeId::from_bytes([1; 16]),
            rule: RuleId::from_bytes([rule; 16]),
            topic: Topic::Heating,
        };
        let content = Part::clear("content");
        Command::Begin { of, content }
    }

    fn end() -> Command {
        Command::End {
            content: Part::clear("end"),
        }
    }

    proptest! {
        #[test]
        fn laws_hold_and_it_begins_and_ends_once(script in prop::collection::vec(0u8..4, 0..20), cut in 0usize..20) {
            let command = |n| if n < 2 { begin(n) } else { end() };
            let script: Vec<Step<Episode>> = script.into_iter().map(|n| Step {
                command: command(n),
                facts: Timestamp::from_seconds(5),
                idempotent: true,
            }).collect();
            let (events, _) = laws::check(&script, cut).map_err(|broken| TestCaseError::fail(format!("{broken:?}")))?;
            let began = events.iter().filter(|event| matches!(event, Event::Began { .. })).count();
            prop_assert!(began <= 1 && events.len() <= 2);
        }
    }
}
