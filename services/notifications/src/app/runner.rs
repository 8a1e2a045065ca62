//! The rules at work: one writer that takes in the signals of all homes, keeps what each home's rules have seen, and
//! appends the episodes that they find.
//!
//! The order is: episodes appended, then the home's watch checkpointed, then the consumer's mark moved. A crash
//! between any two repeats the step before, and an episode that is found again is the same one: its id is a keyed hash
//! of home, rule, subject and beginning.
//!
//! A watch is kept from message to message, so two writers would put different things at one revision: it is put under
//! the fence of the lease, and read again by each new holder before anything else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hearth_api::events::v1::{Frame, Signal as WireSignal, SignalSet, Signals, signal};
use hearth_api::stored::notifications::v1::StoredWatch;
use hearth_engine::{CodecError, Commit, Consume, ConsumeError, Engine, Held, Stale};
use hearth_kernel::{
    Capability, ClaimId, DeviceId, EpisodeId, Failure, HomeId, HubStreamId, Owner, Purpose, Reason,
    Service, Timestamp,
};
use hearth_notifications_domain::episode::{self, Of};
use hearth_notifications_domain::watch::{Change, Facts as HomeFacts, Flag, Signal, Watch};
use hearth_notifications_domain::{Topic, rules};
use hearth_ports::tasks::Chain;
use hearth_ports::{
    Binding, Family, Message, Opened, Position, Range, Read, SealError, StoreError, Stream, Table,
};
use prost::Message as _;
use tokio::sync::{Mutex, Notify, watch as channel};
use uuid::Uuid;

use super::facts::Facts;
use super::{own_call, unless_gone};
use crate::aggregates::{Episode, Rules};
use crate::codec::content::Content;
use crate::codec::watch as stored;

/// The consumer's name: retention of frames waits for its mark.
pub(crate) const NAME: &str = "notifications.rules";
const TABLE: Table = Table("notifications_watches");
const EVT: Stream = Stream::new(Family::Evt, Service::Notifications);
/// Checkpoints are spread over so many partitions, by home.
const SHARDS: u8 = 64;
/// Rows per page of a recovery.
const PAGE: usize = 256;
/// A checkpoint is sealed anew after this: the keys of `signals` live for days only.
const RESEAL: Duration = Duration::from_secs(86_400);
/// The clock is looked at least so often.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long the clock waits for the signals that came before it.
const CATCH_UP: Duration = Duration::from_secs(5);
/// The most homes whose watch is kept in memory; those without a deadline make room.
const IN_MEMORY: usize = 10_000;

/// One home's watch and its checkpoint.
#[derive(Clone, Debug, Default)]
struct Home {
    watch: Watch,
    revision: u64,
    /// What its row is stored under.
    stamp: i64,
    sealed_at: Timestamp,
    /// When the clock concerns it.
    due: Option<Timestamp>,
}

/// The rules at work.
pub(crate) struct Runner {
    engine: Engine,
    facts: Arc<dyn Facts>,
    homes: Mutex<BTreeMap<HomeId, Home>>,
    /// Whether every checkpoint was loaded under this lease.
    recovered: Mutex<bool>,
    held: std::sync::Mutex<Option<Held>>,
    due_changed: Notify,
}

fn stale(_: Stale) -> ConsumeError {
    Failure::new(Reason::STALE_KNOWLEDGE).into()
}

impl Runner {
    pub(crate) fn new(engine: Engine, facts: Arc<dyn Facts>) -> Self {
        Self {
            engine,
            facts,
            homes: Mutex::default(),
            recovered: Mutex::default(),
            held: std::sync::Mutex::default(),
            due_changed: Notify::new(),
        }
    }

    /// Begins under a lease: nothing is known but what is stored.
    async fn begin(&self, held: &Held) {
        let mut recovered = self.recovered.lock().await;
        self.homes.lock().await.clear();
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(held.clone());
        *recovered = false;
    }

