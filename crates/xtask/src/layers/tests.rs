//! The rule on made-up graphs: edges that pass, and each way to break it.

use super::*;

fn of(edges: &[(&str, &str)]) -> Graph {
    let mut graph = Graph::default();
    for (from, to) in edges {
        graph.crates.insert((*from).to_owned());
        graph.crates.insert((*to).to_owned());
        graph.edges.insert(Edge {
            from: (*from).to_owned(),
            to: (*to).to_owned(),
        });
    }
    graph
}

#[test]
fn edges_of_the_table_pass() {
    let graph = of(&[
        ("crates/ports", "crates/kernel"),
        ("crates/vault", "crates/engine"),
        ("crates/backend-sqlite", "crates/ports"),
        ("services/accounts", "crates/vault"),
        ("services/accounts", "services/accounts/domain"),
        ("services/accounts/domain", "crates/kernel"),
        ("crates/hearth", "services/accounts"),
        ("tests/e2e", "crates/testkit"),
    ]);
    assert_eq!(violations(&graph), Vec::<String>::new());
}

#[test]
fn every_other_edge_is_named() {
    let forbidden = [
        ("crates/kernel", "crates/ports"),
        ("crates/engine", "crates/vault"),
        ("crates/readings", "crates/ports"),
        ("services/accounts", "services/ingest"),
        ("services/accounts", "services/ingest/domain"),
        ("services/accounts", "crates/backend-sqlite"),
        ("services/accounts/domain", "crates/ports"),
        ("crates/host", "services/accounts"),
    ];
    for (from, to) in forbidden {
        let found = violations(&of(&[(from, to)]));
        assert_eq!(found, vec![format!("{from} must not depend on {to}")]);
    }
}

#[test]
fn a_crate_without_a_row_is_named() {
    let found = violations(&of(&[("crates/surprise", "crates/kernel")]));
    assert_eq!(
        found,
        vec!["crates/surprise has no row in the table of layers"]
    );
}

#[test]
fn a_backend_that_reaches_a_service_is_shown_the_way() {
    let graph = of(&[
        ("crates/backend-memory", "crates/ports"),
        ("crates/ports", "services/ingest"),
    ]);
    let found = violations(&graph);
    let way = "crates/backend-memory -> crates/ports -> services/ingest";
    assert!(found.iter().any(|it| it.contains(way)), "{found:?}");
}

#[test]
fn domain_tests_use_proptest_and_the_kernel_only() {
    let mut graph = Graph::default();
    for to in ["proptest", "hearth-kernel", "tokio"] {
        let from = "services/ingest/domain".to_owned();
        graph.domain_tests.insert(Edge {
            from,
            to: to.to_owned(),
        });
    }
    let found = violations(&graph);
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("tokio"));
}

#[test]
fn a_second_crypto_provider_is_named() {
    let packages = ["ring", "aws-lc-sys"].map(str::to_owned).into();
    let graph = Graph {
        packages,
        ..Graph::default()
    };
    assert_eq!(violations(&graph).len(), 1);
}

#[test]
fn impure_packages_are_found_by_name_and_prefix() {
    let tree = "hearth-kernel v0.1.0 (/x)\nuuid v1.0.0\nserde_core v1.0.0\nrand v0.9.0 (*)\n";
    let found = impurities("crates/kernel", tree);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(impurities("crates/kernel", "thiserror v2.0.0\nsyn v2.0.0").is_empty());
}

#[test]
fn a_star_does_not_cross_folders() {
    assert!(matches("tests/*", "tests/e2e"));
    assert!(!matches("services/*", "services/ingest/domain"));
    assert!(!matches("crates/backend-*", "crates/backend-"));
}
