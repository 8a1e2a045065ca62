//! What may enter the dependency tree: the policy of `deny.toml`, checked over `cargo metadata`.
//!
//! The part of cargo-deny that needs neither an installed tool nor a list from the network, so that it runs with every
//! check: banned crates, licences, sources and wildcards, over all targets, so a little more than cargo-deny looks at.
//! Licences are what manifests say; nobody here reads their texts.

mod licence;

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use cargo_metadata::semver::VersionReq;
use cargo_metadata::{Dependency, DependencyKind, Package};
use serde::Deserialize;

use crate::workspace::Workspace;

/// The policy. cargo-deny reads the same file.
const POLICY: &str = "deny.toml";

/// What of the policy is checked here; the rest is cargo-deny's own.
#[derive(Debug, Deserialize)]
struct Policy {
    bans: Bans,
    licenses: Licences,
    sources: Sources,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Bans {
    #[serde(default)]
    wildcards: Verdict,
    #[serde(default)]
    allow_wildcard_paths: bool,
    #[serde(default)]
    deny: Vec<Ban>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum Verdict {
    #[default]
    Allow,
    Warn,
    Deny,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ban {
    #[serde(rename = "crate")]
    name: String,
    reason: String,
}

#[derive(Debug, Deserialize)]
struct Licences {
    allow: BTreeSet<String>,
}

/// A source that is named nowhere here is refused, whatever the verdict on unknown ones is.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Sources {
    allow_registry: BTreeSet<String>,
    #[serde(default)]
    allow_git: BTreeSet<String>,
}

/// Everything in the tree that the policy does not allow.
///
/// # Errors
/// The policy cannot be read, or cargo fails.
pub(crate) fn problems(workspace: &Workspace) -> Result<Vec<String>> {
    let text = workspace.read(POLICY)?.context("deny.toml is missing")?;
    let policy: Policy = toml::from_str(&text).context("deny.toml cannot be read")?;
    let metadata = workspace.metadata()?;
    let resolve = metadata
        .resolve
        .as_ref()
        .context("cargo resolved nothing")?;
    let built: BTreeSet<_> = resolve.nodes.iter().map(|node| &node.id).collect();
    let mut problems: Vec<String> = metadata
        .packages
        .iter()
        .filter(|package| built.contains(&package.id))
        .flat_map(|package| of_package(&policy, package))
        .collect();
    problems.sort();
    Ok(problems)
}

fn of_package(policy: &Policy, package: &Package) -> Vec<String> {
    let (name, version) = (package.name.as_str(), &package.version);
    let of = |problem: String| format!("{name} {version}: {problem}");
    let mut problems = Vec::new();
    problems.extend(banned(&policy.bans, name).map(of));
    problems.extend(unlicensed(&policy.licenses, package.license.as_deref()).map(of));
    if let Some(source) = &package.source {
        problems.extend(foreign(&policy.sources, &source.repr).map(of));
    }
    // What others test with is never built here.
    let own = package.source.is_none();
    let built = package.dependencies.iter();
    let built = built.filter(|it| own || it.kind != DependencyKind::Development);
    problems.extend(built.filter_map(|it| wildcard(&policy.bans, it)).map(of));
    problems
}

fn banned(bans: &Bans, name: &str) -> Option<String> {
    let ban = bans.deny.iter().find(|ban| ban.name == name)?;
    Some(format!("is banned: {}", ban.reason))
}

fn unlicensed(licences: &Licences, expression: Option<&str>) -> Option<String> {
    let Some(expression) = expression else {
        return Some("its manifest names no licence".to_owned());
    };
    match licence::satisfied(expression, &|one| licences.allow.contains(one)) {
        Some(true) => None,
        Some(false) => Some(format!("the licence is not allowed: {expression}")),
        None => Some(format!("the licence is no SPDX expression: {expression}")),
    }
}

/// What a package without a source is: a part of the workspace.
fn foreign(sources: &Sources, source: &str) -> Option<String> {
    let known = match source.split_once('+') {
        Some(("registry" | "sparse", registry)) => sources.allow_registry.contains(registry),
        Some(("git", repository)) => {
            let end = repository.find(['?', '#']).unwrap_or(repository.len());
            sources.allow_git.contains(&repository[..end])
        }
        _ => false,
    };
    (!known).then(|| format!("comes from {source}"))
}

/// Whether a requirement is met by any version: of a crate of this tree it may be, where the policy says so.
fn wild(bans: &Bans, required: &VersionReq, in_tree: bool) -> bool {
    let own = bans.allow_wildcard_paths && in_tree;
    bans.wildcards == Verdict::Deny && required.comparators.is_empty() && !own
}

fn wildcard(bans: &Bans, dependency: &Dependency) -> Option<String> {
    let in_tree = dependency.path.is_some();
    wild(bans, &dependency.req, in_tree)
        .then(|| format!("takes any version of {}", dependency.name))
}

#[cfg(test)]
mod tests {
    //! Each rule on what keeps it and what breaks it, and the policy of this tree.

    use super::*;

    fn policy() -> Policy {
        let here = Workspace::here().read(POLICY).unwrap().unwrap();
        toml::from_str(&here).unwrap()
    }

    #[test]
    fn a_banned_crate_is_named_with_the_reason() {
        let bans = policy().bans;
        let said = banned(&bans, "openssl-sys").unwrap();
        assert!(said.contains("ring"), "{said}");
        assert_eq!(banned(&bans, "openssl-probe"), None);
    }

    #[test]
    fn a_licence_is_allowed_by_name_and_must_be_there() {
        let licences = policy().licenses;
        assert_eq!(unlicensed(&licences, Some("MIT OR Apache-2.0")), None);
        assert_eq!(unlicensed(&licences, Some("MIT/GPL-3.0")), None);
        for bad in [
            Some("GPL-3.0-only"),
            Some("MIT AND GPL-3.0-only"),
            Some("MIT OR"),
            None,
        ] {
            assert!(unlicensed(&licences, bad).is_some(), "{bad:?}");
        }
    }

    #[test]
    fn only_the_registry_is_a_source() {
        let sources = policy().sources;
        let index = "registry+https://github.com/rust-lang/crates.io-index";
        assert_eq!(foreign(&sources, index), None);
        for bad in [
            "registry+https://example.org/index",
            "git+https://github.com/rust-lang/crates.io-index?rev=1#2",
            "https://github.com/rust-lang/crates.io-index",
        ] {
            assert!(foreign(&sources, bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn any_version_is_refused_but_of_the_tree_itself() {
        let bans = policy().bans;
        let (any, some) = (VersionReq::STAR, VersionReq::parse("^1.2").unwrap());
        assert!(wild(&bans, &any, false));
        assert!(!wild(&bans, &some, false));
        assert!(!wild(&bans, &any, true));
    }
}
