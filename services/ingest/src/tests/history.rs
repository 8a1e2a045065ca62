//! However batches were repeated, shuffled, cut off, late or compacted in between: answers are those of one clean run.

use std::time::Duration;

use hearth_api::ingest::v1::{Batch, Reading, reading};
use hearth_kernel::capability::ValueType;
use hearth_kernel::{Capability, DeviceId};
use hearth_readings::Level;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::kit::{HALL, Hub, METER, NOW, World, power, reading};
use crate::observed::Observed;

const SERIES: [(DeviceId, Capability); 5] = [
    (METER, Capability::PLUG_POWER),
    (METER, Capability::WATER_FLOW),
    (HALL, Capability::MOTION),
    (HALL, Capability::HEATING_MODE),
    (HALL, Capability::LIGHT_COLOUR),
];

/// One thing that a hub or the world does.
#[derive(Clone, Debug)]
enum Deed {
    /// Sends that batch, of those of the window.
    Send(prop::sample::Index),
    /// Opens another stream without waiting for acks.
    Reconnect,
    /// Waits for everything, and compacts.
    Compact,
    /// Lets an hour pass, so that what was replaced goes.
    Hour,
    /// Dies and starts again.
    Crash,
}

/// A reading by (series, seconds ago, value): times lie close together within a few days, so instants repeat.
fn made((which, day, second, value): (usize, i64, i64, i64)) -> Reading {
    let (device, capability) = SERIES[which];
    let value = match capability.spec().unwrap().value {
        ValueType::Number { .. } => reading::Value::Number(value as f64 / 8.0),
        ValueType::Integer { .. } => reading::Value::Integer(value),
        ValueType::Flag => reading::Value::Flag(value % 2 == 0),
        ValueType::Text { words } => {
            let word = words[usize::try_from(value).unwrap() % words.len()];
            reading::Value::Text(word.to_owned())
        }
    };
    reading(device, capability, day * 86_400 + second, value)
}

fn batches() -> impl Strategy<Value = Vec<Vec<Reading>>> {
    let day = prop::sample::select(vec![0i64, 0, 1, 2, 29, 30, 75]);
    let reading = (0..SERIES.len(), day, 0i64..600, 0i64..50).prop_map(made);
    // Some batches are of one busy series, so that a day becomes dense.
    let busy = (0i64..3).prop_map(|part| -> Vec<Reading> {
        (0..120)
            .map(|n| power(86_400 + part * 3_000 + n * 20, n as f64))
            .collect()
    });
    let batch = prop_oneof![
        3 => prop::collection::vec(reading, 0..25),
        1 => busy,
    ];
    prop::collection::vec(batch, 1..14)
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let deed = prop_oneof![
        12 => any::<prop::sample::Index>().prop_map(Deed::Send),
        2 => Just(Deed::Reconnect),
        2 => Just(Deed::Compact),
        1 => Just(Deed::Hour),
        1 => Just(Deed::Crash),
    ];
    prop::collection::vec(deed, 0..60)
}

fn numbered(hub: &Hub, batches: &[Vec<Reading>]) -> Vec<Batch> {
    (1u64..)
        .zip(batches)
        .map(|(n, readings)| hub.batch(n, readings.clone()))
        .collect()
}

async fn storm(mut world: World, hub: &Hub, batches: &[Batch], deeds: &[Deed]) -> World {
    let mut line = world.connect(hub).await.unwrap();
    for deed in deeds {
        match deed {
            Deed::Send(index) => line.send(index.get(batches).clone()).await,
            Deed::Reconnect => line = world.connect(hub).await.unwrap(),
            Deed::Compact => world.compact().await,
            Deed::Hour => world.clock.advance(Duration::from_secs(3_601)),
            Deed::Crash => {
                world = world.crash().await;
                line = world.connect(hub).await.unwrap();
            }
        }
    }
    drop(line);
    // In the end the hub sends whatever it holds, three times.
    for _ in 0..3 {
        world.send(hub, batches).await;
    }
    world
}

