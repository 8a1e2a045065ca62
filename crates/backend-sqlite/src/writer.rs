//! One thread that writes, and the group commit: everything queued shares one transaction and one fsync.
//!
//! Knows nothing of tables. A job runs inside the transaction and its answer is held until COMMIT returned,
//! so an answer always means durable. A job that is refused (a conflict) answers its own caller only; the
//! others commit. A caller that gave up before its job began is told that nothing was written; after that,
//! that the outcome is unknown.

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use hearth_ports::StoreError;
use hearth_ports::error::Cause;
use tokio::sync::{mpsc, oneshot};

use crate::failure::{closed, lock, too_late};

/// The longest a call waits for its answer: the deadline that the ports name.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);
/// Calls that may wait in line; more wait for a place, up to their deadline.
const QUEUE: usize = 1024;
/// The most jobs of one transaction: bounds how long the first of them waits.
const BATCH_JOBS: usize = 512;
/// The most bytes of one transaction, beyond which the next job waits for the next one.
const BATCH_BYTES: usize = 8 << 20;

/// What the thread owns: a connection and what belongs to it.
pub(crate) trait Unit: Send + 'static {
    /// Opens a transaction.
    fn begin(&mut self) -> rusqlite::Result<()>;
    /// Writes what was collected, commits, and tells who follows.
    fn commit(&mut self) -> rusqlite::Result<()>;
    /// Drops the transaction, if there still is one, and what was remembered of it.
    fn rollback(&mut self);
    /// Whether the transaction is still there: some errors of SQLite end it.
    fn in_transaction(&self) -> bool;
    /// The last act before the connection is closed.
    fn end(&mut self);
}

/// What became of the transaction a job was part of.
#[derive(Clone)]
enum Outcome {
    Committed,
    /// Nothing was written.
    Lost(Cause),
    /// COMMIT failed: it may have happened.
    Unknown(Cause),
}

trait Job<U>: Send {
    /// Bytes it is about to write.
    fn weight(&self) -> usize;
    /// Whether it runs outside of any transaction.
    fn is_alone(&self) -> bool;
    fn run(&mut self, unit: &mut U);
    fn finish(self: Box<Self>, outcome: Outcome);
}

/// Who came first: the thread that begins the job, or the caller that gives up.
#[derive(Default)]
struct Ticket(AtomicU8);

impl Ticket {
    const WAITING: u8 = 0;
    const BEGUN: u8 = 1;
    const ABANDONED: u8 = 2;

