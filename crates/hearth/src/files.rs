//! The files of an embedded installation, as an erasure searches them.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use hearth_backend_sqlite::Stores;
use hearth_kernel::Timestamp;
use hearth_ports::{Holding, Series, StoreError, StoredFile, StoredFiles};

use crate::installation::Folders;

/// Data, keys and escrow.
pub struct EmbeddedFiles {
    stores: Arc<Stores>,
    folders: Folders,
}

impl EmbeddedFiles {
    /// The files of these stores, which lie in these folders.
    #[must_use]
    pub const fn new(stores: Arc<Stores>, folders: Folders) -> Self {
        Self { stores, folders }
    }

    fn roots(&self) -> [(&'static str, &Path); 3] {
        let folders = &self.folders;
        [
            ("data", &folders.data),
            ("keys", &folders.keys),
            ("escrow", &folders.escrow),
        ]
    }

    fn named(&self, path: &Path) -> Option<StoredFile> {
        self.roots().into_iter().find_map(|(root, folder)| {
            let inside = path.strip_prefix(folder).ok()?.to_str()?;
            let holds = if root == "data" {
                holding(inside)
            } else {
                Holding::Keys
            };
            Some(StoredFile {
                name: format!("{root}/{inside}"),
                holds,
            })
        })
    }

    fn path(&self, file: &StoredFile) -> Option<PathBuf> {
        let (root, inside) = file.name.split_once('/')?;
        let (_, folder) = self.roots().into_iter().find(|(name, _)| *name == root)?;
        Some(folder.join(inside))
    }
}

fn holding(inside: &str) -> Holding {
    let begins = |prefix: &str| inside.starts_with(prefix);
    match () {
        () if begins("log.db") => Holding::Log,
        () if begins("telemetry/") => Holding::Frames,
        () if begins("documents.db") => Holding::Documents,
        () if begins("series.db") => Holding::Series,
        () if begins("blobs/") => Holding::Blobs,
        () => Holding::Other,
    }
}

#[async_trait]
impl StoredFiles for EmbeddedFiles {
    async fn scrub(&self, now: Timestamp) -> Result<(), StoreError> {
        self.stores.expire(now).await?;
        self.stores.series.expire(now).await?;
        self.stores.scrub().await
    }

    fn files(&self) -> io::Result<Vec<StoredFile>> {
        let named = |path: &PathBuf| {
            // A file that were passed over would be a hole in the proof.
            let nameless = || io::Error::new(io::ErrorKind::InvalidData, "a name is no text");
            self.named(path).ok_or_else(nameless)
        };
        self.stores.files()?.iter().map(named).collect()
    }

    fn open(&self, file: &StoredFile) -> io::Result<Box<dyn Read + Send>> {
        let path = self.path(file).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(File::open(path)?))
    }
}
