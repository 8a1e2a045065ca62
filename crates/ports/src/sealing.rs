//! Sealing and opening, as services see the vault (DESIGN section 4).
//!
//! A sealed value is: key id (16 bytes), nonce (12), AES-256-GCM ciphertext and tag (16). The associated
//! data is the owner, the purpose, the key id and a [`Binding`]: what the thing is, never where it lies.

use async_trait::async_trait;
use bytes::Bytes;
use hearth_kernel::{
    Capability, ClaimId, Day, DeviceId, HomeId, HubStreamId, KeyId, Origin, Owner, Purpose,
    RetentionClass, Secret,
};

/// Bytes that sealing adds: key id, nonce and tag.
pub const OVERHEAD: usize = 16 + 12 + 16;

/// What a sealed thing is. It opens as nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Binding {
    /// A part of an event of an aggregate.
    Event(Origin),
    /// A hub batch's readings of one day and class.
    Segment {
        /// The home.
        home: HomeId,
        /// The hub's claim.
        claim: ClaimId,
        /// The hub's stream.
        stream: HubStreamId,
        /// The batch.
        sequence: u64,
        /// The class.
        class: RetentionClass,
        /// The day.
        day: Day,
    },
    /// A hub batch's signals.
    Signals {
        /// The home.
        home: HomeId,
        /// The hub's claim.
        claim: ClaimId,
        /// The hub's stream.
        stream: HubStreamId,
        /// The batch.
        sequence: u64,
    },
    /// A chunk or rollup.
    Chunk {
        /// The home.
        home: HomeId,
        /// The device.
        device: DeviceId,
        /// The capability.
        capability: Capability,
        /// The class.
        class: RetentionClass,
        /// The day.
        day: Day,
        /// Seconds of a rollup's window, 0 for readings.
        window: u32,
        /// The chunk generation.
        generation: u64,
    },
    /// A field of a document.
    Document {
        /// The table.
        table: &'static str,
        /// Partition and key, as stored.
        key: Vec<u8>,
        /// The field's number in the document.
        field: u16,
    },
    /// A service's own thing, named by a constant and an id.
    Named(&'static str, [u8; 16]),
}

impl Binding {
    /// The associated data for an owner, a purpose and a key. Each variant has a tag, each variable part a length.
    #[must_use]
    pub fn associated_data(&self, owner: Owner, purpose: Purpose, key: KeyId) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        out.extend_from_slice(b"hearth/1");
        out.extend_from_slice(&owner.to_bytes());
        out.extend_from_slice(&purpose.number().to_be_bytes());
        out.extend_from_slice(key.as_bytes());
        self.extend(&mut out);
        out
    }

    fn extend(&self, out: &mut Vec<u8>) {
        match self {
            Self::Event(origin) => {
                out.push(1);
                out.push(origin.aggregate.service.number());
                bytes(out, origin.aggregate.kind.as_bytes());
                out.extend_from_slice(origin.aggregate.id.as_bytes());
                out.extend_from_slice(&origin.version.to_be_bytes());
                out.extend_from_slice(&origin.event.to_be_bytes());
                out.extend_from_slice(&origin.part.to_be_bytes());
            }
            Self::Segment {
                home,
                claim,
                stream,
                sequence,
                class,
                day,
            } => {
                out.push(2);
                batch(out, *home, *claim, *stream, *sequence);
                out.push(class.number());
                out.extend_from_slice(&day.number().to_be_bytes());
            }
            Self::Signals {
                home,
                claim,
                stream,
                sequence,
            } => {
                out.push(3);
                batch(out, *home, *claim, *stream, *sequence);
            }
            Self::Chunk {
                home,
                device,
                capability,
                class,
                day,
                window,
                generation,
            } => {
                out.push(4);
                out.extend_from_slice(home.as_bytes());
                out.extend_from_slice(device.as_bytes());
                out.extend_from_slice(&capability.number().to_be_bytes());
                out.push(class.number());
                out.extend_from_slice(&day.number().to_be_bytes());
                out.extend_from_slice(&window.to_be_bytes());
                out.extend_from_slice(&generation.to_be_bytes());
            }
            Self::Document { table, key, field } => {
                out.push(5);
                bytes(out, table.as_bytes());
                bytes(out, key);
                out.extend_from_slice(&field.to_be_bytes());
            }
            Self::Named(name, id) => {
                out.push(6);
                bytes(out, name.as_bytes());
                out.extend_from_slice(id);
            }
        }
    }
}

