//! The session with the store: who is asked, how many at once, how long, and what is tried again.
//!
//! Every statement of this crate is idempotent: it puts or deletes named cells at a timestamp that is bound as a
//! value, so that a second execution writes the same cells again. Reads are retried by the driver and asked of a
//! second node when the first one is slow. Writes are retried by the driver only where no replica heard of the first
//! try, and never raced, so that their failure tells the truth about what was written; callers repeat them.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures::stream::{self, StreamExt, TryStreamExt};
use hearth_ports::{Clock, StoreError};
use scylla::client::execution_profile::{ExecutionProfile, ExecutionProfileHandle};
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::deserialize::row::DeserializeRow;
use scylla::errors::{DbError, RequestAttemptError};
use scylla::policies::load_balancing::{
    DefaultPolicy, NodeIdentifier, SingleTargetLoadBalancingPolicy,
};
use scylla::policies::retry::{
    DefaultRetryPolicy, RequestInfo, RetryDecision, RetryPolicy, RetrySession,
};
use scylla::policies::speculative_execution::SimpleSpeculativeExecutionPolicy;
use scylla::response::PagingState;
use scylla::serialize::row::SerializeRow;
use scylla::statement::Consistency;
use scylla::statement::batch::{Batch, BatchType};
use scylla::statement::prepared::PreparedStatement;
use scylla::statement::unprepared::Statement;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::dialect::Dialect;
use crate::documents::CqlDocuments;
use crate::error::{CqlError, malformed, partly, read_failed, write_failed};
use crate::options::{CommitLog, Options};
use crate::schema;
use crate::series::CqlSeries;

/// A read that has not come by then is asked of another node too.
const SECOND_READ_AFTER: Duration = Duration::from_millis(200);
/// Statements of one call under way at once; the process's bound holds besides.
const FAN_OUT: usize = 32;
/// Bytes of values of one batch: well below where either store warns.
pub(crate) const BATCH_BYTES: usize = 60 << 10;

/// A store, connected and probed. Cheap to clone; all clones are one session.
#[derive(Clone)]
pub struct Cql {
    pub(crate) inner: Arc<Connection>,
}

impl fmt::Debug for Cql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cql")
            .field("keyspace", &self.inner.keyspace)
            .field("dialect", &self.inner.dialect)
            .finish_non_exhaustive()
    }
}

impl Cql {
    /// Connects, and looks at what answers. The clock dates what expires and orders this process's own writes of
    /// segments and chunks.
    ///
    /// # Errors
    /// When an option cannot be, nobody answers, a node's commit log does not sync, or the release is too old.
    pub async fn connect(options: Options, clock: Arc<dyn Clock>) -> Result<Self, CqlError> {
        options.checked()?;
        let reads = profile(&options, true);
        let writes = profile(&options, false);
        let mut builder = SessionBuilder::new()
            .known_nodes(&options.contact_points)
            .default_execution_profile_handle(writes.clone())
            .connection_timeout(options.deadline)
            .keyspaces_to_fetch([options.keyspace.clone()])
            .driver_config_reporting(false)
            .schema_agreement_timeout(Duration::from_secs(30))
            .auto_await_schema_agreement(true);
        if let Some((role, password)) = &options.login {
            builder = builder.user(role, password.as_str());
        }
        // The driver retries its contact points on its own: it gets as long as a few statements.
        let session = timeout(options.deadline.saturating_mul(4), builder.build())
            .await
            .map_err(|elapsed| CqlError::Unreachable(Arc::new(elapsed)))?
            .map_err(|error| CqlError::Unreachable(Arc::new(error)))?;
        let dialect = probe(&session).await?;
        ask_commit_logs(&session, dialect, &options).await?;
        Ok(Self {
            inner: Arc::new(Connection {
                session,
                reads,
                writes,
                dialect,
                keyspace: options.keyspace,
                space: options.space,
                deadline: options.deadline,
                in_flight: Semaphore::new(options.in_flight),
                ticks: AtomicI64::new(i64::MIN),
                clock,
            }),
        })
    }

