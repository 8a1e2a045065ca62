//! nats-server with JetStream: one, or a cluster of three.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tempfile::TempDir;

use crate::cache::Cache;
use crate::error::ServerError;
use crate::fetch::Server;
use crate::http;
use crate::ports::free_ports;
use crate::process::Process;

const READY_WITHIN: Duration = Duration::from_secs(30);
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// How the servers are set up.
#[derive(Clone, Debug)]
pub struct NatsOptions {
    /// 1 or 3.
    pub nodes: usize,
    /// Whether each write is synced before it is acked (`sync_interval: always`).
    pub synced: bool,
    /// The `accounts { ... }` block and what belongs to it; `None`: accounts `t0` to `t63` for tests.
    pub accounts: Option<String>,
}

impl Default for NatsOptions {
    fn default() -> Self {
        Self {
            nodes: 1,
            synced: true,
            accounts: None,
        }
    }
}

/// How many accounts there are for tests. Each has streams of its own.
const TEST_ACCOUNTS: usize = 64;

/// Running nats-servers.
#[derive(Debug)]
pub struct Nats {
    program: PathBuf,
    folder: TempDir,
    nodes: Vec<Node>,
}

#[derive(Debug)]
struct Node {
    name: String,
    client: u16,
    monitor: u16,
    process: Mutex<Option<Process>>,
}

impl Nats {
    /// One server that syncs, with accounts for tests.
    ///
    /// # Errors
    /// When it is not in the cache or does not become ready.
    pub fn start(cache: &Cache) -> Result<Self, ServerError> {
        Self::start_with(cache, &NatsOptions::default())
    }

    /// Servers by these options.
    ///
    /// # Errors
    /// As [`Nats::start`].
    pub fn start_with(cache: &Cache, options: &NatsOptions) -> Result<Self, ServerError> {
        let program = cache.have(Server::Nats)?.join("nats-server");
        let mut tries = 0;
        loop {
            tries += 1;
            // A port that was free a moment ago may be gone.
            match Self::try_start(&program, options) {
                Err(ServerError::NotReady { .. }) if tries < 3 => {}
                done => return done,
            }
        }
    }

    fn try_start(program: &Path, options: &NatsOptions) -> Result<Self, ServerError> {
        let folder = tempfile::Builder::new()
            .prefix("hearth-nats-")
            .tempdir()
            .map_err(ServerError::io("cannot create", std::env::temp_dir()))?;
        let mut ports = Vec::new();
        for _ in 0..options.nodes {
            let free = free_ports::<3>().map_err(ServerError::io("no free port in", "/"))?;
            ports.push(free);
        }
        let mut nodes = Vec::new();
        for (index, [client, monitor, _]) in ports.iter().enumerate() {
            let name = format!("n{}", index + 1);
            let text = configuration(&name, index, &ports, folder.path(), options);
            let path = folder.path().join(format!("{name}.conf"));
            fs::write(&path, text).map_err(ServerError::io("cannot write", &path))?;
            nodes.push(Node {
                name,
                client: *client,
                monitor: *monitor,
                process: Mutex::new(None),
            });
        }
        let nats = Self {
            program: program.to_owned(),
            folder,
            nodes,
        };
        for index in 0..options.nodes {
            nats.launch(index)?;
        }
        for index in 0..options.nodes {
            nats.wait(index)?;
        }
        Ok(nats)
    }

    fn launch(&self, index: usize) -> Result<(), ServerError> {
        let node = &self.nodes[index];
        let log = self.folder.path().join(format!("{}.log", node.name));
        let config = self.folder.path().join(format!("{}.conf", node.name));
        let process = Process::start(&node.name, &self.program, log, |command| {
            command.arg("--config").arg(config);
        })?;
        *node.process.lock().unwrap_or_else(PoisonError::into_inner) = Some(process);
        Ok(())
    }

    fn wait(&self, index: usize) -> Result<(), ServerError> {
        let node = &self.nodes[index];
        let monitor = SocketAddr::from((Ipv4Addr::LOCALHOST, node.monitor));
        let healthy = || matches!(http::get(monitor, "/healthz"), Some((200, _)));
        let held = node.process.lock().unwrap_or_else(PoisonError::into_inner);
        held.as_ref()
            .map_or(Ok(()), |it| it.wait_until(READY_WITHIN, healthy))
    }

