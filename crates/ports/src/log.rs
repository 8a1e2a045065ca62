//! The log: append under an expectation, load a subject, follow a stream (DESIGN section 3).
//!
//! A message is one commit. A subject is one aggregate and is always literal. A position is opaque: it is
//! compared within a stream and has no other meaning, because a restore, migration or roll renumbers.

use std::borrow::Cow;
use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use hearth_kernel::{AggregateRef, Service, Timestamp};
use uuid::Uuid;

use crate::error::StoreError;

/// What kind of messages a stream carries, and so how it keeps them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// History: every commit, until erased. Private to the service.
    Evt,
    /// Records: the last message of a subject replaces the one before. Private to the service.
    Rec,
    /// Events for others: 30 days.
    Int,
    /// Facts for others: the last message of a subject replaces the one before.
    State,
    /// Frames of sealed segments: until 7 days old and behind every reader. One stream for all.
    Telemetry,
}

impl Family {
    /// Whether only the last message of each subject is kept.
    #[must_use]
    pub const fn keeps_last_only(self) -> bool {
        matches!(self, Self::Rec | Self::State)
    }
}

/// A stream: the unit of order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stream {
    /// Its family.
    pub family: Family,
    /// The service that writes it.
    pub service: Service,
}

impl Stream {
    /// The telemetry stream.
    pub const TELEMETRY: Self = Self {
        family: Family::Telemetry,
        service: Service::Ingest,
    };

    /// The stream of that family and service.
    #[must_use]
    pub const fn new(family: Family, service: Service) -> Self {
        Self { family, service }
    }

    /// Its name: `EVT_ACCOUNTS`.
    #[must_use]
    pub fn name(self) -> String {
        let family = match self.family {
            Family::Evt => "EVT",
            Family::Rec => "REC",
            Family::Int => "INT",
            Family::State => "STATE",
            Family::Telemetry => return "TELEMETRY".to_owned(),
        };
        format!("{family}_{}", self.service.name().to_ascii_uppercase())
    }
}

/// One subject of one stream, without the generation, which the backend adds where it belongs.
///
/// Its text never holds anything personal: kinds, random ids, event names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subject {
    stream: Stream,
    tokens: Cow<'static, str>,
}

impl Subject {
    /// The subject of an aggregate: `<kind>.<id>`.
    #[must_use]
    pub fn aggregate(family: Family, aggregate: &AggregateRef) -> Self {
        Self {
            stream: Stream::new(family, aggregate.service),
            tokens: Cow::Owned(format!("{}.{}", aggregate.kind, aggregate.id.as_simple())),
        }
    }

    /// The subject of a published fact: `<kind>.<id>`.
    #[must_use]
    pub fn fact(service: Service, kind: &str, id: impl Into<Uuid>) -> Self {
        Self {
            stream: Stream::new(Family::State, service),
            tokens: Cow::Owned(format!("{kind}.{}", id.into().as_simple())),
        }
    }

    /// The subject of a published event: `<event>.v<major>.<home or account id>`.
    #[must_use]
    pub fn event(service: Service, event: &str, major: u32, id: impl Into<Uuid>) -> Self {
        Self {
            stream: Stream::new(Family::Int, service),
            tokens: Cow::Owned(format!("{event}.v{major}.{}", id.into().as_simple())),
        }
    }

    /// The subject of a telemetry shard, 0 to 63.
    #[must_use]
    pub fn telemetry(shard: u8) -> Self {
        Self {
            stream: Stream::TELEMETRY,
            tokens: Cow::Owned(shard.to_string()),
        }
    }

    /// A subject from its stream and tokens, as a backend read them back.
    #[must_use]
    pub fn from_tokens(stream: Stream, tokens: impl Into<Cow<'static, str>>) -> Self {
        Self {
            stream,
            tokens: tokens.into(),
        }
    }

    /// Its stream.
    #[must_use]
    pub const fn stream(&self) -> Stream {
        self.stream
    }

