//! Erasing, as every service does it: follow the orders of retention, wait until nothing of the service is behind,
//! call every eraser, and answer.
//!
//! An order reaches the stage *purging* when no key of its owners lives anywhere. Then this consumer reads the
//! heads of the streams that the service's relay, views and process managers follow, waits until they have passed
//! them, and erases: what still lay before a reader cannot bring anything back. The answer is a small aggregate of
//! the service, so it is published by the service's own relay, behind the tombstones that the erasers left.
//!
//! The messages here are those of `hearth.events.v1`; a test of the retention service compares them.

mod answer;
mod order;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hearth_kernel::{Service, Timestamp};
use hearth_ports::{Family, Log, Message, Position, Read, StoreError, Stream};
use tokio::sync::watch;

pub(crate) use answer::uncache as uncache_answer;
pub use answer::{KIND as ANSWER_KIND, publications};
#[cfg(test)]
pub(crate) use order::order_for;
pub use order::{Order, Stage};

use crate::consumer::{Consume, ConsumeError, Consumer};
use crate::execute::Engine;
use crate::relay::Relay;
use crate::{parking, timers};

/// How often a wait for a follower looks again at what is stored: a message that it waits for may have been removed.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long a wait for a follower lasts before it is said to be behind; then it is waited for again.
const CATCH_UP: Duration = Duration::from_secs(30);

/// A follower does not come on: nothing may be purged before it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a follower of {} is behind", .0.name())]
struct Behind(Stream);

/// Names of what stays for a time after an erasure, as the residual list spells them.
pub mod residual {
    /// Bare ids in tombstones.
    pub const TOMBSTONES: &str = "tombstones";
    /// Published events: 30 days.
    pub const INT_EVENTS: &str = "int-events";
    /// Frames of sealed segments: 7 days.
    pub const FRAMES: &str = "frames";
    /// Backups.
    pub const BACKUPS: &str = "backups";
    /// What must outlive closing.
    pub const RECORDS: &str = "records";
    /// Copies under a legal hold.
    pub const HOLDS: &str = "holds";
}

/// What one eraser did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// Items removed.
    pub removed: u64,
    /// What stays, and until when: a name of [`residual`], and its end, `None` for bare ids that stay for ever.
    pub residuals: Vec<(&'static str, Option<Timestamp>)>,
}

impl Erased {
    /// So many items, and nothing stays.
    #[must_use]
    pub const fn items(removed: u64) -> Self {
        Self {
            removed,
            residuals: Vec::new(),
        }
    }

    /// The same, with something that stays.
    #[must_use]
    pub fn leaving(mut self, what: &'static str, ends_at: Option<Timestamp>) -> Self {
        self.residuals.push((what, ends_at));
        self
    }
}

/// Erases somebody from one store.
#[async_trait]
pub trait Eraser: Send + Sync + 'static {
    /// The store's name in the data inventory: `accounts.credentials`. At most 64 characters.
    fn store(&self) -> &'static str;

    /// Removes everything of the order's owners and memberships. Asked again after a crash: what is gone already
    /// is no error, and counts 0. It may write nothing under the owners' keys, which are destroyed.
    ///
    /// # Errors
    /// `Retry` and the whole order is taken again; `Poison` parks the order with an alarm.
    async fn erase(&self, order: &Order) -> Result<Erased, ConsumeError>;
}

/// Something that follows a stream and could bring back what is erased: a relay, a view, a process manager, a writer.
#[derive(Clone, Debug)]
pub struct Follower {
    stream: Stream,
    passed: watch::Receiver<Position>,
}

impl Follower {
    /// Whatever shows how far it has come in a stream.
    #[must_use]
    pub const fn new(stream: Stream, passed: watch::Receiver<Position>) -> Self {
        Self { stream, passed }
    }

    /// Whether it has passed a position; one of another stream does not have to.
    pub(crate) fn has_passed(&self, stream: Stream, position: Position) -> bool {
        self.stream != stream || *self.passed.borrow() >= position
    }

    /// The relay of a service.
    #[must_use]
    pub fn relay(service: Service, relay: &Relay) -> Self {
        Self::new(Stream::new(Family::Evt, service), relay.passed())
    }

    /// A consumer or view, in each stream that it follows.
    #[must_use]
    pub fn consumer<C: Consume>(consumer: &Consumer<C>) -> Vec<Self> {
        let sources = consumer.handler().sources().into_iter();
        sources
            .filter_map(|stream| Some(Self::new(stream, consumer.progress(stream)?)))
            .collect()
    }

