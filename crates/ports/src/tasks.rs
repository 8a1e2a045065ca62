//! Tasks: every one has a name, an owner that stops it, and somebody who hears of its failure.

use std::future::Future;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The first wait before a failed task is started again.
const RESTART_FIRST: Duration = Duration::from_millis(50);
/// The longest wait before a failed task is started again.
const RESTART_MOST: Duration = Duration::from_secs(5);

/// The tasks of one owner. Cheap to clone; all clones are one owner.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Tasks {
    /// No tasks yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Tasks that stop when these do, and can be stopped alone.
    #[must_use]
    pub fn child(&self) -> Self {
        Self {
            tracker: TaskTracker::new(),
            stop: self.stop.child_token(),
        }
    }

    /// Cancelled when the owner stops.
    #[must_use]
    pub fn stopping(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Runs a future until it ends or the owner stops, whichever is first. It is dropped at an await.
    pub fn spawn(&self, name: &'static str, future: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tracker.spawn(async move {
            tokio::select! {
                () = future => tracing::debug!(task = name, "task ended"),
                () = stop.cancelled() => tracing::debug!(task = name, "task stopped"),
            }
        });
    }

    /// Runs a future to its end, even when the owner stops: it watches [`Self::stopping`] itself and ends in time.
    pub fn spawn_draining(
        &self,
        name: &'static str,
        future: impl Future<Output = ()> + Send + 'static,
    ) {
        self.tracker.spawn(async move {
            future.await;
            tracing::debug!(task = name, "task ended");
        });
    }

    /// Runs a task again and again, with growing waits after failures, until the owner stops.
    pub fn supervise<F, Fut, E>(&self, name: &'static str, mut make: F)
    where
        F: FnMut() -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), E>> + Send,
        E: std::error::Error + Send + 'static,
    {
        self.spawn(name, async move {
            let mut wait = RESTART_FIRST;
            loop {
                let begun = tokio::time::Instant::now();
                let outcome = make().await;
                if begun.elapsed() > RESTART_MOST {
                    // It did run: whatever ended it now is not what ended it then.
                    wait = RESTART_FIRST;
                }
                match outcome {
                    Ok(()) => wait = RESTART_FIRST,
                    Err(error) => {
                        tracing::warn!(task = name, error = %Chain(&error), "task failed, restarting");
                        wait = (wait * 2).min(RESTART_MOST);
                    }
                }
                tokio::time::sleep(wait).await;
            }
        });
    }

    /// Stops every task and waits for their ends, at most `grace`. Answers whether all ended.
    pub async fn stop(&self, grace: Duration) -> bool {
        self.stop.cancel();
        self.tracker.close();
        tokio::time::timeout(grace, self.tracker.wait())
            .await
            .is_ok()
    }
}

/// An error with all its sources on one line: for the one place that logs it.
pub struct Chain<'a>(pub &'a (dyn std::error::Error + 'a));

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}
