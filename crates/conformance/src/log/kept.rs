//! What is kept, and what goes: last values, purges, removals, trims.

use bytes::Bytes;
use hearth_ports::{Expected, Log, Position, Purge, Removed, Stream, Subject};

use super::Capabilities;
use super::given::{
    EVERY_STREAM, EVT, INT, REC, STATE, assert_ascending, assert_conflict, assert_terminal, event,
    evt, fact, head, load, put, put_after, rec, subject_in, texts, walk,
};
use crate::Instance;
use crate::instance::within;

async fn purge(log: &dyn Log, subject: &Subject, through: Position, purge: Purge) -> u64 {
    within(log.purge(subject, through, purge))
        .await
        .expect("a purge")
}

async fn remove(log: &dyn Log, subject: &Subject, position: Position) -> Removed {
    within(log.remove(subject, position))
        .await
        .expect("a removal")
}

/// A record or fact is one message: the last.
pub async fn last_value_families_keep_one(instance: Instance<dyn Log>, _: Capabilities) {
    let log = instance.store();
    for stream in [REC, STATE] {
        let (one, other) = (subject_in(stream, 1), subject_in(stream, 2));
        put(&*log, &other, "other").await;
        let mut last = None;
        for number in 0..10 {
            let position = put_after(&*log, &one, last, format!("{number}")).await;
            last = Some(position.expect("the last position"));
            assert_eq!(texts(&load(&*log, &one).await), [number.to_string()]);
        }
        assert_eq!(texts(&walk(&*log, stream).await), ["other", "9"]);
    }
}

/// A history, the events and the frames keep every message.
pub async fn history_keeps_all(instance: Instance<dyn Log>, _: Capabilities) {
    let log = instance.store();
    for stream in [EVT, INT, Stream::TELEMETRY] {
        for number in 0..10 {
            put(&*log, &subject_in(stream, number % 2), format!("{number}")).await;
        }
        assert_eq!(load(&*log, &subject_in(stream, 1)).await.len(), 5);
        assert_eq!(walk(&*log, stream).await.len(), 10);
    }
}

/// A purge that keeps the last message leaves a tombstone: who expects nothing conflicts for ever.
pub async fn a_tombstone_forbids_return(instance: Instance<dyn Log>, can: Capabilities) {
    let log = instance.store();
    let mut last = Position::START;
    for number in 0..5 {
        last = put(&*log, &evt(1), format!("{number}")).await;
    }
    let gone = purge(&*log, &evt(1), last, Purge::KeepLast).await;
    if can.counts_purged {
        assert_eq!(gone, 4);
    }
    assert_eq!(texts(&load(&*log, &evt(1)).await), ["4"]);
    assert_conflict(put_after(&*log, &evt(1), None, "returned").await);
    assert_eq!(purge(&*log, &evt(1), last, Purge::KeepLast).await, 0);
    assert_eq!(texts(&load(&*log, &evt(1)).await), ["4"]);
    let after = put_after(&*log, &evt(1), Some(last), "5").await;
    after.expect("the tombstone's position is the last one");
}

/// A purge through a position takes that one too, and nothing that is newer.
pub async fn a_purge_spares_what_is_newer(instance: Instance<dyn Log>, can: Capabilities) {
    let log = instance.store();
    let mut positions = Vec::new();
    for number in 0..10 {
        positions.push(put(&*log, &evt(1), format!("{number}")).await);
    }
    let gone = purge(&*log, &evt(1), positions[3], Purge::KeepLast).await;
    if can.counts_purged {
        assert_eq!(gone, 4);
    }
    let kept = texts(&load(&*log, &evt(1)).await);
    assert_eq!(kept, ["4", "5", "6", "7", "8", "9"]);
    assert_eq!(
        purge(&*log, &evt(1), positions[3], Purge::KeepLast).await,
        0
    );
    purge(&*log, &evt(1), Position::START, Purge::KeepLast).await;
    assert_eq!(load(&*log, &evt(1)).await.len(), 6);
}

