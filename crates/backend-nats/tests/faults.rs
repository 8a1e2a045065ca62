//! What servers do to a log in bad weather: kills, cuts, standstills, leaders that go. Nothing acked is lost, the order
//! is kept, nothing is doubled under an expectation, and nobody waits beyond a deadline.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "kit/pool.rs"]
mod pool;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use hearth_backend_nats::{Nats, NatsLog, NatsOptions, StartError};
use hearth_kernel::{AccountId, AggregateRef, Service};
use hearth_ports::{
    Expected, Family, Leases, Log, Message, Position, Read, StoreError, Stream, Subject, Tasks,
};
use hearth_servers::{Cache, Nats as Servers, NatsOptions as ServerOptions, Toxiproxy};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;

const EVT: Stream = Stream::new(Family::Evt, Service::Accounts);
/// No wait of a test is longer. A bound, not a measure.
const PATIENCE: Duration = Duration::from_secs(60);

fn evt(number: u8) -> Subject {
    let id = AccountId::from_bytes([number; 16]);
    Subject::aggregate(
        Family::Evt,
        &AggregateRef::new(Service::Accounts, "account", id),
    )
}

async fn blocking<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(run).await.expect("a thread")
}

async fn servers(nodes: usize) -> Arc<Servers> {
    Arc::new(blocking(move || pool::start(nodes)).await)
}

async fn open(options: NatsOptions) -> Nats {
    Nats::connect(options, &Tasks::new())
        .await
        .expect("a connection")
}

async fn on(servers: &Servers, replicas: u8) -> Nats {
    let nats = open(pool::options(servers.urls(0), replicas)).await;
    nats.declare(&pool::STREAMS).await.expect("streams");
    nats
}

/// Appends as an engine does: behind what is there, settling what is unknown by reading. Answers the position.
async fn settle(log: &NatsLog, subject: &Subject, text: &str) -> Position {
    let settling = async {
        let mut unsure = false;
        loop {
            let last = match log.last(subject, Read::Leader).await {
                Ok(last) => last,
                Err(StoreError::Retryable(_)) => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
                Err(error) => panic!("a read: {error:?}"),
            };
            if let Some(last) = last.as_ref().filter(|_| unsure)
                && last.bytes == *text.as_bytes()
            {
                return last.position;
            }
            let expected = Expected::Subject(last.map(|last| last.position));
            match log
                .append(subject, expected, Bytes::from(text.to_owned()))
                .await
            {
                Ok(position) => return position,
                Err(StoreError::Unknown(_)) => unsure = true,
                // One writer a subject: a conflict is the own message, landed late, or one still under way.
                Err(StoreError::Conflict) => unsure = true,
                Err(StoreError::Retryable(_)) => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(error) => panic!("an append: {error:?}"),
            }
        }
    };
    timeout(PATIENCE, settling).await.expect("it settles")
}

