//! The record of one attempt to pair a hub: found by its code, used once, over after ten minutes.

use std::time::Duration;

use hearth_kernel::{ClaimId, Decider, Failure, HomeId, HubId, PartSlot, Parts, Reason, Timestamp};

/// How long a code works.
pub const CODE_PERIOD: Duration = Duration::from_secs(600);
/// Characters of a code: about 45 bits, so nobody guesses one within its ten minutes and her limits.
pub const CODE_LENGTH: usize = 10;
/// What codes are made of: no look-alikes (0 O, 1 I L, 2 Z, 5 S, 8 B, U V).
const ALPHABET: &[u8; 23] = b"34679ACDEFGHJKMNPQRTWXY";

/// The code that these random bytes say, one character per byte.
#[must_use]
pub fn code_from(random: &[u8; CODE_LENGTH * 2]) -> String {
    let character = |pair: &[u8]| {
        let number = usize::from(u16::from_be_bytes([pair[0], pair[1]]));
        char::from(ALPHABET[number % ALPHABET.len()])
    };
    random.chunks_exact(2).map(character).collect()
}

/// A code as it was typed, in its one spelling; `None` for what cannot be one.
#[must_use]
pub fn normalise_code(typed: &str) -> Option<String> {
    let bare: String = typed
        .chars()
        .filter(|it| !it.is_whitespace() && *it != '-')
        .map(|it| it.to_ascii_uppercase())
        .take(CODE_LENGTH + 1)
        .collect();
    let known = |it: u8| ALPHABET.contains(&it);
    (bare.len() == CODE_LENGTH && bare.bytes().all(known)).then_some(bare)
}

/// The aggregate.
#[derive(Debug)]
pub struct Pairing;

/// Who wants to be paired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The hub.
    pub hub: HubId,
    /// Its Ed25519 public key.
    pub public_key: [u8; 32],
    /// Its model: printable ASCII.
    pub model: String,
    /// When the code stops working.
    pub expires_at: Timestamp,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The home that took the hub.
    pub home: HomeId,
    /// Its claim.
    pub claim: ClaimId,
}

/// What is so now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Who asked; `None` when nobody did.
    pub asked: Option<Asked>,
    /// What came of it.
    pub taken: Option<Taken>,
}

/// What somebody wants.
#[derive(Clone, Debug)]
pub enum Command {
    /// To be paired.
    Begin(Asked),
    /// To take the hub.
    Take(Taken),
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A hub asked.
    Begun(Asked),
    /// A home took it.
    Taken(Taken),
}

impl Parts for Event {
    fn parts(&mut self) -> Vec<PartSlot<'_>> {
        Vec::new()
    }
}

/// Why a command is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// No such code, or it is over or used.
    NotValid,
}

impl From<Rejection> for Failure {
    fn from(_: Rejection) -> Self {
        Self::new(Reason::PAIRING_CODE_NOT_VALID)
    }
}

/// What the outside knows.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// Now.
    pub now: Timestamp,
}

impl Decider for Pairing {
    type State = State;
    type Command = Command;
    type Event = Event;
    type Facts = Facts;
    type Rejection = Rejection;

    fn decide(state: &State, command: &Command, facts: &Facts) -> Result<Vec<Event>, Rejection> {
        match (command, &state.asked, state.taken) {
            (Command::Begin(asked), None, _) => Ok(vec![Event::Begun(asked.clone())]),
            // A keyed hash of 160 random bits named the record: the same id is the same request.
            (Command::Begin(_), Some(_), _) => Ok(Vec::new()),
            (Command::Take(taken), Some(_), Some(before)) if before == *taken => Ok(Vec::new()),
            (Command::Take(taken), Some(asked), None) if facts.now < asked.expires_at => {
                Ok(vec![Event::Taken(*taken)])
            }
            (Command::Take(_), _, _) => Err(Rejection::NotValid),
        }
    }

    fn evolve(state: State, event: &Event) -> State {
        match event {
            Event::Begun(asked) => State {
                asked: Some(asked.clone()),
                ..state
            },
            Event::Taken(taken) => State {
                taken: Some(*taken),
                ..state
            },
        }
    }

    fn invariant(state: &State) -> Result<(), &'static str> {
        if state.taken.is_some() && state.asked.is_none() {
            return Err("taken and never asked for");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use hearth_kernel::laws::{Step, check};
    use proptest::prelude::*;

    use super::*;

    fn asked() -> Asked {
        Asked {
            hub: HubId::from_bytes([1; 16]),
            public_key: [2; 32],
            model: "box-1".into(),
            expires_at: Timestamp::from_seconds(600),
        }
    }

    proptest! {
        #[test]
        fn obeys_the_laws(script in prop::collection::vec((0u8..4, 0i64..1200), 0..8), cut in 0usize..8) {
            let steps: Vec<_> = script
                .iter()
                .map(|(what, now)| Step::<Pairing> {
                    command: match what {
                        0 => Command::Begin(asked()),
                        n => Command::Take(Taken {
                            home: HomeId::from_bytes([*n; 16]),
                            claim: ClaimId::from_bytes([*n; 16]),
                        }),
                    },
                    facts: Facts { now: Timestamp::from_seconds(*now) },
                    idempotent: true,
                })
                .collect();
            let (events, _) = check::<Pairing>(&steps, cut).map_err(|it| TestCaseError::fail(it.law))?;
            let taken = events.iter().filter(|event| matches!(event, Event::Taken(_)));
            prop_assert!(taken.count() <= 1, "a code works once");
        }

        #[test]
        fn a_code_survives_being_typed(random in any::<[u8; 20]>()) {
            let code = code_from(&random);
            let typed = format!(" {}-{} ", &code[..5].to_lowercase(), &code[5..]);
            prop_assert_eq!(normalise_code(&typed), Some(code));
        }
    }

    #[test]
    fn what_cannot_be_a_code_is_none() {
        for typed in ["", "ACDEF", "ACDEFGHJKMN", "ACDEFGHJK0", "ACDEFGHJK\u{e9}"] {
            assert_eq!(normalise_code(typed), None, "{typed}");
        }
    }
}
