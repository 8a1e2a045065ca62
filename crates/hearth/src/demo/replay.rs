//! A hub of the story: opens its stream by a signature, sends batches within its credit, and forgets what was acked.
//!
//! As a real one it holds every batch until the server says that it is durable, and sends them again after a pause.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use anyhow::{Context as _, Result};
use hearth_api::ingest::v1::ingest_service_client::IngestServiceClient;
use hearth_api::ingest::v1::{
    Ack, Batch, Columns, Hello, IngestRequest, IngestResponse, batch, ingest_request,
    ingest_response,
};
use hearth_kernel::DeviceId;
use hearth_ports::{Clock, SystemClock};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Streaming};

use super::data::{Gadget, Sample, Value};
use super::home::{Home, signed_text};
use super::people::{Line, random, refused};
use super::screen::{Screen, check, thousands};

/// Readings of one batch.
const BATCH: usize = 128;
/// How long the server may say nothing while something is expected.
const ANSWER: Duration = Duration::from_secs(30);
/// What a hub signs to open its stream.
const TAG: &str = "hearth.ingest.v1";

/// An open stream of a hub.
pub(super) struct Session {
    requests: mpsc::Sender<IngestRequest>,
    answers: Streaming<IngestResponse>,
    stream_id: [u8; 16],
    /// The last sequence that was sent, and the last that is durable.
    sent: u64,
    durable: u64,
    credit: u64,
    unacked: VecDeque<Batch>,
    devices: BTreeMap<Gadget, DeviceId>,
}

/// What a replay came to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Replayed {
    pub(super) readings: u64,
    pub(super) batches: u64,
    pub(super) took: Duration,
}

impl Replayed {
    /// Durable readings a second, from the first batch to the last ack.
    pub(super) fn per_second(&self) -> u64 {
        let millis = u64::try_from(self.took.as_millis())
            .unwrap_or(u64::MAX)
            .max(1);
        self.readings * 1000 / millis
    }
}

impl Session {
    /// Opens the stream of the home's hub.
    pub(super) async fn open(line: &Line, home: &Home) -> Result<Self> {
        let (requests, outgoing) = mpsc::channel(64);
        let mut client = IngestServiceClient::new(line.wire.clone());
        let request = Request::new(ReceiverStream::new(outgoing));
        let opened = tokio::time::timeout(ANSWER, client.ingest(request)).await;
        let opened = opened.context("expected the stream to open; it did not")?;
        let mut answers = opened.map_err(refused("Ingest"))?.into_inner();
        let ingest_response::Frame::Challenge(challenge) = next(&mut answers).await? else {
            anyhow::bail!("expected a challenge first; saw another frame");
        };
        let hub = &home.hub;
        check(
            challenge.audience == hub.audience,
            &hub.audience,
            &challenge.audience,
        )?;
        check(challenge.domain_tag == TAG, TAG, &challenge.domain_tag)?;
        let parts: [&[u8]; 3] = [&challenge.nonce, hub.id.as_bytes(), hub.claim.as_bytes()];
        let signature = hub.key.sign(&signed_text(TAG, &hub.audience, &parts)?);
        let stream_id = random::<16>()?;
        let hello = Hello {
            hub_id: hub.id.as_bytes().to_vec().into(),
            claim_id: hub.claim.as_bytes().to_vec().into(),
            nonce: challenge.nonce,
            signature: signature.as_ref().to_vec().into(),
            stream_ids: vec![stream_id.to_vec().into()],
        };
        let hello = IngestRequest {
            frame: Some(ingest_request::Frame::Hello(hello)),
        };
        requests.send(hello).await.context("the stream has ended")?;
        let ingest_response::Frame::Welcome(welcome) = next(&mut answers).await? else {
            anyhow::bail!("expected a welcome; saw another frame");
        };
        Ok(Self {
            requests,
            answers,
            stream_id,
            sent: 0,
            durable: 0,
            credit: u64::from(welcome.credit.max(1)),
            unacked: VecDeque::new(),
            devices: home.devices.clone(),
        })
    }

    /// Sends samples in batches of 128, and waits until all are durable.
    pub(super) async fn replay(&mut self, samples: &[Sample], screen: &Screen) -> Result<Replayed> {
        let began = SystemClock.now();
        let mut readings = 0;
        for part in samples.chunks(BATCH) {
            self.send(part).await?;
            readings += u64::try_from(part.len())?;
            if self.sent.is_multiple_of(64) {
                let took = SystemClock.now().since(began);
                let so_far = Replayed {
                    readings,
                    batches: self.sent,
                    took,
                };
                screen.progress(&format!(
                    "{} of {} readings, {} a second",
                    thousands(readings),
                    thousands(u64::try_from(samples.len())?),
                    thousands(so_far.per_second())
                ));
            }
        }
        let batches = u64::try_from(samples.chunks(BATCH).len())?;
        self.settle().await?;
        Ok(Replayed {
            readings,
            batches,
            took: SystemClock.now().since(began),
        })
    }

    /// Sends one batch, as soon as there is credit for it.
    pub(super) async fn send(&mut self, samples: &[Sample]) -> Result<()> {
        while self.sent >= self.durable + self.credit {
            self.hear().await?;
        }
        self.sent += 1;
        let batch = Batch {
            stream_id: self.stream_id.to_vec().into(),
            sequence: self.sent,
            body: Some(batch::Body::Columns(columns(samples, &self.devices)?)),
        };
        self.unacked.push_back(batch.clone());
        self.put(batch).await
    }