#[test]
fn any_storm_comes_to_the_answers_of_one_clean_run() {
    let mut runner = TestRunner::new(Config {
        cases: 24,
        ..Config::default()
    });
    let outcome = runner.run(&(batches(), deeds()), |(readings, deeds)| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let world = World::new().await;
            let hub = world.hub(1).await;
            let clean = numbered(&hub, &readings);
            world.send(&hub, &clean).await;
            let expected = world.answers().await;

            let world = World::new().await;
            let hub = world.hub(1).await;
            let same = numbered(&hub, &readings);
            let world = storm(world, &hub, &same, &deeds).await;
            prop_assert_eq!(&world.answers().await, &expected);
            world.compact().await;
            prop_assert_eq!(&world.answers().await, &expected);
            world.clock.advance(Duration::from_secs(3_601));
            world.compact().await;
            prop_assert_eq!(&world.answers().await, &expected);
            Ok(())
        })
    });
    outcome.unwrap();
}

#[tokio::test]
async fn a_busy_day_has_its_own_chunk_and_rollups_that_say_the_same() {
    let world = World::new().await;
    let hub = world.hub(1).await;
    let readings: Vec<Reading> = (0..2_000)
        .map(|n| power(86_400 + n * 5, (n % 37) as f64 / 4.0))
        .collect();
    let batches: Vec<_> = (1u64..)
        .zip(readings.chunks(128))
        .map(|(n, it)| hub.batch(n, it.to_vec()))
        .collect();
    world.send(&hub, &batches).await;
    let before = world.answers().await;
    world.compact().await;
    assert_eq!(world.answers().await, before);
    let days = world
        .windows(METER, Capability::PLUG_POWER, Level::Day)
        .await;
    assert_eq!(days.iter().map(|it| it.count).sum::<u64>(), 2_000);
    // An hour later the segments are gone, and the answers are not.
    world.clock.advance(Duration::from_secs(3_601));
    world.compact().await;
    use hearth_ports::Series;
    assert!(
        world
            .memory
            .series
            .segment_days(super::kit::HOME, 10)
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(world.answers().await, before);
}

#[tokio::test]
async fn late_readings_make_another_generation_of_their_day() {
    let world = World::new().await;
    let hub = world.hub(1).await;
    let hourly = |from: i64| -> Vec<Reading> {
        (0..24)
            .map(|n| power(30 * 86_400 + n * 3_600 + from, n as f64))
            .collect()
    };
    world.send(&hub, &[hub.batch(1, hourly(0))]).await;
    world.compact().await;
    world.clock.advance(Duration::from_secs(3_601));
    world.compact().await;
    world.send(&hub, &[hub.batch(2, hourly(60))]).await;
    assert_eq!(world.raw(METER, Capability::PLUG_POWER).await.len(), 48);
    world.compact().await;
    let readings = world.raw(METER, Capability::PLUG_POWER).await;
    assert_eq!(readings.len(), 48);
    assert!(readings.is_sorted_by(|a, b| a.0 < b.0));
}

#[tokio::test]
async fn readings_older_than_their_period_are_not_answered() {
    let world = World::new().await;
    let hub = world.hub(1).await;
    let flow = |ago, value| {
        reading(
            METER,
            Capability::WATER_FLOW,
            ago,
            reading::Value::Number(value),
        )
    };
    let day = 86_400;
    world
        .send(
            &hub,
            &[hub.batch(1, vec![flow(89 * day, 1.0), flow(10 * day, 2.0)])],
        )
        .await;
    let values = |found: Vec<(i64, Observed)>| -> Vec<Observed> {
        found.into_iter().map(|it| it.1).collect()
    };
    let both = [Observed::Number(1.0), Observed::Number(2.0)];
    assert_eq!(values(world.raw(METER, Capability::WATER_FLOW).await), both);
    world.compact().await;
    assert_eq!(values(world.raw(METER, Capability::WATER_FLOW).await), both);
    world.clock.advance(Duration::from_secs(2 * 86_400));
    assert_eq!(
        values(world.raw(METER, Capability::WATER_FLOW).await),
        both[1..]
    );
    // The reading is gone; what the day came to is kept with the rollups.
    let days = world
        .windows(METER, Capability::WATER_FLOW, Level::Day)
        .await;
    assert_eq!(days.iter().map(|it| it.count).collect::<Vec<_>>(), [1, 1]);
    let hours = world
        .windows(METER, Capability::WATER_FLOW, Level::Hour)
        .await;
    assert_eq!(hours.len(), 2);
    assert!(NOW < hearth_ports::Clock::now(&world.clock));
}

/// The windows of one series over two years.
async fn of_two_years(world: &World, level: Level) -> Vec<(i64, u64)> {
    let windows = world.windows(METER, Capability::PLUG_POWER, level).await;
    windows.iter().map(|it| (it.start, it.count)).collect()
}

#[tokio::test]
async fn hours_and_days_of_sparse_readings_outlive_them_though_the_hub_is_gone() {
    use hearth_ports::{Clock, Series};
    let day = 86_400;
    let world = World::new().await;
    let hub = world.hub(1).await;
    // Five readings a day for 30 days: three spans, none of which begins or ends with them.
    let readings: Vec<Reading> = (0..30 * 5)
        .map(|n| power(day + n * day / 5, (n % 7) as f64))
        .collect();
    world.send(&hub, &[hub.batch(1, readings)]).await;
    world.compact().await;
    world.clock.advance(Duration::from_secs(3_601));
    world.compact().await;
    let hours = of_two_years(&world, Level::Hour).await;
    let days = of_two_years(&world, Level::Day).await;
    assert_eq!(days.iter().map(|it| it.1).sum::<u64>(), 150);
    // The hub is silent from now on: no sweep of segments comes by. Days go by until all has expired.
    let series = &world.memory.series;
    for passed in 0..44 {
        world.clock.advance(Duration::from_secs(10 * 86_400));
        world.running.sweeper.sweep(false).await.unwrap();
        world.running.sweeper.roll_up().await.unwrap();
        series.expire(world.clock.now()).await.unwrap();
        assert_eq!(of_two_years(&world, Level::Hour).await, hours, "{passed}");
        assert_eq!(of_two_years(&world, Level::Day).await, days, "{passed}");
    }
    assert_eq!(world.raw(METER, Capability::PLUG_POWER).await, []);
    assert_eq!(of_two_years(&world, Level::Minute).await, []);
}

#[tokio::test]
async fn late_readings_of_days_that_end_soon_are_in_their_rollups() {
    use hearth_ports::{Clock, Series};
    let day = 86_400;
    let world = World::new().await;
    let hub = world.hub(1).await;
    world
        .send(
            &hub,
            &[hub.batch(1, vec![power(day, 1.0), power(2 * day, 2.0)])],
        )
        .await;
    world.compact().await;
    world.clock.advance(Duration::from_secs(380 * 86_400));
    world.running.sweeper.roll_up().await.unwrap();
    // The hub comes back with what it held: readings of the same days, by the clock of now.
    let hub = world.hub(1).await;
    let held = [day + 7_200, 2 * day + 7_200].map(|ago| power(ago, 3.0));
    world.send(&hub, &[hub.batch(1, held.to_vec())]).await;
    world.compact().await;
    let days = of_two_years(&world, Level::Day).await;
    assert_eq!(days.iter().map(|it| it.1).sum::<u64>(), 4);
    let hours = of_two_years(&world, Level::Hour).await;
    world.clock.advance(Duration::from_secs(50 * 86_400));
    world.memory.series.expire(world.clock.now()).await.unwrap();
    assert_eq!(of_two_years(&world, Level::Day).await, days);
    assert_eq!(of_two_years(&world, Level::Hour).await, hours);
}

#[tokio::test]
async fn a_sparse_year_costs_few_bytes() {
    use hearth_ports::Series;
    let world = World::new().await;
    let hub = world.hub(1).await;
    // One plausible reading an hour for 84 days, with two decimals.
    let hours: Vec<Reading> = (0..84 * 24)
        .rev()
        .map(|n| {
            power(
                n * 3_600,
                f64::from(i32::try_from((n * 7_919) % 900).unwrap()) / 4.0,
            )
        })
        .collect();
    let batches: Vec<_> = (1u64..)
        .zip(hours.chunks(200))
        .map(|(n, it)| hub.batch(n, it.to_vec()))
        .collect();
    world.send(&hub, &batches).await;
    world.compact().await;
    world.clock.advance(Duration::from_secs(3_601));
    world.compact().await;
    let series = &world.memory.series;
    let mut bytes = 0;
    let now = hearth_ports::Clock::now(&world.clock);
    let days = (NOW.day().plus(-120), NOW.day().plus(1));
    let chunks = series
        .chunks(
            super::kit::HOME,
            METER,
            Capability::MANY,
            hearth_kernel::RetentionClass::Days400,
            0,
            days,
            now,
        )
        .await
        .unwrap();
    bytes += chunks.iter().map(|it| it.sealed.len() + 60).sum::<usize>();
    let manifest = series.manifest(super::kit::HOME, days).await.unwrap();
    bytes += manifest.iter().map(|it| it.body.len() + 40).sum::<usize>();
    let each = bytes as f64 / (84.0 * 24.0);
    assert!(each < 2.5, "{each} bytes a reading");
}
