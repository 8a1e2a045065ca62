//! Apache Cassandra: one node, or three. It stands in for ScyllaDB, which no package registry carries.

mod arguments;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tempfile::TempDir;

use crate::cache::Cache;
use crate::error::ServerError;
use crate::fetch::Server;
use crate::ports::free_ports;
use crate::process::Process;

/// A joining node streams and waits for gossip.
const READY_WITHIN: Duration = Duration::from_secs(120);
const STOP_WITHIN: Duration = Duration::from_secs(20);
/// Evenly on the ring of the Murmur3 partitioner.
const TOKENS: [&str; 3] = ["0", "3074457345618258602", "-3074457345618258602"];

/// When the commit log is synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitLog {
    /// Before a write is acked, many together: what Hearth asks for.
    Group,
    /// Every 10 s: an acked write may be lost.
    Periodic,
}

/// Running Cassandra nodes.
#[derive(Debug)]
pub struct Cassandra {
    lib: PathBuf,
    folder: TempDir,
    nodes: usize,
    native: u16,
    jmx: [u16; 3],
    processes: Mutex<Vec<Option<Process>>>,
}

/// What differs between the configurations of nodes.
struct Settings {
    native: u16,
    storage: u16,
    commit_log: CommitLog,
    roles: bool,
}

impl Cassandra {
    /// One node, without roles, whose commit log syncs.
    ///
    /// # Errors
    /// When it is not in the cache or does not become ready.
    pub fn start(cache: &Cache) -> Result<Self, ServerError> {
        Self::start_with(cache, 1, CommitLog::Group, false)
    }

    /// 1 or 3 nodes, on 127.0.0.1 to .3. With `roles`, each client needs a password (`cassandra`/`cassandra` first).
    ///
    /// # Errors
    /// As [`Cassandra::start`].
    pub fn start_with(
        cache: &Cache,
        nodes: usize,
        commit_log: CommitLog,
        roles: bool,
    ) -> Result<Self, ServerError> {
        let lib = cache.have(Server::Cassandra)?.join("lib");
        let folder = tempfile::Builder::new()
            .prefix("hearth-cassandra-")
            .tempdir()
            .map_err(ServerError::io("cannot create", std::env::temp_dir()))?;
        let [native, storage, jmx @ ..] =
            free_ports::<5>().map_err(ServerError::io("no free port in", "/"))?;
        let settings = Settings {
            native,
            storage,
            commit_log,
            roles,
        };
        for index in 0..nodes {
            write_configuration(folder.path(), index, &settings)?;
        }
        let cassandra = Self {
            lib,
            folder,
            nodes,
            native,
            jmx,
            processes: Mutex::new((0..nodes).map(|_| None).collect()),
        };
        for index in 0..nodes {
            // One after the other: two that join at once refuse each other.
            cassandra.launch(index)?;
        }
        Ok(cassandra)
    }

    fn launch(&self, index: usize) -> Result<(), ServerError> {
        let node = self.folder.path().join(format!("c{}", index + 1));
        let arguments = arguments::of(&node, &self.lib, self.jmx[index], self.nodes);
        let log = node.join("cassandra.log");
        let name = format!("cassandra {}", index + 1);
        let process = Process::start(name, Path::new("java"), log, |command| {
            command.args(arguments);
        })?;
        let address = self.address(index);
        process.wait_until(READY_WITHIN, || Process::listens(address))?;
        self.processes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)[index] = Some(process);
        Ok(())
    }

    /// How many nodes there are.
    #[must_use]
    pub const fn nodes(&self) -> usize {
        self.nodes
    }

    /// Where a node takes CQL.
    #[must_use]
    pub fn address(&self, index: usize) -> SocketAddr {
        let last = u8::try_from(index + 1).unwrap_or(u8::MAX);
        SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), self.native))
    }

    /// Where every node takes CQL.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        (0..self.nodes).map(|index| self.address(index)).collect()
    }

    /// Where a node keeps its files.
    #[must_use]
    pub fn data(&self, index: usize) -> PathBuf {
        self.folder.path().join(format!("c{}", index + 1))
    }

    /// SIGKILL to a node.
    pub fn kill(&self, index: usize) {
        if let Some(process) = self.taken(index) {
            process.kill();
        }
    }

    /// SIGTERM to a node: it drains.
    pub fn stop(&self, index: usize) {
        if let Some(process) = self.taken(index) {
            process.stop(STOP_WITHIN);
        }
    }

    fn taken(&self, index: usize) -> Option<Process> {
        self.processes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)[index]
            .take()
    }

    /// Does something to a node's process: pause, resume.
    pub fn with_process(&self, index: usize, act: impl FnOnce(&Process)) {
        let held = self
            .processes
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(Some(process)) = held.get(index) {
            act(process);
        }
    }

    /// Starts a node again on its data, and waits until it takes CQL.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn restart(&self, index: usize) -> Result<(), ServerError> {
        self.kill(index);
        self.launch(index)
    }
}

