//! Compaction: the segments of some days become chunks, and the period's manifest says so.
//!
//! Crash safe in each step: chunks nobody names are ignored and collected, segments are deleted after the manifest
//! covers them, and doing it again comes to the same readings.

mod rolling;

use std::collections::BTreeMap;
use std::sync::Arc;

use hearth_kernel::{Capability, Day, DeviceId, HomeId, RetentionClass};
use hearth_ports::{Clock, SegmentKey, StoredChunk};
use hearth_readings::DayRollups;

use super::bundle::Bundle;
use super::manifest::{Manifest, Name};
use super::period::{Period, expires, shared, span_days, span_end};
use super::samples::Samples;
use super::store::{Store, Versioned};
use super::{DENSE, HistoryError};
use crate::writer::Opener;
pub(super) use rolling::{ending, late_classes};
use rolling::{is_due, roll_up};

/// Readings that one round takes into memory: about 40 bytes each.
const ROUND: usize = 1_000_000;
/// Segments per page.
const PAGE: usize = 256;
/// Bytes of sparse readings that share a row: a store that keeps rows in pages keeps one of this size inside a page, and
/// would spend most of another on the rest of a longer one.
const PART: usize = 1_800;
/// Bits of a generation below the fence.
const COUNTER_BITS: u32 = 24;

/// Compacts under one lease.
pub(crate) struct Compactor {
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    /// The lease's fence.
    pub(crate) fence: u64,
    /// Generations made under it.
    pub(crate) made: u64,
}

/// What one round took.
#[derive(Default)]
struct Gathered {
    keys: Vec<SegmentKey>,
    readings: usize,
    /// By class and device, then by day and capability.
    series: BTreeMap<(RetentionClass, DeviceId), BTreeMap<(u8, Capability), Samples>>,
}

/// One round's writes.
struct Round {
    home: HomeId,
    period: Period,
    generation: u64,
    manifest: Manifest,
    chunks: Vec<(StoredChunk, hearth_kernel::Timestamp)>,
}

impl Compactor {
    /// Compacts the segments of these days of one period. Answers how many segments were taken; call it again until
    /// it takes none.
    ///
    /// # Errors
    /// See [`HistoryError`]; doing it again is harmless.
    pub(crate) async fn compact(
        &mut self,
        home: HomeId,
        period: Period,
        days: &[Day],
    ) -> Result<usize, HistoryError> {
        let before = self.store.manifest(home, period).await?;
        let gathered = self.gather(home, period, days, &before.manifest).await?;
        if gathered.keys.is_empty() {
            return Ok(0);
        }
        let taken = gathered.keys.len();
        self.made += 1;
        let mut round = Round {
            home,
            period,
            generation: (self.fence << COUNTER_BITS) | self.made,
            manifest: before.manifest.clone(),
            chunks: Vec::new(),
        };
        for key in &gathered.keys {
            round.manifest.cover(key, period);
        }
        for ((class, device), series) in gathered.series {
            self.device(&mut round, class, device, series).await?;
        }
        for (chunk, expires) in &round.chunks {
            let chunk = std::slice::from_ref(chunk);
            self.store.series.put_chunks(chunk, *expires).await?;
        }
        round.manifest.replaced_at = self.clock.now();
        self.put(home, period, round.manifest, &before).await?;
        Ok(taken)
    }

    /// Deletes what was replaced an hour ago, and says so in the manifest.
    ///
    /// # Errors
    /// See [`HistoryError`]; doing it again is harmless.
    pub(crate) async fn sweep(&mut self, home: HomeId, period: Period) -> Result<(), HistoryError> {
        let before = self.store.manifest(home, period).await?;
        for keys in before.manifest.covered(home, period).into_values() {
            self.store.series.delete_segments(&keys).await?;
        }
        let replaced = before.manifest.replaced.iter();
        let replaced: Vec<_> = replaced.map(|name| name.key(home, period)).collect();
        self.store.series.delete_chunks(&replaced).await?;
        let swept = before.manifest.clone().swept();
        self.put(home, period, swept, &before).await
    }

    async fn put(
        &self,
        home: HomeId,
        period: Period,
        manifest: Manifest,
        before: &Versioned,
    ) -> Result<(), HistoryError> {
        let counter = if before.fence == self.fence {
            before.counter + 1
        } else {
            1
        };
        let versioned = Versioned {
            manifest,
            fence: self.fence,
            counter,
        };
        self.store.put_manifest(home, period, &versioned).await
    }

