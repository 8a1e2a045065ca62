//! The fault wrapper itself: each fault does what it says, and nothing else.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use hearth_backend_memory::{Memory, MemoryLog, MemoryOutbound};
use hearth_conformance::{Fault, Faults, Faulty, Patient, Random, Rates, SimulatedClock};
use hearth_kernel::{AccountId, AggregateRef, Secret, Service, Timestamp};
use hearth_ports::{
    Blobs, Clock, Documents, Expected, Family, Log, Mail, ManualClock, Outbound, OutboundError,
    Position, Purge, Read, StoreError, Stream, Subject, Table,
};
use tokio::task::JoinSet;

const EVT: Stream = Stream::new(Family::Evt, Service::Accounts);

fn clock() -> Arc<SimulatedClock> {
    Arc::new(SimulatedClock::new(Timestamp::from_seconds(1_795_000_000)))
}

fn subject() -> Subject {
    let id = AccountId::from_bytes([1; 16]);
    Subject::aggregate(
        Family::Evt,
        &AggregateRef::new(Service::Accounts, "account", id),
    )
}

fn log(faults: &Arc<Faults>) -> (Arc<MemoryLog>, Faulty<MemoryLog>) {
    let log = Arc::new(MemoryLog::new(clock()));
    (Arc::clone(&log), Faulty::new(log, Arc::clone(faults)))
}

async fn stored(log: &dyn Log) -> Vec<Bytes> {
    let messages = log.load(&subject(), None, 100, Read::Leader).await;
    let messages = messages.expect("a load");
    messages.into_iter().map(|message| message.bytes).collect()
}

async fn append(
    log: &dyn Log,
    expected: Expected,
    text: &'static str,
) -> Result<Position, StoreError> {
    log.append(&subject(), expected, Bytes::from(text)).await
}

#[tokio::test]
async fn a_failure_before_writes_nothing_and_one_after_hides_what_happened() {
    let faults = Faults::script(
        clock(),
        [Fault::Before, Fault::After, Fault::None, Fault::After],
    );
    let (inner, faulty) = log(&faults);
    let none = Expected::Subject(None);
    let before = append(&faulty, none, "a").await;
    assert!(
        matches!(before, Err(StoreError::Retryable(_))),
        "{before:?}"
    );
    assert_eq!(stored(&*inner).await, [""; 0]);
    let after = append(&faulty, none, "b").await;
    assert!(matches!(after, Err(StoreError::Unknown(_))), "{after:?}");
    assert_eq!(stored(&*inner).await, ["b"]);
    let conflict = append(&faulty, none, "c").await;
    assert!(
        matches!(conflict, Err(StoreError::Conflict)),
        "{conflict:?}"
    );
    // A lost answer hides a conflict too.
    let hidden = append(&faulty, none, "d").await;
    assert!(matches!(hidden, Err(StoreError::Unknown(_))), "{hidden:?}");
    assert_eq!(stored(&*inner).await, ["b"]);
}

#[tokio::test]
async fn a_late_append_lands_before_the_next_one_under_its_own_expectation() {
    let faults = Faults::script(clock(), [Fault::Late, Fault::None, Fault::None]);
    let (inner, faulty) = log(&faults);
    let none = Expected::Subject(None);
    let late = append(&faulty, none, "late").await;
    assert!(matches!(late, Err(StoreError::Unknown(_))), "{late:?}");
    assert_eq!(stored(&faulty).await, [""; 0]);
    let next = append(&faulty, none, "next").await;
    assert!(matches!(next, Err(StoreError::Conflict)), "{next:?}");
    assert_eq!(stored(&*inner).await, ["late"]);
}

#[tokio::test]
async fn a_patient_caller_finds_its_own_late_append() {
    let faults = Faults::script(
        clock(),
        [Fault::Late, Fault::Before, Fault::None, Fault::Before],
    );
    let (inner, faulty) = log(&faults);
    let patient = Patient::new(Arc::new(faulty));
    let position = append(&patient, Expected::Subject(None), "only")
        .await
        .unwrap();
    assert_eq!(stored(&*inner).await, ["only"]);
    assert_eq!(inner.head(EVT).await.unwrap(), Some(position));
}

