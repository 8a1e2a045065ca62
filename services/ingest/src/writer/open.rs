//! Opening the segments of frames: what may be put, and what is in it.

use std::collections::HashMap;

use hearth_api::events::v1::Segment as Wire;
use hearth_kernel::{ClaimId, Day, HomeId, HubStreamId, Owner, Purpose, RetentionClass, Secret};
use hearth_ports::sealing::ToOpen;
use hearth_ports::{Binding, Opened, SealError, Sealing, SegmentKey, StoredSegment};
use hearth_readings::{Rows, Scratch, Segment};

/// A segment that may be put.
pub(crate) struct Readable {
    pub(crate) stored: StoredSegment,
    segment: Segment,
}

impl Readable {
    pub(crate) fn rows(&self) -> Rows<'_> {
        self.segment.rows()
    }
}

/// The key of a segment on the wire; `None` for a mark that a batch without readings leaves, and for what is malformed.
pub(crate) fn key_of(wire: &Wire) -> Option<SegmentKey> {
    if wire.sealed.is_empty() {
        return None;
    }
    let class = u8::try_from(wire.class)
        .ok()
        .and_then(RetentionClass::from_number)?;
    Some(SegmentKey {
        home: HomeId::from_slice(&wire.home_id)?,
        day: Day::from_number(wire.day),
        class,
        claim: ClaimId::from_slice(&wire.claim_id)?,
        stream: HubStreamId::from_slice(&wire.stream_id)?,
        sequence: wire.sequence,
    })
}

/// What a segment is sealed as.
pub(crate) fn binding(key: &SegmentKey) -> Binding {
    Binding::Segment {
        home: key.home,
        claim: key.claim,
        stream: key.stream,
        sequence: key.sequence,
        class: key.class,
        day: key.day,
    }
}

/// Opens and decodes segments, with memory that is reused.
#[derive(Default)]
pub(crate) struct Opener {
    scratch: Scratch,
}

impl Opener {
    /// The segments that can be opened. One whose owner is fenced or whose period is over is dropped; one that does
    /// not authenticate or decode is dropped with an alarm, and stays in the stream until it is trimmed.
    ///
    /// # Errors
    /// `Unavailable`: nothing may be concluded.
    pub(crate) async fn open(
        &mut self,
        sealing: &dyn Sealing,
        wires: &[Wire],
    ) -> Result<Vec<Readable>, SealError> {
        let mut stored: Vec<StoredSegment> = Vec::with_capacity(wires.len());
        for wire in wires {
            if let Some(key) = key_of(wire) {
                stored.push(StoredSegment {
                    key,
                    sealed: wire.sealed.clone(),
                });
            }
        }
        self.open_stored(sealing, stored).await
    }

    /// The same for segments that are stored.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(crate) async fn open_stored(
        &mut self,
        sealing: &dyn Sealing,
        stored: Vec<StoredSegment>,
    ) -> Result<Vec<Readable>, SealError> {
        let mut groups: HashMap<(HomeId, RetentionClass), Vec<StoredSegment>> = HashMap::new();
        for segment in stored {
            groups
                .entry((segment.key.home, segment.key.class))
                .or_default()
                .push(segment);
        }
        let mut readable = Vec::new();
        for ((home, class), group) in groups {
            let clear = open_group(sealing, home, class, &group).await?;
            for (stored, clear) in group.into_iter().zip(clear) {
                let Some(clear) = clear else { continue };
                let mut segment = Segment::default();
                match segment.decode_into(&mut self.scratch, clear.expose()) {
                    Ok(()) => readable.push(Readable { stored, segment }),
                    Err(error) => {
                        let key = stored.key;
                        tracing::error!(home = %key.home, day = %key.day, sequence = key.sequence, error = %error, "a segment does not decode");
                    }
                }
            }
        }
        Ok(readable)
    }
}

async fn open_group(
    sealing: &dyn Sealing,
    home: HomeId,
    class: RetentionClass,
    group: &[StoredSegment],
) -> Result<Vec<Option<Secret>>, SealError> {
    let (owner, purpose) = (Owner::Home(home), Purpose::Telemetry(class));
    let things: Vec<ToOpen<'_>> = group
        .iter()
        .map(|it| ToOpen {
            binding: binding(&it.key),
            sealed: &it.sealed,
        })
        .collect();
    match sealing.open_all(owner, purpose, &things).await {
        Ok(opened) => Ok(opened.into_iter().map(Opened::clear).collect()),
        Err(SealError::Unavailable) => Err(SealError::Unavailable),
        // One of them is bad: find out which.
        Err(_) => {
            let mut clear = Vec::with_capacity(group.len());
            for thing in &things {
                let opened = sealing
                    .open(owner, purpose, &thing.binding, thing.sealed)
                    .await;
                clear.push(match opened {
                    Ok(opened) => opened.clear(),
                    Err(SealError::Unavailable) => return Err(SealError::Unavailable),
                    Err(error) => {
                        tracing::error!(home = %home, error = %error, "a segment does not open");
                        None
                    }
                });
            }
            Ok(clear)
        }
    }
}
