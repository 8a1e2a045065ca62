//! A service as a module: data about it, and how it starts. There is one wiring for every topology.

mod options;

use std::sync::Arc;

use futures::future::BoxFuture;
use hearth_access::Access;
use hearth_engine::{Engine, EngineOptions, Hasher, Holder, Rebuild, Watermarks};
use hearth_kernel::{Purpose, Service};
use hearth_ports::{
    Blobs, Clock, Documents, Leases, Log, Outbound, SealError, Sealing, Series, Shredding,
    StoredFiles, Stream, Tasks,
};
use hearth_rpc::MethodRule;
use serde::de::DeserializeOwned;
use tonic::service::RoutesBuilder;

pub use options::{no_options, problems_of};

use crate::config::Config;
use crate::exit::Exit;
use crate::metrics::{Labels, Metrics};

/// How many aggregates a service keeps in memory.
const CACHED_AGGREGATES: u64 = 10_000;

/// A service: what it is called, what it offers, what it may do, and how it starts.
#[derive(Clone, Copy)]
pub struct Module {
    /// Which service.
    pub service: Service,
    /// The full names of its gRPC services, such as `hearth.accounts.v1.AccountsService`.
    pub grpc: &'static [&'static str],
    /// Who may call each of its methods (table 1).
    pub rules: &'static [MethodRule],
    /// What it seals and opens (table 2); a test compares it with the vault's.
    pub keys: &'static [KeyUse],
    /// What it publishes and reads (table 3).
    pub streams: &'static [StreamUse],
    /// The names of the stores of personal data that it erases from; each has an eraser, or nothing starts.
    pub stores: &'static [&'static str],
    /// What is wrong with its section of the configuration, which may be null: every problem, with its key. See
    /// [`problems_of`] and [`no_options`].
    pub options: fn(&serde_json::Value) -> Vec<String>,
    /// Starts it.
    pub start: fn(Context) -> BoxFuture<'static, Result<Started, StartError>>,
}

impl std::fmt::Debug for Module {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Module({})", self.service)
    }
}

/// Checks the sections of all these modules.
///
/// # Errors
/// `Usage`: everything that is wrong, with section and key, on one line.
pub fn check_options(config: &Config, modules: &[&'static Module]) -> Result<(), Exit> {
    let mut all = Vec::new();
    for module in modules {
        let problems = (module.options)(&config.section(module.service));
        let problems = problems.into_iter();
        all.extend(problems.map(|problem| format!("[{}] {problem}", module.service)));
    }
    if all.is_empty() {
        return Ok(());
    }
    Err(Exit::usage(format!("in the options: {}", all.join("; "))))
}

/// One purpose that a service uses. A class stands for all classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyUse {
    /// The purpose.
    pub purpose: Purpose,
    /// Whether it seals.
    pub seals: bool,
    /// Whether it opens.
    pub opens: bool,
}

/// One stream that a service uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamUse {
    /// It writes and reads it: its own.
    Owns(Stream),
    /// It reads it.
    Reads(Stream),
}

/// What carries out an erasure and proves it.
#[derive(Clone)]
pub struct Erasing {
    /// The vault.
    pub vault: Arc<dyn Shredding>,
    /// Every file of the installation.
    pub files: Arc<dyn StoredFiles>,
}

/// What a module starts on.
#[derive(Clone)]
pub struct Context {
    /// Which service this is for.
    pub service: Service,
    /// The log.
    pub log: Arc<dyn Log>,
    /// The documents.
    pub documents: Arc<dyn Documents>,
    /// The series.
    pub series: Arc<dyn Series>,
    /// The blobs.
    pub blobs: Arc<dyn Blobs>,
    /// The leases.
    pub leases: Arc<dyn Leases>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The channels out.
    pub outbound: Arc<dyn Outbound>,
    /// This service's sealing handle.
    pub sealing: Arc<dyn Sealing>,
    /// What this process knows of people.
    pub access: Arc<Access>,
    /// What erases and searches: given to retention only.
    pub erasing: Option<Erasing>,
    /// The watermarks that this process hears.
    pub watermarks: Watermarks,
    /// The tasks of this module.
    pub tasks: Tasks,
    /// Where it counts.
    pub metrics: Metrics,
    /// The module's section of the configuration, as JSON; absent means defaults.
    pub config: Arc<serde_json::Value>,
}