    /// Which store answers.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.inner.dialect
    }

    /// The documents, as one service sees them: tables named after no service are its own.
    ///
    /// # Errors
    /// When the schema is older than needed, or the store does not answer. A role that may not use the service's table
    /// is refused at the first use: the store looks at rights when a statement runs.
    pub async fn documents(
        &self,
        service: hearth_kernel::Service,
    ) -> Result<CqlDocuments, CqlError> {
        schema::check(self).await?;
        CqlDocuments::open(Arc::clone(&self.inner), service).await
    }

    /// The series.
    ///
    /// # Errors
    /// As [`Cql::documents`].
    pub async fn series(&self) -> Result<CqlSeries, CqlError> {
        schema::check(self).await?;
        CqlSeries::open(Arc::clone(&self.inner)).await
    }
}

fn profile(options: &Options, reads: bool) -> ExecutionProfileHandle {
    let nodes = DefaultPolicy::builder()
        .prefer_datacenter(options.datacenter.clone())
        .permit_dc_failover(false)
        .token_aware(true)
        .build();
    let builder = ExecutionProfile::builder()
        .consistency(Consistency::LocalQuorum)
        .request_timeout(Some(options.deadline))
        .load_balancing_policy(nodes);
    let builder = if reads {
        builder
            .retry_policy(Arc::new(DefaultRetryPolicy::new()))
            .speculative_execution_policy(Some(Arc::new(SimpleSpeculativeExecutionPolicy {
                max_retry_count: 1,
                retry_interval: SECOND_READ_AFTER,
            })))
    } else {
        builder
            .retry_policy(Arc::new(IfUnheard))
            .speculative_execution_policy(None)
    };
    builder.build().into_handle()
}

/// Tries a write once more where no replica can have heard of it.
#[derive(Debug)]
struct IfUnheard;

impl RetryPolicy for IfUnheard {
    fn new_session(&self) -> Box<dyn RetrySession> {
        Box::new(IfUnheardOnce { left: 1 })
    }
}

struct IfUnheardOnce {
    left: u8,
}

impl RetrySession for IfUnheardOnce {
    fn decide_should_retry(&mut self, request: RequestInfo<'_>) -> RetryDecision {
        let unheard = matches!(
            request.error,
            RequestAttemptError::UnableToAllocStreamId
                | RequestAttemptError::DbError(
                    DbError::Unavailable { .. } | DbError::IsBootstrapping,
                    _
                )
        );
        if unheard && self.left > 0 {
            self.left -= 1;
            return RetryDecision::RetryNextTarget(None);
        }
        RetryDecision::DontRetry
    }

    fn reset(&mut self) {
        self.left = 1;
    }
}

async fn probe(session: &Session) -> Result<Dialect, CqlError> {
    let mut statement = Statement::new("SELECT release_version FROM system.local");
    statement.set_consistency(Consistency::One);
    let answer = session
        .query_unpaged(statement, ())
        .await
        .map_err(CqlError::statement)?;
    let rows = answer.into_rows_result().map_err(CqlError::statement)?;
    let (release,) = rows.first_row::<(String,)>().map_err(CqlError::statement)?;
    let state = session.get_cluster_state();
    let sharded = state
        .get_nodes_info()
        .iter()
        .any(|node| node.sharder().is_some());
    Dialect::of(sharded, &release).map_err(CqlError::Release)
}

