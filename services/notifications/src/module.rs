//! The service as a module: its tables, and how it starts.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use hearth_api::notifications::v1::notifications_service_server::NotificationsServiceServer;
use hearth_engine::erasure::Follower;
use hearth_engine::{
    Consume, Consumer, Engine, Erasures, FactCache, Holder, Parking, Rebuild, Relay, Timers,
    Tombstones, View,
};
use hearth_host::{Context, KeyUse, Module, StartError, Started, StreamUse};
use hearth_kernel::{Purpose, Role, Service};
use hearth_ports::{Family, Stream, Tasks};
use hearth_rpc::{Authorisation, Idempotency, MethodRule};

use crate::aggregates::{Episode, Mail, Notice};
use crate::app::commands::App;
use crate::app::dispatch::{Dispatch, Sender};
use crate::app::erase::{self, STORES, Stores};
use crate::app::facts::{Facts, Published};
use crate::app::fanout::Fanout;
use crate::app::inbox::Inbox;
use crate::app::mails::Mails;
use crate::app::owned::Owned;
use crate::app::runner::{Runner, Signalled};
use crate::grpc::Notifications;
use crate::project;
use crate::project::publish::Publish;

/// Facts of ingest that are kept in memory.
const DEVICES: u64 = 50_000;

macro_rules! path {
    ($method:literal) => {
        concat!("/hearth.notifications.v1.NotificationsService/", $method)
    };
}

const fn write(path: &'static str, authorisation: Authorisation) -> MethodRule {
    MethodRule::new(path, authorisation, Idempotency::RequestId)
}

const fn read(path: &'static str, authorisation: Authorisation) -> MethodRule {
    MethodRule::new(path, authorisation, Idempotency::Read)
}

const ACCOUNT: Authorisation = Authorisation::Account;
const MEMBER: Authorisation = Authorisation::HomeMember(Role::Guest);
const ADULT: Authorisation = Authorisation::HomeMember(Role::Adult);

