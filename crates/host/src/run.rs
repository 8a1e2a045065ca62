//! From modules to a served process, and back down: start, serve, be told, drain.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hearth_engine::Rebuild;
use hearth_ports::{Clock, Tasks};
use hearth_rpc::stack::Front;
use hearth_rpc::{Authority, Limits, Stack, serve_layers};
use tonic::service::{Routes, RoutesBuilder};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::admin::{Admin, AdminBound};
use crate::calls::CallMetrics;
use crate::checkpoints;
use crate::config;
use crate::contract;
use crate::exit::Exit;
use crate::metrics::Metrics;
use crate::module::{Context, Module, Readiness};
use crate::operate;
use crate::probe::{self, Ready};
use crate::sampler::Sampler;
use crate::server::{Bound, Serving};

/// How often the health service learns whether the process is ready.
const HEALTH_EVERY: Duration = Duration::from_millis(500);

/// What a process is made of.
pub struct Plan<'a> {
    /// The listener, bound.
    pub bound: Bound,
    /// The admin port, bound, if there is one.
    pub admin: Option<AdminBound>,
    /// `[server]`.
    pub server: config::Server,
    /// The modules, in the order in which they start.
    pub modules: Vec<&'static Module>,
    /// Makes the context of a module.
    pub context: &'a (dyn Fn(&'static Module) -> Context + Sync),
    /// Who is signed in.
    pub authority: Authority,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Where calls are counted.
    pub metrics: Metrics,
    /// More readiness checks: of what the binary itself runs.
    pub readiness: Vec<Readiness>,
    /// The owner of the process's own tasks; the modules' are the contexts'.
    pub tasks: Tasks,
}

impl std::fmt::Debug for Plan<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plan")
            .field("bound", &self.bound)
            .finish_non_exhaustive()
    }
}

/// A process that serves.
pub struct Running {
    serving: Serving,
    front: Front<Routes>,
    stack: Stack,
    ready: Ready,
    admin: Option<Admin>,
    views: Vec<Arc<dyn Rebuild>>,
    /// In the order in which the modules started.
    module_tasks: Vec<Tasks>,
    tasks: Tasks,
}

impl Plan<'_> {
    /// Starts the modules one after the other, then takes connections.
    ///
    /// # Errors
    /// `Usage` for a bad option of a module; `Failed` when one does not start, or the tables do not match the contract.
    pub async fn start(self) -> Result<Running, Exit> {
        let rules = contract::rules(&self.modules)
            .map_err(|error| Exit::failed("the table of methods is wrong", &error))?;
        match contract::mismatches(&self.modules).map(|all| all.into_iter().next()) {
            Ok(None) => {}
            Ok(Some(one)) => {
                return Err(Exit::Failed(format!(
                    "the table of methods is wrong: {one}"
                )));
            }
            Err(error) => return Err(Exit::failed("the table of methods is wrong", &error)),
        }
        let mut routes = RoutesBuilder::default();
        let mut readiness = self.readiness;
        let mut views = Vec::new();
        let mut module_tasks = Vec::new();
        let mut newest = Vec::new();
        let mut documents = None;
        for module in &self.modules {
            let context = (self.context)(module);
            // All modules of a process have the same.
            if documents.is_none() {
                documents = Some(Arc::clone(&context.documents));
                let services = self.modules.iter().map(|module| module.service);
                Sampler::new(&context, services.collect()).start(&self.tasks);
            }
            let (tasks, checkpoints) = (context.tasks.clone(), checkpoints::of(&context));
            module_tasks.push(tasks.clone());
            let started = (module.start)(context).await;
            let started = started.map_err(|error| error.exit(module.service))?;
            checkpoints.start(&tasks);
            newest.push(checkpoints.newest());
            for add in started.routes {
                add(&mut routes);
            }
            readiness.extend(started.readiness);
            views.extend(started.views);
        }
        let ready = Ready::when(readiness);
        let services: Vec<_> = self
            .modules
            .iter()
            .flat_map(|module| module.grpc.iter().copied())
            .collect();
        infrastructure(&mut routes, &services, &ready, &self.tasks).await?;

        let observer = Arc::new(CallMetrics::new(&self.metrics, &rules));
        let limits = limits(&self.server);
        let stack = Stack::new(rules, self.authority, self.clock, limits, observer);
        let front = serve_layers(routes.routes(), stack.clone());
        let probes = probe::routes(self.metrics, ready.clone()).merge(checkpoints::routes(newest));
        let operated = documents.map_or_else(axum::Router::new, operate::routes);
        let admin = match self.admin {
            Some(admin) => Some(admin.serve(probes.clone().merge(operated))?),
            None => None,
        };
        let serving = self
            .bound
            .serve(&self.server, front.clone(), probes, &self.tasks)?;
        tracing::info!(address = %serving.address(), "serving");
        Ok(Running {
            serving,
            front,
            stack,
            ready,
            admin,
            views,
            module_tasks,
            tasks: self.tasks,
        })
    }
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Running({})", self.address())
    }
}

