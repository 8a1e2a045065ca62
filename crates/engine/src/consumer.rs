//! The loop that views and process managers share: follow streams in order, handle each message, keep a
//! low-water mark, park what cannot be handled.
//!
//! Messages are handled at least once: the mark is written after the handling. A handler is idempotent
//! because its rows carry the message's position as stamp, or its commands a commit id that the message decides.

mod release;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{BoxStream, SelectAll};
use hearth_kernel::Failure;
use hearth_ports::{Documents, Family, Log, Message, Position, StoreError, Stream, Table};
use tokio::sync::watch;

use crate::aggregate::CodecError;
use crate::error::ExecuteError;
use crate::parking::{Parked, Parking};
use crate::token::CommitToken;
use crate::watermark::{Published, Watermarks};

pub(crate) const CHECKPOINTS: Table = Table("engine_checkpoints");
/// A mark is written after so many messages,
const MARK_EVERY: u32 = 64;
/// or after so long without one.
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
}

/// A consumer of streams.
pub struct Consumer<C> {
    handler: C,
    log: Arc<dyn Log>,
    documents: Arc<dyn Documents>,
    watermarks: Watermarks,
    progress: BTreeMap<Stream, watch::Sender<Position>>,
}

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
        let (partition, stamp) = (name.as_bytes(), position.stamp());
        self.documents
            .put(CHECKPOINTS, partition, key.as_bytes(), stamp, value)
            .await
    }

    /// How far it has come in a source, in this process.
    #[must_use]
    pub fn progress(&self, stream: Stream) -> Option<watch::Receiver<Position>> {
        self.progress.get(&stream).map(watch::Sender::subscribe)
    }

    /// Handles messages until something fails; supervise it.
    ///
    /// # Errors
    /// When log or documents fail; running again resumes at the marks.
    pub async fn run(&self) -> Result<(), StoreError> {
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
        let mut unmarked: BTreeMap<Stream, (Position, u32)> = BTreeMap::new();
        let mut releases = release::Look::default();
        loop {
            self.release_asked(&parking, &parked, &mut releases).await?;
            let next = if unmarked.is_empty() && parked.is_empty() {
                tails.next().await
            } else {
                match tokio::time::timeout(MARK_IDLE, tails.next()).await {
                    Ok(next) => next,
                    Err(_) => {
                        for (stream, (position, _)) in std::mem::take(&mut unmarked) {
                            self.mark(stream, position).await?;
                        }
                        continue;
                    }
                }
            };
            let Some((stream, message)) = next else {
                return Ok(());
            };
            let message = message?;
            self.handle(&message, &parking, &parked).await?;
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

    /// Waits until it has handled everything up to a commit of some service. The caller bounds the wait.
    pub async fn reached(&self, token: CommitToken) {
        let evt = Stream::new(Family::Evt, token.service);
        if let Some(mut progress) = self.progress(evt) {
            let _ = progress.wait_for(|at| *at >= token.position).await;
            return;
        }
        let mut newest = self.watermarks.newest(token.service);
        let covers = |mark: &Published| mark.evt >= token.position;
        let Ok(mark) = newest.wait_for(covers).await.map(|mark| *mark) else {
            return;
        };
        for (family, through) in [(Family::Int, mark.int), (Family::State, mark.state)] {
            if let Some(mut progress) = self.progress(Stream::new(family, token.service)) {
                let _ = progress.wait_for(|at| *at >= through).await;
            }
        }
    }
}
