//! Retention as a module: its tables, and how it starts.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use hearth_api::retention::v1::retention_service_server::RetentionServiceServer;
use hearth_engine::{
    Consume, Consumer, ExecuteError, Follower, Holder, Parking, Relay, Timers, Tombstones,
};
use hearth_host::{Context, KeyUse, Module, StartError, Started, StreamUse};
use hearth_kernel::{Purpose, Service};
use hearth_ports::{Family, Stream};
use hearth_rpc::{Authorisation, Idempotency, MethodRule, Rate};
use serde::Deserialize;
use tokio::sync::Notify;

use crate::aggregates::Erasure;
use crate::app::{Answers, App, Choices, Closings, Driver, Knowledge, Receipts, Sweep};
use crate::grpc::Grpc;
use crate::project::Projector;

const STREAMS: &[StreamUse] = &[
    StreamUse::Owns(Stream::new(Family::Evt, Service::Retention)),
    StreamUse::Owns(Stream::new(Family::Int, Service::Retention)),
    StreamUse::Owns(Stream::new(Family::State, Service::Retention)),
    StreamUse::Reads(Stream::new(Family::State, Service::Accounts)),
    StreamUse::Reads(Stream::new(Family::State, Service::Ingest)),
    StreamUse::Reads(Stream::new(Family::State, Service::Media)),
    StreamUse::Reads(Stream::new(Family::State, Service::Notifications)),
    // Whether the events that are on the residual list have ended.
    StreamUse::Reads(Stream::new(Family::Int, Service::Accounts)),
    StreamUse::Reads(Stream::new(Family::Int, Service::Ingest)),
    StreamUse::Reads(Stream::new(Family::Int, Service::Media)),
    StreamUse::Reads(Stream::new(Family::Int, Service::Notifications)),
];

/// The retention service.
pub static MODULE: Module = Module {
    service: Service::Retention,
    grpc: &["hearth.retention.v1.RetentionService"],
    rules: RULES,
    keys: &[
        KeyUse {
            purpose: Purpose::Records,
            seals: true,
            opens: true,
        },
        KeyUse {
            purpose: Purpose::Hashing,
            seals: true,
            opens: true,
        },
        KeyUse {
            purpose: Purpose::Signing,
            seals: true,
            opens: true,
        },
    ],
    streams: STREAMS,
    // The ledger names owners by bare ids, for as long as the residual list says.
    stores: &[],
    options: |section| hearth_host::module::problems_of(section, Options::problems),
    start,
};

/// A receipt's secret has 256 bits, so guessing is hopeless; the rate keeps it from being a load.
const fn secret(path: &'static str) -> MethodRule {
    MethodRule::new(path, Authorisation::BearerSecret, Idempotency::Read).limited(Rate::USUAL)
}

const RULES: &[MethodRule] = &[
    secret("/hearth.retention.v1.RetentionService/GetErasure"),
    secret("/hearth.retention.v1.RetentionService/GetKeyReceipt"),
    secret("/hearth.retention.v1.RetentionService/GetByteReceipt"),
    secret("/hearth.retention.v1.RetentionService/ListResiduals"),
    MethodRule::new(
        "/hearth.retention.v1.RetentionService/GetReceiptKeys",
        Authorisation::Public,
        Idempotency::Read,
    ),
    MethodRule::new(
        "/hearth.retention.v1.RetentionService/GetPeriods",
        Authorisation::Public,
        Idempotency::Read,
    ),
];

/// The section `[retention]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// The services whose answers an erasure waits for: all that run and hold anything of people.
    pub answers_from: Vec<String>,
    /// The least time between two searches through all files, in seconds; 1 to 86,400. Erasures that come meanwhile
    /// share the next one.
    pub search_pause_seconds: u64,
}

impl Default for Options {
    fn default() -> Self {
        let services = [Service::Accounts, Service::Ingest, Service::Notifications];
        Self {
            answers_from: services.map(|it| it.name().to_owned()).to_vec(),
            search_pause_seconds: 60,
        }
    }
}

impl Options {
    /// Everything that is wrong with it.
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let unknown = self.answers_from.iter();
        let unknown = unknown.filter(|name| name.parse::<Service>().is_err());
        problems.extend(unknown.map(|name| format!("answers_from: {name:?} is not a service")));
        if self.answers_from.is_empty() {
            problems.push("answers_from is empty".to_owned());
        }
        if !(1..=86_400).contains(&self.search_pause_seconds) {
            problems.push("search_pause_seconds is not in 1 to 86400".to_owned());
        }
        problems
    }

    fn choices(&self) -> Result<Choices, StartError> {
        let problems = self.problems();
        if !problems.is_empty() {
            return Err(StartError::Options(problems.join("; ")));
        }
        let services = self.answers_from.iter().map(|name| name.parse());
        Ok(Choices {
            // All of them are services.
            services: services
                .filter_map(Result::ok)
                .collect::<BTreeSet<Service>>(),
            search_pause: Duration::from_secs(self.search_pause_seconds),
        })
    }
}

