//! Rollups of sparse readings: what a span's hours came to, which is kept longer than the readings themselves.
//!
//! Of classes that are kept for a short time they are made with the chunks, because most questions come when the
//! readings are gone. A class that is kept for a year or more has them made in the last eighth of its period: until then
//! the readings answer, and are as small as rollups would be.

use std::collections::{BTreeMap, BTreeSet};

use hearth_kernel::{Capability, Day, DeviceId, HomeId, RetentionClass, Timestamp};
use hearth_readings::{Level, Rollup, Windows};

use super::super::bundle::Bundle;
use super::super::manifest::{Manifest, Name};
use super::super::period::{Period, expires, rolled, shared, span_days};
use super::super::samples::Samples;
use super::super::windows::rows_of;
use super::{COUNTER_BITS, Compactor, HistoryError, Place, Round};

/// Sparse readings that are kept for a shorter time have rollups beside them from the start.
const AT_ONCE_BELOW_DAYS: u16 = 365;

/// Whether sparse readings of a class have rollups from the start.
const fn at_once(class: RetentionClass) -> bool {
    class.days() < AT_ONCE_BELOW_DAYS
}

/// The classes whose sparse readings have rollups when their end comes near.
pub(crate) fn late_classes() -> impl Iterator<Item = RetentionClass> {
    // What is kept longer than rollups are has none.
    let late = |it: &RetentionClass| !at_once(*it) && it.days() < RetentionClass::Rollups.days();
    RetentionClass::ALL.into_iter().filter(late)
}

/// From which day to which day readings of a class are near their end.
pub(crate) fn ending(class: RetentionClass, today: Day) -> (Day, Day) {
    let days = i32::from(class.days());
    (today.plus(-days), today.plus(days / 8 - days))
}

/// Whether a span that ends with that day of a period is to have rollups, when its readings are compacted on a day.
pub(super) fn is_due(class: RetentionClass, period: Period, last: u8, today: Day) -> bool {
    let first = period.day(last).plus(1 - i32::from(span_days(class)));
    at_once(class) || late_classes().any(|it| it == class) && first <= ending(class, today).1
}

/// A span whose rollups are wanted: its device, its class and its last day within the period.
pub(crate) type Span = (DeviceId, RetentionClass, u8);

/// The spans of a period that end soon and have no rollups. A device of text alone comes again each time.
pub(crate) fn wanted(manifest: &Manifest, period: Period, today: Day) -> BTreeSet<Span> {
    let mut spans = BTreeSet::new();
    for name in &manifest.chunks {
        let is_shared = name.window == 0 && name.capability <= shared(usize::MAX);
        let is_late = late_classes().any(|it| it == name.class);
        let alive = period.day(name.day) >= ending(name.class, today).0;
        if is_shared && is_late && alive && is_due(name.class, period, name.day, today) {
            spans.insert((name.device, name.class, name.day));
        }
    }
    let has = |(device, class, day): &Span| {
        let place = coarse(*device, *class, *day);
        let (from, to) = (place.name(3_600, 0), place.name(3_600, u64::MAX));
        manifest.chunks.range(from..=to).next().is_some()
    };
    spans.retain(|span| !has(span));
    spans
}

/// Where the rollups of a span stand.
const fn coarse(device: DeviceId, class: RetentionClass, day: u8) -> Place {
    Place {
        device,
        capability: rolled(class),
        class: RetentionClass::Rollups,
        day,
    }
}

impl Compactor {
    /// Makes the rollups of spans that end soon. Answers how many were made.
    ///
    /// # Errors
    /// See [`HistoryError`]; doing it again is harmless.
    pub(crate) async fn roll_up(
        &mut self,
        home: HomeId,
        period: Period,
        today: Day,
    ) -> Result<usize, HistoryError> {
        let before = self.store.manifest(home, period).await?;
        let wanted = wanted(&before.manifest, period, today);
        if wanted.is_empty() {
            return Ok(0);
        }
        self.made += 1;
        let mut round = Round {
            home,
            period,
            generation: (self.fence << COUNTER_BITS) | self.made,
            manifest: before.manifest.clone(),
            chunks: Vec::new(),
        };
        for (device, class, day) in wanted {
            let rollups = self.rollups_of((home, period), device, class, day, &before.manifest);
            let rollups = rollups.await?;
            if !rollups.columns.is_empty() {
                let capability = Capability::MANY;
                let place = Place {
                    device,
                    capability,
                    class,
                    day,
                };
                self.span_rollups(&mut round, place, rollups).await?;
            }
        }
        let made = round.chunks.len();
        if made > 0 {
            for (chunk, expires) in &round.chunks {
                let chunk = std::slice::from_ref(chunk);
                self.store.series.put_chunks(chunk, *expires).await?;
            }
            self.put(home, period, round.manifest, &before).await?;
        }
        Ok(made)
    }

