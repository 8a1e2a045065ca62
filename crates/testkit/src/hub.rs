//! A hub in a test: paired with a home, with devices, and a stream that sends what it is told.
//!
//! Unlike the SDK's it hides nothing: a test decides what is sent, sent again, or sent out of order.

use std::collections::BTreeMap;
use std::time::Duration;

use hearth_api::ingest::v1 as ingest;
use hearth_api::ingest::v1::devices_service_client::DevicesServiceClient;
use hearth_api::ingest::v1::hubs_service_client::HubsServiceClient;
use hearth_api::ingest::v1::ingest_service_client::IngestServiceClient;
use hearth_api::ingest::v1::reading::Value;
use hearth_api::ingest::v1::{ingest_request, ingest_response};
use hearth_api::types::v1::Capability;
use hearth_kernel::Timestamp;
use ring::signature::{Ed25519KeyPair, KeyPair};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use crate::person::{Person, request_id};

/// Batches under way between the test and the connection.
const QUEUE: usize = 256;

/// A hub that is paired.
pub struct Hub {
    key: Ed25519KeyPair,
    /// The hub's id.
    pub hub_id: [u8; 16],
    /// Its claim.
    pub claim_id: [u8; 16],
    /// The stream that it numbers its batches in.
    pub stream_id: [u8; 16],
}

/// 16 bytes from 32 hexadecimal digits.
#[must_use]
pub fn id_bytes(text: &str) -> [u8; 16] {
    u128::from_str_radix(text, 16).unwrap().to_be_bytes()
}

/// 16 random bytes.
#[must_use]
pub fn random_id() -> [u8; 16] {
    let mut bytes = [0; 16];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes).unwrap();
    bytes
}

/// What a hub signs: each part after its length as four bytes, big-endian.
#[must_use]
pub fn signed_text(parts: &[&[u8]]) -> Vec<u8> {
    let mut text = Vec::new();
    for part in parts {
        text.extend_from_slice(&u32::try_from(part.len()).unwrap().to_be_bytes());
        text.extend_from_slice(part);
    }
    text
}

impl Hub {
    /// Pairs a new hub with a home. `now` is the server's clock.
    pub async fn pair(admin: &Person, home: &str, audience: &str, now: Timestamp) -> Self {
        let (key, begun) = Self::begin(admin.channel.clone(), audience, now).await;
        let mut hubs = HubsServiceClient::new(admin.channel.clone());
        let claimed = hubs
            .claim_hub(admin.with(ingest::ClaimHubRequest {
                request_id: request_id(),
                home_id: home.to_owned(),
                code: begun.code,
                name: "Hub".to_owned(),
            }))
            .await
            .unwrap()
            .into_inner();
        Self {
            key,
            hub_id: id_bytes(&claimed.hub_id),
            claim_id: id_bytes(&claimed.claim_id),
            stream_id: random_id(),
        }
    }

    /// A new hub asks to be paired: its key, and what it was answered. `now` is the server's clock.
    pub async fn begin(
        channel: Channel,
        audience: &str,
        now: Timestamp,
    ) -> (Ed25519KeyPair, ingest::BeginPairingResponse) {
        let random = ring::rand::SystemRandom::new();
        let key =
            Ed25519KeyPair::from_pkcs8(Ed25519KeyPair::generate_pkcs8(&random).unwrap().as_ref());
        let key = key.unwrap();
        let (request, model) = (request_id(), "test hub");
        let public = key.public_key().as_ref().to_vec();
        let text = signed_text(&[
            b"hearth.pairing.v1",
            audience.as_bytes(),
            request.as_bytes(),
            &public,
            model.as_bytes(),
            &now.micros().to_be_bytes(),
        ]);
        let begun = HubsServiceClient::new(channel)
            .begin_pairing(ingest::BeginPairingRequest {
                request_id: request,
                public_key: public.into(),
                model: model.to_owned(),
                signed_at: Some(wire_time(now)),
                signature: key.sign(&text).as_ref().to_vec().into(),
            })
            .await
            .unwrap()
            .into_inner();
        (key, begun)
    }

