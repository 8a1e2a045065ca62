//! Why an installation cannot be opened: one line each, which names the path.

use std::path::{Path, PathBuf};

use hearth_ports::StoreError;

use crate::custody::CustodyError;
use crate::database::DatabaseError;

/// Why an installation cannot be opened. `Display` is one line for the operator.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder or a file in it cannot be made, read or written.
    #[error("{path}: cannot be opened: {}", source.kind())]
    Folder {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another process has it open.
    #[error("{path}: another process has this data folder open")]
    InUse {
        /// The data folder.
        path: PathBuf,
    },
    /// Two of data, keys and escrow lie inside one another, or are the same.
    #[error("{inner} lies inside {outer}: data, keys and escrow must be apart")]
    Inside {
        /// The one inside.
        inner: PathBuf,
        /// The one around it.
        outer: PathBuf,
    },
    /// There is no installation, and something else is in the way of a new one.
    #[error("{path}: no installation is here, and this is in the way of a new one")]
    NotEmpty {
        /// What is in the way.
        path: PathBuf,
    },
    /// The folder is of a format that this version does not know.
    #[error("{path}: written by a newer version, format {format}")]
    Newer {
        /// The file that says so.
        path: PathBuf,
        /// Its format.
        format: u32,
    },
    /// The file that names the installation is not what it should be.
    #[error("{path}: the file that names the installation is damaged")]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// The system gives no random bytes for a new installation's id.
    #[error("the system gives no random bytes")]
    NoRandomness,
    /// The runtime ended while the stores were being opened.
    #[error("opening was stopped")]
    Stopped,
    /// The leases of the process before cannot be ended.
    #[error("the leases of the process before cannot be ended")]
    Leases(#[source] StoreError),
    /// A database cannot be opened.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The keys or the escrow cannot be opened.
    #[error(transparent)]
    Custody(#[from] CustodyError),
}

impl OpenError {
    pub(super) fn folder(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Folder { path, source }
    }
}