/// Other subjects keep what they have, and a purge of nothing is harmless.
pub async fn a_purge_touches_one_subject(instance: Instance<dyn Log>, _: Capabilities) {
    let log = instance.store();
    for number in 0..12 {
        put(&*log, &evt(number % 3), format!("{number}")).await;
        put(&*log, &rec(number % 3), format!("record {number}")).await;
    }
    let records = walk(&*log, REC).await;
    let spared = (load(&*log, &evt(0)).await, load(&*log, &evt(2)).await);
    let through = head(&*log, EVT).await.expect("a head");
    purge(&*log, &evt(1), through, Purge::KeepLast).await;
    purge(&*log, &evt(77), through, Purge::KeepLast).await;
    assert_eq!(
        (load(&*log, &evt(0)).await, load(&*log, &evt(2)).await),
        spared
    );
    assert_eq!(load(&*log, &evt(1)).await.len(), 1);
    assert_eq!(walk(&*log, REC).await, records);
}

/// A purge of everything is refused on histories and records: it would let an erased aggregate return.
pub async fn an_aggregate_is_never_purged_whole(instance: Instance<dyn Log>, _: Capabilities) {
    let log = instance.store();
    for stream in [EVT, REC] {
        let subject = subject_in(stream, 1);
        let position = put(&*log, &subject, "there").await;
        assert_terminal(within(log.purge(&subject, position, Purge::All)).await);
        assert_eq!(load(&*log, &subject).await.len(), 1);
    }
}

/// A purge of everything leaves a subject without messages, which begins anew at a greater position.
pub async fn a_purge_of_all_lets_a_fact_begin_anew(instance: Instance<dyn Log>, _: Capabilities) {
    let log = instance.store();
    for stream in [STATE, INT, Stream::TELEMETRY] {
        let subject = subject_in(stream, 1);
        put(&*log, &subject, "first").await;
        let last = put(&*log, &subject, "last").await;
        purge(&*log, &subject, last, Purge::All).await;
        assert_eq!(load(&*log, &subject).await, []);
        assert_eq!(head(&*log, stream).await, Some(last));
        assert_conflict(put_after(&*log, &subject, Some(last), "x").await);
        let anew = put_after(&*log, &subject, None, "anew").await;
        assert!(anew.expect("nothing is there") > last);
    }
}

/// A record that was removed at its position may begin anew; removing again is done already.
pub async fn a_removed_record_may_begin_anew(instance: Instance<dyn Log>, _: Capabilities) {
    let log = instance.store();
    for stream in [REC, STATE, EVT] {
        let subject = subject_in(stream, 1);
        put(&*log, &subject_in(stream, 2), "other").await;
        let position = put(&*log, &subject, "first").await;
        assert_eq!(remove(&*log, &subject, position).await, Removed::Done);
        assert_eq!(load(&*log, &subject).await, []);
        assert_eq!(remove(&*log, &subject, position).await, Removed::Done);
        assert_conflict(put_after(&*log, &subject, Some(position), "x").await);
        let anew = put_after(&*log, &subject, None, "anew").await;
        let anew = anew.expect("nothing is there");
        assert!(anew > position, "a position is never given twice");
        assert_eq!(remove(&*log, &subject, position).await, Removed::Conflict);
        assert_eq!(texts(&load(&*log, &subject).await), ["anew"]);
        assert_eq!(load(&*log, &subject_in(stream, 2)).await.len(), 1);
    }
}

/// Who removes at a position that is not the last one any more removes nothing.
pub async fn a_removal_spares_a_newer_message(instance: Instance<dyn Log>, _: Capabilities) {
    let log = instance.store();
    for subject in [rec(1), fact(1), evt(1)] {
        let first = put(&*log, &subject, "first").await;
        put(&*log, &subject, "second").await;
        let before = load(&*log, &subject).await;
        assert_eq!(remove(&*log, &subject, first).await, Removed::Conflict);
        assert_eq!(load(&*log, &subject).await, before);
    }
}

