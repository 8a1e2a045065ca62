//! The service as a module: its tables, and how it starts.

use std::sync::Arc;

use futures::FutureExt;
use hearth_api::ingest::v1::devices_service_server::DevicesServiceServer;
use hearth_api::ingest::v1::hubs_service_server::HubsServiceServer;
use hearth_api::ingest::v1::ingest_service_server::IngestServiceServer;
use hearth_api::ingest::v1::readings_service_server::ReadingsServiceServer;
use hearth_engine::{FactCache, Rebuild};
use hearth_host::{Context, KeyUse, Module, StartError, Started, StreamUse};
use hearth_kernel::{Purpose, RetentionClass, Role, Service};
use hearth_ports::{Family, Stream};
use hearth_rpc::{Authorisation, Idempotency, MethodRule, Rate};
use serde::Deserialize;

use crate::batch::MAX_BATCH_BYTES;
use crate::counts;
use crate::facts::Facts;
use crate::running::{Parts, Running, run};
use crate::{erasers, grpc};

/// Facts of notifications that are kept in memory.
const RULES: u64 = 10_000;
/// A batch and what is around it.
const MESSAGE_BYTES: usize = (MAX_BATCH_BYTES as usize) + (64 << 10);

macro_rules! path {
    ($service:literal, $method:literal) => {
        concat!("/hearth.ingest.v1.", $service, "/", $method)
    };
}

const fn write(path: &'static str, authorisation: Authorisation) -> MethodRule {
    MethodRule::new(path, authorisation, Idempotency::RequestId)
}

const fn read(path: &'static str, authorisation: Authorisation) -> MethodRule {
    MethodRule::new(path, authorisation, Idempotency::Read)
}

const fn uses(purpose: Purpose, seals: bool, opens: bool) -> KeyUse {
    KeyUse {
        purpose,
        seals,
        opens,
    }
}

const MEMBER: Authorisation = Authorisation::HomeMember(Role::Guest);
const ADULT: Authorisation = Authorisation::HomeMember(Role::Adult);
const ADMIN: Authorisation = Authorisation::HomeMember(Role::Admin);
const HUB: Authorisation = Authorisation::Hub;
/// Codes are guessed nowhere near their 45 bits, and nobody pairs hubs all day.
const PAIRING: Rate = Rate::per_minute(30, 10);

/// The ingest service.
pub const MODULE: Module = Module {
    service: Service::Ingest,
    grpc: &[
        "hearth.ingest.v1.HubsService",
        "hearth.ingest.v1.DevicesService",
        "hearth.ingest.v1.IngestService",
        "hearth.ingest.v1.ReadingsService",
    ],
    rules: &[
        write(path!("HubsService", "BeginPairing"), HUB).limited(PAIRING),
        write(path!("HubsService", "ClaimHub"), ADMIN).limited(PAIRING),
        read(path!("HubsService", "GetPairing"), HUB),
        write(path!("HubsService", "RevokeHub"), ADMIN),
        read(path!("HubsService", "ListHubs"), MEMBER),
        write(path!("DevicesService", "RegisterDevice"), ADULT),
        write(path!("DevicesService", "UpdateDevice"), ADULT),
        read(path!("DevicesService", "ListDevices"), MEMBER),
        write(path!("DevicesService", "RemoveDevice"), ADMIN),
        MethodRule::new(path!("IngestService", "Ingest"), HUB, Idempotency::Natural)
            .streaming()
            .at_most_bytes(MESSAGE_BYTES),
        read(path!("ReadingsService", "QueryReadings"), MEMBER).streaming(),
        read(path!("ReadingsService", "LatestReadings"), MEMBER),
        read(path!("ReadingsService", "WatchReadings"), MEMBER).streaming(),
    ],
    keys: &[
        uses(Purpose::Home, true, true),
        // One class stands for all of them, rollups included.
        uses(Purpose::Telemetry(RetentionClass::Days7), true, true),
        uses(Purpose::Signals, true, false),
        uses(Purpose::Hashing, true, true),
        uses(Purpose::Signing, true, true),
    ],
    streams: &[
        StreamUse::Owns(Stream::new(Family::Evt, Service::Ingest)),
        StreamUse::Owns(Stream::new(Family::Rec, Service::Ingest)),
        StreamUse::Owns(Stream::new(Family::Int, Service::Ingest)),
        StreamUse::Owns(Stream::new(Family::State, Service::Ingest)),
        StreamUse::Owns(Stream::TELEMETRY),
        StreamUse::Reads(Stream::new(Family::State, Service::Accounts)),
        StreamUse::Reads(Stream::new(Family::State, Service::Notifications)),
        StreamUse::Reads(Stream::new(Family::State, Service::Retention)),
    ],
    stores: erasers::STORES,
    options: |section| hearth_host::module::problems_of(section, Options::problems),
    start: |context| start(context).boxed(),
};

/// The section `ingest` of the configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// Who this server says it is to hubs: what they were set up with. Hubs sign it.
    audience: String,
}

impl Options {
    fn problems(&self) -> Vec<String> {
        let empty = self.audience.trim().is_empty();
        Vec::from_iter(empty.then(|| "audience is empty".to_owned()))
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            audience: "hearth".to_owned(),
        }
    }
}

async fn start(context: Context) -> Result<Started, StartError> {
    let options: Options = context.options()?;
    let rules = FactCache::new(
        Service::Notifications,
        Arc::clone(&context.log),
        Arc::clone(&context.clock),
        context.watermarks.clone(),
        RULES,
    );
    let following = rules.clone();
    context.tasks.supervise("ingest interests", move || {
        let rules = following.clone();
        async move { rules.run().await }
    });
    let running = run(Parts {
        engine: context.engine().await?,
        series: Arc::clone(&context.series),
        leases: Arc::clone(&context.leases),
        holder: context.holder(),
        watermarks: context.watermarks.clone(),
        knowledge: Arc::new(Facts::new(
            Arc::clone(&context.access),
            Arc::clone(&context.clock),
            rules,
        )),
        tasks: context.tasks.clone(),
        audience: options.audience,
    })
    .await
    .map_err(|error| StartError::Other(format!("ingest does not start: {error}")))?;
    counts::show(&context.metrics, &running.app.core);
    let access = Arc::clone(&context.access);
    Ok(routes(&running).ready_when("facts of accounts", move || access.facts().is_fresh()))
}

/// The gRPC services of a running one.
fn routes(running: &Running) -> Started {
    let app = running.app.clone();
    let view: Arc<dyn Rebuild> = Arc::clone(&running.view) as _;
    Started::default().view(view).serve(move |routes| {
        let stream = IngestServiceServer::new(grpc::Ingest(Arc::clone(&app.core)));
        routes
            .add_service(stream.max_decoding_message_size(MESSAGE_BYTES))
            .add_service(HubsServiceServer::new(grpc::Hubs(app.clone())))
            .add_service(DevicesServiceServer::new(grpc::Devices(app.clone())))
            .add_service(ReadingsServiceServer::new(grpc::Readings(app)));
    })
}
