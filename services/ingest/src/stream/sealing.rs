//! From the checked readings of a batch to what goes into a frame: sealed segments and sealed signals.

use std::collections::HashMap;

use bytes::Bytes;
use hearth_api::events::v1::{Segment, Signal, SignalSet, Signals, signal};
use hearth_kernel::{HubStreamId, Owner, Purpose};
use hearth_ports::{Binding, SealError, Sealing, SegmentKey};
use hearth_readings::Scratch;
use prost::Message;

use crate::batch::Made;
use crate::core::Standing;
use crate::frames::Load;
use crate::wire;
use crate::writer;

/// States whose last signal is remembered.
const MOST_STATES: usize = 8_192;

/// Seals the batches of one hub, with memory that is reused.
pub(super) struct Sealer {
    standing: Standing,
    home: Bytes,
    claim: Bytes,
    scratch: Scratch,
    clear: Vec<u8>,
    /// The last signal of each state: what does not change is no signal.
    states: HashMap<(Bytes, i32), (i64, signal::Value)>,
}

impl Sealer {
    pub(super) fn new(standing: Standing) -> Self {
        Self {
            standing,
            home: Bytes::copy_from_slice(standing.home.as_bytes()),
            claim: Bytes::copy_from_slice(standing.claim.as_bytes()),
            scratch: Scratch::default(),
            clear: Vec::new(),
            states: HashMap::new(),
        }
    }

    /// Forgets what was signalled: some of it may not have been stored.
    pub(super) fn forget(&mut self) {
        self.states.clear();
    }

    /// Seals a batch. One without readings leaves an empty segment: it says that the batch was taken.
    pub(super) async fn seal(
        &mut self,
        sealing: &dyn Sealing,
        (stream, sequence): (HubStreamId, u64),
        made: &[Made],
        signals: Vec<Signal>,
    ) -> Result<Load, SealError> {
        let stream_id = Bytes::copy_from_slice(stream.as_bytes());
        let mut load = Load::default();
        for made in made {
            let key = SegmentKey {
                home: self.standing.home,
                day: made.day,
                class: made.class,
                claim: self.standing.claim,
                stream,
                sequence,
            };
            self.clear.clear();
            // The columns were checked when the segment was made; what cannot be encoded cannot be stored.
            made.segment
                .encode_with(&mut self.scratch, &mut self.clear)
                .map_err(|_| SealError::Corrupt)?;
            let owner = Owner::Home(key.home);
            let purpose = Purpose::Telemetry(key.class);
            let sealed = sealing
                .seal(owner, purpose, &writer::binding(&key), &self.clear)
                .await?;
            load.segments.push(Segment {
                home_id: self.home.clone(),
                day: key.day.number(),
                class: wire::class(key.class),
                claim_id: self.claim.clone(),
                stream_id: stream_id.clone(),
                sequence,
                sealed,
            });
        }
        if load.segments.is_empty() {
            load.segments.push(Segment {
                home_id: self.home.clone(),
                claim_id: self.claim.clone(),
                stream_id: stream_id.clone(),
                sequence,
                ..Segment::default()
            });
        }
        let signals: Vec<Signal> = signals.into_iter().filter(|it| self.changes(it)).collect();
        if !signals.is_empty() {
            load.signals = Some(
                self.signals(sealing, (stream, sequence), stream_id, signals)
                    .await?,
            );
        }
        Ok(load)
    }

    async fn signals(
        &self,
        sealing: &dyn Sealing,
        (stream, sequence): (HubStreamId, u64),
        stream_id: Bytes,
        signals: Vec<Signal>,
    ) -> Result<Signals, SealError> {
        let binding = Binding::Signals {
            home: self.standing.home,
            claim: self.standing.claim,
            stream,
            sequence,
        };
        let clear = SignalSet { signals }.encode_to_vec();
        let owner = Owner::Home(self.standing.home);
        let sealed = sealing
            .seal(owner, Purpose::Signals, &binding, &clear)
            .await?;
        Ok(Signals {
            home_id: self.home.clone(),
            claim_id: self.claim.clone(),
            stream_id,
            sequence,
            sealed,
        })
    }

    /// Whether a signal says something new. Numbers always do: rules compare them with bounds that are not known here.
    fn changes(&mut self, signal: &Signal) -> bool {
        let Some(value) = &signal.value else {
            return false;
        };
        if matches!(value, signal::Value::Number(_)) {
            return true;
        }
        let key = (signal.device_id.clone(), signal.capability);
        if let Some((at, last)) = self.states.get_mut(&key) {
            if last == value && signal.observed_at >= *at {
                return false;
            }
            if signal.observed_at >= *at {
                (*at, *last) = (signal.observed_at, value.clone());
            }
            return true;
        }
        if self.states.len() >= MOST_STATES {
            self.states.clear();
        }
        self.states.insert(key, (signal.observed_at, value.clone()));
        true
    }
}