fn write_configuration(
    folder: &Path,
    index: usize,
    settings: &Settings,
) -> Result<(), ServerError> {
    let node = folder.join(format!("c{}", index + 1));
    fs::create_dir(&node).map_err(ServerError::io("cannot create", &node))?;
    let files = [
        ("cassandra.yaml", configuration(&node, index, settings)),
        ("logback.xml", LOGBACK.to_owned()),
    ];
    for (name, text) in files {
        let path = node.join(name);
        fs::write(&path, text).map_err(ServerError::io("cannot write", &path))?;
    }
    Ok(())
}

fn configuration(node: &Path, index: usize, settings: &Settings) -> String {
    let (folder, token) = (node.display(), TOKENS[index % TOKENS.len()]);
    let address = format!("127.0.0.{}", index + 1);
    let Settings {
        native, storage, ..
    } = settings;
    let commit_log = match settings.commit_log {
        CommitLog::Group => "commitlog_sync: group\ncommitlog_sync_group_window: 2ms",
        CommitLog::Periodic => "commitlog_sync: periodic\ncommitlog_sync_period: 10000ms",
    };
    let roles = if settings.roles {
        "authenticator: PasswordAuthenticator\nauthorizer: CassandraAuthorizer\nrole_manager: CassandraRoleManager\n\
         roles_validity: 100ms\npermissions_validity: 100ms\ncredentials_validity: 100ms\n"
    } else {
        ""
    };
    format!(
        "cluster_name: hearth-test\n\
         partitioner: org.apache.cassandra.dht.Murmur3Partitioner\n\
         num_tokens: 1\ninitial_token: {token}\n\
         listen_address: {address}\nrpc_address: {address}\n\
         storage_port: {storage}\nnative_transport_port: {native}\n\
         data_file_directories: [{folder}/data]\n\
         commitlog_directory: {folder}/commitlog\n\
         hints_directory: {folder}/hints\n\
         saved_caches_directory: {folder}/saved_caches\n\
         cdc_raw_directory: {folder}/cdc\n\
         {commit_log}\ncommitlog_segment_size: 8MiB\n{roles}\
         endpoint_snitch: SimpleSnitch\n\
         seed_provider: [{{class_name: org.apache.cassandra.locator.SimpleSeedProvider, parameters: [{{seeds: \"127.0.0.1:{storage}\"}}]}}]\n\
         memtable: {{configurations: {{default: {{class_name: TrieMemtable}}}}}}\n\
         memtable_allocation_type: offheap_objects\n\
         sstable: {{selected_format: bti}}\n\
         storage_compatibility_mode: NONE\n\
         auto_snapshot: false\n\
         memtable_heap_space: 128MiB\nmemtable_offheap_space: 128MiB\n\
         file_cache_size: 32MiB\nnetworking_cache_size: 32MiB\n\
         concurrent_reads: 8\nconcurrent_writes: 16\nconcurrent_compactors: 1\ncompaction_throughput: 0MiB/s\n"
    )
}

const LOGBACK: &str = r#"<configuration>
  <appender name="out" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%-5level %d{HH:mm:ss.SSS} %logger{20} %msg%n</pattern></encoder>
  </appender>
  <root level="WARN"><appender-ref ref="out"/></root>
</configuration>
"#;
