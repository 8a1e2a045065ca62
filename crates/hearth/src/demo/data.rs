//! The recordings in `tests/data`, as a home's devices would send them, moved in time to end yesterday.
//!
//! Pure: the files are compiled in, and the time comes in as an argument. Values stay as they were measured, times of
//! day too; the hourly series also keep day of the week and, to within half a week, the season.

use anyhow::{Context as _, Result};
use hearth_api::types::v1::Capability;
use hearth_kernel::{Day, Timestamp};
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};

const ELECTRICITY: &str = include_str!("../../../../tests/data/uk-electricity-kwh-hourly.csv");
const GAS: &str = include_str!("../../../../tests/data/uk-gas-kwh-hourly.csv");
const OUTDOOR: &str =
    include_str!("../../../../tests/data/uk-outdoor-temperature-celsius-hourly.csv");
const WATER: &str = include_str!("../../../../tests/data/water-flow-litres-per-second-hourly.csv");
const ROOM: &str = include_str!("../../../../tests/data/room-climate.csv");

/// Days of the hourly series that Anna's home has: inside its retention of 400, with room for a slow run.
pub(super) const DAYS: i32 = 395;
/// Days that Bojan's home has.
pub(super) const OTHER_DAYS: i32 = 60;
/// The mean length of a year in ten-thousandths of a day (Gregorian), by which seasons are kept.
const YEAR: i32 = 3_652_425;
/// An hourly meter is read one second before its hour ends, so that the hour's use lies in its own hour.
const READ_AT: i64 = 3_599_000_000;
/// Above this somebody has the light on: the room's desk lamps give 400 lux and more, the window little in February.
const LIT_LUX: f64 = 200.0;
/// A rise of this much carbon dioxide between two observations means that somebody came in or moves about.
const RISE_PPM: f64 = 15.0;

/// The devices of the story.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Gadget {
    /// Measures electricity.
    Meter,
    /// Burns gas.
    Boiler,
    /// Knows the temperature outdoors.
    Weather,
    /// Measures water.
    Water,
    /// Measures the air of the office.
    Climate,
    /// Sees whether somebody is in the office.
    Presence,
    /// Sees motion in the living room.
    Motion,
}

/// A value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value {
    /// For capabilities that are numbers.
    Number(f64),
    /// For flags.
    Flag(bool),
}

/// One reading, as its device takes it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sample {
    /// When, in microseconds since 1970.
    pub(super) at: i64,
    pub(super) gadget: Gadget,
    pub(super) capability: Capability,
    pub(super) value: Value,
}

/// A row of a file: when, and its columns.
type Row = (Timestamp, Vec<f64>);

/// Everything that Anna's home saw until `midnight`, in the order of time.
pub(super) fn of_household(midnight: Day) -> Result<Vec<Sample>> {
    let mut all = Vec::new();
    meter(&mut all, seasonal(ELECTRICITY, midnight, DAYS)?);
    let mut burning = None;
    for (at, row) in seasonal(GAS, midnight, DAYS)? {
        let used = row[0];
        let read = at.micros() + READ_AT;
        push(
            &mut all,
            read,
            Gadget::Boiler,
            Capability::HeatingEnergy,
            Value::Number(used),
        );
        let on = used > 0.0;
        if burning.replace(on) != Some(on) {
            push(
                &mut all,
                at.micros(),
                Gadget::Boiler,
                Capability::HeatingOn,
                Value::Flag(on),
            );
        }
    }
    outdoor(&mut all, seasonal(OUTDOOR, midnight, DAYS)?);
    for (at, row) in latest(WATER, midnight)? {
        let flow = Value::Number(row[0]);
        push(
            &mut all,
            at.micros(),
            Gadget::Water,
            Capability::WaterFlow,
            flow,
        );
    }
    room(&mut all, latest(ROOM, midnight)?);
    all.sort_by_key(|sample| sample.at);
    Ok(all)
}

/// Everything that Bojan's home saw until `midnight`, in the order of time: the same meters a year earlier.
pub(super) fn of_other(midnight: Day) -> Result<Vec<Sample>> {
    let mut all = Vec::new();
    let earlier = |text| -> Result<Vec<Row>> {
        let rows = rows(text)?;
        let shift = season(last_day(&rows)?.plus(-366), midnight);
        Ok(moved(&rows, shift, midnight, OTHER_DAYS))
    };
    meter(&mut all, earlier(ELECTRICITY)?);
    outdoor(&mut all, earlier(OUTDOOR)?);
    all.sort_by_key(|sample| sample.at);
    Ok(all)
}

