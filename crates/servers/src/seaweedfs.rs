//! SeaweedFS: an S3 store in one process.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tempfile::TempDir;

use crate::cache::Cache;
use crate::error::ServerError;
use crate::fetch::Server;
use crate::http;
use crate::ports::free_ports;
use crate::process::Process;

const READY_WITHIN: Duration = Duration::from_secs(60);

/// The access key of tests.
const ACCESS_KEY: &str = "hearth-test-access";
/// Its secret.
const SECRET_KEY: &str = "hearth-test-secret";

/// A running S3 store.
#[derive(Debug)]
pub struct SeaweedFs {
    program: PathBuf,
    folder: TempDir,
    ports: [u16; 8],
    process: Mutex<Option<Process>>,
}

impl SeaweedFs {
    /// Starts it.
    ///
    /// # Errors
    /// When it is not in the cache or does not become ready.
    pub fn start(cache: &Cache) -> Result<Self, ServerError> {
        let program = cache.have(Server::SeaweedFs)?.join("weed");
        let folder = tempfile::Builder::new()
            .prefix("hearth-s3-")
            .tempdir()
            .map_err(ServerError::io("cannot create", std::env::temp_dir()))?;
        let identities = format!(
            r#"{{"identities":[{{"name":"test","credentials":[{{"accessKey":"{ACCESS_KEY}","secretKey":"{SECRET_KEY}"}}],"actions":["Admin","Read","List","Tagging","Write"]}}]}}"#
        );
        let path = folder.path().join("identities.json");
        fs::write(&path, identities).map_err(ServerError::io("cannot write", &path))?;
        let data = folder.path().join("data");
        fs::create_dir(&data).map_err(ServerError::io("cannot create", &data))?;
        let ports = free_ports::<8>().map_err(ServerError::io("no free port in", "/"))?;
        let store = Self {
            program,
            folder,
            ports,
            process: Mutex::new(None),
        };
        store.restart()?;
        Ok(store)
    }

    /// Starts it again on its ports and data, and waits until it is ready.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn restart(&self) -> Result<(), ServerError> {
        self.kill();
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        let (data, config, log) = (path("data"), path("identities.json"), path("weed.log"));
        let [
            master,
            master_grpc,
            volume,
            volume_grpc,
            filer,
            filer_grpc,
            s3,
            s3_grpc,
        ] = self.ports;
        let process = Process::start("seaweedfs", &self.program, log.into(), |command| {
            command
                .args(["server", "-s3", "-ip=127.0.0.1", "-volume.max=64"])
                .args(["-master.volumeSizeLimitMB=64", "-master.telemetry=false"])
                // Their ports are fixed otherwise, and two stores would fight for them.
                .args(["-s3.port.iceberg=0", "-s3.port.lance=0"])
                .arg(format!("-dir={data}"))
                .arg(format!("-master.port={master}"))
                .arg(format!("-master.port.grpc={master_grpc}"))
                .arg(format!("-volume.port={volume}"))
                .arg(format!("-volume.port.grpc={volume_grpc}"))
                .arg(format!("-filer.port={filer}"))
                .arg(format!("-filer.port.grpc={filer_grpc}"))
                .arg(format!("-s3.port={s3}"))
                .arg(format!("-s3.port.grpc={s3_grpc}"))
                .arg(format!("-s3.config={config}"));
        })?;
        let address = self.address();
        process.wait_until(READY_WITHIN, || {
            matches!(http::get(address, "/status"), Some((200, _)))
        })?;
        *self.process.lock().unwrap_or_else(PoisonError::into_inner) = Some(process);
        Ok(())
    }

    /// SIGKILL.
    pub fn kill(&self) {
        let mut held = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(process) = held.take() {
            process.kill();
        }
    }

    /// Does something to its process.
    pub fn with_process(&self, act: impl FnOnce(&Process)) {
        let held = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(process) = &*held {
            act(process);
        }
    }

    /// The address of its S3 API.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.ports[6]))
    }

    /// The endpoint as S3 clients take it.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Access key and secret.
    #[must_use]
    pub const fn credentials(&self) -> (&'static str, &'static str) {
        (ACCESS_KEY, SECRET_KEY)
    }

    /// Where it keeps its data.
    #[must_use]
    pub fn data(&self) -> &Path {
        self.folder.path()
    }
}
