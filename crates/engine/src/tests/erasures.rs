//! Erasers are complete, are called once nothing is behind, and again after a crash; the answer stands once.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use hearth_backend_memory::Memory;
use hearth_kernel::{AccountId, AggregateRef, ErasureId, Service};
use hearth_ports::{
    Documents, Expected, Family, Log, Message, Position, Range, Read, StoreError, Stream, Subject,
    Table,
};
use tokio::sync::watch;
use uuid::Uuid;

use super::jar::{engine, memory};
use crate::erasure::{ANSWER_KIND, Order, Stage, order_for, publications};
use crate::{
    Commit, Consume, ConsumeError, Erased, Eraser, Erasures, Follower, Parking, Timer, Timers,
};

const ERASURE: ErasureId = ErasureId::from_bytes([8; 16]);
const ANNA: AccountId = AccountId::from_bytes([1; 16]);

/// Counts how often it is asked; fails as often as it is told.
struct Counting {
    store: &'static str,
    asked: Arc<AtomicU32>,
    failures: Mutex<u32>,
}

#[async_trait]
impl Eraser for Counting {
    fn store(&self) -> &'static str {
        self.store
    }

    async fn erase(&self, order: &Order) -> Result<Erased, ConsumeError> {
        assert_eq!(order.accounts().collect::<Vec<_>>(), [ANNA]);
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut failures = self.failures.lock().unwrap();
        if *failures > 0 {
            *failures -= 1;
            return Err(StoreError::retryable("not now").into());
        }
        Ok(Erased::items(3))
    }
}

fn eraser(store: &'static str, failures: u32) -> (Arc<dyn Eraser>, Arc<AtomicU32>) {
    let asked = Arc::new(AtomicU32::new(0));
    let counting = Counting {
        store,
        asked: Arc::clone(&asked),
        failures: Mutex::new(failures),
    };
    (Arc::new(counting), asked)
}

/// Publishes the order in a stage, or its end, and answers the message.
async fn order(memory: &Memory, stage: Option<Stage>) -> Message {
    let subject = Subject::fact(Service::Retention, "order", ERASURE);
    let last = memory.log.last(&subject, Read::Leader).await.unwrap();
    let bytes = match stage {
        Some(stage) => order_for(ERASURE, stage, ANNA),
        None => crate::Stamp {
            gone: true,
            ..crate::Stamp::default()
        }
        .wrap(&[])
        .to_vec(),
    };
    let expected = Expected::Subject(last.map(|it| it.position));
    let appended = memory.log.append(&subject, expected, bytes.into()).await;
    appended.unwrap();
    let last = memory.log.last(&subject, Read::Leader).await.unwrap();
    last.unwrap()
}

async fn answers(memory: &Memory) -> Vec<Commit> {
    let evt = Stream::new(Family::Evt, Service::Accounts);
    let page = memory.log.page(evt, Position::START, 100).await.unwrap();
    let of_answers = page.iter().filter(|it| it.subject.kind() == ANSWER_KIND);
    of_answers
        .map(|it| Commit::read(&it.bytes).unwrap())
        .collect()
}

#[tokio::test]
async fn each_listed_store_has_exactly_one_eraser() {
    let (memory, _) = memory();
    let with = |stores: &[&str], erasers: &[&'static str]| {
        let erasers = erasers.iter().map(|store| eraser(store, 0).0).collect();
        Erasures::new(engine(&memory), stores, erasers).map(|_| ())
    };
    assert_eq!(with(&["a", "b"], &["b", "a"]), Ok(()));
    for (stores, erasers) in [
        (&["a", "b"][..], &["a"][..]),
        (&["a"], &["a", "b"]),
        (&["a"], &["a", "a"]),
        (&[], &["a"]),
    ] {
        assert!(with(stores, erasers).is_err(), "{stores:?} {erasers:?}");
    }
}

