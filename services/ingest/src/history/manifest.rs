//! The manifest of one home and period: the chunks that count, the segments that are in them, and what is to be deleted.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use hearth_api::stored::ingest::v1 as stored;
use hearth_kernel::{
    Capability, ClaimId, DeviceId, HomeId, HubStreamId, RetentionClass, Timestamp,
};
use hearth_ports::{ChunkKey, SegmentKey};
use prost::Message;

use super::HistoryError;
use super::period::{Period, shared};

/// A stored chunk, within its home and period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Name {
    pub(crate) device: DeviceId,
    /// A number that no capability has for a part of all sparse ones of the device.
    pub(crate) capability: Capability,
    pub(crate) class: RetentionClass,
    /// Its day within the period; of a span, the last.
    pub(crate) day: u8,
    pub(crate) window: u32,
    pub(crate) generation: u64,
}

impl Name {
    /// The key in the store.
    pub(crate) fn key(&self, home: HomeId, period: Period) -> ChunkKey {
        ChunkKey {
            home,
            device: self.device,
            capability: self.capability,
            class: self.class,
            day: period.day(self.day),
            window: self.window,
            generation: self.generation,
        }
    }

    /// The name of a stored chunk.
    pub(crate) fn of(key: &ChunkKey, period: Period) -> Option<Self> {
        Some(Self {
            device: key.device,
            capability: key.capability,
            class: key.class,
            day: period.offset(key.day)?,
            window: key.window,
            generation: key.generation,
        })
    }
}

/// Segments of one stream, day and class.
type Run = (ClaimId, HubStreamId, u8, RetentionClass);

/// What one row says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Manifest {
    /// The chunks that count.
    pub(crate) chunks: BTreeSet<Name>,
    /// Segments that are in them and still stored.
    covered: BTreeMap<Run, BTreeSet<u64>>,
    /// Chunks that count no more and are still stored.
    pub(crate) replaced: BTreeSet<Name>,
    /// When the last of both was replaced.
    pub(crate) replaced_at: Timestamp,
}

impl Manifest {
    /// Whether a segment is in the chunks.
    pub(crate) fn covers(&self, key: &SegmentKey, period: Period) -> bool {
        let Some(day) = period.offset(key.day) else {
            return false;
        };
        self.covered
            .get(&(key.claim, key.stream, day, key.class))
            .is_some_and(|sequences| sequences.contains(&key.sequence))
    }

    /// Notes that a segment is in the chunks.
    pub(crate) fn cover(&mut self, key: &SegmentKey, period: Period) {
        if let Some(day) = period.offset(key.day) {
            let run = (key.claim, key.stream, day, key.class);
            self.covered.entry(run).or_default().insert(key.sequence);
        }
    }

    /// The segments that are in the chunks, by day.
    pub(crate) fn covered(&self, home: HomeId, period: Period) -> BTreeMap<u8, Vec<SegmentKey>> {
        let mut days: BTreeMap<u8, Vec<SegmentKey>> = BTreeMap::new();
        for ((claim, stream, day, class), sequences) in &self.covered {
            let keys = sequences.iter().map(|sequence| SegmentKey {
                home,
                day: period.day(*day),
                class: *class,
                claim: *claim,
                stream: *stream,
                sequence: *sequence,
            });
            days.entry(*day).or_default().extend(keys);
        }
        days
    }

    /// The parts that hold sparse readings of a device.
    pub(crate) fn shared(&self, device: DeviceId) -> impl Iterator<Item = Name> {
        let name = |capability, class, (day, window, generation)| Name {
            device,
            capability,
            class,
            day,
            window,
            generation,
        };
        let first = name(shared(0), RetentionClass::Days7, (0, 0, 0));
        let last = (u8::MAX, u32::MAX, u64::MAX);
        let last = name(shared(usize::MAX), RetentionClass::Rollups, last);
        let parts = self.chunks.range(first..=last).copied();
        parts.filter(|it| it.window == 0 && it.class != RetentionClass::Rollups)
    }

    /// Whether something is still to be deleted.
    pub(crate) fn has_leftovers(&self) -> bool {
        !self.covered.is_empty() || !self.replaced.is_empty()
    }

    /// The same when everything that counts no more is deleted.
    pub(crate) fn swept(mut self) -> Self {
        self.covered.clear();
        self.replaced.clear();
        self
    }

