//! Reading one series over a span of time: what the manifest names, merged with the segments that it does not cover.
//!
//! A day at a time, so that memory is bounded by a period's sparse chunk and a day's readings. Windows are those of each
//! UTC day by itself, so that compaction changes none of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use hearth_kernel::{Capability, Day, DeviceId, HomeId, RetentionClass, Timestamp};
use hearth_ports::Clock;
use hearth_readings::{Level, Rollup};

use super::manifest::{Manifest, Name};
use super::period::{Period, rolled, span_days, span_end};
use super::store::Store;
use super::windows::{WindowRow, rows_of};
use super::{HistoryError, Samples};
use crate::writer::Opener;

/// Segments per page.
const PAGE: usize = 256;
/// Days with segments that a home may have: far more than any class keeps.
const MOST_DAYS: usize = 10_000;

/// One series and a span of time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Query {
    pub(crate) home: HomeId,
    pub(crate) device: DeviceId,
    pub(crate) capability: Capability,
    /// From this time on, microseconds UTC.
    pub(crate) from: i64,
    /// And before this one.
    pub(crate) until: i64,
}

/// Reads one query. Ask for its days in order.
pub(crate) struct Reader {
    store: Store,
    clock: Arc<dyn Clock>,
    query: Query,
    /// Days that have segments.
    segments: BTreeSet<Day>,
    open: Option<Opened>,
    opener: Opener,
}

/// What is known of the period that is being read.
struct Opened {
    period: Period,
    manifest: Manifest,
    sparse: Samples,
    /// Days of sparse readings.
    days: BTreeSet<Day>,
}

impl Reader {
    /// Begins.
    ///
    /// # Errors
    /// When the store does not answer.
    pub(crate) async fn new(
        store: Store,
        clock: Arc<dyn Clock>,
        query: Query,
    ) -> Result<Self, HistoryError> {
        let days = store.series.segment_days(query.home, MOST_DAYS).await?;
        Ok(Self {
            store,
            clock,
            query,
            segments: days.into_iter().collect(),
            open: None,
            opener: Opener::default(),
        })
    }

    /// The days of the query, in order.
    pub(crate) fn days(&self) -> impl Iterator<Item = Day> + use<> {
        let first = Timestamp::from_micros(self.query.from).day().number();
        let last = Timestamp::from_micros(self.query.until.saturating_sub(1))
            .day()
            .number();
        (first..=last).map(Day::from_number)
    }

    /// The readings of a day, in order, each instant once.
    ///
    /// # Errors
    /// See [`HistoryError`].
    pub(crate) async fn readings(&mut self, day: Day) -> Result<Samples, HistoryError> {
        let mut samples = self.day(day).await?;
        samples.settle();
        Ok(samples.between(self.query.from, self.query.until))
    }

    /// The windows of a day that begin inside the query.
    ///
    /// # Errors
    /// See [`HistoryError`].
    pub(crate) async fn windows(
        &mut self,
        day: Day,
        level: Level,
    ) -> Result<Vec<WindowRow>, HistoryError> {
        let fresh = self.uncovered(day).await?;
        let sparse = self.opened(day).await?.days.contains(&day);
        let rows = match self.rollup(day, level, fresh.is_empty() && !sparse).await? {
            Some(rollup) => rows_of(&rollup),
            None if fresh.is_empty() && self.is_rolled(day, level).await? => {
                self.rolled(day, level).await?
            }
            None => {
                let mut samples = self.stored(day).await?;
                samples.append(fresh);
                samples.settle();
                rows_of(&Rollup::of_points(level, samples.points()))
            }
        };
        let inside = |row: &WindowRow| row.start >= self.query.from && row.start < self.query.until;
        Ok(rows.into_iter().filter(inside).collect())
    }

    async fn day(&mut self, day: Day) -> Result<Samples, HistoryError> {
        // Segments first: what is covered between the two looks is then in both.
        let mut samples = self.uncovered(day).await?;
        samples.append(self.stored(day).await?);
        Ok(samples)
    }

