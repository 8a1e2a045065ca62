//! The wrapped rings in the escrow: a file per owner with two places, so that overwriting one never endangers the other.
//!
//! A new ring goes to the place of the older one, is synced, and then the former is zeroed: the newest ring survives a
//! crash at any point, and what it replaced does not stay. A ring that has outgrown its file gets a greater one; the old
//! file is zeroed before it is unlinked.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use hearth_kernel::Owner;
use ring::digest::{SHA256, digest};

use crate::database::sync_folder;

const MAGIC: &[u8; 8] = b"HRTHRING";
/// Bytes before the ring in each place: magic 8, version 8, length 4, zeros 12, check 32.
const HEAD_BYTES: usize = 64;
/// Places are multiples of this.
const GRAIN: usize = 4096;
/// The greatest ring. A greater one is refused.
const MAX_RING_BYTES: usize = 4 << 20;

pub(super) struct RingFolder {
    folder: PathBuf,
}

/// A file of one owner, as it was read.
struct RingFile {
    file: File,
    place_bytes: u64,
    /// The newest ring, its version and its place.
    newest: Option<(u64, Vec<u8>, u64)>,
}

impl RingFolder {
    /// Opens the folder and finishes what a crash left half done.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            match path.extension().and_then(|end| end.to_str()) {
                Some("new") => wipe(&path)?,
                Some("old") => wipe_replaced(&path)?,
                _ => {}
            }
        }
        sync_folder(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
        })
    }

    fn path(&self, owner: Owner) -> PathBuf {
        self.folder.join(owner.token()).with_extension("ring")
    }

    pub(super) fn get(&self, owner: Owner) -> io::Result<Option<(u64, Vec<u8>)>> {
        let ring = RingFile::open(&self.path(owner), owner)?.and_then(|file| file.newest);
        Ok(ring.map(|(version, wrapped, _)| (version, wrapped)))
    }

    /// Puts a ring, unless one of that version or a later one is there.
    pub(super) fn put(&self, owner: Owner, version: u64, wrapped: &[u8]) -> io::Result<()> {
        if wrapped.len() > MAX_RING_BYTES {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a wrapped ring is at most 4 MiB",
            ));
        }
        let path = self.path(owner);
        let bytes = encode(owner, version, wrapped);
        let Some(ring) = RingFile::open(&path, owner)? else {
            return self.put_greater(&path, &bytes);
        };
        if ring
            .newest
            .as_ref()
            .is_some_and(|(there, ..)| *there >= version)
        {
            return Ok(());
        }
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > ring.place_bytes {
            return self.put_greater(&path, &bytes);
        }
        let old = ring.newest.as_ref().map_or(1, |(.., place)| *place);
        let new = 1 - old;
        ring.file.write_all_at(&bytes, new * ring.place_bytes)?;
        ring.file.sync_data()?;
        ring.file
            .write_all_at(&zeros(ring.place_bytes), old * ring.place_bytes)?;
        ring.file.sync_data()
    }

    /// Writes a new file with room to grow, and wipes the one before.
    fn put_greater(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let (new, old) = (path.with_extension("new"), path.with_extension("old"));
        let place = bytes.len().next_multiple_of(GRAIN);
        let mut file = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(bytes)?;
        file.write_all(&vec![0; 2 * place - bytes.len()])?;
        file.sync_all()?;
        wipe_replaced(&old)?;
        let replaces = match std::fs::hard_link(path, &old) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(error),
        };
        std::fs::rename(&new, path)?;
        sync_folder(&self.folder)?;
        if replaces { wipe(&old) } else { Ok(()) }
    }

    /// Overwrites and removes an owner's ring.
    pub(super) fn remove(&self, owner: Owner) -> io::Result<()> {
        let path = self.path(owner);
        for path in [path.with_extension("new"), path.with_extension("old"), path] {
            wipe(&path)?;
        }
        sync_folder(&self.folder)
    }
}

/// Wipes a file that a greater one has replaced. Until that took its name, this is the ring itself under a
/// second name, and only the name goes.
fn wipe_replaced(old: &Path) -> io::Result<()> {
    let node = match std::fs::metadata(old) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?.ino(),
    };
    match std::fs::metadata(old.with_extension("ring")) {
        Ok(ring) if ring.ino() == node => std::fs::remove_file(old),
        _ => wipe(old),
    }
}

/// Overwrites a file with zeros, syncs, and unlinks it. One that is not there is no error.
fn wipe(path: &Path) -> io::Result<()> {
    let file = match File::options().write(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    file.write_all_at(&zeros(file.metadata()?.len()), 0)?;
    file.sync_data()?;
    std::fs::remove_file(path)
}

fn zeros(bytes: u64) -> Vec<u8> {
    // Files here are a few kilobytes: twice a ring.
    vec![0; usize::try_from(bytes).unwrap_or(0)]
}

impl RingFile {
    fn open(path: &Path, owner: Owner) -> io::Result<Option<Self>> {
        let file = match File::options().read(true).write(true).open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let place_bytes = file.metadata()?.len() / 2;
        let mut newest: Option<(u64, Vec<u8>, u64)> = None;
        for place in 0..2 {
            let mut bytes = zeros(place_bytes);
            file.read_exact_at(&mut bytes, place * place_bytes)?;
            if let Some((version, wrapped)) = decode(owner, &bytes)
                && newest.as_ref().is_none_or(|(newest, ..)| *newest < version)
            {
                newest = Some((version, wrapped, place));
            }
        }
        Ok(Some(Self {
            file,
            place_bytes,
            newest,
        }))
    }
}

fn encode(owner: Owner, version: u64, wrapped: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; HEAD_BYTES];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..16].copy_from_slice(&version.to_be_bytes());
    let length = u32::try_from(wrapped.len()).unwrap_or(u32::MAX);
    bytes[16..20].copy_from_slice(&length.to_be_bytes());
    let check = check(owner, &bytes[..32], wrapped);
    bytes[32..].copy_from_slice(&check);
    bytes.extend_from_slice(wrapped);
    bytes
}

/// The ring in a place, if one lies there whole.
fn decode(owner: Owner, bytes: &[u8]) -> Option<(u64, Vec<u8>)> {
    let (head, rest) = bytes.split_at_checked(HEAD_BYTES)?;
    let length = u32::from_be_bytes(head.get(16..20)?.try_into().ok()?);
    let wrapped = rest.get(..usize::try_from(length).ok()?)?;
    let sound = head[..8] == *MAGIC && head[32..] == check(owner, &head[..32], wrapped);
    let version = u64::from_be_bytes(head[8..16].try_into().ok()?);
    sound.then(|| (version, wrapped.to_vec()))
}

fn check(owner: Owner, head: &[u8], wrapped: &[u8]) -> [u8; 32] {
    let all = [&owner.to_bytes()[..], head, wrapped].concat();
    let mut check = [0; 32];
    check.copy_from_slice(digest(&SHA256, &all).as_ref());
    check
}
