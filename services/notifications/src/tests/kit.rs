//! A home with two members, the ports it runs on, and words to tell stories about it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hearth_access::{Access, HomeFacts, Member};
use hearth_api::events::v1::{AddressContent, Frame, Signal, SignalSet, Signals, signal};
use hearth_backend_memory::Memory;
use hearth_engine::{CommitToken, Stale, Watermarks};
use hearth_host::{Context, Metrics};
use hearth_kernel::{
    AccountId, AggregateRef, AreaId, Capability, ClaimId, DeviceId, Failure, HomeId, HubStreamId,
    MembershipId, Origin, Owner, Purpose, Reason, Role, Sealed, Secret, Service, SessionId,
    Timestamp,
};
use hearth_ports::sealing::ToOpen;
use hearth_ports::{
    Binding, Clock, Expected, Log, ManualClock, Opened, SealError, Sealing, Subject, Tasks,
};
use hearth_rpc::Principal;
use prost::Message;

use hearth_notifications_domain::preferences::{Channel, Command, Topic};
use hearth_notifications_domain::rules::Condition;

use crate::app::commands::Request;
use crate::app::facts::Facts;
use crate::module::Parts;

pub(crate) const HOME: HomeId = HomeId::from_bytes([1; 16]);
/// The owner: sees everything.
pub(crate) const ANNA: AccountId = AccountId::from_bytes([2; 16]);
/// A guest, who sees the hall only.
pub(crate) const BEN: AccountId = AccountId::from_bytes([3; 16]);
pub(crate) const ROOM: AreaId = AreaId::from_bytes([4; 16]);
pub(crate) const HALL: AreaId = AreaId::from_bytes([5; 16]);
pub(crate) const HEATER: DeviceId = DeviceId::from_bytes([6; 16]);
pub(crate) const CAMERA: DeviceId = DeviceId::from_bytes([7; 16]);
pub(crate) const CLAIM: ClaimId = ClaimId::from_bytes([8; 16]);
const HUB_STREAM: HubStreamId = HubStreamId::from_bytes([9; 16]);
pub(crate) const START: Timestamp = Timestamp::from_seconds(1_700_000_000);

/// Sealing that checks what a value is bound to, and hides it from a search; and that fences owners.
#[derive(Debug, Default)]
pub(crate) struct TestSealing {
    pub(crate) fenced: Mutex<BTreeSet<Owner>>,
}

/// 48 bytes that depend on everything that a value is bound to, then the value turned over.
fn sealed(owner: Owner, purpose: Purpose, binding: &Binding, clear: &[u8]) -> Vec<u8> {
    let bound = binding.associated_data(owner, purpose, Default::default());
    let mut tag = [0u8; 48];
    for (index, byte) in bound.iter().enumerate() {
        tag[index % 48] = tag[index % 48].rotate_left(3) ^ byte;
    }
    tag.iter()
        .copied()
        .chain(clear.iter().map(|byte| byte ^ 0x5a))
        .collect()
}

#[async_trait]
impl Sealing for TestSealing {
    async fn seal(
        &self,
        owner: Owner,
        purpose: Purpose,
        binding: &Binding,
        clear: &[u8],
    ) -> Result<Bytes, SealError> {
        if self.fenced.lock().expect("not poisoned").contains(&owner) {
            return Err(SealError::Fenced);
        }
        Ok(sealed(owner, purpose, binding, clear).into())
    }

    async fn open(
        &self,
        owner: Owner,
        purpose: Purpose,
        binding: &Binding,
        bytes: &[u8],
    ) -> Result<Opened, SealError> {
        if self.fenced.lock().expect("not poisoned").contains(&owner) {
            return Ok(Opened::Erased);
        }
        let clear: Vec<u8> = bytes.iter().skip(48).map(|byte| byte ^ 0x5a).collect();
        if sealed(owner, purpose, binding, &clear) != bytes {
            return Err(SealError::Corrupt);
        }
        Ok(Opened::Clear(Secret::new(clear)))
    }

    async fn open_all(
        &self,
        owner: Owner,
        purpose: Purpose,
        things: &[ToOpen<'_>],
    ) -> Result<Vec<Opened>, SealError> {
        let mut opened = Vec::new();
        for thing in things {
            opened.push(
                self.open(owner, purpose, &thing.binding, thing.sealed)
                    .await?,
            );
        }
        Ok(opened)
    }

    async fn service_secret(&self, _: Purpose, _: &str) -> Result<Secret, SealError> {
        Ok(Secret::from("the same for ever"))
    }
}

/// What accounts and ingest would tell.
#[derive(Debug, Default)]
pub(crate) struct TestFacts {
    pub(crate) members: Mutex<BTreeMap<AccountId, Member>>,
    pub(crate) addresses: Mutex<BTreeMap<AccountId, Sealed>>,
}

fn member(n: u8, role: Role, areas: Vec<AreaId>) -> Member {
    Member {
        membership: MembershipId::from_bytes([n; 16]),
        role,
        areas,
        expires_at: None,
    }
}

#[async_trait]
impl Facts for TestFacts {
    async fn devices(
        &self,
        home: HomeId,
        devices: &BTreeSet<DeviceId>,
    ) -> Result<BTreeMap<DeviceId, Option<AreaId>>, Stale> {
        let all = [(HEATER, Some(ROOM)), (CAMERA, Some(HALL))];
        let known = all
            .into_iter()
            .filter(|(device, _)| home == HOME && devices.contains(device));
        Ok(known.collect())
    }