    /// What the hours of a stored span come to.
    async fn rollups_of(
        &self,
        (home, period): (HomeId, Period),
        device: DeviceId,
        class: RetentionClass,
        last: u8,
        manifest: &Manifest,
    ) -> Result<Bundle, HistoryError> {
        let (days, now) = (span_days(class), self.clock.now());
        let mut all: BTreeMap<Capability, Samples> = BTreeMap::new();
        let here = |it: &Name| it.class == class && it.day == last;
        for name in manifest.shared(device).filter(here) {
            let bundle = self.store.named(home, period, &name, now).await?;
            for (number, column) in bundle.iter().flat_map(|it| &it.columns) {
                let samples = all.entry(Capability::from_stored(*number)).or_default();
                samples.extend_encoded(column, u16::from(days))?;
            }
        }
        let mut rollups = Bundle::default();
        for (capability, mut samples) in all {
            samples.settle();
            for day in last + 1 - days..=last {
                let whole = period.day(day);
                let of_day = samples.between(whole.start().micros(), whole.end().micros());
                roll_up(capability, &of_day, &mut rollups)?;
            }
        }
        Ok(rollups)
    }

    /// The rollups by the hour of a span's sparse capabilities, a column for each capability and day.
    pub(super) async fn span_rollups(
        &self,
        round: &mut Round,
        place: Place,
        mut rollups: Bundle,
    ) -> Result<(), HistoryError> {
        let coarse = coarse(place.device, place.class, place.day);
        if let Some(old) = round.find(coarse, 3_600) {
            let (home, period) = (round.home, round.period);
            let named = self.store.named(home, period, &old, self.clock.now());
            if let Some(old) = named.await? {
                keep_lost(round, place, old, &mut rollups)?;
            }
            round.retire(&old);
        }
        let last = round.period.day(place.day);
        let end = expires(last, RetentionClass::Rollups);
        self.put_chunk(round, coarse, 3_600, &rollups, end).await
    }
}

/// Keeps the old rollups of days whose readings cannot be opened any more: keys may end before the last day of a span.
fn keep_lost(
    round: &Round,
    place: Place,
    old: Bundle,
    rollups: &mut Bundle,
) -> Result<(), HistoryError> {
    let mut made = BTreeSet::new();
    for (number, column) in &rollups.columns {
        made.insert((*number, day_of(column)?));
    }
    for (number, column) in old.columns {
        let day = day_of(&column)?;
        let capability = Capability::from_stored(number);
        let dense = day.and_then(|it| round.period.offset(it)).and_then(|day| {
            round.find(
                Place {
                    capability,
                    day,
                    ..place
                },
                0,
            )
        });
        if dense.is_none() && made.insert((number, day)) {
            rollups.columns.push((number, column));
        }
    }
    Ok(())
}

/// The day of a column of rollups; `None` for one without windows.
fn day_of(column: &[u8]) -> Result<Option<Day>, HistoryError> {
    let rollup = Rollup::decode(column).map_err(|_| HistoryError::Corrupt("rollup"))?;
    let first = rows_of(&rollup).first().map(|it| it.start);
    Ok(first.map(|start| Timestamp::from_micros(start).day()))
}

/// Adds the hours of a day. Text has none.
pub(super) fn roll_up(
    capability: Capability,
    of_day: &Samples,
    rollups: &mut Bundle,
) -> Result<(), HistoryError> {
    let hours = Rollup::of_points(Level::Hour, of_day.points());
    if hours.is_empty() || matches!(hours.windows(), Windows::Text(_)) {
        return Ok(());
    }
    let column = hours
        .encode()
        .map_err(|_| HistoryError::Corrupt("rollup"))?;
    rollups.columns.push((capability.number(), column));
    Ok(())
}