impl Running {
    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.serving.address()
    }

    /// The same services for clients in this process, behind the same stack.
    #[must_use]
    pub fn front(&self) -> Front<Routes> {
        self.front.clone()
    }

    /// The views of the modules.
    #[must_use]
    pub fn views(&self) -> &[Arc<dyn Rebuild>] {
        &self.views
    }

    /// Whether it can serve.
    #[must_use]
    pub const fn ready(&self) -> &Ready {
        &self.ready
    }

    /// Ends in order: not ready, no new connections and calls, open streams end, calls in flight get `grace`, then the
    /// tasks of the modules and of the process get as much each. Answers whether everything ended in time.
    pub async fn drain(self, grace: Duration) -> bool {
        tracing::info!("draining");
        self.ready.drain();
        self.stack.drain();
        let connections = self.serving.stop(grace).await;
        // The last module first, since later ones may read what earlier ones write.
        let mut tasks = true;
        for owner in self.module_tasks.iter().rev().chain([&self.tasks]) {
            tasks &= owner.stop(grace).await;
        }
        // The admin port answers to the end.
        drop(self.admin);
        tracing::info!(connections, tasks, "drained");
        connections && tasks
    }
}

/// Resolves when the process is told to end: SIGTERM or SIGINT.
///
/// # Errors
/// When signals cannot be heard.
pub async fn told_to_end() -> Result<(), Exit> {
    let failed = |error: std::io::Error| Exit::failed("signals cannot be heard", &error);
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        Ok(())
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await.map_err(failed)
}

fn limits(server: &config::Server) -> Limits {
    let size = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
    Limits {
        calls: size(server.max_calls),
        streams: size(server.max_streams),
        callers: size(server.max_callers),
        rates: server.rate_limits,
    }
}

/// Health, which follows readiness, and reflection of what is served.
async fn infrastructure(
    routes: &mut RoutesBuilder,
    services: &[&'static str],
    ready: &Ready,
    tasks: &Tasks,
) -> Result<(), Exit> {
    let (reporter, health) = tonic_health::server::health_reporter();
    let described = || {
        let builder = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(hearth_api::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .with_service_name("grpc.health.v1.Health")
            .with_service_name("grpc.reflection.v1.ServerReflection");
        let add = |builder: tonic_reflection::server::Builder<'static>, service: &&'static str| {
            builder.with_service_name(*service)
        };
        services.iter().fold(builder, add)
    };
    let failed = |error| Exit::failed("reflection does not start", &error);
    routes
        .add_service(health)
        .add_service(described().build_v1().map_err(failed)?)
        .add_service(described().build_v1alpha().map_err(failed)?);
    report(&reporter, services, ready).await;
    let (services, ready) = (services.to_vec(), ready.clone());
    tasks.spawn("health", async move {
        loop {
            tokio::time::sleep(HEALTH_EVERY).await;
            report(&reporter, &services, &ready).await;
        }
    });
    Ok(())
}

async fn report(reporter: &HealthReporter, services: &[&'static str], ready: &Ready) {
    let serves = ready.missing().is_empty();
    let status = if serves {
        ServingStatus::Serving
    } else {
        ServingStatus::NotServing
    };
    for service in [""].iter().chain(services) {
        reporter.set_service_status(*service, status).await;
    }
}
