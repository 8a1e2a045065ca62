//! Accounts as a module of a process: its tables, and how it starts.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use hearth_accounts_domain::token_keys::{Command as KeyCommand, Key};
use hearth_api::accounts::v1::accounts_service_server::AccountsServiceServer;
use hearth_api::accounts::v1::homes_service_server::HomesServiceServer;
use hearth_engine::{Consumer, Erasures, Follower, Parking, Relay, Timers, Tombstones};
use hearth_host::module::{Context, KeyUse, Module, StartError, Started, StreamUse};
use hearth_kernel::{Failure, Purpose, Role, Service};
use hearth_ports::{Family, Stream};
use hearth_rpc::limits::Rate;
use hearth_rpc::token::Parties;
use hearth_rpc::{Authorisation, Idempotency, MethodRule, TokenSigner};

use crate::aggregates::TokenKeys;
use crate::app::App;
use crate::app::attempts::Attempts;
use crate::app::passwords::{Cost, Passwords};
use crate::app::secrets::Secrets;
use crate::erasers::{self, STORES};
use crate::grpc::accounts::Accounts;
use crate::grpc::homes::Homes;
use crate::options::Options;
use crate::process::{Clockwork, Process};
use crate::project::Published;

/// The service.
pub static MODULE: Module = Module {
    service: Service::Accounts,
    grpc: &[
        "hearth.accounts.v1.AccountsService",
        "hearth.accounts.v1.HomesService",
    ],
    rules: RULES,
    keys: KEYS,
    streams: &[
        StreamUse::Owns(Stream::new(Family::Evt, Service::Accounts)),
        StreamUse::Owns(Stream::new(Family::Rec, Service::Accounts)),
        StreamUse::Owns(Stream::new(Family::Int, Service::Accounts)),
        StreamUse::Owns(Stream::new(Family::State, Service::Accounts)),
        StreamUse::Reads(Stream::new(Family::State, Service::Retention)),
    ],
    stores: STORES,
    options: |section| hearth_host::module::problems_of(section, Options::problems),
    start: |context| start(context).boxed(),
};

const fn both(purpose: Purpose) -> KeyUse {
    KeyUse {
        purpose,
        seals: true,
        opens: true,
    }
}

const KEYS: &[KeyUse] = &[
    both(Purpose::Profile),
    both(Purpose::Records),
    KeyUse {
        purpose: Purpose::Inbox,
        seals: true,
        opens: false,
    },
    both(Purpose::Delivery),
    both(Purpose::Home),
    both(Purpose::Hashing),
    both(Purpose::Signing),
];

/// What costs a password hash is given time to wait for its arena.
const HASHING: Duration = Duration::from_secs(15);

const fn row(path: &'static str, who: Authorisation, how: Idempotency) -> MethodRule {
    MethodRule::new(path, who, how)
}