    /// Opens a stream.
    ///
    /// # Errors
    /// What the server answers instead of a welcome.
    pub async fn open(&self, channel: Channel) -> Result<Stream, Status> {
        let (requests, queue) = mpsc::channel(QUEUE);
        let mut client = IngestServiceClient::new(channel);
        let mut answers = client
            .ingest(ReceiverStream::new(queue))
            .await?
            .into_inner();
        let Some(ingest_response::Frame::Challenge(challenge)) = next(&mut answers).await? else {
            return Err(Status::internal("no challenge"));
        };
        let text = signed_text(&[
            challenge.domain_tag.as_bytes(),
            challenge.audience.as_bytes(),
            &challenge.nonce,
            &self.hub_id,
            &self.claim_id,
        ]);
        let hello = ingest::Hello {
            hub_id: self.hub_id.to_vec().into(),
            claim_id: self.claim_id.to_vec().into(),
            nonce: challenge.nonce,
            signature: self.key.sign(&text).as_ref().to_vec().into(),
            stream_ids: vec![self.stream_id.to_vec().into()],
        };
        let hello = ingest::IngestRequest {
            frame: Some(ingest_request::Frame::Hello(hello)),
        };
        requests
            .send(hello)
            .await
            .map_err(|_| Status::unavailable("the stream ended"))?;
        let Some(ingest_response::Frame::Welcome(welcome)) = next(&mut answers).await? else {
            return Err(Status::internal("no welcome"));
        };
        let durable = welcome
            .positions
            .first()
            .map_or(0, |position| position.durable_through);
        Ok(Stream {
            requests,
            answers,
            durable,
            credit: welcome.credit,
        })
    }
}

/// An open stream.
pub struct Stream {
    requests: mpsc::Sender<ingest::IngestRequest>,
    answers: Streaming<ingest::IngestResponse>,
    /// Every batch up to this sequence is durable.
    pub durable: u64,
    /// How many batches beyond that may be under way.
    pub credit: u32,
}

async fn next(
    answers: &mut Streaming<ingest::IngestResponse>,
) -> Result<Option<ingest_response::Frame>, Status> {
    let answer = answers.message().await?;
    Ok(answer.and_then(|answer| answer.frame))
}

impl Stream {
    /// Sends a batch.
    ///
    /// # Errors
    /// When the stream has ended.
    pub async fn send(&self, batch: ingest::Batch) -> Result<(), Status> {
        let frame = ingest::IngestRequest {
            frame: Some(ingest_request::Frame::Batch(batch)),
        };
        let sent = self.requests.send(frame).await;
        sent.map_err(|_| Status::unavailable("the stream ended"))
    }

    /// The next ack; refused readings are a failure of the test unless it expects them.
    ///
    /// # Errors
    /// What ended the stream.
    pub async fn ack(&mut self) -> Result<ingest::Ack, Status> {
        loop {
            match next(&mut self.answers).await? {
                Some(ingest_response::Frame::Ack(ack)) => {
                    self.durable = self.durable.max(ack.durable_through);
                    self.credit = ack.credit;
                    return Ok(ack);
                }
                Some(ingest_response::Frame::Pause(pause)) => {
                    return Err(Status::resource_exhausted(format!("{pause:?}")));
                }
                Some(_) => {}
                None => return Err(Status::unavailable("the stream ended")),
            }
        }
    }

    /// Waits until a sequence is durable.
    ///
    /// # Errors
    /// What ended the stream.
    pub async fn durable_through(&mut self, sequence: u64) -> Result<(), Status> {
        while self.durable < sequence {
            self.ack().await?;
        }
        Ok(())
    }
}

/// Registers a device; answers its id.
pub async fn device(admin: &Person, home: &str, name: &str, capabilities: &[Capability]) -> String {
    DevicesServiceClient::new(admin.channel.clone())
        .register_device(
            admin.with(ingest::RegisterDeviceRequest {
                request_id: request_id(),
                home_id: home.to_owned(),
                name: name.to_owned(),
                kind: ingest::DeviceKind::Other.into(),
                capabilities: capabilities
                    .iter()
                    .map(|&capability| capability.into())
                    .collect(),
                ..ingest::RegisterDeviceRequest::default()
            }),
        )
        .await
        .unwrap()
        .into_inner()
        .device_id
}

/// What a hub observed: device, capability, microseconds, value.
pub type Reading = ([u8; 16], Capability, i64, Value);

/// A batch of numbers in columns: (device, capability, microseconds, value), in the order of their times.
#[must_use]
pub fn numbers(
    stream_id: [u8; 16],
    sequence: u64,
    readings: &[([u8; 16], Capability, i64, f64)],
) -> ingest::Batch {
    let readings: Vec<Reading> = readings
        .iter()
        .map(|&(device, capability, at, value)| (device, capability, at, Value::Number(value)))
        .collect();
    columns(stream_id, sequence, &readings)
}

