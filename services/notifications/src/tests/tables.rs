//! The module's tables say what the contract says.

use hearth_api::FILE_DESCRIPTOR_SET;
use hearth_rpc::RuleTable;

use crate::MODULE;

#[test]
fn every_method_has_its_row() {
    let table = RuleTable::new(MODULE.rules.iter().copied()).expect("a table");
    let differences = table
        .check(FILE_DESCRIPTOR_SET, MODULE.grpc)
        .expect("descriptors");
    assert_eq!(differences, []);
}
