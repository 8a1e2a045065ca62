//! The log on JetStream: one message per commit, under the expectation of its literal subject.
//!
//! It must not know what the bytes mean. An unknown outcome is answered as one: the caller reads the subject.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_nats::HeaderMap;
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{BoxStream, once, unfold};
use hearth_ports::{
    Announcement, Expected, Family, Log, Message, Position, Purge, Read, Removed, StoreError,
    Stream, Subject, Topic,
};
use serde_json::{Value, json};
use tokio::sync::broadcast;
use tokio::time::{Instant, timeout_at};

use crate::api::{Done, Purged};
use crate::connection::{Connection, Unanswered};
use crate::error::Refusal;
use crate::read::{Known, Wanted};
use crate::streams::MAX_MESSAGE_BYTES;
use crate::{streams, tail};

/// The longest text of a subject's tokens: far below what the servers' protocol takes in a line.
const MAX_TOKENS: usize = 512;
/// Announcements kept for a slow listener.
const ANNOUNCEMENTS: usize = 256;

/// The log on JetStream. Cheap to clone; all clones use one connection.
#[derive(Clone, Debug)]
pub struct NatsLog {
    connection: Arc<Connection>,
    /// Bounded by the number of streams that there are.
    known: Arc<Mutex<HashMap<Stream, Arc<Known>>>>,
}

impl NatsLog {
    pub(crate) fn new(connection: Arc<Connection>) -> Self {
        Self {
            connection,
            known: Arc::default(),
        }
    }

    /// The stream as it is; the first time, its leader is asked.
    async fn known(&self, stream: Stream, until: Instant) -> Result<Arc<Known>, StoreError> {
        let lock = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lock().get(&stream) {
            return Ok(Arc::clone(known));
        }
        let info = self.connection.info(&stream.name(), until).await?;
        let config = info.map_err(Refusal::class)?.config;
        let generation = streams::generation_of(&config)
            .ok_or_else(|| StoreError::terminal("the stream does not say its generation"))?;
        let replicated = config.get("num_replicas").and_then(Value::as_u64) != Some(1);
        let known = Arc::new(Known::new(stream, generation, replicated));
        lock().insert(stream, Arc::clone(&known));
        Ok(known)
    }

    async fn publish(
        &self,
        subject: String,
        headers: HeaderMap,
        bytes: Bytes,
        until: Instant,
    ) -> Result<u64, StoreError> {
        let in_flight = timeout_at(until, self.connection.in_flight.acquire()).await;
        let _place = in_flight
            .map_err(|_| StoreError::retryable("too many appends are under way"))?
            .map_err(|_| StoreError::retryable("the log is closed"))?;
        self.connection
            .store(&subject, &headers, &bytes, until)
            .await
    }

    /// The last message of a subject or pattern, from the leader.
    async fn leader_last(
        &self,
        known: &Known,
        filter: &str,
        until: Instant,
    ) -> Result<Option<Message>, StoreError> {
        let last = json!({"last_by_subj": filter});
        let raw = self.connection.message(&known.name, &last, until).await?;
        raw.map(|raw| known.message(raw)).transpose()
    }

    async fn purge_before(
        &self,
        known: &Known,
        filter: Option<String>,
        sequence: u64,
        until: Instant,
    ) -> Result<u64, StoreError> {
        if sequence <= 1 {
            return Ok(0);
        }
        let mut body = json!({"seq": sequence});
        if let Some(filter) = filter {
            body["filter"] = json!(filter);
        }
        let call = format!("STREAM.PURGE.{}", known.name);
        let purged = self.connection.api::<Purged>(&call, &body, until).await?;
        Ok(purged.map_err(Refusal::class)?.purged)
    }
}

/// Refuses what is no literal subject.
fn literal(subject: &Subject) -> Result<(), StoreError> {
    let tokens = subject.tokens();
    let plain = |token: &str| {
        !token.is_empty()
            && token
                .bytes()
                .all(|it| it.is_ascii_graphic() && !matches!(it, b'*' | b'>'))
    };
    if tokens.len() <= MAX_TOKENS && tokens.split('.').all(plain) {
        Ok(())
    } else {
        Err(StoreError::terminal("the subject is not literal"))
    }
}

/// The sequence that an expectation names in this generation; `None` when it cannot hold.
fn expected_sequence(known: &Known, expected: Option<Position>) -> Option<u64> {
    match expected {
        None => Some(0),
        Some(position) if position.generation == known.generation && position.sequence > 0 => {
            Some(position.sequence)
        }
        Some(_) => None,
    }
}

