//! What a hub does with Hearth: keep readings until they are durable, and send them, over any number of connections.
//!
//! Readings wait in a bounded buffer in memory, and on disk if it is opened with a folder. They leave it when the server says that they survive the loss of power,
//! and not before; after a lost connection or a pause they are sent again, which stores them once. It asks no clock but
//! tokio's and starts no task (whoever uses it runs [`HubClient::run`]); `spool` alone knows files.
//!
//! **Invariant:** the buffer's own knowledge of what is durable outranks the server's: a server that knows less (it was
//! restored from a backup, say) gets what is left under a new stream.

mod buffer;
mod columns;
mod line;
mod spool;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hearth_api::ingest::v1::Columns;
use hearth_kernel::{Capability, ClaimId, DeviceId, HubId, HubStreamId, Reason, Secret, Timestamp};
use hearth_rpc::failure_of;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{Ed25519KeyPair, KeyPair};
use tonic::Status;
use tonic::transport::Channel;

use buffer::Buffer;
use line::Transport;
use spool::Spool;
pub use spool::SpoolError;

/// The first and the longest wait before a connection is tried again.
const RECONNECT: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// One value of one capability at one time.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// The device.
    pub device: DeviceId,
    /// What was measured.
    pub capability: Capability,
    /// When, by the device's clock.
    pub observed_at: Timestamp,
    /// The value, in the form of the capability's type.
    pub value: Value,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A number.
    Number(f64),
    /// An integer.
    Integer(i64),
    /// True or false.
    Flag(bool),
    /// A text of at most 64 bytes.
    Text(String),
}

/// A reading that was not stored and never will be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The batch it was in, as [`HubClient::send`] answered.
    pub batch: u64,
    /// Its place in the batch; `None` for the batch as a whole.
    pub index: Option<u32>,
    /// Why: a reason of the contract.
    pub reason: String,
}

/// A hub's key pair.
pub struct HubKey {
    pair: Ed25519KeyPair,
}

impl std::fmt::Debug for HubKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HubKey({})", self.hub_id())
    }
}

impl HubKey {
    /// A new key pair, and its PKCS #8 form to keep.
    ///
    /// # Errors
    /// When the machine gives no random bytes.
    pub fn generate() -> Result<(Self, Secret), HubError> {
        let document =
            Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| HubError::Key)?;
        let kept = Secret::new(document.as_ref().to_vec());
        Ok((Self::from_pkcs8(&kept)?, kept))
    }

    /// The key pair of a PKCS #8 form.
    ///
    /// # Errors
    /// When it is none.
    pub fn from_pkcs8(kept: &Secret) -> Result<Self, HubError> {
        let pair = Ed25519KeyPair::from_pkcs8(kept.expose()).map_err(|_| HubError::Key)?;
        Ok(Self { pair })
    }

    /// The public key: 32 bytes.
    #[must_use]
    pub fn public_key(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    /// The hub's id: it follows from the public key.
    #[must_use]
    pub fn hub_id(&self) -> HubId {
        let hash = digest(&SHA256, &framed(&[b"hearth.hub.v1", self.public_key()]));
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash.as_ref()[..16]);
        uuid::Builder::from_custom_bytes(bytes).into_uuid().into()
    }

    /// Signs parts, each preceded by its length.
    #[must_use]
    pub fn sign(&self, parts: &[&[u8]]) -> Vec<u8> {
        self.pair.sign(&framed(parts)).as_ref().to_vec()
    }
}

fn framed(parts: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    for part in parts {
        out.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        out.extend_from_slice(part);
    }
    out
}

/// What a hub was set up with.
#[derive(Clone, Debug)]
pub struct HubOptions {
    /// Who the server must say it is.
    pub audience: String,
    /// The claim that its pairing made.
    pub claim: ClaimId,
    /// Batches that the buffer holds at most; each may have 16,384 readings and 1 MiB.
    pub buffer: usize,
}

/// Why a hub stopped for good, or what it was given is in no batch.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// The key is not one, or none can be made.
    #[error("not an ed25519 key pair")]
    Key,
    /// The claim has ended: the hub must be paired again.
    #[error("the claim has ended")]
    ClaimEnded,
    /// The server does not take the proof: another key, claim or audience.
    #[error("the server does not know this hub")]
    NotProved,
    /// The server says it is somebody else than the hub was set up with.
    #[error("the server is another one")]
    OtherServer,
    /// Readings that are in no batch: too many, or a text that is too long.
    #[error("a batch takes at most 16,384 readings and 1 mib")]
    TooLarge,
    /// The spool holds as many batches as it may.
    #[error("the spool is full")]
    Full,
    /// The spool cannot be used.
    #[error("the spool cannot be used")]
    Spool(#[from] SpoolError),
    /// A reading that is in no batch: its time is further from that of the reading before it than a batch can say.
    #[error("the times of reading {index} and of the one before it are too far apart")]
    Apart {
        /// Its place among the readings.
        index: usize,
    },
    /// A reading that is in no batch: its capability is not in the catalogue, or takes values of another type.
    #[error("the value of reading {index} is not of the type of its capability")]
    Misfit {
        /// Its place among the readings.
        index: usize,
    },
}

/// Sends readings of one hub. Cheap to clone.
#[derive(Clone)]
pub struct HubClient {
    inner: Arc<Inner>,
}

struct Inner {
    key: HubKey,
    options: HubOptions,
    buffer: Buffer,
    /// Where batches are on disk, if they are. Locked before the buffer.
    spool: Option<Mutex<Spool>>,
}

