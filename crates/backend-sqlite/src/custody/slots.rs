//! One slot of one epoch key: its 64 bytes, and what two copies of it mean together. Pure.

use hearth_ports::EpochKey;
use ring::digest::{SHA256, digest};
use zeroize::Zeroizing;

/// Slots of each bucket: the epoch in use, and the one being drained or opened.
pub(super) const SLOTS: usize = 2;
/// Bytes of a slot. Eight of them share a sector of 512 bytes, which is what a disk writes whole.
pub(super) const SLOT_BYTES: usize = 64;

const LIVE: u8 = 1;
const DESTROYED: u8 = 2;

/// What a slot holds.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Slot {
    /// Nothing, and never anything.
    Empty,
    /// A key.
    Live {
        epoch: u64,
        key: Zeroizing<[u8; 32]>,
    },
    /// A key was here and is overwritten; the epoch's number stays, so that a copy that missed it is told from a
    /// key that is new.
    Destroyed { epoch: u64 },
    /// Bytes that were half written, or have rotted.
    Torn,
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty => write!(f, "Empty"),
            Self::Live { epoch, key: _ } => write!(f, "Live({epoch})"),
            Self::Destroyed { epoch } => write!(f, "Destroyed({epoch})"),
            Self::Torn => write!(f, "Torn"),
        }
    }
}

impl Slot {
    /// state 1, zeros 7, epoch 8, key 32, check 16. An empty slot is all zeros.
    pub(super) fn encode(&self, bucket: u8, number: usize) -> Zeroizing<[u8; SLOT_BYTES]> {
        let mut bytes = Zeroizing::new([0; SLOT_BYTES]);
        match self {
            Self::Empty | Self::Torn => return bytes,
            Self::Live { epoch, key } => {
                bytes[0] = LIVE;
                bytes[8..16].copy_from_slice(&epoch.to_be_bytes());
                bytes[16..48].copy_from_slice(&key[..]);
            }
            Self::Destroyed { epoch } => {
                bytes[0] = DESTROYED;
                bytes[8..16].copy_from_slice(&epoch.to_be_bytes());
            }
        }
        let check = check(&bytes[..48], bucket, number);
        bytes[48..].copy_from_slice(&check);
        bytes
    }

    /// What these bytes at this place are. Fewer bytes than a slot are torn.
    pub(super) fn decode(bytes: &[u8], bucket: u8, number: usize) -> Self {
        if bytes.len() != SLOT_BYTES {
            return Self::Torn;
        }
        if bytes.iter().all(|byte| *byte == 0) {
            return Self::Empty;
        }
        if bytes[48..] != check(&bytes[..48], bucket, number) {
            return Self::Torn;
        }
        let mut number = [0; 8];
        number.copy_from_slice(&bytes[8..16]);
        let epoch = u64::from_be_bytes(number);
        match bytes[0] {
            LIVE => {
                let mut key = Zeroizing::new([0; 32]);
                key.copy_from_slice(&bytes[16..48]);
                Self::Live { epoch, key }
            }
            DESTROYED => Self::Destroyed { epoch },
            _ => Self::Torn,
        }
    }

    /// Whether a key of that epoch may be put here.
    pub(super) fn takes(&self, new: u64) -> bool {
        match self {
            Self::Empty => true,
            Self::Destroyed { epoch } => *epoch < new,
            Self::Live { .. } | Self::Torn => false,
        }
    }
}

/// The first half of a hash over the bytes and their place: what was copied to another slot is torn there.
fn check(bytes: &[u8], bucket: u8, number: usize) -> [u8; 16] {
    let mut all = Zeroizing::new(Vec::with_capacity(bytes.len() + 2));
    all.extend_from_slice(bytes);
    all.push(bucket);
    all.push(u8::try_from(number).unwrap_or(u8::MAX));
    let mut check = [0; 16];
    check.copy_from_slice(&digest(&SHA256, &all).as_ref()[..16]);
    check
}

/// What two copies of a slot mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    Agreed(Slot),
    /// The keys must be made to say this.
    HealKeys(Slot),
    /// The escrow must be made to say this.
    HealEscrow(Slot),
    /// Nobody can tell any more.
    Lost,
}

/// Settles what the keys and the escrow say.
///
/// A store writes the escrow first: found half done, it is finished. A destruction writes the keys first: found
/// half done, it is finished too, unless not even the keys were written whole; then the key is back, which is
/// allowed, because nobody was told that it was destroyed. A number decides between a key and a destroyed one:
/// numbers grow, so an old copy of a folder that is put back does not revive what was destroyed since.
pub(super) fn settle(keys: Slot, escrow: Slot) -> Settled {
    use Settled::{Agreed, HealEscrow, HealKeys, Lost};
    use Slot::{Destroyed, Empty, Live, Torn};
    match (&keys, &escrow) {
        // Storing begins with the escrow: with nothing there, a torn key is one that somebody relied on.
        (Torn, Torn | Empty) => Lost,
        (a, b) if a == b => Agreed(keys),
        (Torn, _) | (Empty, Live { .. } | Destroyed { .. }) => HealKeys(escrow),
        (_, Torn) | (Live { .. } | Destroyed { .. }, Empty) => HealEscrow(keys),
        (Live { .. }, Live { .. }) => Lost,
        (Live { epoch: a, .. } | Destroyed { epoch: a }, Destroyed { epoch: b }) => {
            if b >= a {
                HealKeys(escrow)
            } else {
                HealEscrow(keys)
            }
        }
        (Destroyed { epoch: a }, Live { epoch: b, .. }) => {
            if a >= b {
                HealEscrow(keys)
            } else {
                HealKeys(escrow)
            }
        }
        (Empty, Empty) => Agreed(keys),
    }
}

impl From<&EpochKey> for Slot {
    fn from(key: &EpochKey) -> Self {
        Self::Live {
            epoch: key.epoch,
            key: key.key.clone(),
        }
    }
}