    /// Opens the segments that are not covered, up to what one round may hold.
    async fn gather(
        &self,
        home: HomeId,
        period: Period,
        days: &[Day],
        manifest: &Manifest,
    ) -> Result<Gathered, HistoryError> {
        let mut gathered = Gathered::default();
        let mut opener = Opener::default();
        for day in days {
            let Some(offset) = period.offset(*day) else {
                continue;
            };
            let mut after = None;
            while gathered.readings < ROUND {
                let page = self.store.series.segments(home, *day, after, PAGE).await?;
                let full = page.len() == PAGE;
                after = page.last().map(|it| it.key);
                let fresh = page
                    .into_iter()
                    .filter(|it| !manifest.covers(&it.key, period));
                let fresh: Vec<_> = fresh.collect();
                gathered.keys.extend(fresh.iter().map(|it| it.key));
                for segment in opener.open_stored(&*self.store.sealing, fresh).await? {
                    let class = segment.stored.key.class;
                    for row in segment.rows() {
                        gathered.readings += 1;
                        let device = DeviceId::from_bytes(*row.device);
                        let capability = Capability::from_stored(row.capability);
                        let series = gathered.series.entry((class, device)).or_default();
                        series.entry((offset, capability)).or_default().push(&row);
                    }
                }
                if !full {
                    break;
                }
            }
        }
        Ok(gathered)
    }

    /// New chunks of one device and class.
    async fn device(
        &self,
        round: &mut Round,
        class: RetentionClass,
        device: DeviceId,
        series: BTreeMap<(u8, Capability), Samples>,
    ) -> Result<(), HistoryError> {
        let oldest = self.clock.now().minus(class.period()).micros();
        let mut sparse: BTreeMap<u8, Vec<(Capability, Samples)>> = BTreeMap::new();
        for ((day, capability), mut samples) in series {
            samples.drop_before(oldest);
            if samples.is_empty() {
                continue;
            }
            let place = Place {
                device,
                capability,
                class,
                day,
            };
            match round.find(place, 0) {
                Some(old) => {
                    if let Some(bundle) = self.replace(round, &old).await? {
                        for (_, column) in &bundle.columns {
                            samples.extend_encoded(column, 1)?;
                        }
                    }
                    self.put_dense(round, place, samples).await?;
                }
                None => {
                    let span = span_end(day, class);
                    sparse.entry(span).or_default().push((capability, samples));
                }
            }
        }
        for (span, added) in sparse {
            self.span(
                round,
                Place {
                    device,
                    capability: Capability::MANY,
                    class,
                    day: span,
                },
                added,
            )
            .await?;
        }
        Ok(())
    }

    /// The parts that all sparse capabilities of a device share for a span of days, which ends with the place's day.
    async fn span(
        &self,
        round: &mut Round,
        place: Place,
        added: Vec<(Capability, Samples)>,
    ) -> Result<(), HistoryError> {
        let days = span_days(place.class);
        let mut all: BTreeMap<Capability, Samples> = BTreeMap::new();
        let here = |it: &Name| it.class == place.class && it.day == place.day;
        let olds: Vec<Name> = round.manifest.shared(place.device).filter(here).collect();
        for old in olds {
            let bundle = self.replace(round, &old).await?;
            for (number, column) in bundle.iter().flat_map(|it| &it.columns) {
                let samples = all.entry(Capability::from_stored(*number)).or_default();
                samples.extend_encoded(column, u16::from(days))?;
            }
        }
        for (capability, samples) in added {
            all.entry(capability).or_default().append(samples);
        }
        let mut bundle = Bundle::default();
        let mut rollups = Bundle::default();
        for (capability, mut samples) in all {
            samples.settle();
            let mut rest = Samples::default();
            for day in place.day + 1 - days..=place.day {
                let whole = round.period.day(day);
                let of_day = samples.between(whole.start().micros(), whole.end().micros());
                if of_day.len() >= DENSE {
                    self.put_dense(
                        round,
                        Place {
                            capability,
                            day,
                            ..place
                        },
                        of_day,
                    )
                    .await?;
                } else {
                    roll_up(capability, &of_day, &mut rollups)?;
                    rest.append(of_day);
                }
            }
            for column in rest.encode(u16::from(days))? {
                bundle.columns.push((capability.number(), column));
            }
        }
        if bundle.columns.is_empty() {
            return Ok(());
        }
        let last = round.period.day(place.day);
        let today = self.clock.now().day();
        if is_due(place.class, round.period, place.day, today) && !rollups.columns.is_empty() {
            self.span_rollups(round, place, rollups).await?;
        }
        let end = expires(last, place.class);
        for (part, bundle) in bundle.parts(PART).into_iter().enumerate() {
            let capability = shared(part);
            let place = Place {
                capability,
                ..place
            };
            self.put_chunk(round, place, 0, &bundle, end).await?;
        }
        Ok(())
    }

