//! Parking: a message that can never be handled stops its own subject, and nothing else.
//!
//! A parked subject is a row that says where it stopped; everything of it from there on was left alone. An operator
//! who has put the cause right asks for its release: a row too, which the consumer itself finds, in whatever process
//! it runs. Only the consumer can release, because only it knows how far it has come: see `consumer/release.rs`.

use std::collections::BTreeSet;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use hearth_kernel::{Failure, Timestamp};
use hearth_ports::{Documents, Message, Position, Range, SealError, StoreError, Subject, Table};
use uuid::Uuid;

use crate::aggregate::CodecError;
use crate::error::ExecuteError;

/// Where it is noted: a partition for each consumer, a row for each subject.
pub const TABLE: Table = Table("engine_parked");
/// So many parked subjects mean that something else is wrong: the consumer stops instead.
pub const AT_MOST: usize = 1000;
/// What operators asked to release: a partition per consumer, a random key, the subject as value.
const RELEASES: Table = Table("engine_parked_releases");
/// The stamp of every such row: none is ever written twice.
const ONCE: i64 = 1;

/// What kind of reason parked a subject. It says nothing of the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParkedFor {
    /// It could not be read: a type or a form that this version does not know.
    Unreadable,
    /// Its key was not given.
    NoKey,
    /// A command that it led to was refused.
    Refused,
    /// A store will never take what it led to.
    Store,
    /// Anything else, and what older versions parked.
    Other,
}

impl ParkedFor {
    const ALL: [Self; 5] = [
        Self::Other,
        Self::Unreadable,
        Self::NoKey,
        Self::Refused,
        Self::Store,
    ];

    /// One word for people and programs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::NoKey => "no-key",
            Self::Refused => "refused",
            Self::Store => "store",
            Self::Other => "other",
        }
    }

    fn of(why: &(dyn Error + Send + Sync + 'static)) -> Self {
        if let Some(error) = why.downcast_ref::<ExecuteError>() {
            return match error {
                ExecuteError::Store(_) => Self::Store,
                ExecuteError::Seal(_) => Self::NoKey,
                ExecuteError::Refused(_) => Self::Refused,
                ExecuteError::Codec(_) => Self::Unreadable,
                ExecuteError::Broken(_) => Self::Other,
            };
        }
        if why.is::<CodecError>() {
            Self::Unreadable
        } else if why.is::<SealError>() {
            Self::NoKey
        } else if why.is::<Failure>() {
            Self::Refused
        } else if why.is::<StoreError>() {
            Self::Store
        } else {
            Self::Other
        }
    }

    fn number(self) -> u8 {
        let place = Self::ALL.iter().position(|it| *it == self);
        place.and_then(|it| u8::try_from(it).ok()).unwrap_or(0)
    }

    fn from_number(number: u8) -> Self {
        let it = Self::ALL.get(usize::from(number));
        it.copied().unwrap_or(Self::Other)
    }
}

/// A parked subject, as operators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedSubject {
    /// Whose.
    pub consumer: String,
    /// Its stream and tokens, as [`Subject`] prints them.
    pub subject: String,
    /// The message that it stopped at.
    pub position: Position,
    /// Why; the log has more.
    pub reason: ParkedFor,
    /// When that message was recorded: nothing of the subject from then on was handled. Not known of what older versions
    /// parked.
    pub since: Option<Timestamp>,
    /// Whether its release is asked for and not yet carried out.
    pub asked: bool,
    /// Whether it can be released. What a relay set aside cannot: behind it others were published, and what is
    /// published stays in order.
    pub releasable: bool,
}

/// What came of asking for a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asking {
    /// The consumer carries it out.
    Accepted,
    /// The subject is not parked.
    NotParked,
    /// It is a relay's: see [`ParkedSubject::releasable`].
    NotReleasable,
}

/// What is parked, of all consumers, at most `limit`.
///
/// # Errors
/// When the store does not answer.
pub async fn list(
    documents: &dyn Documents,
    limit: usize,
) -> Result<Vec<ParkedSubject>, StoreError> {
    let mut all = Vec::new();
    for partition in documents.partitions(TABLE, None, AT_MOST).await? {
        let consumer = String::from_utf8_lossy(&partition).into_owned();
        let parking = Asked(documents, &consumer);
        let asked: BTreeSet<String> = parking.all().await?.into_iter().map(|(_, it)| it).collect();
        let room = limit.saturating_sub(all.len());
        if room == 0 {
            break;
        }
        let rows = documents.range(TABLE, &partition, Range::all(room.min(AT_MOST)));
        for row in rows.await? {
            let releasable = is_releasable(&row.value);
            let (position, reason, since) = read_value(&row.value);
            let subject = String::from_utf8_lossy(&row.key).into_owned();
            all.push(ParkedSubject {
                asked: asked.contains(&subject),
                consumer: consumer.clone(),
                subject,
                position,
                reason,
                since,
                releasable,
            });
        }
    }
    Ok(all)
}

