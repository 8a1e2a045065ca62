//! Open streams: the right to read is asked again and again, not once (DESIGN section 3).

use std::pin::pin;
use std::time::Duration;

use futures::{Stream, StreamExt};
use hearth_kernel::Failure;
use tokio::time::{Instant, MissedTickBehavior};
use tonic::Status;

use crate::authenticate::stale;
use crate::status::fail;

/// How often an open stream asks, unless it says otherwise: with what the caches take, a revocation ends it within 2 s.
pub const EVERY: Duration = Duration::from_secs(1);
/// The longest that a stream pauses before it ends, so that its client looks for a process that knows more.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Whether the reader may go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Yes.
    Yes,
    /// No: the stream ends with this.
    No(Failure),
    /// What this process knows is too old: the stream pauses.
    Stale,
}

impl From<Result<(), Failure>> for Answer {
    /// A refusal for want of knowledge pauses, every other one ends.
    fn from(answer: Result<(), Failure>) -> Self {
        match answer {
            Ok(()) => Self::Yes,
            Err(failure) if failure.kind() == hearth_kernel::Kind::Unavailable => Self::Stale,
            Err(failure) => Self::No(failure),
        }
    }
}

enum Next<T> {
    Asked(Answer),
    Item(Option<T>),
}

/// The stream, as long as `check` says yes. It asks before the first item and then every `every`; nothing passes while
/// the answer is stale or late; a no ends it.
pub fn guarded<T, S, C, F>(
    stream: S,
    mut check: C,
    every: Duration,
) -> impl Stream<Item = Result<T, Status>> + Send
where
    T: Send,
    S: Stream<Item = Result<T, Status>> + Send,
    C: FnMut() -> F + Send,
    F: Future<Output = Answer> + Send,
{
    async_stream::stream! {
        let mut stream = pin!(stream);
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut paused_since = Some(Instant::now());
        loop {
            let next = tokio::select! {
                biased;
                _ = ticks.tick() => {
                    let answer = tokio::time::timeout(every, check()).await;
                    Next::Asked(answer.unwrap_or(Answer::Stale))
                }
                item = stream.next(), if paused_since.is_none() => Next::Item(item),
            };
            match next {
                Next::Item(Some(item)) => yield item,
                Next::Item(None) => return,
                Next::Asked(Answer::Yes) => paused_since = None,
                Next::Asked(Answer::No(failure)) => {
                    yield Err(fail(&failure, None));
                    return;
                }
                Next::Asked(Answer::Stale) => {
                    let since = *paused_since.get_or_insert_with(Instant::now);
                    if since.elapsed() >= LONGEST_PAUSE {
                        yield Err(fail(&stale(), None));
                        return;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    //! Time is tokio's, paused: nothing sleeps.

    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use futures::stream;
    use hearth_kernel::Reason;

    use super::*;
    use crate::status::failure_of;

    /// One item per 100 ms, for ever.
    fn items() -> impl Stream<Item = Result<u64, Status>> + Send {
        stream::unfold(0, |count| async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            Some((Ok(count), count + 1))
        })
    }

    /// Answers by how often it was asked.
    async fn read(answer: impl Fn(u64) -> Answer + Send + Sync) -> (u64, Option<Reason>) {
        let asked = Arc::new(AtomicU64::new(0));
        let check = || std::future::ready(answer(asked.fetch_add(1, Ordering::SeqCst)));
        let mut stream = pin!(guarded(items(), check, EVERY));
        let mut passed = 0;
        while let Some(item) = stream.next().await {
            match item {
                Ok(_) => passed += 1,
                Err(status) => return (passed, Some(failure_of(&status).reason)),
            }
        }
        (passed, None)
    }

    #[tokio::test(start_paused = true)]
    async fn a_no_ends_it_and_comes_before_the_first_item() {
        let no = || Answer::No(Failure::new(Reason::NOT_FOUND));
        assert_eq!(read(|_| no()).await, (0, Some(Reason::NOT_FOUND)));
        let (passed, reason) = read(|asked| if asked < 2 { Answer::Yes } else { no() }).await;
        assert_eq!(reason, Some(Reason::NOT_FOUND));
        assert!((15..=20).contains(&passed), "{passed} in two seconds");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stale_answer_pauses_and_then_it_goes_on_or_ends() {
        let no = || Answer::No(Failure::new(Reason::NOT_FOUND));
        let script = |asked| match asked {
            0 | 11 => Answer::Yes,
            1..=10 => Answer::Stale,
            _ => no(),
        };
        let (passed, _) = read(script).await;
        assert!(
            (15..=21).contains(&passed),
            "{passed}: a second before and one after"
        );
        let (passed, reason) = read(|_| Answer::Stale).await;
        assert_eq!((passed, reason), (0, Some(Reason::STALE_KNOWLEDGE)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_that_hangs_is_a_stale_answer() {
        let mut stream = pin!(guarded(items(), std::future::pending::<Answer>, EVERY));
        let first = stream.next().await.expect("an end").expect_err("a status");
        assert_eq!(failure_of(&first).reason, Reason::STALE_KNOWLEDGE);
    }
}
