//! Key custody in files: epoch keys in fixed slots that are overwritten in place, twice; wrapped rings in the escrow.
//!
//! Storing goes to the escrow first and destroying to the keys first, so that after a crash between the two the
//! pair of slots tells what was under way: see [`slots::settle`]. Every operation settles the slots it touches
//! before it begins, and answers when both files are synced. Key bytes are read when they are asked for and kept
//! nowhere; buffers are zeroed.
//!
//! **Not guaranteed:** overwriting reaches the medium's old cells only where the file system overwrites in
//! place and the device does too; [`KeyCustody::overwrites_in_place`] tells about the first, nobody about the second.

mod epochs;
mod rings;
mod slots;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use hearth_kernel::{InstallationId, Owner};
use hearth_ports::{EpochKey, KeyCustody, StoreError};
use tokio::sync::Semaphore;

use crate::failure::lock;
use crate::readers::{blocking, blocking_write};
use epochs::EpochFile;
pub(crate) use epochs::{create as create_epochs, installation as installation_of};
use rings::RingFolder;
use slots::{SLOTS, Settled, Slot};

/// The file of epoch keys, in the keys folder and in the escrow.
pub(crate) const EPOCHS: &str = "epochs.bin";
/// The folder of wrapped rings in the escrow.
pub(crate) const RINGS: &str = "rings";

/// Why custody cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum CustodyError {
    /// The file of keys is not there.
    #[error("{path}: the keys of this data are missing")]
    Missing {
        /// Where they should be.
        path: PathBuf,
    },
    /// The file cannot be read or written.
    #[error("{path}: the key file cannot be opened: {}", source.kind())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is none, or its head is damaged.
    #[error("{path}: this is not a key file, or it is damaged")]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// The file is of a format that this version does not know.
    #[error("{path}: written by a newer version, format {format}")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: u32,
    },
    /// The file belongs to another installation.
    #[error("{path}: these keys belong to another installation, {found}")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Whose they are.
        found: InstallationId,
    },
}

impl CustodyError {
    fn file(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, source }
    }
}

/// Custody of epoch keys in two folders.
pub struct FileCustody {
    installation: InstallationId,
    in_place: bool,
    files: Arc<Mutex<Files>>,
    permits: Arc<Semaphore>,
}

struct Files {
    keys: EpochFile,
    escrow: EpochFile,
    rings: RingFolder,
}

impl std::fmt::Debug for FileCustody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FileCustody({})", self.installation)
    }
}

/// Makes what custody needs in the keys folder and in the escrow, unless it is there. For a new installation.
pub(crate) fn create_escrow(escrow: &Path, id: InstallationId) -> Result<(), CustodyError> {
    let rings = escrow.join(RINGS);
    crate::folder::make_private(&rings).map_err(CustodyError::file(&rings))?;
    create_epochs(&escrow.join(EPOCHS), id)
}

impl FileCustody {
    /// Opens the keys and the escrow of an installation, and heals what a crash left half done.
    ///
    /// # Errors
    /// When a file is missing, damaged, newer, or of another installation.
    pub fn open(
        keys: &Path,
        escrow: &Path,
        installation: InstallationId,
    ) -> Result<Self, CustodyError> {
        let rings = escrow.join(RINGS);
        let files = Files {
            keys: EpochFile::open(&keys.join(EPOCHS), installation)?,
            escrow: EpochFile::open(&escrow.join(EPOCHS), installation)?,
            rings: RingFolder::open(&rings).map_err(CustodyError::file(&rings))?,
        };
        for bucket in 0..=u8::MAX {
            // A slot that is damaged in both is told when keys are asked for: the rest stays of use.
            match files.settled(bucket) {
                Err(StoreError::Terminal(error)) => {
                    tracing::error!(bucket, error = %error, "a slot of epoch keys is damaged");
                }
                Err(error) => {
                    let source = std::io::Error::other(error);
                    return Err(CustodyError::file(&keys.join(EPOCHS))(source));
                }
                Ok(_) => {}
            }
        }
        Ok(Self {
            installation,
            in_place: [keys, escrow].into_iter().all(overwrites_in_place),
            files: Arc::new(Mutex::new(files)),
            // One operation after the other: they are few, and each is synced.
            permits: Arc::new(Semaphore::new(1)),
        })
    }

    /// Later calls fail; one under way ends by itself.
    pub fn close(&self) {
        self.permits.close();
    }

    async fn read<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        F: FnOnce(&Files) -> Result<T, StoreError> + Send + 'static,
        T: Send + 'static,
    {
        let files = Arc::clone(&self.files);
        blocking(&self.permits, move || work(&lock(&files))).await
    }

    async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        F: FnOnce(&Files) -> Result<T, StoreError> + Send + 'static,
        T: Send + 'static,
    {
        let files = Arc::clone(&self.files);
        blocking_write(&self.permits, move || work(&lock(&files))).await
    }
}

