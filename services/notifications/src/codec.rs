//! Events and states in their stored form, and back. The only module that knows the stored form.
//!
//! A field that a newer release wrote is skipped, an event that it wrote is not: what cannot be understood fails the
//! load. A breaking change is a new major and an upcaster here; nothing that was ever written is forgotten.

pub(crate) mod content;
mod home;
mod people;
#[cfg(test)]
mod tests;
pub(crate) mod watch;

use bytes::Bytes;
use hearth_engine::{CodecError, Commit, EncodedEvent};
use hearth_kernel::{Origin, Part, Sealed, Secret, Timestamp};
use hearth_notifications_domain::{Outcome, Topic};
use prost::Message;
use uuid::Uuid;

pub(crate) use people::{inbox_row, made_of_row};

/// The major version of every event so far.
const MAJOR: u32 = 1;

/// The stored form of an event of major 1.
fn encoded(name: &'static str, message: &impl Message) -> EncodedEvent {
    EncodedEvent {
        name,
        major: MAJOR,
        public: message.encode_to_vec(),
    }
}

/// The message of an event of major 1.
fn decoded<M: Message + Default>(public: &[u8]) -> Result<M, CodecError> {
    M::decode(public).map_err(|_| CodecError::Malformed("event"))
}

/// The message of a state of that schema.
fn decoded_state<M: Message + Default>(
    schema: u32,
    known: u32,
    bytes: &[u8],
) -> Result<M, CodecError> {
    if schema != known {
        return Err(CodecError::Malformed("state of another schema"));
    }
    M::decode(bytes).map_err(|_| CodecError::Malformed("state"))
}

fn unknown(name: &str, major: u32) -> CodecError {
    CodecError::UnknownEvent {
        name: name.to_owned(),
        major,
    }
}

/// The 16 bytes of an id.
pub(crate) fn bytes(id: impl Into<Uuid>) -> Bytes {
    Bytes::copy_from_slice(id.into().as_bytes())
}

/// The id of 16 bytes.
pub(crate) fn id<T: From<Uuid>>(bytes: &[u8]) -> Result<T, CodecError> {
    let id = Uuid::from_slice(bytes).map(T::from);
    id.map_err(|_| CodecError::Malformed("id"))
}

/// A part that the engine fills in from where it is stored.
fn empty_part() -> Part {
    Part::Clear(Secret::default())
}

/// A part of a state, self-contained; empty for one that was never sealed, which no stored state has.
fn part_bytes(part: &Part) -> Bytes {
    part.sealed()
        .map_or_else(Bytes::new, |sealed| sealed.encode().into())
}

fn optional_part(bytes: &[u8]) -> Result<Option<Part>, CodecError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let sealed = Sealed::decode(bytes).ok_or(CodecError::Malformed("part"))?;
    Ok(Some(Part::Sealed(sealed)))
}

const fn time(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros)
}

/// A time, where 0 means none.
fn optional_time(micros: i64) -> Option<Timestamp> {
    (micros != 0).then(|| time(micros))
}

fn optional_micros(time: Option<Timestamp>) -> i64 {
    time.map_or(0, Timestamp::micros)
}

fn topic(number: u32) -> Result<Topic, CodecError> {
    let topic = u8::try_from(number).ok().and_then(Topic::from_number);
    topic.ok_or(CodecError::Malformed("topic"))
}

/// The number that an outcome has in `hearth.events.v1.Outcome`.
pub(crate) const fn outcome_number(outcome: Outcome) -> u32 {
    match outcome {
        Outcome::Accepted => 1,
        Outcome::GivenUp => 2,
        Outcome::Dropped => 3,
    }
}

fn outcome(number: u32) -> Result<Outcome, CodecError> {
    [Outcome::Accepted, Outcome::GivenUp, Outcome::Dropped]
        .into_iter()
        .find(|outcome| outcome_number(*outcome) == number)
        .ok_or(CodecError::Malformed("outcome"))
}

/// The only part of an event of a commit, as it is sealed there. All events of this service have one at most.
pub(crate) fn sealed_part(commit: &Commit, event: usize) -> Result<Sealed, CodecError> {
    let malformed = CodecError::Malformed("part");
    let stored = commit.events.get(event).and_then(|it| it.parts.first());
    let stored = stored.ok_or_else(|| malformed.clone())?;
    let (owner, purpose) = stored.key().ok_or_else(|| malformed.clone())?;
    let origin = Origin {
        aggregate: commit.reference().ok_or_else(|| malformed.clone())?,
        version: commit.version,
        event: u16::try_from(event).map_err(|_| malformed)?,
        part: 0,
    };
    Ok(Sealed {
        owner,
        purpose,
        origin,
        bytes: stored.sealed.as_ref().into(),
    })
}
