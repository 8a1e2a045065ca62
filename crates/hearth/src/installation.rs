//! An installation in one process: the ports it runs on, the vault, what is known of people, and the services.
//!
//! The order matters: the port is taken first, so that an occupied one is said before anything is opened;
//! the vault comes before the services, because each needs its hash key to name anything.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hearth_access::Access;
use hearth_backend_sqlite::{DataFolder, DatabaseError, OpenError, Stores};
use hearth_engine::Watermarks;
use hearth_host::admin::AdminBound;
use hearth_host::{
    Bound, Config, Context, Erasing, Exit, Metrics, Module, Plan, Readiness, Running,
};
use hearth_kernel::{Service, Timestamp};
use hearth_ports::tasks::Chain;
use hearth_ports::{
    Blobs, Clock, Documents, KeyCustody, Leases, Log, Outbound, Series, StoredFiles, Tasks,
};
use hearth_rpc::token::Parties;
use hearth_rpc::{Authority, TokenKeys};
use hearth_vault::Vault;

use crate::files::EmbeddedFiles;
use crate::modules::MODULES;

/// How long the process waits for its own relays and caches before it says it is not ready.
const READY_WITHIN: Duration = Duration::from_secs(10);

/// How long each owner of tasks has to end them when the start fails.
const STOP_WITHIN: Duration = Duration::from_secs(2);

/// The ports that an installation runs on.
#[derive(Clone)]
pub struct Ports {
    /// The log.
    pub log: Arc<dyn Log>,
    /// The documents.
    pub documents: Arc<dyn Documents>,
    /// The series.
    pub series: Arc<dyn Series>,
    /// The blobs.
    pub blobs: Arc<dyn Blobs>,
    /// The epoch keys.
    pub custody: Arc<dyn KeyCustody>,
    /// The leases.
    pub leases: Arc<dyn Leases>,
    /// The files that the stores write.
    pub files: Arc<dyn StoredFiles>,
    /// The channels out.
    pub outbound: Arc<dyn Outbound>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
}

impl Ports {
    /// The embedded stores as ports.
    #[must_use]
    pub fn embedded(
        stores: &Arc<Stores>,
        folders: &Folders,
        outbound: Arc<dyn Outbound>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            log: Arc::clone(&stores.log) as _,
            documents: Arc::clone(&stores.documents) as _,
            series: Arc::clone(&stores.series) as _,
            blobs: Arc::clone(&stores.blobs) as _,
            custody: Arc::clone(&stores.custody) as _,
            leases: Arc::clone(&stores.leases) as _,
            files: Arc::new(EmbeddedFiles::new(Arc::clone(stores), folders.clone())),
            outbound,
            clock,
        }
    }
}

/// Where an installation keeps its data, its keys and the copy of its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folders {
    /// Data.
    pub data: PathBuf,
    /// Epoch keys: never inside the data, nor in its backups.
    pub keys: PathBuf,
    /// The second copy of the keys.
    pub escrow: PathBuf,
}

impl Folders {
    /// Keys and escrow beside the data, as `DIR.keys` and `DIR.escrow`, unless they are named.
    #[must_use]
    pub fn new(data: PathBuf, keys: Option<PathBuf>, escrow: Option<PathBuf>) -> Self {
        let keys = keys.unwrap_or_else(|| beside(&data, ".keys"));
        let escrow = escrow.unwrap_or_else(|| beside(&data, ".escrow"));
        Self { data, keys, escrow }
    }

    /// Where a local CA lives, if TLS is needed: `DIR.tls`.
    #[must_use]
    pub fn tls(&self) -> PathBuf {
        beside(&self.data, ".tls")
    }

