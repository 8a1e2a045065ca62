//! The cache of a service's facts: what each process knows of memberships, sessions, claims and fences.
//!
//! It follows the live tail of STATE; a subject that it does not hold is loaded by a leader read, begun
//! after the tail is open, and of two values the one at the higher position stays. When the tail is lost,
//! everything is forgotten. When its watermark is older than 10 s it answers [`Stale`]: never an old yes,
//! never a false no.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use hearth_kernel::{Service, Timestamp};
use hearth_ports::{Clock, Family, Log, Message, Position, Read, StoreError, Stream, Subject};
use moka::ops::compute::Op;
use moka::sync::Cache;
use tokio::sync::watch;
use uuid::Uuid;

use crate::stamp::Stamp;
use crate::token::CommitToken;
use crate::watermark::Watermarks;

/// Knowledge older than this is not acted upon (DESIGN section 3).
const STALE_AFTER: Duration = Duration::from_secs(10);

/// How long an answer is put off for a watermark that is about to come: idle relays announce every 500 ms.
const FRESHEN: Duration = Duration::from_millis(750);

/// The cache does not know well enough to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("knowledge of this service's facts is stale")]
pub struct Stale;

#[derive(Clone)]
struct Entry {
    /// The life in which it was learned: in another one it says nothing.
    life: u64,
    position: Position,
    /// The message; `None`: there is no such fact.
    value: Option<Bytes>,
}

/// The facts of one service. Cheap to clone.
#[derive(Clone)]
pub struct FactCache {
    inner: Arc<Inner>,
}

struct Inner {
    service: Service,
    log: Arc<dyn Log>,
    clock: Arc<dyn Clock>,
    watermarks: Watermarks,
    entries: Cache<String, Entry>,
    /// Grows each time everything is forgotten: a load that began before does not put its answer in.
    life: AtomicU64,
    /// How many messages the tail has brought, counted before each is learned. A load during which one came
    /// does not put its answer in: the cache may have dropped a newer one for want of room.
    arrived: AtomicU64,
    /// How far the tail has been read; `None` while there is no tail.
    read: watch::Sender<Option<Position>>,
}

