//! Making checkpoints: hourly, and once more when the service stops, so that what is done to the files of a stopped
//! installation is seen too.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hearth_kernel::{Purpose, Service, Timestamp};
use hearth_ports::{
    Clock, Documents, Expected, Family, Leases, Log, Message, Position, Range, SealError, Sealing,
    StoreError, Stream, Tasks,
};
use prost::Message as _;
use ring::signature::Ed25519KeyPair;
use tokio::sync::watch;

use super::head::{
    Head, HeadBody, Kept, Leaf, Page, key_name, key_number, key_pair, public_key, root_of,
};
use super::read::{is_checkpoints, newest, note, noted, page_key, partition, subject};
use super::tree::Hash;
use super::{KIND, TABLE};
use crate::call::Actor;
use crate::envelope::{Commit, StoredEvent};
use crate::hashing::{link, random_id};

/// How long after a start the first one is made: a start that fails soon leaves none.
const FIRST: Duration = Duration::from_secs(60);
/// How often one is made, if something changed.
const EVERY: Duration = Duration::from_secs(3_600);
/// How long the last one may take, when the service stops.
const LAST_WITHIN: Duration = Duration::from_secs(1);
/// How long the lease lasts: longer than one checkpoint takes.
const LEASE_PERIOD: Duration = Duration::from_secs(30);
/// Messages per page.
const PAGE: usize = 512;
/// The most aggregates in one checkpoint, which bounds memory; the rest goes into the next, at once.
const MOST_LEAVES: usize = 65_536;
/// Leaves per document: with the longest kind it stays below 64 KiB.
const LEAVES_PER_PAGE: usize = 384;
/// Documents of other tries that are removed at a time.
const STRAY: usize = 256;
/// The event's name.
const EVENT: &str = "checkpoint_signed";

/// Why no checkpoint was made. The next try makes it.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// A store failed.
    #[error("a store failed")]
    Store(#[from] StoreError),
    /// The vault does not give the signing key.
    #[error("the vault does not give the signing key")]
    Seal(#[from] SealError),
}

/// The newest checkpoint of a service, for who shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Newest {
    /// The checkpoint in short: what is to be kept elsewhere.
    pub kept: Kept,
    /// What it covers.
    pub through: Position,
    /// When it was signed.
    pub at: Timestamp,
}

/// Makes the checkpoints of one service.
pub struct Checkpoints {
    service: Service,
    log: Arc<dyn Log>,
    documents: Arc<dyn Documents>,
    leases: Arc<dyn Leases>,
    sealing: Arc<dyn Sealing>,
    clock: Arc<dyn Clock>,
    most_leaves: usize,
    newest: watch::Sender<Option<Newest>>,
}

impl std::fmt::Debug for Checkpoints {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Checkpoints({})", self.service)
    }
}

/// Where the next checkpoint begins.
struct Start {
    /// The message of the newest head.
    last: Option<Message>,
    /// The version of its commit, or as many as are known.
    version: u64,
    number: u64,
    previous: Bytes,
    after: Position,
    after_a_break: bool,
}

/// What changed since.
struct Changed {
    leaves: Vec<Leaf>,
    through: Position,
    /// There is more behind it.
    more: bool,
}

