//! The relay: publishes a service's INT and STATE from its EVT, each message once and in order.
//!
//! It appends under the target stream's expected last position, so a rival relay loses and starts again. Per
//! target it resumes behind that stream's newest message, whose [`Stamp`] says which commit and which of the
//! commit's messages it is. Messages of INT end after 30 days and facts may be purged, so a marker in
//! STATE, written hourly and before each purge, says the same.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use hearth_kernel::{Service, Timestamp};
use hearth_ports::{
    Clock, Expected, Family, Log, Message, Position, Purge, StoreError, Stream, Subject,
};
use tokio::sync::watch;
use uuid::Uuid;

use crate::aggregate::CodecError;
use crate::checkpoint::is_checkpoints;
use crate::envelope::Commit;
use crate::parking::{Parked, Parking};
use crate::stamp::{Progress, Stamp};
use crate::watermark::{IDLE, Watermark, announce};

/// How often the marker is written and old messages are dropped.
const HOUSEKEEPING: Duration = Duration::from_secs(3600);
/// How long events stay published.
const INT_PERIOD: Duration = Duration::from_secs(30 * 86_400);
/// How long an ended fact stays, so that slow caches see its end.
const GONE_PERIOD: Duration = Duration::from_secs(86_400);
/// The kind of the marker's subject.
const MARKER: &str = "relay";
/// Messages per page of housekeeping.
const PAGE: usize = 256;

/// Where a published message goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// To INT: what happened.
    Event {
        /// The event's name, one token.
        name: &'static str,
        /// Its schema's major version.
        major: u32,
        /// The home or account it is about.
        id: Uuid,
    },
    /// To STATE: what is so now.
    Fact {
        /// The fact's kind, one token.
        kind: &'static str,
        /// What it is about.
        id: Uuid,
        /// Whether the fact has ended.
        gone: bool,
    },
}

/// A message that a commit makes public.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// Where it goes.
    pub target: Target,
    /// The fields of its envelope after the stamp, encoded.
    pub body: Vec<u8>,
}

/// Why a commit could not be published.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RelayError {
    /// The log failed: the relay starts again.
    #[error("the log failed")]
    Store(#[from] StoreError),
    /// The commit cannot be read: its aggregate is parked.
    #[error("a commit cannot be published")]
    Codec(#[from] CodecError),
    /// The stream it follows ended.
    #[error("the stream ended")]
    Ended,
}

/// Reads the facts that stand published, for facts that are folded from their former value.
#[derive(Clone)]
pub struct PublishedFacts {
    log: Arc<dyn Log>,
    service: Service,
}

impl PublishedFacts {
    /// The last value of a fact of this service: its whole message, unless the fact has ended.
    ///
    /// # Errors
    /// When the log does not answer.
    pub async fn current(&self, kind: &str, id: Uuid) -> Result<Option<Bytes>, StoreError> {
        let subject = Subject::fact(self.service, kind, id);
        let last = self.log.last(&subject, hearth_ports::Read::Leader).await?;
        let live = |message: &Message| Stamp::read(&message.bytes).is_none_or(|stamp| !stamp.gone);
        Ok(last.filter(live).map(|message| message.bytes))
    }
}

/// What a service publishes. Must answer the same for the same commit and the same facts, and folding a
/// commit into a fact that already has it must change nothing.
#[async_trait]
pub trait Publisher: Send + Sync + 'static {
    /// The messages of a commit, in order; at most one per fact.
    ///
    /// # Errors
    /// `Codec` parks the aggregate; `Store` starts the relay again.
    async fn publish(
        &self,
        commit: &Commit,
        facts: &PublishedFacts,
    ) -> Result<Vec<Publication>, RelayError>;
}

/// The relay of one service.
pub struct Relay {
    service: Service,
    log: Arc<dyn Log>,
    clock: Arc<dyn Clock>,
    parking: Parking,
    publisher: Arc<dyn Publisher>,
    passed: watch::Sender<Position>,
}

/// One target stream, as the relay knows it.
struct TargetStream {
    stream: Stream,
    head: Option<Position>,
    progress: Progress,
}

impl Relay {
    /// A relay that is not running yet.
    #[must_use]
    pub fn new(
        service: Service,
        log: Arc<dyn Log>,
        clock: Arc<dyn Clock>,
        parking: Parking,
        publisher: Arc<dyn Publisher>,
    ) -> Self {
        let passed = watch::Sender::new(Position::START);
        Self {
            service,
            log,
            clock,
            parking: parking.for_good(),
            publisher,
            passed,
        }
    }

    /// Up to which commit everything is published.
    #[must_use]
    pub fn passed(&self) -> watch::Receiver<Position> {
        self.passed.subscribe()
    }

