//! The laws every aggregate obeys, stated once. Tests of a domain crate call [`check`] with scripts made by proptest.
//!
//! The laws: deciding is deterministic; a rejection changes nothing; the invariant holds after each event;
//! a snapshot and the tail fold to the same state as the whole; a repeated command adds nothing new when the
//! aggregate says it is idempotent; and a stored form decodes to what was encoded.

use crate::decider::{Decider, fold};

/// Which law was broken, at which step of the script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The index of the command in the script.
    pub step: usize,
    /// The law.
    pub law: String,
}

/// One step: a command, its facts, and whether doing it again at once must add nothing.
pub struct Step<D: Decider> {
    /// What somebody wants.
    pub command: D::Command,
    /// What the outside knows.
    pub facts: D::Facts,
    /// Whether the very same command, decided again, must make no event (or be rejected).
    pub idempotent: bool,
}

/// Runs a script from nothing and checks every law; `cut` chooses where the snapshot is taken.
/// Answers the events and the last state.
///
/// # Errors
/// The first law that does not hold.
pub fn check<D: Decider>(
    script: &[Step<D>],
    cut: usize,
) -> Result<(Vec<D::Event>, D::State), Broken> {
    let mut state = D::State::default();
    let mut events: Vec<D::Event> = Vec::new();
    for (
        step,
        Step {
            command,
            facts,
            idempotent,
        },
    ) in script.iter().enumerate()
    {
        let broken = |law: &str| Broken {
            step,
            law: law.to_owned(),
        };
        let first = D::decide(&state, command, facts);
        if first != D::decide(&state, command, facts) {
            return Err(broken("deciding twice differs"));
        }
        let Ok(made) = first else { continue };
        for event in &made {
            state = D::evolve(state, event);
            D::invariant(&state).map_err(broken)?;
        }
        events.extend(made);
        if *idempotent && D::decide(&state, command, facts).is_ok_and(|again| !again.is_empty()) {
            return Err(broken("a repeated command adds events"));
        }
    }
    let cut = cut.min(events.len());
    let snapshot = fold::<D>(D::State::default(), &events[..cut]);
    let resumed = fold::<D>(snapshot, &events[cut..]);
    if resumed != fold::<D>(D::State::default(), &events) || resumed != state {
        return Err(Broken {
            step: script.len(),
            law: "snapshot and tail differ from the whole".into(),
        });
    }
    Ok((events, state))
}

/// Checks that a stored form gives back what went in.
///
/// # Errors
/// Says which value did not survive.
pub fn check_codec<T: PartialEq + std::fmt::Debug, E: std::fmt::Debug>(
    value: &T,
    encode: impl Fn(&T) -> Vec<u8>,
    decode: impl Fn(&[u8]) -> Result<T, E>,
) -> Result<(), String> {
    match decode(&encode(value)) {
        Ok(back) if back == *value => Ok(()),
        other => Err(format!("{value:?} came back as {other:?}")),
    }
}
