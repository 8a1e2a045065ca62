//! The search: one pass over all files for every erasure that waits for one.
//!
//! Who waits stands in a document; the pass looks for the markers of all of them at once, and each gets what concerns
//! it. A search that finds what should not be there alarms, once for as long as it finds the same, and is repeated
//! ever more slowly: a pass reads every file.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hearth_engine::{ConsumeError, ExecuteError};
use hearth_kernel::{ErasureId, KeyId, Kind, Owner, Part, Purpose, Reason, Service, Timestamp};
use hearth_ports::{
    Binding, Family, Holding, Opened, Position, Range, SealError, StoreError, Stream, Table,
};
use hearth_retention_domain::erasure::{Command, Next, Pass, Search, State, next};

use super::App;
use crate::search::{MARKERS, Marker, Report, SearchError, search};

/// Erasures that wait for a search: one partition, keyed by the erasure.
const TABLE: Table = Table("retention_searches");
const WAITING: &[u8] = b"waiting";
/// Erasures of one pass. Each has at most some hundreds of markers.
const AT_MOST: usize = 100;
/// Places of one erasure that are logged.
const LOGGED: usize = 8;
/// The longest that an erasure waits for its next search after one that did not pass.
const REST_MOST: Duration = Duration::from_secs(3_600);
/// How often that wait doubles at most, before the bound above.
const DOUBLINGS: u32 = 12;
/// Whose events are waited for before the last search.
const PUBLISHERS: [Service; 5] = [
    Service::Accounts,
    Service::Ingest,
    Service::Media,
    Service::Notifications,
    Service::Retention,
];
/// How long after the last residual's end it is waited for events that have not been dropped. Then it is searched all
/// the same: what is found is said.
const UNTRIMMED: Duration = Duration::from_secs(86_400);