/// Of a history, a removal takes the last message and leaves those before; repeated, it takes no other.
pub async fn a_removal_takes_one_message_of_a_history(
    instance: Instance<dyn Log>,
    _: Capabilities,
) {
    let log = instance.store();
    let first = put(&*log, &evt(1), "first").await;
    let second = put(&*log, &evt(1), "second").await;
    assert_eq!(remove(&*log, &evt(1), second).await, Removed::Done);
    assert_eq!(remove(&*log, &evt(1), second).await, Removed::Done);
    assert_eq!(texts(&load(&*log, &evt(1)).await), ["first"]);
    let third = put_after(&*log, &evt(1), Some(first), "third").await;
    assert!(third.expect("the first is the last again") > second);
}

/// A subject that never had a message, and one whose message is at another subject's position.
pub async fn a_removal_of_nothing_is_done(instance: Instance<dyn Log>, _: Capabilities) {
    let log = instance.store();
    let elsewhere = put(&*log, &rec(2), "other").await;
    assert_eq!(remove(&*log, &rec(1), elsewhere).await, Removed::Done);
    assert_eq!(remove(&*log, &rec(1), Position::START).await, Removed::Done);
    assert_eq!(texts(&load(&*log, &rec(2)).await), ["other"]);
}

/// The head is the newest message ever stored, also when it is gone; the newest stored one is another matter.
pub async fn the_head_never_falls_back(instance: Instance<dyn Log>, _: Capabilities) {
    let log = instance.store();
    for stream in EVERY_STREAM {
        let (kept, gone) = (subject_in(stream, 1), subject_in(stream, 2));
        let first = put(&*log, &kept, "kept").await;
        let second = put(&*log, &gone, "gone").await;
        assert_eq!(remove(&*log, &gone, second).await, Removed::Done);
        assert_eq!(head(&*log, stream).await, Some(second));
        let newest = within(log.newest(stream)).await.expect("newest");
        assert_eq!(newest.map(|message| message.position), Some(first));
        let stale = Expected::Stream(Some(first));
        assert_conflict(within(log.append(&kept, stale, Bytes::from("x"))).await);
        let exact = Expected::Stream(Some(second));
        let third = within(log.append(&kept, exact, Bytes::from("third"))).await;
        assert!(third.expect("the head is the expectation") > second);
    }
}

/// A trim takes the messages before a position, of all subjects, and neither that one nor the head.
pub async fn a_trim_takes_what_is_before(instance: Instance<dyn Log>, _: Capabilities) {
    let log = instance.store();
    for stream in [INT, Stream::TELEMETRY] {
        let mut positions = Vec::new();
        for number in 0..20 {
            let subject = subject_in(stream, number % 4);
            positions.push(put(&*log, &subject, format!("{number}")).await);
        }
        for _ in 0..2 {
            within(log.trim(stream, positions[15]))
                .await
                .expect("a trim");
            let kept = walk(&*log, stream).await;
            assert_eq!(texts(&kept), ["15", "16", "17", "18", "19"]);
        }
        let newest = within(log.newest(stream)).await.expect("newest");
        assert_eq!(newest.map(|message| message.position), Some(positions[19]));
        let beyond = Position {
            sequence: positions[19].sequence + 1,
            ..positions[19]
        };
        within(log.trim(stream, beyond)).await.expect("a trim");
        assert_eq!(walk(&*log, stream).await, []);
        assert_eq!(head(&*log, stream).await, Some(positions[19]));
        let expected = Expected::Stream(Some(positions[19]));
        let subject = subject_in(stream, 1);
        let next = within(log.append(&subject, expected, Bytes::from("20"))).await;
        assert!(next.expect("the head is the expectation") > positions[19]);
        let kept = walk(&*log, stream).await;
        assert_ascending(&kept);
        assert_eq!(texts(&kept), ["20"]);
    }
}

/// History, records and facts are never trimmed.
pub async fn only_events_and_frames_are_trimmed(instance: Instance<dyn Log>, _: Capabilities) {
    let log = instance.store();
    for stream in [EVT, REC, STATE] {
        put(&*log, &subject_in(stream, 1), "there").await;
        let position = put(&*log, &subject_in(stream, 2), "there too").await;
        assert_terminal(within(log.trim(stream, position)).await);
        assert_eq!(walk(&*log, stream).await.len(), 2);
    }
    assert_eq!(load(&*log, &event(1)).await, []);
}
