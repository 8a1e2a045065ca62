//! Bytes on disk for each reading after compaction, and how long queries over it take.
//!
//! Two homes: real meters by the hour (`tests/data`, the last 365 days of three series), and a room by the minute for
//! 30 days (six measures that walk at random, with 20 ms of jitter).

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hearth_api::ingest::v1 as ingest;
use hearth_api::ingest::v1::readings_service_client::ReadingsServiceClient;
use hearth_api::types::v1::{Capability, DataFamily, Interval, RetentionChoice, RetentionClass};
use hearth_kernel::{HomeId, Timestamp};
use hearth_ports::Clock;
use hearth_testkit::hub::{self, id_bytes, wire_time};
use hearth_testkit::person::request_id;
use hearth_testkit::{Hub, Person, Sandbox};
use rusqlite::{Connection, OpenFlags};

use crate::report::{Report, millis, percentile};

const HOUR: i64 = 3_600_000_000;
const MINUTE: i64 = 60_000_000;
/// Readings of one batch.
const BATCH: usize = 512;
/// How often each query is asked.
const QUERIES: usize = 30;
/// The real series, and what they are sent as.
const METERS: [(&str, Capability); 3] = [
    ("uk-electricity-kwh-hourly.csv", Capability::PlugEnergy),
    ("uk-gas-kwh-hourly.csv", Capability::HeatingEnergy),
    (
        "uk-outdoor-temperature-celsius-hourly.csv",
        Capability::ClimateOutdoorTemperature,
    ),
];
/// The measures of the room, by the minute.
const ROOM: [(Capability, f64, f64); 6] = [
    (Capability::ClimateTemperature, 21.0, 0.1),
    (Capability::ClimateHumidity, 45.0, 0.1),
    (Capability::PlugPower, 120.0, 0.1),
    (Capability::ClimateLight, 300.0, 1.0),
    (Capability::ClimateCo2, 600.0, 1.0),
    (Capability::HeatingTemperature, 22.0, 0.1),
];

type Reading = (Capability, i64, f64);

/// Measures both homes.
pub(crate) async fn measure(report: &mut Report) -> Result<()> {
    let now = Sandbox::start().await.clock.now().day().start();
    let year = meters(now)?;
    let mut meters = stored("meters by the hour, 365 days, 1 home", 1, &year, report).await?;
    meters.person.sign_in_again().await;
    queries(&meters, now, report).await?;
    stored("meters by the hour, 365 days, 20 homes", 20, &year, report).await?;
    stored(
        "a room by the minute, 30 days, 1 home",
        1,
        &room(now),
        report,
    )
    .await?;
    Ok(())
}

struct Stored {
    /// Kept: dropping it ends the installation.
    _sandbox: Sandbox,
    person: Person,
    home: String,
    device: String,
}

/// Sends the readings as the hub of each home, lets them be compacted, and weighs the file.
async fn stored(
    what: &str,
    homes: u32,
    readings: &[Reading],
    report: &mut Report,
) -> Result<Stored> {
    let sandbox = Sandbox::start().await;
    let mut people = Vec::new();
    for number in 0..homes {
        let person = sandbox.person(&format!("person{number}")).await;
        people.push(sent(&sandbox, person, readings).await?);
    }
    let count = u32::try_from(readings.len())? * homes;
    let series = &sandbox.installation().ports().series;
    let ids: Vec<HomeId> = people
        .iter()
        .filter_map(|(_, home, _)| home.parse().ok())
        .collect();
    sandbox
        .until("compaction", async || {
            sandbox.clock.advance(Duration::from_secs(3 * 3600));
            tokio::time::sleep(Duration::from_millis(300)).await;
            for home in &ids {
                if !series.segment_days(*home, 1).await.ok()?.is_empty() {
                    return None;
                }
            }
            Some(())
        })
        .await;
    sandbox
        .installation()
        .ports()
        .files
        .scrub(sandbox.clock.now())
        .await?;
    let after = live_bytes(&sandbox.data())?;
    report.line(
        &format!("bytes on disk for each of {count} readings, {what}"),
        format!("{:.2} B compacted", after / f64::from(count)),
        "Gorilla 1.37, Prometheus 1 to 2, rows 25 to 31",
    );
    report.line(
        "of that, by table",
        crate::breakdown::of(&sandbox.data(), f64::from(count))?,
        "payload is what is sealed and its key",
    );
    let (person, home, device) = people.swap_remove(0);
    Ok(Stored {
        _sandbox: sandbox,
        person,
        home,
        device,
    })
}

/// One person's home with one meter, and its readings, durable.
async fn sent(
    sandbox: &Sandbox,
    person: Person,
    readings: &[Reading],
) -> Result<(Person, String, String)> {
    let home = person.home("House").await;
    keep_long(&person, &home).await?;
    let mut capabilities: Vec<Capability> = readings.iter().map(|reading| reading.0).collect();
    capabilities.sort();
    capabilities.dedup();
    let device = hub::device(&person, &home, "Meter", &capabilities).await;
    let hub = Hub::pair(&person, &home, "hearth", sandbox.clock.now()).await;
    let mut stream = hub.open(sandbox.channel().await).await?;
    let mut sent = 0;
    for batch in readings.chunks(BATCH) {
        sent += 1;
        let id = id_bytes(&device);
        let batch: Vec<_> = batch
            .iter()
            .map(|(c, at, value)| (id, *c, *at, *value))
            .collect();
        stream
            .send(hub::numbers(hub.stream_id, sent, &batch))
            .await?;
        if sent >= stream.durable + u64::from(stream.credit) {
            let ack = stream.ack().await?;
            anyhow::ensure!(ack.refused.is_empty(), "refused: {:?}", ack.refused.first());
        }
    }
    stream.durable_through(sent).await?;
    Ok((person, home, device))
}

