//! Durable readings a second, end to end: hubs over sockets, validated, sealed, on disk, acked.

use std::time::{Duration, Instant};

use anyhow::Result;
use hearth_api::types::v1::Capability;
use hearth_ports::Clock;
use hearth_testkit::hub::{self, id_bytes, random_id};
use hearth_testkit::{Hub, Sandbox};

use crate::reference::RowStore;
use crate::report::Report;
use crate::usage::cpu_time;

/// Hubs that send at once.
pub(crate) const HUBS: usize = 4;
/// How long each run lasts.
const RUN: Duration = Duration::from_secs(6);
/// Six measures of one room, by turns, as in reference figures of such systems.
pub(crate) const MEASURES: [Capability; 6] = [
    Capability::ClimateTemperature,
    Capability::ClimateHumidity,
    Capability::ClimateLight,
    Capability::ClimateCo2,
    Capability::PlugPower,
    Capability::HeatingTemperature,
];

/// Measures one batch size.
#[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
pub(crate) async fn measure(batch: u32, rows: RowStore, report: &mut Report) -> Result<()> {
    let sandbox = Sandbox::start().await;
    let mut runs = Vec::new();
    for number in 0..HUBS {
        let person = sandbox.person(&format!("person{number}")).await;
        let home = person.home("House").await;
        let now = sandbox.clock.now();
        let device = hub::device(&person, &home, "Sensor", &MEASURES).await;
        let hub = Hub::pair(&person, &home, "hearth", now).await;
        let channel = sandbox.channel().await;
        let start = now.minus(Duration::from_secs(86_400));
        runs.push(run(hub, channel, id_bytes(&device), start.micros(), batch));
    }
    let (begun, cpu) = (Instant::now(), cpu_time());
    let batches: u64 = futures::future::try_join_all(runs).await?.into_iter().sum();
    let (wall, cpu) = (
        begun.elapsed().as_secs_f64(),
        cpu_time().saturating_sub(cpu),
    );
    #[expect(
        clippy::cast_precision_loss,
        reason = "a bench counts far less than 2^52 readings"
    )]
    let readings = (batches * u64::from(batch)) as f64;
    let nanos = cpu.as_secs_f64() * 1e9 / readings;
    report.line(
        &format!("durable readings, {batch} a batch, {HUBS} hubs"),
        format!("{:.0} /s, {nanos:.0} ns CPU each", readings / wall),
        &format!(
            "{:.1} times the rows/s, {:.2} of the CPU of a row",
            readings / wall / rows.rows_per_second,
            nanos / rows.cpu_nanos_per_row
        ),
    );
    Ok(())
}

/// Sends for a while; answers how many batches became durable.
#[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
async fn run(
    mut hub: Hub,
    channel: tonic::transport::Channel,
    device: [u8; 16],
    start: i64,
    batch: u32,
) -> Result<u64> {
    hub.stream_id = random_id();
    let mut stream = hub.open(channel).await?;
    let (begun, mut sent, mut reading) = (Instant::now(), 0_u64, 0_u32);
    while begun.elapsed() < RUN {
        while sent < stream.durable + u64::from(stream.credit) {
            sent += 1;
            let readings: Vec<_> = (0..batch)
                .map(|_| {
                    reading += 1;
                    let at = start + i64::from(reading / 6) * 50_000;
                    let capability = MEASURES[usize::try_from(reading % 6).unwrap_or(0)];
                    (
                        device,
                        capability,
                        at,
                        f64::from(200 + reading / 60 % 50) / 10.0,
                    )
                })
                .collect();
            stream
                .send(hub::numbers(hub.stream_id, sent, &readings))
                .await?;
        }
        let ack = stream.ack().await?;
        anyhow::ensure!(ack.refused.is_empty(), "refused: {:?}", ack.refused.first());
    }
    Ok(stream.durable)
}