    /// Fires what the clock makes due, as long as it is not dropped; see [`Self::tick`].
    pub(crate) async fn deadlines(
        &self,
        passed: Option<channel::Receiver<Position>>,
    ) -> Result<(), StoreError> {
        // Dropped when the lease is lost: what a standby keeps in memory no eraser would find.
        let _forgotten = Forgotten(self);
        let Some(passed) = passed else {
            return std::future::pending().await;
        };
        loop {
            if let Err(error) = self.tick(passed.clone()).await {
                tracing::warn!(error = %Chain(&error), "deadlines not looked at, trying again");
                self.engine.clock().sleep(LOOK_EVERY).await;
            }
        }
    }

    /// Forgets a home: its row and what is in memory. For an erasure.
    pub(crate) async fn forget(&self, home: HomeId) -> Result<u64, ConsumeError> {
        let mut homes = self.homes.lock().await;
        homes.remove(&home);
        self.delete(home).await
    }

    async fn delete(&self, home: HomeId) -> Result<u64, ConsumeError> {
        let documents = self.engine.documents();
        let (partition, key) = place(home);
        let there = documents.get(TABLE, &partition, &key).await?.is_some();
        documents.delete(TABLE, &partition, &key, i64::MAX).await?;
        Ok(u64::from(there))
    }

    /// Fires what the clock makes due until something fails; supervise it. `passed` says how far the consumer of
    /// this runner has come in the telemetry stream.
    pub(crate) async fn tick(
        &self,
        mut passed: channel::Receiver<Position>,
    ) -> Result<(), ConsumeError> {
        loop {
            self.recover().await?;
            let next = self.next_due().await;
            let clock = self.engine.clock();
            let look = clock.now().plus(LOOK_EVERY);
            if next.is_none_or(|next| next > clock.now()) {
                tokio::select! {
                    () = clock.sleep_until(next.unwrap_or(look).min(look)) => {}
                    () = self.due_changed.notified() => {}
                }
                continue;
            }
            self.fire(&mut passed).await?;
        }
    }

    /// Settles every home that is due. All signals that were stored before the time that is taken are taken in first.
    async fn fire(&self, passed: &mut channel::Receiver<Position>) -> Result<(), ConsumeError> {
        let now = self.engine.now();
        let head = self.engine.log().head(Stream::TELEMETRY).await?;
        if let Some(head) = head {
            let caught_up = passed.wait_for(|passed| *passed >= head);
            if tokio::time::timeout(CATCH_UP, caught_up).await.is_err() {
                return Ok(());
            }
        }
        let mut homes = self.homes.lock().await;
        let is_due = |home: &Home| home.due.is_some_and(|due| due <= now);
        let due: Vec<HomeId> = homes
            .iter()
            .filter(|(_, it)| is_due(it))
            .map(|(id, _)| *id)
            .collect();
        for home in due {
            let turn = self.turn(&mut homes, home, &[], now).await;
            if turn.is_err()
                && let Some(home) = homes.get_mut(&home)
            {
                // Not again at once, so that one home cannot keep the clock from the others.
                home.due = Some(now.plus(LOOK_EVERY));
            }
            passing_over(home, turn)?;
        }
        Ok(())
    }

    async fn next_due(&self) -> Option<Timestamp> {
        self.homes
            .lock()
            .await
            .values()
            .filter_map(|home| home.due)
            .min()
    }

    /// Loads every checkpoint, once; each home is due at once, to find out when it is due.
    async fn recover(&self) -> Result<(), ConsumeError> {
        let mut recovered = self.recovered.lock().await;
        if *recovered {
            return Ok(());
        }
        let mut homes = self.homes.lock().await;
        for shard in 0..SHARDS {
            let mut from = None;
            loop {
                let range = Range {
                    from: from.take(),
                    ..Range::all(PAGE)
                };
                let documents = self.engine.documents();
                let page = documents.range(TABLE, &[shard], range).await?;
                for row in &page {
                    let Some(home) = HomeId::from_slice(&row.key) else {
                        continue;
                    };
                    self.load(&mut homes, home).await?;
                    if let Some(home) = homes.get_mut(&home) {
                        home.due = Some(Timestamp::EPOCH);
                    }
                }
                match page.last() {
                    Some(last) if page.len() == PAGE => {
                        from = Some([&last.key[..], &[0]].concat());
                    }
                    _ => break,
                }
            }
        }
        *recovered = true;
        Ok(())
    }

