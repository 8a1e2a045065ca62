//! The data folder, its keys and its escrow: made once, whole or to be finished, and opened by one process at a time.
//!
//! Making one goes in steps, of which the last gives it its name: `installation.new` says whose the parts are
//! that follow, and becomes `installation` when all of them are there. A crash in between leaves something that
//! the next start finishes; keys that belong to something else are never taken over.

mod error;
#[cfg(test)]
mod tests;

use std::fs::{File, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hearth_kernel::{InstallationId, Timestamp};
use hearth_ports::{Clock, StoreError};

use crate::blobs::FolderBlobs;
use crate::custody::{EPOCHS, FileCustody, create_epochs, create_escrow, installation_of};
use crate::database::sync_folder;
use crate::documents::SqliteDocuments;
use crate::leases::SqliteLeases;
use crate::log::SqliteLog;
use crate::series::SqliteSeries;
pub use error::OpenError;

/// The format of the folder as a whole.
const FORMAT: u32 = 1;
/// The first line of the file `installation`.
const TITLE: &str = "hearth data folder";
/// The file that names the installation, and that says that all parts are there.
const INSTALLATION: &str = "installation";
/// The same, while parts are still missing.
const UNFINISHED: &str = "installation.new";
/// The same, while it is being written.
const HALF: &str = "installation.half";
/// The file that the process which owns the folder has locked.
const LOCK: &str = "lock";

/// Every store of one installation, open. Dropping it closes them and lets the folder go.
#[derive(Debug)]
pub struct Stores {
    /// Whose data and keys these are.
    pub installation: InstallationId,
    /// Log and telemetry.
    pub log: Arc<SqliteLog>,
    /// Documents.
    pub documents: Arc<SqliteDocuments>,
    /// Series.
    pub series: Arc<SqliteSeries>,
    /// Blobs.
    pub blobs: Arc<FolderBlobs>,
    /// Epoch keys and escrowed rings.
    pub custody: Arc<FileCustody>,
    /// Leases.
    pub leases: Arc<SqliteLeases>,
    folders: Folders,
    /// Held as long as the stores are open; the system lets go of it also when the process is killed.
    _lock: File,
}

/// Where everything lies.
#[derive(Clone, Debug)]
struct Folders {
    data: PathBuf,
    keys: PathBuf,
    escrow: PathBuf,
}

/// The data folder of an installation.
#[derive(Debug)]
pub struct DataFolder;

impl DataFolder {
    /// Opens an installation, or makes a new one when data, keys and escrow are all empty or not there.
    ///
    /// The clock dates messages, leases and tombstones.
    ///
    /// # Errors
    /// See [`OpenError`]; each is one line that names the path.
    pub async fn open(
        data: &Path,
        keys: &Path,
        escrow: &Path,
        clock: Arc<dyn Clock>,
    ) -> Result<Stores, OpenError> {
        let folders = Folders {
            data: data.to_owned(),
            keys: keys.to_owned(),
            escrow: escrow.to_owned(),
        };
        let opened = tokio::task::spawn_blocking(move || open(&folders, clock, &mut |_| Ok(())));
        let stores = opened.await.map_err(|_| OpenError::Stopped)??;
        // Whoever held them had the folder locked, and is gone.
        stores.leases.end_all().await.map_err(OpenError::Leases)?;
        Ok(stores)
    }
}

impl Stores {
    /// Makes the bytes of everything deleted vanish from every file. Takes a while on a great store.
    ///
    /// What stays: frames of days that were not trimmed, and what file system and medium keep below the files.
    ///
    /// # Errors
    /// The first failure; scrubbing again is harmless.
    pub async fn scrub(&self) -> Result<(), StoreError> {
        self.log.scrub().await?;
        self.documents.scrub().await?;
        self.series.scrub().await
    }

    /// Drops tombstones of documents whose time is over. Answers how many.
    ///
    /// # Errors
    /// `Retryable`; again is harmless.
    pub async fn expire(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.documents.expire(now).await
    }

    /// Every file of data, keys and escrow there is now: what a search must look through, in this order. A WAL comes
    /// before its database, because a checkpoint moves bytes from one to the other and never back. Blocks.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub fn files(&self) -> io::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        let folders = &self.folders;
        for folder in [&folders.data, &folders.keys, &folders.escrow] {
            collect(folder, &mut files)?;
        }
        let is_wal = |path: &PathBuf| path.to_string_lossy().ends_with("-wal");
        files.sort_by_cached_key(|path| (!is_wal(path), path.clone()));
        Ok(files)
    }

    /// Commits what is queued, ends every tail and closes the files. Blocks until that is done; what is called
    /// afterwards fails as `Retryable`.
    pub fn close(&self) {
        self.blobs.close();
        self.custody.close();
        self.log.close();
        self.documents.close();
        self.series.close();
    }
}

