//! Following under a lease, and standing by: how a process that does not follow knows how far the one that does has come.
//!
//! A standby reads the stored marks: at a slow pace for those who only watch, such as erasures and open streams, and
//! faster while somebody waits for a commit of hers. A mark is put after the rows that it vouches for, at most a fifth
//! of a second behind them.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use hearth_ports::{Family, Position, StoreError, Stream};
use tokio::sync::Notify;

use super::{Consume, Consumer};
use crate::holding::{Held, Holder};
use crate::token::CommitToken;
use crate::watermark::Published;

/// How often the marks are read while nobody waits,
const SLOWLY: Duration = Duration::from_secs(1);
/// and while somebody does.
const QUICKLY: Duration = Duration::from_millis(50);

/// Who waits for a standby.
#[derive(Debug, Default)]
pub(super) struct StandingBy {
    waiting: AtomicUsize,
    changed: Notify,
}

/// Somebody waits for the consumer: its marks are read more often while this lives.
#[derive(Debug)]
pub struct Waiting(Arc<StandingBy>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What a session notes while it lives.
struct Following<'a, C>(&'a Consumer<C>);

impl<C> Drop for Following<'_, C> {
    fn drop(&mut self) {
        *self.0.held.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl<C: Consume> Consumer<C> {
    /// Handles messages whenever this process holds the lease, until something fails; supervise it. Meanwhile it
    /// stands by.
    ///
    /// # Errors
    /// When log, documents or leases fail; holding again resumes at the marks.
    pub async fn hold(&self, holder: &Holder) -> Result<(), StoreError> {
        self.hold_with(holder, |_| std::future::pending()).await
    }

    /// The same with something beside it that is done under the same lease, from its beginning to its end: `beside`
    /// makes it anew each time.
    ///
    /// # Errors
    /// As [`Self::hold`], and what is beside it ends with.
    pub async fn hold_with<F, Fut>(&self, holder: &Holder, beside: F) -> Result<(), StoreError>
    where
        F: Fn(Held) -> Fut + Send,
        Fut: Future<Output = Result<(), StoreError>> + Send,
    {
        self.handler.stand_by();
        let lease = self.handler.lease();
        let holding = holder.hold(&lease, |held| {
            let beside = beside(held.clone());
            async move {
                let _following = self.begin(&held).await?;
                tokio::select! {
                    outcome = self.follow() => outcome,
                    outcome = beside => outcome,
                }
            }
        });
        tokio::select! {
            outcome = holding => outcome,
            () = self.look_at_marks() => Ok(()),
        }
    }

    async fn begin(&self, held: &Held) -> Result<Following<'_, C>, StoreError> {
        let following = Following(self);
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(held.clone());
        self.marks.store(0, Ordering::SeqCst);
        self.handler.begin(held).await?;
        Ok(following)
    }

    fn follows_here(&self) -> bool {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.is_some()
    }

    /// Takes over what is stored as progress, while this process stands by. Never ends.
    async fn look_at_marks(&self) {
        loop {
            if !self.follows_here()
                && let Err(error) = self.take_over_marks().await
            {
                tracing::debug!(consumer = self.handler.name(), %error, "marks not read");
            }
            let quickly = self.standing_by.waiting.load(Ordering::SeqCst) > 0;
            let wait = tokio::time::sleep(if quickly { QUICKLY } else { SLOWLY });
            tokio::select! {
                () = wait => {}
                () = self.standing_by.changed.notified() => {}
            }
        }
    }

    async fn take_over_marks(&self) -> Result<(), StoreError> {
        for (stream, progress) in &self.progress {
            let marked = self.checkpoint(*stream).await?;
            progress.send_if_modified(|at| {
                let further = marked > *at;
                if further {
                    *at = marked;
                }
                further
            });
        }
        Ok(())
    }

    /// For who waits for [`Self::progress`]: keeps it close to what is stored, also on a standby.
    #[must_use]
    pub fn waiting(&self) -> Waiting {
        if self.standing_by.waiting.fetch_add(1, Ordering::SeqCst) == 0 {
            self.standing_by.changed.notify_one();
        }
        Waiting(Arc::clone(&self.standing_by))
    }

    /// Waits until it has handled everything up to a commit of some service, in whatever process. The caller bounds
    /// the wait.
    pub async fn reached(&self, token: CommitToken) {
        let evt = Stream::new(Family::Evt, token.service);
        if self.progress.contains_key(&evt) {
            return self.handled(evt, token.position).await;
        }
        let mut newest = self.watermarks.newest(token.service);
        let covers = |mark: &Published| mark.evt >= token.position;
        let Ok(mark) = newest.wait_for(covers).await.map(|mark| *mark) else {
            return;
        };
        for (family, through) in [(Family::Int, mark.int), (Family::State, mark.state)] {
            self.handled(Stream::new(family, token.service), through)
                .await;
        }
    }

    /// Waits until it has handled everything of a source up to a position, in whatever process; of a stream that is no
    /// source there is nothing to wait for. The caller bounds the wait.
    pub async fn handled(&self, stream: Stream, through: Position) {
        let Some(mut progress) = self.progress(stream) else {
            return;
        };
        let _waiting = self.waiting();
        let _ = progress.wait_for(|at| *at >= through).await;
    }
}
