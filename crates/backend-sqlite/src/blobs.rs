//! Blobs in a folder: each object a file that appears whole, or not at all, and never changes.
//!
//! An object is written beside, synced, and linked to its name, which fails when the name is taken; then the
//! folders are synced. A key's tokens are folders and its last one is the file; `.o` ends the file's name, so
//! that `a` and `a/b` do not meet (no token has a dot). Deleting unlinks: what the medium keeps below the
//! file system is sealed, and its keys go.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write as _};
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use hearth_ports::{BlobKey, Blobs, StoreError};
use tokio::sync::Semaphore;

use crate::database::sync_folder;
use crate::failure::io_failed;
use crate::folder::make_private;
use crate::readers::{blocking, blocking_write};

/// The greatest object. A greater one is `Terminal`.
pub const MAX_BLOB_BYTES: usize = 64 << 20;
/// Bytes of one name. File systems allow 255; a token that is longer is spread over folders.
const NAME_BYTES: usize = 200;
/// Operations on files at once.
const AT_ONCE: usize = 8;
/// Where objects are written before they have their name. No token begins with a dot.
const UNFINISHED: &str = ".unfinished";
/// The end of an object's file name.
const END: &str = ".o";

/// Blobs in a folder.
#[derive(Debug)]
pub struct FolderBlobs {
    root: PathBuf,
    permits: Arc<Semaphore>,
    next: Arc<AtomicU64>,
}

impl FolderBlobs {
    /// Opens the folder, makes it if it is not there, and clears away what a crash left unfinished.
    ///
    /// # Errors
    /// When the folder cannot be made or read.
    pub fn open(root: &Path) -> io::Result<Self> {
        make_private(root)?;
        let unfinished = root.join(UNFINISHED);
        make_private(&unfinished)?;
        for entry in std::fs::read_dir(&unfinished)? {
            std::fs::remove_file(entry?.path())?;
        }
        Ok(Self {
            root: root.to_owned(),
            permits: Arc::new(Semaphore::new(AT_ONCE)),
            next: Arc::default(),
        })
    }

    /// Later calls fail; those under way end by themselves.
    pub fn close(&self) {
        self.permits.close();
    }

    async fn run<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        F: FnOnce(&Path) -> Result<T, StoreError> + Send + 'static,
        T: Send + 'static,
    {
        let root = self.root.clone();
        blocking(&self.permits, move || work(&root)).await
    }
}

/// The file of a key.
fn path_of(root: &Path, key: &BlobKey) -> PathBuf {
    let mut path = root.to_owned();
    let mut tokens = key.as_str().split('/').peekable();
    while let Some(token) = tokens.next() {
        let mut rest = token;
        // Keys are ASCII, so every index is the boundary of a character.
        while let Some((piece, more)) = rest.split_at_checked(NAME_BYTES)
            && !more.is_empty()
        {
            path.push(format!("{piece}+"));
            rest = more;
        }
        if tokens.peek().is_some() {
            path.push(rest);
        } else {
            path.push(format!("{rest}{END}"));
        }
    }
    path
}

/// Creates the file beside, then gives it its name.
fn create(root: &Path, unfinished: &Path, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let written = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(unfinished)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        });
    let linked = written.and_then(|()| link(root, unfinished, path));
    // Whatever became of it: the other name is not needed any more.
    let _ = std::fs::remove_file(unfinished);
    match linked {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(StoreError::Conflict);
        }
        Err(error) => return Err(StoreError::Retryable(Arc::new(error))),
    }
    // The name is there, so it may be found from now on; whether it survives a power cut is not known.
    sync_up(root, path).map_err(|error| StoreError::Unknown(Arc::new(error)))
}

fn link(root: &Path, unfinished: &Path, path: &Path) -> io::Result<()> {
    // A folder that becomes empty is removed by a delete, perhaps between the two steps here.
    let mut tries = 8;
    loop {
        make_folders(root, path)?;
        tries -= 1;
        match std::fs::hard_link(unfinished, path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && tries > 0 => {}
            other => return other,
        }
    }
}

/// Makes the folders above a file.
fn make_folders(root: &Path, path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    match path.parent() {
        Some(parent) if parent != root => std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(parent),
        _ => Ok(()),
    }
}

/// Syncs the folders from a file's own up to the root.
fn sync_up(root: &Path, path: &Path) -> io::Result<()> {
    for folder in path.ancestors().skip(1) {
        sync_folder(folder)?;
        if folder == root {
            break;
        }
    }
    Ok(())
}

/// Unlinks the file, and the folders that are empty then.
fn delete(root: &Path, path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        other => other?,
    }
    for folder in path.ancestors().skip(1) {
        if folder == root || std::fs::remove_dir(folder).is_err() {
            // The first folder that stays holds the name that has gone.
            return match sync_folder(folder) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                other => other,
            };
        }
    }
    Ok(())
}

