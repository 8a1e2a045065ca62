//! The hub client against a server that is a script: what it does when the server is wrong, slow, or has forgotten.

use std::time::Duration;

use hearth_api::ingest::v1::ingest_service_server::{IngestService, IngestServiceServer};
use hearth_api::ingest::v1::{
    Ack, Batch, Challenge, IngestRequest, IngestResponse, StreamPosition, Welcome, ingest_request,
    ingest_response,
};
use hearth_kernel::ClaimId;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::reading;
use crate::hub::{HubClient, HubKey, HubOptions, Value};

type Answers = mpsc::Sender<Result<IngestResponse, Status>>;

/// Gives each connection to the test.
struct Script(mpsc::UnboundedSender<Connection>);

/// The server's end of one connection.
struct Connection {
    requests: Streaming<IngestRequest>,
    answers: Answers,
}

#[async_trait::async_trait]
impl IngestService for Script {
    type IngestStream = ReceiverStream<Result<IngestResponse, Status>>;

    async fn ingest(
        &self,
        request: Request<Streaming<IngestRequest>>,
    ) -> Result<Response<Self::IngestStream>, Status> {
        let (answers, stream) = mpsc::channel(64);
        let requests = request.into_inner();
        let _ = self.0.send(Connection { requests, answers });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

impl Connection {
    async fn say(&self, frame: ingest_response::Frame) {
        let frame = Some(frame);
        self.answers
            .send(Ok(IngestResponse { frame }))
            .await
            .unwrap();
    }

    async fn hear(&mut self) -> ingest_request::Frame {
        let request = self.requests.message().await.unwrap().unwrap();
        request.frame.unwrap()
    }

    /// Welcomes the hub, whose stream is stored up to there. Answers the stream.
    async fn welcome(&mut self, durable_through: u64, credit: u32) -> Vec<u8> {
        let challenge = Challenge {
            nonce: vec![7; 32].into(),
            audience: "test".into(),
            domain_tag: "hearth.ingest.v1".into(),
        };
        self.say(ingest_response::Frame::Challenge(challenge)).await;
        let ingest_request::Frame::Hello(hello) = self.hear().await else {
            panic!("hello is expected first");
        };
        let stream_id = hello.stream_ids[0].clone();
        let positions = vec![StreamPosition {
            stream_id: stream_id.clone(),
            durable_through,
        }];
        let welcome = Welcome {
            positions,
            credit,
            ..Welcome::default()
        };
        self.say(ingest_response::Frame::Welcome(welcome)).await;
        stream_id.to_vec()
    }

    async fn batch(&mut self) -> Batch {
        match self.hear().await {
            ingest_request::Frame::Batch(batch) => batch,
            ingest_request::Frame::Hello(_) => panic!("a second hello"),
        }
    }

    async fn ack(&self, batch: &Batch, durable_through: u64) {
        let ack = Ack {
            stream_id: batch.stream_id.clone(),
            durable_through,
            credit: 256,
            ..Ack::default()
        };
        self.say(ingest_response::Frame::Ack(ack)).await;
    }
}

/// A hub with so many batches, and the connections that it makes.
async fn hub(batches: i64) -> (HubClient, mpsc::UnboundedReceiver<Connection>, Script) {
    let (key, _) = HubKey::generate().unwrap();
    let options = HubOptions {
        audience: "test".into(),
        claim: ClaimId::from_bytes([1; 16]),
        buffer: 16,
    };
    let hub = HubClient::new(key, options).unwrap();
    for n in 1..=batches {
        let readings = [reading(1, n, Value::Number(1.0))];
        hub.send(&readings).await.unwrap();
    }
    let (connections, made) = mpsc::unbounded_channel();
    (hub, made, Script(connections))
}

/// Runs the hub for as long as the script takes.
async fn during(hub: &HubClient, script: Script, told: impl Future<Output = ()>) {
    tokio::select! {
        ended = hub.run_over(IngestServiceServer::new(script)) => panic!("{ended:?}"),
        () = told => {}
        () = tokio::time::sleep(Duration::from_secs(3_600)) => panic!("it goes on for ever"),
    }
}

fn time_of(batch: &Batch) -> i64 {
    match batch.body.as_ref().unwrap() {
        hearth_api::ingest::v1::batch::Body::Columns(columns) => columns.base_time / 1_000_000,
        hearth_api::ingest::v1::batch::Body::Rows(_) => panic!("rows"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_knows_more_than_was_sent_gets_everything_in_a_new_stream() {
    let (hub, mut made, script) = hub(3).await;
    let told = async {
        let mut line = made.recv().await.unwrap();
        let before = line.welcome(9, 256).await;
        for sequence in 1..=3 {
            let batch = line.batch().await;
            assert_ne!(batch.stream_id, before);
            assert_eq!(
                (batch.sequence, time_of(&batch)),
                (sequence, sequence as i64)
            );
            line.ack(&batch, sequence).await;
        }
        hub.drained().await;
    };
    during(&hub, script, told).await;
}

#[tokio::test(start_paused = true)]
async fn an_ack_of_what_was_never_sent_drops_nothing() {
    let (hub, mut made, script) = hub(3).await;
    let told = async {
        let mut line = made.recv().await.unwrap();
        line.welcome(0, 1).await;
        let batch = line.batch().await;
        line.ack(&batch, 2).await;
        let mut line = made.recv().await.unwrap();
        assert_ne!(line.welcome(0, 256).await, batch.stream_id);
        for sequence in 1..=3 {
            let batch = line.batch().await;
            assert_eq!(
                (batch.sequence, time_of(&batch)),
                (sequence, sequence as i64)
            );
        }
    };
    during(&hub, script, told).await;
}