/// How often it is looked whether somebody waits.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Why a pass did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SweepError {
    /// A store failed.
    #[error("a store failed")]
    Store(#[from] StoreError),
    /// A command failed.
    #[error("a step was not taken")]
    Execute(#[from] ExecuteError),
    /// The vault's evidence cannot be had.
    #[error("the vault gives no evidence")]
    Evidence(#[from] ConsumeError),
    /// The ids of keys cannot be opened.
    #[error("the ids of keys cannot be opened")]
    Seal(#[from] SealError),
    /// The files cannot be searched.
    #[error("the files cannot be searched")]
    Search(#[from] SearchError),
    /// The thread of the search ended.
    #[error("the search did not end by itself")]
    Stopped,
}

/// One erasure of a pass.
struct Wanted {
    erasure: ErasureId,
    kind: Search,
    state: Arc<State>,
    owners: Vec<Owner>,
    keys: Vec<KeyId>,
    /// Its first marker in the pass: owners first, then keys.
    first: usize,
}

impl Wanted {
    fn markers(&self) -> Vec<Marker> {
        let owner = |owner: &Owner| match owner {
            Owner::Account(id) => Some(Marker::id(*id.as_bytes())),
            Owner::Home(id) => Some(Marker::id(*id.as_bytes())),
            Owner::Service(_) => None,
        };
        let owners = self.owners.iter().filter_map(owner);
        let keys = self.keys.iter().map(|key| Marker::id(*key.as_bytes()));
        owners.chain(keys).collect()
    }

    fn count(&self) -> usize {
        self.owners.len() + self.keys.len()
    }

    /// Whether the residual list names what this marker is found in. Bare ids stay where tombstones, fences and the
    /// ledger are; the rest ends.
    fn may_stay(&self, marker: usize, holds: Holding) -> bool {
        let bare_id = marker < self.first + self.owners.len();
        let ends_later = self.kind == Search::Purge;
        match holds {
            // Published events hold sealed mails, and so ids of keys, until they end after 30 days.
            Holding::Log => bare_id || ends_later,
            Holding::Keys => bare_id,
            Holding::Documents => bare_id && ends_later,
            Holding::Frames => ends_later && self.owners.len() > 1,
            Holding::Series | Holding::Blobs | Holding::Other => false,
        }
    }

    fn pass(&self, report: &Report) -> Pass {
        let mut pass = Pass {
            files: report.files,
            bytes: report.bytes,
            markers: u32::try_from(self.count()).unwrap_or(u32::MAX),
            ..Pass::default()
        };
        let last = self.first + self.count();
        let of = report
            .counts
            .range((self.first, Holding::Log)..(last, Holding::Log));
        for ((marker, holds), count) in of {
            if self.may_stay(*marker, *holds) {
                pass.residual += count;
            } else {
                pass.outside += count;
            }
        }
        pass
    }

    /// Says where something was found that should not be there: the sort of marker and the place, never the marker.
    fn alarm(&self, report: &Report) {
        let own = self.first..self.first + self.count();
        let outside = report
            .hits
            .iter()
            .filter(|hit| own.contains(&hit.marker) && !self.may_stay(hit.marker, hit.holds));
        for hit in outside.take(LOGGED) {
            let key = hit.marker >= self.first + self.owners.len();
            let marker = if key { "key" } else { "owner" };
            let (erasure, file, offset) = (self.erasure, &hit.file, hit.offset);
            tracing::error!(%erasure, marker, file, offset, "found outside the residual list");
        }
    }
}

/// Sets a flag when it is dropped: what runs on a thread of its own hears that nobody waits for it any more.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// An erasure whose search did not pass.
#[derive(Clone, Copy)]
struct Rest {
    kind: Search,
    /// What was found that should not be there, or not found that should.
    wrong: u64,
    tries: u32,
    until: Timestamp,
}

/// The erasures whose search did not pass: at most those that wait for one.
#[derive(Default)]
struct Resting(BTreeMap<ErasureId, Rest>);

impl Resting {
    fn rests(&self, erasure: ErasureId, now: Timestamp) -> bool {
        self.0.get(&erasure).is_some_and(|rest| now < rest.until)
    }

    /// Lets one rest after a search that did not pass. Answers whether that says something new.
    fn put(
        &mut self,
        erasure: ErasureId,
        kind: Search,
        wrong: u64,
        times: (Timestamp, Duration),
    ) -> bool {
        let before = self.0.get(&erasure).filter(|it| it.kind == kind);
        let tries = before.map_or(0, |it| it.tries.saturating_add(1).min(DOUBLINGS));
        let news = before.is_none_or(|it| it.wrong != wrong);
        let (now, pause) = times;
        let wait = pause.saturating_mul(1 << tries).min(REST_MOST.max(pause));
        let until = now.plus(wait);
        self.0.insert(
            erasure,
            Rest {
                kind,
                wrong,
                tries,
                until,
            },
        );
        news
    }

    /// When the first one has rested, once those are dropped that wait for nothing any more.
    fn wake_at(&mut self, now: Timestamp) -> Option<Timestamp> {
        self.0.retain(|_, rest| now < rest.until);
        self.0.values().map(|rest| rest.until).min()
    }
}

/// The loop of passes.
pub(crate) struct Sweep(pub(crate) App);

impl Sweep {
    /// Searches whenever somebody waits for it, until something fails; supervise it.
    ///
    /// # Errors
    /// See [`SweepError`]. Running again goes on.
    pub(crate) async fn run(&self) -> Result<(), SweepError> {
        let app = &self.0;
        // One that does not pass must not keep those behind it from being searched for.
        let mut after = None;
        let mut resting = Resting::default();
        let clock = app.engine.clock();
        loop {
            let waiting = app.waiting(after.take(), &resting).await?;
            if waiting.is_empty() {
                let Some(wake) = resting.wake_at(clock.now()) else {
                    // Another process may have asked, and can only be heard in the store.
                    tokio::select! {
                        () = app.wanted.notified() => {}
                        () = clock.sleep(LOOK_EVERY) => {}
                    }
                    continue;
                };
                tokio::select! {
                    () = app.wanted.notified() => {}
                    () = clock.sleep_until(wake) => {}
                }
                continue;
            }
            after = app.sweep(&waiting, &mut resting).await?;
            // Whoever comes meanwhile shares the next pass.
            clock.sleep(app.choices.search_pause).await;
        }
    }

    /// One pass for one erasure. Answers whether it was searched for.
    #[cfg(test)]
    pub(crate) async fn once(&self, erasure: ErasureId) -> Result<bool, SweepError> {
        let last = self.0.sweep(&[erasure], &mut Resting::default()).await?;
        Ok(last.is_some())
    }
}

impl App {
    /// Puts an erasure on the list of those that wait for a search.
    pub(super) async fn want_search(
        &self,
        erasure: ErasureId,
        kind: Search,
        position: Position,
    ) -> Result<(), StoreError> {
        let (key, stamp) = (erasure.as_bytes(), position.stamp());
        let value = Bytes::from_static(match kind {
            Search::Control => b"control",
            Search::Purge => b"purge",
            Search::Residuals => b"residuals",
        });
        let documents = self.engine.documents();
        documents.put(TABLE, WAITING, key, stamp, value).await?;
        self.wanted.notify_one();
        Ok(())
    }

    /// Who waits and does not rest: those behind the last one of the pass before, else from the first.
    async fn waiting(
        &self,
        after: Option<ErasureId>,
        resting: &Resting,
    ) -> Result<Vec<ErasureId>, StoreError> {
        let now = self.engine.now();
        let behind = |key: &[u8]| Some([key, &[0]].concat());
        let mut from = after.and_then(|after| behind(after.as_bytes()));
        let mut from_the_first = from.is_none();
        loop {
            let range = Range {
                from: from.take(),
                ..Range::all(AT_MOST)
            };
            let rows = self.engine.documents().range(TABLE, WAITING, range).await?;
            let ids = rows
                .iter()
                .filter_map(|row| ErasureId::from_slice(&row.key));
            let ids: Vec<_> = ids.filter(|it| !resting.rests(*it, now)).collect();
            match rows.last() {
                _ if !ids.is_empty() => return Ok(ids),
                Some(last) if rows.len() == AT_MOST => from = behind(&last.key),
                _ if from_the_first => return Ok(ids),
                _ => from_the_first = true,
            }
        }
    }

    /// One pass for as many of them as fit. Answers the last one it was for.
    async fn sweep(
        &self,
        waiting: &[ErasureId],
        resting: &mut Resting,
    ) -> Result<Option<ErasureId>, SweepError> {
        let mut wanted: Vec<Wanted> = Vec::new();
        let mut markers = Vec::new();
        for erasure in waiting {
            let Some(one) = self.wanted_by(*erasure, markers.len()).await? else {
                continue;
            };
            if one.kind == Search::Residuals && !self.events_ended(&one.state).await? {
                let times = (self.engine.now(), self.choices.search_pause);
                resting.put(one.erasure, one.kind, 0, times);
                continue;
            }
            if !wanted.is_empty() && markers.len() + one.count() > MARKERS {
                break;
            }
            markers.extend(one.markers());
            wanted.push(one);
        }
        let Some(last) = wanted.last().map(|one| one.erasure) else {
            return Ok(None);
        };
        if wanted.iter().any(|one| one.kind != Search::Control) {
            self.erasing.files.scrub(self.engine.now()).await?;
        }
        let stop = Arc::new(AtomicBool::new(false));
        let _guard = StopOnDrop(Arc::clone(&stop));
        let files = Arc::clone(&self.erasing.files);
        let report = tokio::task::spawn_blocking(move || search(&*files, &markers, &stop));
        let report = report.await.map_err(|_| SweepError::Stopped)??;
        tracing::info!(
            erasures = wanted.len(),
            files = report.files,
            bytes = report.bytes,
            "searched"
        );
        for one in &wanted {
            self.conclude(one, &report, resting).await?;
        }
        Ok(Some(last))
    }

    /// What an erasure wants to be looked for; `None` when it waits for nothing any more.
    async fn wanted_by(
        &self,
        erasure: ErasureId,
        first: usize,
    ) -> Result<Option<Wanted>, SweepError> {
        let loaded = self.load(erasure).await?;
        let state = Arc::clone(&loaded.state);
        let Next::Search(kind) = next(&state, self.engine.now()) else {
            self.unwant(erasure, loaded.position).await?;
            return Ok(None);
        };
        let owners = state.owners();
        let keys = match &state.control {
            None => self.key_ids(&owners).await?,
            Some(control) => self.kept_key_ids(&control.key_ids).await?,
        };
        Ok(Some(Wanted {
            erasure,
            kind,
            state,
            owners,
            keys,
            first,
        }))
    }

    /// Whether the events that were published before the purge are dropped: each relay does that at its own pace, and
    /// one that stood still does it late. Before that the last search could only find them.
    async fn events_ended(&self, state: &State) -> Result<bool, StoreError> {
        let late = state
            .residuals_end_at()
            .is_none_or(|end| self.engine.now() >= end.plus(UNTRIMMED));
        let Some(purged_at) = state.purged_at.filter(|_| !late) else {
            return Ok(true);
        };
        for service in PUBLISHERS {
            let events = Stream::new(Family::Int, service);
            let first = self.engine.log().page(events, Position::START, 1).await?;
            if first.iter().any(|it| it.recorded_at <= purged_at) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn unwant(
        &self,
        erasure: ErasureId,
        position: Option<Position>,
    ) -> Result<(), StoreError> {
        let stamp = position.unwrap_or(Position::START).stamp();
        let documents = self.engine.documents();
        documents
            .delete(TABLE, WAITING, erasure.as_bytes(), stamp)
            .await
    }

    /// The keys that will be destroyed: all but those of `records`.
    async fn key_ids(&self, owners: &[Owner]) -> Result<Vec<KeyId>, StoreError> {
        let mut keys = Vec::new();
        for owner in owners {
            let all = self.erasing.vault.key_ids(*owner).await?;
            let gone = all.into_iter().filter(|(it, _)| *it != Purpose::Records);
            keys.extend(gone.map(|(_, key)| key));
        }
        Ok(keys)
    }

    /// The ids of the keys, as they were before the fence.
    async fn kept_key_ids(&self, part: &Part) -> Result<Vec<KeyId>, SealError> {
        let sealed = part.sealed().ok_or(SealError::Corrupt)?;
        let binding = Binding::Event(sealed.origin.clone());
        let sealing = self.engine.sealing();
        let opened = sealing
            .open(sealed.owner, sealed.purpose, &binding, &sealed.bytes)
            .await?;
        let Opened::Clear(bytes) = opened else {
            return Err(SealError::Corrupt);
        };
        let ids = bytes.expose().chunks_exact(16).map(KeyId::from_slice);
        ids.collect::<Option<_>>().ok_or(SealError::Corrupt)
    }

    /// Takes the step that the search was for. One that it does not allow stays on the list.
    async fn conclude(
        &self,
        one: &Wanted,
        report: &Report,
        resting: &mut Resting,
    ) -> Result<(), SweepError> {
        let times = (self.engine.now(), self.choices.search_pause);
        let command = match one.kind {
            Search::Control => control(one, report),
            Search::Purge => Command::Verify(one.pass(report)),
            Search::Residuals => {
                let pass = one.pass(report);
                let Some(evidence) = self.sealed_off(&one.state).await? else {
                    resting.put(one.erasure, one.kind, 0, times);
                    return Ok(());
                };
                let now = self.engine.now();
                let receipt = self.receipts.bytes(&one.state, pass, evidence, now);
                Command::SignBytes(pass, receipt)
            }
        };
        let erasure = one.erasure;
        let wrong = wrong(&command);
        match self.take(erasure, &command).await {
            Ok(position) => {
                resting.0.remove(&erasure);
                tracing::info!(%erasure, search = ?one.kind, "search passed");
                Ok(self.unwant(erasure, position).await?)
            }
            Err(ExecuteError::Refused(failure))
                if failure.reason == Reason::TEMPORARILY_UNAVAILABLE
                    && failure.kind() == Kind::Unavailable =>
            {
                if resting.put(erasure, one.kind, wrong, times) {
                    tracing::error!(%erasure, search = ?one.kind, wrong, "search did not pass, searching again");
                    if one.kind != Search::Control {
                        one.alarm(report);
                    }
                }
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// How much a search found that should not be there, or did not find that should.
fn wrong(command: &Command) -> u64 {
    match command {
        Command::Control { missing, .. } => u64::from(*missing),
        Command::Verify(pass) | Command::SignBytes(pass, _) => pass.outside,
        _ => 0,
    }
}

/// What the positive control says: every owner must have been found, and of the keys, if there are any, one.
fn control(one: &Wanted, report: &Report) -> Command {
    let count = |at: usize| report.count(one.first + at);
    let owners = one.owners.len();
    let unseen = (0..owners).filter(|at| count(*at) == 0).count();
    let keys: u64 = (owners..one.count()).map(count).sum();
    let no_key = usize::from(!one.keys.is_empty() && keys == 0);
    let found = (0..one.count()).map(count).sum();
    Command::Control {
        key_ids: one.keys.iter().flat_map(|key| *key.as_bytes()).collect(),
        markers: u32::try_from(one.count()).unwrap_or(u32::MAX),
        found,
        missing: u32::try_from(unseen + no_key).unwrap_or(u32::MAX),
    }
}

#[cfg(test)]
mod tests {
    //! One that does not pass rests ever longer, and alarms when it finds something else.

    use super::*;

    #[test]
    fn the_same_finding_alarms_once_and_is_looked_for_ever_more_slowly() {
        let (minute, erasure) = (Duration::from_secs(60), ErasureId::from_bytes([1; 16]));
        let mut resting = Resting::default();
        let mut now = Timestamp::from_seconds(1_800_000_000);
        let mut passes = 0;
        let mut alarms = 0;
        let end = now.plus(Duration::from_secs(30 * 86_400));
        while now < end {
            assert!(!resting.rests(erasure, now));
            passes += 1;
            alarms += u32::from(resting.put(erasure, Search::Residuals, 3, (now, minute)));
            assert!(resting.rests(erasure, now));
            now = resting.wake_at(now).expect("it rests");
        }
        assert_eq!(alarms, 1);
        assert!(passes <= 24 * 30 + 7, "{passes} passes in 30 days");
        assert!(
            resting.put(erasure, Search::Residuals, 2, (now, minute)),
            "something else"
        );
        assert_eq!(
            resting.wake_at(now.plus(REST_MOST)),
            None,
            "it waits for nothing"
        );
    }
}