    /// Its stored form.
    pub(crate) fn encode(&self) -> Bytes {
        let name = |name: &Name| stored::ChunkName {
            device_id: Bytes::copy_from_slice(name.device.as_bytes()),
            capability: u32::from(name.capability.number()),
            class: u32::from(name.class.number()),
            day: u32::from(name.day),
            window: name.window,
            generation: name.generation,
        };
        let covered = |(run, sequences): (&Run, &BTreeSet<u64>)| {
            let mut before = 0;
            let step = |sequence: &u64| sequence - std::mem::replace(&mut before, *sequence);
            stored::Covered {
                claim_id: Bytes::copy_from_slice(run.0.as_bytes()),
                stream_id: Bytes::copy_from_slice(run.1.as_bytes()),
                day: u32::from(run.2),
                class: u32::from(run.3.number()),
                sequences: sequences.iter().map(step).collect(),
            }
        };
        stored::Manifest {
            chunks: self.chunks.iter().map(name).collect(),
            covered: self.covered.iter().map(covered).collect(),
            replaced: self.replaced.iter().map(name).collect(),
            replaced_at: self.replaced_at.micros(),
        }
        .encode_to_vec()
        .into()
    }

    /// The manifest of a stored form.
    ///
    /// # Errors
    /// `Corrupt`.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, HistoryError> {
        let corrupt = || HistoryError::Corrupt("manifest");
        let message = stored::Manifest::decode(bytes).map_err(|_| corrupt())?;
        let name = |name: &stored::ChunkName| -> Option<Name> {
            Some(Name {
                device: DeviceId::from_slice(&name.device_id)?,
                capability: Capability::from_stored(u16::try_from(name.capability).ok()?),
                class: class(name.class)?,
                day: u8::try_from(name.day).ok()?,
                window: name.window,
                generation: name.generation,
            })
        };
        let names = |list: &[stored::ChunkName]| list.iter().map(name).collect::<Option<_>>();
        let covered = |it: &stored::Covered| -> Option<(Run, BTreeSet<u64>)> {
            let mut at = 0u64;
            let sequences = it.sequences.iter().map(|step| {
                at = at.saturating_add(*step);
                at
            });
            let sequences = sequences.collect();
            let run = (
                ClaimId::from_slice(&it.claim_id)?,
                HubStreamId::from_slice(&it.stream_id)?,
                u8::try_from(it.day).ok()?,
                class(it.class)?,
            );
            Some((run, sequences))
        };
        Ok(Self {
            chunks: names(&message.chunks).ok_or_else(corrupt)?,
            covered: message
                .covered
                .iter()
                .map(covered)
                .collect::<Option<_>>()
                .ok_or_else(corrupt)?,
            replaced: names(&message.replaced).ok_or_else(corrupt)?,
            replaced_at: Timestamp::from_micros(message.replaced_at),
        })
    }
}

fn class(number: u32) -> Option<RetentionClass> {
    u8::try_from(number)
        .ok()
        .and_then(RetentionClass::from_number)
}

#[cfg(test)]
mod tests {
    use hearth_kernel::Day;

    use super::*;

    #[test]
    fn comes_back() {
        let period = Period::of(Day::from_number(20_000));
        let home = HomeId::from_bytes([1; 16]);
        let name = Name {
            device: DeviceId::from_bytes([2; 16]),
            capability: Capability::MANY,
            class: RetentionClass::Days400,
            day: 0,
            window: 0,
            generation: 1 << 40,
        };
        let key = |sequence| SegmentKey {
            home,
            day: period.first().plus(3),
            class: RetentionClass::Days30,
            claim: ClaimId::from_bytes([3; 16]),
            stream: HubStreamId::from_bytes([4; 16]),
            sequence,
        };
        let mut manifest = Manifest {
            chunks: [name].into(),
            replaced: [Name {
                generation: 7,
                ..name
            }]
            .into(),
            replaced_at: Timestamp::from_seconds(9),
            ..Manifest::default()
        };
        for sequence in [9, 1, 200] {
            manifest.cover(&key(sequence), period);
        }
        let back = Manifest::decode(&manifest.encode()).unwrap();
        assert_eq!(back, manifest);
        assert!(back.covers(&key(200), period) && !back.covers(&key(2), period));
        assert_eq!(back.covered(home, period)[&3], [key(1), key(9), key(200)]);
        assert_eq!(Name::of(&name.key(home, period), period), Some(name));
        assert!(Manifest::decode(&[0xff; 4]).is_err());
        assert!(!back.swept().has_leftovers());
    }
}
