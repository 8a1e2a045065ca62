//! The end of frames: older than seven days, and behind the marks of the writer and of the rules.

use std::sync::Arc;
use std::time::Duration;

use hearth_ports::{Clock, Documents, Log, Position, StoreError, Stream};

use crate::resume::{WRITER, checkpoint};

/// The consumer of signals.
const RULES: &str = "notifications.rules";
/// How long frames stay.
pub(crate) const KEPT: Duration = Duration::from_secs(7 * 86_400);
/// When the oldest unwritten frame is older than this, no more is taken: what is acked must not age out.
pub(crate) const TOO_OLD: Duration = Duration::from_secs(3 * 86_400);
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

    /// How old the oldest frame is that the writer has not written; nothing when it has written all.
    ///
    /// # Errors
    /// When a store does not answer.
    pub(crate) async fn behind(&self, passed: Position) -> Result<Duration, StoreError> {
        // What this process's writer has written and not marked yet is written.
        let written = checkpoint(&*self.documents, WRITER).await?.max(passed);
        let oldest = self.log.page(Stream::TELEMETRY, written, 1).await?;
        let now = self.clock.now();
        Ok(oldest
            .first()
            .map_or(Duration::ZERO, |message| now.since(message.recorded_at)))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use hearth_backend_memory::Memory;
    use hearth_kernel::Timestamp;
    use hearth_ports::{Expected, ManualClock, Subject};

    use super::*;

    #[tokio::test]
    async fn a_backlog_is_as_old_as_its_oldest_frame() {
        let clock = ManualClock::new(Timestamp::from_seconds(1_000_000));
        let memory = Memory::new(Arc::new(clock.clone()));
        let trimmer = Trimmer {
            log: Arc::clone(&memory.log) as _,
            documents: Arc::clone(&memory.documents) as _,
            clock: Arc::new(clock.clone()),
        };
        let behind = async |passed| trimmer.behind(passed).await.unwrap().as_secs();
        assert_eq!(behind(Position::START).await, 0);
        for _ in 0..2 {
            let subject = Subject::telemetry(0);
            let frame = memory.log.append(&subject, Expected::Any, Bytes::new());
            frame.await.unwrap();
            clock.advance(Duration::from_secs(25));
        }
        assert_eq!(behind(Position::START).await, 50);
        let head = memory.log.head(Stream::TELEMETRY).await.unwrap().unwrap();
        assert_eq!(behind(head).await, 0);
    }
}
