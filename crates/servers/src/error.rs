//! Why a server is not there. Tests print it, and an operator of the tests acts on it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why a server could not be fetched or started.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// There is no folder to keep servers in.
    #[error("no cache folder: set HEARTH_SERVERS, XDG_CACHE_HOME or HOME")]
    NoCache,
    /// A file or folder could not be used.
    #[error("{what} {path}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A program that fetches or starts is not installed.
    #[error("{program} does not start")]
    Program {
        /// Which.
        program: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A program that fetches failed.
    #[error("{program} failed: {output}")]
    Failed {
        /// Which.
        program: String,
        /// The end of what it said.
        output: String,
    },
    /// The server is not in the cache, and was not to be fetched.
    #[error("{0} is not in the cache; `cargo xtask servers fetch` brings it")]
    Missing(&'static str),
    /// The server ended, or did not become ready in time.
    #[error("{name} was not ready within {within:?}; the end of its log:\n{log}")]
    NotReady {
        /// Which.
        name: String,
        /// The bound.
        within: Duration,
        /// The end of its log.
        log: String,
    },
    /// A server answered something else than was asked for.
    #[error("{name} answered: {answer}")]
    Answer {
        /// Which.
        name: String,
        /// What it said.
        answer: String,
    },
}

impl ServerError {
    /// For `map_err` of something done to a path.
    pub(crate) fn io(
        what: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }
}
