//! Batches of every shape: what is taken, what is refused, and that nothing is stored wrong.

use std::collections::BTreeSet;

use hearth_api::ingest::v1::{Reading, Rows, reading};
use hearth_ingest_domain::devices::{Device, State, Traits};
use hearth_kernel::{Capability, Day, DeviceId, HomeId, Part};
use hearth_readings::{Marks, Value};
use proptest::prelude::*;

use super::*;
use crate::registry::{Interests, Periods};

const METER: DeviceId = DeviceId::from_bytes([1; 16]);
const HALL: DeviceId = DeviceId::from_bytes([2; 16]);
const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

fn registry() -> Registry {
    let device = |capabilities: &[Capability]| Device {
        traits: Traits {
            area: None,
            kind: 1,
            capabilities: capabilities.iter().copied().collect(),
            hub: None,
        },
        name: Part::clear("x"),
        registered_at: Timestamp::EPOCH,
        ordinal: 0,
    };
    let state = State {
        home: HomeId::from_bytes([9; 16]),
        devices: [
            (
                METER,
                device(&[
                    Capability::PLUG_POWER,
                    Capability::PLUG_ON,
                    Capability::WATER_FLOW,
                ]),
            ),
            (
                HALL,
                device(&[
                    Capability::MOTION,
                    Capability::HEATING_MODE,
                    Capability::LIGHT_COLOUR,
                ]),
            ),
        ]
        .into(),
        registered: 2,
        ended: false,
    };
    Registry::new(
        &state,
        Periods::default(),
        Interests::new([(None, Capability::PLUG_POWER)]),
    )
}

/// Rows as (device, capability, seconds before now, value).
fn columns(rows: &[(DeviceId, Capability, i64, reading::Value)]) -> Columns {
    let readings = rows.iter().map(|(device, capability, ago, value)| Reading {
        device_id: Bytes::copy_from_slice(device.as_bytes()),
        capability: i32::from(capability.number()),
        observed_at: Some(prost_types::Timestamp {
            seconds: NOW.seconds() - ago,
            nanos: 0,
        }),
        value: Some(value.clone()),
    });
    rows::columns(&Rows {
        readings: readings.collect(),
    })
    .expect("columns")
    .0
}

fn take(columns: Columns) -> Outcome {
    let batch = Batch {
        body: Some(Body::Columns(columns)),
        ..Batch::default()
    };
    Desk::default().take(&batch, &registry(), NOW)
}

fn reasons(outcome: &Outcome) -> Vec<(u32, &'static str)> {
    outcome
        .refused
        .iter()
        .map(|it| (it.index, it.reason.name()))
        .collect()
}

use reading::Value::{Flag, Integer, Number, Text};

#[test]
fn readings_are_cut_by_day_and_class_and_keep_their_values() {
    let outcome = take(columns(&[
        (METER, Capability::PLUG_POWER, 0, Number(12.5)),
        (METER, Capability::WATER_FLOW, 0, Number(0.25)),
        (HALL, Capability::HEATING_MODE, 86_400, Text("eco".into())),
        (HALL, Capability::LIGHT_COLOUR, 86_400, Integer(0xff)),
        (METER, Capability::PLUG_POWER, 60, Number(13.0)),
    ]));
    assert!(outcome.refused.is_empty());
    let found: Vec<_> = outcome
        .made
        .iter()
        .map(|it| (it.day, it.class, it.segment.len()))
        .collect();
    let today = NOW.day();
    assert_eq!(
        found,
        [
            (today, RetentionClass::Days30, 2),
            (today, RetentionClass::Days90, 1),
            (today.plus(-1), RetentionClass::Days30, 2),
        ]
    );
    let rows: Vec<_> = outcome.made[2]
        .segment
        .rows()
        .map(|row| (row.device[0], row.value))
        .collect();
    assert_eq!(rows, [(2, Value::Text("eco")), (2, Value::Int(0xff))]);
    let signals: Vec<_> = outcome.signals.iter().map(|it| it.capability).collect();
    assert_eq!(
        signals,
        [104, 602, 602],
        "a state, and numbers that a rule names, oldest first"
    );
}