async fn keep_long(person: &Person, home: &str) -> Result<()> {
    use hearth_api::accounts::v1::UpdateHomeRequest;
    use hearth_api::accounts::v1::homes_service_client::HomesServiceClient;
    let update = UpdateHomeRequest {
        request_id: request_id(),
        home_id: home.to_owned(),
        retention: vec![RetentionChoice {
            family: DataFamily::Readings.into(),
            class: RetentionClass::Days400.into(),
        }],
        ..UpdateHomeRequest::default()
    };
    HomesServiceClient::new(person.channel.clone())
        .update_home(person.with(update))
        .await?;
    Ok(())
}

/// Bytes of the pages of `series.db` that hold something: free pages are used again.
fn live_bytes(data: &Path) -> Result<f64> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let connection = Connection::open_with_flags(data.join("series.db"), flags)?;
    let ask =
        |pragma: &str| connection.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get(0));
    let (pages, free, size): (u32, u32, u32) = (
        ask("page_count")?,
        ask("freelist_count")?,
        ask("page_size")?,
    );
    Ok(f64::from(pages - free) * f64::from(size))
}

fn meters(now: Timestamp) -> Result<Vec<Reading>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data");
    let mut readings = Vec::new();
    for (file, capability) in METERS {
        let text = std::fs::read_to_string(folder.join(file))?;
        let values = text
            .lines()
            .skip(1)
            .filter_map(|line| line.rsplit(',').next());
        let values: Vec<f64> = values.filter_map(|value| value.parse().ok()).collect();
        let year = values
            .len()
            .checked_sub(365 * 24)
            .context("less than a year of data")?;
        let start = now.micros() - 365 * 24 * HOUR;
        for (hour, value) in (0_i64..).zip(&values[year..]) {
            readings.push((capability, start + hour * HOUR, *value));
        }
    }
    readings.sort_by_key(|reading| reading.1);
    Ok(readings)
}

fn room(now: Timestamp) -> Vec<Reading> {
    let mut readings = Vec::new();
    let start = now.micros() - 30 * 24 * HOUR;
    let mut state = 7_u64;
    let mut random = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    let mut values = ROOM.map(|(_, value, _)| value);
    for minute in 0..30 * 24 * 60 {
        let jitter = i64::try_from(random() % 40_000).unwrap_or(0);
        for (index, (capability, _, step)) in ROOM.iter().enumerate() {
            let walk = i32::try_from(random() % 3).unwrap_or(1) - 1;
            values[index] = ((values[index] + f64::from(walk) * step) * 10.0).round() / 10.0;
            readings.push((
                *capability,
                start + minute * MINUTE + jitter,
                values[index].max(1.0),
            ));
        }
    }
    readings
}

async fn queries(stored: &Stored, now: Timestamp, report: &mut Report) -> Result<()> {
    let days = |days: u64| now.minus(Duration::from_secs(days * 86_400));
    for (what, from, resolution) in [
        ("a day, raw", days(2), ingest::Resolution::Raw),
        ("30 days by the hour", days(31), ingest::Resolution::Hour),
        ("a year by the day", days(365), ingest::Resolution::Day),
    ] {
        let to = if what == "a day, raw" { days(1) } else { now };
        let mut times = Vec::new();
        let mut windows = 0;
        for _ in 0..QUERIES {
            #[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
            let begun = Instant::now();
            windows = query(stored, (from, to), resolution).await?;
            times.push(begun.elapsed());
        }
        let (p50, p99) = (percentile(&mut times, 50), percentile(&mut times, 99));
        report.line(
            &format!("query of one series: {what}, p50 and p99"),
            format!("{}, {}", millis(p50), millis(p99)),
            &format!("{windows} values answered"),
        );
    }
    Ok(())
}

async fn query(
    stored: &Stored,
    (from, to): (Timestamp, Timestamp),
    resolution: ingest::Resolution,
) -> Result<usize> {
    let Stored {
        person,
        home,
        device,
        ..
    } = stored;
    let request = ingest::QueryReadingsRequest {
        home_id: home.clone(),
        device_id: device.clone(),
        capability: Capability::PlugEnergy.into(),
        interval: Some(Interval {
            start: Some(wire_time(from)),
            end: Some(wire_time(to)),
        }),
        resolution: resolution.into(),
        ..ingest::QueryReadingsRequest::default()
    };
    let mut client = ReadingsServiceClient::new(person.channel.clone());
    let mut stream = client
        .query_readings(person.with(request))
        .await?
        .into_inner();
    let mut count = 0;
    while let Some(answer) = stream.message().await? {
        count += match answer.chunk {
            Some(ingest::query_readings_response::Chunk::Raw(raw)) => raw.time_delta.len(),
            Some(ingest::query_readings_response::Chunk::Windows(windows)) => windows.count.len(),
            None => 0,
        };
    }
    Ok(count)
}