    /// Opens the stores.
    ///
    /// # Errors
    /// `Usage`, in one line that names the path.
    pub async fn open(&self, clock: Arc<dyn Clock>) -> Result<Stores, Exit> {
        for secret in [&self.keys, &self.escrow] {
            hearth_host::folder::refuse_shared(secret)?;
        }
        DataFolder::open(&self.data, &self.keys, &self.escrow, clock)
            .await
            .map_err(|error| match &error {
                // Only these leave what is wrong to their cause.
                OpenError::Database(DatabaseError::Sqlite { .. }) | OpenError::Leases(_) => {
                    Exit::usage(Chain(&error).to_string())
                }
                _ => Exit::usage(error.to_string()),
            })
    }
}

/// A path beside a folder, however the folder is written: `DIR` and `DIR/` are the same, and `.` has a name of its own.
fn beside(folder: &Path, suffix: &str) -> PathBuf {
    let named = match folder.file_name() {
        Some(_) => folder.components().collect(),
        None => folder.canonicalize().unwrap_or_else(|_| folder.to_owned()),
    };
    let mut name = named.into_os_string();
    name.push(suffix);
    PathBuf::from(name)
}

/// A running installation.
pub struct Installation {
    ports: Ports,
    vault: Vault,
    access: Arc<Access>,
    metrics: Metrics,
    running: Running,
    tasks: Tasks,
}

impl std::fmt::Debug for Installation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Installation({})", self.address())
    }
}

impl Installation {
    /// Starts every service on these ports. `folder` is where a local CA lives if TLS is needed.
    ///
    /// # Errors
    /// `Usage` for what the operator can put right; `Failed` for the rest.
    pub async fn start(ports: Ports, config: &Config, folder: &Path) -> Result<Self, Exit> {
        let bound = Bound::new(&config.server, folder, ports.clock.now())?;
        Self::start_on(bound, ports, config).await
    }

    /// The same on a listener that has its port already.
    ///
    /// # Errors
    /// As [`Installation::start`].
    pub async fn start_on(bound: Bound, ports: Ports, config: &Config) -> Result<Self, Exit> {
        let owners = Owners::default();
        let started = Self::start_with(bound, ports, config, &owners).await;
        if started.is_err() {
            // What has started would meet stores that are closed.
            owners.stop().await;
        }
        started
    }