/// A batch of any readings in columns.
#[must_use]
pub fn columns(stream_id: [u8; 16], sequence: u64, readings: &[Reading]) -> ingest::Batch {
    let mut devices: Vec<[u8; 16]> = Vec::new();
    let mut measures: BTreeMap<([u8; 16], i32), u32> = BTreeMap::new();
    let mut columns = ingest::Columns::default();
    let mut last = readings.first().map_or(0, |reading| reading.2);
    columns.base_time = last;
    for (device, capability, at, value) in readings {
        let known = measures.len();
        let measure = *measures
            .entry((*device, (*capability).into()))
            .or_insert_with(|| {
                let device = index_of(&mut devices, device);
                columns.measure_device.push(device);
                columns
                    .measure_capability
                    .push(i32::from(*capability).unsigned_abs());
                u32::try_from(known).unwrap()
            });
        columns.measure.push(measure);
        columns.time_delta.push(at - last);
        last = *at;
        match value {
            Value::Number(value) => columns.numbers.push(*value),
            Value::Integer(value) => columns.integers.push(*value),
            Value::Flag(value) => columns.flags.push(*value),
            Value::Text(value) => {
                let code = index_of(&mut columns.texts, value);
                columns.text.push(code);
            }
        }
    }
    columns.devices = devices.concat().into();
    batch(stream_id, sequence, ingest::batch::Body::Columns(columns))
}

/// A batch of any readings in rows.
#[must_use]
pub fn rows(stream_id: [u8; 16], sequence: u64, readings: &[Reading]) -> ingest::Batch {
    let readings = readings
        .iter()
        .map(|(device, capability, at, value)| ingest::Reading {
            device_id: device.to_vec().into(),
            capability: (*capability).into(),
            observed_at: Some(wire_time(Timestamp::from_micros(*at))),
            value: Some(value.clone()),
        })
        .collect();
    let rows = ingest::Rows { readings };
    batch(stream_id, sequence, ingest::batch::Body::Rows(rows))
}

fn batch(stream_id: [u8; 16], sequence: u64, body: ingest::batch::Body) -> ingest::Batch {
    ingest::Batch {
        stream_id: stream_id.to_vec().into(),
        sequence,
        body: Some(body),
    }
}

/// Where it stands in a dictionary, which it enters if it is not there.
fn index_of<T: Clone + PartialEq>(dictionary: &mut Vec<T>, item: &T) -> u32 {
    let known = dictionary.iter().position(|it| it == item);
    let index = known.unwrap_or_else(|| {
        dictionary.push(item.clone());
        dictionary.len() - 1
    });
    u32::try_from(index).unwrap()
}

/// A time as the API spells it.
#[must_use]
pub fn wire_time(time: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: time.seconds(),
        nanos: i32::try_from(time.subsecond_micros() * 1000).unwrap(),
    }
}

/// Every reading of one capability in a time, as (microseconds, value).
///
/// # Errors
/// What the server answers instead.
pub async fn query(
    person: &Person,
    home: &str,
    device: &str,
    capability: Capability,
    (from, to): (Timestamp, Timestamp),
) -> Result<Vec<(i64, f64)>, Status> {
    use hearth_api::ingest::v1::readings_service_client::ReadingsServiceClient;
    let interval = hearth_api::types::v1::Interval {
        start: Some(wire_time(from)),
        end: Some(wire_time(to)),
    };
    let mut client = ReadingsServiceClient::new(person.channel.clone());
    let (mut found, mut cursor) = (Vec::new(), ingest::QueryReadingsRequest::default().cursor);
    // One call answers a million readings at most, and says with its cursor that there are more.
    loop {
        let mut request = person.with(ingest::QueryReadingsRequest {
            home_id: home.to_owned(),
            device_id: device.to_owned(),
            capability: capability.into(),
            interval: Some(interval),
            resolution: ingest::Resolution::Raw.into(),
            cursor: std::mem::take(&mut cursor),
            ..ingest::QueryReadingsRequest::default()
        });
        request.set_timeout(Duration::from_secs(60));
        let mut stream = client.query_readings(request).await?.into_inner();
        while let Some(answer) = stream.message().await? {
            cursor = answer.cursor;
            let Some(ingest::query_readings_response::Chunk::Raw(raw)) = answer.chunk else {
                continue;
            };
            let mut at = raw.base_time;
            for (delta, value) in raw.time_delta.iter().zip(&raw.numbers) {
                at += i64::try_from(*delta).unwrap();
                found.push((at, *value));
            }
        }
        if cursor.is_empty() {
            break;
        }
    }
    Ok(found)
}