    /// Brings a home's watch into memory.
    async fn load(
        &self,
        homes: &mut BTreeMap<HomeId, Home>,
        home: HomeId,
    ) -> Result<(), ConsumeError> {
        if homes.contains_key(&home) {
            return Ok(());
        }
        if homes.len() >= IN_MEMORY {
            homes.retain(|_, home| home.due.is_some());
        }
        let (partition, key) = place(home);
        let row = self.engine.documents().get(TABLE, &partition, &key).await?;
        let loaded = match row {
            None => Home::default(),
            Some(row) => {
                let stamp = row.stamp;
                let row = StoredWatch::decode(row.value)
                    .map_err(|_| CodecError::Malformed("row of a watch"))?;
                let owner = Owner::Home(home);
                let opened = self
                    .engine
                    .sealing()
                    .open(owner, Purpose::Signals, &binding(home), &row.sealed)
                    .await;
                let watch = match opened {
                    Ok(Opened::Clear(clear)) => stored::decode(clear.expose())?,
                    // Of a home that is silent for longer than signals are kept, nothing is known.
                    Ok(Opened::Erased | Opened::Expired) => Watch::default(),
                    Err(SealError::Unavailable) => return Err(SealError::Unavailable.into()),
                    Err(error) => {
                        tracing::error!(%home, %error, "what rules have seen cannot be read, beginning anew");
                        Watch::default()
                    }
                };
                Home {
                    watch,
                    revision: row.revision,
                    stamp,
                    sealed_at: Timestamp::from_micros(row.sealed_at),
                    due: None,
                }
            }
        };
        homes.insert(home, loaded);
        Ok(())
    }

    /// One turn of a home: signals or the clock, then episodes, then the checkpoint. What fails changes nothing.
    async fn turn(
        &self,
        homes: &mut BTreeMap<HomeId, Home>,
        home: HomeId,
        signals: &[Signal],
        now: Timestamp,
    ) -> Result<(), ConsumeError> {
        self.load(homes, home).await?;
        let Some(before) = homes.get(&home).cloned() else {
            return Ok(());
        };
        let rules = self.engine.load::<Rules>(home, Read::Leader).await?;
        if rules.gone {
            homes.remove(&home);
            self.delete(home).await?;
            return Ok(());
        }
        let mut devices: BTreeSet<DeviceId> = before.watch.known.keys().map(|key| key.0).collect();
        devices.extend(signals.iter().map(|signal| signal.device));
        let devices = self.facts.devices(home, &devices).await.map_err(stale)?;
        let facts = HomeFacts {
            rules: &rules.state,
            devices: &devices,
        };
        let mut after = before.clone();
        let mut changes = Vec::new();
        for signal in signals {
            changes.extend(after.watch.observe(facts, signal));
        }
        if signals.is_empty() {
            changes.extend(after.watch.settle(facts, now));
        }
        for change in &changes {
            self.append(home, &rules.state, change).await?;
        }
        let old = now > before.sealed_at.plus(RESEAL) && before.revision > 0;
        if after.watch != before.watch || old {
            self.checkpoint(home, &mut after, now).await?;
        }
        let reseal = (after.revision > 0).then(|| after.sealed_at.plus(RESEAL));
        after.due = after
            .watch
            .next_deadline(facts)
            .into_iter()
            .chain(reseal)
            .min();
        homes.insert(home, after);
        self.due_changed.notify_one();
        Ok(())
    }

