//! The keys of one owner: random data keys per purpose and generation, and what is known of those destroyed.
//!
//! Pure: the time and the random bytes come in. Does not know how a ring is wrapped, stored or shared.
//!
//! A purpose with a period has a generation per slot (an eighth of the period, at least a day), chosen by
//! the time of sealing and destroyed one period after the slot's end. Other purposes keep one generation
//! until it has made 2^28 seals. Seals are counted in blocks that are drawn before they are used, so the
//! count is never too low and costs no write per seal.
//!
//! A key's id is a keyed hash of its purpose, slot and number under the ring's own seed: it looks random to
//! everybody else, and lets the ring tell an expired key from an unknown one without keeping a list.

use hearth_kernel::{KeyId, Purpose, RetentionClass, Timestamp};
use ring::hmac;
use zeroize::Zeroizing;

use crate::error::VaultError;
use crate::seal::{Key, key_from, random_key};

/// Seals in one block of the budget: what one process may make before it must draw again.
pub const BLOCK_SEALS: i64 = 1 << 20;
/// Blocks of one generation: 2^28 seals, which keeps random 96-bit nonces far from colliding (NIST SP
/// 800-38D allows 2^32).
pub const MAX_BLOCKS: u32 = 1 << 8;
/// The greatest number of destroyed slots that are looked through for an id: 30 years of days.
const MAX_SLOTS_SEARCHED: u64 = 11_000;

/// One data key.
#[derive(Clone)]
pub(crate) struct Generation {
    pub(crate) purpose: Purpose,
    /// The slot of a purpose with a period, else 0.
    pub(crate) slot: u64,
    /// Counts generations of the same slot, from 0.
    pub(crate) number: u32,
    pub(crate) id: KeyId,
    pub(crate) created_at: Timestamp,
    /// Blocks of seals drawn so far.
    pub(crate) blocks: u32,
    pub(crate) key: Key,
}

impl Generation {
    /// When its period is over; `MAX` when it has none.
    pub(crate) fn expires_at(&self) -> Timestamp {
        self.purpose.class().map_or(Timestamp::MAX, |class| {
            slot_end(class, self.slot).plus(class.period())
        })
    }

    /// When it stops being the one to seal with; `MAX` when only its budget ends it.
    pub(crate) fn seals_until(&self) -> Timestamp {
        self.purpose
            .class()
            .map_or(Timestamp::MAX, |class| slot_end(class, self.slot))
    }
}

/// What a ring remembers of a purpose with a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Past {
    purpose: Purpose,
    /// The first slot that ever had a key.
    first: u64,
    /// Slots before this one are destroyed.
    expired_before: u64,
    /// The greatest number of a generation in any slot.
    most: u32,
}

/// The ring of one owner, unwrapped.
#[derive(Clone)]
pub(crate) struct KeyRing {
    seed: Key,
    generations: Vec<Generation>,
    past: Vec<Past>,
}

/// The slot that a time lies in; 0 for purposes without a period.
pub(crate) fn slot_of(purpose: Purpose, now: Timestamp) -> u64 {
    purpose.class().map_or(0, |class| {
        let width = u64::try_from(class.slot().as_micros()).unwrap_or(u64::MAX);
        u64::try_from(now.micros()).map_or(0, |now| now / width.max(1))
    })
}

fn slot_end(class: RetentionClass, slot: u64) -> Timestamp {
    let width = u64::try_from(class.slot().as_micros()).unwrap_or(u64::MAX);
    let end = slot.saturating_add(1).saturating_mul(width);
    i64::try_from(end).map_or(Timestamp::MAX, Timestamp::from_micros)
}

impl KeyRing {
    /// A ring without keys.
    pub(crate) fn new() -> Result<Self, VaultError> {
        Ok(Self {
            seed: random_key()?,
            generations: Vec::new(),
            past: Vec::new(),
        })
    }

