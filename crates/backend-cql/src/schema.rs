//! The schema: additive, versioned, applied by one process at a time and checked by every other at its start.
//!
//! A version is a list of statements that may be run again. Its number stands in `schema_version` only after all of
//! them are in force on every node, so an interrupted run is continued by the next. Versions are only ever added; a
//! program works on its own version and on every newer one.

pub(crate) mod versions;

use std::time::Duration;

use scylla::errors::{DbError, ExecutionError, PrepareError, RequestAttemptError};
use scylla::statement::Consistency;
use scylla::statement::unprepared::Statement;
use tokio::time::timeout;

use crate::connection::Cql;
use crate::error::CqlError;
use crate::options::Replication;
use versions::{VERSIONS, Version};

/// The longest that one statement of a version takes: a table is made on every node.
const STATEMENT_WITHIN: Duration = Duration::from_secs(60);
/// Whose versions these are, so that a keyspace can hold others'.
const COMPONENT: &str = "hearth";

/// The version that this program needs.
pub const NEEDED: i32 = {
    let newest = &VERSIONS[VERSIONS.len() - 1];
    newest.number
};

/// What stands in the store; 0 when nothing does.
///
/// # Errors
/// When the store does not answer.
pub async fn found(cql: &Cql) -> Result<i32, CqlError> {
    let text = format!(
        "SELECT version FROM {}.schema_version WHERE component = ?",
        cql.inner.keyspace
    );
    let mut statement = Statement::new(text);
    statement.set_is_idempotent(true);
    let answer = match cql
        .inner
        .session
        .query_unpaged(statement, (COMPONENT,))
        .await
    {
        Ok(answer) => answer,
        Err(error) if is_missing(&error) => return Ok(0),
        Err(error) => return Err(CqlError::statement(error)),
    };
    let rows = answer.into_rows_result().map_err(CqlError::statement)?;
    let rows = rows.rows::<(i32,)>().map_err(CqlError::statement)?;
    let versions = rows
        .collect::<Result<Vec<_>, _>>()
        .map_err(CqlError::statement)?;
    Ok(versions
        .into_iter()
        .map(|(version,)| version)
        .max()
        .unwrap_or(0))
}

/// A table or keyspace that is not there is an invalid statement to both stores.
fn is_missing(error: &ExecutionError) -> bool {
    let attempt = match error {
        ExecutionError::LastAttemptError(attempt) => attempt,
        ExecutionError::PrepareError(PrepareError::AllAttemptsFailed { first_attempt, .. }) => {
            first_attempt
        }
        _ => return false,
    };
    matches!(attempt, RequestAttemptError::DbError(DbError::Invalid, _))
}

/// The statements that [`apply`] would run, without a change.
///
/// # Errors
/// When the store does not answer.
pub async fn plan(cql: &Cql, replication: &Replication) -> Result<Vec<String>, CqlError> {
    let before = found(cql).await?;
    let mut statements = Vec::new();
    if before == 0 {
        statements = preparation(cql, replication);
    }
    for version in pending(before) {
        statements.extend(version.statements(&cql.inner.keyspace, cql.inner.dialect));
    }
    Ok(statements)
}

/// Brings the schema to [`NEEDED`]; answers the version it came from. The keyspace is made when it is not there; one
/// that is there keeps its replication. Run it in **one** process at a time: two that make one table at once can give
/// it two ids.
///
/// # Errors
/// When a statement fails or the nodes do not come to agree: apply again, it goes on where it stopped.
pub async fn apply(cql: &Cql, replication: &Replication) -> Result<i32, CqlError> {
    apply_until(cql, replication, NEEDED).await
}

/// As [`apply`], but no further than a version: for tests of what an older program left.
///
/// # Errors
/// As [`apply`].
pub async fn apply_until(cql: &Cql, replication: &Replication, last: i32) -> Result<i32, CqlError> {
    let before = found(cql).await?;
    // Only then: a role that may extend the keyspace need not be allowed to make others.
    if before == 0 {
        for statement in preparation(cql, replication) {
            change(cql, statement).await?;
        }
    }
    for version in pending(before).filter(|version| version.number <= last) {
        for statement in version.statements(&cql.inner.keyspace, cql.inner.dialect) {
            change(cql, statement).await?;
        }
        note(cql, version).await?;
        tracing::info!(
            version = version.number,
            name = version.name,
            "schema version applied"
        );
    }
    Ok(before)
}

/// Refuses a schema that is older than needed.
///
/// # Errors
/// `SchemaOlder`, or when the store does not answer.
pub async fn check(cql: &Cql) -> Result<(), CqlError> {
    let found = found(cql).await?;
    if found < NEEDED {
        return Err(CqlError::SchemaOlder {
            found,
            needed: NEEDED,
        });
    }
    Ok(())
}

fn pending(found: i32) -> impl Iterator<Item = &'static Version> {
    VERSIONS
        .iter()
        .filter(move |version| version.number > found)
}

/// The keyspace and the table that counts versions.
fn preparation(cql: &Cql, replication: &Replication) -> Vec<String> {
    let keyspace = &cql.inner.keyspace;
    let copies: String = replication
        .per_datacenter
        .iter()
        .map(|(name, copies)| format!(", '{}': {copies}", name.replace('\'', "''")))
        .collect();
    vec![
        format!(
            "CREATE KEYSPACE IF NOT EXISTS {keyspace} WITH replication = \
             {{'class': 'NetworkTopologyStrategy'{copies}}} AND durable_writes = true"
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS {keyspace}.schema_version (component text, version int, name text, \
             PRIMARY KEY (component, version))"
        ),
    ]
}

/// One change, in force on every node when it answers.
async fn change(cql: &Cql, text: String) -> Result<(), CqlError> {
    let session = &cql.inner.session;
    let mut statement = Statement::new(text);
    statement.set_request_timeout(Some(STATEMENT_WITHIN));
    timeout(STATEMENT_WITHIN, session.query_unpaged(statement, ()))
        .await
        .map_err(CqlError::statement)?
        .map_err(CqlError::statement)?;
    match timeout(STATEMENT_WITHIN, session.await_schema_agreement()).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(CqlError::Disagreement(std::sync::Arc::new(error))),
        Err(elapsed) => Err(CqlError::Disagreement(std::sync::Arc::new(elapsed))),
    }
}

async fn note(cql: &Cql, version: &Version) -> Result<(), CqlError> {
    let text = format!(
        "INSERT INTO {}.schema_version (component, version, name) VALUES (?, ?, ?)",
        cql.inner.keyspace
    );
    let mut statement = Statement::new(text);
    statement.set_is_idempotent(true);
    statement.set_consistency(Consistency::LocalQuorum);
    cql.inner
        .session
        .query_unpaged(statement, (COMPONENT, version.number, version.name))
        .await
        .map_err(CqlError::statement)?;
    Ok(())
}
