//! The real servers of the tests: which are there, fetching them, and running some by hand.

use std::io::Read;

use anyhow::{Result, bail};
use clap::Subcommand;
use hearth_servers::{Cache, Cassandra, Nats, NatsOptions, SeaweedFs, Server, ServerError};

use crate::terminal;

/// What to do with the servers.
#[derive(Subcommand)]
pub(crate) enum Action {
    /// Names each server, its version, and where it lies.
    List,
    /// Brings servers into the cache; all of them when none is named.
    Fetch {
        /// nats, cassandra, seaweedfs, envoy, toxiproxy.
        names: Vec<String>,
    },
    /// Starts nats-server, Cassandra and SeaweedFS, prints where they listen, and ends them when its input ends.
    Run {
        /// How many nats-servers: 1 or 3.
        #[arg(long, default_value_t = 1)]
        nats: usize,
        /// How many Cassandra nodes: 0, 1 or 3.
        #[arg(long, default_value_t = 1)]
        cassandra: usize,
    },
}

/// Does it. Answers whether all of it worked.
///
/// # Errors
/// An unknown name, no cache, or a server that does not start.
pub(crate) fn run(action: &Action) -> Result<bool> {
    let cache = Cache::of_user()?;
    match action {
        Action::List => {
            for server in Server::ALL {
                let place = match cache.have(server) {
                    Ok(folder) => folder.display().to_string(),
                    Err(_) => format!("not fetched; needs {}", server.needs()),
                };
                terminal::say(&format!("{} {}: {place}", server.name(), server.version()));
            }
            Ok(true)
        }
        Action::Fetch { names } => fetch(&cache, names),
        Action::Run { nats, cassandra } => {
            start(&cache, *nats, *cassandra)?;
            Ok(true)
        }
    }
}

fn fetch(cache: &Cache, names: &[String]) -> Result<bool> {
    let wanted: Vec<Server> = if names.is_empty() {
        Server::ALL.to_vec()
    } else {
        names.iter().map(|it| named(it)).collect::<Result<_>>()?
    };
    let mut all = true;
    for server in wanted {
        match server.fetch(cache) {
            Ok(folder) => terminal::say(&format!("{}: {}", server.name(), folder.display())),
            Err(error) => {
                terminal::say(&format!("{}: {}", server.name(), whole(&error)));
                all = false;
            }
        }
    }
    Ok(all)
}

fn named(name: &str) -> Result<Server> {
    let found = Server::ALL.into_iter().find(|it| it.name() == name);
    let Some(server) = found else {
        let known: Vec<_> = Server::ALL.iter().map(|it| it.name()).collect();
        bail!("no server is called {name}; there are {}", known.join(", "));
    };
    Ok(server)
}

fn start(cache: &Cache, nodes: usize, cassandras: usize) -> Result<()> {
    if ![1, 3].contains(&nodes) || ![0, 1, 3].contains(&cassandras) {
        bail!("there are 1 or 3 nats-servers, and 0, 1 or 3 Cassandra nodes");
    }
    for server in [Server::Nats, Server::Cassandra, Server::SeaweedFs] {
        server.fetch(cache)?;
    }
    let options = NatsOptions {
        nodes,
        ..NatsOptions::default()
    };
    let nats = Nats::start_with(cache, &options)?;
    terminal::say(&format!("nats: {}", nats.urls(0).join(",")));
    let store = SeaweedFs::start(cache)?;
    let (access, secret) = store.credentials();
    terminal::say(&format!("s3: {} ({access}, {secret})", store.endpoint()));
    let commit_log = hearth_servers::CommitLog::Group;
    let nodes = match cassandras {
        0 => None,
        nodes => Some(Cassandra::start_with(cache, nodes, commit_log, false)?),
    };
    let addresses = nodes.as_ref().map(Cassandra::addresses).unwrap_or_default();
    let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    terminal::say(&format!("cassandra: {}", addresses.join(",")));
    terminal::say("ends with its input (Ctrl-D)");
    let mut rest = Vec::new();
    std::io::stdin().read_to_end(&mut rest)?;
    Ok(())
}

/// An error with its causes, in one line.
pub(crate) fn whole(error: &ServerError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
