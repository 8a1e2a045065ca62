//! Appending: expectations, rivals, sizes.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use hearth_ports::{Expected, Log, Position, Read, StoreError, Stream, Subject};
use tokio::task::JoinSet;

use super::Capabilities;
use super::given::{
    EVERY_STREAM, EVT, INT, REC, STATE, assert_ascending, assert_conflict, assert_terminal, event,
    evt, fact, head, load, put, put_after, rec, subject_in, texts, walk,
};
use crate::Instance;
use crate::instance::within;

/// A stream that nobody wrote to has no head, no newest message, no pages; a subject has nothing to load.
pub async fn nothing_has_no_head(instance: Instance<dyn Log>, _: Capabilities) {
    let log = instance.store();
    for stream in EVERY_STREAM {
        assert_eq!(head(&*log, stream).await, None);
        assert_eq!(within(log.newest(stream)).await.expect("newest"), None);
        assert_eq!(walk(&*log, stream).await, []);
        let subject = subject_in(stream, 1);
        assert_eq!(load(&*log, &subject).await, []);
        let last = within(log.last(&subject, Read::Leader)).await;
        assert_eq!(last.expect("last"), None);
    }
}

/// Each append gets a greater position than all before in its stream, and is read back as it was written.
pub async fn positions_grow_within_a_stream(instance: Instance<dyn Log>, _: Capabilities) {
    let log = instance.store();
    for stream in EVERY_STREAM {
        let mut before = Position::START;
        for number in 1..=20_u8 {
            let subject = subject_in(stream, number % 3);
            let position = put(&*log, &subject, format!("{number}")).await;
            assert!(position > before, "{position:?} after {before:?}");
            let last = within(log.last(&subject, Read::Leader)).await;
            let last = last.expect("last").expect("a message");
            assert_eq!((last.position, &last.subject), (position, &subject));
            assert_eq!(texts(&[last]), [number.to_string()]);
            assert_eq!(head(&*log, stream).await, Some(position));
            before = position;
        }
    }
}

/// Too low, too high, none when there is one, one when there is none: conflicts. The exact one: not.
pub async fn an_expectation_must_be_exact(instance: Instance<dyn Log>, _: Capabilities) {
    let log = instance.store();
    for stream in [EVT, REC, STATE] {
        let (subject, other) = (subject_in(stream, 1), subject_in(stream, 2));
        let elsewhere = put(&*log, &other, "other").await;
        assert_conflict(put_after(&*log, &subject, Some(elsewhere), "x").await);
        assert_conflict(put_after(&*log, &subject, Some(Position::START), "x").await);
        let first = put_after(&*log, &subject, None, "first").await;
        let first = first.expect("none is exact for a subject without messages");
        assert_conflict(put_after(&*log, &subject, None, "x").await);
        let second = put_after(&*log, &subject, Some(first), "second").await;
        let second = second.expect("the last position is exact");
        let newer = put(&*log, &other, "newer").await;
        let high = Position {
            sequence: newer.sequence + 1,
            ..newer
        };
        let other_generation = Position {
            generation: second.generation + 1,
            ..second
        };
        for wrong in [first, elsewhere, newer, high, other_generation] {
            assert_conflict(put_after(&*log, &subject, Some(wrong), "x").await);
        }
        let third = put_after(&*log, &subject, Some(second), "third").await;
        assert!(third.expect("still exact") > newer);
    }
}

/// After a conflict, subject and stream are as before.
pub async fn a_conflict_writes_nothing(instance: Instance<dyn Log>, _: Capabilities) {
    let log = instance.store();
    for stream in [EVT, REC, INT, STATE] {
        let subject = subject_in(stream, 1);
        let first = put(&*log, &subject, "first").await;
        let before = load(&*log, &subject).await;
        assert_conflict(put_after(&*log, &subject, None, "x").await);
        let wrong = Expected::Stream(None);
        assert_conflict(within(log.append(&subject, wrong, Bytes::from("x"))).await);
        assert_eq!(load(&*log, &subject).await, before);
        assert_eq!(head(&*log, stream).await, Some(first));
    }
}

/// What happens to other subjects does not move an expectation.
pub async fn expectations_look_at_one_subject_only(instance: Instance<dyn Log>, _: Capabilities) {
    let log = instance.store();
    let first = put(&*log, &evt(1), "first").await;
    for number in 2..10 {
        put(&*log, &evt(number), "noise").await;
    }
    put(&*log, &rec(1), "the record of the same aggregate").await;
    let second = put_after(&*log, &evt(1), Some(first), "second").await;
    assert!(second.expect("nothing happened to this subject") > first);
}

