//! Where fetched servers are kept: outside of the tree, so that a clean checkout does not fetch them again.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::ServerError;
use crate::fetch::Server;

/// The folder of fetched servers. Each version of each server has a folder of its own, which is complete or absent.
#[derive(Clone, Debug)]
pub struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// The cache of this user: `$HEARTH_SERVERS`, else `$XDG_CACHE_HOME/hearth/servers`, else `~/.cache/hearth/servers`.
    ///
    /// # Errors
    /// When none of these variables is set.
    pub fn of_user() -> Result<Self, ServerError> {
        let named = |variable| std::env::var_os(variable).filter(|value| !value.is_empty());
        let folder = if let Some(folder) = named("HEARTH_SERVERS") {
            PathBuf::from(folder)
        } else if let Some(cache) = named("XDG_CACHE_HOME") {
            Path::new(&cache).join("hearth").join("servers")
        } else if let Some(home) = named("HOME") {
            Path::new(&home).join(".cache/hearth/servers")
        } else {
            return Err(ServerError::NoCache);
        };
        Ok(Self { folder })
    }

    /// A cache in this folder.
    #[must_use]
    pub const fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Where a server lies when it is there.
    #[must_use]
    pub fn folder(&self, server: Server) -> PathBuf {
        self.folder
            .join(format!("{}-{}", server.name(), server.version()))
    }

    /// The server's folder, if it was fetched.
    ///
    /// # Errors
    /// `Missing`, which says how to fetch it.
    pub fn have(&self, server: Server) -> Result<PathBuf, ServerError> {
        let folder = self.folder(server);
        if folder.is_dir() {
            Ok(folder)
        } else {
            Err(ServerError::Missing(server.name()))
        }
    }

    /// Puts a folder that was filled elsewhere in the cache into its place. Who comes second keeps the first one's.
    pub(crate) fn publish(&self, filled: &Path, server: Server) -> Result<PathBuf, ServerError> {
        let place = self.folder(server);
        match fs::rename(filled, &place) {
            Ok(()) => Ok(place),
            Err(_) if place.is_dir() => Ok(place),
            Err(source) => Err(ServerError::io("cannot put into the cache:", &place)(
                source,
            )),
        }
    }

    /// A folder to fill, on the same file system.
    pub(crate) fn scratch(&self) -> Result<tempfile::TempDir, ServerError> {
        fs::create_dir_all(&self.folder).map_err(ServerError::io("cannot create", &self.folder))?;
        tempfile::Builder::new()
            .prefix("fetching-")
            .tempdir_in(&self.folder)
            .map_err(ServerError::io("cannot create a folder in", &self.folder))
    }
}
