//! Poison, the cause put right, release: nothing missing, nothing twice, in order, whatever arrives meanwhile.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use hearth_backend_memory::Memory;
use hearth_kernel::{AggregateRef, Service, Timestamp};
use hearth_ports::{Documents, Expected, Family, Log, ManualClock, Message, Range, Table, Tasks};
use uuid::Uuid;

use super::*;
use crate::Watermarks;
use crate::aggregate::CodecError;
use crate::parking::{self, Asking, ParkedFor};

const EVT: Stream = Stream::new(Family::Evt, Service::Accounts);
const NAME: &str = "accounts.test";

/// What the handler makes of a message with this text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    Poison,
    Retry,
    Done,
}

struct Diary {
    handled: Mutex<Vec<(String, Position)>>,
    /// What it answers to messages that say `bad`, and to those that say `worse`.
    answers: Mutex<(Answer, Answer)>,
}

struct Handler(Arc<Diary>);

#[async_trait]
impl Consume for Handler {
    fn name(&self) -> String {
        NAME.to_owned()
    }

    fn sources(&self) -> Vec<Stream> {
        vec![EVT]
    }

    async fn handle(&self, message: &Message) -> Result<(), ConsumeError> {
        // Others go on while it works.
        tokio::task::yield_now().await;
        let (bad, worse) = *self.0.answers.lock().unwrap();
        let answer = match &message.bytes[..] {
            b"bad" => bad,
            b"worse" => worse,
            _ => Answer::Done,
        };
        match answer {
            Answer::Poison => return Err(CodecError::Malformed("bad").into()),
            Answer::Retry => return Err(StoreError::retryable("not now").into()),
            Answer::Done => {}
        }
        let mut handled = self.0.handled.lock().unwrap();
        handled.push((message.subject.to_string(), message.position));
        Ok(())
    }
}

impl Diary {
    fn of(&self, subject: &Subject) -> Vec<Position> {
        let (handled, subject) = (self.handled.lock().unwrap(), subject.to_string());
        let of = handled.iter().filter(|(it, _)| *it == subject);
        of.map(|(_, position)| *position).collect()
    }

    fn answer(&self, bad: Answer, worse: Answer) {
        *self.answers.lock().unwrap() = (bad, worse);
    }
}

struct Bench {
    memory: Memory,
    diary: Arc<Diary>,
    documents: Arc<dyn Documents>,
    tasks: Tasks,
}

impl Bench {
    fn new() -> Self {
        let clock = ManualClock::new(Timestamp::from_seconds(1_795_000_000));
        let memory = Memory::new(Arc::new(clock));
        let bench = Self {
            documents: Arc::clone(&memory.documents) as _,
            memory,
            diary: Arc::new(Diary {
                handled: Mutex::default(),
                answers: Mutex::new((Answer::Poison, Answer::Done)),
            }),
            tasks: Tasks::new(),
        };
        bench.start();
        bench
    }

    fn start(&self) {
        let log: Arc<dyn Log> = Arc::clone(&self.memory.log) as _;
        let consumer = Consumer::new(
            Handler(Arc::clone(&self.diary)),
            Arc::clone(&log),
            Arc::clone(&self.documents),
            Watermarks::new(log),
        );
        self.tasks.spawn("consumer", async move {
            consumer.run().await.unwrap();
        });
    }

    async fn restart(&mut self) {
        assert!(self.tasks.stop(Duration::from_secs(10)).await);
        self.tasks = Tasks::new();
        self.start();
    }

    async fn say(&self, subject: &Subject, text: &'static str) {
        let log = &self.memory.log;
        let said = log.append(subject, Expected::Any, Bytes::from(text)).await;
        said.unwrap();
    }

    async fn parked(&self) -> Vec<parking::ParkedSubject> {
        parking::list(&*self.documents, 10).await.unwrap()
    }

