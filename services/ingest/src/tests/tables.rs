//! The module's tables against the contract and the vault's table.

use hearth_kernel::{Purpose, Service};
use hearth_rpc::RuleTable;

use crate::MODULE;

#[test]
fn every_method_has_the_row_that_the_contract_says() {
    let table = RuleTable::new(MODULE.rules.iter().copied()).unwrap();
    let found = table
        .check(hearth_api::FILE_DESCRIPTOR_SET, MODULE.grpc)
        .unwrap();
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn the_keys_are_those_of_the_vaults_table() {
    let same = |a: Purpose, b: Purpose| a.number() >> 8 == b.number() >> 8;
    let rows = hearth_vault::table::rows();
    let rows: Vec<_> = rows
        .iter()
        .filter(|row| row.service == Service::Ingest)
        .collect();
    for row in &rows {
        let own = MODULE.keys.iter().find(|it| same(it.purpose, row.purpose));
        let own = own.unwrap_or_else(|| panic!("{:?} is not listed", row.purpose));
        assert_eq!(
            (own.seals, own.opens),
            (row.seal, row.open),
            "{:?}",
            row.purpose
        );
    }
    for own in MODULE.keys {
        assert!(
            rows.iter().any(|row| same(own.purpose, row.purpose)),
            "{:?}",
            own.purpose
        );
    }
}
