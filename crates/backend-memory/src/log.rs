//! The log in memory: JetStream's rules for one literal subject per aggregate, without JetStream.
//!
//! A tail holds a position and reads pages from the store, so a slow reader costs no memory and is never
//! skipped. Announcements go through a bounded channel per topic, where the slow lose the oldest.

mod stream;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{BoxStream, unfold};
use hearth_ports::{
    Announcement, Clock, Expected, Family, Log, Message, Position, Purge, Read, Removed,
    StoreError, Stream, Subject, Topic,
};
use tokio::sync::{broadcast, watch};

use crate::guard::lock;
use stream::StreamState;

/// The greatest message: `max_payload` and `max_msg_size` of the distributed log. A greater one is `Terminal`.
pub const MAX_MESSAGE_BYTES: usize = 1 << 20;
/// Messages that a tail reads at once.
const TAIL_PAGE: usize = 64;
/// Announcements kept for a slow listener.
const ANNOUNCEMENTS: usize = 256;
/// The generation of a log that was never restored or rolled.
const FIRST_GENERATION: u32 = 1;

/// The log in memory.
#[derive(Debug)]
pub struct MemoryLog {
    clock: Arc<dyn Clock>,
    shared: Arc<Shared>,
    /// How many messages a follower's answer lags behind, on EVT streams.
    follower_lag: AtomicU64,
    generation: AtomicU32,
    topics: Mutex<HashMap<Topic, broadcast::Sender<Announcement>>>,
}

/// What tails share with the log.
#[derive(Debug, Default)]
struct Shared {
    streams: Mutex<HashMap<Stream, StreamState>>,
    /// One channel per stream that somebody follows: wakes its tails.
    wakers: Mutex<HashMap<Stream, watch::Sender<()>>>,
    /// Counts up when every tail is cut.
    cuts: AtomicU64,
}

impl MemoryLog {
    /// An empty log, whose messages are recorded at that clock's time.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self::with_generation(clock, FIRST_GENERATION)
    }

    /// An empty log of a later generation: of a place that others were migrated to.
    #[must_use]
    pub fn with_generation(clock: Arc<dyn Clock>, generation: u32) -> Self {
        Self {
            clock,
            shared: Arc::default(),
            follower_lag: AtomicU64::new(0),
            generation: AtomicU32::new(generation),
            topics: Mutex::default(),
        }
    }

    /// An independent copy of everything stored.
    #[must_use]
    pub fn fork(&self) -> Self {
        let streams = lock(&self.shared.streams).clone();
        let fork = Self::with_generation(
            Arc::clone(&self.clock),
            self.generation.load(Ordering::SeqCst),
        );
        *lock(&fork.shared.streams) = streams;
        fork
    }

    /// What a restore, migration or roll does: EVT, REC and STATE get a new generation, in which what is kept
    /// is numbered from 1 again. INT and TELEMETRY are never rolled. Every tail is cut.
    pub fn roll(&self, generation: u32) {
        self.generation.store(generation, Ordering::SeqCst);
        for (stream, state) in lock(&self.shared.streams).iter_mut() {
            if rolls(stream.family) {
                state.roll(generation);
            }
        }
        self.cut_tails();
    }

    /// The generation that EVT, REC and STATE are in.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.generation.load(Ordering::SeqCst)
    }

    /// Ends every open tail with an error, as a lost connection does.
    pub fn cut_tails(&self) {
        self.shared.cuts.fetch_add(1, Ordering::SeqCst);
        for waker in lock(&self.shared.wakers).values() {
            waker.send_replace(());
        }
    }

    /// From now on, follower reads of EVT streams miss the newest that many messages of the stream.
    pub fn set_follower_lag(&self, messages: u64) {
        self.follower_lag.store(messages, Ordering::SeqCst);
    }

    /// The last position that this read may see; `None`: all.
    fn horizon(&self, state: &StreamState, family: Family, read: Read) -> Option<Position> {
        let lag = self.follower_lag.load(Ordering::SeqCst);
        if read == Read::Leader || family != Family::Evt || lag == 0 {
            return None;
        }
        let head = state.head()?;
        Some(Position {
            sequence: head.sequence.saturating_sub(lag),
            ..head
        })
    }
}

impl Shared {
    fn read<T: Default>(&self, stream: Stream, read: impl FnOnce(&StreamState) -> T) -> T {
        lock(&self.streams)
            .get(&stream)
            .map(read)
            .unwrap_or_default()
    }

    fn write<T: Default>(&self, stream: Stream, write: impl FnOnce(&mut StreamState) -> T) -> T {
        lock(&self.streams)
            .get_mut(&stream)
            .map(write)
            .unwrap_or_default()
    }

    fn wake(&self, stream: Stream) {
        if let Some(waker) = lock(&self.wakers).get(&stream) {
            waker.send_replace(());
        }
    }

    fn wakes_of(&self, stream: Stream) -> watch::Receiver<()> {
        lock(&self.wakers)
            .entry(stream)
            .or_insert_with(|| watch::Sender::new(()))
            .subscribe()
    }
}

/// Where a tail stands.
struct Tail {
    shared: Arc<Shared>,
    stream: Stream,
    after: Position,
    page: VecDeque<Message>,
    wakes: watch::Receiver<()>,
    cuts: u64,
    ended: bool,
}

impl Tail {
    async fn next(&mut self) -> Option<Result<Message, StoreError>> {
        loop {
            if self.ended {
                return None;
            }
            if self.shared.cuts.load(Ordering::SeqCst) != self.cuts {
                self.ended = true;
                return Some(Err(StoreError::retryable("the tail was cut")));
            }
            if let Some(message) = self.page.pop_front() {
                self.after = message.position;
                return Some(Ok(message));
            }
            // Seen before reading: what is stored between the two wakes the wait below.
            self.wakes.borrow_and_update();
            let after = self.after;
            self.page = self
                .shared
                .read(self.stream, |state| state.page(after, TAIL_PAGE))
                .into();
            if self.page.is_empty() && self.wakes.changed().await.is_err() {
                self.ended = true;
                return Some(Err(StoreError::retryable("the log is closed")));
            }
        }
    }
}

