//! The buffer: batches in order, from the oldest that is not durable on.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use hearth_api::ingest::v1::{Ack, Batch, Columns, batch::Body};
use hearth_kernel::{HubStreamId, Reason};
use tokio::sync::watch;

use super::Refused;
use super::spool::Found;

/// Refusals that are remembered.
const MOST_REFUSED: usize = 1_024;

/// What to make of a server's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// It can be so.
    Believed,
    /// It did not take the batch of this sequence, and those behind it, for now: they were too early.
    TooEarly(u64),
    /// It holds more of the stream than was ever sent.
    Impossible,
}

/// What is not durable yet.
pub(super) struct Buffer {
    most: usize,
    state: Mutex<State>,
    /// Counts changes: pushes, acks, new streams.
    changed: watch::Sender<u64>,
}

struct State {
    stream: HubStreamId,
    /// The last batch of the stream that was ever given to a connection: the server can hold none behind it.
    sent: u64,
    /// How many batches were durable when the stream began; they were of streams before it.
    before: u64,
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
                sent: 0,
                before: 0,
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

    /// A buffer with what a spool holds.
    pub(super) fn of(found: Found, most: usize) -> Self {
        let buffer = Self::new(found.stream, most);
        {
            let mut state = buffer.lock();
            state.before = found.before;
            state.durable = found.first.saturating_sub(found.before + 1);
            state.batches = found.batches.into();
            // Which of them were sent, nobody knows any more.
            state.sent = state.durable + u64::try_from(state.batches.len()).unwrap_or(0);
        }
        buffer
    }

    /// The number up to which every batch is durable.
    pub(super) fn settled(&self) -> u64 {
        let state = self.lock();
        state.before + state.durable
    }

    /// Whether it takes another batch.
    pub(super) fn has_room(&self) -> bool {
        self.len() < self.most
    }

    /// Adds a batch for which there is room.
    pub(super) fn add(&self, columns: Columns) -> u64 {
        let mut state = self.lock();
        state.batches.push_back(columns);
        let waiting = u64::try_from(state.batches.len()).unwrap_or(0);
        let number = state.before + state.durable + waiting;
        drop(state);
        self.tell();
        number
    }

    /// Hears of every change from now on.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Adds a batch; waits while the buffer is full. Answers its number: 1, 2, 3, whatever stream it is sent in.
    pub(super) async fn push(&self, columns: Columns) -> u64 {
        let mut changes = self.changes();
        loop {
            changes.borrow_and_update();
            {
                let mut state = self.lock();
                if state.batches.len() < self.most {
                    state.batches.push_back(columns);
                    let waiting = u64::try_from(state.batches.len()).unwrap_or(0);
                    let number = state.before + state.durable + waiting;
                    drop(state);
                    self.tell();
                    return number;
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

    /// Whether a batch with that sequence is in the buffer.
    pub(super) fn has(&self, sequence: u64) -> bool {
        let state = self.lock();
        let place = sequence.checked_sub(state.durable + 1);
        let place = place.and_then(|it| usize::try_from(it).ok());
        place.is_some_and(|it| it < state.batches.len())
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

    /// Notes that a batch was given to a connection.
    pub(super) fn sent(&self, sequence: u64) {
        let mut state = self.lock();
        state.sent = state.sent.max(sequence);
    }

    /// Takes an ack in. One of another stream changes nothing.
    #[must_use]
    pub(super) fn acked(&self, ack: &Ack) -> Heard {
        let mut too_early = u64::MAX;
        {
            let mut state = self.lock();
            if ack.stream_id != state.stream.as_bytes().as_slice() {
                return Heard::Believed;
            }
            if ack.durable_through > state.sent {
                return Heard::Impossible;
            }
            let before = state.before;
            for refused in &ack.refused {
                let reason = refused.refusal.clone().unwrap_or_default().reason;
                if reason == Reason::SEQUENCE_BEYOND_WINDOW.name() {
                    too_early = too_early.min(refused.sequence);
                    continue;
                }
                if state.refused.len() == MOST_REFUSED {
                    state.refused.pop_front();
                }
                state.refused.push_back(Refused {
                    batch: before.saturating_add(refused.sequence),
                    index: Some(refused.index).filter(|it| *it != u32::MAX),
                    reason,
                });
            }
        }
        match self.through(ack.durable_through) {
            Heard::Believed if too_early < u64::MAX => Heard::TooEarly(too_early),
            heard => heard,
        }
    }

    /// Everything up to there is durable, says the server. What was never sent it cannot hold, so when it says more than
    /// that it speaks of something else: nothing is dropped, and the stream is not one to go on with.
    #[must_use]
    pub(super) fn through(&self, durable: u64) -> Heard {
        let mut state = self.lock();
        if durable > state.sent {
            return Heard::Impossible;
        }
        while state.durable < durable && state.batches.pop_front().is_some() {
            state.durable += 1;
        }
        drop(state);
        self.tell();
        Heard::Believed
    }

    /// Begins another stream with what is left.
    pub(super) fn restream(&self, stream: HubStreamId) {
        let mut state = self.lock();
        state.stream = stream;
        state.before += state.durable;
        state.durable = 0;
        state.sent = 0;
        drop(state);
        self.tell();
    }

    pub(super) fn take_refused(&self) -> Vec<Refused> {
        self.lock().refused.drain(..).collect()
    }
}