const RULES: &[MethodRule] = &[
    row(
        "/hearth.accounts.v1.AccountsService/Register",
        Authorisation::Public,
        Idempotency::RequestId,
    )
    .within(HASHING)
    .limited(Rate::COSTLY),
    row(
        "/hearth.accounts.v1.AccountsService/VerifyEmail",
        Authorisation::Client,
        Idempotency::RequestId,
    )
    .limited(Rate::COSTLY),
    row(
        "/hearth.accounts.v1.AccountsService/SignIn",
        Authorisation::Public,
        Idempotency::RequestId,
    )
    .within(HASHING)
    .limited(Rate::COSTLY),
    row(
        "/hearth.accounts.v1.AccountsService/RefreshSession",
        Authorisation::BearerSecret,
        Idempotency::Natural,
    ),
    row(
        "/hearth.accounts.v1.AccountsService/SignOut",
        Authorisation::Account,
        Idempotency::RequestId,
    ),
    row(
        "/hearth.accounts.v1.AccountsService/ListSessions",
        Authorisation::Account,
        Idempotency::Read,
    ),
    row(
        "/hearth.accounts.v1.AccountsService/RevokeSession",
        Authorisation::Account,
        Idempotency::RequestId,
    ),
    row(
        "/hearth.accounts.v1.AccountsService/GetAccount",
        Authorisation::Account,
        Idempotency::Read,
    ),
    row(
        // The fresh sign-in that closing needs is the password in the request.
        "/hearth.accounts.v1.AccountsService/CloseAccount",
        Authorisation::Account,
        Idempotency::RequestId,
    )
    .within(HASHING)
    .limited(Rate::COSTLY),
    row(
        "/hearth.accounts.v1.AccountsService/ReopenAccount",
        Authorisation::AccountOrSecret,
        Idempotency::RequestId,
    )
    .limited(Rate::COSTLY),
    row(
        "/hearth.accounts.v1.HomesService/CreateHome",
        Authorisation::Account,
        Idempotency::RequestId,
    ),
    row(
        "/hearth.accounts.v1.HomesService/UpdateHome",
        Authorisation::HomeMember(Role::Admin),
        Idempotency::RequestId,
    ),
    row(
        "/hearth.accounts.v1.HomesService/GetHome",
        Authorisation::HomeMember(Role::Guest),
        Idempotency::Read,
    ),
    row(
        "/hearth.accounts.v1.HomesService/ListHomes",
        Authorisation::Account,
        Idempotency::Read,
    ),
    row(
        "/hearth.accounts.v1.HomesService/CreateArea",
        Authorisation::HomeMember(Role::Admin),
        Idempotency::RequestId,
    ),
    row(
        "/hearth.accounts.v1.HomesService/RenameArea",
        Authorisation::HomeMember(Role::Admin),
        Idempotency::RequestId,
    ),
    row(
        "/hearth.accounts.v1.HomesService/RemoveArea",
        Authorisation::HomeMember(Role::Admin),
        Idempotency::RequestId,
    ),
    row(
        "/hearth.accounts.v1.HomesService/InviteMember",
        Authorisation::HomeMember(Role::Admin),
        Idempotency::RequestId,
    )
    .limited(Rate::COSTLY),
    row(
        "/hearth.accounts.v1.HomesService/AcceptInvitation",
        Authorisation::Account,
        Idempotency::RequestId,
    ),
    row(
        "/hearth.accounts.v1.HomesService/ListMembers",
        Authorisation::HomeMember(Role::Guest),
        Idempotency::Read,
    ),
    row(
        "/hearth.accounts.v1.HomesService/ChangeRole",
        Authorisation::HomeMember(Role::Admin),
        Idempotency::RequestId,
    ),
    row(
        "/hearth.accounts.v1.HomesService/RemoveMember",
        Authorisation::HomeMember(Role::Admin),
        Idempotency::RequestId,
    ),
    row(
        "/hearth.accounts.v1.HomesService/TransferHome",
        Authorisation::HomeMember(Role::Owner),
        Idempotency::RequestId,
    ),
];

async fn start(context: Context) -> Result<Started, StartError> {
    let app = app(&context).await?;
    announce_key(&app)
        .await
        .map_err(|failure| StartError::Other(failure.to_string()))?;
    follow(&context, &app)?;
    let accounts = Accounts { app: app.clone() };
    let homes = Homes { app };
    Ok(Started::default().serve(move |routes| {
        routes
            .add_service(AccountsServiceServer::new(accounts))
            .add_service(HomesServiceServer::new(homes));
    }))
}