    /// Publishes until something fails; supervise it.
    ///
    /// # Errors
    /// See [`RelayError`]. Running again resumes where the targets stand.
    pub async fn run(&self) -> Result<(), RelayError> {
        let mut housekeeping = self.next_housekeeping().await?;
        let (mut int, mut state) = self.targets().await?;
        let from = int
            .progress
            .complete_through()
            .min(state.progress.complete_through());
        let mut processed = from;
        self.passed.send_replace(from);
        let parked = self.parking.load().await?;
        let mut tail = self.log.tail(Stream::new(Family::Evt, self.service), from);
        let mut asked = self.head_now().await?;
        loop {
            if self.clock.now() >= housekeeping {
                housekeeping = self.keep_house(processed, &mut state).await?;
            }
            let next = match tail.next().now_or_never() {
                Some(next) => {
                    // Who has no idle moment says what it knows all the same: how things stood when it last asked.
                    if processed >= asked.1 && self.clock.now() >= asked.0.plus(IDLE) {
                        asked = self.head_now().await?;
                    }
                    next
                }
                None => {
                    asked = self.head_now().await?;
                    self.announce(asked, processed, (&int, &state)).await?;
                    tokio::select! {
                        next = tail.next() => next,
                        () = tokio::time::sleep(IDLE) => continue,
                    }
                }
            };
            let message = next.ok_or(RelayError::Ended)??;
            self.relay_or_park(&message, &parked, (&mut int, &mut state))
                .await?;
            let behind = processed < asked.1;
            processed = message.position;
            self.passed.send_replace(processed);
            if behind {
                self.announce(asked, processed, (&int, &state)).await?;
            }
        }
    }

    /// The targets, and how far each has come.
    async fn targets(&self) -> Result<(TargetStream, TargetStream), RelayError> {
        let marker = self.marker().await?;
        let marker = marker.map_or_else(Progress::default, |stamp| stamp.progress());
        let mut int = self.target(Family::Int, marker).await?;
        let mut state = self.target(Family::State, marker).await?;
        // A commit's events are published first, then its facts, then the next commit: what STATE has begun INT
        // has whole, and what INT has begun STATE has whole but for that commit. So an emptied INT, or one that
        // never had a message, is no reason to publish again, or to read all of history at each start.
        let (of_int, of_state) = (int.progress, state.progress);
        int.progress = int.progress.at_least(of_state.whole());
        state.progress = state.progress.at_least(of_int.before());
        Ok((int, state))
    }

    /// The marker, and then the rest. Answers when that is due again.
    async fn keep_house(
        &self,
        processed: Position,
        state: &mut TargetStream,
    ) -> Result<Timestamp, RelayError> {
        self.mark(processed, state).await?;
        self.housekeep().await?;
        Ok(self.clock.now().plus(HOUSEKEEPING))
    }

    async fn relay_or_park(
        &self,
        message: &Message,
        parked: &Parked,
        (int, state): (&mut TargetStream, &mut TargetStream),
    ) -> Result<(), RelayError> {
        if parked.holds(&message.subject) {
            return Ok(());
        }
        match self.relay(message, int, state).await {
            Err(RelayError::Codec(error)) => Ok(self.parking.park(parked, message, &error).await?),
            other => other,
        }
    }

    async fn relay(
        &self,
        message: &Message,
        int: &mut TargetStream,
        state: &mut TargetStream,
    ) -> Result<(), RelayError> {
        if is_checkpoints(&message.subject) {
            // The engine's own: it tells others nothing, and no publisher knows it.
            return Ok(());
        }
        let commit = Commit::read(&message.bytes)?;
        let facts = PublishedFacts {
            log: Arc::clone(&self.log),
            service: self.service,
        };
        let publications = self.publisher.publish(&commit, &facts).await?;
        let is_event =
            |publication: &&Publication| matches!(publication.target, Target::Event { .. });
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let events = count(publications.iter().filter(is_event).count());
        let facts = count(publications.len()).saturating_sub(events);
        let (mut event, mut fact) = (0, 0);
        let (first, then): (Vec<_>, Vec<_>) = publications.iter().partition(is_event);
        for publication in first.into_iter().chain(then) {
            let (target, index, of) = match publication.target {
                Target::Event { .. } => (&mut *int, &mut event, events),
                Target::Fact { .. } => (&mut *state, &mut fact, facts),
            };
            if !target.progress.covers(message.position, *index) {
                let stamp = stamp(self.service, &commit, message.position, (*index, of));
                self.publish(publication, stamp, target).await?;
            }
            *index += 1;
        }
        Ok(())
    }

    async fn publish(
        &self,
        publication: &Publication,
        mut stamp: Stamp,
        target: &mut TargetStream,
    ) -> Result<(), RelayError> {
        let subject = match publication.target {
            Target::Event { name, major, id } => Subject::event(self.service, name, major, id),
            Target::Fact { kind, id, gone } => {
                stamp.gone = gone;
                Subject::fact(self.service, kind, id)
            }
        };
        let bytes = stamp.wrap(&publication.body);
        let position = self
            .log
            .append(&subject, Expected::Stream(target.head), bytes)
            .await?;
        target.head = Some(position);
        target.progress = stamp.progress();
        Ok(())
    }

    async fn target(&self, family: Family, marker: Progress) -> Result<TargetStream, RelayError> {
        let stream = Stream::new(family, self.service);
        // The head first: what a rival appends after it makes our first append fail.
        let head = self.log.head(stream).await?;
        let newest = self.log.newest(stream).await?;
        let progress = newest
            .and_then(|message| Stamp::read(&message.bytes))
            .map(|s| s.progress());
        Ok(TargetStream {
            stream,
            head,
            progress: progress.unwrap_or_default().at_least(marker),
        })
    }