/// Asks every node of the data centre how it syncs. A node that joins later is asked at the next start.
async fn ask_commit_logs(
    session: &Session,
    dialect: Dialect,
    options: &Options,
) -> Result<(), CqlError> {
    let state = session.get_cluster_state();
    for node in state.get_nodes_info() {
        if node
            .datacenter
            .as_deref()
            .is_some_and(|it| it != options.datacenter)
        {
            continue;
        }
        let mut statement = Statement::new(dialect.sync_query());
        statement.set_consistency(Consistency::One);
        statement.set_is_idempotent(true);
        let only = NodeIdentifier::Node(Arc::clone(node));
        statement.set_load_balancing_policy(Some(SingleTargetLoadBalancingPolicy::new(only, None)));
        let told = match session.query_unpaged(statement, ()).await {
            Ok(answer) => answer
                .into_rows_result()
                .ok()
                .and_then(|rows| rows.first_row::<(String,)>().ok())
                .map(|(value,)| value),
            Err(error) => {
                tracing::debug!(error = %error, "a node does not tell how it syncs");
                None
            }
        };
        let name = node.address.to_string();
        let verdict = match told {
            Some(value) if dialect.syncs(&value) => continue,
            Some(value) => CqlError::Unsynced { node: name, value },
            None if options.commit_log == CommitLog::SyncsByMyWord => continue,
            None => CqlError::SyncUnknown { node: name },
        };
        if options.commit_log == CommitLog::MayLoseAckedWrites {
            tracing::warn!(
                reason = %verdict,
                "the commit log does not sync, so ACKED WRITES MAY BE LOST: a development option lets it pass"
            );
            continue;
        }
        return Err(verdict);
    }
    Ok(())
}

/// The session and its bounds, shared by the stores on it.
pub(crate) struct Connection {
    pub(crate) session: Session,
    reads: ExecutionProfileHandle,
    writes: ExecutionProfileHandle,
    pub(crate) dialect: Dialect,
    pub(crate) keyspace: String,
    pub(crate) space: String,
    deadline: Duration,
    in_flight: Semaphore,
    /// The last timestamp that was given out.
    ticks: AtomicI64,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Connection {
    /// A timestamp for a write: microseconds, each greater than the one before of this process.
    pub(crate) fn tick(&self) -> i64 {
        let now = self.clock.now().micros();
        let next = |last: i64| now.max(last.saturating_add(1));
        match self
            .ticks
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |last| Some(next(last)))
        {
            Ok(last) | Err(last) => next(last),
        }
    }

    /// Prepares a statement that reads; `{ks}` in its text is the keyspace.
    pub(crate) async fn reading(
        &self,
        text: &str,
        page: i32,
    ) -> Result<PreparedStatement, CqlError> {
        let mut statement = self.prepared(text, &self.reads).await?;
        statement.set_page_size(page);
        Ok(statement)
    }

    /// Prepares a statement that writes; `{ks}` in its text is the keyspace.
    pub(crate) async fn writing(&self, text: &str) -> Result<PreparedStatement, CqlError> {
        self.prepared(text, &self.writes).await
    }

    async fn prepared(
        &self,
        text: &str,
        profile: &ExecutionProfileHandle,
    ) -> Result<PreparedStatement, CqlError> {
        let text = text.replace("{ks}", &self.keyspace);
        let prepared = timeout(self.deadline, self.session.prepare(text))
            .await
            .map_err(|elapsed| CqlError::Unreachable(Arc::new(elapsed)))?;
        let mut statement = prepared.map_err(CqlError::statement)?;
        statement.set_is_idempotent(true);
        statement.set_execution_profile_handle(Some(profile.clone()));
        Ok(statement)
    }