    /// Whether there is nothing worth keeping in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.generations.is_empty() && self.past.is_empty()
    }

    pub(crate) fn generations(&self) -> &[Generation] {
        &self.generations
    }

    pub(crate) fn of(&self, purpose: Purpose) -> impl Iterator<Item = &Generation> {
        self.generations
            .iter()
            .filter(move |generation| generation.purpose == purpose)
    }

    pub(crate) fn find(&self, purpose: Purpose, id: KeyId) -> Option<&Generation> {
        self.of(purpose).find(|generation| generation.id == id)
    }

    /// The generation that derived secrets come from: the first one, which stays for ever.
    pub(crate) fn first(&self, purpose: Purpose) -> Option<&Generation> {
        self.of(purpose)
            .min_by_key(|generation| (generation.slot, generation.number))
    }

    /// The generation to seal with now, if there is one with a block left or `drawn` already.
    pub(crate) fn current(&self, purpose: Purpose, now: Timestamp) -> Option<&Generation> {
        let slot = slot_of(purpose, now);
        let newest = self
            .of(purpose)
            .max_by_key(|generation| (generation.slot, generation.number))?;
        // A clock that was set back a little does not bring an older slot back.
        (newest.slot >= slot).then_some(newest)
    }

    /// Draws a block of seals, from the current generation or a new one. Answers the key's id.
    pub(crate) fn draw(&mut self, purpose: Purpose, now: Timestamp) -> Result<KeyId, VaultError> {
        let open = self
            .current(purpose, now)
            .filter(|generation| generation.blocks < MAX_BLOCKS)
            .map(|generation| generation.id);
        let id = match open {
            Some(id) => id,
            None => self.add(purpose, now)?,
        };
        for generation in &mut self.generations {
            if generation.id == id && generation.purpose == purpose {
                generation.blocks += 1;
            }
        }
        Ok(id)
    }

    /// Makes a first generation where there is none: for keys that only derive.
    pub(crate) fn ensure(&mut self, purpose: Purpose, now: Timestamp) -> Result<bool, VaultError> {
        if self.of(purpose).next().is_some() {
            return Ok(false);
        }
        self.add(purpose, now).map(|_| true)
    }

    fn add(&mut self, purpose: Purpose, now: Timestamp) -> Result<KeyId, VaultError> {
        let (slot, number) = match self.current(purpose, now) {
            Some(full) => (full.slot, full.number + 1),
            None => (slot_of(purpose, now), 0),
        };
        if purpose.class().is_some() {
            self.remember(purpose, slot, number)?;
        }
        let id = self.id_of(purpose, slot, number);
        self.generations.push(Generation {
            purpose,
            slot,
            number,
            id,
            created_at: now,
            blocks: 0,
            key: random_key()?,
        });
        Ok(id)
    }

    fn remember(&mut self, purpose: Purpose, slot: u64, number: u32) -> Result<(), VaultError> {
        if let Some(past) = self.past.iter_mut().find(|past| past.purpose == purpose) {
            if slot < past.expired_before {
                // The clock is more than a period behind what it was: no key of a destroyed slot comes back.
                return Err(VaultError::Corrupt(
                    "the clock is behind a slot that was destroyed",
                ));
            }
            past.most = past.most.max(number);
        } else {
            self.past.push(Past {
                purpose,
                first: slot,
                expired_before: slot,
                most: number,
            });
        }
        Ok(())
    }

    /// Destroys the generations whose period is over. Answers whether there were any.
    pub(crate) fn expire(&mut self, now: Timestamp) -> bool {
        let before = self.generations.len();
        let past = &mut self.past;
        self.generations.retain(|generation| {
            let over = generation.expires_at() <= now;
            if over
                && let Some(past) = past
                    .iter_mut()
                    .find(|past| past.purpose == generation.purpose)
            {
                past.expired_before = past.expired_before.max(generation.slot + 1);
            }
            !over
        });
        self.generations.len() != before
    }

    /// Destroys every key of these purposes. Answers whether there were any.
    pub(crate) fn destroy(&mut self, purposes: &[Purpose]) -> bool {
        let before = self.generations.len();
        self.generations
            .retain(|generation| !purposes.contains(&generation.purpose));
        self.past.retain(|past| !purposes.contains(&past.purpose));
        self.generations.len() != before
    }

    /// When the next generation's period ends; `MAX` when none has one.
    pub(crate) fn next_expiry(&self) -> Timestamp {
        let times = self.generations.iter().map(Generation::expires_at);
        times.min().unwrap_or(Timestamp::MAX)
    }

    /// Whether that id was a key of this purpose whose period is over.
    pub(crate) fn expired(&self, purpose: Purpose, id: KeyId) -> bool {
        let Some(past) = self.past.iter().find(|past| past.purpose == purpose) else {
            return false;
        };
        let start = past
            .first
            .max(past.expired_before.saturating_sub(MAX_SLOTS_SEARCHED));
        (start..past.expired_before)
            .rev()
            .any(|slot| (0..=past.most).any(|number| self.id_of(purpose, slot, number) == id))
    }

    fn id_of(&self, purpose: Purpose, slot: u64, number: u32) -> KeyId {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.seed.as_slice());
        let mut message = [0; 14];
        message[..2].copy_from_slice(&purpose.number().to_be_bytes());
        message[2..10].copy_from_slice(&slot.to_be_bytes());
        message[10..].copy_from_slice(&number.to_be_bytes());
        let hash = hmac::sign(&key, &message);
        hash.as_ref()
            .first_chunk::<16>()
            .map_or_else(KeyId::default, |bytes| KeyId::from_bytes(*bytes))
    }

    /// Fixed-width fields behind a format byte. Allocated once, so that no grown-out copy stays behind.
    pub(crate) fn encode(&self) -> Zeroizing<Vec<u8>> {
        let size = 1 + 32 + 8 + self.generations.len() * GENERATION + self.past.len() * PAST;
        let mut out = Zeroizing::new(Vec::with_capacity(size));
        out.push(1);
        out.extend_from_slice(self.seed.as_slice());
        for length in [self.generations.len(), self.past.len()] {
            out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
        }
        for generation in &self.generations {
            out.extend_from_slice(&generation.purpose.number().to_be_bytes());
            out.extend_from_slice(&generation.slot.to_be_bytes());
            out.extend_from_slice(&generation.number.to_be_bytes());
            out.extend_from_slice(&generation.created_at.micros().to_be_bytes());
            out.extend_from_slice(&generation.blocks.to_be_bytes());
            out.extend_from_slice(generation.key.as_slice());
        }
        for past in &self.past {
            out.extend_from_slice(&past.purpose.number().to_be_bytes());
            out.extend_from_slice(&past.first.to_be_bytes());
            out.extend_from_slice(&past.expired_before.to_be_bytes());
            out.extend_from_slice(&past.most.to_be_bytes());
        }
        out
    }

    /// The ring that [`Self::encode`] wrote; `None` for anything else.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (format, rest) = bytes.split_first()?;
        if *format != 1 {
            return None;
        }
        let (seed, rest) = rest.split_first_chunk::<32>()?;
        let (generations, rest) = rest.split_first_chunk::<4>()?;
        let (pasts, rest) = rest.split_first_chunk::<4>()?;
        let generations = usize::try_from(u32::from_be_bytes(*generations)).ok()?;
        let pasts = usize::try_from(u32::from_be_bytes(*pasts)).ok()?;
        let split = generations.checked_mul(GENERATION)?;
        if rest.len() != split.checked_add(pasts.checked_mul(PAST)?)? {
            return None;
        }
        let (generations, pasts) = rest.split_at_checked(split)?;
        let mut ring = Self {
            seed: key_from(seed),
            generations: Vec::with_capacity(generations.len() / GENERATION),
            past: Vec::with_capacity(pasts.len() / PAST),
        };
        for bytes in generations.chunks_exact(GENERATION) {
            let generation = ring.decode_generation(bytes)?;
            ring.generations.push(generation);
        }
        for bytes in pasts.chunks_exact(PAST) {
            ring.past.push(decode_past(bytes)?);
        }
        Some(ring)
    }

    fn decode_generation(&self, bytes: &[u8]) -> Option<Generation> {
        let (purpose, rest) = bytes.split_first_chunk::<2>()?;
        let (slot, rest) = rest.split_first_chunk::<8>()?;
        let (number, rest) = rest.split_first_chunk::<4>()?;
        let (created, rest) = rest.split_first_chunk::<8>()?;
        let (blocks, rest) = rest.split_first_chunk::<4>()?;
        let purpose = Purpose::from_number(u16::from_be_bytes(*purpose))?;
        let slot = u64::from_be_bytes(*slot);
        let number = u32::from_be_bytes(*number);
        Some(Generation {
            purpose,
            slot,
            number,
            id: self.id_of(purpose, slot, number),
            created_at: Timestamp::from_micros(i64::from_be_bytes(*created)),
            blocks: u32::from_be_bytes(*blocks),
            key: key_from(rest.first_chunk::<32>()?),
        })
    }
}

/// Bytes of an encoded generation.
const GENERATION: usize = 2 + 8 + 4 + 8 + 4 + 32;
/// Bytes of what is encoded of a purpose's past.
const PAST: usize = 2 + 8 + 8 + 4;

fn decode_past(bytes: &[u8]) -> Option<Past> {
    let (purpose, rest) = bytes.split_first_chunk::<2>()?;
    let (first, rest) = rest.split_first_chunk::<8>()?;
    let (expired, rest) = rest.split_first_chunk::<8>()?;
    Some(Past {
        purpose: Purpose::from_number(u16::from_be_bytes(*purpose))?,
        first: u64::from_be_bytes(*first),
        expired_before: u64::from_be_bytes(*expired),
        most: u32::from_be_bytes(*rest.first_chunk::<4>()?),
    })
}

#[cfg(test)]
mod tests;