    async fn start_with(
        bound: Bound,
        ports: Ports,
        config: &Config,
        owners: &Owners,
    ) -> Result<Self, Exit> {
        let admin = AdminBound::new(&config.server.admin_listen)?;
        let tasks = owners.process.clone();
        let metrics = Metrics::new();
        let vault = Vault::start(
            Arc::clone(&ports.log),
            Arc::clone(&ports.custody),
            Arc::clone(&ports.clock),
            &tasks,
        )
        .await
        .map_err(|error| Exit::failed("the vault does not start", &error))?;
        show_leases(&metrics, &vault);
        let watermarks = listen(&ports, &tasks);
        let access = Access::start(
            Arc::clone(&ports.log),
            Arc::clone(&ports.clock),
            watermarks.clone(),
            &tasks,
        );
        let context = |module: &'static Module| Context {
            service: module.service,
            log: Arc::clone(&ports.log),
            documents: Arc::clone(&ports.documents),
            series: Arc::clone(&ports.series),
            blobs: Arc::clone(&ports.blobs),
            leases: Arc::clone(&ports.leases),
            clock: Arc::clone(&ports.clock),
            outbound: Arc::clone(&ports.outbound),
            sealing: vault.handle(module.service),
            erasing: (module.service == Service::Retention).then(|| Erasing {
                vault: Arc::new(vault.clone()),
                files: Arc::clone(&ports.files),
            }),
            access: Arc::clone(&access),
            watermarks: watermarks.clone(),
            tasks: owners.child(),
            metrics: metrics.clone(),
            config: Arc::new(config.section(module.service)),
        };
        let (knows, hears) = (Arc::clone(&access), watermarks.clone());
        let plan = Plan {
            bound,
            admin,
            server: config.server.clone(),
            modules: MODULES.to_vec(),
            context: &context,
            authority: Authority {
                parties: Parties::default(),
                keys: Arc::clone(&access) as _,
                sessions: Arc::clone(&access) as _,
            },
            clock: Arc::clone(&ports.clock),
            metrics: metrics.clone(),
            readiness: vec![
                Readiness {
                    name: "access",
                    check: Arc::new(move || TokenKeys::is_fresh(&*knows)),
                },
                // What services know of one another is as young as what they have heard: until then an answer
                // that needs it would be STALE_KNOWLEDGE.
                Readiness {
                    name: "watermarks",
                    check: Arc::new(move || heard_of_all(&hears)),
                },
            ],
            tasks: tasks.clone(),
        };
        let running = Box::pin(plan.start()).await?;
        Ok(Self {
            ports,
            vault,
            access,
            metrics,
            running,
            tasks,
        })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.running.address()
    }

    /// Its ports: for operators' commands and tests.
    #[must_use]
    pub const fn ports(&self) -> &Ports {
        &self.ports
    }

    /// Its vault.
    #[must_use]
    pub const fn vault(&self) -> &Vault {
        &self.vault
    }

    /// What it knows of people.
    #[must_use]
    pub const fn access(&self) -> &Arc<Access> {
        &self.access
    }

    /// Its metrics.
    #[must_use]
    pub const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The services' views: for operators and tests.
    #[must_use]
    pub fn views(&self) -> &[Arc<dyn hearth_engine::Rebuild>] {
        self.running.views()
    }

    /// The owner of its tasks.
    #[must_use]
    pub const fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// Waits until it can serve, at most 10 s.
    ///
    /// # Errors
    /// Names what is not ready.
    pub async fn ready(&self) -> Result<(), Exit> {
        let ready = async {
            while !self.running.ready().missing().is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(READY_WITHIN, ready)
            .await
            .map_err(|_| {
                Exit::Failed(format!(
                    "not ready: {}",
                    self.running.ready().missing().join(", ")
                ))
            })
    }

    /// Ends in order. Answers whether everything ended in time.
    pub async fn stop(self, grace: Duration) -> bool {
        self.running.drain(grace).await
    }
}

/// Who owns the tasks of a start: the process, and each module.
#[derive(Default)]
struct Owners {
    process: Tasks,
    modules: Mutex<Vec<Tasks>>,
}

impl Owners {
    fn child(&self) -> Tasks {
        let child = self.process.child();
        let mut modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        modules.push(child.clone());
        child
    }

    async fn stop(&self) {
        let modules =
            std::mem::take(&mut *self.modules.lock().unwrap_or_else(PoisonError::into_inner));
        for owner in modules.iter().chain([&self.process]) {
            owner.stop(STOP_WITHIN).await;
        }
    }
}

/// Whether every service has said since this process started how far it has published. Asked at the start: a relay
/// that stops later makes stale what depends on it, and nothing else.
fn heard_of_all(watermarks: &Watermarks) -> bool {
    let heard = |service| watermarks.newest(service).borrow().at > Timestamp::EPOCH;
    MODULES.iter().all(|module| heard(module.service))
}

/// Shows in the metrics whether the vault's leases of keys are alive.
fn show_leases(metrics: &Metrics, vault: &Vault) {
    let vault = vault.clone();
    metrics.ask(
        "hearth_vault_leases_fresh",
        "1 while the leases of keys are alive in this process; else nothing is sealed or opened.",
        &[],
        move || i64::from(vault.leases_are_fresh()),
    );
}

/// Listens to the watermarks of every service.
fn listen(ports: &Ports, tasks: &Tasks) -> Watermarks {
    let watermarks = Watermarks::new(Arc::clone(&ports.log));
    for service in Service::ALL {
        let listening = watermarks.clone();
        tasks.supervise("watermarks", move || {
            let listening = listening.clone();
            async move { listening.listen(service).await }
        });
    }
    watermarks
}

#[cfg(test)]
mod tests;