    fn take(&self, state: u8) -> bool {
        self.0
            .compare_exchange(Self::WAITING, state, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok()
    }
}

struct Call<F, T> {
    work: Option<F>,
    result: Option<Result<T, StoreError>>,
    answer: oneshot::Sender<Result<T, StoreError>>,
    ticket: Arc<Ticket>,
    weight: usize,
    alone: bool,
}

impl<U, F, T> Job<U> for Call<F, T>
where
    F: FnOnce(&mut U) -> Result<T, StoreError> + Send,
    T: Send,
{
    fn weight(&self) -> usize {
        self.weight
    }

    fn is_alone(&self) -> bool {
        self.alone
    }

    fn run(&mut self, unit: &mut U) {
        if self.ticket.take(Ticket::BEGUN)
            && let Some(work) = self.work.take()
        {
            self.result = Some(work(unit));
        }
    }

    fn finish(self: Box<Self>, outcome: Outcome) {
        let answer = match (outcome, self.result) {
            (Outcome::Committed, Some(result)) => result,
            (Outcome::Committed, None) => Err(closed()),
            (Outcome::Unknown(cause), Some(Ok(_))) => Err(StoreError::Unknown(cause)),
            // A refusal was judged against rows that are gone again, so it says nothing.
            (Outcome::Unknown(cause) | Outcome::Lost(cause), _) => {
                Err(StoreError::Retryable(cause))
            }
        };
        // A caller that has gone does not want to know.
        let _ = self.answer.send(answer);
    }
}

type Queue<U> = mpsc::Sender<Box<dyn Job<U>>>;

/// The handle of a writer thread. Dropping it commits what is queued, closes the store and waits for that.
pub(crate) struct Writer<U> {
    queue: Mutex<Option<Queue<U>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl<U: Unit> Writer<U> {
    /// Starts the thread. Its name is seen in debuggers; at most 15 characters are shown there.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn start(name: &str, mut unit: U) -> std::io::Result<Self> {
        let (queue, jobs) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                write_all(&mut unit, jobs);
                unit.end();
            })?;
        Ok(Self {
            queue: Mutex::new(Some(queue)),
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Runs a job of about that many bytes inside the next transaction; answers when it is durable.
    ///
    /// # Errors
    /// The job's own; `Retryable` when nothing was written; `Unknown` when that cannot be told.
    pub(crate) async fn submit<T, F>(&self, weight: usize, work: F) -> Result<T, StoreError>
    where
        F: FnOnce(&mut U) -> Result<T, StoreError> + Send + 'static,
        T: Send + 'static,
    {
        self.call(weight, false, DEADLINE, work).await
    }

    /// Runs a job between two transactions: checkpoints, scrubbing. Takes as long as it takes, up to a deadline.
    ///
    /// # Errors
    /// As [`Self::submit`].
    pub(crate) async fn submit_alone<T, F>(
        &self,
        deadline: Duration,
        work: F,
    ) -> Result<T, StoreError>
    where
        F: FnOnce(&mut U) -> Result<T, StoreError> + Send + 'static,
        T: Send + 'static,
    {
        self.call(0, true, deadline, work).await
    }

    async fn call<T, F>(
        &self,
        weight: usize,
        alone: bool,
        deadline: Duration,
        work: F,
    ) -> Result<T, StoreError>
    where
        F: FnOnce(&mut U) -> Result<T, StoreError> + Send + 'static,
        T: Send + 'static,
    {
        let queue = lock(&self.queue).clone().ok_or_else(closed)?;
        let ticket = Arc::new(Ticket::default());
        let (answer, answered) = oneshot::channel();
        let job: Box<dyn Job<U>> = Box::new(Call {
            work: Some(work),
            result: None,
            answer,
            ticket: Arc::clone(&ticket),
            weight,
            alone,
        });
        let asked = async move {
            queue.send(job).await.map_err(|_| closed())?;
            // The thread drops a job unanswered only when it dies.
            answered
                .await
                .map_err(|_| StoreError::unknown("the writer has stopped"))?
        };
        match tokio::time::timeout(deadline, asked).await {
            Ok(Err(StoreError::Unknown(_))) if ticket.take(Ticket::ABANDONED) => Err(closed()),
            Ok(answer) => answer,
            Err(_) if ticket.take(Ticket::ABANDONED) => Err(too_late()),
            Err(_) => Err(StoreError::unknown(
                "the store did not answer within its deadline",
            )),
        }
    }

    /// Takes no more jobs, commits what is queued, closes the connection, and waits for that.
    pub(crate) fn stop(&self) {
        drop(lock(&self.queue).take());
        if let Some(thread) = lock(&self.thread).take()
            && thread.join().is_err()
        {
            tracing::error!("a writer thread has panicked");
        }
    }
}

impl<U> Drop for Writer<U> {
    fn drop(&mut self) {
        drop(lock(&self.queue).take());
        if let Some(thread) = lock(&self.thread).take() {
            // A panic was reported by the hook already.
            let _ = thread.join();
        }
    }
}

fn write_all<U: Unit>(unit: &mut U, mut jobs: mpsc::Receiver<Box<dyn Job<U>>>) {
    let mut next = jobs.blocking_recv();
    while let Some(first) = next {
        if first.is_alone() {
            let mut job = first;
            job.run(unit);
            job.finish(Outcome::Committed);
            next = jobs.blocking_recv();
            continue;
        }
        let mut batch = Batch::default();
        let mut carried = None;
        batch.add(unit, first);
        while batch.has_room() {
            match jobs.try_recv() {
                Ok(job) if job.is_alone() => {
                    carried = Some(job);
                    break;
                }
                Ok(job) => batch.add(unit, job),
                Err(_) => break,
            }
        }
        batch.commit(unit);
        next = carried.or_else(|| jobs.blocking_recv());
    }
}

/// The jobs of one transaction, which have run and wait for its end.
struct Batch<U> {
    jobs: Vec<Box<dyn Job<U>>>,
    bytes: usize,
    open: bool,
}

impl<U> Default for Batch<U> {
    fn default() -> Self {
        Self {
            jobs: Vec::new(),
            bytes: 0,
            open: false,
        }
    }
}

impl<U: Unit> Batch<U> {
    const fn has_room(&self) -> bool {
        self.jobs.len() < BATCH_JOBS && self.bytes < BATCH_BYTES
    }

    fn add(&mut self, unit: &mut U, mut job: Box<dyn Job<U>>) {
        if !self.open {
            if let Err(error) = unit.begin() {
                unit.rollback();
                job.finish(Outcome::Lost(Arc::new(error)));
                return;
            }
            self.open = true;
        }
        self.bytes = self.bytes.saturating_add(job.weight());
        job.run(unit);
        self.jobs.push(job);
        if !unit.in_transaction() {
            // A full disk or a failed read ends the whole transaction, not only the statement.
            let cause: Cause = Arc::new(rusqlite::Error::InvalidQuery);
            self.end(unit, Err(Outcome::Lost(cause)));
        }
    }

    fn commit(mut self, unit: &mut U) {
        if !self.open {
            return;
        }
        let result = unit
            .commit()
            .map_err(|error| Outcome::Unknown(Arc::new(error)));
        self.end(unit, result);
    }

    fn end(&mut self, unit: &mut U, result: Result<(), Outcome>) {
        let outcome = match result {
            Ok(()) => Outcome::Committed,
            Err(outcome) => {
                unit.rollback();
                outcome
            }
        };
        for job in self.jobs.drain(..) {
            job.finish(outcome.clone());
        }
        self.open = false;
        self.bytes = 0;
    }
}