    fn marker_subject(&self) -> Subject {
        Subject::fact(self.service, MARKER, marker_id(self.service))
    }

    /// An hour after the last marker, or after the first event if there is none yet: however often it is started
    /// anew, a marker stands long before an event ends.
    async fn next_housekeeping(&self) -> Result<Timestamp, RelayError> {
        let int = Stream::new(Family::Int, self.service);
        let since = match self.marker().await? {
            Some(marker) => Some(marker.occurred_at()),
            None => {
                let first = self.log.page(int, Position::START, 1).await?;
                first.first().map(|message| message.recorded_at)
            }
        };
        let now = self.clock.now();
        Ok(since.map_or(now, |since| since.min(now)).plus(HOUSEKEEPING))
    }

    async fn marker(&self) -> Result<Option<Stamp>, RelayError> {
        let last = self
            .log
            .last(&self.marker_subject(), hearth_ports::Read::Leader)
            .await?;
        Ok(last.and_then(|message| Stamp::read(&message.bytes)))
    }

    /// Writes that every message of every commit up to `processed` is published.
    async fn mark(&self, processed: Position, state: &mut TargetStream) -> Result<(), RelayError> {
        let stamp = Stamp {
            source: self.service.name().to_owned(),
            evt: Some(processed.into()),
            // More than any commit has: the marker covers the whole of its commit.
            index: u32::MAX - 1,
            of: u32::MAX,
            occurred_at_micros: self.clock.now().micros(),
            ..Stamp::default()
        };
        let bytes = stamp.wrap(&[]);
        let subject = self.marker_subject();
        let position = self
            .log
            .append(&subject, Expected::Stream(state.head), bytes)
            .await?;
        state.head = Some(position);
        state.progress = stamp.progress();
        Ok(())
    }

    /// The time, and then the head of EVT.
    async fn head_now(&self) -> Result<(Timestamp, Position), RelayError> {
        let at = self.clock.now();
        let evt = Stream::new(Family::Evt, self.service);
        Ok((at, self.log.head(evt).await?.unwrap_or(Position::START)))
    }

    /// Says that what EVT held at that time is published, if that is so.
    async fn announce(
        &self,
        (at, head): (Timestamp, Position),
        processed: Position,
        (int, state): (&TargetStream, &TargetStream),
    ) -> Result<(), RelayError> {
        if processed < head {
            return Ok(());
        }
        let watermark = Watermark {
            source: self.service.name().to_owned(),
            at_micros: at.micros(),
            evt: Some(head.into()),
            int: Some(int.head.unwrap_or(Position::START).into()),
            state: Some(state.head.unwrap_or(Position::START).into()),
        };
        debug_assert_eq!(int.stream.family, Family::Int);
        announce(&*self.log, self.service, &watermark).await?;
        Ok(())
    }

    /// Drops events past their period and facts that ended a day ago. The marker is written before.
    async fn housekeep(&self) -> Result<(), RelayError> {
        let now = self.clock.now();
        self.trim_events(now.minus(INT_PERIOD)).await?;
        let stream = Stream::new(Family::State, self.service);
        let mut after = Position::START;
        loop {
            let page = self.log.page(stream, after, PAGE).await?;
            for message in &page {
                let gone = Stamp::read(&message.bytes).is_some_and(|stamp| stamp.gone);
                if gone && message.recorded_at <= now.minus(GONE_PERIOD) {
                    self.log
                        .purge(&message.subject, message.position, Purge::All)
                        .await?;
                }
            }
            match page.last() {
                Some(last) if page.len() == PAGE => after = last.position,
                _ => return Ok(()),
            }
        }
    }

    async fn trim_events(&self, before: Timestamp) -> Result<(), RelayError> {
        let stream = Stream::new(Family::Int, self.service);
        let mut after = Position::START;
        loop {
            let page = self.log.page(stream, after, PAGE).await?;
            let first_young = page.iter().find(|message| message.recorded_at >= before);
            if let Some(young) = first_young {
                return Ok(self.log.trim(stream, young.position).await?);
            }
            match page.last() {
                Some(last) if page.len() == PAGE => after = last.position,
                Some(last) => {
                    let next = Position {
                        sequence: last.position.sequence + 1,
                        ..last.position
                    };
                    return Ok(self.log.trim(stream, next).await?);
                }
                None => return Ok(()),
            }
        }
    }
}

fn stamp(service: Service, commit: &Commit, evt: Position, (index, of): (u32, u32)) -> Stamp {
    Stamp {
        source: service.name().to_owned(),
        evt: Some(evt.into()),
        rec: None,
        index,
        of,
        occurred_at_micros: commit.decided_at,
        trace: commit.trace.clone(),
        commit: commit.id.clone(),
        gone: false,
    }
}

/// The id of a service's marker: its number, and zeros.
fn marker_id(service: Service) -> Uuid {
    let mut bytes = [0; 16];
    bytes[15] = service.number();
    Uuid::from_bytes(bytes)
}