    /// A capability's own chunk of a day, and its rollups.
    async fn put_dense(
        &self,
        round: &mut Round,
        place: Place,
        mut samples: Samples,
    ) -> Result<(), HistoryError> {
        samples.settle();
        if samples.is_empty() {
            return Ok(());
        }
        let number = place.capability.number();
        let bundle = |columns: Vec<Vec<u8>>| Bundle {
            columns: columns.into_iter().map(|column| (number, column)).collect(),
        };
        let day = round.period.day(place.day);
        let readings = bundle(samples.encode(1)?);
        let end = expires(day, place.class);
        self.put_chunk(round, place, 0, &readings, end).await?;
        let corrupt = |_| HistoryError::Corrupt("rollup");
        let rollups = DayRollups::of_points(samples.points());
        let coarse = Place {
            class: RetentionClass::Rollups,
            ..place
        };
        let end = expires(day, RetentionClass::Rollups);
        for window in [60, 3_600] {
            if let Some(old) = round.find(coarse, window) {
                round.retire(&old);
            }
        }
        if let Some(minutes) = rollups.minutes {
            let minutes = bundle(vec![minutes.encode().map_err(corrupt)?]);
            self.put_chunk(round, coarse, 60, &minutes, end).await?;
        }
        // Hours and the day share a row: each alone is mostly its own key.
        let mut columns = Vec::new();
        for rollup in rollups.hours.into_iter().chain([rollups.day]) {
            columns.push(rollup.encode().map_err(corrupt)?);
        }
        self.put_chunk(round, coarse, 3_600, &bundle(columns), end)
            .await
    }

    async fn put_chunk(
        &self,
        round: &mut Round,
        place: Place,
        window: u32,
        bundle: &Bundle,
        expires: hearth_kernel::Timestamp,
    ) -> Result<(), HistoryError> {
        let name = place.name(window, round.generation);
        let chunk = self
            .store
            .seal(name.key(round.home, round.period), bundle)
            .await?;
        round.chunks.push((chunk, expires));
        round.manifest.chunks.insert(name);
        Ok(())
    }

    /// Takes a chunk out of the manifest and answers what it holds. Generations beside it that nobody names were left
    /// by a compactor that died: they go too.
    async fn replace(&self, round: &mut Round, old: &Name) -> Result<Option<Bundle>, HistoryError> {
        let now = self.clock.now();
        let day = round.period.day(old.day);
        let stored = self
            .store
            .generations(round.home, old, (day, day), now)
            .await?;
        for chunk in &stored {
            let Some(name) = Name::of(&chunk.key, round.period) else {
                continue;
            };
            if name.generation >> COUNTER_BITS < self.fence
                && !round.manifest.chunks.contains(&name)
            {
                round.manifest.replaced.insert(name);
            }
        }
        round.retire(old);
        match stored
            .iter()
            .find(|chunk| chunk.key.generation == old.generation)
        {
            Some(chunk) => self.store.open(chunk).await,
            None => Ok(None),
        }
    }
}

/// Where a chunk belongs, whatever its window and generation.
#[derive(Clone, Copy)]
struct Place {
    device: DeviceId,
    capability: Capability,
    class: RetentionClass,
    day: u8,
}

impl Place {
    const fn name(self, window: u32, generation: u64) -> Name {
        Name {
            device: self.device,
            capability: self.capability,
            class: self.class,
            day: self.day,
            window,
            generation,
        }
    }
}

impl Round {
    /// The chunk that counts there.
    fn find(&self, place: Place, window: u32) -> Option<Name> {
        let (from, to) = (place.name(window, 0), place.name(window, u64::MAX));
        self.manifest.chunks.range(from..=to).next_back().copied()
    }

    fn retire(&mut self, old: &Name) {
        if self.manifest.chunks.remove(old) {
            self.manifest.replaced.insert(*old);
        }
    }
}
