//! The loop that views and process managers share: follow streams in order, handle each message, keep a
//! low-water mark, park what cannot be handled.
//!
//! Messages are handled at least once: the mark is written after the handling. A handler is idempotent
//! because its rows carry the message's position as stamp, or its commands a commit id that the message decides.
//!
//! One process follows at a time, under a lease ([`Consumer::hold`]); the others stand by, and know from the stored
//! marks how far it has come. Marks are stamped with the fence: what a former holder still had under way never replaces
//! a newer holder's. What handlers put needs a fence only where two holders would put different things: rows that are
//! a fold of one subject at a position are the same whoever puts them, and a command is decided once by its commit id;
//! state that is kept between messages, as that of the rules, is not, so it carries the fence.

mod release;
mod standby;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{BoxStream, SelectAll};
use hearth_kernel::Failure;
use hearth_ports::{Documents, Log, Message, Position, StoreError, Stream, Table};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::aggregate::CodecError;
use crate::error::ExecuteError;
use crate::holding::Held;
use crate::parking::{Parked, Parking};
use crate::watermark::Watermarks;

pub use standby::Waiting;

pub(crate) const CHECKPOINTS: Table = Table("engine_checkpoints");
/// A mark is written after so many messages,
const MARK_EVERY: u32 = 64;
/// or so long after the first that is not marked: a standby learns from marks what was handled.
const MARK_IDLE: Duration = Duration::from_millis(200);
/// The first and the longest wait before a message is handled again.
const RETRY: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(5));
/// After so many tries of one message, about half a minute, somebody has to look: everything behind it waits.
const ALARM_AFTER: u32 = 13;

/// Why a message was not handled.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ConsumeError {
    /// It may work later: the consumer waits and tries the same message again.
    #[error("not now")]
    Retry(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// It never works: its subject is parked.
    #[error("never")]
    Poison(#[source] Arc<dyn std::error::Error + Send + Sync>),
}

impl From<StoreError> for ConsumeError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Terminal(_) => Self::Poison(Arc::new(error)),
            _ => Self::Retry(Arc::new(error)),
        }
    }
}

impl From<CodecError> for ConsumeError {
    fn from(error: CodecError) -> Self {
        Self::Poison(Arc::new(error))
    }
}

impl From<hearth_ports::SealError> for ConsumeError {
    fn from(error: hearth_ports::SealError) -> Self {
        match error {
            hearth_ports::SealError::Unavailable => Self::Retry(Arc::new(error)),
            _ => Self::Poison(Arc::new(error)),
        }
    }
}

impl From<Failure> for ConsumeError {
    fn from(failure: Failure) -> Self {
        use hearth_kernel::Kind;
        match failure.kind() {
            Kind::Unavailable | Kind::Conflict | Kind::Deadline | Kind::Unknown | Kind::Limited => {
                Self::Retry(Arc::new(failure))
            }
            _ => Self::Poison(Arc::new(failure)),
        }
    }
}

impl From<ExecuteError> for ConsumeError {
    fn from(error: ExecuteError) -> Self {
        match error {
            ExecuteError::Store(error) => error.into(),
            ExecuteError::Seal(error) => error.into(),
            ExecuteError::Refused(failure) => failure.into(),
            ExecuteError::Codec(_) | ExecuteError::Broken(_) => Self::Poison(Arc::new(error)),
        }
    }
}

/// What is done with each message.
#[async_trait]
pub trait Consume: Send + Sync + 'static {
    /// The consumer's name: its checkpoints and parked subjects lie under it. Never changes.
    fn name(&self) -> String;

    /// The streams it follows.
    fn sources(&self) -> Vec<Stream>;

    /// Handles one message; may see the same one again.
    ///
    /// # Errors
    /// See [`ConsumeError`].
    async fn handle(&self, message: &Message) -> Result<(), ConsumeError>;

    /// The lease that it is done under: `<service>.<work>.<shard>`.
    fn lease(&self) -> String {
        format!("{}.all", self.name())
    }

    /// This process waits for the lease, and another may hold it.
    fn stand_by(&self) {}

    /// This process holds the lease, and handles messages from the marks on. What was kept in memory may be older than
    /// what another holder has stored since: it is read again.
    ///
    /// # Errors
    /// When a store fails; then it begins again.
    async fn begin(&self, _held: &Held) -> Result<(), StoreError> {
        Ok(())
    }
}

/// A consumer of streams.
pub struct Consumer<C> {
    handler: C,
    log: Arc<dyn Log>,
    documents: Arc<dyn Documents>,
    watermarks: Watermarks,
    progress: BTreeMap<Stream, watch::Sender<Position>>,
    /// What it follows under, while it does.
    held: Mutex<Option<Held>>,
    /// Marks put under that.
    marks: AtomicU64,
    standing_by: Arc<standby::StandingBy>,
}

/// The newest message of each source that is handled and not marked, and how many there are.
type Unmarked = BTreeMap<Stream, (Position, u32)>;
type Tail = BoxStream<'static, (Stream, Result<Message, StoreError>)>;

impl<C: Consume> Consumer<C> {
    /// A consumer that is not running yet.
    #[must_use]
    pub fn new(
        handler: C,
        log: Arc<dyn Log>,
        documents: Arc<dyn Documents>,
        watermarks: Watermarks,
    ) -> Self {
        let sources = handler.sources().into_iter();
        let progress = sources
            .map(|s| (s, watch::Sender::new(Position::START)))
            .collect();
        Self {
            handler,
            log,
            documents,
            watermarks,
            progress,
            held: Mutex::default(),
            marks: AtomicU64::new(0),
            standing_by: Arc::default(),
        }
    }

