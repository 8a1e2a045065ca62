//! The buffer: batches in order, from the oldest that is not durable on.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use hearth_api::ingest::v1::{Ack, Batch, Columns, batch::Body};
use hearth_kernel::HubStreamId;
use tokio::sync::watch;

use super::Refused;

/// Refusals that are remembered.
const MOST_REFUSED: usize = 1_024;

/// What is not durable yet.
pub(super) struct Buffer {
    most: usize,
    state: Mutex<State>,
    /// Counts changes: pushes, acks, new streams.
    changed: watch::Sender<u64>,
}

struct State {
    stream: HubStreamId,
    /// Every batch of the stream up to here is durable.
    durable: u64,
    /// The batches behind it, in order of their sequences.
    batches: VecDeque<Columns>,
    refused: VecDeque<Refused>,
}

impl Buffer {
    pub(super) fn new(stream: HubStreamId, most: usize) -> Self {
        Self {
            most: most.max(1),
            state: Mutex::new(State {
                stream,
                durable: 0,
                batches: VecDeque::new(),
                refused: VecDeque::new(),
            }),
            changed: watch::Sender::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    /// Hears of every change from now on.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Adds a batch; waits while the buffer is full.
    pub(super) async fn push(&self, columns: Columns) -> u64 {
        let mut changes = self.changes();
        loop {
            changes.borrow_and_update();
            {
                let mut state = self.lock();
                if state.batches.len() < self.most {
                    state.batches.push_back(columns);
                    let sequence = state.durable + u64::try_from(state.batches.len()).unwrap_or(0);
                    drop(state);
                    self.tell();
                    return sequence;
                }
            }
            // The sender lives in this buffer.
            let _ = changes.changed().await;
        }
    }

    /// Waits until it is empty.
    pub(super) async fn drained(&self) {
        let mut changes = self.changes();
        loop {
            changes.borrow_and_update();
            if self.len() == 0 {
                return;
            }
            let _ = changes.changed().await;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.lock().batches.len()
    }

    pub(super) fn durable(&self) -> u64 {
        self.lock().durable
    }

    pub(super) fn stream(&self) -> HubStreamId {
        self.lock().stream
    }

    /// The batch with that sequence, if it is in the buffer.
    pub(super) fn batch(&self, sequence: u64) -> Option<Batch> {
        let state = self.lock();
        let place = sequence.checked_sub(state.durable + 1)?;
        let columns = state.batches.get(usize::try_from(place).ok()?)?;
        Some(Batch {
            stream_id: Bytes::copy_from_slice(state.stream.as_bytes()),
            sequence,
            body: Some(Body::Columns(columns.clone())),
        })
    }

    /// Takes an ack in. One of another stream changes nothing.
    pub(super) fn acked(&self, ack: &Ack) {
        {
            let mut state = self.lock();
            if ack.stream_id != state.stream.as_bytes().as_slice() {
                return;
            }
            for refused in &ack.refused {
                if state.refused.len() == MOST_REFUSED {
                    state.refused.pop_front();
                }
                state.refused.push_back(Refused {
                    batch: refused.sequence,
                    index: Some(refused.index).filter(|it| *it != u32::MAX),
                    reason: refused.refusal.clone().unwrap_or_default().reason,
                });
            }
        }
        self.through(ack.durable_through);
    }

    /// Everything up to there is durable.
    pub(super) fn through(&self, durable: u64) {
        let mut state = self.lock();
        while state.durable < durable && state.batches.pop_front().is_some() {
            state.durable += 1;
        }
        drop(state);
        self.tell();
    }

    /// Begins another stream with what is left.
    pub(super) fn restream(&self, stream: HubStreamId) {
        let mut state = self.lock();
        state.stream = stream;
        state.durable = 0;
        drop(state);
        self.tell();
    }

    pub(super) fn take_refused(&self) -> Vec<Refused> {
        self.lock().refused.drain(..).collect()
    }
}