impl Drop for Stores {
    fn drop(&mut self) {
        // Also when somebody still holds one of the stores: nothing may be written once the lock is gone.
        self.close();
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let entries = match std::fs::read_dir(folder) {
        // A folder of blobs that became empty meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        let kind = entry.file_type()?;
        if kind.is_dir() {
            collect(&path, files)?;
        } else if kind.is_file() || kind.is_symlink() {
            // A socket or a pipe, such as an operator's admin port, holds nothing and cannot be read to an end.
            files.push(path);
        }
    }
    Ok(())
}

/// One step of making an installation, as tests see it: they end it there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Folders,
    Lock,
    Begin,
    Keys,
    Escrow,
    Stores,
    Finish,
}

type Steps<'a> = &'a mut dyn FnMut(Step) -> Result<(), OpenError>;

fn open(folders: &Folders, clock: Arc<dyn Clock>, step: Steps<'_>) -> Result<Stores, OpenError> {
    check_apart(folders)?;
    step(Step::Folders)?;
    make_all(&folders.data)?;
    step(Step::Lock)?;
    let lock = lock(&folders.data)?;
    let (installation, finished) = match read_installation(&folders.data.join(INSTALLATION))? {
        Some(id) => (id, true),
        None => (begin(folders, step)?, false),
    };
    if !finished {
        make_all(&folders.keys)?;
        make_all(&folders.escrow)?;
        step(Step::Keys)?;
        create_epochs(&folders.keys.join(EPOCHS), installation)?;
        step(Step::Escrow)?;
        create_escrow(&folders.escrow, installation)?;
        step(Step::Stores)?;
    }
    let custody = FileCustody::open(&folders.keys, &folders.escrow, installation)?;
    let log = SqliteLog::open(&folders.data, Arc::clone(&clock))?;
    let documents = SqliteDocuments::open(&folders.data, Arc::clone(&clock))?;
    let leases = SqliteLeases::new(&documents, clock);
    let series = SqliteSeries::open(&folders.data)?;
    let blobs = folders.data.join("blobs");
    let blobs = FolderBlobs::open(&blobs).map_err(OpenError::folder(&blobs))?;
    if !finished {
        step(Step::Finish)?;
        let data = &folders.data;
        std::fs::rename(data.join(UNFINISHED), data.join(INSTALLATION))
            .and_then(|()| sync_folder(data))
            .map_err(OpenError::folder(data))?;
    }
    Ok(Stores {
        installation,
        log: Arc::new(log),
        documents: Arc::new(documents),
        series: Arc::new(series),
        blobs: Arc::new(blobs),
        custody: Arc::new(custody),
        leases: Arc::new(leases),
        folders: folders.clone(),
        _lock: lock,
    })
}

