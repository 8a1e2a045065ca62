//! The table against a descriptor set written by hand.

use prost::Message;

use super::*;
use crate::descriptor::wire;

const GET: &str = "/test.v1.EchoService/Get";
const WATCH: &str = "/test.v1.EchoService/Watch";

fn set() -> Vec<u8> {
    let method = |name: &str, stream, authorisation, idempotency| wire::Method {
        name: name.to_owned(),
        options: Some(wire::Options {
            rule: Some(wire::Rule {
                authorisation,
                idempotency,
            }),
        }),
        client_streaming: false,
        server_streaming: stream,
    };
    let set = wire::FileSet {
        file: vec![wire::File {
            package: "test.v1".to_owned(),
            service: vec![wire::Service {
                name: "EchoService".to_owned(),
                method: vec![method("Get", false, 3, 1), method("Watch", true, 5, 1)],
            }],
        }],
    };
    set.encode_to_vec()
}

fn check(rows: &[MethodRule]) -> Vec<Mismatch> {
    let table = RuleTable::new(rows.iter().copied()).expect("a table");
    table
        .check(&set(), &["test.v1.EchoService"])
        .expect("a descriptor set")
}

const ROWS: [MethodRule; 2] = [
    MethodRule::new(GET, Authorisation::Account, Idempotency::Read),
    MethodRule::new(
        WATCH,
        Authorisation::HomeMember(Role::Guest),
        Idempotency::Read,
    )
    .streaming(),
];

#[test]
fn a_whole_table_has_no_mismatch() {
    assert_eq!(check(&ROWS), []);
}

#[test]
fn a_missing_and_a_superfluous_row_are_found() {
    assert_eq!(
        check(&ROWS[..1]),
        [Mismatch::MethodWithoutRow(WATCH.to_owned())]
    );
    let other = MethodRule::new(
        "/test.v1.EchoService/Gone",
        Authorisation::Public,
        Idempotency::Read,
    );
    assert_eq!(
        check(&[ROWS[0], ROWS[1], other]),
        [Mismatch::RowWithoutMethod(other.path)]
    );
}

#[test]
fn a_row_that_says_something_else_is_found() {
    let open = MethodRule {
        authorisation: Authorisation::Public,
        ..ROWS[0]
    };
    assert_eq!(check(&[open, ROWS[1]]), [Mismatch::OtherAuthorisation(GET)]);
    let other = MethodRule {
        idempotency: Idempotency::Natural,
        ..ROWS[0].streaming()
    };
    let both = [Mismatch::OtherIdempotency(GET), Mismatch::StreamOrNot(GET)];
    assert_eq!(check(&[other, ROWS[1]]), both);
}

#[test]
fn rows_are_unique_and_well_formed() {
    assert_eq!(
        RuleTable::new([ROWS[0], ROWS[0]]).err(),
        Some(RuleError::Twice(GET))
    );
    for path in [
        "",
        "/",
        "Get",
        "/EchoService",
        "/test.v1.E/",
        "/test.v1.E/a/b",
        "/E/Get",
    ] {
        let rule = MethodRule::new(path, Authorisation::Public, Idempotency::Read);
        assert_eq!(
            RuleTable::new([rule]).err(),
            Some(RuleError::NotAPath(path))
        );
    }
}
