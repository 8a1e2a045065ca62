//! Envoy, with a configuration that a test renders.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use crate::cache::Cache;
use crate::error::ServerError;
use crate::fetch::Server;
use crate::http;
use crate::process::Process;

const READY_WITHIN: Duration = Duration::from_secs(30);

/// A running Envoy.
#[derive(Debug)]
pub struct Envoy {
    process: Process,
    _folder: TempDir,
}

impl Envoy {
    /// Starts it on this YAML configuration, whose admin port is `admin` on loopback.
    ///
    /// # Errors
    /// When it is not in the cache, refuses the configuration, or does not become ready.
    pub fn start(cache: &Cache, configuration: &str, admin: u16) -> Result<Self, ServerError> {
        let program = cache.have(Server::Envoy)?.join("envoy");
        let folder = tempfile::Builder::new()
            .prefix("hearth-envoy-")
            .tempdir()
            .map_err(ServerError::io("cannot create", std::env::temp_dir()))?;
        let path = folder.path().join("envoy.yaml");
        fs::write(&path, configuration).map_err(ServerError::io("cannot write", &path))?;
        let log = folder.path().join("envoy.log");
        let process = launch(&program, &path, log)?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, admin));
        process.wait_until(READY_WITHIN, || {
            matches!(http::get(address, "/ready"), Some((200, _)))
        })?;
        Ok(Self {
            process,
            _folder: folder,
        })
    }

    /// Its process.
    #[must_use]
    pub const fn process(&self) -> &Process {
        &self.process
    }
}

fn launch(program: &Path, config: &Path, log: std::path::PathBuf) -> Result<Process, ServerError> {
    Process::start("envoy", program, log, |command| {
        command
            .arg("--config-path")
            .arg(config)
            .args(["--concurrency", "1", "--log-level", "warn"])
            .args(["--disable-hot-restart"]);
    })
}
