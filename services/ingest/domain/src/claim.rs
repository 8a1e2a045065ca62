//! The history of one claim: a hub's pairing with one home, from its making to its end. A new pairing is a new claim.

use hearth_kernel::{
    ClaimId, Decider, Failure, HomeId, HubId, Owner, Part, PartSlot, Parts, Purpose, Reason,
    Timestamp,
};

/// The aggregate.
#[derive(Debug)]
pub struct Claim;

/// What a claim holds once it is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// The claim.
    pub claim: ClaimId,
    /// The hub.
    pub hub: HubId,
    /// The home.
    pub home: HomeId,
    /// The hub's Ed25519 public key.
    pub public_key: [u8; 32],
    /// What the home calls the hub.
    pub name: Part,
    /// The hub's model.
    pub model: Part,
    /// When it was made.
    pub claimed_at: Timestamp,
}

/// What the past amounts to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// There is no such claim.
    #[default]
    Absent,
    /// The hub may send.
    Active(Box<Made>),
    /// It has ended, for ever.
    Ended(Box<Made>),
}

impl State {
    /// What it was made as, while it stands.
    #[must_use]
    pub fn active(&self) -> Option<&Made> {
        match self {
            Self::Active(made) => Some(made),
            Self::Absent | Self::Ended(_) => None,
        }
    }

    /// What it was made as, whether or not it stands.
    #[must_use]
    pub fn made(&self) -> Option<&Made> {
        match self {
            Self::Active(made) | Self::Ended(made) => Some(made),
            Self::Absent => None,
        }
    }
}

/// What somebody wants.
#[derive(Clone, Debug)]
pub enum Command {
    /// To take a hub into a home.
    Make(Box<Made>),
    /// To end the claim.
    End,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A home claimed a hub.
    HubClaimed(Box<Made>),
    /// The claim has ended.
    HubRevoked {
        /// The claim.
        claim: ClaimId,
        /// The hub.
        hub: HubId,
        /// The home.
        home: HomeId,
        /// When.
        at: Timestamp,
    },
}

impl Parts for Event {
    fn parts(&mut self) -> Vec<PartSlot<'_>> {
        match self {
            Self::HubClaimed(made) => {
                let owner = Owner::Home(made.home);
                let slot = |part| PartSlot {
                    owner,
                    purpose: Purpose::Home,
                    part,
                };
                vec![slot(&mut made.name), slot(&mut made.model)]
            }
            Self::HubRevoked { .. } => Vec::new(),
        }
    }
}

/// Why a command is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// There is no such claim.
    NoClaim,
    /// The claim's id is taken.
    Taken,
}

impl From<Rejection> for Failure {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::NoClaim => Self::new(Reason::NOT_FOUND),
            Rejection::Taken => Self::new(Reason::INTERNAL),
        }
    }
}

/// What the outside knows.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// Now.
    pub now: Timestamp,
}

impl Decider for Claim {
    type State = State;
    type Command = Command;
    type Event = Event;
    type Facts = Facts;
    type Rejection = Rejection;

    fn decide(state: &State, command: &Command, facts: &Facts) -> Result<Vec<Event>, Rejection> {
        match (state, command) {
            (State::Absent, Command::Make(made)) => Ok(vec![Event::HubClaimed(made.clone())]),
            (State::Active(_) | State::Ended(_), Command::Make(_)) => Err(Rejection::Taken),
            (State::Active(made), Command::End) => Ok(vec![Event::HubRevoked {
                claim: made.claim,
                hub: made.hub,
                home: made.home,
                at: facts.now,
            }]),
            (State::Ended(_), Command::End) => Ok(Vec::new()),
            (State::Absent, Command::End) => Err(Rejection::NoClaim),
        }
    }

    fn evolve(state: State, event: &Event) -> State {
        match (state, event) {
            (_, Event::HubClaimed(made)) => State::Active(made.clone()),
            (State::Active(made) | State::Ended(made), Event::HubRevoked { .. }) => {
                State::Ended(made)
            }
            (State::Absent, Event::HubRevoked { .. }) => State::Absent,
        }
    }

    fn invariant(state: &State) -> Result<(), &'static str> {
        match state.made() {
            Some(made) if made.claim.is_nil() || made.home.is_nil() => Err("a claim names nobody"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use hearth_kernel::laws::{Step, check};
    use proptest::prelude::*;

    use super::*;

    fn made() -> Box<Made> {
        Box::new(Made {
            claim: ClaimId::from_bytes([1; 16]),
            hub: HubId::from_bytes([2; 16]),
            home: HomeId::from_bytes([3; 16]),
            public_key: [4; 32],
            name: Part::clear("hall"),
            model: Part::clear("box-1"),
            claimed_at: Timestamp::from_seconds(5),
        })
    }

    proptest! {
        #[test]
        fn obeys_the_laws(ends in prop::collection::vec(any::<bool>(), 0..6), cut in 0usize..6) {
            let step = |end| Step::<Claim> {
                command: if end { Command::End } else { Command::Make(made()) },
                facts: Facts { now: Timestamp::from_seconds(9) },
                idempotent: true,
            };
            let script: Vec<_> = ends.iter().map(|end| step(*end)).collect();
            prop_assert!(check::<Claim>(&script, cut).is_ok());
        }
    }

    #[test]
    fn an_ended_claim_never_comes_back() {
        let facts = Facts {
            now: Timestamp::EPOCH,
        };
        let ended = State::Ended(made());
        assert_eq!(
            Claim::decide(&ended, &Command::Make(made()), &facts),
            Err(Rejection::Taken)
        );
        assert_eq!(Claim::decide(&ended, &Command::End, &facts), Ok(vec![]));
    }
}
