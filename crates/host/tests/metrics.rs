//! `docs/metrics.md` against the sources: a metric without a row fails, and so does a row without a metric.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Every Rust source below a folder that is not a test.
fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str());
        match name {
            Some("tests" | "tests.rs" | "target") => {}
            _ if path.is_dir() => sources(&path, into),
            Some(name) if name.ends_with(".rs") => into.push(path),
            _ => {}
        }
    }
}

/// The names of metrics in a source, without those of its tests: literals of three words or more.
fn names(source: &str) -> impl Iterator<Item = &str> {
    let code = source.split("#[cfg(test)]\nmod tests {").next();
    let literals = code.unwrap_or_default().split('"').skip(1);
    literals.filter(|literal| {
        let word = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '_';
        literal.starts_with("hearth_")
            && literal.matches('_').count() > 1
            && literal.chars().all(word)
    })
}

#[test]
fn every_metric_has_a_row_and_every_row_a_metric() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = Vec::new();
    sources(&root.join("crates"), &mut files);
    sources(&root.join("services"), &mut files);
    let mut found: BTreeMap<String, PathBuf> = BTreeMap::new();
    for file in files {
        let source = std::fs::read_to_string(&file).expect("a source");
        found.extend(names(&source).map(|name| (name.to_owned(), file.clone())));
    }
    assert!(found.len() > 20, "the search finds what is there");
    let table = std::fs::read_to_string(root.join("docs/metrics.md")).expect("the table");
    let rows: BTreeMap<&str, Vec<&str>> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|line| line.split_once("` | "))
        .map(|(name, rest)| (name, rest.split('|').map(str::trim).collect()))
        .collect();
    for (name, file) in &found {
        let row = rows.get(&name[..]);
        assert!(row.is_some(), "{name} of {} has no row", file.display());
    }
    for (name, row) in &rows {
        assert!(found.contains_key(*name), "{name} is no metric any more");
        let counts = row.first() == Some(&"counter");
        assert_eq!(
            counts,
            name.ends_with("_total"),
            "{name}: counters end in _total"
        );
        if row.first() == Some(&"histogram") {
            assert!(
                name.ends_with("_seconds"),
                "{name}: histograms are of durations"
            );
        }
        for personal in ["account", "home", "hub", "device", "person"] {
            let labels = row.get(1).copied().unwrap_or_default();
            assert!(
                !labels.contains(personal),
                "{name} has a label of a person's"
            );
        }
    }
}
