//! One installation on memory with a vault and its tasks: what the tests of this crate start from.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use hearth_backend_memory::Memory;
use hearth_kernel::{
    AccountId, AggregateRef, ClaimId, Day, HomeId, HubStreamId, Origin, Owner, RetentionClass,
    Secret, Service, Timestamp,
};
use hearth_ports::{
    Announcement, Binding, Expected, KeyCustody, Log, ManualClock, Message, Opened, Position,
    Purge, Read, Removed, StoreError, Stream, Subject, Tasks, Topic,
};

use crate::error::VaultError;
use crate::vault::Vault;

pub(crate) const ANNA: Owner = Owner::Account(AccountId::from_bytes([0xa1; 16]));
pub(crate) const BEN: Owner = Owner::Account(AccountId::from_bytes([0xb2; 16]));
pub(crate) const HOME: Owner = Owner::Home(HomeId::from_bytes([0xc3; 16]));
pub(crate) const DAY: Duration = Duration::from_secs(86_400);

/// A log whose reads of facts can be made to fail.
pub(crate) struct Cut {
    log: Arc<dyn Log>,
    pub(crate) cut: AtomicBool,
    /// The next append is not heard of: it happens (2), or does not (1).
    pub(crate) unknown: AtomicU8,
}

impl Cut {
    fn check(&self, stream: Stream) -> Result<(), StoreError> {
        if self.cut.load(Ordering::SeqCst) && stream.family == hearth_ports::Family::State {
            return Err(StoreError::retryable("cut"));
        }
        Ok(())
    }
}

#[async_trait]
impl Log for Cut {
    async fn append(
        &self,
        subject: &Subject,
        expected: Expected,
        bytes: Bytes,
    ) -> Result<Position, StoreError> {
        match self.unknown.swap(0, Ordering::SeqCst) {
            1 => return Err(StoreError::unknown("lost")),
            2 => self.log.append(subject, expected, bytes).await?,
            _ => return self.log.append(subject, expected, bytes).await,
        };
        Err(StoreError::unknown("stored"))
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
        self.check(stream)?;
        self.log.newest(stream).await
    }

    async fn page(
        &self,
        stream: Stream,
        after: Position,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError> {
        self.check(stream)?;
        self.log.page(stream, after, limit).await
    }

    fn tail(
        &self,
        stream: Stream,
        after: Position,
    ) -> BoxStream<'static, Result<Message, StoreError>> {
        self.log.tail(stream, after)
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

/// One installation with one vault.
pub(crate) struct Trial {
    pub(crate) clock: ManualClock,
    pub(crate) log: Arc<Cut>,
    pub(crate) memory: Memory,
    pub(crate) tasks: Tasks,
    pub(crate) vault: Vault,
}

pub(crate) async fn trial() -> Trial {
    let clock = ManualClock::new(Timestamp::from_seconds(1_800_000_000));
    let memory = Memory::new(Arc::new(clock.clone()));
    let log = Arc::new(Cut {
        log: Arc::clone(&memory.log) as Arc<dyn Log>,
        cut: AtomicBool::new(false),
        unknown: AtomicU8::new(0),
    });
    let tasks = Tasks::new();
    let vault = start(&memory, &log, &tasks).await.unwrap();
    Trial {
        clock,
        log,
        memory,
        tasks,
        vault,
    }
}

pub(crate) async fn start(
    memory: &Memory,
    log: &Arc<Cut>,
    tasks: &Tasks,
) -> Result<Vault, VaultError> {
    Vault::start(
        Arc::clone(log) as Arc<dyn Log>,
        Arc::clone(&memory.custody) as Arc<dyn KeyCustody>,
        Arc::clone(&memory.clock),
        tasks,
    )
    .await
}

pub(crate) fn event(version: u64, part: u16) -> Binding {
    Binding::Event(Origin {
        aggregate: AggregateRef::new(Service::Accounts, "account", uuid::Uuid::from_u128(7)),
        version,
        event: 0,
        part,
    })
}

pub(crate) fn segment(day: Day) -> Binding {
    Binding::Segment {
        home: HomeId::from_bytes([0xc3; 16]),
        claim: ClaimId::from_bytes([1; 16]),
        stream: HubStreamId::from_bytes([2; 16]),
        sequence: 1,
        class: RetentionClass::Days7,
        day,
    }
}

pub(crate) fn clear(text: &str) -> Opened {
    Opened::Clear(Secret::from(text))
}

/// Waits until something holds: lets the tasks run, and gives up when they cannot bring it about.
pub(crate) async fn until<F: Future<Output = bool>>(mut holds: impl FnMut() -> F) {
    for _ in 0..10_000 {
        if holds().await {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("what was waited for does not happen");
}
