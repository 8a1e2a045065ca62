//! A minute of ingest at full speed: whether the writer that carries segments on into the series keeps up with the acks.
//!
//! Short runs do not show it: what is acked stands in the telemetry stream, and the writer may be behind for as long as
//! the run lasts. What a hub meets when the writer is behind is less credit or a refusal; both are counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hearth::Ports;
use hearth_kernel::{Day, HomeId};
use hearth_ports::{Clock, Documents, Position, SegmentKey, Series, Stream, Table};
use hearth_testkit::hub::{self, id_bytes, random_id};
use hearth_testkit::{Hub, Sandbox};

use crate::ingest::{HUBS, MEASURES};
use crate::report::Report;
use crate::usage::cpu_time;

/// How long hubs send.
const RUN: Duration = Duration::from_secs(60);
/// How long the writer may take for the rest.
const REST: Duration = Duration::from_secs(600);
/// How often it is asked how far the writer has come.
const LOOK: Duration = Duration::from_millis(100);
/// Segments of one page.
const PAGE: usize = 4_096;

/// What hubs share.
struct Shared {
    durable: AtomicU64,
    refused: AtomicU64,
    /// Least credit that was ever granted.
    least_credit: AtomicU32,
    over: AtomicBool,
}

/// How far everything had come at one time.
struct Standing {
    /// Batches acked.
    acked: u64,
    /// Messages of the telemetry stream, and how many of them the writer has marked.
    messages: u64,
    marked: u64,
}

/// Measures one size of batches.
#[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
pub(crate) async fn measure(batch: u32, report: &mut Report) -> Result<()> {
    let sandbox = Sandbox::start().await;
    let shared = Arc::new(Shared {
        durable: AtomicU64::new(0),
        refused: AtomicU64::new(0),
        least_credit: AtomicU32::new(u32::MAX),
        over: AtomicBool::new(false),
    });
    let now = sandbox.clock.now();
    let day = now.day().plus(-1);
    let (mut runs, mut homes) = (Vec::new(), Vec::<HomeId>::new());
    for number in 0..HUBS {
        let person = sandbox.person(&format!("person{number}")).await;
        let home = person.home("House").await;
        homes.push(home.parse().context("the id of a home")?);
        let device = hub::device(&person, &home, "Sensor", &MEASURES).await;
        let hub = Hub::pair(&person, &home, "hearth", now).await;
        let start = day.start().micros();
        let channel = sandbox.channel().await;
        let shared = Arc::clone(&shared);
        let device = id_bytes(&device);
        runs.push(tokio::spawn(send(
            hub,
            channel,
            (device, batch),
            start,
            shared,
        )));
    }
    let ports = sandbox.installation().ports();
    let (begun, cpu) = (Instant::now(), cpu_time());
    tokio::time::sleep(RUN).await;
    let seconds = begun.elapsed().as_secs_f64();
    let standing = standing(ports, &shared).await?;
    shared.over.store(true, Ordering::Relaxed);
    let sent: u64 = futures::future::try_join_all(runs)
        .await?
        .into_iter()
        .sum::<Result<u64>>()?;
    let sent_for = begun.elapsed();
    let head = position(ports).await?.0;
    let drained = until_marked(&*ports.documents, head).await?;
    let cpu = cpu_time() - cpu;
    let found = segments(&*ports.series, &homes, day).await?;
    anyhow::ensure!(
        found == sent,
        "{found} of {sent} segments are in the series"
    );
    let times = (seconds, sent_for, drained, cpu);
    tell(report, (&shared, batch), &standing, times, sent);
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "figures far below 2^52")]
fn tell(
    report: &mut Report,
    (shared, batch): (&Shared, u32),
    standing: &Standing,
    (seconds, sent_for, drained, cpu): (f64, Duration, Duration, Duration),
    sent: u64,
) {
    let readings = |batches: u64| (batches * u64::from(batch)) as f64;
    // Messages are about equally long.
    let share = standing.marked as f64 / standing.messages.max(1) as f64;
    let written = readings(standing.acked) * share;
    report.line(
        &format!("sustained for {seconds:.0} s, {batch} a batch, {HUBS} hubs: durable"),
        format!("{:.0} /s", readings(standing.acked) / seconds),
        &format!(
            "{} readings refused, least credit {}",
            shared.refused.load(Ordering::Relaxed),
            shared.least_credit.load(Ordering::Relaxed)
        ),
    );
    report.line(
        "the same: in the series",
        format!("{:.0} /s", written / seconds),
        &format!(
            "{:.0} readings behind at the end, or {:.1} s of acks",
            readings(standing.acked) - written,
            (1.0 - share) * seconds
        ),
    );
    report.line(
        "the same: until the series had all",
        format!("{:.1} s", drained.as_secs_f64()),
        &format!(
            "{:.0} readings/s from the start to then, {:.2} us CPU each",
            readings(sent) / (sent_for + drained).as_secs_f64(),
            cpu.as_secs_f64() * 1e6 / readings(sent)
        ),
    );
}