/// The notifications service.
pub const MODULE: Module = Module {
    service: Service::Notifications,
    grpc: &["hearth.notifications.v1.NotificationsService"],
    rules: &[
        write(path!("PutRule"), ADULT),
        read(path!("ListRules"), MEMBER),
        write(path!("RemoveRule"), ADULT),
        write(path!("ArmHome"), ADULT),
        write(path!("DisarmHome"), ADULT),
        read(path!("GetArming"), MEMBER),
        read(path!("GetPreferences"), ACCOUNT),
        write(path!("SetPreference"), ACCOUNT),
        write(path!("MuteAll"), ACCOUNT),
        write(path!("UnmuteAll"), ACCOUNT),
        read(path!("ListInbox"), ACCOUNT),
        read(path!("StreamInbox"), ACCOUNT).streaming(),
        // Each notice is a commit of its own.
        write(path!("MarkRead"), ACCOUNT).within(Duration::from_secs(30)),
    ],
    keys: &[
        // Opens what hubs send; seals what the rules have seen of it.
        KeyUse {
            purpose: Purpose::Signals,
            seals: true,
            opens: true,
        },
        KeyUse {
            purpose: Purpose::Inbox,
            seals: true,
            opens: true,
        },
        KeyUse {
            purpose: Purpose::Delivery,
            seals: false,
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
    streams: &[
        StreamUse::Owns(Stream::new(Family::Evt, Service::Notifications)),
        StreamUse::Owns(Stream::new(Family::Int, Service::Notifications)),
        StreamUse::Owns(Stream::new(Family::State, Service::Notifications)),
        StreamUse::Reads(Stream::TELEMETRY),
        StreamUse::Reads(Stream::new(Family::Int, Service::Accounts)),
        StreamUse::Reads(Stream::new(Family::State, Service::Accounts)),
        StreamUse::Reads(Stream::new(Family::State, Service::Ingest)),
        StreamUse::Reads(Stream::new(Family::State, Service::Retention)),
    ],
    stores: STORES,
    options: hearth_host::module::no_options,
    start: |context| start(context).boxed(),
};

async fn start(context: Context) -> Result<Started, StartError> {
    let parts = Parts::new(&context).await?;
    parts.run(&context);
    let handlers = Notifications {
        app: Arc::clone(&parts.app),
        inbox: parts.inbox.clone(),
    };
    let access = Arc::clone(&context.access);
    let view: Arc<dyn Rebuild> = Arc::clone(&parts.inbox.view) as _;
    Ok(Started::default()
        .view(view)
        .serve(move |routes| {
            routes.add_service(NotificationsServiceServer::new(handlers));
        })
        .ready_when("facts of accounts", move || access.facts().is_fresh()))
}

/// Everything that runs, before it runs.
pub(crate) struct Parts {
    pub(crate) app: Arc<App>,
    pub(crate) inbox: Inbox,
    pub(crate) runner: Arc<Runner>,
    pub(crate) rules: Arc<Consumer<Signalled>>,
    pub(crate) fanout: Arc<Consumer<Fanout>>,
    pub(crate) dispatch: Arc<Consumer<Dispatch>>,
    pub(crate) mails: Arc<Consumer<Mails>>,
    pub(crate) sender: Arc<Sender>,
    pub(crate) timers: Timers,
    pub(crate) relay: Arc<Relay>,
    pub(crate) erasures: Arc<Consumer<Erasures>>,
    pub(crate) tombstones: Arc<Tombstones>,
}

impl Parts {
    /// What runs on the process's own knowledge of people and devices.
    async fn new(context: &Context) -> Result<Self, StartError> {
        let ingest = FactCache::new(
            Service::Ingest,
            Arc::clone(&context.log),
            Arc::clone(&context.clock),
            context.watermarks.clone(),
            DEVICES,
        );
        let following = ingest.clone();
        context
            .tasks
            .supervise("notifications device facts", move || {
                let ingest = following.clone();
                async move { ingest.run().await }
            });
        let access = Arc::clone(&context.access);
        Self::on(context, Arc::new(Published { access, ingest })).await
    }

    /// The same on other facts, for tests.
    pub(crate) async fn on(context: &Context, facts: Arc<dyn Facts>) -> Result<Self, StartError> {
        let engine = context.engine().await?;
        let owned = Owned(Arc::clone(&context.documents));
        let timers = Timers::new(
            Service::Notifications,
            Arc::clone(&context.documents),
            Arc::clone(&context.clock),
        );
        let view = View::open(
            project::inbox::Inbox,
            Arc::clone(&context.log),
            Arc::clone(&context.documents),
        )
        .await?;
        let inbox = Inbox {
            engine: engine.clone(),
            consumer: consumer(context, Arc::clone(&view)),
            view,
        };
        let runner = Arc::new(Runner::new(engine.clone(), Arc::clone(&facts)));
        let relay = Relay::new(
            Service::Notifications,
            Arc::clone(&context.log),
            Arc::clone(&context.clock),
            Parking::new(Arc::clone(&context.documents), "relay.notifications"),
            Arc::new(Publish),
        );
        let fanout = Fanout {
            engine: engine.clone(),
            facts: Arc::clone(&facts),
        };
        let dispatch = Dispatch {
            engine: engine.clone(),
            timers: timers.clone(),
            owned: owned.clone(),
        };
        let sender = Sender {
            engine: engine.clone(),
            facts: Arc::clone(&facts),
            outbound: Arc::clone(&context.outbound),
            owned: owned.clone(),
            timers: timers.clone(),
        };
        let stores = Stores {
            engine: engine.clone(),
            owned,
            timers: timers.clone(),
            inbox: inbox.clone(),
            runner: Arc::clone(&runner),
        };
        let mails = Mails {
            engine: engine.clone(),
        };
        let rules = consumer(context, Signalled(Arc::clone(&runner)));
        let fanout = consumer(context, fanout);
        let dispatch = consumer(context, dispatch);
        let mails = consumer(context, mails);
        let erasures = Erasures::new(engine.clone(), STORES, erase::all(&stores))
            .map_err(|error| StartError::Other(error.to_string()))?
            .behind([Follower::relay(Service::Notifications, &relay)])
            .behind(Follower::consumer(&rules))
            .behind(Follower::consumer(&fanout))
            .behind(Follower::consumer(&dispatch))
            .behind(Follower::consumer(&mails))
            .behind(Follower::consumer(&inbox.consumer));
        Ok(Self {
            tombstones: tombstones(context, &engine, &erasures),
            erasures: consumer(context, erasures),
            rules,
            fanout,
            dispatch,
            mails,
            app: Arc::new(App { engine, facts }),
            sender: Arc::new(sender),
            relay: Arc::new(relay),
            inbox,
            runner,
            timers,
        })
    }

    /// Runs it, under the module's tasks.
    pub(crate) fn run(&self, context: &Context) {
        let tasks = &context.tasks;
        let holder = context.holder();
        follow(tasks, &holder, "notifications fan-out", &self.fanout);
        follow(tasks, &holder, "notifications dispatch", &self.dispatch);
        follow(tasks, &holder, "notifications mails", &self.mails);
        follow(tasks, &holder, "notifications inbox", &self.inbox.consumer);
        follow(tasks, &holder, "notifications erasures", &self.erasures);
        // Signals and the clock change the same watches: both under one lease.
        let (runner, rules, holds) = (
            Arc::clone(&self.runner),
            Arc::clone(&self.rules),
            holder.clone(),
        );
        tasks.supervise("notifications rules", move || {
            let (runner, rules, holder) = (Arc::clone(&runner), Arc::clone(&rules), holds.clone());
            async move {
                let deadlines = |_| runner.deadlines(rules.progress(Stream::TELEMETRY));
                rules.hold_with(&holder, deadlines).await
            }
        });
        let tombstones = Arc::clone(&self.tombstones);
        tasks.supervise("notifications tombstones", move || {
            let tombstones = Arc::clone(&tombstones);
            async move { tombstones.run().await }
        });
        let relay = Arc::clone(&self.relay);
        tasks.supervise("notifications relay", move || {
            let relay = Arc::clone(&relay);
            async move { relay.run().await }
        });
        let (timers, sender) = (self.timers.clone(), Arc::clone(&self.sender));
        tasks.supervise("notifications timers", move || {
            let (timers, sender, holder) = (timers.clone(), Arc::clone(&sender), holder.clone());
            async move {
                // What fires sends mail: one process at a time.
                let fire = |_| timers.run(&*sender);
                holder.hold("notifications.timers.all", fire).await
            }
        });
    }
}

/// What ends the tombstones of its episodic aggregates.
fn tombstones(context: &Context, engine: &Engine, erasures: &Erasures) -> Arc<Tombstones> {
    let tombstones = Tombstones::new(engine.clone(), Arc::clone(&context.leases))
        .of::<Episode>()
        .of::<Notice>()
        .of::<Mail>()
        .behind(erasures.followers());
    Arc::new(tombstones)
}

fn consumer<C: Consume>(context: &Context, handler: C) -> Arc<Consumer<C>> {
    let (log, documents) = (Arc::clone(&context.log), Arc::clone(&context.documents));
    Arc::new(Consumer::new(
        handler,
        log,
        documents,
        context.watermarks.clone(),
    ))
}

fn follow<C: Consume>(
    tasks: &Tasks,
    holder: &Holder,
    name: &'static str,
    consumer: &Arc<Consumer<C>>,
) {
    let (consumer, holder) = (Arc::clone(consumer), holder.clone());
    tasks.supervise(name, move || {
        let (consumer, holder) = (Arc::clone(&consumer), holder.clone());
        async move { consumer.hold(&holder).await }
    });
}
