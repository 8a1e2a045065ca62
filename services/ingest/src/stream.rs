//! One stream of a hub: challenge, hello, welcome; then batches in and acks out.
//!
//! An ack says that every batch up to a sequence is in the log. Whatever is not certain is not acked: after a failed
//! append the hub is told to pause and sends again. Knowledge that is too old stops the reading of batches, nothing
//! else; a claim that has ended ends the stream.

mod acks;
mod handshake;
mod sealing;
mod session;

use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use hearth_api::errors::v1::Refusal;
use hearth_api::ingest::v1::{
    IngestRequest, IngestResponse, Pause, ingest_request, ingest_response,
};
use hearth_kernel::{Failure, Reason};
use hearth_ports::Read;
use hearth_rpc::{fail, inbound};
use tokio::sync::mpsc;
use tonic::Status;

use crate::core::Core;
use crate::frames::Done;
use handshake::Greeted;
use session::Session;

/// How often claim and registry are looked at again.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a hub waits after a pause.
const PAUSE: Duration = Duration::from_secs(1);
/// What comes this soon after a pause was sent before the hub heard of it: it is dropped without another pause, which the
/// hub would wait for once more. What a hub sends when its wait is over comes later, and is answered.
const UNHEARD: Duration = Duration::from_millis(500);
/// Outcomes that wait: as many as a hub may have under way.
const OUTCOMES: usize = 8_192;

/// What one turn of the loop leads to.
enum Turn {
    /// Go on.
    On,
    /// Batches are not taken for a while.
    Pause(Reason),
    /// The stream is over.
    End(Failure),
    /// The hub has closed its side.
    Closed,
}

/// Serves one hub until it leaves, its claim ends, or a newer stream takes its place.
pub(crate) fn serve<S>(
    core: Arc<Core>,
    requests: S,
) -> impl Stream<Item = Result<IngestResponse, Status>> + Send + 'static
where
    S: Stream<Item = Result<IngestRequest, Status>> + Send + Unpin + 'static,
{
    async_stream::stream! {
        let mut requests = requests;
        let challenge = match handshake::challenge(&core) {
            Ok(challenge) => challenge,
            Err(failure) => {
                yield Err(fail(&failure, None));
                return;
            }
        };
        yield Ok(frame(ingest_response::Frame::Challenge(challenge.to_wire())));
        let greeted = match handshake::greet(&core, &challenge, &mut requests).await {
            Ok(greeted) => greeted,
            Err(failure) => {
                yield Err(fail(&failure, None));
                return;
            }
        };
        let Greeted { standing, registry, windows, welcome } = greeted;
        let seat = core.connected.take(standing.hub);
        yield Ok(frame(ingest_response::Frame::Welcome(welcome)));
        let (done, mut outcomes) = mpsc::channel::<Done>(OUTCOMES);
        let mut session = Session::new(Arc::clone(&core), standing, registry, windows, done);
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        looks.reset();
        let mut finished = Vec::new();
        let mut leaving = false;
        let mut paused: Option<tokio::time::Instant> = None;
        loop {
            let turn = tokio::select! {
                biased;
                () = seat.replaced.cancelled() => Turn::Closed,
                count = outcomes.recv_many(&mut finished, OUTCOMES) => {
                    if count == 0 { Turn::Closed } else { session.settle(&mut finished) }
                }
                _ = looks.tick() => look(&core, &mut session).await,
                request = requests.next(), if session.may_read() && !leaving => {
                    take(&mut session, request).await
                }
            };
            for ack in session.acks() {
                yield Ok(frame(ingest_response::Frame::Ack(ack)));
            }
            match turn {
                Turn::On => {}
                Turn::Pause(reason) => {
                    session.drop_unsettled();
                    if paused.is_none_or(|at| at.elapsed() >= UNHEARD) {
                        paused = Some(tokio::time::Instant::now());
                        yield Ok(frame(ingest_response::Frame::Pause(pause(reason))));
                    }
                }
                Turn::End(failure) => {
                    yield Err(fail(&failure, None));
                    return;
                }
                // What is under way is settled and acked before the stream ends.
                Turn::Closed => leaving = true,
            }
            if leaving && (session.is_settled() || seat.replaced.is_cancelled()) {
                return;
            }
        }
    }
}

async fn take(session: &mut Session, request: Option<Result<IngestRequest, Status>>) -> Turn {
    match request {
        None => Turn::Closed,
        Some(Err(status)) => Turn::End(inbound(&status)),
        Some(Ok(IngestRequest {
            frame: Some(ingest_request::Frame::Batch(batch)),
        })) => session.take(&batch).await,
        Some(Ok(_)) => {
            let failure = Failure::new(Reason::INVALID_REQUEST);
            Turn::End(failure.violation("frame", "a batch is expected after hello"))
        }
    }
}

/// Looks at the claim and the registry again.
async fn look(core: &Core, session: &mut Session) -> Turn {
    let standing = session.standing;
    match core.standing(standing.claim, Read::Follower).await {
        Ok(Some(now)) if now == standing => {}
        Ok(_) => return Turn::End(Failure::new(Reason::CLAIM_ENDED)),
        // The log is away: what cannot be appended is not acked, so nothing is risked by going on.
        Err(_) => return Turn::On,
    }
    match core.registry(standing.home, Read::Follower).await {
        Ok(registry) => session.learn(registry),
        Err(failure) if failure.reason == Reason::ERASED => return Turn::End(failure),
        Err(_) => session.doubt(),
    }
    if core.closed.load(std::sync::atomic::Ordering::Relaxed) {
        return Turn::Pause(Reason::STREAM_NEARLY_FULL);
    }
    if session.has_heard() {
        let now = core.engine.now();
        // A row that says when a hub was seen is no reason to stop it.
        if let Err(error) = core.seen.note(standing.home, standing.claim, now).await {
            tracing::warn!(error = %error, "last seen not noted");
        }
    }
    Turn::On
}

fn pause(reason: Reason) -> Pause {
    Pause {
        retry_after: Some(prost_types::Duration {
            seconds: i64::try_from(PAUSE.as_secs()).unwrap_or(1),
            nanos: 0,
        }),
        refusal: Some(refusal(reason)),
    }
}

fn refusal(reason: Reason) -> Refusal {
    Refusal {
        reason: reason.name().to_owned(),
        field: String::new(),
    }
}

fn frame(frame: ingest_response::Frame) -> IngestResponse {
    IngestResponse { frame: Some(frame) }
}
