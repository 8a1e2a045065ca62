//! The JetStream API as far as it is used: requests and answers in JSON, on subjects of one server feature each.
//!
//! Spelled out here rather than taken from the client library, because its answers hide which class a failure has, and
//! it has no batched direct get.

use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hearth_kernel::Timestamp;
use hearth_ports::StoreError;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::connection::Connection;
use crate::error::Refusal;
use crate::stamp;

/// A message as the servers keep it, before it is known whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Raw {
    pub(crate) subject: String,
    pub(crate) sequence: u64,
    pub(crate) recorded_at: Timestamp,
    pub(crate) bytes: Bytes,
}

/// What a failed request means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It changes nothing, or may be repeated.
    Repeatable,
    /// Repeated, it may double something.
    Once,
}

/// How long a rival's message may be under way: the waits double from the first to the most, half a second in all.
const UNDER_WAY_FIRST: Duration = Duration::from_millis(2);
const UNDER_WAY_MOST: Duration = Duration::from_millis(256);

#[derive(Deserialize)]
struct Failure {
    error: Option<Refusal>,
}

/// What the servers answered.
pub(crate) type Answer<T> = Result<T, Refusal>;

/// That this is not what a server says.
pub(crate) fn gibberish(what: &'static str) -> StoreError {
    StoreError::retryable(format!("the server's answer is not understood: {what}"))
}

impl Connection {
    /// Sends something and reads the answer.
    pub(crate) async fn request<T: DeserializeOwned>(
        &self,
        kind: Kind,
        subject: String,
        headers: Option<HeaderMap>,
        payload: Bytes,
        until: Instant,
    ) -> Result<Answer<T>, StoreError> {
        let answer = self.ask(subject, headers, payload, until).await;
        let answer = answer.map_err(|why| match kind {
            Kind::Repeatable => why.retryable(),
            Kind::Once => why.of_write(),
        })?;
        let unread = |error: serde_json::Error| match kind {
            Kind::Repeatable => StoreError::Retryable(Arc::new(error)),
            Kind::Once => StoreError::Unknown(Arc::new(error)),
        };
        let failure: Failure = serde_json::from_slice(&answer.payload).map_err(unread)?;
        if let Some(refusal) = failure.error {
            return Ok(Err(refusal));
        }
        let said = serde_json::from_slice(&answer.payload).map_err(unread)?;
        Ok(Ok(said))
    }

    /// Asks the API.
    pub(crate) async fn api<T: DeserializeOwned>(
        &self,
        call: &str,
        body: &Value,
        until: Instant,
    ) -> Result<Answer<T>, StoreError> {
        let subject = format!("$JS.API.{call}");
        let payload = Bytes::from(body.to_string());
        self.request(Kind::Repeatable, subject, None, payload, until)
            .await
    }

    /// Stores a message; answers its sequence. Where another message of the subject is still under way, the servers
    /// refuse without knowing whether that one will be stored: they are asked again until they know.
    pub(crate) async fn store(
        &self,
        subject: &str,
        headers: &HeaderMap,
        bytes: &Bytes,
        until: Instant,
    ) -> Result<u64, StoreError> {
        let mut pause = UNDER_WAY_FIRST;
        loop {
            let (subject, headers) = (subject.to_owned(), Some(headers.clone()));
            let ack = self
                .request::<Ack>(Kind::Once, subject, headers, bytes.clone(), until)
                .await?;
            match ack {
                Ok(ack) => return Ok(ack.seq),
                Err(refusal) if refusal.is_under_way() && pause <= UNDER_WAY_MOST => {
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                Err(refusal) => return Err(refusal.class()),
            }
        }
    }

    /// What the stream's leader says of it.
    pub(crate) async fn info(
        &self,
        stream: &str,
        until: Instant,
    ) -> Result<Answer<Info>, StoreError> {
        self.api(&format!("STREAM.INFO.{stream}"), &json!({}), until)
            .await
    }

    /// One message, from the stream's leader.
    pub(crate) async fn message(
        &self,
        stream: &str,
        which: &Value,
        until: Instant,
    ) -> Result<Option<Raw>, StoreError> {
        let call = format!("STREAM.MSG.GET.{stream}");
        match self.api::<Got>(&call, which, until).await? {
            Ok(got) => got.message.raw().map(Some),
            Err(refusal) if refusal.is_no_message() => Ok(None),
            Err(refusal) => Err(refusal.class()),
        }
    }
}

/// A stream.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Info {
    pub(crate) config: Value,
    pub(crate) state: State,
    #[serde(default)]
    pub(crate) cluster: Option<Cluster>,
    /// The server's time when it answered.
    #[serde(default)]
    pub(crate) ts: String,
}

impl Info {
    /// Whether somebody leads it; a lone server always does.
    pub(crate) fn is_led(&self) -> bool {
        let led = |cluster: &Cluster| cluster.leader.as_ref().is_some_and(|it| !it.is_empty());
        self.cluster.as_ref().is_none_or(led)
    }

    /// The server's time when it answered.
    pub(crate) fn now(&self) -> Result<Timestamp, StoreError> {
        stamp::parse(&self.ts).ok_or_else(|| gibberish("its time"))
    }
}

/// What lies in a stream.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct State {
    pub(crate) last_seq: u64,
}

/// Who keeps a stream.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Cluster {
    #[serde(default)]
    pub(crate) leader: Option<String>,
}

#[derive(Deserialize)]
struct Got {
    message: GotMessage,
}

#[derive(Deserialize)]
struct GotMessage {
    subject: String,
    seq: u64,
    #[serde(default)]
    data: String,
    time: String,
}

impl GotMessage {
    fn raw(self) -> Result<Raw, StoreError> {
        let bytes = STANDARD
            .decode(&self.data)
            .map_err(|_| gibberish("base64"))?;
        Ok(Raw {
            subject: self.subject,
            sequence: self.seq,
            recorded_at: stamp::parse(&self.time).ok_or_else(|| gibberish("a time"))?,
            bytes: bytes.into(),
        })
    }
}

/// The ack of an append.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Ack {
    pub(crate) seq: u64,
}

/// How many went.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Purged {
    #[serde(default)]
    pub(crate) purged: u64,
}

/// An answer of which only the success matters.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Done {}