fn push(all: &mut Vec<Sample>, at: i64, gadget: Gadget, capability: Capability, value: Value) {
    all.push(Sample {
        at,
        gadget,
        capability,
        value,
    });
}

/// Energy used in the hour, and the mean power it stands for.
fn meter(all: &mut Vec<Sample>, rows: Vec<Row>) {
    for (at, row) in rows {
        let (at, used) = (at.micros() + READ_AT, row[0]);
        let watts = Value::Number(used * 1000.0);
        push(
            all,
            at,
            Gadget::Meter,
            Capability::PlugEnergy,
            Value::Number(used),
        );
        push(all, at, Gadget::Meter, Capability::PlugPower, watts);
    }
}

fn outdoor(all: &mut Vec<Sample>, rows: Vec<Row>) {
    let what = Capability::ClimateOutdoorTemperature;
    for (at, row) in rows {
        push(
            all,
            at.micros(),
            Gadget::Weather,
            what,
            Value::Number(row[0]),
        );
    }
}

/// The air of the office, and what it says of people: presence by the lamps, motion by rising carbon dioxide.
fn room(all: &mut Vec<Sample>, rows: Vec<Row>) {
    let measures = [
        Capability::ClimateTemperature,
        Capability::ClimateHumidity,
        Capability::ClimateLight,
        Capability::ClimateCo2,
    ];
    let (mut present, mut moves, mut before) = (None, None, f64::INFINITY);
    for (at, row) in rows {
        let at = at.micros();
        for (capability, value) in measures.into_iter().zip(&row) {
            push(all, at, Gadget::Climate, capability, Value::Number(*value));
        }
        let [_, _, light, co2] = row[..] else {
            continue;
        };
        let changes = [
            (Capability::Presence, &mut present, light >= LIT_LUX),
            (Capability::Motion, &mut moves, co2 >= before + RISE_PPM),
        ];
        for (capability, state, now) in changes {
            if state.replace(now) != Some(now) {
                push(all, at, Gadget::Presence, capability, Value::Flag(now));
            }
        }
        before = co2;
    }
}

/// The rows of an hourly file of some years, moved by whole weeks that make the fewest whole years.
fn seasonal(text: &str, midnight: Day, days: i32) -> Result<Vec<Row>> {
    let rows = rows(text)?;
    let shift = season(last_day(&rows)?, midnight);
    Ok(moved(&rows, shift, midnight, days))
}

/// All rows of a short file, moved by whole days so that its last day is yesterday.
fn latest(text: &str, midnight: Day) -> Result<Vec<Row>> {
    let rows = rows(text)?;
    let shift = midnight.number() - 1 - last_day(&rows)?.number();
    Ok(moved(&rows, shift, midnight, DAYS))
}

/// The days to move by: whole weeks nearest to whole years, so many that the source is there up to yesterday.
fn season(last: Day, midnight: Day) -> i32 {
    // Half a week is added before the division, which rounds down.
    let weeks = |years: i32| (years * YEAR + 35_000) / 70_000 * 7;
    // Yesterday comes from the day before `last` at the latest, since `last` itself may be cut short.
    (0..1000)
        .map(weeks)
        .find(|shift| midnight.number() - shift <= last.number())
        .unwrap_or(0)
}

fn last_day(rows: &[Row]) -> Result<Day> {
    Ok(rows.last().context("the file has rows")?.0.day())
}

/// The rows of the last `days` days before midnight after moving.
fn moved(rows: &[Row], shift: i32, midnight: Day, days: i32) -> Vec<Row> {
    let start = midnight.plus(-days).start();
    let by = i64::from(shift) * 86_400_000_000;
    rows.iter()
        .map(|(at, row)| (Timestamp::from_micros(at.micros() + by), row.clone()))
        .filter(|(at, _)| *at >= start && *at < midnight.start())
        .collect()
}

/// The rows of a file, by time, each time once. The first column is the time.
fn rows(text: &str) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (number, line) in text.lines().enumerate().skip(1) {
        let mut fields = line.split(',');
        let mut read = || -> Result<Row> {
            let at = time(fields.next().context("no time")?)?;
            let values = fields
                .by_ref()
                .map(str::parse)
                .collect::<Result<Vec<f64>, _>>()?;
            anyhow::ensure!(!values.is_empty(), "no value");
            Ok((at, values))
        };
        rows.push(read().with_context(|| format!("line {}", number + 1))?);
    }
    rows.sort_by_key(|row| row.0);
    rows.dedup_by_key(|row| row.0);
    Ok(rows)
}