    /// The oldest time that a class still answers.
    fn oldest(&self, class: RetentionClass) -> i64 {
        self.clock.now().minus(class.period()).micros()
    }

    async fn opened(&mut self, day: Day) -> Result<&Opened, HistoryError> {
        let period = Period::of(day);
        let opened = match self.open.take().filter(|open| open.period == period) {
            Some(opened) => opened,
            None => self.open_period(period).await?,
        };
        Ok(self.open.insert(opened))
    }

    async fn open_period(&self, period: Period) -> Result<Opened, HistoryError> {
        let query = self.query;
        let manifest = self.store.manifest(query.home, period).await?.manifest;
        let now = self.clock.now();
        let mut sparse = Samples::default();
        for name in manifest.shared(query.device) {
            let Some(bundle) = self.store.named(query.home, period, &name, now).await? else {
                continue;
            };
            let mut of_class = Samples::default();
            for (number, column) in &bundle.columns {
                if *number == query.capability.number() {
                    of_class.extend_encoded(column, u16::from(span_days(name.class)))?;
                }
            }
            of_class.drop_before(self.oldest(name.class));
            sparse.append(of_class);
        }
        let days = sparse
            .iter()
            .map(|it| Timestamp::from_micros(it.at).day())
            .collect();
        Ok(Opened {
            period,
            manifest,
            sparse,
            days,
        })
    }

    /// The readings of a day in chunks.
    async fn stored(&mut self, day: Day) -> Result<Samples, HistoryError> {
        let opened = self.opened(day).await?;
        let mut samples = opened
            .sparse
            .between(day.start().micros(), day.end().micros());
        let period = opened.period;
        let Some(offset) = period.offset(day) else {
            return Ok(samples);
        };
        let (device, capability) = (self.query.device, self.query.capability);
        let dense: Vec<Name> = match &self.open {
            Some(open) => named(&open.manifest, device, capability)
                .into_iter()
                .filter(|name| name.day == offset)
                .collect(),
            None => Vec::new(),
        };
        let now = self.clock.now();
        for name in dense {
            let Some(bundle) = self
                .store
                .named(self.query.home, period, &name, now)
                .await?
            else {
                continue;
            };
            let mut of_class = Samples::default();
            for (_, column) in &bundle.columns {
                of_class.extend_encoded(column, 1)?;
            }
            of_class.drop_before(self.oldest(name.class));
            samples.append(of_class);
        }
        Ok(samples)
    }

    /// The readings of a day in segments that no chunk covers.
    async fn uncovered(&mut self, day: Day) -> Result<Samples, HistoryError> {
        let mut samples = Samples::default();
        if !self.segments.contains(&day) {
            return Ok(samples);
        }
        let period = Period::of(day);
        let mut after = None;
        loop {
            let page = self
                .store
                .series
                .segments(self.query.home, day, after, PAGE)
                .await?;
            let full = page.len() == PAGE;
            after = page.last().map(|it| it.key);
            let manifest = &self.opened(day).await?.manifest;
            let fresh = page
                .into_iter()
                .filter(|it| !manifest.covers(&it.key, period));
            let fresh: Vec<_> = fresh.collect();
            let sealing = Arc::clone(&self.store.sealing);
            for segment in self.opener.open_stored(&*sealing, fresh).await? {
                let oldest = self.oldest(segment.stored.key.class);
                let (device, capability) = (self.query.device, self.query.capability.number());
                let wanted = segment.rows().filter(|row| {
                    row.capability == capability
                        && row.device == device.as_bytes()
                        && row.observed_at >= oldest
                });
                for row in wanted {
                    samples.push(&row);
                }
            }
            if !full {
                return Ok(samples);
            }
        }
    }

