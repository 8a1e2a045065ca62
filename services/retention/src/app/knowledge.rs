//! What is known here of the closings that accounts decides: read your writes, and never a false no.

use std::sync::Arc;
use std::time::Duration;

use hearth_engine::{CommitToken, Consumer, Watermarks};
use hearth_kernel::{Failure, Reason, Service, Timestamp};
use hearth_ports::{Family, Stream};

use super::Closings;

/// How long a call waits for the commits that it names.
const READ_YOUR_WRITES: Duration = Duration::from_secs(2);
/// How long a "no" waits for the next watermark: they come every half second.
const SETTLES: Duration = Duration::from_millis(750);
/// When to ask again.
const AGAIN: Duration = Duration::from_secs(1);

/// How far the closings of accounts are known here.
pub(crate) struct Knowledge {
    closings: Arc<Consumer<Closings>>,
    watermarks: Watermarks,
}

fn stale() -> Failure {
    Failure::new(Reason::STALE_KNOWLEDGE).retry_after(AGAIN)
}

impl Knowledge {
    pub(crate) const fn new(closings: Arc<Consumer<Closings>>, watermarks: Watermarks) -> Self {
        Self {
            closings,
            watermarks,
        }
    }

    /// Waits until these commits of accounts are known here; of the others nothing is known here but through it.
    ///
    /// # Errors
    /// `STALE_KNOWLEDGE` when that takes longer than 2 s.
    pub(crate) async fn after(&self, tokens: &[CommitToken]) -> Result<(), Failure> {
        let of_accounts = tokens.iter().filter(|it| it.service == Service::Accounts);
        for token in of_accounts {
            let reached = self.closings.reached(*token);
            let reached = tokio::time::timeout(READ_YOUR_WRITES, reached).await;
            reached.map_err(|_| stale())?;
        }
        Ok(())
    }

    /// Waits until everything that accounts had decided at that time is known here.
    ///
    /// # Errors
    /// `STALE_KNOWLEDGE` when no watermark says so within 0.75 s.
    pub(crate) async fn settled(&self, asked: Timestamp) -> Result<(), Failure> {
        let facts = Stream::new(Family::State, Service::Accounts);
        let mut newest = self.watermarks.newest(Service::Accounts);
        let mut progress = self.closings.progress(facts).ok_or_else(stale)?;
        let _waiting = self.closings.waiting();
        let settled = async {
            let mark = newest.wait_for(|mark| mark.at >= asked).await;
            let through = mark.map_err(|_| stale())?.state;
            let reached = progress.wait_for(|at| *at >= through).await;
            reached.map(|_| ()).map_err(|_| stale())
        };
        tokio::time::timeout(SETTLES, settled)
            .await
            .map_err(|_| stale())?
    }
}