    /// The handler.
    #[must_use]
    pub const fn handler(&self) -> &C {
        &self.handler
    }

    /// The low-water mark of a source that is stored.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn checkpoint(&self, stream: Stream) -> Result<Position, StoreError> {
        let (name, key) = (self.handler.name(), stream.name());
        let row = self
            .documents
            .get(CHECKPOINTS, name.as_bytes(), key.as_bytes())
            .await?;
        Ok(row
            .and_then(|row| Position::from_bytes(&row.value))
            .unwrap_or(Position::START))
    }

    async fn mark(&self, stream: Stream, position: Position) -> Result<(), StoreError> {
        let (name, key) = (self.handler.name(), stream.name());
        let value = Bytes::copy_from_slice(&position.to_bytes());
        let (partition, stamp) = (name.as_bytes(), self.mark_stamp(position)?);
        self.documents
            .put(CHECKPOINTS, partition, key.as_bytes(), stamp, value)
            .await
    }

    /// Of two marks the greater stamp stays: the newer holder's, and of one holder the later.
    fn mark_stamp(&self, position: Position) -> Result<i64, StoreError> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        match held.as_ref() {
            Some(held) => held.stamp(self.marks.fetch_add(1, Ordering::SeqCst) + 1),
            None => Ok(position.stamp()),
        }
    }

    /// How far it has come in a source: in this process while it follows here, else as far as the stored mark was when
    /// it was last looked at, at most a second ago.
    #[must_use]
    pub fn progress(&self, stream: Stream) -> Option<watch::Receiver<Position>> {
        self.progress.get(&stream).map(watch::Sender::subscribe)
    }

    /// Handles messages without a lease until something fails: for a process that is alone for sure. Services
    /// [`Self::hold`] instead, and a mark of one that did stays greater than any that is put here.
    ///
    /// # Errors
    /// When log or documents fail; running again resumes at the marks.
    pub async fn run(&self) -> Result<(), StoreError> {
        self.follow().await
    }

    async fn follow(&self) -> Result<(), StoreError> {
        let parking = Parking::new(Arc::clone(&self.documents), self.handler.name());
        let parked = parking.load().await?;
        let mut tails: SelectAll<Tail> = SelectAll::new();
        for (stream, progress) in &self.progress {
            let (stream, from) = (*stream, self.checkpoint(*stream).await?);
            progress.send_replace(from);
            tails.push(
                self.log
                    .tail(stream, from)
                    .map(move |next| (stream, next))
                    .boxed(),
            );
        }
        let mut unmarked = Unmarked::new();
        let mut releases = release::Look::default();
        let mut mark_by = Instant::now();
        loop {
            self.release_asked(&parking, &parked, &mut releases).await?;
            if !unmarked.is_empty() && mark_by <= Instant::now() {
                self.mark_all(&mut unmarked).await?;
            }
            let next = match (unmarked.is_empty(), parked.is_empty()) {
                (true, true) => Ok(tails.next().await),
                (true, false) => tokio::time::timeout(MARK_IDLE, tails.next()).await,
                (false, _) => tokio::time::timeout_at(mark_by, tails.next()).await,
            };
            let Ok(next) = next else {
                continue;
            };
            let Some((stream, message)) = next else {
                return Ok(());
            };
            let message = message?;
            let handling = self.handle(&message, &parking, &parked);
            self.marking(handling, &mut unmarked, mark_by).await?;
            if unmarked.is_empty() {
                mark_by = Instant::now() + MARK_IDLE;
            }
            let entry = unmarked.entry(stream).or_insert((message.position, 0));
            *entry = (message.position, entry.1 + 1);
            if entry.1 >= MARK_EVERY {
                self.mark(stream, message.position).await?;
                unmarked.remove(&stream);
            }
            if let Some(progress) = self.progress.get(&stream) {
                progress.send_replace(message.position);
            }
        }
    }

    /// Waits for a message to be handled. One that takes long, or is tried again and again, does not keep what was
    /// handled before it from being marked: others wait for that.
    async fn marking(
        &self,
        handling: impl Future<Output = Result<(), StoreError>>,
        unmarked: &mut Unmarked,
        mark_by: Instant,
    ) -> Result<(), StoreError> {
        if unmarked.is_empty() {
            return handling.await;
        }
        let mut handling = pin!(handling);
        tokio::select! {
            biased;
            handled = &mut handling => return handled,
            () = tokio::time::sleep_until(mark_by) => {}
        }
        self.mark_all(unmarked).await?;
        handling.await
    }

    async fn mark_all(&self, unmarked: &mut Unmarked) -> Result<(), StoreError> {
        for (stream, (position, _)) in std::mem::take(unmarked) {
            self.mark(stream, position).await?;
        }
        Ok(())
    }

    async fn handle(
        &self,
        message: &Message,
        parking: &Parking,
        parked: &Parked,
    ) -> Result<(), StoreError> {
        let (mut wait, mut tries) = (RETRY.0, 0_u32);
        loop {
            if parked.holds(&message.subject) {
                return Ok(());
            }
            match self.handler.handle(message).await {
                Ok(()) => return Ok(()),
                Err(ConsumeError::Poison(why)) => {
                    return parking.park(parked, message, &*why).await;
                }
                Err(ConsumeError::Retry(why)) => {
                    let consumer = self.handler.name();
                    tries = tries.saturating_add(1);
                    if tries < ALARM_AFTER {
                        tracing::warn!(consumer, subject = %message.subject, error = %why, "message not handled, waiting");
                    } else {
                        tracing::error!(consumer, subject = %message.subject, error = %why, tries, "consumer is stuck");
                    }
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(RETRY.1);
                }
            }
        }
    }
}
