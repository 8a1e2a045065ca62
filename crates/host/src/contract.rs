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

#[cfg(test)]
mod tests {
    use hearth_kernel::Service;
    use hearth_rpc::{Authorisation, Idempotency, MethodRule};

    use super::*;
    use crate::module::{Context, StartError, Started};

    const REGISTER: &str = "/hearth.accounts.v1.AccountsService/Register";

    const fn module(rules: &'static [MethodRule]) -> Module {
        Module {
            service: Service::Accounts,
            grpc: &["hearth.accounts.v1.AccountsService"],
            rules,
            keys: &[],
            streams: &[],
            stores: &[],
            options: crate::module::no_options,
            start: |_: Context| Box::pin(async { Ok(Started::default()) }),
        }
    }

    #[test]
    fn a_method_without_a_row_and_a_wrong_row_are_found() {
        static NONE: Module = module(&[]);
        let found = mismatches(&[&NONE]).expect("comparable");
        assert!(
            found.contains(&Mismatch::MethodWithoutRow(REGISTER.to_owned())),
            "{found:?}"
        );

        static OPEN: Module = module(&[MethodRule::new(
            REGISTER,
            Authorisation::Hub,
            Idempotency::RequestId,
        )]);
        let found = mismatches(&[&OPEN]).expect("comparable");
        assert!(
            found.contains(&Mismatch::OtherAuthorisation(REGISTER)),
            "{found:?}"
        );
        assert!(
            mismatches(&[&OPEN, &OPEN]).is_err(),
            "two rows for one method"
        );
    }

    #[test]
    fn a_bad_option_of_a_module_is_64() {
        let bad = StartError::Options("unknown field `x`".to_owned());
        let exit = bad.exit(Service::Ingest);
        assert_eq!(exit.number(), 64);
        assert_eq!(
            exit.to_string(),
            "hearth: [ingest] in the options: unknown field `x`"
        );
        assert_eq!(
            StartError::Other("x".to_owned())
                .exit(Service::Ingest)
                .number(),
            1
        );
    }
}