impl FactCache {
    /// A cache that holds at most `capacity` facts and knows nothing yet. Supervise [`FactCache::run`].
    #[must_use]
    pub fn new(
        service: Service,
        log: Arc<dyn Log>,
        clock: Arc<dyn Clock>,
        watermarks: Watermarks,
        capacity: u64,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                service,
                log,
                clock,
                watermarks,
                entries: Cache::new(capacity),
                life: AtomicU64::new(0),
                arrived: AtomicU64::new(0),
                read: watch::Sender::new(None),
            }),
        }
    }

    /// Follows the tail until it is lost; supervise it.
    ///
    /// # Errors
    /// When the log fails. Everything is forgotten then.
    pub async fn run(&self) -> Result<(), StoreError> {
        let outcome = self.follow().await;
        self.forget();
        outcome
    }

    async fn follow(&self) -> Result<(), StoreError> {
        let inner = &*self.inner;
        self.forget();
        let life = inner.life.load(Ordering::SeqCst);
        let stream = Stream::new(Family::State, inner.service);
        let head = inner.log.head(stream).await?.unwrap_or(Position::START);
        let mut tail = inner.log.tail(stream, head);
        inner.read.send_replace(Some(head));
        while let Some(message) = tail.next().await {
            let message = message?;
            let position = message.position;
            inner.arrived.fetch_add(1, Ordering::SeqCst);
            let key = message.subject.tokens().to_owned();
            self.learn(key, entry(Some(message), life), None);
            inner.read.send_replace(Some(position));
        }
        Ok(())
    }

    /// Forgets everything, as after a lost connection.
    pub fn forget(&self) {
        self.inner.read.send_replace(None);
        self.inner.life.fetch_add(1, Ordering::SeqCst);
        self.inner.entries.invalidate_all();
    }

    /// Puts a value in, unless a newer one of its life is there. `began` is of a load: how many messages had
    /// arrived then.
    fn learn(&self, key: String, new: Entry, began: Option<u64>) {
        let arrived = &self.inner.arrived;
        self.inner.entries.entry(key).and_compute_with(|old| {
            let newer = |old: &Entry| (old.life, old.position) >= (new.life, new.position);
            if old.is_some_and(|old| newer(old.value())) {
                return Op::Nop;
            }
            // Asked here, where the tail cannot learn the same key at the same time.
            if began.is_some_and(|then| then != arrived.load(Ordering::SeqCst)) {
                return Op::Nop;
            }
            Op::Put(new)
        });
    }

    /// What is held of a subject and was learned in this life.
    fn held(&self, subject: &Subject, life: u64) -> Option<Entry> {
        let entry = self.inner.entries.get(subject.tokens());
        entry.filter(|entry| entry.life == life)
    }

    /// Whether what it knows is young enough to act upon.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        let inner = &*self.inner;
        let mark = *inner.watermarks.newest(inner.service).borrow();
        let read = *inner.read.borrow();
        let now = inner.clock.now();
        read.is_some_and(|read| read >= mark.state)
            && now.since(mark.at) <= STALE_AFTER
            // A mark from far ahead was heard before our clock was set back, and may be old.
            && mark.at.since(now) <= STALE_AFTER
            && mark.at > Timestamp::EPOCH
    }

    /// The last value of a fact, its whole message. `None`: there is none, or it has ended.
    ///
    /// # Errors
    /// `Stale` when that cannot be known now.
    pub async fn get(&self, kind: &str, id: impl Into<Uuid>) -> Result<Option<Bytes>, Stale> {
        let inner = &*self.inner;
        // Before the question whether there is a tail: a load that begins between two tails belongs to neither.
        let mut life = inner.life.load(Ordering::SeqCst);
        if !self.is_fresh() {
            self.freshen().await;
            life = inner.life.load(Ordering::SeqCst);
            if !self.is_fresh() {
                return Err(Stale);
            }
        }
        let subject = Subject::fact(inner.service, kind, id);
        if let Some(entry) = self.held(&subject, life) {
            return Ok(entry.value);
        }
        let arrived = inner.arrived.load(Ordering::SeqCst);
        let loaded = inner
            .log
            .last(&subject, Read::Leader)
            .await
            .map_err(|_| Stale)?;
        let entry = entry(loaded, life);
        if inner.life.load(Ordering::SeqCst) != life {
            return Err(Stale);
        }
        self.learn(subject.tokens().to_owned(), entry.clone(), Some(arrived));
        // The tail may have brought a newer one while we were reading.
        let known = self.held(&subject, life);
        Ok(known
            .filter(|known| known.position > entry.position)
            .map_or(entry.value, |known| known.value))
    }

    /// The tail may be a moment behind a watermark that was just heard, or the next watermark just about to
    /// come: waits for it, shortly.
    async fn freshen(&self) {
        let mut read = self.inner.read.subscribe();
        let mut newest = self.inner.watermarks.newest(self.inner.service);
        let fresh = async {
            while !self.is_fresh() {
                tokio::select! {
                    _ = read.changed() => {}
                    _ = newest.changed() => {}
                }
            }
        };
        let _ = tokio::time::timeout(FRESHEN, fresh).await;
    }

    /// Waits until it knows everything that was decided before a time, shortly. Answers whether it does.
    ///
    /// A "no" that must not be false is asked again after this: what was written a moment ago elsewhere is then known.
    pub async fn knows_as_of(&self, time: Timestamp) -> bool {
        let mut read = self.inner.read.subscribe();
        let mut newest = self.inner.watermarks.newest(self.inner.service);
        let known = async {
            loop {
                let mark = *newest.borrow_and_update();
                let read_so_far = *read.borrow_and_update();
                if mark.at >= time && read_so_far.is_some_and(|at| at >= mark.state) {
                    return;
                }
                tokio::select! {
                    _ = read.changed() => {}
                    _ = newest.changed() => {}
                }
            }
        };
        tokio::time::timeout(FRESHEN, known).await.is_ok()
    }

    /// Waits until it knows everything up to a commit of its service. The caller bounds the wait.
    pub async fn reached(&self, token: CommitToken) {
        let inner = &*self.inner;
        if token.service != inner.service {
            return;
        }
        let mut newest = inner.watermarks.newest(inner.service);
        let covers = newest
            .wait_for(|mark| mark.evt >= token.position)
            .await
            .map(|mark| *mark);
        let Ok(mark) = covers else { return };
        let mut read = inner.read.subscribe();
        let _ = read
            .wait_for(|read| read.is_some_and(|at| at >= mark.state))
            .await;
    }

    /// The messages of the tail from now on, as they are learned: for open streams that must end when a
    /// membership does.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<Option<Position>> {
        self.inner.read.subscribe()
    }
}

fn entry(message: Option<Message>, life: u64) -> Entry {
    let Some(message) = message else {
        return Entry {
            life,
            position: Position::START,
            value: None,
        };
    };
    let gone = Stamp::read(&message.bytes).is_some_and(|stamp| stamp.gone);
    Entry {
        life,
        position: message.position,
        value: (!gone).then_some(message.bytes),
    }
}