#[test]
fn what_is_wrong_is_refused_alone() {
    let outcome = take(columns(&[
        (METER, Capability::PLUG_POWER, 0, Number(2e6)),
        (METER, Capability::PLUG_POWER, 0, Number(f64::NAN)),
        (METER, Capability::MOTION, 0, Flag(true)),
        (
            DeviceId::from_bytes([7; 16]),
            Capability::MOTION,
            0,
            Flag(true),
        ),
        (HALL, Capability::HEATING_MODE, 0, Text("hot".into())),
        (METER, Capability::PLUG_POWER, 31 * 86_400, Number(1.0)),
        (METER, Capability::WATER_FLOW, 31 * 86_400, Number(1.0)),
        (METER, Capability::PLUG_POWER, -400 * 86_400, Number(1.0)),
        (METER, Capability::PLUG_POWER, -301, Number(1.0)),
    ]));
    assert_eq!(
        reasons(&outcome),
        [
            (0, "VALUE_OUT_OF_RANGE"),
            (1, "VALUE_OUT_OF_RANGE"),
            (2, "UNKNOWN_CAPABILITY"),
            (3, "UNKNOWN_DEVICE"),
            (4, "VALUE_OUT_OF_RANGE"),
            (5, "EXPIRED"),
            (7, "TIME_TOO_FAR_AHEAD"),
        ]
    );
    assert!(outcome.unknown);
    let kept: Vec<_> = outcome
        .made
        .iter()
        .flat_map(|it| it.segment.rows())
        .collect();
    assert_eq!(kept.len(), 2);
    assert!(kept[1].marks.contains(Marks::FUTURE) && !kept[0].marks.contains(Marks::FUTURE));
    assert!(
        outcome.signals.is_empty(),
        "what is in the future is no signal"
    );
}

#[test]
fn columns_that_do_not_fit_stop_the_batch() {
    let good = columns(&[
        (METER, Capability::PLUG_POWER, 0, Number(1.0)),
        (HALL, Capability::HEATING_MODE, 0, Text("eco".into())),
    ]);
    let broken: Vec<fn(&mut Columns)> = vec![
        |it| it.time_delta.push(0),
        |it| it.numbers.push(0.0),
        |it| it.numbers.clear(),
        |it| it.flags.push(true),
        |it| it.text = vec![1],
        |it| it.measure[0] = 2,
        |it| it.measure_device[0] = 2,
        |it| it.measure_device.push(0),
        |it| it.devices = it.devices.slice(1..),
        |it| it.time_delta = vec![i64::MAX, 1],
    ];
    for (which, spoil) in broken.into_iter().enumerate() {
        let mut columns = good.clone();
        spoil(&mut columns);
        let outcome = take(columns);
        assert_eq!(
            reasons(&outcome),
            [(WHOLE_BATCH, "BATCH_MALFORMED")],
            "{which}"
        );
        assert!(outcome.made.is_empty() && outcome.signals.is_empty());
    }
    let mut unknown = good;
    unknown.measure_capability[0] = 9_999;
    assert_eq!(
        reasons(&take(unknown)),
        [(WHOLE_BATCH, "UNKNOWN_CAPABILITY")]
    );
}

#[test]
fn a_row_of_another_type_is_refused_in_its_place() {
    let row = |capability: Capability, value| Reading {
        device_id: Bytes::copy_from_slice(METER.as_bytes()),
        capability: i32::from(capability.number()),
        observed_at: Some(prost_types::Timestamp {
            seconds: NOW.seconds(),
            nanos: 0,
        }),
        value,
    };
    let readings = vec![
        row(Capability::PLUG_POWER, Some(Flag(true))),
        row(Capability::PLUG_POWER, Some(Number(9e9))),
        row(Capability::PLUG_ON, Some(Flag(true))),
        row(Capability::PLUG_POWER, None),
    ];
    let batch = Batch {
        body: Some(Body::Rows(Rows { readings })),
        ..Batch::default()
    };
    let outcome = Desk::default().take(&batch, &registry(), NOW);
    assert_eq!(
        reasons(&outcome),
        [
            (0, "VALUE_OF_OTHER_TYPE"),
            (1, "VALUE_OUT_OF_RANGE"),
            (3, "VALUE_OF_OTHER_TYPE")
        ]
    );
    assert_eq!(outcome.made[0].segment.len(), 1);
}

