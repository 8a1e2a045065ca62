//! The file of epoch keys: a head that names the installation, then 256 buckets of two slots, each at a fixed place.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use hearth_kernel::InstallationId;
use ring::digest::{SHA256, digest};
use zeroize::Zeroizing;

use super::CustodyError;
use super::slots::{SLOT_BYTES, SLOTS, Slot};
use crate::database::sync_folder;

const MAGIC: &[u8; 8] = b"HRTHKEYS";
const FORMAT: u32 = 1;
/// Bytes of the head: a page, so that the slots begin on a page of their own.
const HEAD_BYTES: u64 = 4096;
/// Bytes of the whole file.
const FILE_BYTES: u64 = HEAD_BYTES + 256 * 2 * 64;

/// magic 8, format 4, installation 16, check 32.
fn head(id: InstallationId) -> [u8; 60] {
    let mut bytes = [0; 60];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&FORMAT.to_be_bytes());
    bytes[12..28].copy_from_slice(id.as_bytes());
    let check = digest(&SHA256, &bytes[..28]);
    bytes[28..].copy_from_slice(check.as_ref());
    bytes
}

/// Makes an empty file of keys, whole or not at all. One of the same installation that is there stays.
pub(crate) fn create(path: &Path, id: InstallationId) -> Result<(), CustodyError> {
    match installation(path) {
        Ok(found) if found == id => return Ok(()),
        Ok(found) => {
            let path = path.to_owned();
            return Err(CustodyError::Foreign { path, found });
        }
        Err(CustodyError::Missing { .. }) => {}
        Err(error) => return Err(error),
    }
    let unfinished = path.with_extension("unfinished");
    let written = || {
        let mut file = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&unfinished)?;
        file.write_all(&head(id))?;
        file.set_len(FILE_BYTES)?;
        // Zeros are written, not left as a hole: a slot must have its place before a key is put there.
        let zeros = vec![0; usize::try_from(FILE_BYTES - 60).unwrap_or(0)];
        file.write_all(&zeros)?;
        file.sync_all()?;
        std::fs::rename(&unfinished, path)?;
        path.parent().map_or(Ok(()), sync_folder)
    };
    written().map_err(CustodyError::file(path))
}

/// The installation that a file of keys names.
pub(crate) fn installation(path: &Path) -> Result<InstallationId, CustodyError> {
    let file = File::open(path).map_err(missing(path))?;
    let mut bytes = [0; 60];
    let damaged = || CustodyError::Damaged {
        path: path.to_owned(),
    };
    match file.read_exact_at(&mut bytes, 0) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(damaged()),
        other => other.map_err(CustodyError::file(path))?,
    }
    let check = digest(&SHA256, &bytes[..28]);
    if bytes[..8] != *MAGIC || bytes[28..] != *check.as_ref() {
        return Err(damaged());
    }
    let format = u32::from_be_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
    if format > FORMAT {
        let path = path.to_owned();
        return Err(CustodyError::Newer { path, format });
    }
    InstallationId::from_slice(&bytes[12..28]).ok_or_else(damaged)
}

fn missing(path: &Path) -> impl FnOnce(io::Error) -> CustodyError {
    let path: PathBuf = path.to_owned();
    move |source| match source.kind() {
        io::ErrorKind::NotFound => CustodyError::Missing { path },
        _ => CustodyError::File { path, source },
    }
}

/// An open file of keys.
pub(super) struct EpochFile {
    file: File,
}

impl EpochFile {
    pub(super) fn open(path: &Path, id: InstallationId) -> Result<Self, CustodyError> {
        let found = installation(path)?;
        if found != id {
            let path = path.to_owned();
            return Err(CustodyError::Foreign { path, found });
        }
        let file = File::options()
            .read(true)
            .write(true)
            .open(path)
            .map_err(CustodyError::file(path))?;
        Ok(Self { file })
    }

    /// What a slot says. Beyond the end of a file that was cut, it is torn.
    pub(super) fn read(&self, bucket: u8, number: usize) -> io::Result<Slot> {
        let mut bytes = Zeroizing::new([0; SLOT_BYTES]);
        match self
            .file
            .read_exact_at(&mut bytes[..], place(bucket, number))
        {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Slot::Torn),
            Err(error) => Err(error),
            Ok(()) => Ok(Slot::decode(&bytes[..], bucket, number)),
        }
    }

    /// Overwrites a slot where it lies, and syncs.
    pub(super) fn write(&self, bucket: u8, number: usize, slot: &Slot) -> io::Result<()> {
        let bytes = slot.encode(bucket, number);
        self.file.write_all_at(&bytes[..], place(bucket, number))?;
        self.file.sync_data()
    }
}

fn place(bucket: u8, number: usize) -> u64 {
    let index = usize::from(bucket) * SLOTS + number;
    HEAD_BYTES + u64::try_from(index * SLOT_BYTES).unwrap_or(u64::MAX)
}
