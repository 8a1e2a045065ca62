//! The dependency rule: which workspace crate may use which, and what must be absent.
//!
//! Normal and build dependencies count. Development dependencies do not, except in domain crates, which may
//! test with proptest and the kernel only. An edge that no row allows fails, so a new crate or a new edge
//! needs a row here, and the change that adds it says why.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use cargo_metadata::{DependencyKind, Metadata};

use crate::workspace::Workspace;

/// Which crates each crate may use, all by folder. `*` is everything.
const TABLE: &[(&str, &[&str])] = &[
    ("crates/kernel", &[]),
    ("crates/ports", &["crates/kernel"]),
    ("crates/conformance", &["crates/kernel", "crates/ports"]),
    ("crates/engine", &["crates/kernel", "crates/ports"]),
    (
        "crates/vault",
        &["crates/kernel", "crates/ports", "crates/engine"],
    ),
    ("crates/readings", &["crates/kernel"]),
    ("crates/backend-*", &["crates/kernel", "crates/ports"]),
    ("crates/api", &[]),
    (
        "crates/rpc",
        &[
            "crates/kernel",
            "crates/ports",
            "crates/engine",
            "crates/api",
        ],
    ),
    (
        "crates/access",
        &[
            "crates/kernel",
            "crates/ports",
            "crates/engine",
            "crates/api",
            "crates/rpc",
        ],
    ),
    (
        "crates/host",
        &[
            "crates/access",
            "crates/kernel",
            "crates/ports",
            "crates/engine",
            "crates/vault",
            "crates/api",
            "crates/rpc",
        ],
    ),
    (
        "crates/client",
        // Of rpc: the retrying channel, and statuses read back as failures.
        &[
            "crates/kernel",
            "crates/readings",
            "crates/api",
            "crates/rpc",
        ],
    ),
    ("crates/hearth", &["*"]),
    ("crates/testkit", &["*"]),
    ("crates/servers", &[]),
    ("crates/xtask", &["crates/servers"]),
    ("tests/*", &["*"]),
    ("services/*/domain", &["crates/kernel"]),
];

/// What a service may use besides the domain crate inside its own folder.
const SERVICE: &[&str] = &[
    "crates/access",
    "crates/kernel",
    "crates/ports",
    "crates/engine",
    "crates/vault",
    "crates/readings",
    "crates/api",
    "crates/rpc",
    "crates/host",
];

/// What a domain crate may use in its tests.
const DOMAIN_TESTS: &[&str] = &["hearth-kernel", "proptest"];

/// What the kernel and the domain crates must not reach. A name ending in `*` is a prefix.
const IMPURE: &[&str] = &[
    "tokio*",
    "prost*",
    "tonic*",
    "serde*",
    "rusqlite",
    "async-*",
    "rand*",
    "getrandom",
    "tracing*",
];

/// What must not be anywhere in the tree: one TLS and crypto provider, ring.
const BANNED: &[&str] = &[
    "openssl",
    "openssl-sys",
    "openssl-src",
    "native-tls",
    "aws-lc-rs",
    "aws-lc-sys",
];

/// One dependency that a manifest names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Edge {
    from: String,
    to: String,
}

/// The workspace as the rule sees it. Crates are named by folder, everything else by package name.
#[derive(Default)]
struct Graph {
    crates: BTreeSet<String>,
    /// Normal and build dependencies between crates of the workspace.
    edges: BTreeSet<Edge>,
    /// Development dependencies of domain crates, by package name.
    domain_tests: BTreeSet<Edge>,
    /// The names of all packages that are built.
    packages: BTreeSet<String>,
}

/// Everything that breaks the rule.
///
/// # Errors
/// cargo fails.
pub(crate) fn problems(workspace: &Workspace) -> Result<Vec<String>> {
    let metadata = workspace.metadata()?;
    let (graph, names) = graph(workspace, &metadata)?;
    let mut problems = violations(&graph);
    for (folder, name) in &names {
        if is_pure(folder) {
            // cargo tree and not the metadata: only it resolves features for this crate alone.
            let tree = workspace.output(
                "cargo",
                &[
                    "tree",
                    "--locked",
                    "--package",
                    name,
                    "--edges",
                    "normal",
                    "--prefix",
                    "none",
                ],
            )?;
            problems.extend(impurities(folder, &tree));
        }
    }
    Ok(problems)
}

