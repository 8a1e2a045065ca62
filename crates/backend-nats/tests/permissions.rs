//! Each user's permissions, on a server with exactly the accounts of `deploy/nats/accounts.conf`: what each service may
//! do works through this crate, and what it may not do is refused by the server.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "kit/pool.rs"]
mod pool;

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event};
use bytes::Bytes;
use futures::StreamExt;
use hearth_backend_nats::{Nats, NatsOptions};
use hearth_kernel::{AccountId, Service};
use hearth_ports::{
    Expected, Family, Leases, Log, Position, Read, Removed, Stream, Subject, Tasks, Topic,
};
use hearth_servers::{Cache, Nats as Servers, NatsOptions as ServerOptions};
use tokio::time::timeout;

const ACCOUNTS: &str = include_str!("../../../deploy/nats/accounts.conf");
const USERS: [&str; 9] = [
    "sys",
    "accounts",
    "ingest",
    "media",
    "notifications",
    "retention",
    "vault",
    "streams",
    "subscriber",
];
/// A bound, not a measure.
const PATIENCE: Duration = Duration::from_secs(30);

/// What each service reads of others; it owns its own four, and ingest the frames.
const READS: [(Service, &[Stream]); 6] = [
    (Service::Accounts, &[state(Service::Retention), FENCES]),
    (
        Service::Ingest,
        &[
            state(Service::Accounts),
            state(Service::Notifications),
            state(Service::Retention),
            FENCES,
        ],
    ),
    (
        Service::Media,
        &[
            state(Service::Accounts),
            state(Service::Ingest),
            state(Service::Retention),
            FENCES,
        ],
    ),
    (
        Service::Notifications,
        &[
            Stream::TELEMETRY,
            int(Service::Accounts),
            state(Service::Accounts),
            state(Service::Ingest),
            state(Service::Retention),
            FENCES,
        ],
    ),
    (
        Service::Retention,
        &[
            state(Service::Accounts),
            state(Service::Ingest),
            state(Service::Media),
            state(Service::Notifications),
            FENCES,
            int(Service::Accounts),
            int(Service::Ingest),
            int(Service::Media),
            int(Service::Notifications),
        ],
    ),
    (Service::Vault, &[state(Service::Retention)]),
];
const FENCES: Stream = state(Service::Vault);
const FAMILIES: [Family; 4] = [Family::Evt, Family::Rec, Family::Int, Family::State];

const fn state(service: Service) -> Stream {
    Stream::new(Family::State, service)
}

const fn int(service: Service) -> Stream {
    Stream::new(Family::Int, service)
}

fn every_stream() -> Vec<Stream> {
    Service::ALL
        .into_iter()
        .flat_map(|service| FAMILIES.map(|family| Stream::new(family, service)))
        .chain([Stream::TELEMETRY])
        .collect()
}

fn owner_of(stream: Stream) -> Service {
    if stream == Stream::TELEMETRY {
        Service::Ingest
    } else {
        stream.service
    }
}

fn subject(stream: Stream) -> Subject {
    let id = AccountId::from_bytes([7; 16]);
    match stream.family {
        Family::Telemetry => Subject::telemetry(7),
        Family::Int => Subject::event(stream.service, "member-removed", 1, id),
        _ => Subject::from_tokens(stream, "account.07"),
    }
}

/// A server with the file that is deployed, and every stream, made by the user who makes streams.
async fn installation() -> Arc<Servers> {
    let started = tokio::task::spawn_blocking(|| {
        let mut accounts = String::new();
        for user in USERS {
            let _ = writeln!(
                accounts,
                "{}_PASSWORD: \"{user}-word\"",
                user.to_uppercase()
            );
        }
        accounts.push_str(ACCOUNTS);
        let options = ServerOptions {
            accounts: Some(accounts),
            ..ServerOptions::default()
        };
        Servers::start_with(&Cache::of_user().expect("a cache"), &options).expect("nats-server")
    });
    let servers = Arc::new(started.await.expect("a thread"));
    let nats = connect(&servers, "streams").await;
    nats.declare(&every_stream()).await.expect("streams");
    nats.declare_leases().await.expect("leases");
    servers
}

async fn connect(servers: &Servers, user: &str) -> Nats {
    let options = NatsOptions {
        inbox: format!("_INBOX_{user}"),
        ..pool::options(servers.urls_for(user, &format!("{user}-word")), 1)
    };
    Nats::connect(options, &Tasks::new())
        .await
        .expect("a connection that may ask whether the servers sync")
}

