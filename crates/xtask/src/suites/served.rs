//! The suites that need real servers: a table of test targets that `cargo test --workspace` leaves out, what each needs,
//! and the check that the table and the manifests agree.
//!
//! A row is run after everything else, when its servers are in the cache or can be fetched into it.

use std::collections::BTreeMap;

use anyhow::Result;
use cargo_metadata::{Metadata, TargetKind};
use hearth_servers::{Cache, Server};

use crate::servers::whole;
use crate::terminal;
use crate::workspace::Workspace;

/// A test target that runs on real servers, with `[[test]] test = false` in the manifest of its package.
#[derive(Debug)]
pub(super) struct Served {
    /// The package.
    pub(super) package: &'static str,
    /// Its test target.
    pub(super) target: &'static str,
    /// What it starts.
    servers: &'static [Server],
    /// CI has what it needs, so that skipping it there is a failure.
    pub(super) required: bool,
}

/// A suite that CI must run.
const fn row(package: &'static str, target: &'static str, servers: &'static [Server]) -> Served {
    Served {
        package,
        target,
        servers,
        required: true,
    }
}

/// All of them, in the order in which they run.
pub(super) const SERVED: &[Served] = &[
    row(
        "hearth-servers",
        "servers",
        &[
            Server::Nats,
            Server::Cassandra,
            Server::SeaweedFs,
            Server::Toxiproxy,
        ],
    ),
    row("hearth-backend-nats", "conformance", &[Server::Nats]),
    row("hearth-backend-nats", "conformance_r3", &[Server::Nats]),
    row(
        "hearth-backend-nats",
        "faults",
        &[Server::Nats, Server::Toxiproxy],
    ),
    row("hearth-backend-nats", "permissions", &[Server::Nats]),
    row("hearth-backend-cql", "conformance", &[Server::Cassandra]),
    row(
        "hearth-backend-cql",
        "faults",
        &[Server::Cassandra, Server::Toxiproxy],
    ),
    row("hearth-backend-cql", "opening", &[Server::Cassandra]),
    row("hearth-backend-cql", "roles", &[Server::Cassandra]),
    row(
        "hearth-backend-objects",
        "conformance",
        &[Server::SeaweedFs],
    ),
    row(
        "hearth-backend-objects",
        "breaking",
        &[Server::SeaweedFs, Server::Toxiproxy],
    ),
];

impl Served {
    /// `package/target`.
    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.package, self.target)
    }
}

/// What became of each server that some suite needs.
#[derive(Default)]
pub(super) struct Fetched {
    /// By name: nothing when it is there, or why it is not.
    outcomes: BTreeMap<&'static str, Option<String>>,
}

impl Fetched {
    /// Fetches what a suite needs and is not there yet. Answers why it cannot run, if it cannot; each server is tried once.
    pub(super) fn lacks(&mut self, suite: &Served) -> Option<String> {
        let missing = suite.servers.iter().filter_map(|server| {
            let outcome = self.outcomes.entry(server.name());
            outcome.or_insert_with(|| fetch(*server)).clone()
        });
        let missing: Vec<String> = missing.collect();
        (!missing.is_empty()).then(|| missing.join("; "))
    }
}

fn fetch(server: Server) -> Option<String> {
    let name = server.name();
    let fetched = Cache::of_user().and_then(|cache| {
        if cache.have(server).is_err() {
            terminal::say(&format!("fetching {name} {}", server.version()));
        }
        server.fetch(&cache)
    });
    let error = fetched.err()?;
    // The last line of what a program said is the one that says why.
    let said = whole(&error);
    let why = said.lines().rfind(|line| !line.trim().is_empty());
    let why = why.unwrap_or_default().trim();
    Some(format!("no {name}, which needs {}: {why}", server.needs()))
}

/// Where the table and the manifests disagree.
///
/// # Errors
/// cargo fails.
pub(crate) fn problems(workspace: &Workspace) -> Result<Vec<String>> {
    let listed: Vec<(&str, &str)> = SERVED.iter().map(|it| (it.package, it.target)).collect();
    Ok(disagreements(&listed, &left_out(&workspace.metadata()?)))
}

/// Packages and test targets that plain `cargo test` leaves out.
fn left_out(metadata: &Metadata) -> Vec<(String, String)> {
    let packages = metadata.workspace_packages().into_iter();
    packages
        .flat_map(|package| {
            let targets = package.targets.iter();
            targets
                .filter(|it| !it.test && it.kind.contains(&TargetKind::Test))
                .map(|it| (package.name.to_string(), it.name.clone()))
        })
        .collect()
}

fn disagreements(listed: &[(&str, &str)], left_out: &[(String, String)]) -> Vec<String> {
    let mut problems = Vec::new();
    for (package, target) in left_out {
        if !listed.contains(&(package, target)) {
            problems.push(format!(
                "{package}: the test {target} has `test = false` and no row in the table of suites, so nothing runs it"
            ));
        }
    }
    for (package, target) in listed {
        let known = left_out
            .iter()
            .any(|it| it.0 == *package && it.1 == *target);
        if !known {
            problems.push(format!(
                "the table of suites has a row for {package}/{target}, which is no test with `test = false`"
            ));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    //! What the table must agree with.

    use super::*;

    #[test]
    fn a_target_without_a_row_and_a_row_without_a_target_are_both_named() {
        let out = |target: &str| ("a".to_owned(), target.to_owned());
        assert!(disagreements(&[("a", "b")], &[out("b")]).is_empty());
        let problems = disagreements(&[("a", "b")], &[out("c")]);
        assert_eq!(problems.len(), 2);
        assert!(problems[0].contains("the test c"), "{problems:?}");
        assert!(problems[1].contains("a/b"), "{problems:?}");
    }

    #[test]
    fn every_suite_starts_something_once() {
        for suite in SERVED {
            assert!(!suite.servers.is_empty(), "{}", suite.name());
            let again = SERVED.iter().filter(|it| it.name() == suite.name());
            assert_eq!(again.count(), 1, "{}", suite.name());
        }
    }

    #[test]
    fn a_server_that_cannot_be_had_is_named_with_the_reason_and_tried_once() {
        let mut fetched = Fetched::default();
        let why = "no nats, which needs python3 with pip: no network".to_owned();
        fetched.outcomes.insert("nats", Some(why.clone()));
        fetched.outcomes.insert("toxiproxy", None);
        let suite = row("a", "b", &[Server::Nats, Server::Toxiproxy]);
        assert_eq!(fetched.lacks(&suite), Some(why));
        let suite = row("a", "b", &[Server::Toxiproxy]);
        assert_eq!(fetched.lacks(&suite), None);
    }
}
