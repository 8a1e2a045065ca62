//! A world to test in: every port in memory, a vault, a home whose facts a test decides, and a hub that hides nothing.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use hearth_api::ingest::v1::{
    Ack, Batch, Hello, IngestRequest, IngestResponse, Reading, Rows, Welcome, batch,
    ingest_request, ingest_response, reading,
};
use hearth_backend_memory::Memory;
use hearth_engine::{
    Actor, Call, CommitToken, Engine, EngineOptions, Hasher, Holder, Stale, Watermarks, random_id,
};
use hearth_ingest_domain::claim::{self, Made};
use hearth_ingest_domain::devices::{self, Traits};
use hearth_kernel::capability::Family;
use hearth_kernel::{
    AccountId, Capability, ClaimId, DeviceId, Failure, HomeId, HubId, HubStreamId, Part, Purpose,
    Reason, RetentionClass, Role, Service, Timestamp,
};
use hearth_ports::{Clock, ManualClock, Tasks};
use hearth_readings::Level;
use hearth_rpc::Principal;
use hearth_vault::Vault;
use ring::signature::{Ed25519KeyPair, KeyPair};
use tokio::sync::mpsc;
use tonic::Status;

use crate::aggregates::{Claim, Devices};
use crate::app::readings::Sight;
use crate::history::{Query, WindowRow};
use crate::knowledge::{HomeKnown, Knowledge, Member, stale};
use crate::observed::Observed;
use crate::proof;
use crate::registry::{Interests, Periods};
use crate::running::{Parts, Running, run};
use crate::stream::serve;

pub(super) const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);
pub(super) const HOME: HomeId = HomeId::from_bytes([0x11; 16]);
pub(super) const METER: DeviceId = DeviceId::from_bytes([0x21; 16]);
pub(super) const HALL: DeviceId = DeviceId::from_bytes([0x22; 16]);
pub(super) const AUDIENCE: &str = "home.example";
/// No wait in a test is longer, unless the test has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// Facts as a test says they are.
#[derive(Default)]
pub(super) struct Told {
    pub(super) members: Mutex<HashMap<(AccountId, HomeId), Member>>,
    pub(super) homes: Mutex<HashMap<HomeId, HomeKnown>>,
    pub(super) interests: Mutex<Interests>,
    pub(super) stale: Mutex<bool>,
}

impl Told {
    fn fresh(&self) -> Result<(), Stale> {
        if *self.stale.lock().unwrap() {
            Err(Stale)
        } else {
            Ok(())
        }
    }
}

#[async_trait]
impl Knowledge for Told {
    async fn require(
        &self,
        principal: &Principal,
        home: HomeId,
        role: Role,
    ) -> Result<Member, Failure> {
        let (account, _) = principal.signed_in()?;
        self.fresh().map_err(stale)?;
        let member = self.members.lock().unwrap().get(&(account, home)).cloned();
        let member = member.ok_or_else(|| Failure::new(Reason::NOT_FOUND).about("home", home))?;
        if member.role < role {
            return Err(Reason::NOT_ALLOWED.into());
        }
        Ok(member)
    }

    async fn home(&self, home: HomeId) -> Result<Option<HomeKnown>, Stale> {
        self.fresh()?;
        Ok(self.homes.lock().unwrap().get(&home).cloned())
    }

    async fn interests(&self, _: HomeId) -> Result<Interests, Stale> {
        self.fresh()?;
        Ok(self.interests.lock().unwrap().clone())
    }

    async fn settled(&self) -> Result<(), Stale> {
        self.fresh()
    }

    async fn after(&self, _: &[CommitToken]) -> Result<(), Failure> {
        Ok(())
    }
}

/// One process of the service, on stores that outlive it.
pub(super) struct World {
    pub(super) memory: Memory,
    pub(super) clock: ManualClock,
    pub(super) vault: Vault,
    pub(super) told: Arc<Told>,
    pub(super) engine: Engine,
    pub(super) running: Running,
    pub(super) tasks: Tasks,
}

