//! The end of tombstones: those of episodic aggregates go 30 days after they were set, those of lasting ones never.
//!
//! A tombstone lies in its stream where the purge put it, and a stream is in the order of time. So nothing has to be
//! listed: one cursor per stream follows 30 days behind the head, looks at each message once, and removes what is a
//! tombstone of a kind that was named to it. It knows no service, and what it was not told of it never touches.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hearth_kernel::Timestamp;
use hearth_ports::{Leases, Message, Position, Removed, StoreError, Stream, Table};
use uuid::Uuid;

use crate::aggregate::{Aggregate, Life};
use crate::envelope::Commit;
use crate::erasure::{ANSWER_KIND, Follower, uncache_answer};
use crate::execute::Engine;
use crate::hashing::random_id;

/// How long the tombstone of an episodic aggregate forbids return (DESIGN section 3).
pub const EPISODIC_TOMBSTONES: Duration = Duration::from_secs(30 * 86_400);

/// How far each stream was looked through: partition, the service; key, the stream.
const CURSORS: Table = Table("engine_tombstones");
/// How often it looks.
const EVERY: Duration = Duration::from_secs(3_600);
/// The pause between two passes where the first did not come to the end.
const SOON: Duration = Duration::from_secs(1);
/// How long the lease lasts; renewed before each page.
const LEASE_PERIOD: Duration = Duration::from_secs(30);
/// Messages per page.
const PAGE: usize = 256;
/// Pages of one pass.
const PAGES: usize = 16;

/// An episodic kind, as the sweep needs it.
struct Kind {
    name: &'static str,
    stream: Stream,
    uncache: fn(&Engine, Uuid),
}

/// What one pass did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Messages that were looked at: at most 4,096 per stream.
    pub seen: u64,
    /// Tombstones that went.
    pub removed: u64,
    /// Whether the bound of a pass was reached before the end.
    pub more: bool,
}

/// Ends the tombstones of one service's episodic aggregates. Run it supervised.
pub struct Tombstones {
    engine: Engine,
    leases: Arc<dyn Leases>,
    kinds: Vec<Kind>,
    followers: Vec<Follower>,
}

impl Tombstones {
    /// Those of the engine's service: of its answers to erasures, and of what [`Self::of`] adds.
    #[must_use]
    pub fn new(engine: Engine, leases: Arc<dyn Leases>) -> Self {
        let history = Stream::new(hearth_ports::Family::Evt, engine.service());
        let answers = Kind {
            name: ANSWER_KIND,
            stream: history,
            uncache: uncache_answer,
        };
        Self {
            engine,
            leases,
            kinds: vec![answers],
            followers: Vec::new(),
        }
    }

    /// The same, and those of this kind. A lasting one does not compile: its tombstones stay for ever.
    #[must_use]
    pub fn of<A: Aggregate>(mut self) -> Self {
        const {
            assert!(
                matches!(A::LIFE, Life::Episodic),
                "a lasting aggregate's tombstone stays for ever"
            );
        }
        self.kinds.push(Kind {
            name: A::KIND,
            stream: Stream::new(A::STORED.family(), A::SERVICE),
            uncache: Engine::drop_cached::<A>,
        });
        self
    }

    /// The same, never ahead of these: what has not read a tombstone still needs it.
    #[must_use]
    pub fn behind(mut self, followers: impl IntoIterator<Item = Follower>) -> Self {
        self.followers.extend(followers);
        self
    }

    /// Sweeps hour by hour until something fails.
    ///
    /// # Errors
    /// When a store fails; running again goes on.
    pub async fn run(&self) -> Result<(), StoreError> {
        loop {
            let more = match self.sweep().await {
                Ok(swept) => swept.more,
                // Another process does it.
                Err(StoreError::Conflict) => false,
                Err(error) => return Err(error),
            };
            let pause = if more { SOON } else { EVERY };
            self.engine.clock().sleep(pause).await;
        }
    }

