//! The public keys that access tokens are verified with: a history, so that they are published like every other fact.

use hearth_kernel::{Decider, Failure, PartSlot, Parts, Reason, Timestamp};

use crate::limits::TOKEN_KEYS;

/// The aggregate. There is one.
#[derive(Debug)]
pub struct TokenKeys;

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its id, as tokens name it.
    pub id: String,
    /// Ed25519.
    pub public: [u8; 32],
    /// From when tokens may be signed with it.
    pub not_before: Timestamp,
}

/// The keys, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// At most [`TOKEN_KEYS`] of them.
    pub keys: Vec<Key>,
}

/// What somebody wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// To sign with a key.
    Announce(Key),
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Tokens are signed with it from its time on.
    Announced(Key),
}

impl Parts for Event {
    fn parts(&mut self) -> Vec<PartSlot<'_>> {
        Vec::new()
    }
}

/// Why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// The id stands for another key.
    IdIsTaken,
}

impl From<Rejection> for Failure {
    fn from(_: Rejection) -> Self {
        Self::new(Reason::INTERNAL)
    }
}

impl Decider for TokenKeys {
    type State = State;
    type Command = Command;
    type Event = Event;
    type Facts = ();
    type Rejection = Rejection;

    fn decide(state: &State, command: &Command, (): &()) -> Result<Vec<Event>, Rejection> {
        let Command::Announce(key) = command;
        match state.keys.iter().find(|known| known.id == key.id) {
            None => Ok(vec![Event::Announced(key.clone())]),
            Some(known) if known.public == key.public => Ok(Vec::new()),
            Some(_) => Err(Rejection::IdIsTaken),
        }
    }

    fn evolve(mut state: State, event: &Event) -> State {
        let Event::Announced(key) = event;
        state.keys.retain(|known| known.id != key.id);
        state.keys.push(key.clone());
        // Tokens live for minutes: what the oldest key signed has long expired.
        if state.keys.len() > TOKEN_KEYS {
            state.keys.remove(0);
        }
        state
    }

    fn invariant(state: &State) -> Result<(), &'static str> {
        if state.keys.len() > TOKEN_KEYS {
            return Err("a few keys are enough");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    //! A key is announced once; and the laws.

    use hearth_kernel::laws::{self, Step};
    use proptest::prelude::*;

    use super::*;

    fn announce(id: u8, public: u8) -> Command {
        Command::Announce(Key {
            id: id.to_string(),
            public: [public; 32],
            not_before: Timestamp::EPOCH,
        })
    }

    #[test]
    fn a_key_is_announced_once_and_its_id_is_its_own() {
        let made = TokenKeys::decide(&State::default(), &announce(1, 1), &()).unwrap();
        let state = TokenKeys::evolve(State::default(), &made[0]);
        assert_eq!(TokenKeys::decide(&state, &announce(1, 1), &()), Ok(vec![]));
        let other = TokenKeys::decide(&state, &announce(1, 2), &());
        assert_eq!(other, Err(Rejection::IdIsTaken));
    }

    proptest! {
        #[test]
        fn laws_hold(script in prop::collection::vec((0u8..20, 0u8..2), 0..60), cut in 0usize..60) {
            let script: Vec<Step<TokenKeys>> = script.into_iter().map(|(id, public)| Step {
                command: announce(id, public),
                facts: (),
                idempotent: true,
            }).collect();
            prop_assert!(laws::check(&script, cut).is_ok());
        }
    }
}