    async fn home(&self, home: HomeId) -> Result<Option<HomeFacts>, Stale> {
        let members = self.members.lock().expect("not poisoned");
        Ok((home == HOME).then(|| HomeFacts {
            home,
            ended: false,
            members: members.values().map(|it| it.membership).collect(),
            areas: vec![ROOM, HALL],
            time_zone: "Europe/Skopje".into(),
            retention: Vec::new(),
        }))
    }

    async fn account_of(&self, membership: MembershipId) -> Result<Option<AccountId>, Stale> {
        let members = self.members.lock().expect("not poisoned");
        let found = members.iter().find(|(_, it)| it.membership == membership);
        Ok(found.map(|(account, _)| *account))
    }

    async fn member(&self, account: AccountId, home: HomeId) -> Result<Option<Member>, Stale> {
        let members = self.members.lock().expect("not poisoned");
        Ok(members.get(&account).filter(|_| home == HOME).cloned())
    }

    async fn address(&self, account: AccountId) -> Result<Option<Sealed>, Stale> {
        Ok(self
            .addresses
            .lock()
            .expect("not poisoned")
            .get(&account)
            .cloned())
    }

    async fn require(
        &self,
        principal: &Principal,
        home: HomeId,
        role: Role,
    ) -> Result<Member, Failure> {
        let account = principal
            .account()
            .ok_or(Failure::new(Reason::NOT_SIGNED_IN))?;
        let member = self.member(account, home).await.expect("never stale");
        let member = member.ok_or(Failure::new(Reason::NOT_FOUND))?;
        if member.role < role {
            return Err(Reason::NOT_ALLOWED.into());
        }
        Ok(member)
    }

    async fn after(&self, _: &[CommitToken]) -> Result<(), Failure> {
        Ok(())
    }
}

/// A home and all that it runs on.
pub(crate) struct World {
    pub(crate) clock: ManualClock,
    pub(crate) memory: Memory,
    pub(crate) sealing: Arc<TestSealing>,
    pub(crate) facts: Arc<TestFacts>,
    sequence: Mutex<u64>,
}

/// One life of the process.
pub(crate) struct Life {
    pub(crate) parts: Parts,
    context: Context,
}

impl Life {
    /// The end of the process: nothing of it runs on.
    pub(crate) async fn end(self) {
        assert!(
            self.context.tasks.stop(Duration::from_secs(5)).await,
            "tasks end"
        );
    }
}

impl World {
    pub(crate) fn new() -> Self {
        let clock = ManualClock::new(START);
        let facts = TestFacts::default();
        {
            let mut members = facts.members.lock().expect("not poisoned");
            members.insert(ANNA, member(0xa, Role::Owner, Vec::new()));
            members.insert(BEN, member(0xb, Role::Guest, vec![HALL]));
        }
        let world = Self {
            memory: Memory::new(Arc::new(clock.clone())),
            clock,
            sealing: Arc::default(),
            facts: Arc::new(facts),
            sequence: Mutex::default(),
        };
        for (account, email) in [(ANNA, "anna@example.org"), (BEN, "ben@example.org")] {
            let content = AddressContent {
                email: email.into(),
                locale: "en".into(),
            };
            let part = world.part(account, Purpose::Delivery, &content.encode_to_vec());
            world
                .facts
                .addresses
                .lock()
                .expect("not poisoned")
                .insert(account, part);
        }
        world
    }

    /// A part of an event of accounts, as it travels.
    pub(crate) fn part(&self, account: AccountId, purpose: Purpose, clear: &[u8]) -> Sealed {
        let owner = Owner::Account(account);
        let origin = Origin {
            aggregate: AggregateRef::new(Service::Accounts, "account", account),
            version: 1,
            event: 0,
            part: 0,
        };
        let bytes = sealed(owner, purpose, &Binding::Event(origin.clone()), clear);
        Sealed {
            owner,
            purpose,
            origin,
            bytes: bytes.into(),
        }
    }