/// With an offset, or UTC; but the room's times are Belgium's in February: an hour ahead.
fn time(text: &str) -> Result<Timestamp> {
    let micros = if let Ok(with_offset) = text.parse::<jiff::Timestamp>() {
        with_offset.as_microsecond()
    } else {
        let ahead = if text.starts_with("2015-02") { 1 } else { 0 };
        let zone = TimeZone::fixed(Offset::constant(ahead));
        text.parse::<DateTime>()?
            .to_zoned(zone)?
            .timestamp()
            .as_microsecond()
    };
    Ok(Timestamp::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn midnights() -> impl Iterator<Item = Day> {
        // Two years of starting days from 2026-11-23, every 61st.
        (0..730)
            .step_by(61)
            .map(|days| Day::from_number(20_780 + days))
    }

    #[test]
    fn the_household_ends_yesterday_whole_and_in_order() {
        for midnight in midnights() {
            let all = of_household(midnight).expect("the files are good");
            assert!(all.is_sorted_by_key(|sample| sample.at));
            assert!(
                all.iter()
                    .all(|sample| sample.at < midnight.start().micros())
            );
            let mut counts = BTreeMap::new();
            for sample in &all {
                *counts.entry(sample.capability.as_str_name()).or_insert(0) += 1;
            }
            let hours = DAYS * 24;
            assert_eq!(counts["CAPABILITY_PLUG_ENERGY"], hours, "from {midnight}");
            assert_eq!(counts["CAPABILITY_HEATING_ENERGY"], hours);
            assert_eq!(counts["CAPABILITY_CLIMATE_OUTDOOR_TEMPERATURE"], hours);
            assert_eq!(counts["CAPABILITY_CLIMATE_CO2"], 509);
            assert!(counts["CAPABILITY_WATER_FLOW"] >= 1_267);
            assert!(counts["CAPABILITY_HEATING_ON"] > 500);
            assert!(counts["CAPABILITY_PRESENCE"] > 5 && counts["CAPABILITY_MOTION"] > 5);
        }
    }

    #[test]
    fn values_are_in_the_ranges_of_the_catalogue() {
        let midnight = Day::from_number(20_780);
        let mut all = of_household(midnight).expect("the files are good");
        all.extend(of_other(midnight).expect("the files are good"));
        for sample in all {
            let number = u16::try_from(i32::from(sample.capability)).expect("small");
            let known = hearth_kernel::Capability::from_number(number).expect("in the catalogue");
            let value = known.spec().expect("described").value;
            match sample.value {
                Value::Number(number) => assert!(value.takes_number(number), "{sample:?}"),
                Value::Flag(_) => {
                    assert!(
                        matches!(value, hearth_kernel::capability::ValueType::Flag),
                        "{sample:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn time_of_day_weekday_and_season_are_kept() {
        let rows = rows(GAS).expect("good");
        let last = last_day(&rows).expect("rows");
        for midnight in midnights() {
            let shift = season(last, midnight);
            assert_eq!(shift % 7, 0);
            let beside = (shift * 10_000) % YEAR;
            assert!(beside.min(YEAR - beside) <= 35_000, "{shift}");
            // A shorter shift would not reach yesterday.
            assert!(midnight.number() - shift > last.number() - 370);
        }
    }

    #[test]
    fn the_other_home_has_other_values() {
        let midnight = Day::from_number(20_780);
        let other = of_other(midnight).expect("good");
        let hours = usize::try_from(OTHER_DAYS * 24).expect("small");
        assert_eq!(other.len(), 3 * hours);
        let own = of_household(midnight).expect("good");
        let energy = |all: &[Sample]| -> f64 {
            let from = midnight.plus(-OTHER_DAYS).start().micros();
            all.iter()
                .filter(|sample| sample.at >= from && sample.capability == Capability::PlugEnergy)
                .map(|sample| match sample.value {
                    Value::Number(number) => number,
                    Value::Flag(_) => 0.0,
                })
                .sum()
        };
        assert!((energy(&other) - energy(&own)).abs() > 1.0);
    }
}
