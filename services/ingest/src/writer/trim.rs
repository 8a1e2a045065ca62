//! The end of frames: older than seven days, and behind the marks of the writer and of the rules.

use std::sync::Arc;
use std::time::Duration;

use hearth_ports::{Clock, Documents, Log, Position, StoreError, Stream};

use crate::resume::{WRITER, checkpoint};

/// The consumer of signals.
const RULES: &str = "notifications.rules";
/// How long frames stay.
pub(crate) const KEPT: Duration = Duration::from_secs(7 * 86_400);
/// When the oldest unwritten frame is this old, no more is taken.
const TOO_OLD: Duration = Duration::from_secs(3 * 86_400);
/// Messages per page.
const PAGE: usize = 256;

/// Trims the telemetry stream, and sees when nothing more may be taken.
pub(crate) struct Trimmer {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) documents: Arc<dyn Documents>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Trimmer {
    /// Drops what is old and was read by all.
    ///
    /// # Errors
    /// When a store does not answer.
    pub(crate) async fn trim(&self) -> Result<(), StoreError> {
        let written = checkpoint(&*self.documents, WRITER).await?;
        let ruled = checkpoint(&*self.documents, RULES).await?;
        let behind = written.min(ruled);
        let old = self.clock.now().minus(KEPT);
        let mut after = Position::START;
        let mut before = None;
        'pages: loop {
            let page = self.log.page(Stream::TELEMETRY, after, PAGE).await?;
            for message in &page {
                if message.position > behind || message.recorded_at > old {
                    before = before.map(|_| message.position);
                    break 'pages;
                }
                before = Some(Position {
                    sequence: message.position.sequence + 1,
                    ..message.position
                });
            }
            match page.last() {
                Some(last) if page.len() == PAGE => after = last.position,
                _ => break,
            }
        }
        match before {
            Some(before) => self.log.trim(Stream::TELEMETRY, before).await,
            None => Ok(()),
        }
    }

    /// Whether the writer is so far behind that nothing more may be taken: what is acked must not age out.
    ///
    /// # Errors
    /// When a store does not answer.
    pub(crate) async fn is_too_far_behind(&self, passed: Position) -> Result<bool, StoreError> {
        // What this process's writer has written and not marked yet is written.
        let written = checkpoint(&*self.documents, WRITER).await?.max(passed);
        let oldest = self.log.page(Stream::TELEMETRY, written, 1).await?;
        let limit = self.clock.now().minus(TOO_OLD);
        Ok(oldest
            .first()
            .is_some_and(|message| message.recorded_at < limit))
    }
}
