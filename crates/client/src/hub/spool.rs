//! Batches on disk: what `send` has answered survives the loss of power.
//!
//! Files that are only appended to hold records `[length][checksum][number][columns]`; one that holds only what is
//! durable on the server is deleted. A small file beside them says to which claim they belong and which stream they are
//! sent in. It knows no connection and no server.
//!
//! **Invariant:** a number that was answered is on disk, and stands for one batch in one stream: when the end of the
//! last file is torn, what is left gets another stream.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use hearth_api::ingest::v1::Columns;
use hearth_kernel::{ClaimId, HubStreamId};
use prost::Message as _;
use ring::digest::{SHA256, digest};

/// Bytes after which another file is begun.
const FILE_BYTES: u64 = 1 << 20;
/// The most bytes of a record's columns.
const MOST_BYTES: usize = 1 << 20;
/// Length, checksum and number.
const HEAD: usize = 4 + 8 + 8;
/// The claim, the stream, what was before it, and a checksum.
const STATE: usize = 16 + 16 + 8 + 8;

/// Why the spool takes or gives nothing.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The disk does not do as it should.
    #[error("the spool cannot be read or written")]
    Io(#[from] io::Error),
    /// Another process has it.
    #[error("another process uses the spool")]
    InUse,
    /// It holds readings of another claim; they are that claim's home's.
    #[error("the spool belongs to another claim")]
    OtherClaim,
    /// It is damaged elsewhere than at its end.
    #[error("the spool is damaged")]
    Damaged,
    /// Something could not be brought to the disk before; what is on it now nobody knows until it is opened anew.
    #[error("the spool failed before and takes nothing more")]
    Failed,
}

/// What a spool was found to hold.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) stream: HubStreamId,
    /// How many batches were durable when the stream began.
    pub(super) before: u64,
    /// The number of the first batch, or of the next one when there is none.
    pub(super) first: u64,
    pub(super) batches: Vec<Columns>,
}

/// Batches on disk.
#[derive(Debug)]
pub(super) struct Spool {
    folder: PathBuf,
    claim: ClaimId,
    /// The numbers that files begin with, ascending; the last one is written to.
    files: Vec<u64>,
    pub(super) current: File,
    length: u64,
    next: u64,
    failed: bool,
    /// Locked as long as this lives.
    _lock: File,
}

impl Spool {
    /// Opens a folder, or makes it; `fresh` is the stream that is begun if one must be.
    pub(super) fn open(
        folder: &Path,
        claim: ClaimId,
        fresh: HubStreamId,
    ) -> Result<(Self, Found), SpoolError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
        let lock = private().create(true).open(folder.join("lock"))?;
        lock.try_lock().map_err(|error| match error {
            std::fs::TryLockError::WouldBlock => SpoolError::InUse,
            std::fs::TryLockError::Error(error) => error.into(),
        })?;
        let known = read_state(folder, claim)?;
        let mut files = numbers(folder)?;
        if known.is_none() && !files.is_empty() {
            return Err(SpoolError::Damaged);
        }
        let begun = known.map_or(0, |(_, before)| before);
        let mut kept: Vec<(u64, Columns)> = Vec::new();
        let mut next = files.first().copied().unwrap_or(begun + 1);
        let (mut torn, mut length) = (files.is_empty(), 0);
        for (place, first) in files.iter().enumerate() {
            let path = path_of(folder, *first);
            let bytes = std::fs::read(&path)?;
            let (records, whole) = records(&bytes, next);
            let is_last = place + 1 == files.len();
            if *first != next || (whole < bytes.len() && !is_last) {
                return Err(SpoolError::Damaged);
            }
            length = u64::try_from(whole).unwrap_or(u64::MAX);
            if whole < bytes.len() {
                let file = private().open(&path)?;
                file.set_len(length)?;
                file.sync_all()?;
                torn = true;
            }
            next += u64::try_from(records.len()).unwrap_or(0);
            kept.extend((*first..).zip(records));
        }
        kept.retain(|(number, _)| *number > begun);
        let first = kept.first().map_or(next, |(number, _)| *number);
        let (stream, before) = match known {
            Some(known) if !torn => known,
            _ => (fresh, first - 1),
        };
        if torn {
            write_state(folder, claim, stream, before)?;
        }
        if files.is_empty() {
            files.push(next);
        }
        let last = path_of(folder, files.last().copied().unwrap_or(next));
        let current = private().create(true).append(true).open(last)?;
        current.sync_all()?;
        sync(folder)?;
        let found = Found {
            stream,
            before,
            first,
            batches: kept.into_iter().map(|(_, columns)| columns).collect(),
        };
        let spool = Self {
            folder: folder.to_owned(),
            claim,
            files,
            current,
            length,
            next,
            failed: false,
            _lock: lock,
        };
        Ok((spool, found))
    }

    /// Writes the next batch; it is on the disk when this answers. Batches up to the number `durable` may go.
    pub(super) fn append(&mut self, columns: &Columns, durable: u64) -> Result<(), SpoolError> {
        if self.failed {
            return Err(SpoolError::Failed);
        }
        if self.length >= FILE_BYTES {
            self.turn_over(durable)?;
        }
        let record = record(self.next, columns);
        if let Err(error) = self.current.write_all(&record) {
            // What was written of it must go, or what follows could not be told from it.
            self.failed = true;
            self.current.set_len(self.length)?;
            self.current.sync_data()?;
            self.failed = false;
            return Err(error.into());
        }
        if let Err(error) = self.current.sync_data() {
            // After that the system may say that it is on the disk when it is not.
            self.failed = true;
            return Err(error.into());
        }
        self.length += u64::try_from(record.len()).unwrap_or(0);
        self.next += 1;
        Ok(())
    }

    /// Begins another file, and deletes those that hold only what is durable.
    fn turn_over(&mut self, durable: u64) -> Result<(), SpoolError> {
        let path = path_of(&self.folder, self.next);
        self.current = private().create_new(true).append(true).open(path)?;
        self.files.push(self.next);
        self.length = 0;
        if let Err(error) = sync(&self.folder) {
            self.failed = true;
            return Err(error.into());
        }
        while self.files.get(1).is_some_and(|first| *first <= durable + 1) {
            let Some(first) = self.files.first().copied() else {
                break;
            };
            // One after the other, also on the disk: a gap between files would be damage.
            std::fs::remove_file(path_of(&self.folder, first))?;
            self.files.remove(0);
            sync(&self.folder)?;
        }
        Ok(())
    }

    /// Another stream for what is behind the number `before`.
    pub(super) fn restream(&mut self, stream: HubStreamId, before: u64) -> Result<(), SpoolError> {
        write_state(&self.folder, self.claim, stream, before)?;
        Ok(())
    }
}