#[tokio::test]
async fn a_patient_caller_does_not_take_a_rivals_message_for_its_own() {
    let faults = Faults::script(clock(), [Fault::Before, Fault::After]);
    let (inner, faulty) = log(&faults);
    append(&*inner, Expected::Any, "rival").await.unwrap();
    let patient = Patient::new(Arc::new(faulty));
    let lost = append(&patient, Expected::Subject(None), "own").await;
    assert!(matches!(lost, Err(StoreError::Conflict)), "{lost:?}");
    assert_eq!(stored(&*inner).await, ["rival"]);
}

#[tokio::test]
async fn a_delay_is_of_the_clock() {
    let clock = Arc::new(ManualClock::new(Timestamp::EPOCH));
    let hour = Duration::from_secs(3600);
    let faults = Faults::script(Arc::clone(&clock) as Arc<dyn Clock>, [Fault::Delay(hour)]);
    let (inner, faulty) = log(&faults);
    let faulty = Arc::new(faulty);
    let mut waiting = JoinSet::new();
    let delayed = Arc::clone(&faulty);
    waiting.spawn(async move { append(&*delayed, Expected::Any, "delayed").await });
    append(&*inner, Expected::Any, "at once").await.unwrap();
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert_eq!(stored(&*inner).await, ["at once"]);
    clock.advance(hour);
    waiting.join_next().await.unwrap().unwrap().unwrap();
    assert_eq!(stored(&*inner).await, ["at once", "delayed"]);
}

#[tokio::test]
async fn a_cut_tail_gives_an_error_and_ends_and_skips_nothing() {
    let faults = Faults::script(clock(), []);
    let (inner, faulty) = log(&faults);
    for text in ["a", "b", "c"] {
        append(&*inner, Expected::Any, text).await.unwrap();
    }
    let mut tail = faulty.tail(EVT, Position::START);
    let first = tail.next().await.unwrap().unwrap();
    faults.cut_tails(1);
    assert!(matches!(
        tail.next().await,
        Some(Err(StoreError::Retryable(_)))
    ));
    assert!(tail.next().await.is_none());
    let mut again = faulty.tail(EVT, first.position);
    assert_eq!(again.next().await.unwrap().unwrap().bytes, "b");

    let patient = Patient::new(Arc::new(faulty));
    let mut tail = patient.tail(EVT, Position::START);
    faults.cut_tails(5);
    for text in ["a", "b", "c"] {
        assert_eq!(tail.next().await.unwrap().unwrap().bytes, text);
    }
}

#[tokio::test]
async fn a_memory_log_cuts_its_tails_on_a_roll_and_renumbers() {
    let log = MemoryLog::new(clock());
    for text in ["a", "b", "c"] {
        append(&log, Expected::Any, text).await.unwrap();
    }
    let all = log.page(EVT, Position::START, 10).await.unwrap();
    log.purge(&subject(), all[1].position, Purge::KeepLast)
        .await
        .unwrap();
    let mut tail = log.tail(EVT, all[0].position);
    log.roll(2);
    assert!(matches!(
        tail.next().await,
        Some(Err(StoreError::Retryable(_)))
    ));
    assert!(tail.next().await.is_none());
    let position = Position {
        generation: 2,
        sequence: 1,
    };
    assert_eq!(log.head(EVT).await.unwrap(), Some(position));
    let stale = append(&log, Expected::Subject(Some(all[2].position)), "d").await;
    assert!(matches!(stale, Err(StoreError::Conflict)), "{stale:?}");
    append(&log, Expected::Subject(Some(position)), "d")
        .await
        .unwrap();
    assert_eq!(stored(&log).await, ["c", "d"]);
}