    /// One pass, bounded. Interrupted anywhere, the next goes on behind the last page that was whole.
    ///
    /// # Errors
    /// `Conflict` when another process holds the lease; else when a store fails.
    pub async fn sweep(&self) -> Result<Swept, StoreError> {
        let name = format!("{}.tombstones.all", self.engine.service());
        let holder = random_id::<Uuid>().as_simple().to_string();
        let mut lease = self.leases.acquire(&name, &holder, LEASE_PERIOD).await?;
        let mut swept = Swept::default();
        let mut streams: Vec<Stream> = self.kinds.iter().map(|kind| kind.stream).collect();
        streams.sort_unstable();
        streams.dedup();
        let mut outcome = Ok(());
        'all: for stream in streams {
            for page in 0..PAGES {
                let turned = async {
                    lease = self.leases.renew(&lease, &holder, LEASE_PERIOD).await?;
                    self.page(stream, &mut swept).await
                };
                match turned.await {
                    Ok(true) => swept.more |= page + 1 == PAGES,
                    Ok(false) => break,
                    Err(error) => {
                        outcome = Err(error);
                        break 'all;
                    }
                }
            }
        }
        // What failed is the answer, and not that the lease could not be given up either: it ends by itself.
        let released = self.leases.release(&lease, &holder).await;
        outcome.and(released).map(|()| swept)
    }

    /// Looks through one page. Answers whether there may be another one to look at now.
    async fn page(&self, stream: Stream, swept: &mut Swept) -> Result<bool, StoreError> {
        let from = self.cursor(stream).await?;
        let page = self.engine.log().page(stream, from, PAGE).await?;
        let old = self.engine.now().minus(EPISODIC_TOMBSTONES);
        let mut through = from;
        for message in &page {
            if !self.may_look(message, old) {
                break;
            }
            swept.removed += u64::from(self.look(message).await?);
            swept.seen += 1;
            through = message.position;
        }
        if through > from {
            self.keep_cursor(stream, through).await?;
        }
        let whole = page.last().is_some_and(|last| last.position == through);
        Ok(whole && page.len() == PAGE)
    }

    fn may_look(&self, message: &Message, old: Timestamp) -> bool {
        let stream = message.subject.stream();
        message.recorded_at <= old
            && self
                .followers
                .iter()
                .all(|follower| follower.has_passed(stream, message.position))
    }

    /// Removes what is a tombstone of one of the kinds. What cannot be read is none.
    async fn look(&self, message: &Message) -> Result<bool, StoreError> {
        let (subject, stream) = (&message.subject, message.subject.stream());
        let mut kinds = self.kinds.iter();
        let kind = kinds.find(|kind| kind.name == subject.kind() && kind.stream == stream);
        let tombstone = Commit::read(&message.bytes).is_ok_and(|commit| commit.is_tombstone());
        let (Some(kind), Some(id), true) = (kind, subject.id(), tombstone) else {
            return Ok(false);
        };
        let removed = self.engine.log().remove(subject, message.position).await?;
        // After it: whoever loaded it meanwhile must not go on saying that it is gone.
        (kind.uncache)(&self.engine, id);
        Ok(removed == Removed::Done)
    }

    async fn cursor(&self, stream: Stream) -> Result<Position, StoreError> {
        let (partition, key) = (self.engine.service().name(), stream.name());
        let documents = self.engine.documents();
        let row = documents
            .get(CURSORS, partition.as_bytes(), key.as_bytes())
            .await?;
        let at = row.and_then(|row| Position::from_bytes(&row.value));
        Ok(at.unwrap_or(Position::START))
    }

    async fn keep_cursor(&self, stream: Stream, at: Position) -> Result<(), StoreError> {
        let (partition, key) = (self.engine.service().name(), stream.name());
        let value = Bytes::copy_from_slice(&at.to_bytes());
        let documents = self.engine.documents();
        documents
            .put(
                CURSORS,
                partition.as_bytes(),
                key.as_bytes(),
                at.stamp(),
                value,
            )
            .await
    }
}