/// Follows a stream through every error, noting each message, until there are so many.
async fn follow(log: NatsLog, count: usize) -> Vec<Message> {
    let mut seen: Vec<Message> = Vec::new();
    while seen.len() < count {
        let after = seen.last().map_or(Position::START, |last| last.position);
        let mut tail = log.tail(EVT, after);
        while let Some(Ok(message)) = tail.next().await {
            seen.push(message);
            if seen.len() == count {
                break;
            }
        }
        if seen.len() < count {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    seen
}

async fn all(log: &NatsLog) -> Vec<Message> {
    let mut all: Vec<Message> = Vec::new();
    loop {
        let after = all.last().map_or(Position::START, |last| last.position);
        match log.page(EVT, after, 500).await {
            Ok(page) if page.is_empty() => return all,
            Ok(page) => all.extend(page),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

const WRITERS: u8 = 4;

/// Writers append numbered messages while `weather` runs, and a tail follows. Everything acked must be there once, in
/// order, at the position that was acked, and the tail must have seen exactly that.
async fn through<Fut>(log: NatsLog, count: usize, weather: impl FnOnce(Arc<Progress>) -> Fut)
where
    Fut: Future<Output = ()>,
{
    let progress = Arc::new(Progress::default());
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let (log, progress) = (log.clone(), Arc::clone(&progress));
        writers.spawn(async move {
            let mut acked = Vec::new();
            for number in 0..count {
                let text = format!("{writer}/{number}");
                acked.push((settle(&log, &evt(writer), &text).await, text));
                progress.done.fetch_add(1, Ordering::SeqCst);
                progress.changed.notify_waiters();
            }
            acked
        });
    }
    let total = usize::from(WRITERS) * count;
    let mut readers = JoinSet::new();
    readers.spawn(follow(log.clone(), total));
    weather(Arc::clone(&progress)).await;
    let mut acked: BTreeMap<Position, String> = BTreeMap::new();
    for messages in timeout(PATIENCE, writers.join_all())
        .await
        .expect("writers end")
    {
        acked.extend(messages);
    }
    let stored: BTreeMap<Position, String> = all(&log).await.into_iter().map(text_of).collect();
    assert_eq!(acked.len(), total);
    assert_eq!(stored, acked, "stored and acked are the same");
    for writer in 0..WRITERS {
        let prefix = format!("{writer}/");
        let own = stored.values().filter(|text| text.starts_with(&prefix));
        let expected: Vec<String> = (0..count).map(|it| format!("{writer}/{it}")).collect();
        assert_eq!(own.cloned().collect::<Vec<_>>(), expected);
    }
    let seen = timeout(PATIENCE, readers.join_all()).await;
    let seen = seen.expect("the tail ends").remove(0);
    let seen: Vec<(Position, String)> = seen.into_iter().map(text_of).collect();
    assert_eq!(seen, stored.into_iter().collect::<Vec<_>>());
}

fn text_of(message: Message) -> (Position, String) {
    let text = String::from_utf8_lossy(&message.bytes).into_owned();
    (message.position, text)
}

/// How many appends are done.
#[derive(Default)]
struct Progress {
    done: AtomicUsize,
    changed: Notify,
}

impl Progress {
    async fn reaches(&self, count: usize) {
        let reached = async {
            loop {
                let changed = self.changed.notified();
                if self.done.load(Ordering::SeqCst) >= count {
                    return;
                }
                changed.await;
            }
        };
        timeout(PATIENCE, reached).await.expect("it goes on");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_loses_nothing_acked() {
    let servers = servers(1).await;
    let log = on(&servers, 1).await.log();
    // The servers outlive the weather.
    let stormed = Arc::clone(&servers);
    let weather = |progress: Arc<Progress>| async move {
        for round in 1..=4 {
            progress.reaches(round * 80).await;
            let servers = Arc::clone(&stormed);
            blocking(move || servers.restart(0))
                .await
                .expect("a restart");
        }
    };
    through(log, 100, weather).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_nodes_of_a_cluster_one_after_the_other_lose_nothing_acked() {
    let servers = servers(3).await;
    let log = on(&servers, 3).await.log();
    let stormed = Arc::clone(&servers);
    let weather = |progress: Arc<Progress>| async move {
        for round in 1..=3 {
            progress.reaches(round * 60).await;
            let servers = Arc::clone(&stormed);
            // Each node in turn, so the leader is among them, whoever it is.
            blocking(move || servers.restart(round - 1))
                .await
                .expect("a restart");
        }
    };
    through(log, 75, weather).await;
}

/// One server behind a proxy whose connections can be cut.
async fn behind_a_proxy() -> (Arc<Servers>, Arc<Toxiproxy>, NatsLog) {
    let servers = servers(1).await;
    on(&servers, 1).await;
    let upstream = servers.addresses()[0];
    let (proxy, listen) = blocking(move || {
        let cache = Cache::of_user().expect("a cache");
        let proxy = Toxiproxy::start(&cache).expect("toxiproxy");
        let listen = proxy.proxy("nats", upstream).expect("a proxy");
        (proxy, listen)
    })
    .await;
    let urls = vec![format!("nats://t0:t0@{listen}")];
    let log = open(pool::options(urls, 1)).await.log();
    (servers, Arc::new(proxy), log)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_connections_lose_and_double_nothing() {
    let (_servers, proxy, log) = behind_a_proxy().await;
    let stormed = Arc::clone(&proxy);
    let weather = |progress: Arc<Progress>| async move {
        for round in 1..=6 {
            progress.reaches(round * 50).await;
            let proxy = Arc::clone(&stormed);
            let cut = move || proxy.cut("nats").and_then(|()| proxy.restore("nats"));
            blocking(cut).await.expect("a cut");
        }
    };
    through(log, 100, weather).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_whose_answer_never_comes_is_unknown_and_landed_once() {
    let (_servers, proxy, log) = behind_a_proxy().await;
    let first = settle(&log, &evt(1), "first").await;
    // What the server says does not come through for longer than the deadline; what it is told does.
    let slow = Arc::clone(&proxy);
    blocking(move || slow.delay("nats", Duration::from_secs(60)))
        .await
        .expect("a delay");
    let expected = Expected::Subject(Some(first));
    let subject = evt(1);
    let append = log.append(&subject, expected, Bytes::from("second"));
    let answer = timeout(PATIENCE, append)
        .await
        .expect("an end by its own deadline");
    assert!(matches!(answer, Err(StoreError::Unknown(_))), "{answer:?}");
    let healed = Arc::clone(&proxy);
    blocking(move || healed.heal()).await.expect("healing");
    let stored = timeout(PATIENCE, async {
        loop {
            let found = log.load(&evt(1), None, 10, Read::Leader).await;
            match found {
                Ok(found) => return found,
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    });
    let stored = stored.await.expect("an answer");
    let texts: Vec<String> = stored.into_iter().map(|it| text_of(it).1).collect();
    assert_eq!(texts, ["first", "second"]);
    // The same bytes under the same expectation are refused: nothing is doubled.
    let again = log.append(&evt(1), expected, Bytes::from("second")).await;
    assert!(matches!(again, Err(StoreError::Conflict)), "{again:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stands_still_hangs_nobody() {
    let servers = servers(1).await;
    let nats = on(&servers, 1).await;
    nats.declare_leases().await.expect("leases");
    let (log, leases) = (nats.log(), nats.leases());
    let first = settle(&log, &evt(1), "first").await;
    let mut tail = log.tail(EVT, Position::START);
    tail.next().await.expect("a message").expect("the first");
    servers.pause(0);
    let subject = evt(1);
    // The signal takes its time: what is asked before it arrives is answered still.
    let append = async {
        let mut last = first;
        loop {
            let expected = Expected::Subject(Some(last));
            match log.append(&subject, expected, Bytes::from("more")).await {
                Ok(position) => last = position,
                failed => return failed,
            }
        }
    };
    let load = async {
        loop {
            let answer = log.load(&subject, None, 10, Read::Leader).await;
            if answer.is_err() {
                return answer;
            }
        }
    };
    let lease = async {
        loop {
            let period = Duration::from_secs(5);
            let answer = leases.acquire("accounts.writer.1", "one", period).await;
            if answer.is_err() {
                return answer;
            }
        }
    };
    let followed = async {
        loop {
            match tail.next().await {
                Some(Ok(_)) => {}
                ended => return ended,
            }
        }
    };
    let ended = async { tokio::join!(append, load, lease, followed) };
    let ended = timeout(PATIENCE, ended).await;
    let (append, load, lease, followed) = ended.expect("every call ends by itself");
    assert!(
        matches!(
            append,
            Err(StoreError::Unknown(_) | StoreError::Retryable(_))
        ),
        "{append:?}"
    );
    assert!(matches!(load, Err(StoreError::Retryable(_))), "{load:?}");
    assert!(
        matches!(
            lease,
            Err(StoreError::Unknown(_) | StoreError::Retryable(_))
        ),
        "{lease:?}"
    );
    assert!(
        matches!(followed, Some(Err(StoreError::Retryable(_)))),
        "{followed:?}"
    );
    servers.resume(0);
    settle(&log, &evt(1), "after").await;
    let seen = timeout(PATIENCE, follow(log.clone(), all(&log).await.len())).await;
    assert_eq!(seen.expect("a tail"), all(&log).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_stops_holds_one_answer_and_loses_nothing() {
    const MESSAGES: usize = 96;
    let servers = servers(1).await;
    let log = on(&servers, 1).await.log();
    let mut tail = log.tail(Stream::TELEMETRY, Position::START);
    let frame = |number: u8| Bytes::from(vec![number; 512 << 10]);
    log.append(&Subject::telemetry(0), Expected::Any, frame(0))
        .await
        .expect("a frame");
    tail.next().await.expect("a frame").expect("the first");
    // 48 MiB arrive while nobody reads: the servers keep them, this process holds one answer of 4 MiB at most.
    let before = resident();
    for number in 1..u8::try_from(MESSAGES).expect("few") {
        log.append(&Subject::telemetry(0), Expected::Any, frame(number))
            .await
            .expect("a frame");
    }
    let held = resident().saturating_sub(before);
    assert!(held < 32 << 20, "{held} bytes are held for a slow reader");
    for number in 1..u8::try_from(MESSAGES).expect("few") {
        let message = timeout(PATIENCE, tail.next()).await.expect("in time");
        let message = message.expect("a tail does not end").expect("a message");
        assert_eq!(message.bytes.first(), Some(&number));
    }
}

/// Bytes of memory that this process holds.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").expect("the process's sizes");
    let pages: usize = text
        .split(' ')
        .nth(1)
        .and_then(|it| it.parse().ok())
        .expect("a number of pages");
    pages * 4096
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_do_not_sync_are_refused_unless_it_is_allowed() {
    let servers = blocking(|| {
        let options = ServerOptions {
            synced: false,
            ..ServerOptions::default()
        };
        Servers::start_with(&Cache::of_user().expect("a cache"), &options).expect("nats-server")
    })
    .await;
    let options = pool::options(servers.urls(0), 1);
    let refused = Nats::connect(options.clone(), &Tasks::new()).await;
    assert!(
        matches!(&refused, Err(StartError::Unsynced(names)) if names == "n1"),
        "{refused:?}"
    );
    let allowed = NatsOptions {
        allow_unsynced: true,
        ..options
    };
    open(allowed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_of_which_nobody_tells_whether_they_sync_are_refused_with_the_lines_that_are_needed()
 {
    let servers = blocking(|| {
        let accounts = "accounts { H { jetstream: enabled, users: [{user: h, password: h}] } }\n";
        let options = ServerOptions {
            accounts: Some(accounts.to_owned()),
            ..ServerOptions::default()
        };
        Servers::start_with(&Cache::of_user().expect("a cache"), &options).expect("nats-server")
    })
    .await;
    let options = NatsOptions {
        patience: Duration::from_secs(2),
        ..pool::options(servers.urls_for("h", "h"), 1)
    };
    let refused = Nats::connect(options, &Tasks::new()).await;
    let Err(error @ StartError::Silent { answered: 0, .. }) = refused else {
        panic!("{refused:?}");
    };
    assert!(error.to_string().contains("hearth.server.jsz"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_with_one_server_that_does_not_sync_is_refused() {
    let servers = servers(3).await;
    on(&servers, 3).await;
    // One server is started again by an operator who forgot the setting.
    let folder = servers.data(1);
    let config = folder.with_extension("conf");
    let text = std::fs::read_to_string(&config).expect("its configuration");
    std::fs::write(
        &config,
        text.replace("sync_interval: always", "sync_interval: 2m"),
    )
    .expect("a change");
    let again = Arc::clone(&servers);
    blocking(move || again.restart(1)).await.expect("a restart");
    let refused = Nats::connect(pool::options(servers.urls(0), 3), &Tasks::new()).await;
    assert!(
        matches!(&refused, Err(StartError::Unsynced(names)) if names == "n2"),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_would_lose_something_is_refused_and_one_that_lacks_something_is_extended() {
    let servers = servers(1).await;
    let nats = on(&servers, 1).await;
    nats.declare(&pool::STREAMS).await.expect("the same again");
    let smaller = NatsOptions {
        telemetry_bytes: 32 << 20,
        ..pool::options(servers.urls(0), 1)
    };
    let refused = open(smaller).await.declare(&[Stream::TELEMETRY]).await;
    assert!(
        matches!(&refused, Err(StartError::Differs { stream, key, .. }) if stream == "TELEMETRY" && key == "max_bytes"),
        "{refused:?}"
    );
    let greater = NatsOptions {
        telemetry_bytes: 128 << 20,
        ..pool::options(servers.urls(0), 1)
    };
    let greater = open(greater).await;
    greater
        .declare(&[Stream::TELEMETRY])
        .await
        .expect("more room takes nothing away");
    let raw = async_nats::ConnectOptions::with_user_and_password("t0".into(), "t0".into())
        .connect(servers.addresses()[0].to_string())
        .await
        .expect("a client");
    let jetstream = async_nats::jetstream::new(raw);
    let mut stream = jetstream.get_stream("TELEMETRY").await.expect("the stream");
    assert_eq!(
        stream.info().await.expect("info").config.max_bytes,
        128 << 20
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_stream_refuses_and_drops_nothing() {
    let servers = servers(1).await;
    let small = NatsOptions {
        telemetry_bytes: 4 << 20,
        ..pool::options(servers.urls(0), 1)
    };
    let nats = open(small).await;
    nats.declare(&[Stream::TELEMETRY]).await.expect("a stream");
    let log = nats.log();
    let mut taken = 0;
    let refusal = loop {
        let frame = Bytes::from(vec![1; 512 << 10]);
        match log
            .append(&Subject::telemetry(1), Expected::Any, frame)
            .await
        {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
        assert!(taken < 64, "it is never full");
    };
    assert!(matches!(refusal, StoreError::Retryable(_)), "{refusal:?}");
    let kept = log
        .page(Stream::TELEMETRY, Position::START, 100)
        .await
        .expect("a page");
    assert_eq!(kept.len(), taken);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rivals_on_a_cluster_get_conflicts_and_break_no_chain() {
    // On three servers a rival's message may still be under way: then the servers answer without a sequence (10164).
    const COMMANDS: usize = 40;
    let servers = servers(3).await;
    let log = on(&servers, 3).await.log();
    let mut writers = JoinSet::new();
    for writer in 0..8_u8 {
        let log = log.clone();
        writers.spawn(async move {
            let mut done = 0;
            while done < COMMANDS {
                let last = log.last(&evt(1), Read::Leader).await.expect("the last");
                let last = last.map(|last| last.position);
                let text = format!("{writer}/{done} after {last:?}");
                match log
                    .append(&evt(1), Expected::Subject(last), Bytes::from(text))
                    .await
                {
                    Ok(_) => done += 1,
                    Err(StoreError::Conflict) => tokio::task::yield_now().await,
                    Err(error) => panic!("neither won nor lost: {error:?}"),
                }
            }
        });
    }
    timeout(PATIENCE, writers.join_all()).await.expect("an end");
    let mut last: Option<Position> = None;
    let chain = all(&log).await;
    assert_eq!(chain.len(), 8 * COMMANDS);
    for (position, text) in chain.into_iter().map(text_of) {
        assert!(text.ends_with(&format!("after {last:?}")), "{text}");
        last = Some(position);
    }
}
