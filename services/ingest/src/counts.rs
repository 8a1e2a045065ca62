//! What this process counts of ingestion, for its metrics. Numbers alone: no home, hub or device.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hearth_host::Metrics;

use crate::core::Core;

/// Counted since the process started.
#[derive(Debug, Default)]
pub struct Counts {
    accepted: AtomicU64,
    refused: AtomicU64,
    batches: AtomicU64,
    frames: AtomicU64,
    frame_bytes: AtomicU64,
    failed_frames: AtomicU64,
}

impl Counts {
    /// A batch was handed to the frames, with so many readings accepted and refused.
    pub(crate) fn batch(&self, accepted: usize, refused: usize) {
        let add = |counter: &AtomicU64, count: usize| {
            counter.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
        };
        add(&self.batches, 1);
        add(&self.accepted, accepted);
        add(&self.refused, refused);
    }

    /// A frame of so many bytes was stored, or given up.
    pub(crate) fn frame(&self, bytes: usize, stored: bool) {
        if !stored {
            self.failed_frames.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.frames.fetch_add(1, Ordering::Relaxed);
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.frame_bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Shows the counts, and what is under way. How far the writer is behind the frames, and how old the oldest frame is
/// that it has not written, are the lag of the consumer `ingest.writer`.
pub(crate) fn show(metrics: &Metrics, core: &Arc<Core>) {
    type Read = fn(&Counts) -> &AtomicU64;
    let counters: [(&str, &str, Read); 6] = [
        (
            "hearth_ingest_readings_accepted_total",
            "Readings that were handed on to be stored; those sent again are not counted again.",
            |it| &it.accepted,
        ),
        (
            "hearth_ingest_readings_refused_total",
            "Readings that were refused, each with a reason to its hub.",
            |it| &it.refused,
        ),
        (
            "hearth_ingest_batches_total",
            "Batches that were handed on; accepted readings by this is the size of a batch.",
            |it| &it.batches,
        ),
        (
            "hearth_ingest_frames_total",
            "Frames that were stored; batches by this is how many share one.",
            |it| &it.frames,
        ),
        (
            "hearth_ingest_frame_bytes_total",
            "Bytes of the frames that were stored.",
            |it| &it.frame_bytes,
        ),
        (
            "hearth_ingest_frames_failed_total",
            "Frames that were given up: their batches are sent again by their hubs.",
            |it| &it.failed_frames,
        ),
    ];
    for (name, help, read) in counters {
        let counts = Arc::clone(core.frames.counts());
        metrics.ask_counter(name, help, &[], move || {
            read(&counts).load(Ordering::Relaxed)
        });
    }
    let frames = core.frames.clone();
    metrics.ask(
        "hearth_ingest_credit_bytes",
        "Bytes that hubs may still hand in before they wait.",
        &[],
        move || i64::try_from(frames.room_bytes()).unwrap_or(i64::MAX),
    );
    let granted = Arc::clone(core);
    metrics.ask(
        "hearth_ingest_credit_batches",
        "Batches that a hub may have under way on each stream: fewer while the writer is behind.",
        &[],
        move || i64::from(granted.credit.load(Ordering::Relaxed)),
    );
    let closed = Arc::clone(core);
    metrics.ask(
        "hearth_ingest_closed",
        "1 while no readings are taken, because the writer is days behind.",
        &[],
        move || i64::from(closed.closed.load(Ordering::Relaxed)),
    );
}
