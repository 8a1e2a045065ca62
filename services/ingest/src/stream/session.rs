//! The state of one hub's stream between hello and goodbye.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hearth_api::ingest::v1::{Ack, Batch};
use hearth_ingest_domain::window::{MAX_STREAMS, Verdict, Window};
use hearth_kernel::{Failure, HubStreamId, Reason};
use hearth_ports::{Read, SealError};
use prost::Message;
use tokio::sync::mpsc;

use super::Turn;
use super::acks::Lane;
use super::sealing::Sealer;
use crate::batch::{Desk, MAX_BATCH_BYTES, Outcome};
use crate::core::{Core, Standing};
use crate::frames::{Done, NotTaken};
use crate::registry::Registry;
use crate::resume::ResumeError;

/// One hub's stream.
pub(super) struct Session {
    core: Arc<Core>,
    pub(super) standing: Standing,
    registry: Arc<Registry>,
    lanes: BTreeMap<HubStreamId, Lane>,
    desk: Desk,
    sealer: Sealer,
    done: mpsc::Sender<Done>,
    /// Whether what is known is too old to take batches by.
    doubts: bool,
    taken: u64,
    /// Batches taken when somebody last asked.
    heard: u64,
}

impl Session {
    pub(super) fn new(
        core: Arc<Core>,
        standing: Standing,
        registry: Arc<Registry>,
        windows: BTreeMap<HubStreamId, Window>,
        done: mpsc::Sender<Done>,
    ) -> Self {
        let lanes = windows
            .into_iter()
            .map(|(id, window)| (id, Lane::new(window)));
        Self {
            core,
            standing,
            registry,
            lanes: lanes.collect(),
            desk: Desk::default(),
            sealer: Sealer::new(standing),
            done,
            doubts: false,
            taken: 0,
            heard: 0,
        }
    }

    /// Whether batches are read.
    pub(super) const fn may_read(&self) -> bool {
        !self.doubts
    }

    /// Whether something came since the last time this was asked.
    pub(super) fn has_heard(&mut self) -> bool {
        std::mem::replace(&mut self.heard, self.taken) != self.taken || self.taken == 0
    }

    /// Takes another registry.
    pub(super) fn learn(&mut self, registry: Registry) {
        self.doubts = false;
        if *self.registry != registry {
            self.registry = Arc::new(registry);
            self.desk.forget();
        }
    }

    /// What is known is too old.
    pub(super) fn doubt(&mut self) {
        self.doubts = true;
    }

    /// Takes one batch as far as the frames.
    pub(super) async fn take(&mut self, batch: &Batch) -> Turn {
        let Some(stream) = HubStreamId::from_slice(&batch.stream_id) else {
            let failure = Failure::new(Reason::INVALID_REQUEST);
            return Turn::End(failure.violation("batch.stream_id", "16 bytes"));
        };
        if batch.encoded_len() > MAX_BATCH_BYTES as usize {
            return Turn::End(Failure::new(Reason::MESSAGE_TOO_LARGE));
        }
        if self.core.closed.load(Ordering::Relaxed) {
            return Turn::Pause(Reason::STREAM_NEARLY_FULL);
        }
        self.taken += 1;
        match self.lane(stream).await {
            Ok(lane) => {
                if lane.judge(batch.sequence) != Verdict::Take {
                    return Turn::On;
                }
            }
            Err(turn) => return turn,
        }
        let Outcome {
            made,
            signals,
            refused,
            ..
        } = match self.check(batch).await {
            Ok(outcome) => outcome,
            Err(turn) => return turn,
        };
        let accepted = made.iter().map(|made| made.segment.len()).sum();
        let counted = (accepted, refused.len());
        let place = (stream, batch.sequence);
        let sealing = Arc::clone(self.core.engine.sealing());
        let sealed = self.sealer.seal(&*sealing, place, &made, signals).await;
        self.desk.reuse(made);
        let load = match sealed {
            Ok(load) => load,
            Err(SealError::Fenced | SealError::Expired) => {
                return Turn::End(Failure::new(Reason::ERASED));
            }
            Err(SealError::Unavailable) => return Turn::Pause(Reason::TEMPORARILY_UNAVAILABLE),
            Err(error) => {
                tracing::error!(error = %error, "a batch cannot be sealed");
                return Turn::End(Failure::new(Reason::INTERNAL));
            }
        };
        if let Some(lane) = self.lanes.get_mut(&stream) {
            lane.refuse(batch.sequence, refused);
        }
        let frames = &self.core.frames;
        match frames
            .submit(self.standing.home, place, load, self.done.clone())
            .await
        {
            Ok(()) => {
                frames.counts().batch(counted.0, counted.1);
                Turn::On
            }
            Err(NotTaken::Stopping) => Turn::End(Failure::new(Reason::SHUTTING_DOWN)),
            Err(NotTaken::TooMany) => Turn::Pause(Reason::TEMPORARILY_UNAVAILABLE),
        }
    }

