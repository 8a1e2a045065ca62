//! The record of one hub: which claim it has now. At most one; a later one replaces it.

use hearth_kernel::{ClaimId, Decider, Failure, HomeId, PartSlot, Parts, Reason};

/// The aggregate.
#[derive(Debug)]
pub struct Hub;

/// What is so now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The claim, and the home it is with.
    pub current: Option<Current>,
    /// The claim before, which has ended.
    pub former: Option<ClaimId>,
}

/// A hub's claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Current {
    /// The claim.
    pub claim: ClaimId,
    /// The home.
    pub home: HomeId,
}

/// What somebody wants.
#[derive(Clone, Copy, Debug)]
pub enum Command {
    /// A claim for it; whatever claim it had ends.
    Take(Current),
    /// An end of that claim, if it still is the one.
    Release(ClaimId),
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It has another claim.
    Taken(Current),
    /// It has none.
    Released,
}

impl Parts for Event {
    fn parts(&mut self) -> Vec<PartSlot<'_>> {
        Vec::new()
    }
}

/// Nothing is refused: the command says what to be so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {}

impl From<Rejection> for Failure {
    fn from(_: Rejection) -> Self {
        Self::new(Reason::INTERNAL)
    }
}

impl Decider for Hub {
    type State = State;
    type Command = Command;
    type Event = Event;
    type Facts = ();
    type Rejection = Rejection;

    fn decide(state: &State, command: &Command, (): &()) -> Result<Vec<Event>, Rejection> {
        Ok(match command {
            Command::Take(current) if state.current == Some(*current) => Vec::new(),
            Command::Take(current) => vec![Event::Taken(*current)],
            Command::Release(claim) if state.current.is_some_and(|it| it.claim == *claim) => {
                vec![Event::Released]
            }
            Command::Release(_) => Vec::new(),
        })
    }

    fn evolve(state: State, event: &Event) -> State {
        match event {
            Event::Taken(current) => State {
                current: Some(*current),
                former: state.current.map(|it| it.claim),
            },
            Event::Released => State {
                current: None,
                former: state.current.map(|it| it.claim),
            },
        }
    }

    fn invariant(state: &State) -> Result<(), &'static str> {
        match (state.current, state.former) {
            (Some(current), Some(former)) if current.claim == former => {
                Err("a claim follows itself")
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use hearth_kernel::laws::{Step, check};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn obeys_the_laws(script in prop::collection::vec((any::<bool>(), 1u8..4), 0..12), cut in 0usize..12) {
            let steps: Vec<_> = script
                .iter()
                .map(|(take, n)| {
                    let claim = ClaimId::from_bytes([*n; 16]);
                    let home = HomeId::from_bytes([9; 16]);
                    Step::<Hub> {
                        command: if *take { Command::Take(Current { claim, home }) } else { Command::Release(claim) },
                        facts: (),
                        idempotent: true,
                    }
                })
                .collect();
            prop_assert!(check::<Hub>(&steps, cut).is_ok());
        }
    }
}
