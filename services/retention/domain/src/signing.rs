//! The keys that receipts are signed with: the one in use and the former ones. Receipts outlive keys.

use hearth_kernel::{Decider, Failure, PartSlot, Parts, Reason, Timestamp};

use crate::limits::KEYS;

/// The aggregate.
#[derive(Debug)]
pub struct Signing;

/// One public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Ed25519.
    pub public: [u8; 32],
    /// Not used before this.
    pub not_before: Timestamp,
    /// Not used after this; `None` for the one in use.
    pub not_after: Option<Timestamp>,
}

/// Every key, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The keys; only the last may be in use.
    pub keys: Vec<Key>,
}

/// What a process wants that has derived a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use(pub [u8; 32]);

/// A key is in use from now on; the one before no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The key.
    pub public: [u8; 32],
    /// When.
    pub at: Timestamp,
}

impl Parts for Taken {
    fn parts(&mut self) -> Vec<PartSlot<'_>> {
        Vec::new()
    }
}

/// Why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// So many keys mean that something else is wrong.
    TooMany,
}

impl From<Rejection> for Failure {
    fn from(_: Rejection) -> Self {
        Self::new(Reason::INTERNAL)
    }
}

impl Decider for Signing {
    type State = State;
    type Command = Use;
    type Event = Taken;
    type Facts = Timestamp;
    type Rejection = Rejection;

    fn decide(state: &State, Use(public): &Use, now: &Timestamp) -> Result<Vec<Taken>, Rejection> {
        if state.keys.last().is_some_and(|key| key.public == *public) {
            return Ok(Vec::new());
        }
        if state.keys.len() >= KEYS {
            return Err(Rejection::TooMany);
        }
        Ok(vec![Taken {
            public: *public,
            at: *now,
        }])
    }

    fn evolve(mut state: State, event: &Taken) -> State {
        if let Some(former) = state.keys.last_mut() {
            former.not_after = Some(event.at);
        }
        state.keys.push(Key {
            public: event.public,
            not_before: event.at,
            not_after: None,
        });
        state
    }

    fn invariant(state: &State) -> Result<(), &'static str> {
        let former = state.keys.len().saturating_sub(1);
        if state
            .keys
            .iter()
            .take(former)
            .any(|key| key.not_after.is_none())
        {
            return Err("only the last key is in use");
        }
        if state.keys.len() > KEYS {
            return Err("too many keys");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    //! One key at a time; and the laws.

    use std::time::Duration;

    use hearth_kernel::laws::{self, Step};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn laws_hold(script in prop::collection::vec(0u8..3, 0..30), cut in 0usize..30) {
            let mut now = Timestamp::from_seconds(1_000);
            let script: Vec<Step<Signing>> = script.into_iter().map(|key| {
                now = now.plus(Duration::from_secs(1));
                Step { command: Use([key; 32]), facts: now, idempotent: true }
            }).collect();
            let (_, state) = laws::check(&script, cut).unwrap();
            let in_use = state.keys.iter().filter(|key| key.not_after.is_none()).count();
            prop_assert!(in_use <= 1);
        }
    }
}