    /// Its tokens, without stream and generation.
    #[must_use]
    pub fn tokens(&self) -> &str {
        &self.tokens
    }

    /// Its first token: the kind, or the event's name.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.tokens.split('.').next().unwrap_or_default()
    }

    /// The id in its last token, if that is one.
    #[must_use]
    pub fn id(&self) -> Option<Uuid> {
        self.tokens
            .rsplit('.')
            .next()
            .and_then(|text| Uuid::try_parse(text).ok())
    }

    /// The whole subject as a distributed log spells it.
    #[must_use]
    pub fn text(&self, generation: u32) -> String {
        let service = self.stream.service;
        match self.stream.family {
            Family::Evt => format!("evt.{service}.g{generation}.{}", self.tokens),
            Family::Rec => format!("rec.{service}.g{generation}.{}", self.tokens),
            Family::State => format!("state.{service}.g{generation}.{}", self.tokens),
            Family::Int => format!("int.{service}.{}", self.tokens),
            Family::Telemetry => format!("tel.{}", self.tokens),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.stream.name(), self.tokens)
    }
}

/// Where a message lies in its stream. Later messages of a stream have greater positions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    /// The stream's generation: a restore, migration or roll starts a new one.
    pub generation: u32,
    /// The place within the generation, from 1.
    pub sequence: u64,
}

impl Position {
    /// Before every message.
    pub const START: Self = Self {
        generation: 0,
        sequence: 0,
    };

    /// A number that grows with the position: the write timestamp of documents fed from it.
    /// Holds 2^15 generations of 2^48 messages.
    #[must_use]
    pub fn stamp(self) -> i64 {
        let sequence = i64::try_from(self.sequence & ((1 << 48) - 1)).unwrap_or(i64::MAX);
        (i64::from(self.generation & 0x7fff) << 48) | sequence
    }

    /// The position of a stamp; `None` for what is none.
    #[must_use]
    pub fn from_stamp(stamp: i64) -> Option<Self> {
        Some(Self {
            generation: u32::try_from(stamp >> 48).ok()?,
            sequence: u64::try_from(stamp & ((1 << 48) - 1)).ok()?,
        })
    }

    /// A position before this one and after every message before it.
    #[must_use]
    pub const fn before(self) -> Self {
        Self {
            generation: self.generation,
            sequence: self.sequence.saturating_sub(1),
        }
    }

    /// 12 bytes that sort as the position does.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 12] {
        let mut bytes = [0; 12];
        bytes[..4].copy_from_slice(&self.generation.to_be_bytes());
        bytes[4..].copy_from_slice(&self.sequence.to_be_bytes());
        bytes
    }

    /// The position that [`Self::to_bytes`] wrote.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (generation, rest) = bytes.split_first_chunk::<4>()?;
        let sequence = <[u8; 8]>::try_from(rest).ok()?;
        Some(Self {
            generation: u32::from_be_bytes(*generation),
            sequence: u64::from_be_bytes(sequence),
        })
    }
}

/// What an append expects to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// The subject's last message is the one at this position; `None`: the subject has no message.
    Subject(Option<Position>),
    /// The stream's last message is the one at this position; `None`: the stream never had one.
    /// For relays: a rival's append makes this one fail.
    Stream(Option<Position>),
    /// Nothing. For frames, which do not depend on each other.
    Any,
}

/// How fresh a read must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// May miss the newest messages: a replica answers.
    Follower,
    /// Sees everything acked before it began: the leader answers.
    Leader,
}

/// One stored message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its subject.
    pub subject: Subject,
    /// Where it lies.
    pub position: Position,
    /// When the log stored it.
    pub recorded_at: Timestamp,
    /// What it carries.
    pub bytes: Bytes,
}

/// How much of a subject a purge takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purge {
    /// Everything but the last message: the tombstone, which forbids return.
    KeepLast,
    /// Everything. For telemetry shards and events past their time, never for aggregates.
    All,
}

/// What became of a removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removed {
    /// The message at that position is gone, now or before.
    Done,
    /// The subject's last message is another one: nothing was removed.
    Conflict,
}

