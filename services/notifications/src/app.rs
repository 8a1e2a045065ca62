//! What the service does, over the ports: use cases of the API, and the work that events and the clock ask for.
//!
//! It knows no wire form of the API and no stored form. Everything that happens twice has the same commit id both
//! times, so doing it again changes nothing.

pub(crate) mod commands;
pub(crate) mod dispatch;
pub(crate) mod erase;
pub(crate) mod facts;
pub(crate) mod fanout;
pub(crate) mod inbox;
pub(crate) mod letters;
pub(crate) mod mails;
pub(crate) mod owned;
pub(crate) mod runner;

use hearth_engine::{Call, Engine, ExecuteError};
use hearth_kernel::{CommitId, Reason, Service};
use hearth_ports::SealError;

/// The call of something that the service does by itself, once: label and parts decide its id.
pub(crate) fn own_call(
    engine: &Engine,
    causation: Option<CommitId>,
    label: &str,
    parts: &[&[u8]],
) -> Call {
    Call {
        commit: engine.hasher().id(label, parts).into(),
        fingerprint: engine.hasher().fingerprint(&[label.as_bytes()]),
        actor: hearth_engine::Actor::Service(Service::Notifications),
        causation,
        trace: String::new(),
    }
}

/// What was done, unless it cannot be done any more: its aggregate has ended, or its owner's keys are gone.
pub(crate) fn unless_gone<T>(result: Result<T, ExecuteError>) -> Result<Option<T>, ExecuteError> {
    match result {
        Ok(done) => Ok(Some(done)),
        Err(ExecuteError::Refused(failure)) if failure.reason == Reason::ERASED => Ok(None),
        Err(ExecuteError::Seal(SealError::Fenced | SealError::Expired)) => Ok(None),
        Err(error) => Err(error),
    }
}
