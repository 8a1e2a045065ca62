//! Following a stream: a consumer of its own that the servers forget when nobody asks it any more.
//!
//! It asks for so many messages at a time, so that a slow reader holds no more than one answer. Each message carries
//! a number of this consumer: one that is missing was lost on the way, and ends the tail with an error, as does a
//! server that says nothing for longer than its heartbeat. The caller begins again behind what it has seen.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use hearth_kernel::Timestamp;
use hearth_ports::{Message, StoreError};
use serde_json::json;
use tokio::time::Instant;

use crate::api::{Done, Raw, gibberish};
use crate::connection::{Connection, Conversation, Unanswered};
use crate::read::Known;

/// Messages asked for at once.
const BATCH: usize = 256;
/// Bytes asked for at once: above the greatest message.
const BATCH_BYTES: usize = 4 << 20;
/// How long one question stands.
const EXPIRES: Duration = Duration::from_secs(20);
/// How often a server says that it is there, while there is nothing else to say.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How long a server may say nothing.
const SILENCE: Duration = Duration::from_secs(3);
/// After how long the servers forget a consumer whom nobody asks: a reader may take this long over one answer.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);

const HEARTBEAT_STATUS: u16 = 100;
const NOTHING_THERE: u16 = 404;
const EXPIRED: u16 = 408;
const CONFLICT: u16 = 409;
/// Nobody heard the question: on a cluster, also one that comes before the consumer's server has told the others.
const NOBODY: u16 = 503;
/// How often in a row a question may be unheard, and how long after each it is asked again: about 3 s.
const UNHEARD: (u32, Duration) = (30, Duration::from_millis(100));

/// Tells the servers that a consumer is over, when its tail is dropped.
struct Consumer {
    connection: Arc<Connection>,
    stream: String,
    name: String,
}

impl Drop for Consumer {
    fn drop(&mut self) {
        let client = self.connection.client.clone();
        let subject = format!("$JS.API.CONSUMER.DELETE.{}.{}", self.stream, self.name);
        self.connection.afterwards("tail-end", async move {
            // Lost, it costs the server a little memory for a minute.
            let _ = client.publish(subject, Bytes::new()).await;
        });
    }
}

/// The messages from a sequence on: what is stored first, then what arrives.
pub(crate) fn follow(
    connection: Arc<Connection>,
    known: Arc<Known>,
    from: u64,
) -> BoxStream<'static, Result<Message, StoreError>> {
    Box::pin(async_stream::try_stream! {
        let consumer = create(&connection, &known, from).await?;
        let until = connection.deadline();
        let mut answers = connection.converse(until).await.map_err(Unanswered::retryable)?;
        let (mut delivered, mut unheard) = (0_u64, 0_u32);
        loop {
            ask(&answers, &consumer).await?;
            let mut left = BATCH;
            while left > 0 {
                match next(&mut answers).await? {
                    Heard::Nothing => unheard = 0,
                    Heard::Over => {
                        unheard = 0;
                        break;
                    }
                    Heard::ByNobody => {
                        unheard += 1;
                        if unheard > UNHEARD.0 {
                            Err(StoreError::retryable("nobody has the consumer"))?;
                        }
                        tokio::time::sleep(UNHEARD.1).await;
                        break;
                    }
                    Heard::Message { number, raw } => {
                        unheard = 0;
                        delivered += 1;
                        if number != delivered {
                            Err(StoreError::retryable("a message was lost on its way"))?;
                        }
                        left -= 1;
                        yield known.message(raw)?;
                    }
                }
            }
        }
    })
}

async fn create(
    connection: &Arc<Connection>,
    known: &Known,
    from: u64,
) -> Result<Consumer, StoreError> {
    // The client library's own random names: an inbox is one.
    let inbox = connection.client.new_inbox();
    let name = inbox.rsplit('.').next().unwrap_or_default().to_owned();
    let config = json!({
        "stream_name": known.name,
        "action": "create",
        "config": {
            "name": name,
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": from,
            "ack_policy": "none",
            "replay_policy": "instant",
            "mem_storage": true,
            "num_replicas": 1,
            "max_waiting": 8,
            "inactive_threshold": nanos(FORGOTTEN_AFTER),
        },
    });
    let call = format!("CONSUMER.CREATE.{}.{name}", known.name);
    let consumer = Consumer {
        connection: Arc::clone(connection),
        stream: known.name.clone(),
        name,
    };
    let made = connection
        .api::<Done>(&call, &config, connection.deadline())
        .await?;
    made.map_err(crate::error::Refusal::class)?;
    Ok(consumer)
}