    async fn checkpoint(
        &self,
        home: HomeId,
        after: &mut Home,
        now: Timestamp,
    ) -> Result<(), ConsumeError> {
        let clear = stored::encode(&after.watch);
        let sealing = self.engine.sealing();
        let owner = Owner::Home(home);
        let sealed = sealing
            .seal(owner, Purpose::Signals, &binding(home), &clear)
            .await;
        let sealed = match sealed {
            Ok(sealed) => sealed,
            // The home is being erased: nothing of it is kept.
            Err(SealError::Fenced) => {
                after.watch = Watch::default();
                self.delete(home).await?;
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        after.revision += 1;
        after.sealed_at = now;
        let row = StoredWatch {
            revision: after.revision,
            sealed_at: now.micros(),
            sealed,
        };
        let (partition, key) = place(home);
        after.stamp = self.stamp_after(after.stamp)?;
        let value = Bytes::from(row.encode_to_vec());
        Ok(self
            .engine
            .documents()
            .put(TABLE, &partition, &key, after.stamp, value)
            .await?)
    }

    /// Greater than that of a former holder, whatever revision it had come to.
    fn stamp_after(&self, stored: i64) -> Result<i64, StoreError> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        match held.as_ref() {
            Some(held) => held.stamp_after(stored),
            None => Err(StoreError::retryable("no lease is held")),
        }
    }

    async fn append(
        &self,
        home: HomeId,
        rules: &rules::State,
        change: &Change,
    ) -> Result<(), ConsumeError> {
        let engine = &self.engine;
        let (id, label, command) = match *change {
            Change::Began {
                rule,
                subject,
                topic,
                device,
                area,
                at,
            } => {
                let of = Of { home, rule, topic };
                let content = Content::began(device, area, at).part();
                let id = episode_id(engine, of, &subject.to_bytes(), at);
                (id, "episode.begin", episode::Command::Begin { of, content })
            }
            Change::Ended {
                rule,
                subject,
                began_at,
                at,
            } => {
                // The topic is not part of the id, so a rule that was removed is no hindrance.
                let topic = rules
                    .rules
                    .get(&rule)
                    .map_or(Topic::Heating, |it| it.condition.topic());
                let of = Of { home, rule, topic };
                let content = Content::ended(at).part();
                let id = episode_id(engine, of, &subject.to_bytes(), began_at);
                (id, "episode.end", episode::Command::End { content })
            }
        };
        let call = own_call(engine, None, label, &[id.as_bytes()]);
        let now = engine.now();
        let done = engine
            .execute::<Episode, _>(&call, id, &command, async move |_| Ok(now))
            .await;
        unless_gone(done)?;
        Ok(())
    }

    /// The signals of a frame that rules look at, by home, as far as they can be opened.
    async fn signals(&self, frame: &Frame) -> Result<BTreeMap<HomeId, Vec<Signal>>, ConsumeError> {
        let mut homes: BTreeMap<HomeId, Vec<Signal>> = BTreeMap::new();
        for sealed in &frame.signals {
            let Some(batch) = Batch::read(sealed) else {
                tracing::error!("signals without a home, claim or stream");
                continue;
            };
            let owner = Owner::Home(batch.home);
            let sealing = self.engine.sealing();
            let binding = batch.binding();
            let opened = sealing
                .open(owner, Purpose::Signals, &binding, &sealed.sealed)
                .await;
            let clear = match opened {
                Ok(Opened::Clear(clear)) => clear,
                Ok(Opened::Erased | Opened::Expired) => continue,
                Err(SealError::Unavailable) => return Err(SealError::Unavailable.into()),
                // One batch that cannot be read must not stop the shard.
                Err(error) => {
                    tracing::error!(home = %batch.home, %error, "signals passed over");
                    continue;
                }
            };
            match SignalSet::decode(clear.expose()) {
                Ok(set) => {
                    let read = set
                        .signals
                        .iter()
                        .filter_map(|it| signal_in(it, batch.claim));
                    homes.entry(batch.home).or_default().extend(read);
                }
                Err(_) => tracing::error!(home = %batch.home, "signals do not decode"),
            }
        }
        homes.retain(|_, signals| !signals.is_empty());
        Ok(homes)
    }
}

/// Empties a runner's memory when it is dropped.
struct Forgotten<'a>(&'a Runner);

impl Drop for Forgotten<'_> {
    fn drop(&mut self) {
        if let Ok(mut homes) = self.0.homes.try_lock() {
            homes.clear();
        }
    }
}

/// The consumer that feeds a runner.
pub(crate) struct Signalled(pub(crate) Arc<Runner>);

#[async_trait]
impl Consume for Signalled {
    fn name(&self) -> String {
        NAME.to_owned()
    }

    fn sources(&self) -> Vec<Stream> {
        vec![Stream::TELEMETRY, EVT]
    }