/// Of two appends with the same expectation at once, exactly one is stored.
pub async fn of_two_writers_one_wins(instance: Instance<dyn Log>, _: Capabilities) {
    for subject in [evt(1), rec(1), fact(1)] {
        let log = instance.store();
        let mut last: Option<Position> = None;
        for round in 0..25 {
            let mut writers = JoinSet::new();
            for writer in 0..2 {
                let (log, subject) = (Arc::clone(&log), subject.clone());
                writers.spawn(async move {
                    let text = format!("{round} by {writer}");
                    (put_after(&*log, &subject, last, text.clone()).await, text)
                });
            }
            let answers = within(writers.join_all()).await;
            let mut winners = Vec::new();
            for (answer, text) in answers {
                match answer {
                    Ok(position) => winners.push((position, text)),
                    Err(StoreError::Conflict) => {}
                    Err(error) => panic!("neither won nor lost: {error:?}"),
                }
            }
            let [(position, text)] = &winners[..] else {
                panic!("one winner expected, got {winners:?}");
            };
            let stored = load(&*log, &subject).await;
            let stored = stored.last().expect("the winner's message");
            assert_eq!(stored.position, *position);
            assert_eq!(stored.bytes, *text.as_bytes());
            last = Some(*position);
        }
        let kept = load(&*log, &subject).await.len();
        let keeps_last_only = subject.stream().family.keeps_last_only();
        assert_eq!(kept, if keeps_last_only { 1 } else { 25 });
    }
}

/// Writers that read, decide and append until they win: each command is stored once, and every message names
/// the one before it.
pub async fn contending_writers_form_a_chain(instance: Instance<dyn Log>, _: Capabilities) {
    const WRITERS: usize = 4;
    const COMMANDS: usize = 25;
    let log = instance.store();
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let log = Arc::clone(&log);
        writers.spawn(async move {
            for command in 0..COMMANDS {
                let id = format!("{writer}/{command}");
                let applied = |text: &str| text.starts_with(&format!("{id} after"));
                let decide = |_: &str, last| format!("{id} after {last:?}");
                commit(&*log, &evt(1), applied, decide).await;
                put(&*log, &evt(2), format!("noise {id}")).await;
            }
        });
    }
    within(writers.join_all()).await;

    let chain = load(&*log, &evt(1)).await;
    assert_ascending(&chain);
    let mut last: Option<Position> = None;
    let mut ids = BTreeSet::new();
    for (message, text) in chain.iter().zip(texts(&chain)) {
        let (id, after) = text.split_once(" after ").expect("the form written above");
        assert_eq!(after, format!("{last:?}"), "a broken link at {id}");
        assert!(ids.insert(id.to_owned()), "{id} is stored twice");
        last = Some(message.position);
    }
    assert_eq!(ids.len(), WRITERS * COMMANDS);
    assert_eq!(load(&*log, &evt(2)).await.len(), WRITERS * COMMANDS);
}

/// The same for a record, whose message holds what was applied so far: nothing is lost, nothing doubled.
pub async fn contending_writers_of_a_record_lose_no_update(
    instance: Instance<dyn Log>,
    _: Capabilities,
) {
    const WRITERS: usize = 4;
    const COMMANDS: usize = 15;
    let log = instance.store();
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let log = Arc::clone(&log);
        writers.spawn(async move {
            for command in 0..COMMANDS {
                let id = format!("<{writer}/{command}>");
                let applied = |text: &str| text.contains(&id);
                let decide = |state: &str, _| format!("{state}{id}");
                commit(&*log, &rec(1), applied, decide).await;
            }
        });
    }
    within(writers.join_all()).await;

    let record = load(&*log, &rec(1)).await;
    assert_eq!(record.len(), 1, "a record is one message");
    let state = texts(&record).concat();
    for writer in 0..WRITERS {
        for command in 0..COMMANDS {
            let times = state.matches(&format!("<{writer}/{command}>")).count();
            assert_eq!(times, 1, "<{writer}/{command}> was applied {times} times");
        }
    }
}

/// One command as an engine runs it: read, stop if it was applied, append behind what was read.
async fn commit(
    log: &dyn Log,
    subject: &Subject,
    applied: impl Fn(&str) -> bool,
    decide: impl Fn(&str, Option<Position>) -> String,
) {
    for _ in 0..10_000 {
        let stored = load(log, subject).await;
        let state = texts(&stored);
        if state.iter().any(|text| applied(text)) {
            return;
        }
        let last = stored.last().map(|message| message.position);
        let newest = state.last().map_or("", String::as_str);
        match put_after(log, subject, last, decide(newest, last)).await {
            Ok(_) => return,
            Err(StoreError::Conflict) => tokio::task::yield_now().await,
            Err(error) => panic!("neither won nor lost: {error:?}"),
        }
    }
    panic!("a command never won");
}

