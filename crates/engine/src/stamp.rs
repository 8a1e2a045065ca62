//! The header of every published message: `hearth.events.v1.Stamp`, as field 1 of its envelope.
//!
//! The engine reads it without knowing the rest: a protobuf reader skips the fields it does not know. The
//! tags here are those of `proto/hearth/events/v1/stamp.proto`, which a test of `hearth-api` compares.

use bytes::Bytes;
use hearth_kernel::{CommitId, Timestamp};
use hearth_ports::Position;
use prost::Message;

/// A position on the wire.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct WirePosition {
    /// The generation.
    #[prost(uint32, tag = "1")]
    pub generation: u32,
    /// The sequence.
    #[prost(uint64, tag = "2")]
    pub sequence: u64,
}

impl From<Position> for WirePosition {
    fn from(position: Position) -> Self {
        Self {
            generation: position.generation,
            sequence: position.sequence,
        }
    }
}

impl From<WirePosition> for Position {
    fn from(position: WirePosition) -> Self {
        Self {
            generation: position.generation,
            sequence: position.sequence,
        }
    }
}

/// Where a published message comes from.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Stamp {
    /// The service's name.
    #[prost(string, tag = "1")]
    pub source: String,
    /// The commit's position in EVT.
    #[prost(message, optional, tag = "2")]
    pub evt: Option<WirePosition>,
    /// How far REC had been read.
    #[prost(message, optional, tag = "3")]
    pub rec: Option<WirePosition>,
    /// Which of the commit's messages in this stream, from 0.
    #[prost(uint32, tag = "4")]
    pub index: u32,
    /// How many there are.
    #[prost(uint32, tag = "5")]
    pub of: u32,
    /// When the commit was decided, microseconds.
    #[prost(int64, tag = "6")]
    pub occurred_at_micros: i64,
    /// W3C `traceparent`, or empty.
    #[prost(string, tag = "7")]
    pub trace: String,
    /// The commit's id.
    #[prost(bytes = "bytes", tag = "8")]
    pub commit: Bytes,
    /// Of a fact: that it has ended; its subject is purged 24 h later.
    #[prost(bool, tag = "9")]
    pub gone: bool,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct Header {
    #[prost(message, optional, tag = "1")]
    stamp: Option<Stamp>,
}

impl Stamp {
    /// The stamp of a published message, if it has one.
    #[must_use]
    pub fn read(message: &[u8]) -> Option<Self> {
        Header::decode(message).ok()?.stamp
    }

    /// The position of its commit in the source's history.
    #[must_use]
    pub fn position(&self) -> Position {
        self.evt.map_or(Position::START, Into::into)
    }

    /// Its place among all published messages of one stream.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress {
            evt: self.position(),
            done: self.index.saturating_add(1),
            of: self.of,
        }
    }

    /// When its commit was decided.
    #[must_use]
    pub const fn occurred_at(&self) -> Timestamp {
        Timestamp::from_micros(self.occurred_at_micros)
    }

    /// The commit it comes from.
    #[must_use]
    pub fn commit_id(&self) -> Option<CommitId> {
        CommitId::from_slice(&self.commit)
    }

    /// A message that carries this stamp and a body whose fields begin at 2.
    #[must_use]
    pub fn wrap(&self, body: &[u8]) -> Bytes {
        let mut out = Header {
            stamp: Some(self.clone()),
        }
        .encode_to_vec();
        out.extend_from_slice(body);
        out.into()
    }
}

/// How far a relay has come in one target stream: so many messages of the commit at `evt` are in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The commit.
    pub evt: Position,
    /// How many of its messages are published.
    pub done: u32,
    /// How many it has.
    pub of: u32,
}

impl Progress {
    /// Whether the message of that commit and index is published.
    #[must_use]
    pub fn covers(&self, evt: Position, index: u32) -> bool {
        evt < self.evt || (evt == self.evt && index < self.done)
    }

    /// As far as all of this commit.
    pub(crate) const fn whole(self) -> Self {
        Self {
            done: u32::MAX,
            of: u32::MAX,
            ..self
        }
    }

    /// As far as all of the commit before this one.
    pub(crate) const fn before(self) -> Self {
        Self {
            evt: self.evt.before(),
            done: u32::MAX,
            of: u32::MAX,
        }
    }

    /// The farther of the two.
    pub(crate) fn at_least(self, other: Self) -> Self {
        if (self.evt, self.done) >= (other.evt, other.done) {
            self
        } else {
            other
        }
    }

    /// Up to which commit everything is published.
    #[must_use]
    pub fn complete_through(&self) -> Position {
        if self.done >= self.of {
            self.evt
        } else {
            self.evt.before()
        }
    }
}