/// Finds the unfinished installation, or begins a new one where nothing is yet.
fn begin(folders: &Folders, step: Steps<'_>) -> Result<InstallationId, OpenError> {
    let unfinished = folders.data.join(UNFINISHED);
    if let Some(id) = read_installation(&unfinished)? {
        return Ok(id);
    }
    let known = [LOCK, HALF].map(|name| folders.data.join(name));
    if let Some(path) = first_entry(&folders.data, &known)? {
        return Err(OpenError::NotEmpty { path });
    }
    for folder in [&folders.keys, &folders.escrow] {
        let path = folder.join(EPOCHS);
        match installation_of(&path) {
            Ok(found) => return Err(crate::CustodyError::Foreign { path, found }.into()),
            Err(crate::CustodyError::Missing { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        if let Some(path) = first_entry(folder, &[])? {
            return Err(OpenError::NotEmpty { path });
        }
    }
    step(Step::Begin)?;
    let id = new_id().ok_or(OpenError::NoRandomness)?;
    let write = || {
        let half = folders.data.join(HALF);
        let mut file = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&half)?;
        writeln!(file, "{TITLE}\nformat {FORMAT}\ninstallation {id}")?;
        file.sync_all()?;
        std::fs::rename(half, &unfinished)?;
        sync_folder(&folders.data)
    };
    write().map_err(OpenError::folder(&folders.data))?;
    Ok(id)
}

fn new_id() -> Option<InstallationId> {
    use ring::rand::SecureRandom as _;
    let mut bytes = [0; 16];
    ring::rand::SystemRandom::new().fill(&mut bytes).ok()?;
    // A UUID of version 8, as every id of Hearth is: custom bits.
    bytes[6] = (bytes[6] & 0x0f) | 0x80;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    Some(InstallationId::from_bytes(bytes))
}

/// Something in a folder that is not one of these; `None` when there is nothing, or no folder.
fn first_entry(folder: &Path, known: &[PathBuf]) -> Result<Option<PathBuf>, OpenError> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(OpenError::folder(folder))?,
    };
    for entry in entries {
        let path = entry.map_err(OpenError::folder(folder))?.path();
        if !known.contains(&path) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// The installation that a file names; `None` when it is not there.
fn read_installation(path: &Path) -> Result<Option<InstallationId>, OpenError> {
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(OpenError::folder(path))?,
    };
    let damaged = || OpenError::Damaged {
        path: path.to_owned(),
    };
    let mut lines = text.lines();
    let title = lines.next();
    let format: Option<u32> = lines
        .next()
        .and_then(|line| line.strip_prefix("format ")?.parse().ok());
    match (title, format) {
        (Some(TITLE), Some(format)) if format > FORMAT => Err(OpenError::Newer {
            path: path.to_owned(),
            format,
        }),
        (Some(TITLE), Some(_)) => lines
            .next()
            .and_then(|line| line.strip_prefix("installation ")?.parse().ok())
            .map(Some)
            .ok_or_else(damaged),
        _ => Err(damaged()),
    }
}

/// Locks the folder for this process.
fn lock(data: &Path) -> Result<File, OpenError> {
    let path = data.join(LOCK);
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(OpenError::folder(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse {
            path: data.to_owned(),
        }),
        Err(TryLockError::Error(error)) => Err(OpenError::folder(&path)(error)),
    }
}

/// Refuses folders that lie inside one another, or are one and the same, by whatever links.
fn check_apart(folders: &Folders) -> Result<(), OpenError> {
    let all = [&folders.data, &folders.keys, &folders.escrow];
    let mut resolved = Vec::new();
    for folder in all {
        resolved.push(resolve(folder).map_err(OpenError::folder(folder))?);
    }
    for (inner, a) in all.iter().zip(&resolved) {
        for (outer, b) in all.iter().zip(&resolved) {
            if !std::ptr::eq(a, b) && a.starts_with(b) {
                return Err(OpenError::Inside {
                    inner: (*inner).clone(),
                    outer: (*outer).clone(),
                });
            }
        }
    }
    Ok(())
}

/// The path without links; of what is not there yet, as it will be.
fn resolve(path: &Path) -> io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    let mut missing = Vec::new();
    let mut there = path.as_path();
    loop {
        match there.canonicalize() {
            Ok(mut found) => {
                found.extend(missing.iter().rev());
                return Ok(found);
            }
            // A link to nowhere would be made into something nobody has checked.
            Err(error) if there.is_symlink() => return Err(error),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let (Some(parent), Some(name)) = (there.parent(), there.file_name()) else {
                    return Err(error);
                };
                missing.push(name);
                there = parent;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Makes a folder and those above it, for this user only.
fn make_all(path: &Path) -> Result<(), OpenError> {
    let mut missing: Vec<&Path> = path
        .ancestors()
        .take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists())
        .collect();
    while let Some(folder) = missing.pop() {
        make_private(folder).map_err(OpenError::folder(path))?;
    }
    if path.is_dir() {
        Ok(())
    } else {
        let error = io::Error::from(io::ErrorKind::NotADirectory);
        Err(OpenError::folder(path)(error))
    }
}

/// Makes a folder for this user only, if it is not there.
pub(crate) fn make_private(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    match std::fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => sync_folder(parent),
            _ => sync_folder(Path::new(".")),
        },
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}