/// Under the target stream's expectation a relay publishes in order, and a rival's first append fails.
pub async fn a_rival_of_the_relay_loses(instance: Instance<dyn Log>, _: Capabilities) {
    let log = instance.store();
    for (stream, one, other) in [(INT, event(1), event(2)), (STATE, fact(1), fact(2))] {
        let mut at: Option<Position> = None;
        for number in 0..10 {
            let subject = if number % 2 == 0 { &one } else { &other };
            let bytes = Bytes::from(format!("relay {number}"));
            let rival = Bytes::from(format!("rival {number}"));
            let stale = at;
            let position = within(log.append(subject, Expected::Stream(at), bytes)).await;
            at = Some(position.expect("the stream's last message is known"));
            for subject in [&one, &other] {
                let expected = Expected::Stream(stale);
                assert_conflict(within(log.append(subject, expected, rival.clone())).await);
            }
            assert_eq!(head(&*log, stream).await, at);
        }
        let newest = within(log.newest(stream)).await.expect("newest");
        assert_eq!(newest.map(|message| message.position), at);
        assert!(
            texts(&walk(&*log, stream).await)
                .iter()
                .all(|text| text.starts_with("relay"))
        );
    }
}

/// Frames do not depend on each other: many writers at once, none loses.
pub async fn an_append_without_expectation_never_conflicts(
    instance: Instance<dyn Log>,
    _: Capabilities,
) {
    let log = instance.store();
    let mut writers = JoinSet::new();
    for writer in 0..4_u8 {
        let log = Arc::clone(&log);
        writers.spawn(async move {
            for frame in 0..25 {
                let shard = Subject::telemetry(frame % 3);
                put(&*log, &shard, format!("{writer}/{frame}")).await;
            }
        });
    }
    within(writers.join_all()).await;
    let frames = walk(&*log, Stream::TELEMETRY).await;
    assert_ascending(&frames);
    let distinct: BTreeSet<String> = texts(&frames).into_iter().collect();
    assert_eq!((frames.len(), distinct.len()), (100, 100));
}

/// Nothing, one byte, every byte, and 1 MiB come back as they were.
pub async fn sizes_from_nothing_to_a_mebibyte(instance: Instance<dyn Log>, _: Capabilities) {
    let log = instance.store();
    let every_byte: Vec<u8> = (0..=255).collect();
    let mebibyte: Vec<u8> = every_byte.iter().copied().cycle().take(1 << 20).collect();
    let payloads = [vec![], vec![0], every_byte, mebibyte];
    for stream in EVERY_STREAM {
        let subject = subject_in(stream, 1);
        for payload in &payloads {
            let bytes = Bytes::from(payload.clone());
            let stored = within(log.append(&subject, Expected::Any, bytes)).await;
            let position = stored.expect("a message of this size");
            let last = within(log.last(&subject, Read::Leader)).await;
            let last = last.expect("last").expect("a message");
            assert_eq!(last.position, position);
            assert!(last.bytes == *payload, "{} bytes differ", payload.len());
        }
    }
}

/// A message above 1 MiB is refused for good, and nothing of it is stored.
pub async fn a_greater_message_is_refused(instance: Instance<dyn Log>, _: Capabilities) {
    let log = instance.store();
    let bytes = Bytes::from(vec![7; (1 << 20) + 1]);
    assert_terminal(within(log.append(&evt(1), Expected::Subject(None), bytes)).await);
    assert_eq!(load(&*log, &evt(1)).await, []);
    put_after(&*log, &evt(1), None, "small")
        .await
        .expect("still at the beginning");
}

/// A later position never has an earlier time.
pub async fn recorded_times_never_fall(instance: Instance<dyn Log>, _: Capabilities) {
    let log = instance.store();
    let mut writers = JoinSet::new();
    for writer in 0..3_u8 {
        let log = Arc::clone(&log);
        writers.spawn(async move {
            for number in 0..20 {
                put(&*log, &evt(writer), format!("{number}")).await;
            }
        });
    }
    within(writers.join_all()).await;
    let all = walk(&*log, EVT).await;
    for pair in all.windows(2) {
        assert!(pair[0].recorded_at <= pair[1].recorded_at, "{pair:?}");
    }
}

/// A wildcard or an empty token is no subject: refused for good, in every call.
pub async fn a_subject_is_literal(instance: Instance<dyn Log>, _: Capabilities) {
    let log = instance.store();
    put(&*log, &evt(1), "there").await;
    for tokens in [
        "account.*",
        ">",
        "account.>",
        "account..1",
        "",
        "account.a b",
    ] {
        let subject = Subject::from_tokens(EVT, tokens);
        let bytes = Bytes::from("x");
        assert_terminal(within(log.append(&subject, Expected::Any, bytes)).await);
        assert_terminal(within(log.load(&subject, None, 10, Read::Leader)).await);
        assert_terminal(within(log.last(&subject, Read::Leader)).await);
        assert_terminal(within(log.remove(&subject, Position::START)).await);
    }
    assert_eq!(walk(&*log, EVT).await.len(), 1);
}