/// A plain client, which hears of each refusal.
struct Raw {
    client: Client,
    refusals: Arc<Mutex<Vec<String>>>,
}

impl Raw {
    async fn connect(servers: &Servers, user: &str) -> Self {
        let refusals: Arc<Mutex<Vec<String>>> = Arc::default();
        let heard = Arc::clone(&refusals);
        let word = format!("{user}-word");
        let client = ConnectOptions::with_user_and_password(user.to_owned(), word)
            .custom_inbox_prefix(format!("_INBOX_{user}"))
            .event_callback(move |event| {
                let heard = Arc::clone(&heard);
                async move {
                    if let Event::ServerError(error) = event {
                        let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
                        heard.push(error.to_string().to_lowercase());
                    }
                }
            })
            .connect(servers.addresses()[0].to_string())
            .await
            .expect("a connection");
        Self { client, refusals }
    }

    /// Waits until the server has refused something about these words.
    async fn refused(&self, direction: &str, subject: &str) {
        let words = format!(
            "permissions violation for {direction} to \"{}\"",
            subject.to_lowercase()
        );
        let heard = async {
            loop {
                let all = self
                    .refusals
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .clone();
                if all.iter().any(|it| it.contains(&words)) {
                    return;
                }
                // The server answers what was sent before the ping, so one round trip is enough, given to the callback.
                self.client.flush().await.expect("a flush");
                tokio::task::yield_now().await;
            }
        };
        if timeout(PATIENCE, heard).await.is_err() {
            let all = self
                .refusals
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            panic!("not refused: {words}; but {all:?}");
        }
    }

    async fn may_not_publish(&self, subject: &str) {
        let inbox = self.client.new_inbox();
        let sent =
            self.client
                .publish_with_reply(subject.to_owned(), inbox, Bytes::from_static(b"{}"));
        sent.await.expect("a client that sends");
        self.refused("publish", subject).await;
    }

    async fn may_not_listen(&self, subject: &str) {
        let _heard = self.client.subscribe(subject.to_owned()).await;
        self.refused("subscription", subject).await;
    }
}

