//! Failures: of opening, and of statements in the classes of the ports.
//!
//! What a write's failure means is decided here alone. Only what is refused before a replica hears of it counts as
//! not written: a broken connection, a time-out, and an overload (which a coordinator may report after it has sent
//! some) leave the outcome unknown.

use std::error::Error;
use std::sync::Arc;

use hearth_ports::StoreError;
use scylla::errors::{DbError, ExecutionError, PrepareError, RequestAttemptError};

type Cause = Arc<dyn Error + Send + Sync>;

/// Why a store was not opened.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CqlError {
    /// An option that cannot be.
    #[error("{0}")]
    Option(&'static str),
    /// The connection would leave this machine unencrypted.
    #[error(
        "a contact point is not on this machine and the connection would not be encrypted: allow it by name where \
         something below protects it"
    )]
    Plaintext,
    /// Nobody answers, or not to this role.
    #[error("the store cannot be reached")]
    Unreachable(#[source] Cause),
    /// A node acks before it syncs.
    #[error(
        "node {node} has commitlog_sync = {value}: acked writes would be lost in a power cut; set `commitlog_sync: \
         group` (or batch) on every node"
    )]
    Unsynced {
        /// Its address.
        node: String,
        /// What it says.
        value: String,
    },
    /// A node does not tell whether it syncs.
    #[error(
        "node {node} does not tell its commitlog_sync: let the role read it, or say by name that the log is known to \
         sync"
    )]
    SyncUnknown {
        /// Its address.
        node: String,
    },
    /// The store is of a release that is too old.
    #[error("release {0} is too old: Apache Cassandra 4.1 or newer, or ScyllaDB")]
    Release(String),
    /// The schema lacks what this program needs.
    #[error(
        "the schema is at version {found}, version {needed} is needed: run `hearth ctl schema apply`"
    )]
    SchemaOlder {
        /// What is there; 0 for nothing.
        found: i32,
        /// What is needed.
        needed: i32,
    },
    /// The nodes do not agree on the schema.
    #[error("the nodes do not agree on the schema")]
    Disagreement(#[source] Cause),
    /// A statement failed while opening.
    #[error("a statement failed while opening the store")]
    Statement(#[source] Cause),
}

impl CqlError {
    pub(crate) fn statement(cause: impl Error + Send + Sync + 'static) -> Self {
        Self::Statement(Arc::new(cause))
    }
}

/// How far a failure says that something was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// It never works.
    Never,
    /// No replica heard of it.
    NotSent,
    /// It may have happened.
    Ambiguous,
}

fn class_of_attempt(error: &RequestAttemptError) -> Class {
    use RequestAttemptError as Attempt;
    match error {
        Attempt::SerializationError(_) | Attempt::CqlRequestSerialization(_) => Class::Never,
        Attempt::UnableToAllocStreamId => Class::NotSent,
        Attempt::DbError(error, _) => match error {
            DbError::SyntaxError
            | DbError::Invalid
            | DbError::AlreadyExists { .. }
            | DbError::FunctionFailure { .. }
            | DbError::AuthenticationError
            | DbError::Unauthorized
            | DbError::ConfigError => Class::Never,
            DbError::Unavailable { .. } | DbError::IsBootstrapping => Class::NotSent,
            _ => Class::Ambiguous,
        },
        _ => Class::Ambiguous,
    }
}

fn class(error: &ExecutionError) -> Class {
    match error {
        ExecutionError::BadQuery(_) => Class::Never,
        ExecutionError::EmptyPlan
        | ExecutionError::ConnectionPoolError(_)
        | ExecutionError::PrepareError(PrepareError::ConnectionPoolError(_)) => Class::NotSent,
        ExecutionError::LastAttemptError(attempt) => class_of_attempt(attempt),
        _ => Class::Ambiguous,
    }
}

/// A write that failed.
pub(crate) fn write_failed(error: ExecutionError) -> StoreError {
    match class(&error) {
        Class::Never => StoreError::Terminal(Arc::new(error)),
        Class::NotSent => StoreError::Retryable(Arc::new(error)),
        Class::Ambiguous => StoreError::Unknown(Arc::new(error)),
    }
}

/// A read that failed: it may be asked again, unless the store refuses it for good.
pub(crate) fn read_failed(error: ExecutionError) -> StoreError {
    match class(&error) {
        Class::Never => StoreError::Terminal(Arc::new(error)),
        Class::NotSent | Class::Ambiguous => StoreError::Retryable(Arc::new(error)),
    }
}

/// A statement that could not be prepared, for want of a right or of an answer.
pub(crate) fn not_prepared(error: CqlError) -> StoreError {
    let never = match &error {
        CqlError::Option(_) => true,
        CqlError::Statement(cause) => match cause.downcast_ref::<PrepareError>() {
            Some(PrepareError::AllAttemptsFailed { first_attempt, .. }) => {
                class_of_attempt(first_attempt) == Class::Never
            }
            _ => false,
        },
        _ => false,
    };
    if never {
        StoreError::Terminal(Arc::new(error))
    } else {
        StoreError::Retryable(Arc::new(error))
    }
}

/// A row that is not what the schema says.
pub(crate) fn malformed(error: impl Error + Send + Sync + 'static) -> StoreError {
    StoreError::Terminal(Arc::new(error))
}

/// Of a call of several statements: some may have been written although this one was not.
pub(crate) fn partly(error: StoreError) -> StoreError {
    match error {
        StoreError::Retryable(cause) => StoreError::Unknown(cause),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use scylla::errors::WriteType;
    use scylla::statement::Consistency;

    use super::*;

    fn failed(error: DbError) -> ExecutionError {
        ExecutionError::LastAttemptError(RequestAttemptError::DbError(error, String::new()))
    }

    #[test]
    fn a_time_out_of_a_write_is_unknown_and_of_a_read_retryable() {
        let timeout = || {
            failed(DbError::WriteTimeout {
                consistency: Consistency::LocalQuorum,
                received: 1,
                required: 2,
                write_type: WriteType::Simple,
            })
        };
        assert!(matches!(write_failed(timeout()), StoreError::Unknown(_)));
        assert!(matches!(read_failed(timeout()), StoreError::Retryable(_)));
        let late = ExecutionError::RequestTimeout(std::time::Duration::from_secs(1));
        assert!(matches!(write_failed(late), StoreError::Unknown(_)));
    }

    #[test]
    fn too_few_replicas_is_retryable_and_an_invalid_statement_is_terminal() {
        let unavailable = failed(DbError::Unavailable {
            consistency: Consistency::LocalQuorum,
            required: 2,
            alive: 1,
        });
        assert!(matches!(
            write_failed(unavailable),
            StoreError::Retryable(_)
        ));
        for never in [
            DbError::Invalid,
            DbError::Unauthorized,
            DbError::SyntaxError,
        ] {
            assert!(matches!(
                write_failed(failed(never)),
                StoreError::Terminal(_)
            ));
        }
        // A coordinator may find that it has too many hints after it has sent to some replicas.
        assert!(matches!(
            write_failed(failed(DbError::Overloaded)),
            StoreError::Unknown(_)
        ));
    }

    #[test]
    fn of_several_statements_none_says_that_nothing_was_written() {
        let not_sent = write_failed(ExecutionError::EmptyPlan);
        assert!(not_sent.nothing_written());
        assert!(!partly(not_sent).nothing_written());
    }
}