    /// Checks a batch; one with unknown devices once more against what the log says now.
    /// While that cannot be known nothing is refused: an acked refusal is for ever.
    async fn check(&mut self, batch: &Batch) -> Result<Outcome, Turn> {
        let now = self.core.engine.now();
        let outcome = self.desk.take(batch, &self.registry, now);
        if !outcome.unknown {
            return Ok(outcome);
        }
        match self.core.registry(self.standing.home, Read::Leader).await {
            Ok(registry) if registry != *self.registry => {
                self.desk.reuse(outcome.made);
                self.learn(registry);
                Ok(self.desk.take(batch, &self.registry, now))
            }
            Ok(_) => Ok(outcome),
            Err(failure) if failure.reason == Reason::ERASED => Err(Turn::End(failure)),
            Err(_) => {
                self.desk.reuse(outcome.made);
                Err(Turn::Pause(Reason::TEMPORARILY_UNAVAILABLE))
            }
        }
    }

    /// The lane of a stream; of one that this connection has not seen, with what is known of it.
    async fn lane(&mut self, stream: HubStreamId) -> Result<&mut Lane, Turn> {
        if !self.lanes.contains_key(&stream) {
            self.make_room()?;
            let windows = self
                .core
                .resume
                .windows(self.standing.claim, &[stream])
                .await;
            let windows = windows.map_err(|error| match error {
                ResumeError::Store(_) => Turn::Pause(Reason::TEMPORARILY_UNAVAILABLE),
                // A pause is too short for that, and the next batch would ask again.
                ResumeError::Behind => Turn::End(error.into()),
            })?;
            let window = windows.into_values().next().unwrap_or_default();
            self.lanes.insert(stream, Lane::new(window));
        }
        let used = self.taken;
        let lane = self.lanes.entry(stream).or_default();
        lane.used = used;
        Ok(lane)
    }

    /// Forgets the lane that was used longest ago, if there are too many.
    fn make_room(&mut self) -> Result<(), Turn> {
        if self.lanes.len() < MAX_STREAMS {
            return Ok(());
        }
        let settled = self.lanes.iter().filter(|(_, lane)| lane.is_settled());
        let oldest = settled.min_by_key(|(_, lane)| (lane.has_refused(), lane.used));
        let oldest = oldest.map(|(id, _)| *id);
        let Some(oldest) = oldest else {
            let failure = Failure::new(Reason::QUOTA_EXCEEDED);
            return Err(Turn::End(
                failure.violation("batch.stream_id", "at most 16 streams at a time"),
            ));
        };
        self.lanes.remove(&oldest);
        Ok(())
    }

    /// Notes what became of batches.
    pub(super) fn settle(&mut self, finished: &mut Vec<Done>) -> Turn {
        let mut turn = Turn::On;
        for done in finished.drain(..) {
            match (done.stored, self.lanes.get_mut(&done.stream)) {
                (Ok(()), Some(lane)) => lane.stored(done.sequence),
                (Ok(()), None) => {}
                (Err(_), _) => turn = Turn::Pause(Reason::TEMPORARILY_UNAVAILABLE),
            }
        }
        turn
    }

    /// Forgets what is under way: the hub is told to send it again.
    pub(super) fn drop_unsettled(&mut self) {
        self.sealer.forget();
        for lane in self.lanes.values_mut() {
            lane.drop_unsettled();
        }
    }

    /// Whether nothing is under way.
    pub(super) fn is_settled(&self) -> bool {
        self.lanes.values().all(Lane::is_settled)
    }

    /// The acks that are due.
    pub(super) fn acks(&mut self) -> Vec<Ack> {
        let credit = self.core.credit.load(Ordering::Relaxed);
        let lanes = self.lanes.iter_mut();
        lanes
            .filter_map(|(stream, lane)| lane.ack(*stream, credit))
            .collect()
    }
}