    /// Waits until it has passed everything that was stored when this was called.
    pub(crate) async fn caught_up(&self, log: &dyn Log) -> Result<(), StoreError> {
        let Some(head) = log.head(self.stream).await? else {
            return Ok(());
        };
        let mut passed = self.passed.clone();
        loop {
            let at = *passed.borrow_and_update();
            if at >= head {
                return Ok(());
            }
            let next = log.page(self.stream, at, 1).await?;
            if next.first().is_none_or(|next| next.position > head) {
                return Ok(());
            }
            // Either it moved, or it is time to look again; both lead to the same question.
            let _ = tokio::time::timeout(LOOK_EVERY, passed.changed()).await;
        }
    }
}

/// A store of the module's list has no eraser, or an eraser names a store that is not listed, or twice.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the erasers do not match the list of stores: {0}")]
pub struct ErasersMismatch(pub String);

/// The erasures of one service: a consumer of retention's orders. Run it as a [`Consumer`], supervised.
pub struct Erasures {
    engine: Engine,
    erasers: Vec<Arc<dyn Eraser>>,
    followers: Vec<Follower>,
}

impl Erasures {
    /// The erasures of the engine's service, with an eraser for each store that its module lists.
    ///
    /// # Errors
    /// When a store has no eraser, or an eraser no store: then nothing may start.
    pub fn new(
        engine: Engine,
        stores: &[&str],
        erasers: Vec<Arc<dyn Eraser>>,
    ) -> Result<Self, ErasersMismatch> {
        let mut left: BTreeSet<&str> = stores.iter().copied().collect();
        for eraser in &erasers {
            if !left.remove(eraser.store()) {
                return Err(ErasersMismatch(format!(
                    "{} is not listed, or has two",
                    eraser.store()
                )));
            }
        }
        match left.first() {
            Some(store) => Err(ErasersMismatch(format!("{store} has none"))),
            None => Ok(Self {
                engine,
                erasers,
                followers: Vec::new(),
            }),
        }
    }

    /// The same, waiting for these before anything is purged.
    #[must_use]
    pub fn behind(mut self, followers: impl IntoIterator<Item = Follower>) -> Self {
        self.followers.extend(followers);
        self
    }

    /// What it waits for: what else removes something for good waits for the same.
    #[must_use]
    pub fn followers(&self) -> Vec<Follower> {
        self.followers.clone()
    }

    async fn carry_out(&self, order: &Order) -> Result<(), ConsumeError> {
        if answer::given(&self.engine, order.erasure).await? {
            return Ok(());
        }
        for follower in &self.followers {
            let caught_up = follower.caught_up(&**self.engine.log());
            tokio::time::timeout(CATCH_UP, caught_up)
                .await
                .map_err(|_| ConsumeError::Retry(Arc::new(Behind(follower.stream))))??;
        }
        let mut done = Vec::with_capacity(self.erasers.len());
        for eraser in &self.erasers {
            done.push((eraser.store(), eraser.erase(order).await?));
        }
        let named = order.named();
        let documents = &**self.engine.documents();
        parking::forget(documents, &named).await?;
        timers::forget(documents, self.engine.service(), &named).await?;
        answer::give(&self.engine, order.erasure, &done).await?;
        tracing::info!(
            service = %self.engine.service(),
            erasure = %order.erasure,
            stores = done.len(),
            removed = done.iter().map(|(_, erased)| erased.removed).sum::<u64>(),
            "erased"
        );
        Ok(())
    }
}

#[async_trait]
impl Consume for Erasures {
    fn name(&self) -> String {
        format!("{}.erasures", self.engine.service())
    }

    fn sources(&self) -> Vec<Stream> {
        vec![Stream::new(Family::State, Service::Retention)]
    }

    async fn handle(&self, message: &Message) -> Result<(), ConsumeError> {
        if message.subject.kind() != order::FACT {
            return Ok(());
        }
        // An order that stands is read again: the message may be an old one, and a later stage is the truth.
        let log = self.engine.log();
        let Some(last) = log.last(&message.subject, Read::Leader).await? else {
            return Ok(());
        };
        match Order::read(&last.bytes)? {
            Some(order) if order.stage == Stage::Purging => self.carry_out(&order).await,
            Some(_) => Ok(()),
            // It has ended: the answer has done its work.
            None => match last.subject.id() {
                Some(id) => Ok(answer::forget(&self.engine, id.into()).await?),
                None => Ok(()),
            },
        }
    }
}