async fn reads(log: &dyn Log, stream: Stream, at: Position) {
    assert!(log.head(stream).await.expect("the head") >= Some(at));
    let newest = log.newest(stream).await.expect("the newest");
    assert!(newest.is_some(), "{stream:?}");
    for read in [Read::Leader, Read::Follower] {
        let loaded = log.load(&subject(stream), None, 10, read).await;
        assert!(!loaded.expect("a load").is_empty());
    }
    let page = log.page(stream, Position::START, 10).await;
    assert!(!page.expect("a page").is_empty());
    let mut tail = log.tail(stream, Position::START);
    let first = timeout(PATIENCE, tail.next()).await.expect("in time");
    first.expect("a message").expect("a message");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_service_does_what_its_rows_say() {
    let servers = installation().await;
    let mut stored = Vec::new();
    for service in Service::ALL {
        let nats = connect(&servers, service.name()).await;
        let log = nats.log();
        let own = every_stream()
            .into_iter()
            .filter(|it| owner_of(*it) == service);
        let own: Vec<Stream> = own.collect();
        // The start compares its streams with what is there.
        nats.declare(&own).await.expect("its streams are right");
        for stream in own {
            let at = log
                .append(
                    &subject(stream),
                    Expected::Subject(None),
                    Bytes::from("one"),
                )
                .await
                .expect("an append to its own stream");
            let other = Subject::from_tokens(stream, "other.7.x.y");
            if stream.family != Family::Telemetry {
                let gone = log.append(&other, Expected::Any, Bytes::from("gone")).await;
                let removed = log.remove(&other, gone.expect("an append")).await;
                assert_eq!(removed.expect("a removal"), Removed::Done);
            }
            reads(&log, stream, at).await;
            stored.push((stream, at));
        }
        let leases = nats.leases();
        let name = format!("{service}.writer.7");
        let lease = leases
            .acquire(&name, "one", PATIENCE)
            .await
            .expect("a lease");
        leases
            .renew(&lease, "one", PATIENCE)
            .await
            .expect("a renewal");
        leases.release(&lease, "one").await.expect("a release");
        let topic = Topic(format!("watermark.{service}").into());
        log.announce(&topic, Bytes::from("here"))
            .await
            .expect("said");
    }
    for (service, streams) in READS {
        let log = connect(&servers, service.name()).await.log();
        for stream in streams {
            let at = stored.iter().find(|it| it.0 == *stream).expect("stored").1;
            reads(&log, *stream, at).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_service_is_refused_what_its_rows_do_not_say() {
    let servers = installation().await;
    for (service, reads) in READS {
        let raw = Raw::connect(&servers, service.name()).await;
        for stream in every_stream() {
            let name = stream.name();
            if owner_of(stream) != service {
                raw.may_not_publish(&subject(stream).text(1)).await;
                raw.may_not_publish(&format!("$JS.API.STREAM.PURGE.{name}"))
                    .await;
                raw.may_not_publish(&format!("$JS.API.STREAM.MSG.DELETE.{name}"))
                    .await;
                raw.may_not_listen(&subject(stream).text(1)).await;
                if !reads.contains(&stream) {
                    raw.may_not_publish(&format!("$JS.API.STREAM.MSG.GET.{name}"))
                        .await;
                    raw.may_not_publish(&format!("$JS.API.DIRECT.GET.{name}"))
                        .await;
                    raw.may_not_publish(&format!("$JS.API.CONSUMER.CREATE.{name}.x"))
                        .await;
                    raw.may_not_publish(&format!("$JS.API.CONSUMER.MSG.NEXT.{name}.x"))
                        .await;
                }
            }
            // Not even its own: who may update a stream may make it a copy of any other.
            for call in ["CREATE", "UPDATE", "DELETE"] {
                raw.may_not_publish(&format!("$JS.API.STREAM.{call}.{name}"))
                    .await;
            }
        }
        for other in Service::ALL.into_iter().filter(|it| *it != service) {
            raw.may_not_listen(&format!("_INBOX_{other}.>")).await;
            raw.may_not_publish(&format!("lease.{other}.writer.7"))
                .await;
            raw.may_not_publish(&format!("said.watermark.{other}"))
                .await;
        }
        raw.may_not_listen(">").await;
        raw.may_not_publish("$JS.API.STREAM.PURGE.LEASES").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outside_subscriber_reads_events_and_nothing_else() {
    let servers = installation().await;
    let accounts = connect(&servers, "accounts").await.log();
    let event = subject(int(Service::Accounts));
    accounts
        .append(&event, Expected::Any, Bytes::from("an event"))
        .await
        .expect("an event");

    let raw = Raw::connect(&servers, "subscriber").await;
    let jetstream = async_nats::jetstream::new(raw.client.clone());
    let stream = jetstream
        .get_stream("INT_ACCOUNTS")
        .await
        .expect("the stream");
    let config = async_nats::jetstream::consumer::pull::Config {
        durable_name: Some("theirs".to_owned()),
        ..Default::default()
    };
    let consumer = stream.create_consumer(config).await.expect("a consumer");
    let mut messages = consumer.messages().await.expect("messages");
    let message = timeout(PATIENCE, messages.next()).await.expect("in time");
    let message = message.expect("a message").expect("a message");
    assert_eq!(message.payload, "an event");
    message.double_ack().await.expect("its ack arrives");

    for stream in every_stream() {
        let name = stream.name();
        raw.may_not_publish(&subject(stream).text(1)).await;
        raw.may_not_publish(&format!("$JS.API.STREAM.PURGE.{name}"))
            .await;
        raw.may_not_publish(&format!("$JS.API.STREAM.MSG.DELETE.{name}"))
            .await;
        if stream.family != Family::Int {
            raw.may_not_publish(&format!("$JS.API.STREAM.INFO.{name}"))
                .await;
            raw.may_not_publish(&format!("$JS.API.STREAM.MSG.GET.{name}"))
                .await;
            raw.may_not_publish(&format!("$JS.API.DIRECT.GET.{name}"))
                .await;
            raw.may_not_publish(&format!("$JS.API.CONSUMER.CREATE.{name}.x"))
                .await;
            raw.may_not_listen(&subject(stream).text(1)).await;
        }
    }
    raw.may_not_listen(">").await;
    raw.may_not_listen("_INBOX_accounts.>").await;
    raw.may_not_publish("lease.accounts.writer.7").await;
}
