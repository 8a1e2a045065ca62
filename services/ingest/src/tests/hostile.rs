//! Streams of hubs that are hostile, hasty or unlucky: nothing is acked that is not stored, refused or told.

use std::time::Duration;

use hearth_api::ingest::v1::{ingest_response, reading};
use hearth_kernel::{Capability, DeviceId, Reason};

use super::kit::{HALL, Line, World, power, reading};

/// What a hub hears until nothing is said for that long, on tokio's own clock.
async fn heard(line: &mut Line, quiet: Duration) -> Vec<ingest_response::Frame> {
    let mut heard = Vec::new();
    while let Ok(Ok(Some(frame))) = tokio::time::timeout(quiet, line.next()).await {
        heard.push(frame);
    }
    heard
}

fn pauses(heard: &[ingest_response::Frame]) -> Vec<String> {
    let reason = |frame: &ingest_response::Frame| match frame {
        ingest_response::Frame::Pause(pause) => {
            Some(pause.refusal.clone().unwrap_or_default().reason)
        }
        _ => None,
    };
    heard.iter().filter_map(reason).collect()
}

#[tokio::test(start_paused = true)]
async fn nothing_is_taken_while_the_writer_is_days_behind() {
    let world = World::new().await;
    let hub = world.hub(1).await;
    let mut line = world.connect(&hub).await.unwrap();
    let closed = &world.running.app.core.closed;
    closed.store(true, std::sync::atomic::Ordering::Relaxed);
    let batches = 1..=100u64;
    for n in batches.clone() {
        line.send(hub.batch(n, vec![power(1, 1.0)])).await;
    }
    let heard = heard(&mut line, Duration::from_millis(300)).await;
    assert!(line.acks.iter().all(|ack| ack.durable_through == 0));
    // One pause says it: a hub that waits a second for each of a hundred would be silent for minutes.
    assert_eq!(pauses(&heard), [Reason::STREAM_NEARLY_FULL.name()]);
    // A hub that goes on after its wait is told again, or it would wait for an ack that never comes.
    line.send(hub.batch(1, vec![power(1, 1.0)])).await;
    tokio::time::advance(Duration::from_secs(1)).await;
    line.send(hub.batch(1, vec![power(1, 1.0)])).await;
    assert!(!pauses(&self::heard(&mut line, Duration::from_millis(300)).await).is_empty());
    closed.store(false, std::sync::atomic::Ordering::Relaxed);
    for n in batches {
        line.send(hub.batch(n, vec![power(1, 1.0)])).await;
    }
    line.acked(100).await;
}

#[tokio::test(start_paused = true)]
async fn a_device_that_cannot_be_looked_up_is_not_refused() {
    let world = World::new().await;
    let hub = world.hub(1).await;
    let mut line = world.connect(&hub).await.unwrap();
    *world.told.stale.lock().unwrap() = true;
    let unknown = DeviceId::from_bytes([0x78; 16]);
    let seen = reading(unknown, Capability::MOTION, 1, reading::Value::Flag(true));
    line.send(hub.batch(1, vec![seen.clone()])).await;
    let heard = heard(&mut line, Duration::from_millis(300)).await;
    assert_eq!(line.refused(), [], "nobody knows whether the home has it");
    assert_eq!(pauses(&heard), [Reason::TEMPORARILY_UNAVAILABLE.name()]);
    *world.told.stale.lock().unwrap() = false;
    line.send(hub.batch(1, vec![seen])).await;
    line.acked(1).await;
    let reason = Reason::UNKNOWN_DEVICE.name().to_owned();
    assert_eq!(line.refused(), [(1, 0, reason)]);
}

#[tokio::test]
async fn sequences_and_times_at_the_ends_of_their_ranges_break_nothing() {
    let world = World::new().await;
    let hub = world.hub(1).await;
    let mut line = world.connect(&hub).await.unwrap();
    for sequence in [0, u64::MAX, u64::MAX - 1, 1 << 63] {
        line.send(hub.batch(sequence, vec![power(1, 1.0)])).await;
    }
    let at = |seconds, nanos| {
        let mut reading = power(1, 1.0);
        reading.observed_at = Some(prost_types::Timestamp { seconds, nanos });
        reading
    };
    let readings = vec![
        at(i64::MIN, 0),
        at(i64::MAX, i32::MAX),
        at(9_000_000_000_000, -1),
        power(2, f64::NAN),
        power(2, f64::INFINITY),
        power(3, -0.0),
        reading(
            HALL,
            Capability::HEATING_MODE,
            1,
            reading::Value::Text("x".repeat(70)),
        ),
    ];
    line.send(hub.batch(1, readings)).await;
    line.acked(1).await;
    let refused: Vec<_> = line.refused().into_iter().map(|it| (it.0, it.1)).collect();
    assert_eq!(
        refused.iter().filter(|it| it.0 == 1).count(),
        6,
        "{refused:?}"
    );
    assert!(!refused.contains(&(1, 5)));
    let found = world.raw(super::kit::METER, Capability::PLUG_POWER).await;
    assert_eq!(found.len(), 1);
}