#[test]
fn a_batch_without_readings_is_no_error() {
    let batch = Batch::default();
    let outcome = Desk::default().take(&batch, &registry(), NOW);
    assert!(outcome.made.is_empty() && outcome.refused.is_empty());
}

proptest! {
    #[test]
    fn nothing_hostile_panics_or_is_stored_wrong(
        devices in prop::collection::vec(0u8..4, 0..3),
        measures in prop::collection::vec((0u32..4, prop::sample::select(vec![0u32, 101, 104, 401, 501, 601, 602, 204, 70_000])), 0..6),
        rows in prop::collection::vec((0u32..7, any::<i32>()), 0..40),
        numbers in prop::collection::vec(any::<f64>(), 0..40),
        integers in prop::collection::vec(any::<i64>(), 0..10),
        flags in prop::collection::vec(any::<bool>(), 0..10),
        text in prop::collection::vec(0u32..3, 0..10),
        base in prop::sample::select(vec![0, i64::MIN, i64::MAX, NOW.micros()]),
    ) {
        let columns = Columns {
            devices: devices.iter().flat_map(|n| [*n; 16]).collect::<Vec<_>>().into(),
            measure_device: measures.iter().map(|it| it.0).collect(),
            measure_capability: measures.iter().map(|it| it.1).collect(),
            measure: rows.iter().map(|it| it.0).collect(),
            base_time: base,
            time_delta: rows.iter().map(|it| i64::from(it.1) * 1_000).collect(),
            numbers, integers, flags, text,
            texts: vec!["eco".into(), "x".repeat(80)],
        };
        let count = columns.measure.len();
        let outcome = take(columns);
        let stored: usize = outcome.made.iter().map(|it| it.segment.len()).sum();
        let whole = outcome.refused.iter().any(|it| it.index == WHOLE_BATCH);
        prop_assert!(whole || stored + outcome.refused.len() == count);
        prop_assert!(!whole || stored == 0);
        let keys: BTreeSet<(Day, u8)> = outcome.made.iter().map(|it| (it.day, it.class.number())).collect();
        prop_assert_eq!(keys.len(), outcome.made.len());
        for made in &outcome.made {
            prop_assert!(!made.segment.is_empty());
            for row in made.segment.rows() {
                prop_assert_eq!(Timestamp::from_micros(row.observed_at).day(), made.day);
            }
        }
    }
}

#[test]
fn a_year_of_two_periods_in_one_batch_is_taken() {
    let at = |day: i64, capability: Capability| Reading {
        device_id: Bytes::copy_from_slice(METER.as_bytes()),
        capability: i32::from(capability.number()),
        observed_at: Some(prost_types::Timestamp {
            seconds: NOW.seconds() - day * 86_400,
            nanos: 0,
        }),
        value: Some(Number(1.0)),
    };
    let periods = Periods::default()
        .with(Family::Readings, RetentionClass::Days400)
        .with(Family::Water, RetentionClass::Days90);
    let registry = registry().with_periods(periods);
    let days = (-360..=399).map(|day| at(day, Capability::PLUG_POWER));
    let water = (-360..=89).map(|day| at(day, Capability::WATER_FLOW));
    let readings: Vec<_> = days.chain(water).collect();
    let batch = Batch {
        body: Some(Body::Rows(Rows { readings })),
        ..Batch::default()
    };
    let outcome = Desk::default().take(&batch, &registry, NOW);
    assert_eq!(outcome.refused, []);
    assert_eq!(outcome.made.len(), 760 + 450);
}

#[test]
fn rows_with_more_measures_than_a_batch_may_have_are_refused_whole() {
    let readings = (0..1_025u32).map(|n| {
        let mut device = [7; 16];
        device[..4].copy_from_slice(&n.to_be_bytes());
        Reading {
            device_id: Bytes::copy_from_slice(&device),
            capability: i32::from(Capability::HEATING_MODE.number()),
            observed_at: Some(prost_types::Timestamp::default()),
            value: Some(Text(format!("word {n}"))),
        }
    });
    let batch = Batch {
        body: Some(Body::Rows(Rows {
            readings: readings.collect(),
        })),
        ..Batch::default()
    };
    let outcome = Desk::default().take(&batch, &registry(), NOW);
    let expected = Refused {
        index: WHOLE_BATCH,
        reason: Reason::BATCH_MALFORMED,
    };
    assert_eq!(outcome.refused, [expected]);
}