fn start(context: Context) -> BoxFuture<'static, Result<Started, StartError>> {
    Box::pin(async move {
        let options: Options = context.options()?;
        let (app, knowledge) = serve(&context, &options).await?;
        let grpc = Grpc::new(app, knowledge);
        Ok(Started::default().serve(move |routes| {
            routes.add_service(RetentionServiceServer::new(grpc));
        }))
    })
}

/// Starts everything but the RPCs.
pub(crate) async fn serve(
    context: &Context,
    options: &Options,
) -> Result<(App, Arc<Knowledge>), StartError> {
    let app = app(context, options.choices()?).await?;
    let knowledge = run(context, &app);
    Ok((app, Arc::new(knowledge)))
}

/// What the use cases run on.
async fn app(context: &Context, choices: Choices) -> Result<App, StartError> {
    let erasing = context.erasing.clone().ok_or_else(|| {
        StartError::Other("retention needs the vault and the files of the stores".to_owned())
    })?;
    let engine = context.engine().await?;
    let receipts = Receipts::new(erasing.vault.installation(), &*context.sealing).await?;
    receipts.note(&engine).await.map_err(failed)?;
    let (documents, clock) = (Arc::clone(&context.documents), Arc::clone(&context.clock));
    Ok(App {
        engine,
        erasing,
        timers: Timers::new(Service::Retention, documents, clock),
        receipts: Arc::new(receipts),
        choices: Arc::new(choices),
        wanted: Arc::new(Notify::new()),
    })
}

fn failed(error: ExecuteError) -> StartError {
    match error {
        ExecuteError::Store(error) => StartError::Store(error),
        ExecuteError::Seal(error) => StartError::Keys(error),
        other => StartError::Other(other.to_string()),
    }
}

/// Starts the tasks. Each is supervised: it fails, is logged, and begins again where the log stands.
fn run(context: &Context, app: &App) -> Knowledge {
    let parking = Parking::new(Arc::clone(&context.documents), "retention.relay");
    let relay = Relay::new(
        Service::Retention,
        Arc::clone(&context.log),
        Arc::clone(&context.clock),
        parking,
        Arc::new(Projector),
    );
    let relay = Arc::new(relay);
    let holder = context.holder();
    let follow = (context, &holder);
    let closings = consume(follow, "retention closings", Closings(app.clone()));
    consume(follow, "retention answers", Answers(app.clone()));
    let driver = consume(follow, "retention driver", Driver(app.clone()));
    let tombstones = Tombstones::new(app.engine.clone(), Arc::clone(&context.leases))
        .of::<Erasure>()
        .behind([Follower::relay(Service::Retention, &relay)])
        .behind(Follower::consumer(&driver));
    let tombstones = Arc::new(tombstones);
    context.tasks.supervise("retention tombstones", move || {
        let tombstones = Arc::clone(&tombstones);
        async move { tombstones.run().await }
    });
    context.tasks.supervise("retention relay", move || {
        let relay = Arc::clone(&relay);
        async move { relay.run().await }
    });
    let (sweep, holds) = (Arc::new(Sweep(app.clone())), holder.clone());
    context.tasks.supervise("retention search", move || {
        let (sweep, holder) = (Arc::clone(&sweep), holds.clone());
        async move {
            let search = |_| sweep.run();
            holder.hold("retention.search.all", search).await
        }
    });
    let (timers, driver) = (app.timers.clone(), Arc::new(Driver(app.clone())));
    context.tasks.supervise("retention timers", move || {
        let (timers, driver, holder) = (timers.clone(), Arc::clone(&driver), holder.clone());
        async move {
            let fire = |_| timers.run(&*driver);
            holder.hold("retention.timers.all", fire).await
        }
    });
    Knowledge::new(closings, context.watermarks.clone())
}

fn consume<C: Consume>(
    (context, holder): (&Context, &Holder),
    name: &'static str,
    handler: C,
) -> Arc<Consumer<C>> {
    let consumer = Arc::new(Consumer::new(
        handler,
        Arc::clone(&context.log),
        Arc::clone(&context.documents),
        context.watermarks.clone(),
    ));
    let (running, holder) = (Arc::clone(&consumer), holder.clone());
    context.tasks.supervise(name, move || {
        let (consumer, holder) = (Arc::clone(&running), holder.clone());
        async move { consumer.hold(&holder).await }
    });
    consumer
}
