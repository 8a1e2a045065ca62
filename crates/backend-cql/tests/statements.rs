//! No statement of this crate uses what the design forbids: the sources are searched for it.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

/// What costs a round of Paxos, cannot be repeated, or behaves differently on the two stores.
const FORBIDDEN: [&str; 12] = [
    "MATERIALIZED",
    "CREATE INDEX",
    "CREATE CUSTOM INDEX",
    "ALLOW FILTERING",
    " counter",
    "BatchType::Logged",
    "BatchType::Counter",
    "BEGIN BATCH",
    "IF EXISTS",
    "USING TIMEOUT",
    "DROP ",
    "SERIAL",
];

fn sources(folder: &Path, all: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, all);
        } else {
            let text = fs::read_to_string(&path).expect("a source");
            all.push((path.display().to_string(), text));
        }
    }
}

/// Only what is in quotes is a statement.
fn statements(text: &str) -> Vec<String> {
    let code: String = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n");
    let literals = code.split('"').skip(1).step_by(2);
    literals
        .filter(|it| {
            [
                "SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "ALTER", "WITH", "BEGIN",
            ]
            .iter()
            .any(|verb| it.contains(verb))
        })
        .map(str::to_owned)
        .collect()
}

#[test]
fn nothing_forbidden_is_in_any_statement() {
    let mut all = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut all);
    let mut seen = 0;
    for (path, text) in all {
        assert!(!text.contains("BatchType::Logged") && !text.contains("BatchType::Counter"));
        for statement in statements(&text) {
            seen += 1;
            for word in FORBIDDEN {
                assert!(!statement.contains(word), "{path}: {word:?} in {statement}");
            }
            // A condition on a table or keyspace that is made is none on rows.
            if statement.contains(" IF ") {
                assert!(
                    statement.starts_with("CREATE TABLE IF NOT EXISTS")
                        || statement.starts_with("CREATE KEYSPACE IF NOT EXISTS"),
                    "{path}: a condition in {statement}"
                );
            }
            if statement.contains("INSERT INTO") && !statement.contains("schema_version") {
                assert!(
                    statement.contains("USING TIMESTAMP ?"),
                    "{path}: {statement}"
                );
            }
            if statement.contains("DELETE FROM") {
                assert!(
                    statement.contains("USING TIMESTAMP ? WHERE"),
                    "{path}: {statement}"
                );
            }
        }
    }
    assert!(seen > 40, "only {seen} statements were found");
}