    async fn until(&self, mut holds: impl AsyncFnMut() -> bool) {
        tokio::time::timeout(Duration::from_secs(30), async {
            while !holds().await {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await
        .expect("it holds in the end");
    }

    async fn ask(&self, subject: &Subject) -> bool {
        let accepted = self.asking(NAME, subject).await;
        accepted == Asking::Accepted
    }

    async fn asking(&self, consumer: &str, subject: &Subject) -> Asking {
        let asked = parking::ask_release(&*self.documents, consumer, &subject.to_string()).await;
        asked.unwrap()
    }

    /// Every message of the subject was handled, once, in order.
    async fn is_whole(&self, subject: &Subject) {
        let all = self
            .memory
            .log
            .load(subject, None, 10_000, Read::Leader)
            .await;
        let all: Vec<_> = all.unwrap().into_iter().map(|it| it.position).collect();
        self.until(async || self.diary.of(subject).len() >= all.len())
            .await;
        assert_eq!(self.diary.of(subject), all);
    }

    /// The same where a crash between the handling and the mark may have repeated some.
    async fn is_whole_but_for_repetitions(&self, subject: &Subject) {
        let all = self.memory.log.load(subject, None, 10_000, Read::Leader);
        let all: Vec<_> = all
            .await
            .unwrap()
            .into_iter()
            .map(|it| it.position)
            .collect();
        let first_times = || {
            let mut seen = std::collections::BTreeSet::new();
            let mut handled = self.diary.of(subject);
            handled.retain(|position| seen.insert(*position));
            handled
        };
        self.until(async || first_times().len() >= all.len()).await;
        assert_eq!(first_times(), all);
    }

    async fn requests(&self) -> usize {
        let rows = self.documents.range(
            Table("engine_parked_releases"),
            NAME.as_bytes(),
            Range::all(10),
        );
        rows.await.unwrap().len()
    }
}

fn subject(n: u8) -> Subject {
    let id = Uuid::from_bytes([n; 16]);
    let jar = AggregateRef {
        service: Service::Accounts,
        kind: "jar".into(),
        id,
    };
    Subject::aggregate(Family::Evt, &jar)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_released_subject_is_handled_whole_in_order_and_once_while_others_append() {
    let bench = Bench::new();
    let (sick, well) = (subject(1), subject(2));
    bench.say(&sick, "good").await;
    bench.say(&sick, "bad").await;
    // More than a page of it was left alone.
    for _ in 0..300 {
        bench.say(&sick, "later").await;
        bench.say(&well, "good").await;
    }
    bench.is_whole(&well).await;
    let parked = bench.parked().await;
    assert_eq!(parked.len(), 1);
    let all = bench.memory.log.load(&sick, None, 2, Read::Leader).await;
    assert_eq!(parked[0].position, all.unwrap()[1].position);
    assert_eq!(parked[0].subject, sick.to_string());
    assert_eq!(parked[0].consumer, NAME);
    assert_eq!(parked[0].reason, ParkedFor::Unreadable);
    assert_eq!(
        parked[0].since,
        Some(Timestamp::from_seconds(1_795_000_000))
    );
    assert!(!parked[0].asked);
    assert_eq!(bench.diary.of(&sick).len(), 1);

    bench.diary.answer(Answer::Done, Answer::Done);
    assert!(bench.ask(&sick).await);
    assert!(bench.ask(&sick).await, "again is harmless");
    assert!(!bench.ask(&well).await, "it is not parked");
    let (log, into) = (Arc::clone(&bench.memory.log), [sick.clone(), well.clone()]);
    let appending = tokio::task::JoinSet::from_iter([async move {
        for n in 0..500 {
            let append = log.append(&into[n % 2], Expected::Any, Bytes::from("live"));
            append.await.unwrap();
            tokio::task::yield_now().await;
        }
    }]);
    bench.until(async || bench.parked().await.is_empty()).await;
    appending.join_all().await;
    bench.say(&sick, "last").await;
    bench.is_whole(&sick).await;
    bench.is_whole(&well).await;
    bench.until(async || bench.requests().await == 0).await;
    bench.tasks.stop(Duration::from_secs(10)).await;
}

#[tokio::test]
async fn what_is_not_put_right_stays_parked_where_it_stopped() {
    let mut bench = Bench::new();
    let sick = subject(1);
    for text in ["bad", "later", "worse", "later"] {
        bench.say(&sick, text).await;
    }
    bench.until(async || bench.parked().await.len() == 1).await;
    assert!(bench.ask(&sick).await);
    bench.until(async || bench.requests().await == 0).await;
    let first = bench.parked().await.remove(0).position;
    assert!(bench.diary.of(&sick).is_empty(), "it is as bad as before");

    bench.diary.answer(Answer::Done, Answer::Poison);
    assert!(bench.ask(&sick).await);
    bench.until(async || bench.requests().await == 0).await;
    let parked = bench.parked().await;
    assert!(parked[0].position > first, "it stops at the next one");
    assert_eq!(bench.diary.of(&sick).len(), 2);

    bench.restart().await;
    bench.say(&sick, "after the restart").await;
    bench.diary.answer(Answer::Done, Answer::Done);
    assert!(
        bench.ask(&sick).await,
        "it is parked for the next process too"
    );
    bench.until(async || bench.parked().await.is_empty()).await;
    bench.is_whole_but_for_repetitions(&sick).await;
    bench.restart().await;
    bench.say(&sick, "more").await;
    bench.is_whole_but_for_repetitions(&sick).await;
    bench.tasks.stop(Duration::from_secs(10)).await;
}

#[tokio::test]
async fn a_release_that_cannot_go_on_now_goes_on_later_and_holds_up_nobody() {
    let bench = Bench::new();
    let (sick, well) = (subject(1), subject(2));
    for text in ["bad", "later", "worse", "later"] {
        bench.say(&sick, text).await;
    }
    bench.until(async || bench.parked().await.len() == 1).await;
    bench.diary.answer(Answer::Done, Answer::Retry);
    assert!(bench.ask(&sick).await);
    bench.until(async || bench.diary.of(&sick).len() == 2).await;
    bench.say(&well, "good").await;
    bench.is_whole(&well).await;
    assert!(bench.parked().await[0].asked, "it is tried again");
    bench.diary.answer(Answer::Done, Answer::Done);
    bench.is_whole(&sick).await;
    bench.until(async || bench.parked().await.is_empty()).await;
    bench.tasks.stop(Duration::from_secs(10)).await;
}

#[tokio::test]
async fn what_a_relay_set_aside_is_not_released() {
    let bench = Bench::new();
    let sick = subject(1);
    bench.say(&sick, "bad").await;
    let message = bench.memory.log.last(&sick, Read::Leader).await;
    let message = message.unwrap().unwrap();
    let relay = Parking::new(Arc::clone(&bench.documents), "a relay").for_good();
    let (parked, why) = (Parked::default(), CodecError::Malformed("bad"));
    relay.park(&parked, &message, &why).await.unwrap();
    assert_eq!(bench.asking("a relay", &sick).await, Asking::NotReleasable);
    let other = bench.asking("a relay", &subject(2)).await;
    assert_eq!(other, Asking::NotParked);
    let all = bench.parked().await;
    let it = all.iter().find(|it| it.consumer == "a relay").unwrap();
    assert!(!it.releasable && it.reason == ParkedFor::Unreadable);
    bench.tasks.stop(Duration::from_secs(10)).await;
}