#[tokio::test]
async fn nothing_is_erased_before_the_stage_and_the_followers_and_an_answer_stands_once() {
    let (memory, _) = memory();
    let engine = engine(&memory);
    let frames = Stream::TELEMETRY;
    let frame = Subject::telemetry(0);
    let head = memory.log.append(&frame, Expected::Any, Bytes::new());
    let head = head.await.unwrap();
    let passed = watch::Sender::new(Position::START);
    let (eraser, asked) = eraser("cellar", 1);
    let erasures = Erasures::new(engine.clone(), &["cellar"], vec![eraser]).unwrap();
    let erasures = erasures.behind([Follower::new(frames, passed.subscribe())]);

    let early = order(&memory, Some(Stage::Fenced)).await;
    erasures.handle(&early).await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 0);

    let due = order(&memory, Some(Stage::Purging)).await;
    // One who polls while the follower stands still gets nowhere.
    let waiting = erasures.handle(&due).now_or_never();
    assert!(waiting.is_none());
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    passed.send_replace(head);
    let failed = erasures.handle(&due).await;
    assert!(matches!(failed, Err(ConsumeError::Retry(_))));
    assert_eq!(answers(&memory).await.len(), 0);
    for _ in 0..3 {
        erasures.handle(&due).await.unwrap();
        engine.drop_cache();
    }
    assert_eq!(asked.load(Ordering::SeqCst), 2, "once failed, once done");
    let answers_now = answers(&memory).await;
    assert_eq!(answers_now.len(), 1);
    let published = publications(&answers_now[0]).unwrap().unwrap();
    assert_eq!(published.len(), 1);

    // The old message is not what counts: the order has ended.
    order(&memory, None).await;
    erasures.handle(&due).await.unwrap();
    let left = answers(&memory).await;
    assert!(left.len() == 1 && left[0].is_tombstone());
    erasures.handle(&due).await.unwrap();
    assert_eq!(answers(&memory).await.len(), 1);
}

#[tokio::test]
async fn a_message_that_was_removed_is_not_waited_for() {
    let (memory, _) = memory();
    let session = AggregateRef::new(Service::Accounts, "session", ERASURE);
    let subject = Subject::aggregate(Family::Rec, &session);
    let append = memory.log.append(&subject, Expected::Any, Bytes::new());
    let position = append.await.unwrap();
    let records = Stream::new(Family::Rec, Service::Accounts);
    let passed = watch::Sender::new(Position::START);
    let follower = Follower::new(records, passed.subscribe());
    let waiting = follower.caught_up(&*memory.log).now_or_never();
    assert!(waiting.is_none());
    memory.log.remove(&subject, position).await.unwrap();
    follower.caught_up(&*memory.log).await.unwrap();
}

#[tokio::test]
async fn parked_subjects_and_timers_of_the_erased_are_forgotten_and_no_others() {
    let (memory, _) = memory();
    let documents: Arc<dyn Documents> = Arc::clone(&memory.documents) as _;
    let boris = AccountId::from_bytes([2; 16]);
    let timers = Timers::new(
        Service::Accounts,
        Arc::clone(&documents),
        Arc::clone(&memory.clock),
    );
    let parking = Parking::new(Arc::clone(&documents), "accounts.process");
    let parked = parking.load().await.unwrap();
    let why = StoreError::terminal("unlucky");
    for (n, account) in [(1, ANNA), (2, boris)] {
        let subject = Subject::fact(Service::Accounts, "access", account);
        let at = memory.log.append(&subject, Expected::Any, Bytes::new());
        at.await.unwrap();
        let message = memory.log.last(&subject, Read::Leader).await.unwrap();
        parking
            .park(&parked, &message.unwrap(), &why)
            .await
            .unwrap();
        let due = memory.clock.now().plus(Duration::from_secs(9));
        let named = [
            (account.into(), Bytes::new()),
            (
                Uuid::from_u128(n),
                Bytes::copy_from_slice(&[&b"mail "[..], account.as_bytes()].concat()),
            ),
        ];
        for (id, task) in named {
            let timer = Timer { due, id, task };
            timers.set(Position::START, &timer).await.unwrap();
        }
    }
    let erasures = Erasures::new(engine(&memory), &[], Vec::new()).unwrap();
    let due = order(&memory, Some(Stage::Purging)).await;
    erasures.handle(&due).await.unwrap();

    let left = documents.range(Table("engine_timers"), b"accounts", Range::all(9));
    assert_eq!(left.await.unwrap().len(), 2, "his two");
    let left = documents.range(Table("engine_parked"), b"accounts.process", Range::all(9));
    let left = left.await.unwrap();
    let his = Subject::fact(Service::Accounts, "access", boris).to_string();
    assert_eq!(
        left.iter().map(|row| row.key.clone()).collect::<Vec<_>>(),
        [his.into_bytes()]
    );
}