impl World {
    /// A new installation with one home, two devices, and readings kept for 400 days.
    pub(super) async fn new() -> Self {
        let clock = ManualClock::new(NOW);
        let memory = Memory::new(Arc::new(clock.clone()));
        let told = Arc::new(Told::default());
        let periods = Periods::default()
            .with(Family::Readings, RetentionClass::Days400)
            .with(Family::Water, RetentionClass::Days90);
        let known = HomeKnown {
            periods,
            ..HomeKnown::default()
        };
        told.homes.lock().unwrap().insert(HOME, known);
        let world = Self::start(memory, clock, told).await;
        world
            .register(METER, &[Capability::PLUG_POWER, Capability::WATER_FLOW])
            .await;
        world
            .register(
                HALL,
                &[
                    Capability::MOTION,
                    Capability::HEATING_MODE,
                    Capability::LIGHT_COLOUR,
                ],
            )
            .await;
        world
    }

    async fn start(memory: Memory, clock: ManualClock, told: Arc<Told>) -> Self {
        let tasks = Tasks::new();
        let vault = Vault::start(
            Arc::clone(&memory.log) as _,
            Arc::clone(&memory.custody) as _,
            Arc::new(clock.clone()),
            &tasks,
        )
        .await
        .unwrap();
        let sealing = vault.handle(Service::Ingest);
        let secret = sealing
            .service_secret(Purpose::Hashing, "ids")
            .await
            .unwrap();
        let engine = Engine::new(EngineOptions {
            service: Service::Ingest,
            log: Arc::clone(&memory.log) as _,
            documents: Arc::clone(&memory.documents) as _,
            sealing,
            clock: Arc::new(clock.clone()),
            hasher: Hasher::new(secret.expose()),
            cache: 1_000,
        });
        let running = run(Parts {
            engine: engine.clone(),
            series: Arc::clone(&memory.series) as _,
            leases: Arc::clone(&memory.leases) as _,
            holder: Holder::new(
                Arc::clone(&memory.leases) as _,
                Arc::new(clock.clone()),
                tasks.clone(),
            ),
            watermarks: Watermarks::new(Arc::clone(&memory.log) as _),
            knowledge: Arc::clone(&told) as _,
            tasks: tasks.clone(),
            audience: AUDIENCE.to_owned(),
        })
        .await
        .unwrap();
        Self {
            memory,
            clock,
            vault,
            told,
            engine,
            running,
            tasks,
        }
    }

    /// Stops everything at once, as a crash does, and starts again on the same stores.
    pub(super) async fn crash(self) -> Self {
        self.tasks.stop(Duration::from_secs(5)).await;
        // The lease of the process that died runs out.
        self.clock.advance(Duration::from_secs(4));
        Self::start(self.memory, self.clock, self.told).await
    }

    async fn register(&self, device: DeviceId, capabilities: &[Capability]) {
        let facts = devices::Facts {
            now: self.clock.now(),
            device,
        };
        let command = devices::Command::Register {
            home: HOME,
            traits: Traits {
                area: None,
                kind: 1,
                capabilities: capabilities.iter().copied().collect(),
                hub: None,
            },
            name: Part::clear("a device with a planted name"),
        };
        let request = call();
        let outcome =
            self.engine
                .execute::<Devices, _>(&request, HOME, &command, async move |_| Ok(facts));
        outcome.await.unwrap();
    }

    /// A hub with a claim.
    pub(super) async fn hub(&self, seed: u8) -> Hub {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        let public_key: [u8; 32] = pair.public_key().as_ref().try_into().unwrap();
        let (hub, claim) = (proof::hub_of(&public_key), random_id::<ClaimId>());
        let made = Made {
            claim,
            hub,
            home: HOME,
            public_key,
            name: Part::clear("hub"),
            model: Part::clear("box-1"),
            claimed_at: self.clock.now(),
        };
        let facts = claim::Facts {
            now: self.clock.now(),
        };
        let make = claim::Command::Make(Box::new(made));
        let request = call();
        let outcome = self
            .engine
            .execute::<Claim, _>(&request, claim, &make, async move |_| Ok(facts));
        outcome.await.unwrap();
        Hub {
            pair,
            hub,
            claim,
            stream: random_id(),
        }
    }