/// Asks a consumer to release a subject: it handles what it left alone, in order, and goes on. It is released when [`list`] has it no more, and still parked at a later position when another
/// of its messages cannot be handled.
///
/// # Errors
/// When the store does not answer, `Terminal` when as many releases are asked for as are remembered.
pub async fn ask_release(
    documents: &dyn Documents,
    consumer: &str,
    subject: &str,
) -> Result<Asking, StoreError> {
    let parked = documents.get(TABLE, consumer.as_bytes(), subject.as_bytes());
    let Some(row) = parked.await? else {
        return Ok(Asking::NotParked);
    };
    if !is_releasable(&row.value) {
        return Ok(Asking::NotReleasable);
    }
    let asked = Asked(documents, consumer).all().await?;
    if asked.iter().any(|(_, it)| it == subject) {
        return Ok(Asking::Accepted);
    }
    if asked.len() >= AT_MOST {
        return Err(StoreError::terminal("too many releases are asked for"));
    }
    let (key, value): (Uuid, _) = (
        crate::random_id(),
        Bytes::copy_from_slice(subject.as_bytes()),
    );
    documents
        .put(RELEASES, consumer.as_bytes(), key.as_bytes(), ONCE, value)
        .await?;
    Ok(Asking::Accepted)
}

/// The releases that one consumer is asked for.
struct Asked<'a>(&'a dyn Documents, &'a str);

impl Asked<'_> {
    /// Keys and subjects.
    async fn all(&self) -> Result<Vec<(Vec<u8>, String)>, StoreError> {
        let partition = self.1.as_bytes();
        let rows = self.0.range(RELEASES, partition, Range::all(AT_MOST));
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let rows = rows.await?.into_iter();
        Ok(rows.map(|row| (row.key, text(&row.value))).collect())
    }
}

/// Added to the reason of what cannot be released.
const FOR_GOOD: u8 = 0x80;

fn is_releasable(value: &[u8]) -> bool {
    value.get(12).is_none_or(|reason| reason & FOR_GOOD == 0)
}

/// The position, and what newer versions put behind it: the reason and the time.
fn value(message: &Message, reason: ParkedFor, releasable: bool) -> Bytes {
    let mut value = message.position.to_bytes().to_vec();
    let flag = if releasable { 0 } else { FOR_GOOD };
    value.push(reason.number() | flag);
    value.extend_from_slice(&message.recorded_at.micros().to_be_bytes());
    value.into()
}

fn read_value(value: &[u8]) -> (Position, ParkedFor, Option<Timestamp>) {
    let position = value.get(..12).and_then(Position::from_bytes);
    let reason = value.get(12).map(|it| it & !FOR_GOOD);
    let reason = reason.map(ParkedFor::from_number);
    let since = value.get(13..21).and_then(|it| it.try_into().ok());
    let since = since.map(|it| Timestamp::from_micros(i64::from_be_bytes(it)));
    (
        position.unwrap_or(Position::START),
        reason.unwrap_or(ParkedFor::Other),
        since,
    )
}

/// Deletes what is noted of parked subjects that name one of these, whoever parked them: for an erasure, behind
/// which those subjects have nothing left to be handled.
pub(crate) async fn forget(
    documents: &dyn Documents,
    ids: &BTreeSet<Uuid>,
) -> Result<(), StoreError> {
    let named = |key: &[u8]| {
        let id = std::str::from_utf8(key).ok()?.rsplit('.').next()?;
        Uuid::try_parse(id).ok().filter(|id| ids.contains(id))
    };
    // One partition for each consumer of a process: a few dozen.
    for consumer in documents.partitions(TABLE, None, AT_MOST).await? {
        let rows = documents.range(TABLE, &consumer, Range::all(AT_MOST));
        for row in rows.await? {
            if named(&row.key).is_some() {
                documents
                    .delete(TABLE, &consumer, &row.key, row.stamp)
                    .await?;
            }
        }
    }
    for consumer in documents.partitions(RELEASES, None, AT_MOST).await? {
        let rows = documents.range(RELEASES, &consumer, Range::all(AT_MOST));
        for row in rows.await? {
            if named(&row.value).is_some() {
                documents
                    .delete(RELEASES, &consumer, &row.key, row.stamp)
                    .await?;
            }
        }
    }
    Ok(())
}

/// The parked subjects of one consumer.
#[derive(Clone)]
pub struct Parking {
    documents: Arc<dyn Documents>,
    consumer: Arc<str>,
    releasable: bool,
}

/// The subjects that were parked when it was loaded, and since.
#[derive(Debug, Default)]
pub struct Parked(Mutex<BTreeSet<String>>);

