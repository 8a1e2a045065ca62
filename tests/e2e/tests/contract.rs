//! The tables of the modules against the contract: every RPC has a row, and every row says what the contract says.

#![expect(
    clippy::unwrap_used,
    reason = "test code: a failure here is the test's"
)]

use std::collections::BTreeSet;
use std::path::Path;

use hearth::MODULES;
use hearth_e2e::coverage::TESTED;
use hearth_e2e::dynamic::{methods, path};
use hearth_host::contract;
use hearth_kernel::{AccountId, HomeId, Owner, Purpose, RetentionClass};
use hearth_vault::{Use, table};

#[test]
fn every_rpc_has_a_row_that_says_what_the_contract_says() {
    let modules = MODULES.to_vec();
    contract::rules(&modules).unwrap();
    assert_eq!(contract::mismatches(&modules).unwrap(), vec![]);
    let described: BTreeSet<String> = methods().iter().map(path).collect();
    let served: BTreeSet<String> = modules
        .iter()
        .flat_map(|m| m.rules)
        .map(|rule| rule.path.to_owned())
        .collect();
    assert_eq!(
        described, served,
        "a service of the contract that no module serves"
    );
}

#[test]
fn every_rpc_is_driven_by_a_test_that_exists() {
    let described: BTreeSet<String> = methods().iter().map(path).collect();
    let listed: BTreeSet<String> = TESTED.iter().map(|(path, _)| (*path).to_owned()).collect();
    assert_eq!(described, listed);
    let mut sources = String::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for folder in ["tests", "services", "crates"] {
        read(&root.join(folder), &mut sources);
    }
    for (path, test) in TESTED {
        assert!(
            sources.contains(&format!("fn {test}(")),
            "{path}: no test {test}"
        );
    }
}

fn read(folder: &Path, into: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            read(&path, into);
        } else if path.extension().is_some_and(|it| it == "rs") {
            into.push_str(&std::fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn what_a_module_seals_and_opens_is_what_the_vault_lets_it() {
    let account = Owner::Account(AccountId::from_bytes([1; 16]));
    let home = Owner::Home(HomeId::from_bytes([1; 16]));
    for module in MODULES {
        let owners = [account, home, Owner::Service(module.service)];
        for owner in owners {
            for purpose in table::purposes_of(owner) {
                // A class stands for all classes.
                let family = |purpose: Purpose| match purpose {
                    Purpose::Telemetry(_) => Purpose::Telemetry(RetentionClass::Days7),
                    Purpose::Media(_) => Purpose::Media(RetentionClass::Days7),
                    other => other,
                };
                let row = module
                    .keys
                    .iter()
                    .find(|key| family(key.purpose) == family(purpose));
                let may = |what| table::permits(module.service, owner, purpose, what);
                let says = (
                    row.is_some_and(|row| row.seals),
                    row.is_some_and(|row| row.opens),
                );
                let own = matches!(owner, Owner::Service(_)) || row.is_some() || !may(Use::Open);
                assert!(
                    own,
                    "{} opens {purpose:?} and does not say so",
                    module.service
                );
                if !matches!(owner, Owner::Service(_)) {
                    assert_eq!(
                        says,
                        (may(Use::Seal), may(Use::Open)),
                        "{} {purpose:?}",
                        module.service
                    );
                }
            }
        }
    }
}