fn graph(workspace: &Workspace, metadata: &Metadata) -> Result<(Graph, BTreeMap<String, String>)> {
    let mut graph = Graph::default();
    let members = metadata.workspace_packages();
    let folder = |manifest: &cargo_metadata::camino::Utf8Path| {
        manifest
            .parent()
            .map(|it| workspace.relative(it.as_std_path()))
            .unwrap_or_default()
    };
    let folders: BTreeMap<String, String> = members
        .iter()
        .map(|it| (it.name.to_string(), folder(&it.manifest_path)))
        .collect();
    for member in &members {
        let from = folder(&member.manifest_path);
        graph.crates.insert(from.clone());
        for dependency in &member.dependencies {
            let inside = dependency
                .path
                .as_ref()
                .and_then(|_| folders.get(&dependency.name));
            if dependency.kind == DependencyKind::Development {
                if is_domain(&from) {
                    let to = dependency.name.clone();
                    graph.domain_tests.insert(Edge {
                        from: from.clone(),
                        to,
                    });
                }
            } else if let Some(to) = inside {
                graph.edges.insert(Edge {
                    from: from.clone(),
                    to: to.clone(),
                });
            }
        }
    }
    let resolve = metadata
        .resolve
        .as_ref()
        .context("cargo metadata has no resolved graph")?;
    let built: BTreeSet<_> = resolve.nodes.iter().map(|node| &node.id).collect();
    graph.packages = metadata
        .packages
        .iter()
        .filter(|package| built.contains(&package.id))
        .map(|package| package.name.to_string())
        .collect();
    let names = folders
        .into_iter()
        .map(|(name, folder)| (folder, name))
        .collect();
    Ok((graph, names))
}

fn violations(graph: &Graph) -> Vec<String> {
    let mut problems = Vec::new();
    for name in graph.crates.iter().filter(|name| allowed(name).is_none()) {
        problems.push(format!("{name} has no row in the table of layers"));
    }
    for Edge { from, to } in &graph.edges {
        if let Some(list) = allowed(from)
            && !list.iter().any(|pattern| matches(pattern, to))
        {
            problems.push(format!("{from} must not depend on {to}"));
        }
    }
    for Edge { from, to } in &graph.domain_tests {
        if !DOMAIN_TESTS.contains(&to.as_str()) {
            problems.push(format!(
                "{from} must not test with {to}: proptest and the kernel only"
            ));
        }
    }
    for backend in graph
        .crates
        .iter()
        .filter(|name| matches("crates/backend-*", name))
    {
        if let Some(path) = path_to_service(graph, backend) {
            problems.push(format!(
                "a backend must not reach a service: {}",
                path.join(" -> ")
            ));
        }
    }
    for name in graph
        .packages
        .iter()
        .filter(|name| BANNED.contains(&name.as_str()))
    {
        problems.push(format!(
            "{name} is in the tree, and ring is to be the only provider"
        ));
    }
    problems
}

/// The patterns that a crate's dependencies must match, or `None` for a crate without a row.
fn allowed(from: &str) -> Option<Vec<String>> {
    if let Some((_, list)) = TABLE.iter().find(|(pattern, _)| matches(pattern, from)) {
        return Some(list.iter().map(ToString::to_string).collect());
    }
    matches("services/*", from).then(|| {
        let own = format!("{from}/domain");
        SERVICE
            .iter()
            .map(ToString::to_string)
            .chain([own])
            .collect()
    })
}

/// Whether a folder matches a pattern, whose `*` stands for any text without a `/`, or alone for everything.
fn matches(pattern: &str, folder: &str) -> bool {
    if pattern == "*" {
        return true;
    }
    let Some((before, after)) = pattern.split_once('*') else {
        return pattern == folder;
    };
    folder
        .strip_prefix(before)
        .and_then(|rest| rest.strip_suffix(after))
        .is_some_and(|middle| !middle.is_empty() && !middle.contains('/'))
}

fn is_domain(folder: &str) -> bool {
    matches("services/*/domain", folder)
}

fn is_pure(folder: &str) -> bool {
    folder == "crates/kernel" || is_domain(folder)
}

fn path_to_service(graph: &Graph, from: &str) -> Option<Vec<String>> {
    let mut seen = BTreeSet::from([from.to_owned()]);
    let mut waiting = vec![vec![from.to_owned()]];
    while let Some(path) = waiting.pop() {
        let last = path.last()?.clone();
        if last.starts_with("services/") {
            return Some(path);
        }
        for edge in graph.edges.iter().filter(|edge| edge.from == last) {
            if seen.insert(edge.to.clone()) {
                waiting.push([path.clone(), vec![edge.to.clone()]].concat());
            }
        }
    }
    None
}

/// Reads `cargo tree --prefix none`: one package a line, its name first.
fn impurities(folder: &str, tree: &str) -> Vec<String> {
    let names: BTreeSet<&str> = tree
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    let impure = |name: &&str| {
        IMPURE
            .iter()
            .any(|pattern| match pattern.strip_suffix('*') {
                Some(prefix) => name.starts_with(prefix),
                None => name == pattern,
            })
    };
    names
        .into_iter()
        .filter(impure)
        .map(|name| format!("{folder} reaches {name}, and must stay pure"))
        .collect()
}

#[cfg(test)]
mod tests;