impl Checkpoints {
    /// Of that service. Nothing runs yet.
    #[must_use]
    pub fn new(
        service: Service,
        (log, documents): (Arc<dyn Log>, Arc<dyn Documents>),
        leases: Arc<dyn Leases>,
        sealing: Arc<dyn Sealing>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            service,
            log,
            documents,
            leases,
            sealing,
            clock,
            most_leaves: MOST_LEAVES,
            newest: watch::Sender::new(None),
        }
    }

    /// The same, with another bound of aggregates per checkpoint.
    #[cfg(test)]
    pub(super) const fn at_most(mut self, leaves: usize) -> Self {
        self.most_leaves = leaves;
        self
    }

    /// The newest checkpoint that this process made or found; `None` before it has looked.
    #[must_use]
    pub fn newest(&self) -> watch::Receiver<Option<Newest>> {
        self.newest.subscribe()
    }

    /// Makes one a minute after the start, then hourly, and a last one when `tasks` are stopped.
    pub fn start(self: &Arc<Self>, tasks: &Tasks) {
        let hourly = Arc::clone(self);
        tasks.supervise("checkpoints", move || {
            let checkpoints = Arc::clone(&hourly);
            async move { checkpoints.run().await }
        });
        let (last, stopping) = (Arc::clone(self), tasks.stopping());
        tasks.spawn_draining("last checkpoint", async move {
            stopping.cancelled().await;
            match tokio::time::timeout(LAST_WITHIN, last.make()).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => {
                    tracing::warn!(service = %last.service, %error, "no last checkpoint");
                }
                Err(_) => tracing::warn!(service = %last.service, "no last checkpoint in time"),
            }
        });
    }

    /// Makes checkpoints until something fails; supervise it.
    ///
    /// # Errors
    /// See [`CheckpointError`].
    pub async fn run(&self) -> Result<(), CheckpointError> {
        // So that the newest is shown before another one is due.
        self.begin().await?;
        self.clock.sleep(FIRST).await;
        loop {
            self.make().await?;
            self.clock.sleep(EVERY).await;
        }
    }

    /// Makes one now, or several where one would be too large, if anything changed. Answers how many; none when
    /// another process is at it.
    ///
    /// # Errors
    /// See [`CheckpointError`]. What was made stays.
    pub async fn make(&self) -> Result<u64, CheckpointError> {
        let holder = random_id::<uuid::Uuid>().as_simple().to_string();
        let name = format!("{}.checkpoints.all", self.service);
        let mut lease = match self.leases.acquire(&name, &holder, LEASE_PERIOD).await {
            Ok(lease) => lease,
            Err(StoreError::Conflict) => return Ok(0),
            Err(error) => return Err(error.into()),
        };
        let mut made = 0;
        let outcome = loop {
            match self.make_one().await {
                Ok(Some(more)) => {
                    made += 1;
                    if !more {
                        break Ok(made);
                    }
                }
                Ok(None) => break Ok(made),
                Err(error) => break Err(error),
            }
            match self.leases.renew(&lease, &holder, LEASE_PERIOD).await {
                Ok(renewed) => lease = renewed,
                Err(StoreError::Conflict) => return Ok(made),
                Err(error) => return Err(error.into()),
            }
        };
        self.leases.release(&lease, &holder).await?;
        outcome
    }

    /// Makes the next one. `None`: nothing changed, or somebody else made it.
    async fn make_one(&self) -> Result<Option<bool>, CheckpointError> {
        let start = self.begin().await?;
        let changed = self.changed_since(start.after).await?;
        if changed.leaves.is_empty() {
            return Ok(None);
        }
        let root = root_of(&changed.leaves);
        self.store(start.number, &root, &changed).await?;
        let at = self.clock.now();
        let number = key_number(at);
        let pair = self.key(number).await?;
        let body = HeadBody {
            service: u32::from(self.service.number()),
            number: start.number,
            previous: start.previous.clone(),
            after: Bytes::copy_from_slice(&start.after.to_bytes()),
            through: Bytes::copy_from_slice(&changed.through.to_bytes()),
            leaves: u64::try_from(changed.leaves.len()).unwrap_or(u64::MAX),
            root: Bytes::copy_from_slice(&root),
            at: at.micros(),
            key_number: number,
            public_key: public_key(&pair),
            after_a_break: start.after_a_break,
        };
        let head = Head::sign(&body, &pair);
        let kept = Kept {
            service: self.service,
            number: start.number,
            hash: head.hash(),
        };
        let Some(position) = self.append(&start, &head, at).await? else {
            return Ok(None);
        };
        note(&*self.documents, kept, position).await?;
        if !start.after_a_break {
            self.sweep(start.number, &root, changed.through).await?;
        }
        // One line that can be kept where nobody of this machine can take it back.
        tracing::info!(
            service = %self.service,
            checkpoint = %kept,
            through = %format_args!("{}:{}", changed.through.generation, changed.through.sequence),
            aggregates = body.leaves,
            key = number,
            "checkpoint signed"
        );
        self.newest.send_replace(Some(Newest {
            kept,
            through: changed.through,
            at,
        }));
        Ok(Some(changed.more))
    }

    /// What the newest head says, if it is one that this service signed.
    async fn begin(&self) -> Result<Start, CheckpointError> {
        let first = Start {
            last: None,
            version: 0,
            number: 1,
            previous: Bytes::new(),
            after: Position::START,
            after_a_break: false,
        };
        let Some((message, found)) = newest(&*self.log, self.service).await? else {
            return Ok(first);
        };
        let Some((commit, head)) = found else {
            tracing::error!(service = %self.service, "the newest checkpoint cannot be read");
            let noted = noted(&*self.documents, self.service).await?;
            return Ok(Start {
                last: Some(message),
                number: noted.map_or(0, |kept| kept.number).saturating_add(1),
                after_a_break: true,
                ..first
            });
        };
        let version = commit.version;
        let body = head.read().unwrap_or_default();
        let signer = public_key(&self.key(body.key_number).await?);
        let covers = body.covers().filter(|_| head.is_signed_by(&signer));
        let Some((_, through)) = covers else {
            // It is not extended as if it were right, and not left out either: the break stays to be seen.
            tracing::error!(
                service = %self.service,
                number = body.number,
                "the newest checkpoint was not signed by this service"
            );
            return Ok(Start {
                last: Some(message),
                version,
                number: body.number.saturating_add(1),
                previous: Bytes::copy_from_slice(&head.hash()),
                after_a_break: true,
                ..first
            });
        };
        let newest = Newest {
            kept: Kept {
                service: self.service,
                number: body.number,
                hash: head.hash(),
            },
            through,
            at: Timestamp::from_micros(body.at),
        };
        // A crash may have come between the head and its note.
        note(&*self.documents, newest.kept, message.position).await?;
        self.newest.send_replace(Some(newest));
        Ok(Start {
            last: Some(message),
            version,
            number: body.number.saturating_add(1),
            previous: Bytes::copy_from_slice(&head.hash()),
            after: through,
            after_a_break: false,
        })
    }

    /// The last commit of each aggregate that has one after a position, up to where the stream ends now.
    async fn changed_since(&self, after: Position) -> Result<Changed, StoreError> {
        let stream = Stream::new(Family::Evt, self.service);
        let end = self.log.head(stream).await?.unwrap_or(Position::START);
        let mut leaves: BTreeMap<Bytes, Leaf> = BTreeMap::new();
        let mut through = after;
        'pages: while through < end {
            let page = self.log.page(stream, through, PAGE).await?;
            if page.is_empty() {
                break;
            }
            for message in &page {
                if message.position > end || leaves.len() >= self.most_leaves {
                    break 'pages;
                }
                through = message.position;
                if is_checkpoints(&message.subject) {
                    continue;
                }
                match Leaf::of(message) {
                    Some(leaf) => {
                        leaves.insert(leaf.subject.clone(), leaf);
                    }
                    None => tracing::error!(
                        subject = %message.subject,
                        "a commit cannot be read: the checkpoint is without it"
                    ),
                }
            }
        }
        Ok(Changed {
            more: leaves.len() >= self.most_leaves,
            leaves: leaves.into_values().collect(),
            through,
        })
    }

    /// The pages of leaves. They are addressed by the root, so what they say is settled before they are written.
    async fn store(&self, number: u64, root: &Hash, changed: &Changed) -> Result<(), StoreError> {
        let (partition, stamp) = (partition(self.service, number), changed.through.stamp());
        for (page, leaves) in (0_u32..).zip(changed.leaves.chunks(LEAVES_PER_PAGE)) {
            let leaves = leaves.to_vec();
            let value = Bytes::from(Page { leaves }.encode_to_vec());
            let key = page_key(root, page);
            self.documents
                .put(TABLE, &partition, &key, stamp, value)
                .await?;
        }
        Ok(())
    }

    /// Removes what tries that came to nothing left under this number.
    async fn sweep(&self, number: u64, root: &Hash, through: Position) -> Result<(), StoreError> {
        let partition = partition(self.service, number);
        let before = (None, Some(page_key(root, 0)));
        let mut behind = page_key(root, u32::MAX);
        behind.push(0);
        for (from, until) in [before, (Some(behind), None)] {
            let range = Range {
                from,
                until,
                descending: false,
                limit: STRAY,
            };
            for row in self.documents.range(TABLE, &partition, range).await? {
                let stamp = row.stamp.max(through.stamp());
                self.documents
                    .delete(TABLE, &partition, &row.key, stamp)
                    .await?;
            }
        }
        Ok(())
    }

    /// Appends the head behind the one that was read. `None`: another one stands there.
    async fn append(
        &self,
        start: &Start,
        head: &Head,
        at: Timestamp,
    ) -> Result<Option<Position>, StoreError> {
        let previous = start.last.as_ref().map(|last| link(&last.bytes));
        let commit = Commit {
            id: Bytes::copy_from_slice(head.hash().first_chunk::<16>().unwrap_or(&[0; 16])),
            service: u32::from(self.service.number()),
            kind: KIND.to_owned(),
            aggregate: Bytes::copy_from_slice(uuid::Uuid::from_u128(1).as_bytes()),
            version: start.version + 1,
            base: start.version,
            decided_at: at.micros(),
            events: vec![StoredEvent {
                name: EVENT.to_owned(),
                major: 1,
                public: Bytes::from(head.encode_to_vec()),
                parts: Vec::new(),
            }],
            actor: Bytes::copy_from_slice(&Actor::Service(self.service).to_bytes()),
            previous: previous.map_or_else(Bytes::new, |it| Bytes::copy_from_slice(&it)),
            ..Commit::default()
        };
        let bytes = Bytes::from(commit.encode_to_vec());
        let expected = Expected::Subject(start.last.as_ref().map(|last| last.position));
        let subject = subject(self.service);
        match self.log.append(&subject, expected, bytes.clone()).await {
            Ok(position) => Ok(Some(position)),
            Err(error @ (StoreError::Conflict | StoreError::Unknown(_))) => {
                let last = newest(&*self.log, self.service).await?;
                match last.map(|(message, _)| message) {
                    Some(message) if message.bytes == bytes => Ok(Some(message.position)),
                    _ if matches!(error, StoreError::Conflict) => Ok(None),
                    // The next try makes it anew.
                    _ => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }

    async fn key(&self, number: u32) -> Result<Ed25519KeyPair, SealError> {
        let name = key_name(number);
        let secret = self.sealing.service_secret(Purpose::Signing, &name).await?;
        key_pair(secret.expose()).ok_or(SealError::Corrupt)
    }
}