async fn standing(ports: &Ports, shared: &Shared) -> Result<Standing> {
    let acked = shared.durable.load(Ordering::Relaxed);
    let (head, marked) = position(ports).await?;
    Ok(Standing {
        acked,
        messages: head.sequence,
        marked: marked.sequence,
    })
}

/// The head of the telemetry stream and the mark of the writer.
async fn position(ports: &Ports) -> Result<(Position, Position)> {
    let marked = mark(&*ports.documents).await?;
    let head = ports.log.head(Stream::TELEMETRY).await?;
    Ok((head.unwrap_or(Position::START), marked))
}

async fn mark(documents: &dyn Documents) -> Result<Position> {
    let (partition, key) = (b"ingest.writer", Stream::TELEMETRY.name());
    let row = documents
        .get(Table("engine_checkpoints"), partition, key.as_bytes())
        .await?;
    Ok(row
        .and_then(|row| Position::from_bytes(&row.value))
        .unwrap_or(Position::START))
}

/// Waits until the writer has marked a position; answers for how long.
#[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
async fn until_marked(documents: &dyn Documents, head: Position) -> Result<Duration> {
    let begun = Instant::now();
    while mark(documents).await? < head {
        anyhow::ensure!(begun.elapsed() < REST, "the writer does not catch up");
        tokio::time::sleep(LOOK).await;
    }
    Ok(begun.elapsed())
}

/// How many segments of a day homes have.
async fn segments(series: &dyn Series, homes: &[HomeId], day: Day) -> Result<u64> {
    let mut found = 0;
    for home in homes {
        let mut after: Option<SegmentKey> = None;
        loop {
            let page = series.segments(*home, day, after, PAGE).await?;
            found += u64::try_from(page.len())?;
            match page.last() {
                Some(last) if page.len() == PAGE => after = Some(last.key),
                _ => break,
            }
        }
    }
    Ok(found)
}

/// Sends until it is over; answers how many batches became durable.
async fn send(
    mut hub: Hub,
    channel: tonic::transport::Channel,
    (device, batch): ([u8; 16], u32),
    start: i64,
    shared: Arc<Shared>,
) -> Result<u64> {
    hub.stream_id = random_id();
    let mut stream = hub.open(channel).await?;
    let (mut sent, mut reading) = (0_u64, 0_i64);
    while !shared.over.load(Ordering::Relaxed) {
        while sent < stream.durable + u64::from(stream.credit) {
            sent += 1;
            let readings: Vec<_> = (0..batch)
                .map(|_| {
                    reading += 1;
                    let capability = MEASURES[usize::try_from(reading % 6).unwrap_or(0)];
                    let value = f64::from(u8::try_from(reading / 60 % 50).unwrap_or(0));
                    // A millisecond apart: minutes of it stay inside one day.
                    let at = start + reading / 6 * 1_000;
                    (device, capability, at, 20.0 + value / 10.0)
                })
                .collect();
            stream
                .send(hub::numbers(hub.stream_id, sent, &readings))
                .await?;
        }
        let before = stream.durable;
        let ack = stream.ack().await?;
        let refused = u64::try_from(ack.refused.len())?;
        shared.refused.fetch_add(refused, Ordering::Relaxed);
        let gained = stream.durable - before;
        shared.durable.fetch_add(gained, Ordering::Relaxed);
        let credit = stream.credit;
        shared.least_credit.fetch_min(credit, Ordering::Relaxed);
    }
    stream.durable_through(sent).await?;
    Ok(stream.durable)
}