async fn ask(answers: &Conversation, consumer: &Consumer) -> Result<(), StoreError> {
    let question = json!({
        "batch": BATCH,
        "max_bytes": BATCH_BYTES,
        "expires": nanos(EXPIRES),
        "idle_heartbeat": nanos(HEARTBEAT),
    });
    let subject = format!(
        "$JS.API.CONSUMER.MSG.NEXT.{}.{}",
        consumer.stream, consumer.name
    );
    answers
        .ask(subject, Bytes::from(question.to_string()))
        .await
        .map_err(Unanswered::retryable)
}

enum Heard {
    Nothing,
    /// The question is answered: ask again.
    Over,
    /// The question reached nobody.
    ByNobody,
    Message {
        number: u64,
        raw: Raw,
    },
}

async fn next(answers: &mut Conversation) -> Result<Heard, StoreError> {
    let heard = answers.next(Instant::now() + SILENCE).await;
    let message = heard.map_err(Unanswered::retryable)?;
    let said = message.description.as_deref().unwrap_or_default();
    match message.status.map(|status| status.as_u16()) {
        None => {}
        Some(HEARTBEAT_STATUS) => return Ok(Heard::Nothing),
        Some(NOTHING_THERE | EXPIRED) => return Ok(Heard::Over),
        Some(NOBODY) => return Ok(Heard::ByNobody),
        Some(CONFLICT) if said.contains("MaxBytes") || said.contains("Batch Completed") => {
            return Ok(Heard::Over);
        }
        Some(status) => {
            let why = format!("the consumer ended: {status} {said}");
            return Err(StoreError::retryable(why));
        }
    }
    let reply = message.reply.as_deref().unwrap_or_default();
    let place = Place::parse(reply).ok_or_else(|| gibberish("a message's place"))?;
    Ok(Heard::Message {
        number: place.delivered,
        raw: Raw {
            subject: message.subject.to_string(),
            sequence: place.sequence,
            recorded_at: place.recorded_at,
            bytes: message.payload,
        },
    })
}

/// What the reply subject of a delivered message tells of it.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    sequence: u64,
    delivered: u64,
    recorded_at: Timestamp,
}

impl Place {
    /// `$JS.ACK.<stream>.<consumer>.<tries>.<sequence>.<delivered>.<nanoseconds>.<pending>`; newer servers put a domain
    /// and an account before the stream, and may add tokens at the end.
    fn parse(reply: &str) -> Option<Self> {
        let tokens: Vec<&str> = reply.split('.').collect();
        let base = match tokens.len() {
            9 => 5,
            11.. => 7,
            _ => return None,
        };
        if tokens.first() != Some(&"$JS") || tokens.get(1) != Some(&"ACK") {
            return None;
        }
        let nanos: i64 = tokens.get(base + 2)?.parse().ok()?;
        Some(Self {
            sequence: tokens.get(base)?.parse().ok()?,
            delivered: tokens.get(base + 1)?.parse().ok()?,
            recorded_at: Timestamp::from_micros(nanos.div_euclid(1000)),
        })
    }
}

fn nanos(period: Duration) -> u64 {
    u64::try_from(period.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_from_both_forms_of_a_reply() {
        let place = Some(Place {
            sequence: 7,
            delivered: 3,
            recorded_at: Timestamp::from_micros(1_795_482_123_123_456),
        });
        let short = "$JS.ACK.EVT_ACCOUNTS.abc.1.7.3.1795482123123456789.0";
        assert_eq!(Place::parse(short), place);
        let long = "$JS.ACK._.HASH.EVT_ACCOUNTS.abc.1.7.3.1795482123123456789.0.xyz";
        assert_eq!(Place::parse(long), place);
        assert_eq!(Place::parse("_INBOX.a.b"), None);
        assert_eq!(Place::parse("$JS.ACK.a.b.c.d.e.f.g"), None);
    }
}