    /// Sends batches in order, and waits until all are acked.
    pub(super) async fn send(&self, hub: &Hub, batches: &[Batch]) {
        let mut line = self.connect(hub).await.unwrap();
        for batch in batches {
            line.send(batch.clone()).await;
        }
        let last = batches.iter().map(|it| it.sequence).max().unwrap_or(0);
        line.acked(last).await;
    }

    pub(super) async fn connect(&self, hub: &Hub) -> Result<Line, Status> {
        Line::open(self, hub, &[hub.stream], |_| {}).await
    }

    /// Readings of one series as a query of somebody who sees everything answers them.
    pub(super) async fn raw(
        &self,
        device: DeviceId,
        capability: Capability,
    ) -> Vec<(i64, Observed)> {
        let mut reader = self.reader(device, capability).await;
        let mut all = Vec::new();
        for day in reader.days() {
            let samples = reader.readings(day).await.unwrap();
            all.extend(samples.iter().map(|it| (it.at, it.value.clone())));
        }
        all
    }

    pub(super) async fn windows(
        &self,
        device: DeviceId,
        capability: Capability,
        level: Level,
    ) -> Vec<WindowRow> {
        let mut reader = self.reader(device, capability).await;
        let mut all = Vec::new();
        for day in reader.days() {
            all.extend(reader.windows(day, level).await.unwrap());
        }
        all
    }

    async fn reader(&self, device: DeviceId, capability: Capability) -> crate::history::Reader {
        let now = self.clock.now();
        let query = Query {
            home: HOME,
            device,
            capability,
            from: NOW.minus(Duration::from_secs(120 * 86_400)).micros(),
            until: now.plus(Duration::from_secs(86_400)).micros(),
        };
        self.running
            .app
            .reader(&self.sight().await, query, &[])
            .await
            .unwrap()
    }

    /// What a member without limits sees.
    pub(super) async fn sight(&self) -> Sight {
        let member = Member {
            membership: random_id(),
            role: Role::Adult,
            areas: Vec::new(),
        };
        self.running.app.sight(member, HOME).await.unwrap()
    }

    /// Everything that queries answer, in all resolutions.
    pub(super) async fn answers(&self) -> BTreeMap<String, String> {
        let mut answers = BTreeMap::new();
        let series = [
            (METER, Capability::PLUG_POWER),
            (METER, Capability::WATER_FLOW),
            (HALL, Capability::MOTION),
            (HALL, Capability::HEATING_MODE),
            (HALL, Capability::LIGHT_COLOUR),
        ];
        for (device, capability) in series {
            let name = format!("{} {}", device, capability.number());
            answers.insert(
                format!("{name} raw"),
                format!("{:?}", self.raw(device, capability).await),
            );
            if capability == Capability::HEATING_MODE {
                continue;
            }
            for level in [Level::Minute, Level::Hour, Level::Day] {
                let windows = self.windows(device, capability, level).await;
                answers.insert(format!("{name} {level:?}"), format!("{windows:?}"));
            }
        }
        answers
    }

    /// Compacts every day, over or not.
    pub(super) async fn compact(&self) {
        self.running.app.core.written().await.unwrap();
        self.running.sweeper.sweep(true).await.unwrap();
    }
}

pub(super) fn call() -> Call {
    Call {
        commit: random_id(),
        fingerprint: [0; 16],
        actor: Actor::Nobody,
        causation: None,
        trace: String::new(),
    }
}

/// A hub.
pub(super) struct Hub {
    pub(super) pair: Ed25519KeyPair,
    pub(super) hub: HubId,
    pub(super) claim: ClaimId,
    pub(super) stream: HubStreamId,
}

impl Hub {
    /// A batch in rows.
    pub(super) fn batch(&self, sequence: u64, readings: Vec<Reading>) -> Batch {
        Batch {
            stream_id: Bytes::copy_from_slice(self.stream.as_bytes()),
            sequence,
            body: Some(batch::Body::Rows(Rows { readings })),
        }
    }
}

/// A reading so many seconds before [`NOW`].
pub(super) fn reading(
    device: DeviceId,
    capability: Capability,
    ago: i64,
    value: reading::Value,
) -> Reading {
    Reading {
        device_id: Bytes::copy_from_slice(device.as_bytes()),
        capability: i32::from(capability.number()),
        observed_at: Some(prost_types::Timestamp {
            seconds: NOW.seconds() - ago,
            nanos: 0,
        }),
        value: Some(value),
    }
}