    pub(crate) fn context(&self) -> Context {
        let tasks = Tasks::new();
        let clock: Arc<dyn Clock> = Arc::new(self.clock.clone());
        let log: Arc<dyn Log> = Arc::clone(&self.memory.log) as _;
        let watermarks = Watermarks::new(Arc::clone(&log));
        Context {
            service: Service::Notifications,
            access: Access::start(
                Arc::clone(&log),
                Arc::clone(&clock),
                watermarks.clone(),
                &tasks,
            ),
            log,
            documents: Arc::clone(&self.memory.documents) as _,
            series: Arc::clone(&self.memory.series) as _,
            blobs: Arc::clone(&self.memory.blobs) as _,
            leases: Arc::clone(&self.memory.leases) as _,
            clock,
            outbound: Arc::clone(&self.memory.outbound) as _,
            sealing: Arc::clone(&self.sealing) as _,
            erasing: None,
            watermarks,
            tasks,
            metrics: Metrics::new(),
            config: Arc::default(),
        }
    }

    /// Starts the process; a second life goes on where the first one stopped.
    pub(crate) async fn live(&self) -> Life {
        self.live_on(self.context()).await
    }

    /// The same on another context.
    pub(crate) async fn live_on(&self, context: Context) -> Life {
        let parts = Parts::on(&context, Arc::clone(&self.facts) as _)
            .await
            .expect("starts");
        parts.run(&context);
        Life { parts, context }
    }

    /// Appends a frame with one signal, observed so many seconds after the start and received at once.
    pub(crate) async fn signal(&self, device: DeviceId, what: Capability, on: bool, second: u64) {
        let frame = self.frame(&[(device, what, on, second)]);
        self.append(frame).await;
    }

    pub(crate) async fn append(&self, frame: Bytes) {
        let subject = Subject::telemetry(3);
        self.memory
            .log
            .append(&subject, Expected::Any, frame)
            .await
            .expect("appended");
    }

    /// A frame with one batch of signals.
    pub(crate) fn frame(&self, signals: &[(DeviceId, Capability, bool, u64)]) -> Bytes {
        let (binding, clear) = self.batch(signals);
        let sealed = sealed(Owner::Home(HOME), Purpose::Signals, &binding, &clear);
        framed(&binding, sealed.into())
    }

    /// A batch of signals, still to be sealed.
    pub(crate) fn batch(
        &self,
        signals: &[(DeviceId, Capability, bool, u64)],
    ) -> (Binding, Vec<u8>) {
        let sequence = {
            let mut sequence = self.sequence.lock().expect("not poisoned");
            *sequence += 1;
            *sequence
        };
        let wire = signals.iter().map(|(device, what, on, second)| {
            let at = START.plus(Duration::from_secs(*second)).micros();
            Signal {
                device_id: Bytes::copy_from_slice(device.as_bytes()),
                capability: i32::from(what.number()),
                observed_at: at,
                received_at: at,
                value: Some(signal::Value::Flag(*on)),
            }
        });
        let set = SignalSet {
            signals: wire.collect(),
        };
        let binding = Binding::Signals {
            home: HOME,
            claim: CLAIM,
            stream: HUB_STREAM,
            sequence,
        };
        (binding, set.encode_to_vec())
    }
}

/// The frame of one sealed batch.
pub(crate) fn framed(binding: &Binding, sealed: Bytes) -> Bytes {
    let Binding::Signals { sequence, .. } = binding else {
        panic!("not signals");
    };
    let signals = Signals {
        home_id: Bytes::copy_from_slice(HOME.as_bytes()),
        claim_id: Bytes::copy_from_slice(CLAIM.as_bytes()),
        stream_id: Bytes::copy_from_slice(HUB_STREAM.as_bytes()),
        sequence: *sequence,
        sealed,
    };
    let frame = Frame {
        written_at: 0,
        segments: Vec::new(),
        signals: vec![signals],
    };
    frame.encode_to_vec().into()
}

pub(crate) fn signed_in(account: AccountId) -> Principal {
    Principal::Account {
        account,
        session: SessionId::from_bytes([1; 16]),
        signed_in_at: START,
    }
}

/// Waits until something holds; fails when it does not within ten seconds.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let waiting = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let found = tokio::time::timeout(Duration::from_secs(10), waiting).await;
    found.unwrap_or_else(|_| panic!("not within ten seconds: {what}"))
}

/// A rule, an armed home, and a wish for mail.
pub(crate) async fn wants_to_hear_of_motion(life: &Life) {
    let (anna, app) = (signed_in(ANNA), &life.parts.app);
    let request = |n: u8| Request {
        rpc: "Test",
        request_id: format!("request-{n:016}"),
        content: Vec::new(),
    };
    let condition = Condition::MotionWhileArmed {
        areas: [].into(),
        cooldown: Duration::from_secs(60),
    };
    app.put_rule(&anna, &request(1), HOME, None, true, condition)
        .await
        .expect("put");
    app.arm(&anna, &request(2), HOME, [].into())
        .await
        .expect("armed");
    let by_mail = Command::Set {
        topic: Topic::Motion,
        channel: Channel::Email,
        on: true,
    };
    app.prefer(&anna, &request(3), by_mail).await.expect("set");
}