#[async_trait]
impl Log for MemoryLog {
    async fn append(
        &self,
        subject: &Subject,
        expected: Expected,
        bytes: Bytes,
    ) -> Result<Position, StoreError> {
        check_subject(subject)?;
        if bytes.len() > MAX_MESSAGE_BYTES {
            return Err(StoreError::terminal("a message is at most 1 MiB"));
        }
        let stream = subject.stream();
        let position = {
            let mut streams = lock(&self.shared.streams);
            let state = streams.entry(stream).or_insert_with(|| {
                let generation = if rolls(stream.family) {
                    self.generation()
                } else {
                    FIRST_GENERATION
                };
                StreamState::new(stream.family.keeps_last_only(), generation)
            });
            // The time is read under the lock, so that later positions never have earlier times.
            state.append(subject, expected, bytes, self.clock.now())?
        };
        self.shared.wake(stream);
        Ok(position)
    }

    async fn load(
        &self,
        subject: &Subject,
        after: Option<Position>,
        limit: usize,
        read: Read,
    ) -> Result<Vec<Message>, StoreError> {
        check_subject(subject)?;
        let stream = subject.stream();
        Ok(self.shared.read(stream, |state| {
            let until = self.horizon(state, stream.family, read);
            state.load(subject, after, until, limit)
        }))
    }

    async fn last(&self, subject: &Subject, read: Read) -> Result<Option<Message>, StoreError> {
        check_subject(subject)?;
        let stream = subject.stream();
        Ok(self.shared.read(stream, |state| {
            state.last(subject, self.horizon(state, stream.family, read))
        }))
    }

    async fn head(&self, stream: Stream) -> Result<Option<Position>, StoreError> {
        Ok(self.shared.read(stream, StreamState::head))
    }

    async fn newest(&self, stream: Stream) -> Result<Option<Message>, StoreError> {
        Ok(self.shared.read(stream, StreamState::newest))
    }

    async fn page(
        &self,
        stream: Stream,
        after: Position,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError> {
        Ok(self.shared.read(stream, |state| state.page(after, limit)))
    }

    fn tail(
        &self,
        stream: Stream,
        after: Position,
    ) -> BoxStream<'static, Result<Message, StoreError>> {
        let tail = Tail {
            shared: Arc::clone(&self.shared),
            stream,
            after,
            page: VecDeque::new(),
            wakes: self.shared.wakes_of(stream),
            cuts: self.shared.cuts.load(Ordering::SeqCst),
            ended: false,
        };
        unfold(tail, |mut tail| async move {
            tail.next().await.map(|item| (item, tail))
        })
        .boxed()
    }

    async fn purge(
        &self,
        subject: &Subject,
        through: Position,
        purge: Purge,
    ) -> Result<u64, StoreError> {
        check_subject(subject)?;
        let family = subject.stream().family;
        if purge == Purge::All && matches!(family, Family::Evt | Family::Rec) {
            return Err(StoreError::terminal(
                "a purge of an aggregate keeps its last message",
            ));
        }
        Ok(self.shared.write(subject.stream(), |state| {
            state.purge(subject, through, purge)
        }))
    }

    async fn remove(&self, subject: &Subject, position: Position) -> Result<Removed, StoreError> {
        check_subject(subject)?;
        let removed = self.shared.write(subject.stream(), |state| {
            Some(state.remove(subject, position))
        });
        Ok(removed.unwrap_or(Removed::Done))
    }

    async fn trim(&self, stream: Stream, before: Position) -> Result<(), StoreError> {
        if !matches!(stream.family, Family::Int | Family::Telemetry) {
            return Err(StoreError::terminal("only events and frames are trimmed"));
        }
        self.shared.write(stream, |state| state.trim(before));
        Ok(())
    }

    async fn announce(&self, topic: &Topic, bytes: Bytes) -> Result<(), StoreError> {
        let mut topics = lock(&self.topics);
        // Nobody listens any more when sending fails; then the topic costs nothing either.
        if let Some(sender) = topics.get(topic)
            && sender.send(Announcement(bytes)).is_err()
        {
            topics.remove(topic);
        }
        Ok(())
    }

    fn listen(&self, topic: &Topic) -> BoxStream<'static, Announcement> {
        let mut topics = lock(&self.topics);
        topics.retain(|_, sender| sender.receiver_count() > 0);
        let receiver = topics
            .entry(topic.clone())
            .or_insert_with(|| broadcast::Sender::new(ANNOUNCEMENTS))
            .subscribe();
        unfold(receiver, |mut receiver| async move {
            loop {
                match receiver.recv().await {
                    Ok(announcement) => return Some((announcement, receiver)),
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return None,
                }
            }
        })
        .boxed()
    }
}

/// Whether streams of the family get a new generation in a restore, migration or roll.
const fn rolls(family: Family) -> bool {
    matches!(family, Family::Evt | Family::Rec | Family::State)
}

/// A subject is literal, and each of its tokens can stand in a subject of the distributed log.
fn check_subject(subject: &Subject) -> Result<(), StoreError> {
    let literal = |token: &str| {
        !token.is_empty()
            && token
                .bytes()
                .all(|b| b.is_ascii_graphic() && b != b'*' && b != b'>')
    };
    if subject.tokens().split('.').all(literal) {
        Ok(())
    } else {
        Err(StoreError::terminal(
            "a subject is literal, and no token is empty",
        ))
    }
}
