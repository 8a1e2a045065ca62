//! The installation that the story plays on: folders of its own, a clock that can be moved, mail to the sink.
//!
//! It starts and stops through the same wiring as `hearth up`; only the clock is another.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use hearth_backend_sqlite::Stores;
use hearth_host::config::SmtpTls;
use hearth_host::{Config, contract, smtp};
use hearth_ports::{AdjustableClock, Clock};
use tonic::transport::{Channel, Endpoint};

use super::people::Line;
use crate::installation::{Folders, Installation, Ports};
use crate::maintenance;
use crate::modules::MODULES;

/// How long the end of a start may take.
const GRACE: Duration = Duration::from_secs(10);
/// The name of the server that hubs are set up with.
pub(super) const AUDIENCE: &str = "hearth";

/// A running installation with its stores.
pub(super) struct Stage {
    pub(super) folders: Folders,
    pub(super) clock: AdjustableClock,
    config: Config,
    on: Option<On>,
}

struct On {
    installation: Installation,
    stores: Arc<Stores>,
}

impl Stage {
    /// Starts Hearth below `root`, with mail going to `relay`.
    pub(super) async fn start(root: &Path, relay: SocketAddr) -> Result<Self> {
        let mut config = Config::default();
        config.server.listen = "127.0.0.1:0".to_owned();
        config.smtp.host = relay.ip().to_string();
        config.smtp.port = relay.port();
        config.smtp.from = "hearth@hearth.test".to_owned();
        config.smtp.tls = SmtpTls::None;
        config.smtp.allow_private = true;
        config.smtp.timeout_seconds = 10;
        let mut stage = Self {
            folders: Folders::new(root.join("data"), None, None),
            clock: AdjustableClock::default(),
            config,
            on: None,
        };
        stage.resume().await?;
        // The story goes on where it was after a restart.
        stage.config.server.listen = stage.installation()?.address().to_string();
        Ok(stage)
    }

    /// Starts again what was stopped.
    pub(super) async fn resume(&mut self) -> Result<()> {
        let clock: Arc<dyn Clock> = Arc::new(self.clock.clone());
        let stores = Arc::new(self.folders.open(Arc::clone(&clock)).await?);
        let outbound = smtp::outbound(&self.config.smtp)?;
        let ports = Ports::embedded(&stores, &self.folders, outbound, Arc::clone(&clock));
        let files = Arc::clone(&ports.files);
        let tls = self.folders.tls();
        let installation = Box::pin(Installation::start(ports, &self.config, &tls)).await?;
        maintenance::start(&files, &clock, installation.tasks());
        installation.ready().await?;
        self.on = Some(On {
            installation,
            stores,
        });
        Ok(())
    }

    /// Ends it in order, with every file closed.
    pub(super) async fn stop(&mut self) -> Result<()> {
        let on = self.on.take().context("it runs")?;
        let clean = on.installation.stop(GRACE).await;
        on.stores.close();
        super::screen::check(clean, "a clean drain", "calls that were cut off")?;
        // The lock of the folder goes with the last holder of the stores, which a task may still be dropping.
        let mut stores = Some(on.stores);
        let gone = async {
            while let Some(held) = stores.take() {
                match Arc::try_unwrap(held) {
                    Ok(stores) => drop(stores),
                    Err(held) => {
                        stores = Some(held);
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                }
            }
        };
        tokio::time::timeout(GRACE, gone)
            .await
            .context("expected every task to let go of the stores; one did not")
    }

    pub(super) fn installation(&self) -> Result<&Installation> {
        Ok(&self.on.as_ref().context("it runs")?.installation)
    }

    /// Lets time pass, and waits until every cache has heard of it.
    pub(super) async fn pass(&self, time: Duration) -> Result<()> {
        self.clock.advance(time);
        Ok(self.installation()?.ready().await?)
    }

    /// Deletes for good what was deleted, as maintenance does every six hours.
    pub(super) async fn maintain(&self) -> Result<()> {
        let files = &self.installation()?.ports().files;
        Ok(files.scrub(self.clock.now()).await?)
    }

    /// The way to it.
    pub(super) fn line(&self) -> Result<Line> {
        let address = self.installation()?.address();
        let endpoint = Endpoint::from_shared(format!("http://{address}"))?
            .connect_timeout(Duration::from_secs(5));
        let channel: Channel = endpoint.connect_lazy();
        let rules = contract::rules(&MODULES).context("the table of methods")?;
        Ok(Line::new(channel, rules, self.clock.clone()))
    }

    /// Every file of data, keys and escrow.
    pub(super) fn files(&self) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for folder in [&self.folders.data, &self.folders.keys, &self.folders.escrow] {
            collect(folder, &mut files).with_context(|| folder.display().to_string())?;
        }
        Ok(files)
    }
}

/// Every file below a folder.
pub(super) fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), files)?;
        } else {
            files.push(entry.path());
        }
    }
    Ok(())
}

/// Copies a folder with all that is in it, as a thief or a backup would.
pub(super) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
