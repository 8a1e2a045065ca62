//! One connection of a hub: proof, resume, batches inside the credit, acks.

use std::time::Duration;

use bytes::Bytes;
use hearth_api::ingest::v1::ingest_service_client::IngestServiceClient;
use hearth_api::ingest::v1::{
    Ack, Challenge, Hello, IngestRequest, IngestResponse, ingest_request, ingest_response,
};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::GrpcService;
use tonic::codegen::{Body as HttpBody, StdError};
use tonic::{Status, Streaming};

use super::buffer::Heard;
use super::{HubError, Inner, random_stream};

/// Batches between the buffer and the connection.
const QUEUE: usize = 16;
/// How long the server may take to open the stream.
const OPENING: Duration = Duration::from_secs(30);
/// How long something may be under way, and nothing become durable, before another connection is tried. A batch becomes
/// durable in milliseconds; a server that cannot store says so by a pause.
const PATIENCE: Duration = Duration::from_secs(60);
/// The longest pause that is kept to.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// The shortest.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
/// What a hub signs for.
const TAG: &str = "hearth.ingest.v1";

/// What carries the stream: a channel, or a server in the same process.
pub(super) trait Transport:
    GrpcService<
        tonic::body::Body,
        Error: Into<StdError>,
        ResponseBody: HttpBody<Data = Bytes, Error: Into<StdError> + Send> + Send + 'static,
    > + Clone
{
}

impl<T> Transport for T where
    T: GrpcService<
            tonic::body::Body,
            Error: Into<StdError>,
            ResponseBody: HttpBody<Data = Bytes, Error: Into<StdError> + Send> + Send + 'static,
        > + Clone
{
}

/// Why a connection ended.
pub(super) enum LineError {
    /// For good.
    Hub(HubError),
    /// With this; it may be tried again.
    Status(Status),
}

impl From<Status> for LineError {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

/// Serves the buffer over one connection until it ends.
pub(super) async fn serve(hub: &Inner, channel: impl Transport) -> Result<(), LineError> {
    let (requests, queue) = mpsc::channel(QUEUE);
    let mut client = IngestServiceClient::new(channel);
    let opening = open(hub, &mut client, &requests, ReceiverStream::new(queue));
    let opened = tokio::time::timeout(OPENING, opening).await;
    let late = |_| Status::deadline_exceeded("the stream was not opened in time");
    let (mut answers, credit) = opened.map_err(late)??;
    let mut changes = hub.buffer.changes();
    let mut flight = Flight::new(hub, credit);
    let patience = tokio::time::sleep(PATIENCE);
    tokio::pin!(patience);
    loop {
        changes.borrow_and_update();
        let (next, durable) = (flight.next, hub.buffer.durable());
        let waits = next > durable + 1;
        tokio::select! {
            answer = answers.message() => match answer?.and_then(|it| it.frame) {
                None => return Ok(()),
                Some(ingest_response::Frame::Ack(ack)) => {
                    flight.acked(hub, &ack)?;
                    if hub.buffer.durable() > durable {
                        patience.as_mut().reset(Instant::now() + PATIENCE);
                    }
                }
                Some(ingest_response::Frame::Pause(pause)) => {
                    tokio::time::sleep(length(pause.retry_after)).await;
                    flight = Flight::new(hub, flight.credit);
                }
                // The server spoke these at the beginning; again they mean nothing.
                Some(ingest_response::Frame::Challenge(_) | ingest_response::Frame::Welcome(_)) => {}
            },
            permit = requests.reserve(), if flight.may_send(hub) => {
                let (Ok(permit), Some(batch)) = (permit, hub.buffer.batch(next)) else {
                    return Ok(());
                };
                if !waits {
                    patience.as_mut().reset(Instant::now() + PATIENCE);
                }
                hub.buffer.sent(next);
                permit.send(IngestRequest { frame: Some(ingest_request::Frame::Batch(batch)) });
                flight.next += 1;
            }
            () = &mut patience, if waits => {
                return Err(Status::deadline_exceeded("no batch became durable in time").into());
            }
            _ = changes.changed() => {}
        }
    }
}

/// What of the buffer was given to this connection.
struct Flight {
    /// The sequence of the next batch.
    next: u64,
    /// How many batches may be under way.
    credit: u32,
    /// Nothing is sent before more than this is durable: the server found a batch too early.
    held: Option<u64>,
}

impl Flight {
    /// Everything that is not durable is to be sent.
    fn new(hub: &Inner, credit: u32) -> Self {
        Self {
            next: hub.buffer.durable() + 1,
            credit,
            held: None,
        }
    }

