//! Reading messages: many at once from whichever replica answers, and what must be fresh checked against the leader.
//!
//! A direct get is one request for many messages, but a replica may lag behind what was acked. The leader answers for
//! one message at a time. So a fresh read asks the leader for the first and the last message of what is wanted, and
//! takes the replica's answer when it begins and ends there: a replica applies everything in order, so it has then
//! applied all that changed what lies between. Else the leader is asked for each.

use bytes::Bytes;
use hearth_ports::{Position, Read, StoreError, Stream, Subject};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::api::{Raw, gibberish};
use crate::connection::Connection;
use crate::stamp;

/// Messages asked for at once: below what a subscription holds.
const BATCH: usize = 256;
/// Bytes asked for at once; a batch ends with the message that reaches it.
const BATCH_BYTES: usize = 8 << 20;
/// The greatest answer that a batch has: its end.
const END_OF_BATCH: u16 = 204;
const NOTHING_FOUND: u16 = 404;
const NO_RESPONDERS: u16 = 503;

/// A stream as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) stream: Stream,
    pub(crate) name: String,
    pub(crate) generation: u32,
    /// Whether followers answer too.
    pub(crate) replicated: bool,
    /// Every subject of its generation.
    pub(crate) pattern: String,
    /// What a subject begins with.
    prefix: String,
}

impl Known {
    pub(crate) fn new(stream: Stream, generation: u32, replicated: bool) -> Self {
        let pattern = crate::streams::pattern(stream, generation);
        let prefix = pattern.trim_end_matches(['>', '*']).to_owned();
        Self {
            stream,
            name: stream.name(),
            generation,
            replicated,
            pattern,
            prefix,
        }
    }

    /// The position of a sequence.
    pub(crate) const fn at(&self, sequence: u64) -> Position {
        Position {
            generation: self.generation,
            sequence,
        }
    }

    /// The first sequence behind a position; `None` when nothing can be: it is of a later generation.
    pub(crate) const fn behind(&self, position: Position) -> Option<u64> {
        if position.generation < self.generation {
            Some(1)
        } else if position.generation == self.generation {
            Some(position.sequence.saturating_add(1))
        } else {
            None
        }
    }

    /// A message of the port.
    pub(crate) fn message(&self, raw: Raw) -> Result<hearth_ports::Message, StoreError> {
        let tokens = raw
            .subject
            .strip_prefix(&self.prefix)
            .ok_or_else(|| gibberish("a subject of another stream"))?;
        Ok(hearth_ports::Message {
            subject: Subject::from_tokens(self.stream, tokens.to_owned()),
            position: self.at(raw.sequence),
            recorded_at: raw.recorded_at,
            bytes: raw.bytes,
        })
    }
}

/// Which messages: those of one literal subject or of the whole stream, from a sequence on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) stream: &'a str,
    pub(crate) filter: &'a str,
    pub(crate) from: u64,
    pub(crate) limit: usize,
}

impl Connection {
    /// What is wanted, oldest first. `replicated`: whether followers answer too.
    pub(crate) async fn range(
        &self,
        wanted: Wanted<'_>,
        read: Read,
        replicated: bool,
        until: Instant,
    ) -> Result<Vec<Raw>, StoreError> {
        if wanted.limit == 0 {
            return Ok(Vec::new());
        }
        if read == Read::Follower || !replicated {
            return self.batches(wanted, until).await;
        }
        let next = json!({"seq": wanted.from, "next_by_subj": wanted.filter});
        let last = json!({"last_by_subj": wanted.filter});
        let (first, last) = tokio::try_join!(
            self.message(wanted.stream, &next, until),
            self.message(wanted.stream, &last, until),
        )?;
        let (Some(first), Some(last)) = (first, last) else {
            return Ok(Vec::new());
        };
        if first.sequence >= last.sequence || wanted.limit == 1 {
            return Ok(vec![first]);
        }
        let from = first.sequence;
        let found = self.batches(Wanted { from, ..wanted }, until).await?;
        if self.is_fresh(wanted, &found, &first, &last, until).await? {
            return Ok(found);
        }
        self.one_by_one(wanted, first, until).await
    }

    /// Whether a replica's answer is what the leader would have said.
    async fn is_fresh(
        &self,
        wanted: Wanted<'_>,
        found: &[Raw],
        first: &Raw,
        last: &Raw,
        until: Instant,
    ) -> Result<bool, StoreError> {
        let begins = found
            .first()
            .is_some_and(|it| it.sequence == first.sequence);
        let Some(end) = found.last().filter(|_| begins) else {
            return Ok(false);
        };
        if end.sequence >= last.sequence {
            return Ok(true);
        }
        if found.len() < wanted.limit {
            return Ok(false);
        }
        // A page that ends earlier: a replica knows of each removal that lies before a later message of the subject,
        // so only the last one may be gone.
        let there = json!({"seq": end.sequence});
        Ok(self.message(wanted.stream, &there, until).await?.is_some())
    }