impl Inner {
    /// Sends what is left in another stream from now on.
    fn restream(&self, stream: HubStreamId) -> Result<(), HubError> {
        let Some(spool) = &self.spool else {
            self.buffer.restream(stream);
            return Ok(());
        };
        let mut spool = spool.lock().unwrap_or_else(PoisonError::into_inner);
        spool.restream(stream, self.buffer.settled())?;
        self.buffer.restream(stream);
        Ok(())
    }

    /// Puts a batch on the disk and then into the buffer.
    fn spool(&self, spool: &Mutex<Spool>, columns: Columns) -> Result<u64, HubError> {
        let mut spool = spool.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.buffer.has_room() {
            return Err(HubError::Full);
        }
        spool.append(&columns, self.buffer.settled())?;
        Ok(self.buffer.add(columns))
    }
}

impl std::fmt::Debug for HubClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HubClient({})", self.inner.key.hub_id())
    }
}

impl HubClient {
    /// A hub that has nothing to send yet.
    ///
    /// # Errors
    /// When the machine gives no random bytes for a stream id.
    pub fn new(key: HubKey, options: HubOptions) -> Result<Self, HubError> {
        let buffer = Buffer::new(random_stream()?, options.buffer);
        Ok(Self {
            inner: Arc::new(Inner {
                key,
                options,
                buffer,
                spool: None,
            }),
        })
    }

    /// A hub whose batches wait on disk, in a folder of their own: what [`Self::send`] has answered survives the loss of
    /// power. They are in memory as well, so [`HubOptions::buffer`] bounds both. Reads what is there; call it at start.
    ///
    /// # Errors
    /// `Spool` when the folder cannot be used, is another process's, or belongs to another claim; `Key`.
    pub fn open(key: HubKey, options: HubOptions, folder: &Path) -> Result<Self, HubError> {
        let (spool, found) = Spool::open(folder, options.claim, random_stream()?)?;
        let buffer = Buffer::of(found, options.buffer);
        Ok(Self {
            inner: Arc::new(Inner {
                key,
                options,
                buffer,
                spool: Some(Mutex::new(spool)),
            }),
        })
    }

    /// Puts readings into the buffer as one batch. Without a spool it waits while the buffer is full; with one the batch is
    /// on the disk when this answers, and a full spool is an error. Answers the batch's number:
    /// 1 for the first, then one more for each.
    ///
    /// # Errors
    /// `TooLarge`, `Apart`, `Misfit`: the server would refuse the batch as a whole. `Full`,
    /// `Spool`: it is not on the disk. Nothing of it is in the buffer.
    pub async fn send(&self, readings: &[Reading]) -> Result<u64, HubError> {
        let columns = columns::of(readings)?;
        if self.inner.spool.is_some() {
            let inner = Arc::clone(&self.inner);
            // It goes on when nobody waits for it any more: disk and buffer must not come apart.
            let written = tokio::task::spawn_blocking(move || match &inner.spool {
                Some(spool) => inner.spool(spool, columns),
                None => Err(HubError::Spool(SpoolError::Failed)),
            });
            return written
                .await
                .unwrap_or(Err(HubError::Spool(SpoolError::Failed)));
        }
        Ok(self.inner.buffer.push(columns).await)
    }

    /// Waits until everything that was put into the buffer is durable.
    pub async fn drained(&self) {
        self.inner.buffer.drained().await;
    }

    /// How many batches are not durable yet.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.inner.buffer.len()
    }

    /// Readings that were refused since this was last asked; at most 1,024 are remembered.
    #[must_use]
    pub fn refused(&self) -> Vec<Refused> {
        self.inner.buffer.take_refused()
    }

    /// Sends what is in the buffer, over one connection after the other, until the claim ends. Run it in a task of its
    /// own; dropping it stops it, and the buffer stays.
    ///
    /// # Errors
    /// What cannot be helped by trying again; see [`HubError`].
    pub async fn run(&self, channel: Channel) -> Result<(), HubError> {
        self.run_over(channel).await
    }

    async fn run_over(&self, channel: impl Transport) -> Result<(), HubError> {
        let mut wait = RECONNECT.0;
        loop {
            let before = self.inner.buffer.durable();
            let ended = line::serve(&self.inner, channel.clone()).await;
            let asked = match ended {
                Ok(()) => Duration::ZERO,
                Err(line::LineError::Hub(error)) => return Err(error),
                Err(line::LineError::Status(status)) => final_word(&status)?,
            };
            if self.inner.buffer.durable() > before {
                wait = RECONNECT.0;
            }
            tokio::time::sleep(asked + jittered(wait)).await;
            wait = (wait * 2).min(RECONNECT.1);
        }
    }
}

/// How long a status asks to wait, unless it is one that no repetition helps.
fn final_word(status: &Status) -> Result<Duration, HubError> {
    let failure = failure_of(status);
    let asked = failure.retry_after.unwrap_or_default();
    match failure.reason {
        Reason::CLAIM_ENDED | Reason::ERASED => Err(HubError::ClaimEnded),
        Reason::HUB_NOT_PROVED => Err(HubError::NotProved),
        _ => Ok(asked.min(line::LONGEST_PAUSE)),
    }
}

/// Between half and the whole of a wait.
fn jittered(wait: Duration) -> Duration {
    let mut byte = [0];
    if SystemRandom::new().fill(&mut byte).is_err() {
        return wait;
    }
    wait / 2 + wait * u32::from(byte[0]) / 512
}

fn random_stream() -> Result<HubStreamId, HubError> {
    let mut bytes = [0; 16];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| HubError::Key)?;
    Ok(uuid::Builder::from_random_bytes(bytes).into_uuid().into())
}