impl Parked {
    /// Whether messages of this subject are left alone.
    #[must_use]
    pub fn holds(&self, subject: &Subject) -> bool {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        !held.is_empty() && held.contains(&subject.to_string())
    }

    /// Whether there are any.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.is_empty()
    }

    fn let_go(&self, subject: &str) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.remove(subject);
    }
}

impl Parking {
    /// The parking of a consumer.
    #[must_use]
    pub fn new(documents: Arc<dyn Documents>, consumer: impl Into<Arc<str>>) -> Self {
        Self {
            documents,
            consumer: consumer.into(),
            releasable: true,
        }
    }

    /// The same for a relay: what it parks cannot be released.
    pub(crate) const fn for_good(mut self) -> Self {
        self.releasable = false;
        self
    }

    /// What is parked.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn load(&self) -> Result<Parked, StoreError> {
        let partition = self.consumer.as_bytes();
        let rows = self
            .documents
            .range(TABLE, partition, Range::all(AT_MOST))
            .await?;
        let subjects = rows
            .into_iter()
            .filter_map(|row| String::from_utf8(row.key).ok());
        Ok(Parked(Mutex::new(subjects.collect())))
    }

    /// Parks the subject of a message, for good or until an operator releases it.
    ///
    /// # Errors
    /// When the store does not answer, or too much is parked.
    pub async fn park(
        &self,
        parked: &Parked,
        message: &Message,
        why: &(dyn Error + Send + Sync + 'static),
    ) -> Result<(), StoreError> {
        let subject = message.subject.to_string();
        tracing::error!(consumer = %self.consumer, %subject, error = %why, "parked a subject");
        {
            let mut held = parked.0.lock().unwrap_or_else(PoisonError::into_inner);
            if held.len() >= AT_MOST && !held.contains(&subject) {
                return Err(StoreError::terminal("too many subjects are parked"));
            }
            held.insert(subject.clone());
        }
        let value = value(message, ParkedFor::of(why), self.releasable);
        let (partition, stamp) = (self.consumer.as_bytes(), message.position.stamp());
        self.documents
            .put(TABLE, partition, subject.as_bytes(), stamp, value)
            .await
    }
    /// The parked subjects whose release is asked for. What is asked for and not parked is dropped.
    ///
    /// # Errors
    /// When the store does not answer.
    pub(crate) async fn asked(&self, parked: &Parked) -> Result<Vec<Release>, StoreError> {
        let partition = self.consumer.as_bytes();
        let mut releases = Vec::new();
        for (key, subject) in Asked(&*self.documents, &self.consumer).all().await? {
            let row = self.documents.get(TABLE, partition, subject.as_bytes());
            if let Some(row) = row.await? {
                releases.push(Release {
                    key,
                    subject,
                    position: read_value(&row.value).0,
                    stamp: row.stamp,
                });
                continue;
            }
            // Erased meanwhile, or asked for twice.
            parked.let_go(&subject);
            self.documents
                .delete(RELEASES, partition, &key, ONCE)
                .await?;
        }
        Ok(releases)
    }

    /// Notes that everything of the subject before this message is handled.
    pub(crate) async fn moved(&self, release: &Release, next: &Message) -> Result<(), StoreError> {
        let (partition, key) = (self.consumer.as_bytes(), release.subject.as_bytes());
        let row = self.documents.get(TABLE, partition, key).await?;
        let reason = row.map_or(ParkedFor::Other, |row| read_value(&row.value).1);
        let (stamp, value) = (next.position.stamp(), value(next, reason, self.releasable));
        self.documents
            .put(TABLE, partition, key, stamp, value)
            .await
    }

    /// The release is over: done, or stopped by another message, at which the subject is parked again.
    pub(crate) async fn answered(&self, release: &Release) -> Result<(), StoreError> {
        let partition = self.consumer.as_bytes();
        self.documents
            .delete(RELEASES, partition, &release.key, ONCE)
            .await
    }

    /// The subject is parked no more. The consumer's mark stands behind what was handled, so nothing of it comes again
    /// that could have to be parked under a smaller stamp than that of this deletion.
    pub(crate) async fn release(
        &self,
        parked: &Parked,
        release: &Release,
    ) -> Result<(), StoreError> {
        let (partition, key) = (self.consumer.as_bytes(), release.subject.as_bytes());
        self.documents
            .delete(TABLE, partition, key, release.stamp)
            .await?;
        parked.let_go(&release.subject);
        tracing::info!(consumer = %self.consumer, subject = %release.subject, "released a subject");
        self.answered(release).await
    }
}

/// A release that is asked for.
#[derive(Debug)]
pub(crate) struct Release {
    key: Vec<u8>,
    /// The subject, as it prints itself.
    pub(crate) subject: String,
    /// The message that it stopped at.
    pub(crate) position: Position,
    stamp: i64,
}
