//! What must be there after the store was closed and opened again.

use hearth_ports::{Log, Message, Position, Purge, Removed, Stream};

use super::Capabilities;
use super::given::{
    EVERY_STREAM, EVT, INT, REC, assert_conflict, evt, head, load, put, put_after, rec, subject_in,
    take, texts, walk,
};
use crate::Instance;
use crate::instance::within;

/// Everything acked is there, at the same positions and times.
pub async fn reopening_keeps_every_family(mut instance: Instance<dyn Log>, _: Capabilities) {
    let mut before: Vec<(Option<Position>, Vec<Message>)> = Vec::new();
    for stream in EVERY_STREAM {
        let log = instance.store();
        for number in 0..12 {
            put(&*log, &subject_in(stream, number % 5), format!("{number}")).await;
        }
        before.push((head(&*log, stream).await, walk(&*log, stream).await));
    }
    for _ in 0..2 {
        instance.reopen().await;
        let log = instance.store();
        for (stream, before) in EVERY_STREAM.into_iter().zip(&before) {
            let now = (head(&*log, stream).await, walk(&*log, stream).await);
            assert_eq!(now, *before);
        }
    }
}

/// Positions known before are the expectations after, and new ones are greater.
pub async fn reopening_keeps_expectations(mut instance: Instance<dyn Log>, _: Capabilities) {
    let mut last = None;
    for round in 0..3 {
        let log = instance.store();
        if round > 0 {
            assert_conflict(put_after(&*log, &evt(1), None, "x").await);
        }
        let position = put_after(&*log, &evt(1), last, format!("{round}")).await;
        let position = Some(position.expect("the last position"));
        assert!(position > last);
        last = position;
        drop(log);
        instance.reopen().await;
    }
    assert_eq!(
        texts(&load(&*instance.store(), &evt(1)).await),
        ["0", "1", "2"]
    );
}

/// A position is never given twice, even when the message that had it is gone and the store was closed.
pub async fn reopening_keeps_the_head_of_what_was_removed(
    mut instance: Instance<dyn Log>,
    _: Capabilities,
) {
    let log = instance.store();
    let record = put(&*log, &rec(1), "only").await;
    let removed = within(log.remove(&rec(1), record)).await;
    assert_eq!(removed.expect("a removal"), Removed::Done);
    let frame = put(&*log, &subject_in(Stream::TELEMETRY, 1), "frame").await;
    let beyond = Position {
        sequence: frame.sequence + 1,
        ..frame
    };
    within(log.trim(Stream::TELEMETRY, beyond))
        .await
        .expect("a trim");
    let event = put(&*log, &subject_in(INT, 1), "event").await;
    let purged = within(log.purge(&subject_in(INT, 1), event, Purge::All)).await;
    purged.expect("a purge");
    drop(log);
    instance.reopen().await;
    let log = instance.store();
    for (stream, position) in [(REC, record), (Stream::TELEMETRY, frame), (INT, event)] {
        assert_eq!(walk(&*log, stream).await, []);
        assert_eq!(head(&*log, stream).await, Some(position));
        assert!(put(&*log, &subject_in(stream, 1), "next").await > position);
    }
}

/// What was purged stays away, and its tombstone stays.
pub async fn reopening_keeps_tombstones(mut instance: Instance<dyn Log>, _: Capabilities) {
    let log = instance.store();
    put(&*log, &evt(1), "first").await;
    let last = put(&*log, &evt(1), "tombstone").await;
    let purged = within(log.purge(&evt(1), last, Purge::KeepLast)).await;
    purged.expect("a purge");
    drop(log);
    instance.reopen().await;
    let log = instance.store();
    assert_eq!(texts(&load(&*log, &evt(1)).await), ["tombstone"]);
    assert_conflict(put_after(&*log, &evt(1), None, "returned").await);
}

/// A reader that noted a position goes on behind it.
pub async fn a_tail_resumes_after_reopening(mut instance: Instance<dyn Log>, _: Capabilities) {
    let log = instance.store();
    for number in 0..10 {
        put(&*log, &evt(number % 3), format!("{number}")).await;
    }
    let mut tail = log.tail(EVT, Position::START);
    let noted = take(&mut tail, 4).await[3].position;
    drop((tail, log));
    instance.reopen().await;
    let log = instance.store();
    let mut tail = log.tail(EVT, noted);
    put(&*log, &evt(1), "10").await;
    let seen = texts(&take(&mut tail, 7).await);
    assert_eq!(seen, ["4", "5", "6", "7", "8", "9", "10"]);
}