impl Context {
    /// An engine for the service's aggregates, under its own hash key.
    ///
    /// # Errors
    /// When the vault does not give the hash key.
    pub async fn engine(&self) -> Result<Engine, StartError> {
        let secret = self.sealing.service_secret(Purpose::Hashing, "ids").await?;
        Ok(Engine::new(EngineOptions {
            service: self.service,
            log: Arc::clone(&self.log),
            documents: Arc::clone(&self.documents),
            sealing: Arc::clone(&self.sealing),
            clock: Arc::clone(&self.clock),
            hasher: Hasher::new(secret.expose()),
            cache: CACHED_AGGREGATES,
        }))
    }

    /// Takes the leases of this module's work: one process at a time does it, and the others stand by. A standby is
    /// ready: it answers reads from what the holder has stored, so readiness asks nothing of leases.
    #[must_use]
    pub fn holder(&self) -> Holder {
        let (leases, clock) = (Arc::clone(&self.leases), Arc::clone(&self.clock));
        let holder = Holder::new(leases, clock, self.tasks.clone());
        let holds = holder.clone();
        self.metrics.ask(
            "hearth_leases_held",
            "Leases of work that one process at a time does, held by this one; 0 on a standby.",
            labels(self.service),
            move || holds.holds(),
        );
        holder
    }

    /// The module's options: what the configuration says over `T`'s defaults.
    ///
    /// # Errors
    /// When a key is unknown or a value has the wrong type.
    pub fn options<T: DeserializeOwned + Default>(&self) -> Result<T, StartError> {
        if self.config.is_null() {
            return Ok(T::default());
        }
        serde_json::from_value((*self.config).clone())
            .map_err(|error| StartError::Options(error.to_string()))
    }
}

const fn labels(service: Service) -> Labels {
    match service {
        Service::Accounts => &[("service", "accounts")],
        Service::Ingest => &[("service", "ingest")],
        Service::Media => &[("service", "media")],
        Service::Notifications => &[("service", "notifications")],
        Service::Retention => &[("service", "retention")],
        Service::Vault => &[("service", "vault")],
    }
}

/// Adds one gRPC service to those of the process.
pub type AddService = Box<dyn FnOnce(&mut RoutesBuilder) + Send>;

/// What a module adds to the process when it has started.
#[derive(Default)]
pub struct Started {
    /// Adds its gRPC services.
    pub routes: Vec<AddService>,
    /// Whether it can serve now: asked by `/readyz` and by the health service.
    pub readiness: Vec<Readiness>,
    /// Its views, for operators who rebuild one.
    pub views: Vec<Arc<dyn Rebuild>>,
}

/// A readiness check. It answers from memory, at once.
#[derive(Clone)]
pub struct Readiness {
    /// What is ready: `relay`, `sessions`.
    pub name: &'static str,
    /// Whether it is.
    pub check: Arc<dyn Fn() -> bool + Send + Sync>,
}

impl std::fmt::Debug for Readiness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Readiness").field(&self.name).finish()
    }
}

impl Started {
    /// With one more gRPC service.
    #[must_use]
    pub fn serve(mut self, add: impl FnOnce(&mut RoutesBuilder) + Send + 'static) -> Self {
        self.routes.push(Box::new(add));
        self
    }

    /// With one more view.
    #[must_use]
    pub fn view(mut self, view: Arc<dyn Rebuild>) -> Self {
        self.views.push(view);
        self
    }

    /// With one more readiness check.
    #[must_use]
    pub fn ready_when(
        mut self,
        name: &'static str,
        check: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Self {
        let check = Arc::new(check);
        self.readiness.push(Readiness { name, check });
        self
    }
}

/// Why a module did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its options are wrong.
    #[error("bad option: {0}")]
    Options(String),
    /// The vault does not give its keys.
    #[error("the vault gives no keys")]
    Keys(#[from] SealError),
    /// A store failed.
    #[error("a store failed")]
    Store(#[from] hearth_ports::StoreError),
    /// Something else, in one line.
    #[error("{0}")]
    Other(String),
}

impl StartError {
    /// How the process ends for it: a bad option is the operator's to put right.
    #[must_use]
    pub fn exit(&self, service: Service) -> Exit {
        match self {
            Self::Options(problem) => Exit::usage(format!("[{service}] in the options: {problem}")),
            error => Exit::failed(&format!("{service} does not start"), error),
        }
    }
}