    /// A turn, unless the process is so busy that none comes in time: nothing was sent then.
    async fn turn(&self) -> Result<SemaphorePermit<'_>, StoreError> {
        match timeout(self.deadline, self.in_flight.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(closed)) => Err(StoreError::Retryable(Arc::new(closed))),
            Err(elapsed) => Err(StoreError::Retryable(Arc::new(elapsed))),
        }
    }

    /// One write.
    pub(crate) async fn write(
        &self,
        statement: &PreparedStatement,
        values: impl SerializeRow,
    ) -> Result<(), StoreError> {
        let _turn = self.turn().await?;
        let sent = self.session.execute_unpaged(statement, values);
        match timeout(self.deadline, sent).await {
            Ok(answer) => answer.map(drop).map_err(write_failed),
            Err(elapsed) => Err(StoreError::Unknown(Arc::new(elapsed))),
        }
    }

    /// Writes of one statement into **one partition**, together. One row goes without a batch.
    pub(crate) async fn write_together<V: SerializeRow>(
        &self,
        statement: &PreparedStatement,
        rows: Vec<V>,
    ) -> Result<(), StoreError> {
        if let [row] = rows.as_slice() {
            return self.write(statement, row).await;
        }
        if rows.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::new(BatchType::Unlogged);
        for _ in &rows {
            batch.append_statement(statement.clone());
        }
        batch.set_is_idempotent(true);
        batch.set_execution_profile_handle(Some(self.writes.clone()));
        let _turn = self.turn().await?;
        match timeout(self.deadline, self.session.batch(&batch, rows)).await {
            Ok(answer) => answer.map(drop).map_err(write_failed),
            Err(elapsed) => Err(StoreError::Unknown(Arc::new(elapsed))),
        }
    }

    /// One page, and where the next one begins.
    pub(crate) async fn page<R>(
        &self,
        statement: &PreparedStatement,
        values: impl SerializeRow,
        from: PagingState,
    ) -> Result<(Vec<R>, Option<PagingState>), StoreError>
    where
        R: for<'frame, 'metadata> DeserializeRow<'frame, 'metadata>,
    {
        let _turn = self.turn().await?;
        let asked = self.session.execute_single_page(statement, values, from);
        let (answer, next) = timeout(self.deadline, asked)
            .await
            .map_err(|elapsed| StoreError::Retryable(Arc::new(elapsed)))?
            .map_err(read_failed)?;
        let rows = answer.into_rows_result().map_err(malformed)?;
        let rows = rows.rows::<R>().map_err(malformed)?;
        let rows = rows.collect::<Result<Vec<R>, _>>().map_err(malformed)?;
        let next = match next.into_paging_control_flow() {
            ControlFlow::Continue(next) => Some(next),
            ControlFlow::Break(()) => None,
        };
        Ok((rows, next))
    }

    /// Every row, page by page.
    pub(crate) async fn rows<R>(
        &self,
        statement: &PreparedStatement,
        values: impl SerializeRow,
    ) -> Result<Vec<R>, StoreError>
    where
        R: for<'frame, 'metadata> DeserializeRow<'frame, 'metadata>,
    {
        let mut all = Vec::new();
        let mut from = PagingState::start();
        loop {
            let (rows, next) = self.page(statement, &values, from).await?;
            all.extend(rows);
            match next {
                Some(next) => from = next,
                None => return Ok(all),
            }
        }
    }
}

/// Does several writes at once. When one fails, others may have happened.
pub(crate) async fn all_written<F>(writes: Vec<F>) -> Result<(), StoreError>
where
    F: Future<Output = Result<(), StoreError>>,
{
    stream::iter(writes)
        .buffer_unordered(FAN_OUT)
        .try_collect::<()>()
        .await
        .map_err(partly)
}

/// Does several reads at once; the answers come in the order of the questions.
pub(crate) async fn all_read<T, F>(reads: Vec<F>) -> Result<Vec<T>, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    stream::iter(reads).buffered(FAN_OUT).try_collect().await
}

/// Cuts rows into batches of at most [`BATCH_BYTES`], each of at least one row.
pub(crate) fn batches<T>(
    rows: impl IntoIterator<Item = T>,
    bytes: impl Fn(&T) -> usize,
) -> Vec<Vec<T>> {
    /// What a row costs beside its values: the statement's id and the lengths.
    const ROW_BYTES: usize = 64;
    let (mut all, mut batch, mut held) = (Vec::new(), Vec::new(), 0_usize);
    for row in rows {
        let more = bytes(&row).saturating_add(ROW_BYTES);
        if !batch.is_empty() && held.saturating_add(more) > BATCH_BYTES {
            all.push(std::mem::take(&mut batch));
            held = 0;
        }
        held = held.saturating_add(more);
        batch.push(row);
    }
    if !batch.is_empty() {
        all.push(batch);
    }
    all
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn batches_keep_every_row_in_order_and_stay_small(sizes in prop::collection::vec(0_usize..200_000, 0..60)) {
            let cut = batches(sizes.clone(), |size| *size);
            prop_assert_eq!(cut.concat(), sizes);
            for batch in cut {
                prop_assert!(batch.len() == 1 || batch.iter().sum::<usize>() <= BATCH_BYTES);
                prop_assert!(!batch.is_empty());
            }
        }
    }
}