/// The least keys of a listing, of which only so many are wanted.
struct Listing<'a> {
    prefix: &'a str,
    after: Option<&'a str>,
    limit: usize,
    found: BTreeSet<String>,
}

impl Listing<'_> {
    /// Whether a key that begins with this text can be in the listing.
    fn may_hold(&self, beginning: &str) -> bool {
        let in_prefix = beginning.starts_with(self.prefix) || self.prefix.starts_with(beginning);
        let after = self
            .after
            .is_none_or(|after| beginning > after || after.starts_with(beginning));
        in_prefix && after && !self.is_beyond(beginning)
    }

    /// Whether there are enough keys that are less.
    fn is_beyond(&self, key: &str) -> bool {
        let last = self.found.last();
        self.found.len() >= self.limit && last.is_none_or(|last| key >= last.as_str())
    }

    fn add(&mut self, key: String) {
        let wanted = key.starts_with(self.prefix)
            && self.after.is_none_or(|after| key.as_str() > after)
            && !self.is_beyond(&key);
        if wanted {
            self.found.insert(key);
            if self.found.len() > self.limit {
                self.found.pop_last();
            }
        }
    }

    /// Looks through a folder, whose keys begin with this text, in the order of the keys.
    fn walk(&mut self, folder: &Path, beginning: &str) -> io::Result<()> {
        let mut names = BTreeSet::new();
        match std::fs::read_dir(folder) {
            // Removed meanwhile, with all it held.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => {
                for entry in entries? {
                    let name = entry?.file_name();
                    names.extend(name.to_str().map(|name| Name::parse(beginning, name)));
                }
            }
        }
        for name in names {
            match name {
                Name::Object(key) => self.add(key),
                Name::Folder(beginning, name) if self.may_hold(&beginning) => {
                    self.walk(&folder.join(name), &beginning)?;
                }
                Name::Folder(..) | Name::Other => {}
            }
        }
        Ok(())
    }
}

/// What a name in a folder stands for. Sorted as the keys are, as far as that can be told.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    Object(String),
    /// What its keys begin with, and its name.
    Folder(String, String),
    Other,
}

impl Name {
    fn parse(beginning: &str, name: &str) -> Self {
        if name.starts_with('.') {
            Self::Other
        } else if let Some(token) = name.strip_suffix(END) {
            Self::Object(format!("{beginning}{token}"))
        } else if let Some(piece) = name.strip_suffix('+') {
            Self::Folder(format!("{beginning}{piece}"), name.to_owned())
        } else {
            Self::Folder(format!("{beginning}{name}/"), name.to_owned())
        }
    }
}

#[async_trait]
impl Blobs for FolderBlobs {
    async fn create(&self, key: &BlobKey, bytes: Bytes) -> Result<(), StoreError> {
        if bytes.len() > MAX_BLOB_BYTES {
            return Err(StoreError::terminal("an object is at most 64 MiB"));
        }
        let path = path_of(&self.root, key);
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let root = self.root.clone();
        blocking_write(&self.permits, move || {
            let unfinished = root.join(UNFINISHED).join(number.to_string());
            create(&root, &unfinished, &path, &bytes)
        })
        .await
    }

    async fn length(&self, key: &BlobKey) -> Result<u64, StoreError> {
        let path = path_of(&self.root, key);
        self.run(move |_| {
            let data = std::fs::metadata(path).map_err(io_failed)?;
            Ok(data.len())
        })
        .await
    }

    async fn read(&self, key: &BlobKey, range: Range<u64>) -> Result<Bytes, StoreError> {
        let path = path_of(&self.root, key);
        self.run(move |_| {
            let file = File::open(path).map_err(io_failed)?;
            let length = file.metadata().map_err(io_failed)?.len();
            let (start, end) = (range.start.min(length), range.end.min(length));
            let bytes = usize::try_from(end.saturating_sub(start))
                .map_err(|_| StoreError::terminal("the range does not fit into memory"))?;
            let mut buffer = vec![0; bytes];
            file.read_exact_at(&mut buffer, start).map_err(io_failed)?;
            Ok(Bytes::from(buffer))
        })
        .await
    }

    async fn delete(&self, key: &BlobKey) -> Result<(), StoreError> {
        let path = path_of(&self.root, key);
        self.run(move |root| delete(root, &path).map_err(io_failed))
            .await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&BlobKey>,
        limit: usize,
    ) -> Result<Vec<BlobKey>, StoreError> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let (prefix, after) = (prefix.to_owned(), after.cloned());
        self.run(move |root| {
            let mut listing = Listing {
                prefix: &prefix,
                after: after.as_ref().map(BlobKey::as_str),
                limit,
                found: BTreeSet::new(),
            };
            listing.walk(root, "").map_err(io_failed)?;
            Ok(listing
                .found
                .iter()
                .filter_map(|key| BlobKey::parse(key))
                .collect())
        })
        .await
    }
}
