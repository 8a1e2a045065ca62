//! The engine's own spelling of orders and answers is that of the contract.

use std::sync::Arc;
use std::time::Duration;

use hearth_api::events::v1::{
    self as events, accounts_fact, envelope::Payload, ingest_fact, notifications_fact,
    retention_fact, vault_fact,
};
use hearth_backend_memory::Memory;
use hearth_engine::erasure::{self, Order, Stage};
use hearth_engine::{
    Commit, Consume, ConsumeError, Engine, EngineOptions, Erased, Eraser, Erasures, Hasher,
};
use hearth_kernel::{ErasureId, MembershipId, Owner, Service, Timestamp};
use hearth_ports::{Expected, Family, Log, ManualClock, Position, Stream, Subject, Tasks};
use hearth_vault::Vault;
use prost::Message as _;

use super::end_to_end::{ANNA, HOUSE};
use crate::project::{time_of, wire_time};

const ERASURE: ErasureId = ErasureId::from_bytes([0xe; 16]);
const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_123_456);

struct Cellar;

#[async_trait::async_trait]
impl Eraser for Cellar {
    fn store(&self) -> &'static str {
        "cellar"
    }

    async fn erase(&self, order: &Order) -> Result<Erased, ConsumeError> {
        assert_eq!(order.accounts().collect::<Vec<_>>(), [ANNA]);
        assert_eq!(order.homes().collect::<Vec<_>>(), [HOUSE]);
        assert_eq!(order.memberships, [MembershipId::from_bytes([3; 16])]);
        Ok(Erased::items(7).leaving(erasure::residual::BACKUPS, Some(NOW)))
    }
}

fn order(stage: events::ErasureStage) -> events::Envelope {
    let owner = |owner| events::Owner { owner: Some(owner) };
    let order = events::ErasureOrder {
        erasure_id: ERASURE.as_bytes().to_vec().into(),
        stage: stage.into(),
        owners: vec![
            owner(events::owner::Owner::AccountId(
                ANNA.as_bytes().to_vec().into(),
            )),
            owner(events::owner::Owner::HomeId(
                HOUSE.as_bytes().to_vec().into(),
            )),
        ],
        membership_ids: vec![vec![3; 16].into()],
        requested_at: Some(wire_time(NOW)),
        fenced_at: None,
        leases_ended_at: None,
    };
    let fact = retention_fact::Fact::Order(order);
    events::Envelope {
        stamp: None,
        owner: None,
        payload: Some(Payload::RetentionFact(events::RetentionFact {
            fact: Some(fact),
        })),
    }
}

fn answer(payload: Payload) -> Option<events::ErasureAnswer> {
    match payload {
        Payload::AccountsFact(it) => match it.fact? {
            accounts_fact::Fact::Erasure(answer) => Some(answer),
            _ => None,
        },
        Payload::IngestFact(it) => match it.fact? {
            ingest_fact::Fact::Erasure(answer) => Some(answer),
            _ => None,
        },
        Payload::NotificationsFact(it) => match it.fact? {
            notifications_fact::Fact::Erasure(answer) => Some(answer),
            _ => None,
        },
        Payload::RetentionFact(it) => match it.fact? {
            retention_fact::Fact::Erasure(answer) => Some(answer),
            _ => None,
        },
        Payload::VaultFact(it) => match it.fact? {
            vault_fact::Fact::Erasure(answer) => Some(answer),
            _ => None,
        },
        _ => None,
    }
}

#[test]
fn every_stage_has_its_number() {
    for number in 0..8 {
        let ours = Stage::try_from(number).map(|it| it as i32).ok();
        let theirs = events::ErasureStage::try_from(number)
            .map(|it| it as i32)
            .ok();
        assert_eq!(ours, theirs, "{number}");
    }
}

#[tokio::test]
async fn each_service_answers_in_its_own_facts() {
    let services = [
        Service::Accounts,
        Service::Ingest,
        Service::Notifications,
        Service::Retention,
        Service::Vault,
    ];
    for service in services {
        let clock = ManualClock::new(NOW);
        let memory = Memory::new(Arc::new(clock.clone()));
        let tasks = Tasks::new();
        let (log, custody) = (Arc::clone(&memory.log), Arc::clone(&memory.custody));
        let vault = Vault::start(log as _, custody as _, Arc::new(clock.clone()), &tasks)
            .await
            .unwrap();
        let engine = Engine::new(EngineOptions {
            service,
            log: Arc::clone(&memory.log) as _,
            documents: Arc::clone(&memory.documents) as _,
            sealing: vault.handle(service),
            clock: Arc::new(clock.clone()),
            hasher: Hasher::new(b"test"),
            cache: 10,
        });
        let erasures = Erasures::new(engine, &["cellar"], vec![Arc::new(Cellar)]).unwrap();
        let subject = Subject::fact(Service::Retention, "order", ERASURE);
        let mut expected = None;
        for stage in [events::ErasureStage::Fenced, events::ErasureStage::Purging] {
            let bytes = order(stage).encode_to_vec().into();
            let appended = memory
                .log
                .append(&subject, Expected::Subject(expected), bytes);
            expected = Some(appended.await.unwrap());
            let stream = Stream::new(Family::State, Service::Retention);
            let page = memory.log.page(stream, Position::START, 10).await.unwrap();
            erasures.handle(&page[0]).await.unwrap();
            // A second time nothing is added.
            erasures.handle(&page[0]).await.unwrap();
        }
        let evt = Stream::new(Family::Evt, service);
        let page = memory.log.page(evt, Position::START, 10).await.unwrap();
        let ours: Vec<_> = page
            .iter()
            .filter(|it| it.subject.kind() == erasure::ANSWER_KIND)
            .collect();
        assert_eq!(ours.len(), 1, "one answer, to the stage that purges");
        let commit = Commit::read(&ours[0].bytes).unwrap();
        let publications = erasure::publications(&commit).unwrap().unwrap();
        let envelope = events::Envelope::decode(&*publications[0].body).unwrap();
        let answer = answer(envelope.payload.unwrap()).unwrap();
        assert_eq!(answer.erasure_id.as_ref(), ERASURE.as_bytes());
        assert_eq!(answer.stage(), events::ErasureStage::Purging);
        assert_eq!(time_of(answer.done_at.as_ref().unwrap()), NOW);
        let store = &answer.stores[0];
        assert_eq!((store.store.as_str(), store.removed), ("cellar", 7));
        assert_eq!(store.residuals[0].what, "backups");
        assert_eq!(time_of(store.residuals[0].ends_at.as_ref().unwrap()), NOW);
        tasks.stop(Duration::from_secs(5)).await;
    }
}

#[test]
fn an_order_in_a_fact_reads_back() {
    let bytes = order(events::ErasureStage::Requested).encode_to_vec();
    let read = Order::read(&bytes).unwrap().unwrap();
    assert_eq!(read.stage, Stage::Requested);
    assert_eq!(read.owners, [Owner::Account(ANNA), Owner::Home(HOUSE)]);
    assert!(Order::read(b"\xff").is_err());
    assert!(Order::read(&[]).is_err(), "an empty envelope is no order");
}
