//! The rows of modules against the contract: a process whose tables do not match does not start.

use hearth_rpc::RuleTable;
use hearth_rpc::rules::{Mismatch, RuleError};

use crate::module::Module;

/// The table of all methods of some modules.
///
/// # Errors
/// When two rows name one method.
pub fn rules(modules: &[&Module]) -> Result<RuleTable, RuleError> {
    RuleTable::new(
        modules
            .iter()
            .flat_map(|module| module.rules.iter().copied()),
    )
}

/// Everything in which the rows of some modules and the contract differ: for a test of every binary, and at start.
///
/// # Errors
/// When two rows name one method, or the contract cannot be read.
pub fn mismatches(modules: &[&Module]) -> Result<Vec<Mismatch>, ContractError> {
    let table = rules(modules)?;
    let services: Vec<_> = modules
        .iter()
        .flat_map(|module| module.grpc.iter().copied())
        .collect();
    let found = table.check(hearth_api::FILE_DESCRIPTOR_SET, &services);
    found.map_err(|_| ContractError::Unreadable)
}

/// Why the tables cannot be compared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContractError {
    /// The rows contradict each other.
    #[error("the table of methods contradicts itself")]
    Rules(#[from] RuleError),
    /// The descriptors are not descriptors.
    #[error("the descriptors of the contract are not readable")]
    Unreadable,
}