/// Whether the file system under a folder writes changed bytes where the old ones were.
///
/// Only those that surely do. Copy-on-write (btrfs, ZFS, bcachefs), layers (overlayfs) and networks do not, or do not
/// say; tmpfs may have been swapped out. Magic numbers: statfs(2).
fn overwrites_in_place(folder: &Path) -> bool {
    const EXT4: i64 = 0xef53;
    const XFS: i64 = 0x5846_5342;
    const F2FS: i64 = 0xf2f5_2010;
    rustix::fs::statfs(folder).is_ok_and(|system| {
        let magic = system.f_type;
        [EXT4, XFS, F2FS].contains(&magic)
    })
}

fn io(error: std::io::Error) -> StoreError {
    StoreError::Retryable(Arc::new(error))
}

impl Files {
    /// The slots of a bucket, the same in both files: what differed was healed.
    fn settled(&self, bucket: u8) -> Result<[Slot; SLOTS], StoreError> {
        let mut slots = [Slot::Empty, Slot::Empty];
        for (number, slot) in slots.iter_mut().enumerate() {
            let keys = self.keys.read(bucket, number).map_err(io)?;
            let escrow = self.escrow.read(bucket, number).map_err(io)?;
            *slot = match slots::settle(keys, escrow) {
                Settled::Agreed(slot) => slot,
                Settled::HealKeys(slot) => {
                    self.keys.write(bucket, number, &slot).map_err(io)?;
                    slot
                }
                Settled::HealEscrow(slot) => {
                    self.escrow.write(bucket, number, &slot).map_err(io)?;
                    slot
                }
                Settled::Lost => {
                    return Err(StoreError::terminal(
                        "keys and escrow disagree, or a slot is damaged in both",
                    ));
                }
            };
        }
        Ok(slots)
    }

    fn store(&self, key: &EpochKey) -> Result<(), StoreError> {
        let slots = self.settled(key.bucket)?;
        for slot in &slots {
            match slot {
                Slot::Live { epoch, key: there } if *epoch == key.epoch => {
                    return if *there == key.key {
                        Ok(())
                    } else {
                        Err(StoreError::Conflict)
                    };
                }
                // An epoch is never used again: after a crash its slot would count as destroyed.
                Slot::Destroyed { epoch } if *epoch == key.epoch => {
                    return Err(StoreError::Conflict);
                }
                _ => {}
            }
        }
        let free = slots
            .iter()
            .position(|slot| slot.takes(key.epoch))
            .ok_or(StoreError::Conflict)?;
        let slot = Slot::from(key);
        self.escrow.write(key.bucket, free, &slot).map_err(io)?;
        self.keys.write(key.bucket, free, &slot).map_err(io)
    }

    fn destroy(&self, bucket: u8, epoch: u64) -> Result<(), StoreError> {
        for (number, slot) in self.settled(bucket)?.into_iter().enumerate() {
            if matches!(slot, Slot::Live { epoch: there, .. } if there == epoch) {
                let gone = Slot::Destroyed { epoch };
                self.keys.write(bucket, number, &gone).map_err(io)?;
                self.escrow.write(bucket, number, &gone).map_err(io)?;
            }
        }
        Ok(())
    }
}

#[async_trait]
impl KeyCustody for FileCustody {
    fn installation(&self) -> InstallationId {
        self.installation
    }

    fn overwrites_in_place(&self) -> bool {
        self.in_place
    }

    async fn epochs(&self) -> Result<Vec<EpochKey>, StoreError> {
        self.read(|files| {
            let mut keys = Vec::new();
            for bucket in 0..=u8::MAX {
                for slot in files.settled(bucket)? {
                    if let Slot::Live { epoch, key } = slot {
                        keys.push(EpochKey { bucket, epoch, key });
                    }
                }
            }
            Ok(keys)
        })
        .await
    }

    async fn store(&self, key: &EpochKey) -> Result<(), StoreError> {
        let key = key.clone();
        self.write(move |files| files.store(&key)).await
    }

    async fn destroy(&self, bucket: u8, epoch: u64) -> Result<(), StoreError> {
        self.write(move |files| files.destroy(bucket, epoch)).await
    }

    async fn escrow_ring(
        &self,
        owner: Owner,
        version: u64,
        wrapped: &[u8],
    ) -> Result<(), StoreError> {
        let wrapped = wrapped.to_vec();
        self.write(move |files| files.rings.put(owner, version, &wrapped).map_err(io))
            .await
    }

    async fn escrowed_ring(&self, owner: Owner) -> Result<Option<(u64, Vec<u8>)>, StoreError> {
        self.read(move |files| files.rings.get(owner).map_err(io))
            .await
    }

    async fn remove_escrowed_ring(&self, owner: Owner) -> Result<(), StoreError> {
        self.write(move |files| files.rings.remove(owner).map_err(io))
            .await
    }
}