/// A power reading so many seconds ago.
pub(super) fn power(ago: i64, watts: f64) -> Reading {
    reading(
        METER,
        Capability::PLUG_POWER,
        ago,
        reading::Value::Number(watts),
    )
}

/// An open stream of a hub.
pub(super) struct Line {
    requests: mpsc::Sender<Result<IngestRequest, Status>>,
    answers: BoxStream<'static, Result<IngestResponse, Status>>,
    pub(super) welcome: Welcome,
    pub(super) acks: Vec<Ack>,
}

impl Line {
    /// Opens a stream; `spoil` may spoil the hello.
    pub(super) async fn open(
        world: &World,
        hub: &Hub,
        streams: &[HubStreamId],
        spoil: impl FnOnce(&mut Hello),
    ) -> Result<Self, Status> {
        let (requests, queue) = mpsc::channel(8_192);
        let queue = tokio_stream::wrappers::ReceiverStream::new(queue);
        let mut answers = serve(Arc::clone(&world.running.app.core), queue).boxed();
        let Some(ingest_response::Frame::Challenge(challenge)) = next(&mut answers).await? else {
            panic!("no challenge");
        };
        let parts: [&[u8]; 5] = [
            challenge.domain_tag.as_bytes(),
            challenge.audience.as_bytes(),
            &challenge.nonce,
            hub.hub.as_bytes(),
            hub.claim.as_bytes(),
        ];
        let signature = hub.pair.sign(&proof::framed(&parts));
        let mut hello = Hello {
            hub_id: Bytes::copy_from_slice(hub.hub.as_bytes()),
            claim_id: Bytes::copy_from_slice(hub.claim.as_bytes()),
            nonce: challenge.nonce,
            signature: Bytes::copy_from_slice(signature.as_ref()),
            stream_ids: streams
                .iter()
                .map(|it| Bytes::copy_from_slice(it.as_bytes()))
                .collect(),
        };
        spoil(&mut hello);
        let frame = Some(ingest_request::Frame::Hello(hello));
        requests.send(Ok(IngestRequest { frame })).await.unwrap();
        let Some(ingest_response::Frame::Welcome(welcome)) = next(&mut answers).await? else {
            panic!("no welcome");
        };
        Ok(Self {
            requests,
            answers,
            welcome,
            acks: Vec::new(),
        })
    }

    pub(super) async fn send(&mut self, batch: Batch) {
        let frame = Some(ingest_request::Frame::Batch(batch));
        let _ = self.requests.send(Ok(IngestRequest { frame })).await;
    }

    /// The next answer.
    pub(super) async fn next(&mut self) -> Result<Option<ingest_response::Frame>, Status> {
        let frame = next(&mut self.answers).await?;
        if let Some(ingest_response::Frame::Ack(ack)) = &frame {
            self.acks.push(ack.clone());
        }
        Ok(frame)
    }

    /// Waits until a sequence is durable.
    pub(super) async fn acked(&mut self, through: u64) {
        while self
            .acks
            .last()
            .is_none_or(|ack| ack.durable_through < through)
            && through > 0
        {
            assert!(
                self.next().await.unwrap().is_some(),
                "the stream ended before {through}"
            );
        }
    }

    /// Closes the hub's side.
    pub(super) fn close(&mut self) {
        let (closed, _) = mpsc::channel(1);
        self.requests = closed;
    }

    /// Why readings were refused so far.
    pub(super) fn refused(&self) -> Vec<(u64, u32, String)> {
        let refused = self.acks.iter().flat_map(|ack| &ack.refused);
        refused
            .map(|it| {
                (
                    it.sequence,
                    it.index,
                    it.refusal.clone().unwrap_or_default().reason,
                )
            })
            .collect()
    }
}

async fn next(
    answers: &mut BoxStream<'static, Result<IngestResponse, Status>>,
) -> Result<Option<ingest_response::Frame>, Status> {
    let next = tokio::time::timeout(PATIENCE, answers.next()).await;
    match next.expect("an answer in time") {
        None => Ok(None),
        Some(Ok(response)) => Ok(response.frame),
        Some(Err(status)) => Err(status),
    }
}