    async fn one_by_one(
        &self,
        wanted: Wanted<'_>,
        first: Raw,
        until: Instant,
    ) -> Result<Vec<Raw>, StoreError> {
        let mut found = vec![first];
        while found.len() < wanted.limit {
            let from = found.last().map_or(wanted.from, |it| it.sequence + 1);
            let next = json!({"seq": from, "next_by_subj": wanted.filter});
            match self.message(wanted.stream, &next, until).await? {
                Some(raw) => found.push(raw),
                None => break,
            }
        }
        Ok(found)
    }

    async fn batches(&self, wanted: Wanted<'_>, until: Instant) -> Result<Vec<Raw>, StoreError> {
        let mut found = Vec::new();
        let mut from = wanted.from;
        loop {
            let limit = (wanted.limit - found.len()).min(BATCH);
            let asked = Wanted {
                from,
                limit,
                ..wanted
            };
            let (batch, more) = self.batch(asked, until).await?;
            from = match batch.last() {
                Some(last) => last.sequence + 1,
                None => return Ok(found),
            };
            found.extend(batch);
            if !more || found.len() >= wanted.limit {
                return Ok(found);
            }
        }
    }

    /// One direct get: the messages, and whether there are more.
    async fn batch(
        &self,
        wanted: Wanted<'_>,
        until: Instant,
    ) -> Result<(Vec<Raw>, bool), StoreError> {
        let mut answers = self
            .converse(until)
            .await
            .map_err(crate::connection::Unanswered::retryable)?;
        let question = json!({
            "seq": wanted.from,
            "next_by_subj": wanted.filter,
            "batch": wanted.limit,
            "max_bytes": BATCH_BYTES,
        });
        let subject = format!("$JS.API.DIRECT.GET.{}", wanted.stream);
        answers
            .ask(subject, Bytes::from(question.to_string()))
            .await
            .map_err(crate::connection::Unanswered::retryable)?;
        let mut found: Vec<Raw> = Vec::new();
        loop {
            let answer = answers.next(until).await;
            let answer = answer.map_err(crate::connection::Unanswered::retryable)?;
            match answer.status.map(|status| status.as_u16()) {
                None => found.push(raw_of(answer)?),
                Some(END_OF_BATCH) => {
                    let left = header(&answer, "Nats-Num-Pending").unwrap_or("0");
                    return Ok((found, left != "0"));
                }
                Some(NOTHING_FOUND) => return Ok((found, false)),
                Some(NO_RESPONDERS) => {
                    return Err(StoreError::retryable("no replica of the stream answers"));
                }
                Some(status) => {
                    let said = answer.description.as_deref().unwrap_or_default();
                    return Err(StoreError::retryable(format!(
                        "a replica answered {status} {said}"
                    )));
                }
            }
        }
    }

    /// The last message of a filter, from whichever replica answers.
    pub(crate) async fn follower_last(
        &self,
        stream: &str,
        filter: &str,
        until: Instant,
    ) -> Result<Option<Raw>, StoreError> {
        let question: Value = json!({"last_by_subj": filter});
        let subject = format!("$JS.API.DIRECT.GET.{stream}");
        let payload = Bytes::from(question.to_string());
        let answer = self.ask(subject, None, payload, until).await;
        let answer = answer.map_err(crate::connection::Unanswered::retryable)?;
        match answer.status.map(|status| status.as_u16()) {
            None => raw_of(answer).map(Some),
            Some(NOTHING_FOUND) => Ok(None),
            Some(status) => Err(StoreError::retryable(format!(
                "a replica answered {status}"
            ))),
        }
    }
}

fn header<'a>(message: &'a async_nats::Message, name: &str) -> Option<&'a str> {
    let headers = message.headers.as_ref()?;
    headers.get(name).map(async_nats::HeaderValue::as_str)
}

fn raw_of(message: async_nats::Message) -> Result<Raw, StoreError> {
    let missing = || gibberish("a header is missing");
    let subject = header(&message, "Nats-Subject").ok_or_else(missing)?;
    let sequence = header(&message, "Nats-Sequence").ok_or_else(missing)?;
    let time = header(&message, "Nats-Time-Stamp").ok_or_else(missing)?;
    Ok(Raw {
        subject: subject.to_owned(),
        sequence: sequence.parse().map_err(|_| gibberish("a sequence"))?,
        recorded_at: stamp::parse(time).ok_or_else(|| gibberish("a time"))?,
        bytes: message.payload,
    })
}
