//! What a service tells the engine about an aggregate: where it lies, how it is stored, how long it lives.

use hearth_kernel::{AggregateRef, Decider, Service};
use hearth_ports::{Family, Subject};
use uuid::Uuid;

/// How an aggregate is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// Every commit, in EVT.
    History,
    /// The last state only, in REC: for what must not leave a past.
    Record,
}

impl Stored {
    /// The family of streams it lies in.
    #[must_use]
    pub const fn family(self) -> Family {
        match self {
            Self::History => Family::Evt,
            Self::Record => Family::Rec,
        }
    }
}

/// How long an aggregate lives, and so how long its tombstone stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// Account, home, hub: the tombstone stays for ever.
    Lasting,
    /// Session, erasure, batch: ends with a closing commit; its tombstone stays 30 days.
    Episodic,
}

/// Why stored bytes could not be understood. An unknown event type fails the load; it is never skipped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// No reader knows this event type at this major version: a newer release wrote it.
    #[error("unknown event type {name} v{major}")]
    UnknownEvent {
        /// The type's name.
        name: String,
        /// Its major version.
        major: u32,
    },
    /// The bytes do not decode.
    #[error("malformed {0}")]
    Malformed(&'static str),
}

/// An event in its stored form, without its sealed parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedEvent {
    /// The type's name, stable for ever: snake case, past tense.
    pub name: &'static str,
    /// The schema's major version, from 1. A breaking change is a new major with a pure upcaster.
    pub major: u32,
    /// The public part, protobuf.
    pub public: Vec<u8>,
}

/// A [`Decider`] with a place in the log and a stored form.
///
/// Codec contract: `encode_event` leaves the parts out; `decode_event` puts an empty [`hearth_kernel::Part::Clear`]
/// in each part's place, and the engine fills the slots in the order of [`hearth_kernel::Parts::parts`]. A
/// state is encoded whole, its parts by [`hearth_kernel::Sealed::encode`].
pub trait Aggregate: Decider {
    /// The service whose streams hold it.
    const SERVICE: Service;
    /// Its kind: one lower-case token.
    const KIND: &'static str;
    /// How it is stored.
    const STORED: Stored;
    /// How long it lives.
    const LIFE: Life;
    /// A number that changes whenever the state's encoding does: older snapshots are then ignored. A record's
    /// decoder must read every schema ever released.
    const STATE_SCHEMA: u32;
    /// At least so many requests are remembered, however old. Records that are idempotent by themselves say 0.
    const REMEMBER: usize = 256;

    /// The stored form of an event, without its parts.
    fn encode_event(event: &Self::Event) -> EncodedEvent;

    /// The event of a stored form.
    ///
    /// # Errors
    /// See [`CodecError`].
    fn decode_event(name: &str, major: u32, public: &[u8]) -> Result<Self::Event, CodecError>;

    /// The stored form of a state.
    fn encode_state(state: &Self::State) -> Vec<u8>;

    /// The state of a stored form.
    ///
    /// # Errors
    /// See [`CodecError`].
    fn decode_state(schema: u32, bytes: &[u8]) -> Result<Self::State, CodecError>;

    /// The aggregate with that id.
    #[must_use]
    fn reference(id: Uuid) -> AggregateRef {
        AggregateRef::new(Self::SERVICE, Self::KIND, id)
    }

    /// The subject of the aggregate with that id.
    #[must_use]
    fn subject(id: Uuid) -> Subject {
        Subject::aggregate(Self::STORED.family(), &Self::reference(id))
    }
}
