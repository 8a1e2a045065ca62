//! Real servers, shared by the cases of a test program: each case has an account of its own, and a set of servers is
//! ended when its accounts are used up and its cases are over.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hearth_backend_nats::{Nats, NatsOptions};
use hearth_kernel::Service;
use hearth_ports::{Family, Stream, Tasks};
use hearth_servers::{Cache, Nats as Servers, NatsOptions as ServerOptions};

/// The streams that the suite uses.
pub(crate) const STREAMS: [Stream; 6] = [
    Stream::new(Family::Evt, Service::Accounts),
    Stream::new(Family::Rec, Service::Accounts),
    Stream::new(Family::Int, Service::Accounts),
    Stream::new(Family::State, Service::Accounts),
    Stream::new(Family::Evt, Service::Retention),
    Stream::TELEMETRY,
];

/// Servers and how many of their accounts were given out.
pub(crate) struct Pool {
    nodes: usize,
    accounts: usize,
    current: Mutex<Option<(Arc<Servers>, usize)>>,
}

/// One account.
pub(crate) struct Account {
    pub(crate) servers: Arc<Servers>,
    pub(crate) number: usize,
    pub(crate) replicas: u8,
}

impl Pool {
    /// Sets of so many servers, each for so many accounts: streams cost what they cost until their servers end.
    pub(crate) const fn new(nodes: usize, accounts: usize) -> Self {
        Self {
            nodes,
            accounts,
            current: Mutex::new(None),
        }
    }

    /// An account that nobody used.
    pub(crate) async fn account(&'static self) -> Account {
        let taken = tokio::task::spawn_blocking(|| {
            let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
            let (servers, number) = match current.take() {
                Some((servers, number)) if number < self.accounts => (servers, number),
                _ => (Arc::new(start(self.nodes)), 0),
            };
            *current = Some((Arc::clone(&servers), number + 1));
            (servers, number)
        });
        let (servers, number) = taken.await.expect("a thread");
        Account {
            servers,
            number,
            replicas: u8::try_from(self.nodes).expect("one or three"),
        }
    }
}

/// Servers that sync.
pub(crate) fn start(nodes: usize) -> Servers {
    let cache = Cache::of_user().expect("a cache");
    let options = ServerOptions {
        nodes,
        ..ServerOptions::default()
    };
    Servers::start_with(&cache, &options).expect("nats-server")
}

/// Options for tests: small streams, a patient start.
pub(crate) fn options(urls: Vec<String>, replicas: u8) -> NatsOptions {
    NatsOptions {
        replicas,
        telemetry_bytes: 64 << 20,
        patience: Duration::from_secs(60),
        ..NatsOptions::new(urls)
    }
}

impl Account {
    /// A new connection of this account.
    pub(crate) async fn connect(&self) -> Nats {
        let options = options(self.servers.urls(self.number), self.replicas);
        Nats::connect(options, &Tasks::new())
            .await
            .expect("a connection to servers that sync")
    }
}