#[async_trait]
impl Log for NatsLog {
    async fn append(
        &self,
        subject: &Subject,
        expected: Expected,
        bytes: Bytes,
    ) -> Result<Position, StoreError> {
        literal(subject)?;
        if bytes.len() > MAX_MESSAGE_BYTES {
            return Err(StoreError::terminal("the message is above 1 MiB"));
        }
        let until = self.connection.deadline();
        let known = self.known(subject.stream(), until).await?;
        let mut headers = HeaderMap::new();
        // No stream but this one may take it, whatever subjects others claim.
        headers.insert("Nats-Expected-Stream", known.name.as_str());
        let expectation = match expected {
            Expected::Subject(last) => Some(("Nats-Expected-Last-Subject-Sequence", last)),
            Expected::Stream(last) => Some(("Nats-Expected-Last-Sequence", last)),
            Expected::Any => None,
        };
        if let Some((name, last)) = expectation {
            let sequence = expected_sequence(&known, last).ok_or(StoreError::Conflict)?;
            headers.insert(name, sequence.to_string().as_str());
        }
        let text = subject.text(known.generation);
        let sequence = self.publish(text, headers, bytes, until).await?;
        Ok(known.at(sequence))
    }

    async fn load(
        &self,
        subject: &Subject,
        after: Option<Position>,
        limit: usize,
        read: Read,
    ) -> Result<Vec<Message>, StoreError> {
        literal(subject)?;
        let until = self.connection.deadline();
        let known = self.known(subject.stream(), until).await?;
        let Some(from) = known.behind(after.unwrap_or(Position::START)) else {
            return Ok(Vec::new());
        };
        let filter = subject.text(known.generation);
        let wanted = Wanted {
            stream: &known.name,
            filter: &filter,
            from,
            limit,
        };
        let found = self
            .connection
            .range(wanted, read, known.replicated, until)
            .await?;
        found.into_iter().map(|raw| known.message(raw)).collect()
    }

    async fn last(&self, subject: &Subject, read: Read) -> Result<Option<Message>, StoreError> {
        literal(subject)?;
        let until = self.connection.deadline();
        let known = self.known(subject.stream(), until).await?;
        let filter = subject.text(known.generation);
        if read == Read::Leader {
            return self.leader_last(&known, &filter, until).await;
        }
        let raw = self
            .connection
            .follower_last(&known.name, &filter, until)
            .await?;
        raw.map(|raw| known.message(raw)).transpose()
    }

    async fn head(&self, stream: Stream) -> Result<Option<Position>, StoreError> {
        let until = self.connection.deadline();
        let known = self.known(stream, until).await?;
        let info = self.connection.info(&known.name, until).await?;
        let last = info.map_err(Refusal::class)?.state.last_seq;
        Ok((last > 0).then(|| known.at(last)))
    }

    async fn newest(&self, stream: Stream) -> Result<Option<Message>, StoreError> {
        let until = self.connection.deadline();
        let known = self.known(stream, until).await?;
        self.leader_last(&known, &known.pattern, until).await
    }

    /// On a cluster a page sees all that was acked before, and may for a moment show a message in its middle that was
    /// purged just now.
    async fn page(
        &self,
        stream: Stream,
        after: Position,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError> {
        let until = self.connection.deadline();
        let known = self.known(stream, until).await?;
        let Some(from) = known.behind(after) else {
            return Ok(Vec::new());
        };
        let wanted = Wanted {
            stream: &known.name,
            filter: &known.pattern,
            from,
            limit,
        };
        let found = self
            .connection
            .range(wanted, Read::Leader, known.replicated, until)
            .await?;
        found.into_iter().map(|raw| known.message(raw)).collect()
    }

    fn tail(
        &self,
        stream: Stream,
        after: Position,
    ) -> BoxStream<'static, Result<Message, StoreError>> {
        let log = self.clone();
        let begun = async move {
            let known = log.known(stream, log.connection.deadline()).await?;
            let from = known.behind(after).ok_or_else(|| {
                StoreError::terminal("the position is of a generation that is not there yet")
            })?;
            Ok(tail::follow(log.connection, known, from))
        };
        once(begun)
            .flat_map(|begun| match begun {
                Ok(messages) => messages,
                Err(error) => once(async { Err(error) }).boxed(),
            })
            .boxed()
    }