    async fn handle(&self, message: &Message) -> Result<(), ConsumeError> {
        self.0.take_in(message).await
    }

    async fn begin(&self, held: &Held) -> Result<(), StoreError> {
        self.0.begin(held).await;
        Ok(())
    }
}

impl Runner {
    async fn take_in(&self, message: &Message) -> Result<(), ConsumeError> {
        self.recover().await?;
        if message.subject.stream() == Stream::TELEMETRY {
            let Ok(frame) = Frame::decode(message.bytes.clone()) else {
                // Parking it would stop the rules of every home of its shard.
                tracing::error!(subject = %message.subject, "a frame does not decode");
                return Ok(());
            };
            let signals = self.signals(&frame).await?;
            let mut homes = self.homes.lock().await;
            for (home, signals) in signals {
                let turn = self.turn(&mut homes, home, &signals, self.engine.now());
                passing_over(home, turn.await)?;
            }
            return Ok(());
        }
        let commit = Commit::read(&message.bytes)?;
        if commit.kind == "rules" {
            let home = HomeId::from_slice(&commit.aggregate).ok_or(CodecError::Malformed("id"))?;
            let mut homes = self.homes.lock().await;
            self.load(&mut homes, home).await?;
            if let Some(home) = homes.get_mut(&home) {
                // The clock's turn waits for the signals that came before.
                home.due = Some(Timestamp::EPOCH);
            }
            self.due_changed.notify_one();
        }
        Ok(())
    }
}

/// What can never be done for one home must not stop the others.
fn passing_over(home: HomeId, turn: Result<(), ConsumeError>) -> Result<(), ConsumeError> {
    match turn {
        Err(ConsumeError::Poison(why)) => {
            tracing::error!(%home, error = %why, "rules of a home failed, passing over");
            Ok(())
        }
        other => other,
    }
}

/// The id of an episode: the same whenever and however often it is found.
fn episode_id(engine: &Engine, of: Of, subject: &[u8], began_at: Timestamp) -> Uuid {
    let began_at = began_at.micros().to_be_bytes();
    let parts: [&[u8]; 4] = [of.home.as_bytes(), of.rule.as_bytes(), subject, &began_at];
    EpisodeId::from(engine.hasher().id("episode", &parts)).into()
}

fn place(home: HomeId) -> ([u8; 1], [u8; 16]) {
    let key = *home.as_bytes();
    // Ids are random or hashes: any byte spreads evenly.
    ([key[15] % SHARDS], key)
}

fn binding(home: HomeId) -> Binding {
    Binding::Document {
        table: TABLE.0,
        key: home.as_bytes().to_vec(),
        field: 1,
    }
}

struct Batch {
    home: HomeId,
    claim: ClaimId,
    stream: HubStreamId,
    sequence: u64,
}

impl Batch {
    fn read(signals: &Signals) -> Option<Self> {
        Some(Self {
            home: HomeId::from_slice(&signals.home_id)?,
            claim: ClaimId::from_slice(&signals.claim_id)?,
            stream: HubStreamId::from_slice(&signals.stream_id)?,
            sequence: signals.sequence,
        })
    }

    const fn binding(&self) -> Binding {
        Binding::Signals {
            home: self.home,
            claim: self.claim,
            stream: self.stream,
            sequence: self.sequence,
        }
    }
}

/// The signal, if rules look at its capability.
fn signal_in(wire: &WireSignal, claim: ClaimId) -> Option<Signal> {
    let number = u16::try_from(wire.capability).ok()?;
    let flag = Capability::from_number(number).and_then(Flag::of)?;
    let on = match (wire.value.as_ref()?, flag) {
        (signal::Value::Integer(count), Flag::Occupied) => *count != 0,
        (signal::Value::Flag(on), Flag::HeatingOn | Flag::Motion | Flag::Present) => *on,
        _ => return None,
    };
    Some(Signal {
        device: DeviceId::from_slice(&wire.device_id)?,
        flag,
        on,
        observed_at: Timestamp::from_micros(wire.observed_at),
        received_at: Timestamp::from_micros(wire.received_at),
        claim,
    })
}
