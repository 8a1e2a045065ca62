//! An installation for one test: embedded stores in a folder of its own, port 0, mails kept instead of sent.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hearth::installation::Folders;
use hearth::{Installation, Ports};
use hearth_backend_memory::MemoryOutbound;
use hearth_backend_sqlite::Stores;
use hearth_host::Config;
use hearth_ports::{AdjustableClock, Clock, Log, Outbound};
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};

/// The longest that anything is waited for: far more than it takes, so that a slow machine does not fail a test.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A running installation and what surrounds it.
pub struct Sandbox {
    /// The installation; `None` while it is stopped.
    installation: Option<Installation>,
    stores: Option<Arc<Stores>>,
    /// The clock that everything asks.
    pub clock: AdjustableClock,
    /// The mails that went out.
    pub mails: Arc<MemoryOutbound>,
    /// The configuration.
    pub config: Config,
    /// What stands between the log and everything that uses it, at each start.
    over_log: Option<OverLog>,
    folder: TempDir,
}

/// Puts something between the log and its users: faults, a count.
pub type OverLog = Box<dyn Fn(Arc<dyn Log>) -> Arc<dyn Log> + Send + Sync>;

impl Sandbox {
    /// A new installation that is ready.
    pub async fn start() -> Self {
        Self::with(|_| ()).await
    }

    /// A new installation with a changed configuration.
    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        Self::begun(change, None).await
    }

    /// A new installation whose log is reached through something.
    pub async fn over_log(over_log: OverLog) -> Self {
        Self::begun(|_| (), Some(over_log)).await
    }

    async fn begun(change: impl FnOnce(&mut Config), over_log: Option<OverLog>) -> Self {
        // RUST_LOG=info shows what the installation says; nothing otherwise.
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        let _ = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_test_writer()
            .try_init();
        let mut config = Config::default();
        config.server.listen = "127.0.0.1:0".to_owned();
        config.server.rate_limits = false;
        cheap_passwords(&mut config);
        change(&mut config);
        let mut sandbox = Self {
            installation: None,
            stores: None,
            clock: AdjustableClock::default(),
            mails: Arc::default(),
            config,
            over_log,
            folder: tempfile::tempdir().unwrap(),
        };
        sandbox.resume().await;
        sandbox
    }

    /// Where the data lies.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The folder that holds data, keys and escrow.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    /// The installation.
    #[must_use]
    pub fn installation(&self) -> &Installation {
        self.installation
            .as_ref()
            .expect("the installation is stopped")
    }

    /// The stores.
    #[must_use]
    pub fn stores(&self) -> &Arc<Stores> {
        self.stores.as_ref().expect("the installation is stopped")
    }

    /// Starts what was stopped.
    pub async fn resume(&mut self) {
        let clock: Arc<dyn Clock> = Arc::new(self.clock.clone());
        let folders = Folders::new(self.data(), None, None);
        let stores = folders
            .open(Arc::clone(&clock))
            .await
            .unwrap_or_else(|e| panic!("{e}"));
        let stores = Arc::new(stores);
        let outbound: Arc<dyn Outbound> = Arc::clone(&self.mails) as _;
        let mut ports = Ports::embedded(&stores, &folders, outbound, clock);
        if let Some(over_log) = &self.over_log {
            ports.log = over_log(ports.log);
        }
        let started = Installation::start(ports, &self.config, self.folder.path()).await;
        let installation = started.unwrap_or_else(|exit| panic!("{exit}"));
        installation
            .ready()
            .await
            .unwrap_or_else(|exit| panic!("{exit}"));
        self.installation = Some(installation);
        self.stores = Some(stores);
    }

    /// Stops in order.
    pub async fn stop(&mut self) {
        if let Some(installation) = self.installation.take() {
            installation.stop(PATIENCE).await;
        }
        self.close();
    }

    fn close(&mut self) {
        if let Some(stores) = self.stores.take() {
            stores.close();
            // The folder is locked as long as anybody holds the stores: the tasks have ended.
            drop(stores);
        }
    }

    /// Stops and starts again.
    pub async fn restart(&mut self) {
        self.stop().await;
        self.resume().await;
    }

    /// A connection.
    pub async fn channel(&self) -> Channel {
        let address = self.installation().address();
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
        endpoint.connect().await.unwrap()
    }

    /// Waits until something holds, at most [`PATIENCE`].
    pub async fn until<T>(&self, what: &str, probe: impl AsyncFn() -> Option<T>) -> T {
        let wait = async {
            loop {
                if let Some(found) = probe().await {
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let found = tokio::time::timeout(PATIENCE, wait).await;
        found.unwrap_or_else(|_| panic!("waited in vain for {what}"))
    }
}

/// Hashes passwords with little memory: at full strength that would be most of what a test does.
pub fn cheap_passwords(config: &mut Config) {
    let cheap = serde_json::json!({ "password_memory_kib": 1024 });
    config.modules.insert("accounts".to_owned(), cheap);
}
