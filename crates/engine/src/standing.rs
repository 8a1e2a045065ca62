//! How everything that follows the log stands, read from what it writes down: for metrics and alarms.
//!
//! It asks the stores, not the consumers, so it sees those of every process, and needs nothing from them. It gives names
//! of the source, numbers and times alone.

use std::collections::BTreeMap;

use hearth_kernel::{Service, Timestamp};
use hearth_ports::{Documents, Family, Log, Position, Range, StoreError, Stream};

use crate::consumer::CHECKPOINTS;
use crate::timers;

/// The most consumers that are looked at: a process has a few dozen.
const CONSUMERS: usize = 1000;
/// The most sources of a consumer.
const SOURCES: usize = 100;

/// How far a consumer has come in one of its streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behind {
    /// Its name.
    pub consumer: String,
    /// The stream's.
    pub stream: Stream,
    /// Its stored mark.
    pub mark: Position,
    /// At most so many messages lie behind the mark; 0 when none is left there.
    pub messages: u64,
    /// When the first of them was recorded.
    pub oldest: Option<Timestamp>,
}

/// How the timers of a service stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimersStanding {
    /// Whose.
    pub service: Service,
    /// How many are due and not done.
    pub late: usize,
    /// When the oldest of those was due.
    pub oldest: Option<Timestamp>,
    /// How many wait for their time.
    pub waiting: usize,
}

/// Every stream there is.
fn streams() -> impl Iterator<Item = Stream> {
    let families = [Family::Evt, Family::Rec, Family::Int, Family::State];
    let of_all = Service::ALL.into_iter();
    of_all
        .flat_map(move |service| families.map(|family| Stream::new(family, service)))
        .chain([Stream::TELEMETRY])
}

/// Every consumer that has a mark, of these services' streams or any: those that do not run any more too.
///
/// # Errors
/// When a store does not answer.
pub async fn consumers(
    log: &dyn Log,
    documents: &dyn Documents,
) -> Result<Vec<Behind>, StoreError> {
    let names: BTreeMap<String, Stream> = streams().map(|it| (it.name(), it)).collect();
    let mut heads: BTreeMap<Stream, Option<Position>> = BTreeMap::new();
    let mut all = Vec::new();
    for partition in documents.partitions(CHECKPOINTS, None, CONSUMERS).await? {
        let rows = documents.range(CHECKPOINTS, &partition, Range::all(SOURCES));
        for row in rows.await? {
            let stream = std::str::from_utf8(&row.key).ok();
            let stream = stream.and_then(|name| names.get(name)).copied();
            let (Some(stream), Some(mark)) = (stream, Position::from_bytes(&row.value)) else {
                continue;
            };
            let head = match heads.get(&stream) {
                Some(head) => *head,
                None => {
                    let head = log.head(stream).await?;
                    heads.insert(stream, head);
                    head
                }
            };
            let first = match head {
                Some(head) if head > mark => log.page(stream, mark, 1).await?.into_iter().next(),
                _ => None,
            };
            let messages = first.as_ref().map_or(0, |_| distance(mark, head));
            all.push(Behind {
                consumer: String::from_utf8_lossy(&partition).into_owned(),
                stream,
                mark,
                messages,
                oldest: first.map(|message| message.recorded_at),
            });
        }
    }
    Ok(all)
}

/// The most messages that can lie between two positions of a stream.
#[must_use]
pub fn distance(from: Position, head: Option<Position>) -> u64 {
    match head {
        Some(head) if head.generation == from.generation => {
            head.sequence.saturating_sub(from.sequence)
        }
        // A generation begins anew: all that it has.
        Some(head) if head > from => head.sequence,
        _ => 0,
    }
}

/// The timers of a service, each number counted up to `most`.
///
/// # Errors
/// When the store does not answer.
pub async fn timers(
    documents: &dyn Documents,
    service: Service,
    now: Timestamp,
    most: usize,
) -> Result<TimersStanding, StoreError> {
    let (late, oldest, waiting) = timers::count(documents, service, now, most).await?;
    Ok(TimersStanding {
        service,
        late,
        oldest,
        waiting,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use bytes::Bytes;
    use hearth_backend_memory::Memory;
    use hearth_ports::{Clock, Expected, ManualClock, Subject};
    use uuid::Uuid;

    use super::*;
    use crate::{Timer, Timers};

    fn memory() -> (Memory, ManualClock) {
        let clock = ManualClock::new(Timestamp::from_seconds(1_795_000_000));
        (Memory::new(Arc::new(clock.clone())), clock)
    }

    #[tokio::test]
    async fn consumers_stand_where_their_marks_say() {
        let (memory, clock) = memory();
        let (log, documents) = (&*memory.log, &*memory.documents);
        let mut positions = Vec::new();
        for n in 0..5 {
            let subject = Subject::fact(Service::Accounts, "x", Uuid::from_u128(n));
            let at = log.append(&subject, Expected::Any, Bytes::new()).await;
            positions.push((at.expect("appended"), clock.now()));
            clock.advance(Duration::from_secs(10));
        }
        let stream = Stream::new(Family::State, Service::Accounts);
        for (consumer, at) in [("one", positions[1].0), ("two", positions[4].0)] {
            let (partition, key, value) = (consumer.as_bytes(), stream.name(), at.to_bytes());
            let row = Bytes::copy_from_slice(&value);
            let put = documents.put(CHECKPOINTS, partition, key.as_bytes(), at.stamp(), row);
            put.await.expect("put");
        }
        let mut all = consumers(log, documents).await.expect("an answer");
        all.sort_by(|a, b| a.consumer.cmp(&b.consumer));
        assert_eq!(all.len(), 2);
        assert_eq!((all[0].messages, all[0].oldest), (3, Some(positions[2].1)));
        assert_eq!((all[1].messages, all[1].oldest), (0, None));
    }

    #[tokio::test]
    async fn timers_are_counted_on_both_sides_of_now() {
        let (memory, clock) = memory();
        let documents: Arc<dyn Documents> = Arc::clone(&memory.documents) as _;
        let set = Timers::new(
            Service::Ingest,
            Arc::clone(&documents),
            Arc::clone(&memory.clock),
        );
        let start = clock.now();
        for n in 0..700_u32 {
            let timer = Timer {
                due: start.plus(Duration::from_secs(u64::from(n))),
                id: Uuid::from_u128(n.into()),
                task: Bytes::new(),
            };
            set.set(Position::START, &timer).await.expect("set");
        }
        clock.advance(Duration::from_secs(299));
        let standing = timers(&*documents, Service::Ingest, clock.now(), 10_000).await;
        let expected = TimersStanding {
            service: Service::Ingest,
            late: 300,
            oldest: Some(start),
            waiting: 400,
        };
        assert_eq!(standing.expect("an answer"), expected);
        let none = timers(&*documents, Service::Media, clock.now(), 10_000).await;
        assert_eq!(none.expect("an answer").oldest, None);
    }
}