    async fn put(&mut self, batch: Batch) -> Result<()> {
        let request = IngestRequest {
            frame: Some(ingest_request::Frame::Batch(batch)),
        };
        if self.requests.send(request).await.is_err() {
            // The server ended the stream: its status says why.
            next(&mut self.answers).await?;
            anyhow::bail!("expected the stream to stay open; it ended");
        }
        Ok(())
    }

    /// Waits until everything that was sent is durable.
    pub(super) async fn settle(&mut self) -> Result<()> {
        while self.durable < self.sent {
            self.hear().await?;
        }
        Ok(())
    }

    /// Takes the next answer of the server.
    async fn hear(&mut self) -> Result<()> {
        match next(&mut self.answers).await? {
            ingest_response::Frame::Ack(ack) => self.acked(&ack),
            ingest_response::Frame::Pause(pause) => {
                let wait = pause
                    .retry_after
                    .and_then(|wait| Duration::try_from(wait).ok());
                tokio::time::sleep(wait.unwrap_or_default()).await;
                for batch in self.unacked.clone() {
                    self.put(batch).await?;
                }
                Ok(())
            }
            _ => anyhow::bail!("expected an ack; saw another frame"),
        }
    }

    fn acked(&mut self, ack: &Ack) -> Result<()> {
        if let Some(refused) = ack.refused.first() {
            let refusal = refused.refusal.as_ref();
            anyhow::bail!(
                "expected every reading to be taken; saw reading {} of batch {} refused: {:?}, and {} more",
                refused.index,
                refused.sequence,
                refusal,
                ack.refused.len() - 1 + usize::try_from(ack.refused_more)?
            );
        }
        self.durable = self.durable.max(ack.durable_through);
        self.credit = u64::from(ack.credit.max(1));
        while self
            .unacked
            .front()
            .is_some_and(|batch| batch.sequence <= self.durable)
        {
            self.unacked.pop_front();
        }
        Ok(())
    }
}

async fn next(answers: &mut Streaming<IngestResponse>) -> Result<ingest_response::Frame> {
    let answer = tokio::time::timeout(ANSWER, answers.message()).await;
    let answer = answer.context("expected an answer on the stream; none came")?;
    let answer = answer.map_err(refused("Ingest"))?;
    let answer = answer.context("expected the stream to stay open; it ended")?;
    answer
        .frame
        .context("expected a frame; saw an empty answer")
}

/// Samples in columns, as the contract describes them.
fn columns(samples: &[Sample], devices: &BTreeMap<Gadget, DeviceId>) -> Result<Columns> {
    let mut columns = Columns::default();
    let mut ids: Vec<DeviceId> = Vec::new();
    let mut measures: Vec<(u32, u32)> = Vec::new();
    let mut before = samples.first().map_or(0, |first| first.at);
    columns.base_time = before;
    for sample in samples {
        let device = devices.get(&sample.gadget);
        let device = *device.with_context(|| format!("no device is {:?}", sample.gadget))?;
        let device = place(&mut ids, device)?;
        let capability = u32::try_from(i32::from(sample.capability))?;
        let measure = place(&mut measures, (device, capability))?;
        columns.measure.push(measure);
        columns.time_delta.push(sample.at - before);
        before = sample.at;
        match sample.value {
            Value::Number(number) => columns.numbers.push(number),
            Value::Flag(flag) => columns.flags.push(flag),
        }
    }
    let bytes: Vec<u8> = ids.iter().flat_map(|id| *id.as_bytes()).collect();
    columns.devices = bytes.into();
    (columns.measure_device, columns.measure_capability) = measures.into_iter().unzip();
    Ok(columns)
}

/// Where something stands in a dictionary, into which it is put if it is new.
fn place<T: PartialEq>(all: &mut Vec<T>, one: T) -> Result<u32> {
    let at = all.iter().position(|it| *it == one).unwrap_or(all.len());
    if at == all.len() {
        all.push(one);
    }
    Ok(u32::try_from(at)?)
}

#[cfg(test)]
mod tests {
    use hearth_api::types::v1::Capability;

    use super::*;

    #[test]
    fn columns_name_each_device_and_measure_once() {
        let sample = |at, gadget, capability, value| Sample {
            at,
            gadget,
            capability,
            value,
        };
        let samples = [
            sample(
                100,
                Gadget::Meter,
                Capability::PlugEnergy,
                Value::Number(1.0),
            ),
            sample(
                105,
                Gadget::Boiler,
                Capability::HeatingOn,
                Value::Flag(true),
            ),
            sample(
                105,
                Gadget::Meter,
                Capability::PlugPower,
                Value::Number(2.0),
            ),
            sample(
                103,
                Gadget::Meter,
                Capability::PlugEnergy,
                Value::Number(3.0),
            ),
        ];
        let (meter, boiler) = (DeviceId::from_bytes([1; 16]), DeviceId::from_bytes([2; 16]));
        let devices = BTreeMap::from([(Gadget::Meter, meter), (Gadget::Boiler, boiler)]);
        let columns = columns(&samples, &devices).expect("known devices");
        assert_eq!(columns.devices.len(), 32);
        assert_eq!(columns.measure_device, [0, 1, 0]);
        assert_eq!(columns.measure_capability, [603, 105, 602]);
        assert_eq!(columns.measure, [0, 1, 2, 0]);
        assert_eq!(columns.base_time, 100);
        assert_eq!(columns.time_delta, [0, 5, 0, -2]);
        assert_eq!(columns.numbers, [1.0, 2.0, 3.0]);
        assert_eq!(columns.flags, [true]);
        assert!(super::columns(&samples, &BTreeMap::new()).is_err());
    }
}