/// An ephemeral topic: what is said there is lost to who does not listen. Idle watermarks, wake-ups.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Topic(pub Cow<'static, str>);

/// What was announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement(pub Bytes);

/// The log. All methods are safe to call from many tasks and processes at once.
///
/// A backend bounds each call by a deadline of its own (10 s unless it says otherwise) and never waits longer.
/// A subject that is not literal (an empty token, a wildcard, a space) is `Terminal` in every call.
#[async_trait]
pub trait Log: Send + Sync + 'static {
    /// Appends one message, of 0 bytes to 1 MiB. When this answers, the message survives a power cut.
    ///
    /// # Errors
    /// `Conflict` when the expectation does not hold (nothing was written), `Unknown` when it cannot be
    /// told whether it was written; then the caller reads the subject. `Terminal` above 1 MiB.
    async fn append(
        &self,
        subject: &Subject,
        expected: Expected,
        bytes: Bytes,
    ) -> Result<Position, StoreError>;

    /// The subject's messages after a position, oldest first, at most `limit` of them.
    ///
    /// # Errors
    /// `Retryable` when the store does not answer. A subject without messages is an empty answer.
    async fn load(
        &self,
        subject: &Subject,
        after: Option<Position>,
        limit: usize,
        read: Read,
    ) -> Result<Vec<Message>, StoreError>;

    /// The subject's last message.
    ///
    /// # Errors
    /// As [`Log::load`].
    async fn last(&self, subject: &Subject, read: Read) -> Result<Option<Message>, StoreError>;

    /// The position of the stream's newest message ever stored, `None` if there never was one. A leader read.
    ///
    /// # Errors
    /// As [`Log::load`].
    async fn head(&self, stream: Stream) -> Result<Option<Position>, StoreError>;

    /// The stream's newest message that is still stored. A leader read.
    ///
    /// # Errors
    /// As [`Log::load`].
    async fn newest(&self, stream: Stream) -> Result<Option<Message>, StoreError>;

    /// A page of a stream's messages after a position, in order, at most `limit`.
    ///
    /// # Errors
    /// As [`Log::load`].
    async fn page(
        &self,
        stream: Stream,
        after: Position,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError>;

    /// Follows a stream from after a position: what is stored first, then what arrives, in order and
    /// without gaps among what is kept. Ends with an error when the connection is lost; the caller begins again.
    fn tail(
        &self,
        stream: Stream,
        after: Position,
    ) -> BoxStream<'static, Result<Message, StoreError>>;

    /// Purges a subject up to and including `through`; what is newer stays. Answers how many went.
    ///
    /// # Errors
    /// `Retryable`; purging again is harmless. `Terminal` for [`Purge::All`] on EVT and REC.
    async fn purge(
        &self,
        subject: &Subject,
        through: Position,
        purge: Purge,
    ) -> Result<u64, StoreError>;

    /// Removes the message at `position` if it is its subject's last one. Where nothing of the subject lies at
    /// `position` or behind it, it is `Done` already; a message behind it is a `Conflict`.
    ///
    /// # Errors
    /// `Retryable`; removing again is harmless.
    async fn remove(&self, subject: &Subject, position: Position) -> Result<Removed, StoreError>;

    /// Drops a stream's messages before a position, and their bytes where the backend can. For INT and
    /// TELEMETRY only.
    ///
    /// # Errors
    /// `Terminal` on other families.
    async fn trim(&self, stream: Stream, before: Position) -> Result<(), StoreError>;

    /// Says something to whoever listens now. Not stored, may be lost.
    ///
    /// # Errors
    /// `Retryable` when the log cannot be reached.
    async fn announce(&self, topic: &Topic, bytes: Bytes) -> Result<(), StoreError>;

    /// Listens to a topic from now on. Slow listeners lose the oldest announcements.
    fn listen(&self, topic: &Topic) -> BoxStream<'static, Announcement>;
}