fn batch(out: &mut Vec<u8>, home: HomeId, claim: ClaimId, stream: HubStreamId, sequence: u64) {
    out.extend_from_slice(home.as_bytes());
    out.extend_from_slice(claim.as_bytes());
    out.extend_from_slice(stream.as_bytes());
    out.extend_from_slice(&sequence.to_be_bytes());
}

fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// What opening found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// The content.
    Clear(Secret),
    /// Its owner is fenced (and the vault's signature on that was checked): it is erased.
    Erased,
    /// The period of its key's slot is over: it is absent.
    Expired,
}

impl Opened {
    /// The content, if it is still there.
    #[must_use]
    pub fn clear(self) -> Option<Secret> {
        match self {
            Self::Clear(secret) => Some(secret),
            Self::Erased | Self::Expired => None,
        }
    }
}

/// Why something could be neither sealed nor opened.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SealError {
    /// The keys cannot be had now: nothing may be concluded, try again.
    #[error("keys are unavailable for now")]
    Unavailable,
    /// The owner is fenced: nothing is sealed for it any more.
    #[error("the owner is fenced")]
    Fenced,
    /// The period is over: what was observed then is no longer taken.
    #[error("the period of this purpose is over")]
    Expired,
    /// The table of who may open what says no.
    #[error("this service may not do that with this purpose")]
    Denied,
    /// The bytes are not what was sealed, or not as this thing.
    #[error("the sealed value does not authenticate")]
    Corrupt,
}

/// One thing to open.
#[derive(Clone, Debug)]
pub struct ToOpen<'a> {
    /// What it is.
    pub binding: Binding,
    /// Its sealed bytes.
    pub sealed: &'a [u8],
}

/// Sealing and opening for one service: a handle knows whose it is, and what that service may do.
///
/// Keys are leased: a handle that has not read the vault's fences to their head within 60 s drops its keys
/// and answers `Unavailable`.
#[async_trait]
pub trait Sealing: Send + Sync + 'static {
    /// Seals under the owner's current key of that purpose; makes ring and key when there is none yet.
    ///
    /// # Errors
    /// See [`SealError`].
    async fn seal(
        &self,
        owner: Owner,
        purpose: Purpose,
        binding: &Binding,
        clear: &[u8],
    ) -> Result<Bytes, SealError>;

    /// Opens.
    ///
    /// # Errors
    /// See [`SealError`]; `Fenced` and `Expired` are answers here, not errors.
    async fn open(
        &self,
        owner: Owner,
        purpose: Purpose,
        binding: &Binding,
        sealed: &[u8],
    ) -> Result<Opened, SealError>;

    /// Opens many things of one owner and purpose: one look at the keys.
    ///
    /// # Errors
    /// As [`Sealing::open`]; the first error ends it.
    async fn open_all(
        &self,
        owner: Owner,
        purpose: Purpose,
        things: &[ToOpen<'_>],
    ) -> Result<Vec<Opened>, SealError>;

    /// 32 bytes that are secret to the service and the same for ever (or until its ring is rolled), derived
    /// from its own ring for a named use: hash keys, signing seeds.
    ///
    /// # Errors
    /// `Unavailable`, `Denied`.
    async fn service_secret(&self, purpose: Purpose, name: &str) -> Result<Secret, SealError>;
}
