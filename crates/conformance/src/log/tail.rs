//! Following a stream: in order, without gaps among what is kept, however slow the reader.

use std::sync::Arc;

use hearth_ports::{Log, Position, Purge, Stream};
use tokio::task::JoinSet;

use super::Capabilities;
use super::given::{
    EVERY_STREAM, EVT, STATE, assert_ascending, evt, fact, put, rec, subject_in, take, texts, walk,
};
use crate::Instance;
use crate::instance::within;

/// First what is stored, then what arrives, in the order of the stream.
pub async fn a_tail_gives_what_is_stored_and_then_what_arrives(
    instance: Instance<dyn Log>,
    _: Capabilities,
) {
    let log = instance.store();
    for stream in EVERY_STREAM {
        for number in 0..10 {
            put(&*log, &subject_in(stream, number), format!("{number}")).await;
        }
        let mut tail = log.tail(stream, Position::START);
        let mut seen = take(&mut tail, 10).await;
        for number in 10..20 {
            put(&*log, &subject_in(stream, number), format!("{number}")).await;
            seen.extend(take(&mut tail, 1).await);
        }
        assert_eq!(seen, walk(&*log, stream).await);
    }
}

/// A tail begins behind the position that it is given, whether it is the first, in the middle or the head.
pub async fn a_tail_resumes_after_a_position(instance: Instance<dyn Log>, _: Capabilities) {
    let log = instance.store();
    for number in 0..20 {
        put(&*log, &evt(number % 4), format!("{number}")).await;
    }
    let all = walk(&*log, EVT).await;
    for begin in [0, 9, 18] {
        let mut tail = log.tail(EVT, all[begin].position);
        let seen = take(&mut tail, 19 - begin).await;
        assert_eq!(seen, all[begin + 1..]);
    }
    let mut tail = log.tail(EVT, all[19].position);
    put(&*log, &evt(1), "new").await;
    assert_eq!(texts(&take(&mut tail, 1).await), ["new"]);
}

/// A tail may be opened before the stream has a message.
pub async fn a_tail_of_an_empty_stream_waits(instance: Instance<dyn Log>, _: Capabilities) {
    let log = instance.store();
    for stream in EVERY_STREAM {
        let mut tail = log.tail(stream, Position::START);
        let mut reader = JoinSet::new();
        reader.spawn(async move { texts(&take(&mut tail, 3).await) });
        for number in 0..3 {
            put(&*log, &subject_in(stream, number), format!("{number}")).await;
        }
        assert_eq!(within(reader.join_all()).await, [["0", "1", "2"]]);
    }
}

/// Tails that were opened before, during and after concurrent appends all see every message, in order.
pub async fn a_tail_beside_writers_skips_nothing(instance: Instance<dyn Log>, _: Capabilities) {
    const WRITERS: u8 = 3;
    const MESSAGES: usize = 60;
    let total = usize::from(WRITERS) * MESSAGES;
    let log = instance.store();
    let mut readers = JoinSet::new();
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let follower = Arc::clone(&log);
        readers.spawn(async move {
            let mut tail = follower.tail(EVT, Position::START);
            take(&mut tail, total).await
        });
        let log = Arc::clone(&log);
        writers.spawn(async move {
            for number in 0..MESSAGES {
                put(&*log, &evt(writer), format!("{number}")).await;
            }
        });
    }
    within(writers.join_all()).await;
    let all = walk(&*log, EVT).await;
    assert_eq!(all.len(), total);
    assert_ascending(&all);
    for seen in within(readers.join_all()).await {
        assert_eq!(seen, all);
    }
}

/// A reader that pauses while much more arrives than any buffer holds gets all of it.
pub async fn a_slow_tail_skips_nothing(instance: Instance<dyn Log>, _: Capabilities) {
    const MESSAGES: usize = 3000;
    let log = instance.store();
    let mut tail = log.tail(Stream::TELEMETRY, Position::START);
    put(&*log, &subject_in(Stream::TELEMETRY, 0), "first").await;
    assert_eq!(texts(&take(&mut tail, 1).await), ["first"]);
    let mut writers = JoinSet::new();
    for writer in 0..10_u8 {
        let log = Arc::clone(&log);
        writers.spawn(async move {
            for number in 0..MESSAGES / 10 {
                let shard = subject_in(Stream::TELEMETRY, writer);
                put(&*log, &shard, format!("{number}")).await;
            }
        });
    }
    within(writers.join_all()).await;
    let seen = take(&mut tail, MESSAGES).await;
    assert_eq!(seen, walk(&*log, Stream::TELEMETRY).await[1..]);
}

/// What arrives in other streams does not appear.
pub async fn a_tail_sees_its_own_stream_only(instance: Instance<dyn Log>, _: Capabilities) {
    let log = instance.store();
    let mut tail = log.tail(EVT, Position::START);
    for number in 0..5 {
        put(&*log, &rec(1), format!("record {number}")).await;
        put(&*log, &fact(1), format!("fact {number}")).await;
        put(&*log, &evt(1), format!("event {number}")).await;
    }
    let seen = take(&mut tail, 5).await;
    assert_eq!(seen, walk(&*log, EVT).await);
}

/// A tail of last values may leave replaced ones out, but never the last of a subject, nor the order.
pub async fn a_tail_of_last_values_ends_with_the_last(
    instance: Instance<dyn Log>,
    _: Capabilities,
) {
    let log = instance.store();
    let mut tail = log.tail(STATE, Position::START);
    for number in 0..30 {
        put(&*log, &fact(number % 3), format!("{number}")).await;
    }
    put(&*log, &fact(9), "end").await;
    let mut seen = Vec::new();
    loop {
        seen.extend(take(&mut tail, 1).await);
        if texts(&seen).last().is_some_and(|text| text == "end") {
            break;
        }
    }
    assert_ascending(&seen);
    for kept in walk(&*log, STATE).await {
        assert!(seen.contains(&kept), "{kept:?} was skipped");
    }
}

/// What was purged or removed before the tail got there is passed over; what lies behind it comes.
pub async fn a_tail_passes_over_what_is_gone(instance: Instance<dyn Log>, _: Capabilities) {
    let log = instance.store();
    for number in 0..12 {
        put(&*log, &evt(number % 3), format!("{number}")).await;
    }
    let all = walk(&*log, EVT).await;
    let purged = within(log.purge(&evt(1), all[11].position, Purge::KeepLast)).await;
    purged.expect("a purge");
    let removed = within(log.remove(&evt(2), all[11].position)).await;
    removed.expect("a removal");
    let mut tail = log.tail(EVT, all[1].position);
    put(&*log, &evt(0), "12").await;
    let seen = take(&mut tail, 7).await;
    assert_eq!(texts(&seen), ["2", "3", "5", "6", "8", "9", "10"]);
    assert_eq!(texts(&take(&mut tail, 1).await), ["12"]);
}