    async fn purge(
        &self,
        subject: &Subject,
        through: Position,
        purge: Purge,
    ) -> Result<u64, StoreError> {
        literal(subject)?;
        if purge == Purge::All && matches!(subject.stream().family, Family::Evt | Family::Rec) {
            return Err(StoreError::terminal("an aggregate keeps its last message"));
        }
        let until = self.connection.deadline();
        let known = self.known(subject.stream(), until).await?;
        let filter = subject.text(known.generation);
        let Some(mut before) = known.behind(through) else {
            return Err(StoreError::terminal("a position of a later generation"));
        };
        if purge == Purge::KeepLast {
            // The servers take a sequence or a number to keep, not both. What is appended meanwhile only lies behind.
            match self.leader_last(&known, &filter, until).await? {
                Some(last) => before = before.min(last.position.sequence),
                None => return Ok(0),
            }
        }
        self.purge_before(&known, Some(filter), before, until).await
    }

    /// Between the look at the subject and the removal another message may be appended behind a message of a history;
    /// of records and facts that replaces it, so the removal finds nothing and is a conflict. Histories are
    /// removed from by whoever alone writes them.
    async fn remove(&self, subject: &Subject, position: Position) -> Result<Removed, StoreError> {
        literal(subject)?;
        let until = self.connection.deadline();
        let known = self.known(subject.stream(), until).await?;
        let filter = subject.text(known.generation);
        for _ in 0..2 {
            let last = match self.leader_last(&known, &filter, until).await? {
                Some(last) => last.position,
                None => return Ok(Removed::Done),
            };
            if last != position {
                let newer = last > position;
                return Ok(if newer {
                    Removed::Conflict
                } else {
                    Removed::Done
                });
            }
            // The servers overwrite the bytes in place, which takes them some milliseconds: what is removed (an
            // address, a credential) is worth it, and removals are rare.
            let body = json!({"seq": position.sequence, "no_erase": false});
            let call = format!("STREAM.MSG.DELETE.{}", known.name);
            match self.connection.api::<Done>(&call, &body, until).await? {
                Ok(Done {}) => return Ok(Removed::Done),
                // It went while we looked: look again at what is there now.
                Err(refusal) if refusal.is_no_message() => {}
                Err(refusal) => return Err(refusal.class()),
            }
        }
        Err(StoreError::retryable(
            "the subject changes while it is removed",
        ))
    }

    async fn trim(&self, stream: Stream, before: Position) -> Result<(), StoreError> {
        if !matches!(stream.family, Family::Int | Family::Telemetry) {
            return Err(StoreError::terminal("only events and frames are trimmed"));
        }
        let until = self.connection.deadline();
        let known = self.known(stream, until).await?;
        if before.generation > known.generation {
            return Err(StoreError::terminal("a position of a later generation"));
        }
        if before.generation == known.generation {
            self.purge_before(&known, None, before.sequence, until)
                .await?;
        }
        Ok(())
    }

    async fn announce(&self, topic: &Topic, bytes: Bytes) -> Result<(), StoreError> {
        let until = self.connection.deadline();
        let said = self.connection.say(spoken(topic)?, bytes, until).await;
        said.map_err(Unanswered::retryable)
    }

    fn listen(&self, topic: &Topic) -> BoxStream<'static, Announcement> {
        let (sender, heard) = broadcast::channel(ANNOUNCEMENTS);
        let client = self.connection.client.clone();
        if let Ok(subject) = spoken(topic) {
            self.connection.afterwards("listen", async move {
                let Ok(mut said) = client.subscribe(subject).await else {
                    return;
                };
                // The channel drops the oldest for who is slow, the subscription would drop the newest.
                loop {
                    tokio::select! {
                        message = said.next() => match message {
                            Some(message) => {
                                let _ = sender.send(Announcement(message.payload));
                            }
                            None => return,
                        },
                        () = sender.closed() => return,
                    }
                }
            });
        }
        unfold(heard, |mut heard| async move {
            loop {
                match heard.recv().await {
                    Ok(announcement) => return Some((announcement, heard)),
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return None,
                }
            }
        })
        .boxed()
    }
}

/// The subject of a topic.
fn spoken(topic: &Topic) -> Result<String, StoreError> {
    literal(&Subject::from_tokens(Stream::TELEMETRY, topic.0.clone()))?;
    Ok(format!("said.{}", topic.0))
}
