//! The hub client against a server that is a script: what it does when the server is wrong, slow, or has forgotten.

use std::time::Duration;

use hearth_api::errors::v1::Refusal;
use hearth_api::ingest::v1::ingest_service_server::{IngestService, IngestServiceServer};
use hearth_api::ingest::v1::{
    Ack, Batch, Challenge, IngestRequest, IngestResponse, RefusedReading, StreamPosition, Welcome,
    ingest_request, ingest_response,
};
use hearth_kernel::{ClaimId, Failure, Reason};
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

    /// Refuses batches for being beyond the window.
    async fn beyond(&self, batch: &Batch, durable_through: u64, sequences: &[u64]) {
        let refused = sequences.iter().map(|sequence| RefusedReading {
            sequence: *sequence,
            index: u32::MAX,
            refusal: Some(Refusal {
                reason: Reason::SEQUENCE_BEYOND_WINDOW.name().to_owned(),
                field: String::new(),
            }),
        });
        let ack = Ack {
            stream_id: batch.stream_id.clone(),
            durable_through,
            credit: 256,
            refused: refused.collect(),
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

#[tokio::test(start_paused = true)]
async fn a_server_that_goes_silent_is_left_for_another_connection() {
    let (hub, mut made, script) = hub(2).await;
    let told = async {
        let mut silent = made.recv().await.unwrap();
        let stream = silent.welcome(0, 256).await;
        assert_eq!(silent.batch().await.sequence, 1);
        let mut line = made.recv().await.unwrap();
        assert_eq!(line.welcome(0, 256).await, stream);
        for sequence in 1..=2 {
            let batch = line.batch().await;
            assert_eq!(batch.sequence, sequence);
            line.ack(&batch, sequence).await;
        }
        hub.drained().await;
        // With nothing under way silence is no sign of anything.
        tokio::time::sleep(Duration::from_secs(600)).await;
        assert!(made.try_recv().is_err());
        hub.send(&[reading(1, 3, Value::Number(1.0))])
            .await
            .unwrap();
        let batch = line.batch().await;
        line.ack(&batch, 3).await;
        hub.drained().await;
    };
    during(&hub, script, told).await;
}

#[tokio::test(start_paused = true)]
async fn a_batch_beyond_the_window_is_sent_again_and_not_lost() {
    let (hub, mut made, script) = hub(3).await;
    let told = async {
        let mut line = made.recv().await.unwrap();
        line.welcome(0, 256).await;
        let first = line.batch().await;
        assert_eq!(line.batch().await.sequence, 2);
        assert_eq!(line.batch().await.sequence, 3);
        line.beyond(&first, 0, &[2, 3]).await;
        line.ack(&first, 1).await;
        assert_eq!(line.batch().await.sequence, 2);
        let third = line.batch().await;
        line.ack(&third, 3).await;
        hub.drained().await;
        assert_eq!(hub.refused(), vec![]);
    };
    during(&hub, script, told).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_to_which_the_next_batch_is_beyond_its_window_is_asked_anew() {
    let (hub, mut made, script) = hub(1).await;
    let told = async {
        let mut line = made.recv().await.unwrap();
        line.welcome(0, 256).await;
        let first = line.batch().await;
        line.beyond(&first, 0, &[1]).await;
        let mut line = made.recv().await.unwrap();
        line.welcome(0, 256).await;
        let first = line.batch().await;
        line.ack(&first, 1).await;
        hub.drained().await;
        assert_eq!(hub.refused(), vec![]);
    };
    during(&hub, script, told).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_when_to_come_again_is_left_alone_until_then() {
    let (hub, mut made, script) = hub(1).await;
    let told = async {
        let line = made.recv().await.unwrap();
        let busy = Failure::new(Reason::TEMPORARILY_UNAVAILABLE);
        let busy = busy.retry_after(Duration::from_secs(40));
        let before = tokio::time::Instant::now();
        line.answers
            .send(Err(hearth_rpc::status_of(&busy)))
            .await
            .unwrap();
        let mut line = made.recv().await.unwrap();
        assert!(before.elapsed() >= Duration::from_secs(40));
        line.welcome(0, 256).await;
    };
    during(&hub, script, told).await;
}
