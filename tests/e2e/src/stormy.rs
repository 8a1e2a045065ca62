//! A log over which publishing goes wrong: what relays append is lost, or stored and called unknown, and tails end.
//!
//! Only appends to INT and STATE fail, so that commands go on while their relays die between any two steps.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use hearth_ports::{
    Announcement, Expected, Family, Log, Message, Position, Purge, Read, Removed, StoreError,
    Stream, Subject, Topic,
};
use tokio::sync::watch;

use crate::random::Random;

/// The weather, shared by the test and the log in it.
pub struct Weather {
    stormy: AtomicBool,
    random: Mutex<Random>,
    cuts: watch::Sender<u64>,
    /// Appends that were made to fail.
    pub failed: AtomicU64,
}

impl Weather {
    /// Calm weather.
    #[must_use]
    pub fn calm(random: Random) -> Arc<Self> {
        Arc::new(Self {
            stormy: AtomicBool::new(false),
            random: Mutex::new(random),
            cuts: watch::Sender::new(0),
            failed: AtomicU64::new(0),
        })
    }

    /// Lets the storm begin or end.
    pub fn storm(&self, stormy: bool) {
        self.stormy.store(stormy, Ordering::SeqCst);
    }

    /// Ends every tail that is open now: caches forget, consumers begin again at their marks.
    pub fn cut_tails(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    fn draw(&self, bound: usize) -> usize {
        self.random
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .below(bound)
    }
}

/// The log in that weather.
pub struct Stormy {
    log: Arc<dyn Log>,
    weather: Arc<Weather>,
}

impl Stormy {
    /// Wraps a log.
    #[must_use]
    pub fn new(log: Arc<dyn Log>, weather: Arc<Weather>) -> Self {
        Self { log, weather }
    }
}

#[async_trait]
impl Log for Stormy {
    async fn append(
        &self,
        subject: &Subject,
        expected: Expected,
        bytes: Bytes,
    ) -> Result<Position, StoreError> {
        let published = matches!(subject.stream().family, Family::Int | Family::State);
        if !published || !self.weather.stormy.load(Ordering::SeqCst) {
            return self.log.append(subject, expected, bytes).await;
        }
        match self.weather.draw(3) {
            0 => {
                self.weather.failed.fetch_add(1, Ordering::SeqCst);
                Err(StoreError::retryable("a storm, before"))
            }
            1 => {
                self.log.append(subject, expected, bytes).await?;
                self.weather.failed.fetch_add(1, Ordering::SeqCst);
                Err(StoreError::unknown("a storm, after"))
            }
            _ => self.log.append(subject, expected, bytes).await,
        }
    }

    async fn load(
        &self,
        subject: &Subject,
        after: Option<Position>,
        limit: usize,
        read: Read,
    ) -> Result<Vec<Message>, StoreError> {
        self.log.load(subject, after, limit, read).await
    }

    async fn last(&self, subject: &Subject, read: Read) -> Result<Option<Message>, StoreError> {
        self.log.last(subject, read).await
    }

    async fn head(&self, stream: Stream) -> Result<Option<Position>, StoreError> {
        self.log.head(stream).await
    }

    async fn newest(&self, stream: Stream) -> Result<Option<Message>, StoreError> {
        self.log.newest(stream).await
    }

    async fn page(
        &self,
        stream: Stream,
        after: Position,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError> {
        self.log.page(stream, after, limit).await
    }

    fn tail(
        &self,
        stream: Stream,
        after: Position,
    ) -> BoxStream<'static, Result<Message, StoreError>> {
        let mut cuts = self.weather.cuts.subscribe();
        cuts.mark_unchanged();
        let cut = async move {
            if cuts.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let end = futures::stream::once(async { Err(StoreError::retryable("the tail was cut")) });
        let tail = self.log.tail(stream, after);
        tail.take_until(cut).chain(end).boxed()
    }

    async fn purge(
        &self,
        subject: &Subject,
        through: Position,
        purge: Purge,
    ) -> Result<u64, StoreError> {
        self.log.purge(subject, through, purge).await
    }

    async fn remove(&self, subject: &Subject, position: Position) -> Result<Removed, StoreError> {
        self.log.remove(subject, position).await
    }

    async fn trim(&self, stream: Stream, before: Position) -> Result<(), StoreError> {
        self.log.trim(stream, before).await
    }

    async fn announce(&self, topic: &Topic, bytes: Bytes) -> Result<(), StoreError> {
        self.log.announce(topic, bytes).await
    }

    fn listen(&self, topic: &Topic) -> BoxStream<'static, Announcement> {
        self.log.listen(topic)
    }
}