    /// How many servers there are.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// The client addresses, without credentials: `127.0.0.1:port`.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let port = |node: &Node| SocketAddr::from((Ipv4Addr::LOCALHOST, node.client));
        self.nodes.iter().map(port).collect()
    }

    /// The URLs for a test account, 0 to 63.
    #[must_use]
    pub fn urls(&self, account: usize) -> Vec<String> {
        let account = account % TEST_ACCOUNTS;
        self.urls_for(&format!("t{account}"), &format!("t{account}"))
    }

    /// The URLs with this user and password.
    #[must_use]
    pub fn urls_for(&self, user: &str, password: &str) -> Vec<String> {
        let url = |address: SocketAddr| format!("nats://{user}:{password}@{address}");
        self.addresses().into_iter().map(url).collect()
    }

    /// The monitoring address of a node.
    #[must_use]
    pub fn monitor(&self, index: usize) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.nodes[index].monitor))
    }

    /// Where a node keeps its streams.
    #[must_use]
    pub fn data(&self, index: usize) -> PathBuf {
        self.folder.path().join(&self.nodes[index].name)
    }

    /// SIGKILL to a node.
    pub fn kill(&self, index: usize) {
        let mut held = self.held(index);
        if let Some(process) = held.take() {
            process.kill();
        }
    }

    /// SIGTERM to a node.
    pub fn stop(&self, index: usize) {
        let mut held = self.held(index);
        if let Some(process) = held.take() {
            process.stop(STOP_WITHIN);
        }
    }

    /// SIGSTOP to a node.
    pub fn pause(&self, index: usize) {
        if let Some(process) = &*self.held(index) {
            process.pause();
        }
    }

    /// SIGCONT to a node.
    pub fn resume(&self, index: usize) {
        if let Some(process) = &*self.held(index) {
            process.resume();
        }
    }

    /// Starts a node again, on its ports and data, and waits until it is healthy.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn restart(&self, index: usize) -> Result<(), ServerError> {
        self.kill(index);
        self.launch(index)?;
        self.wait(index)
    }

    fn held(&self, index: usize) -> std::sync::MutexGuard<'_, Option<Process>> {
        self.nodes[index]
            .process
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn configuration(
    name: &str,
    index: usize,
    ports: &[[u16; 3]],
    folder: &Path,
    options: &NatsOptions,
) -> String {
    let [client, monitor, route] = ports[index];
    let data = folder.join(name);
    let sync = if options.synced { "always" } else { "2m" };
    let mut text = format!(
        "server_name: {name}\nlisten: \"127.0.0.1:{client}\"\nhttp: \"127.0.0.1:{monitor}\"\n\
         max_payload: 8MB\n\
         jetstream {{\n  store_dir: \"{}\"\n  sync_interval: {sync}\n  max_memory_store: 64MB\n  max_file_store: 16GB\n}}\n",
        data.display(),
    );
    if ports.len() > 1 {
        let routes: Vec<String> = ports
            .iter()
            .map(|[_, _, route]| format!("\"nats-route://127.0.0.1:{route}\""))
            .collect();
        let _ = writeln!(
            text,
            "cluster {{\n  name: hearth\n  listen: \"127.0.0.1:{route}\"\n  routes: [{}]\n}}",
            routes.join(", ")
        );
    }
    match &options.accounts {
        Some(accounts) => text.push_str(accounts),
        None => test_accounts(&mut text),
    }
    text
}

/// The service by which an account may ask whether the servers sync.
const ASK: &str = "$SYS.REQ.SERVER.PING.JSZ";

fn test_accounts(text: &mut String) {
    let names: Vec<String> = (0..TEST_ACCOUNTS).map(|it| format!("T{it}")).collect();
    let _ = writeln!(
        text,
        "accounts {{\n  SYS {{ users: [{{user: sys, password: sys}}], exports: [{{service: \"{ASK}\", accounts: [{}], response_type: stream}}] }}",
        names.join(", ")
    );
    for (number, name) in names.iter().enumerate() {
        let _ = writeln!(
            text,
            "  {name} {{ jetstream: enabled, users: [{{user: t{number}, password: t{number}}}], imports: [{{service: {{account: SYS, subject: \"{ASK}\"}}, to: \"hearth.server.jsz\"}}] }}"
        );
    }
    text.push_str("}\nsystem_account: SYS\n");
}
