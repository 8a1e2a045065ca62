//! Releasing parked subjects, inside the consumer's own loop.
//!
//! The loop handles one message at a time, so while a released subject's messages are handled up to where the
//! consumer stands, no live one can pass them; what comes behind that place comes by the tail, to a subject that is
//! parked no more. So there is no gap, and nothing is handled twice but what a crash repeats, as always.

use std::time::Duration;

use hearth_ports::{Position, Read, StoreError, Stream, Subject};
use tokio::time::Instant;

use super::{Consume, ConsumeError, Consumer};
use crate::parking::{Parked, Parking, Release};

/// How often a consumer that has something parked looks whether its release is asked for.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Messages of a released subject that are handled before the others have their turn.
const PAGE: usize = 64;

/// When the next look is due; `None` is now.
#[derive(Debug, Default)]
pub(super) struct Look(Option<Instant>);

/// How far a release has come.
enum Step {
    /// There is more of it before the place where the consumer stands.
    More,
    /// It is over, or cannot go on now.
    Rest,
}

impl<C: Consume> Consumer<C> {
    /// Carries out what operators ask for, a page of messages of each subject. Does nothing unless a look is due.
    pub(super) async fn release_asked(
        &self,
        parking: &Parking,
        parked: &Parked,
        look: &mut Look,
    ) -> Result<(), StoreError> {
        let due = look.0.is_none_or(|at| at.elapsed() >= LOOK_EVERY);
        if parked.is_empty() || !due {
            return Ok(());
        }
        look.0 = Some(Instant::now());
        for release in parking.asked(parked).await? {
            if let Step::More = self.release(parking, parked, &release).await? {
                look.0 = None;
            }
        }
        Ok(())
    }

    async fn release(
        &self,
        parking: &Parking,
        parked: &Parked,
        release: &Release,
    ) -> Result<Step, StoreError> {
        let Some((stream, subject)) = self.subject(&release.subject) else {
            tracing::warn!(consumer = self.handler.name(), subject = %release.subject, "not of this consumer's streams");
            parking.answered(release).await?;
            return Ok(Step::Rest);
        };
        let passed = self.come_to(stream);
        let after = Some(release.position.before());
        let page = self
            .log
            .load(&subject, after, PAGE + 1, Read::Leader)
            .await?;
        if passed < release.position && !page.is_empty() {
            // Begun anew from a mark before it: the tail comes to it first, and leaves it alone.
            return Ok(Step::Rest);
        }
        let skipped = page.iter().filter(|message| message.position <= passed);
        for (count, message) in skipped.enumerate() {
            if count == PAGE {
                parking.moved(release, message).await?;
                return Ok(Step::More);
            }
            match self.handler.handle(message).await {
                Ok(()) => {}
                Err(ConsumeError::Poison(why)) => {
                    parking.park(parked, message, &*why).await?;
                    parking.answered(release).await?;
                    return Ok(Step::Rest);
                }
                Err(ConsumeError::Retry(why)) => {
                    let consumer = self.handler.name();
                    tracing::warn!(consumer, %subject, error = %why, "not released yet, trying again");
                    parking.moved(release, message).await?;
                    return Ok(Step::Rest);
                }
            }
        }
        self.mark(stream, passed).await?;
        parking.release(parked, release).await?;
        Ok(Step::Rest)
    }

    /// The source and subject that print themselves so.
    fn subject(&self, text: &str) -> Option<(Stream, Subject)> {
        let (stream, tokens) = text.split_once('/')?;
        let stream = *self.progress.keys().find(|it| it.name() == stream)?;
        Some((stream, Subject::from_tokens(stream, tokens.to_owned())))
    }

    /// Everything of the stream up to here was handled, or left alone because it was parked.
    fn come_to(&self, stream: Stream) -> Position {
        let progress = self.progress.get(&stream);
        progress.map_or(Position::START, |it| *it.borrow())
    }
}

#[cfg(test)]
mod tests;