    fn may_send(&self, hub: &Inner) -> bool {
        let durable = hub.buffer.durable();
        let is_held = self.held.is_some_and(|at| durable <= at);
        !is_held
            && self.next <= durable.saturating_add(u64::from(self.credit))
            && hub.buffer.has(self.next)
    }

    /// Takes an ack in.
    fn acked(&mut self, hub: &Inner, ack: &Ack) -> Result<(), LineError> {
        self.credit = ack.credit.max(1);
        let heard = hub.buffer.acked(ack);
        let durable = hub.buffer.durable();
        match heard {
            Heard::Believed => {}
            Heard::TooEarly(sequence) if sequence > durable + 1 => {
                self.next = self.next.min(sequence);
                self.held = Some(durable);
            }
            Heard::TooEarly(sequence) if sequence == durable + 1 => {
                // The server has forgotten how far the stream is stored; only a new connection settles that.
                return Err(Status::aborted("the server has lost its place in the stream").into());
            }
            // What was too early then is durable now.
            Heard::TooEarly(_) => {}
            Heard::Impossible => {
                restream(hub)?;
                return Err(Status::data_loss("an ack of what was never sent").into());
            }
        }
        self.next = self.next.max(durable + 1);
        Ok(())
    }
}

/// Proves the hub, and learns how far its stream is stored.
async fn open<C: Transport>(
    hub: &Inner,
    client: &mut IngestServiceClient<C>,
    requests: &mpsc::Sender<IngestRequest>,
    queue: ReceiverStream<IngestRequest>,
) -> Result<(Streaming<IngestResponse>, u32), LineError> {
    let mut answers = client.ingest(queue).await?.into_inner();
    let unexpected = || Status::internal("the server speaks another protocol");
    let first = answers.message().await?.and_then(|it| it.frame);
    let Some(ingest_response::Frame::Challenge(challenge)) = first else {
        return Err(unexpected().into());
    };
    let hello = hello(hub, challenge)?;
    let frame = Some(ingest_request::Frame::Hello(hello));
    requests
        .send(IngestRequest { frame })
        .await
        .map_err(|_| unexpected())?;
    let second = answers.message().await?.and_then(|it| it.frame);
    let Some(ingest_response::Frame::Welcome(welcome)) = second else {
        return Err(unexpected().into());
    };
    let stream = hub.buffer.stream();
    let position = welcome
        .positions
        .iter()
        .find(|it| it.stream_id == stream.as_bytes().as_slice());
    let stored = position.map_or(0, |it| it.durable_through);
    // What the server has lost cannot come back; what is left must not wait for it. And what it has that was never sent
    // is not what waits here.
    if stored < hub.buffer.durable() || hub.buffer.through(stored) == Heard::Impossible {
        restream(hub)?;
    }
    Ok((answers, welcome.credit.max(1)))
}

/// Sends what is left under another stream from now on.
fn restream(hub: &Inner) -> Result<(), LineError> {
    let stream = random_stream().map_err(LineError::Hub)?;
    hub.restream(stream).map_err(LineError::Hub)
}

fn hello(hub: &Inner, challenge: Challenge) -> Result<Hello, LineError> {
    if challenge.audience != hub.options.audience || challenge.domain_tag != TAG {
        return Err(LineError::Hub(HubError::OtherServer));
    }
    let (id, claim) = (hub.key.hub_id(), hub.options.claim);
    let signature = hub.key.sign(&[
        TAG.as_bytes(),
        challenge.audience.as_bytes(),
        &challenge.nonce,
        id.as_bytes(),
        claim.as_bytes(),
    ]);
    Ok(Hello {
        hub_id: Bytes::copy_from_slice(id.as_bytes()),
        claim_id: Bytes::copy_from_slice(claim.as_bytes()),
        nonce: challenge.nonce,
        signature: signature.into(),
        stream_ids: vec![Bytes::copy_from_slice(hub.buffer.stream().as_bytes())],
    })
}

fn length(wait: Option<prost_types::Duration>) -> Duration {
    let wait = wait.and_then(|it| Duration::try_from(it).ok());
    wait.unwrap_or(Duration::from_secs(1))
        .clamp(SHORTEST_PAUSE, LONGEST_PAUSE)
}