async fn app(context: &Context) -> Result<App, StartError> {
    let options: Options = context.options()?;
    options.check().map_err(StartError::Options)?;
    let cost = Cost {
        memory_kib: options.password_memory_kib,
        passes: options.password_passes,
        arenas: options.password_arenas,
        queue: options.password_queue,
    };
    let sealing = &context.sealing;
    let pepper = sealing
        .service_secret(Purpose::Hashing, "password-pepper")
        .await?;
    let secrets = sealing.service_secret(Purpose::Hashing, "secrets").await?;
    let seed = sealing
        .service_secret(Purpose::Signing, "access-token")
        .await?;
    let signer = TokenSigner::new(&seed, Parties::default());
    Ok(App {
        engine: context.engine().await?,
        passwords: Passwords::new(cost, pepper),
        secrets: Secrets::new(&secrets),
        signer: Arc::new(signer.map_err(|error| StartError::Other(error.to_string()))?),
        attempts: Arc::new(Attempts::default()),
        decoys: Arc::default(),
        tasks: context.tasks.clone(),
        guesses: Arc::new(std::array::from_fn(|_| tokio::sync::Mutex::default())),
    })
}

/// Publishes the key that access tokens are signed with. The first one has nothing to wait for.
async fn announce_key(app: &App) -> Result<(), Failure> {
    let key = Key {
        id: app.signer.key_id().to_owned(),
        public: app.signer.public_key(),
        not_before: app.now(),
    };
    let (call, command) = (app.fresh_call(), KeyCommand::Announce(key));
    let id = hearth_access::TOKEN_KEYS;
    app.engine
        .execute::<TokenKeys, _>(&call, id, &command, async move |_| Ok(()))
        .await?;
    Ok(())
}

/// Starts what follows the streams: relay, process manager, timers, erasures.
fn follow(context: &Context, app: &App) -> Result<(), StartError> {
    let (log, documents) = (Arc::clone(&context.log), Arc::clone(&context.documents));
    let parking = Parking::new(Arc::clone(&documents), "accounts.relay");
    let clock = Arc::clone(&context.clock);
    let publisher = Arc::new(Published);
    let relay = Relay::new(
        Service::Accounts,
        Arc::clone(&log),
        clock,
        parking,
        publisher,
    );
    let relay = Arc::new(relay);

    let clock = Arc::clone(&context.clock);
    let timers = Timers::new(Service::Accounts, Arc::clone(&documents), clock);
    let process = Process {
        app: app.clone(),
        timers: timers.clone(),
    };
    let marks = context.watermarks.clone();
    let process = Consumer::new(
        process,
        Arc::clone(&log),
        Arc::clone(&documents),
        marks.clone(),
    );
    let process = Arc::new(process);

    let erasures = Erasures::new(app.engine.clone(), STORES, erasers::all(app));
    let erasures = erasures.map_err(|error| StartError::Other(error.to_string()))?;
    let erasures = erasures
        .behind([Follower::relay(Service::Accounts, &relay)])
        .behind(Follower::consumer(&process));
    // Its other episodic aggregates are records, which are removed and leave no tombstone.
    let tombstones = Tombstones::new(app.engine.clone(), Arc::clone(&context.leases));
    let tombstones = Arc::new(tombstones.behind(erasures.followers()));
    let erasures = Arc::new(Consumer::new(erasures, log, documents, marks));

    let clockwork = Arc::new(Clockwork { app: app.clone() });
    let holder = context.holder();
    let (holds, fires, erases) = (holder.clone(), holder.clone(), holder);
    context.tasks.supervise("accounts relay", move || {
        let relay = Arc::clone(&relay);
        async move { relay.run().await }
    });
    context.tasks.supervise("accounts process", move || {
        let (process, holder) = (Arc::clone(&process), holds.clone());
        async move { process.hold(&holder).await }
    });
    context.tasks.supervise("accounts timers", move || {
        let (timers, clockwork, holder) = (timers.clone(), Arc::clone(&clockwork), fires.clone());
        async move {
            let fire = |_| timers.run(&*clockwork);
            holder.hold("accounts.timers.all", fire).await
        }
    });
    context.tasks.supervise("accounts erasures", move || {
        let (erasures, holder) = (Arc::clone(&erasures), erases.clone());
        async move { erasures.hold(&holder).await }
    });
    context.tasks.supervise("accounts tombstones", move || {
        let tombstones = Arc::clone(&tombstones);
        async move { tombstones.run().await }
    });
    Ok(())
}