#[tokio::test]
async fn a_lagging_follower_misses_the_newest_and_a_leader_does_not() {
    let log = MemoryLog::new(clock());
    for text in ["a", "b", "c"] {
        append(&log, Expected::Any, text).await.unwrap();
    }
    log.set_follower_lag(2);
    let followed = log
        .load(&subject(), None, 10, Read::Follower)
        .await
        .unwrap();
    assert_eq!(followed.len(), 1);
    let last = log.last(&subject(), Read::Follower).await.unwrap();
    assert_eq!(last.unwrap().bytes, "a");
    assert_eq!(stored(&log).await.len(), 3);
}

#[tokio::test]
async fn a_fork_is_independent() {
    let memory = Memory::new(clock());
    let table = Table("conformance_things");
    let put = |documents: Arc<dyn Documents>, value: &'static str, stamp| async move {
        let value = Bytes::from(value);
        documents
            .put(table, b"p", b"k", stamp, value)
            .await
            .unwrap();
    };
    append(&*memory.log, Expected::Any, "before").await.unwrap();
    put(
        Arc::clone(&memory.documents) as Arc<dyn Documents>,
        "before",
        1,
    )
    .await;
    let copy = memory.fork();
    append(&*memory.log, Expected::Any, "after").await.unwrap();
    put(
        Arc::clone(&memory.documents) as Arc<dyn Documents>,
        "after",
        2,
    )
    .await;
    let key = hearth_ports::BlobKey::parse("a").unwrap();
    memory
        .blobs
        .create(&key, Bytes::from("after"))
        .await
        .unwrap();
    assert_eq!(stored(&*copy.log).await, ["before"]);
    let document = copy
        .documents
        .get(table, b"p", b"k")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(document.value, "before");
    assert!(matches!(
        copy.blobs.length(&key).await,
        Err(StoreError::NotFound)
    ));
    append(&*copy.log, Expected::Any, "elsewhere")
        .await
        .unwrap();
    assert_eq!(stored(&*memory.log).await, ["before", "after"]);
}

#[tokio::test]
async fn a_mail_whose_answer_is_lost_goes_out_twice_and_is_delivered_once() {
    let mail = Mail {
        to: Secret::from("somebody@example.org"),
        subject: Secret::from("a subject"),
        text: Secret::from("a text"),
        attempt: "attempt-1".to_owned(),
    };
    let outbound = Arc::new(MemoryOutbound::default());
    let faults = Faults::script(clock(), [Fault::Before, Fault::After]);
    let faulty = Arc::new(Faulty::new(Arc::clone(&outbound), faults));
    Patient::new(faulty).mail(&mail).await.unwrap();
    assert_eq!((outbound.sent().len(), outbound.delivered().len()), (2, 1));
    outbound.fail_next(OutboundError::NotConfigured);
    assert!(outbound.mail(&mail).await.is_err());
    outbound.break_down(Some(OutboundError::NotConfigured));
    assert!(outbound.mail(&mail).await.is_err());
    outbound.break_down(None);
    outbound.mail(&mail).await.unwrap();
}

#[tokio::test]
async fn a_seeded_plan_repeats_itself_and_holds_its_rates() {
    let mut runs = Vec::new();
    for _ in 0..2 {
        let faults = Faults::seeded(clock(), Random::seeded(7), Rates::STORM);
        let (_, faulty) = log(&faults);
        let mut answers = (0, 0, 0);
        let mut trace = String::new();
        for _ in 0..2000 {
            match append(&faulty, Expected::Any, "x").await {
                Ok(_) => answers.0 += 1,
                Err(StoreError::Retryable(_)) => answers.1 += 1,
                Err(_) => answers.2 += 1,
            }
            trace.push_str(&format!("{answers:?}"));
        }
        // 150 thousandths before, 200 after or late, each give or take a third.
        assert!((200..400).contains(&answers.1), "{answers:?}");
        assert!((260..540).contains(&answers.2), "{answers:?}");
        runs.push(trace);
    }
    assert_eq!(runs[0], runs[1]);
}