/// For the owner's eyes only.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

fn path_of(folder: &Path, first: u64) -> PathBuf {
    folder.join(format!("{first:020}.batches"))
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn numbers(folder: &Path) -> Result<Vec<u64>, SpoolError> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".batches"));
        if let Some(number) = number {
            numbers.push(number.parse().map_err(|_| SpoolError::Damaged)?);
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn checksum(parts: &[&[u8]]) -> [u8; 8] {
    let hash = digest(&SHA256, &parts.concat());
    let mut sum = [0; 8];
    sum.copy_from_slice(&hash.as_ref()[..8]);
    sum
}

fn record(number: u64, columns: &Columns) -> Vec<u8> {
    let bytes = columns.encode_to_vec();
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes();
    let number = number.to_be_bytes();
    let sum = checksum(&[&length, &number, &bytes]);
    [&length[..], &sum, &number, &bytes].concat()
}

/// The records of a file from a number on, and how many of its bytes are whole ones.
fn records(bytes: &[u8], first: u64) -> (Vec<Columns>, usize) {
    let (mut found, mut whole) = (Vec::new(), 0);
    for number in first.. {
        let Some((columns, length)) = one(&bytes[whole..], number) else {
            break;
        };
        found.push(columns);
        whole += length;
    }
    (found, whole)
}

fn one(bytes: &[u8], number: u64) -> Option<(Columns, usize)> {
    let (head, rest) = bytes.split_at_checked(HEAD)?;
    let length = usize::try_from(u32::from_be_bytes(head[..4].try_into().ok()?)).ok()?;
    let body = rest.get(..length).filter(|it| it.len() <= MOST_BYTES)?;
    let sum = checksum(&[&head[..4], &number.to_be_bytes(), body]);
    let is_whole = head[4..12] == sum && head[12..] == number.to_be_bytes();
    let columns = is_whole.then(|| Columns::decode(body).ok())??;
    Some((columns, HEAD + length))
}

fn read_state(folder: &Path, claim: ClaimId) -> Result<Option<(HubStreamId, u64)>, SpoolError> {
    let bytes = match std::fs::read(folder.join("stream")) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if bytes.len() != STATE || checksum(&[&bytes[..40]]) != bytes[40..] {
        return Err(SpoolError::Damaged);
    }
    if bytes[..16] != *claim.as_bytes() {
        return Err(SpoolError::OtherClaim);
    }
    let stream = HubStreamId::from_slice(&bytes[16..32]).ok_or(SpoolError::Damaged)?;
    let before = bytes[32..40].try_into().map_err(|_| SpoolError::Damaged)?;
    Ok(Some((stream, u64::from_be_bytes(before))))
}

pub(super) fn write_state(
    folder: &Path,
    claim: ClaimId,
    stream: HubStreamId,
    before: u64,
) -> Result<(), SpoolError> {
    let parts: [&[u8]; 3] = [claim.as_bytes(), stream.as_bytes(), &before.to_be_bytes()];
    let sum = checksum(&parts);
    let new = folder.join("stream.new");
    let mut file = private().create(true).truncate(true).open(&new)?;
    file.write_all(&[parts.concat(), sum.to_vec()].concat())?;
    file.sync_all()?;
    std::fs::rename(new, folder.join("stream"))?;
    sync(folder)?;
    Ok(())
}