    /// Whether readings of a day are gone, or about to be, and rollups of them may be there.
    async fn is_rolled(&mut self, day: Day, level: Level) -> Result<bool, HistoryError> {
        Ok(level != Level::Minute && !self.rolled_names(day).await?.is_empty())
    }

    async fn rolled_names(&mut self, day: Day) -> Result<Vec<Name>, HistoryError> {
        let device = self.query.device;
        let opened = self.opened(day).await?;
        let Some(offset) = opened.period.offset(day) else {
            return Ok(Vec::new());
        };
        let of_class = |class: &RetentionClass| {
            let names = all_named(&opened.manifest, device, rolled(*class));
            names
                .into_iter()
                .find(|it| it.day == span_end(offset, *class))
                .map(|it| (*class, it))
        };
        let names: Vec<_> = RetentionClass::ALL.iter().filter_map(of_class).collect();
        let gone = |class: RetentionClass| day.start().micros() < self.oldest(class);
        Ok(names
            .into_iter()
            .filter(|it| gone(it.0))
            .map(|it| it.1)
            .collect())
    }

    /// The windows of a day whose sparse readings are gone.
    async fn rolled(&mut self, day: Day, level: Level) -> Result<Vec<WindowRow>, HistoryError> {
        let (home, period, now) = (self.query.home, Period::of(day), self.clock.now());
        let (start, end) = (day.start().micros(), day.end().micros());
        let mut rows = Vec::new();
        for name in self.rolled_names(day).await? {
            let bundle = self.store.named(home, period, &name, now).await?;
            let columns = bundle.iter().flat_map(|it| &it.columns);
            for (_, column) in columns.filter(|it| it.0 == self.query.capability.number()) {
                let rollup = Rollup::decode(column).map_err(|_| HistoryError::Corrupt("rollup"))?;
                let of_day = rows_of(&rollup.coarsen(level));
                rows.extend(
                    of_day
                        .into_iter()
                        .filter(|it| it.start >= start && it.start < end),
                );
            }
        }
        Ok(rows)
    }

    /// A stored rollup that can stand for the day's readings; `None` when they must be read.
    async fn rollup(
        &mut self,
        day: Day,
        level: Level,
        only_dense: bool,
    ) -> Result<Option<Rollup>, HistoryError> {
        if !only_dense {
            return Ok(None);
        }
        let (home, device, capability) =
            (self.query.home, self.query.device, self.query.capability);
        let opened = self.opened(day).await?;
        let period = opened.period;
        let window = if level == Level::Minute { 60 } else { 3_600 };
        let of_day = |name: &Name| Some(name.day) == period.offset(day);
        let names = all_named(&opened.manifest, device, capability);
        // Readings of two classes in one day: no rollup holds both.
        let several = names
            .iter()
            .filter(|it| of_day(it) && it.window == 0)
            .count()
            > 1;
        let name = names
            .into_iter()
            .find(|it| of_day(it) && it.window == window);
        let Some(name) = name.filter(|_| !several) else {
            return Ok(None);
        };
        let bundle = self
            .store
            .named(home, period, &name, self.clock.now())
            .await?;
        for (_, column) in bundle.iter().flat_map(|it| &it.columns) {
            let rollup = Rollup::decode(column).map_err(|_| HistoryError::Corrupt("rollup"))?;
            if rollup.level() == level {
                return Ok(Some(rollup));
            }
        }
        Ok(None)
    }
}

/// The chunks of readings that a manifest names for a device and capability.
fn named(manifest: &Manifest, device: DeviceId, capability: Capability) -> Vec<Name> {
    let mut names = all_named(manifest, device, capability);
    names.retain(|name| name.window == 0);
    names
}

fn all_named(manifest: &Manifest, device: DeviceId, capability: Capability) -> Vec<Name> {
    let of_series = |name: &&Name| name.device == device && name.capability == capability;
    manifest.chunks.iter().filter(of_series).copied().collect()
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader")
            .field("query", &self.query)
            .finish_non_exhaustive()
    }
}
