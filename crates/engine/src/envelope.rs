//! The stored form of a commit: one message of EVT or REC. Protobuf, additive for ever.
//!
//! The hash chain runs over these bytes, ciphertext included, so it can be walked after an erasure too.

use bytes::Bytes;
use hearth_kernel::{AggregateRef, CommitId, Owner, Purpose, Service, Timestamp};
use prost::Message;
use uuid::Uuid;

use crate::aggregate::CodecError;
use crate::call::Actor;

/// What a commit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum CommitKind {
    /// The outcome of a command.
    Decision = 0,
    /// What a purge leaves: it forbids return.
    Tombstone = 1,
}

/// A sealed part as it is stored inside an event: the rest of its origin is the commit's.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct StoredPart {
    /// [`Owner::to_bytes`].
    #[prost(bytes = "bytes", tag = "1")]
    pub owner: Bytes,
    /// [`Purpose::number`].
    #[prost(uint32, tag = "2")]
    pub purpose: u32,
    /// Key id, nonce, ciphertext and tag. Empty for a part that was never filled.
    #[prost(bytes = "bytes", tag = "3")]
    pub sealed: Bytes,
}

impl StoredPart {
    /// Owner and purpose, if they are ones.
    #[must_use]
    pub fn key(&self) -> Option<(Owner, Purpose)> {
        let purpose = u16::try_from(self.purpose)
            .ok()
            .and_then(Purpose::from_number)?;
        Some((Owner::from_bytes(&self.owner)?, purpose))
    }
}

/// One event of a commit.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct StoredEvent {
    /// The event type.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its schema's major version.
    #[prost(uint32, tag = "2")]
    pub major: u32,
    /// The public part.
    #[prost(bytes = "bytes", tag = "3")]
    pub public: Bytes,
    /// The sealed parts, in the order of the event's slots.
    #[prost(message, repeated, tag = "4")]
    pub parts: Vec<StoredPart>,
}

/// A request that the aggregate remembers, so that a repetition gets the first answer.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Remembered {
    /// The commit it led to.
    #[prost(bytes = "bytes", tag = "1")]
    pub commit: Bytes,
    /// HMAC of the request, without secrets: 16 bytes.
    #[prost(bytes = "bytes", tag = "2")]
    pub fingerprint: Bytes,
    /// The version it made.
    #[prost(uint64, tag = "3")]
    pub version: u64,
    /// When, in microseconds.
    #[prost(int64, tag = "4")]
    pub decided_at: i64,
}

/// One commit.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Commit {
    /// Its id: 16 bytes, a keyed hash of principal, RPC and request id.
    #[prost(bytes = "bytes", tag = "1")]
    pub id: Bytes,
    /// [`Service::number`] of the aggregate's service.
    #[prost(uint32, tag = "2")]
    pub service: u32,
    /// The aggregate's kind.
    #[prost(string, tag = "3")]
    pub kind: String,
    /// The aggregate's id, 16 bytes.
    #[prost(bytes = "bytes", tag = "4")]
    pub aggregate: Bytes,
    /// Dense: 1 for the first commit, then one more each.
    #[prost(uint64, tag = "5")]
    pub version: u64,
    /// How many events came before this commit.
    #[prost(uint64, tag = "6")]
    pub base: u64,
    /// What it is.
    #[prost(enumeration = "CommitKind", tag = "7")]
    pub what: i32,
    /// When it was decided, in microseconds, by the decider's clock.
    #[prost(int64, tag = "8")]
    pub decided_at: i64,
    /// What happened; of a record, for the relay only.
    #[prost(message, repeated, tag = "9")]
    pub events: Vec<StoredEvent>,
    /// Of a record: the state that the events led to.
    #[prost(message, optional, tag = "10")]
    pub state: Option<StoredState>,
    /// [`Actor::to_bytes`].
    #[prost(bytes = "bytes", tag = "11")]
    pub actor: Bytes,
    /// The commit that caused this one, 16 bytes, or empty.
    #[prost(bytes = "bytes", tag = "12")]
    pub causation: Bytes,
    /// HMAC of the request, 16 bytes.
    #[prost(bytes = "bytes", tag = "13")]
    pub fingerprint: Bytes,
    /// SHA-256 of the bytes of the aggregate's commit before, or empty.
    #[prost(bytes = "bytes", tag = "14")]
    pub previous: Bytes,
    /// W3C `traceparent` of the request, or empty.
    #[prost(string, tag = "15")]
    pub trace: String,
}

/// The state of a record, with what the engine remembers beside it.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct StoredState {
    /// The state's schema.
    #[prost(uint32, tag = "1")]
    pub schema: u32,
    /// The encoded state.
    #[prost(bytes = "bytes", tag = "2")]
    pub bytes: Bytes,
    /// Requests of the last 24 h, at least 256.
    #[prost(message, repeated, tag = "3")]
    pub remembered: Vec<Remembered>,
}

impl Commit {
    /// The commit in a message's bytes.
    ///
    /// # Errors
    /// `Malformed`.
    pub fn read(bytes: &[u8]) -> Result<Self, CodecError> {
        Self::decode(bytes).map_err(|_| CodecError::Malformed("commit"))
    }

    /// Its id.
    #[must_use]
    pub fn commit_id(&self) -> Option<CommitId> {
        CommitId::from_slice(&self.id)
    }

    /// The aggregate it belongs to.
    #[must_use]
    pub fn reference(&self) -> Option<AggregateRef> {
        let service = u8::try_from(self.service)
            .ok()
            .and_then(Service::from_number)?;
        let id = Uuid::from_slice(&self.aggregate).ok()?;
        Some(AggregateRef {
            service,
            kind: self.kind.clone().into(),
            id,
        })
    }

    /// When it was decided.
    #[must_use]
    pub const fn decided_at(&self) -> Timestamp {
        Timestamp::from_micros(self.decided_at)
    }

    /// Who did it.
    #[must_use]
    pub fn actor(&self) -> Actor {
        Actor::from_bytes(&self.actor).unwrap_or(Actor::Nobody)
    }

    /// Whether it is a tombstone.
    #[must_use]
    pub fn is_tombstone(&self) -> bool {
        self.what() == CommitKind::Tombstone
    }
}
