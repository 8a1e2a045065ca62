//! Subjects and readings that the cases share.

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use hearth_kernel::{AccountId, AggregateRef, HomeId, Service};
use hearth_ports::{
    Expected, Family, Log, Message, Position, Read, StoreError, Stream, Subject, Topic,
};

use crate::instance::within;

pub(super) const EVT: Stream = Stream::new(Family::Evt, Service::Accounts);
pub(super) const REC: Stream = Stream::new(Family::Rec, Service::Accounts);
pub(super) const INT: Stream = Stream::new(Family::Int, Service::Accounts);
pub(super) const STATE: Stream = Stream::new(Family::State, Service::Accounts);
pub(super) const EVERY_STREAM: [Stream; 5] = [EVT, REC, INT, STATE, Stream::TELEMETRY];

fn account(number: u8) -> AggregateRef {
    let id = AccountId::from_bytes([number; 16]);
    AggregateRef::new(Service::Accounts, "account", id)
}

/// A subject of a history.
pub(super) fn evt(number: u8) -> Subject {
    Subject::aggregate(Family::Evt, &account(number))
}

/// A subject of a record.
pub(super) fn rec(number: u8) -> Subject {
    Subject::aggregate(Family::Rec, &account(number))
}

/// A subject of a published fact.
pub(super) fn fact(number: u8) -> Subject {
    Subject::fact(
        Service::Accounts,
        "access",
        AccountId::from_bytes([number; 16]),
    )
}

/// A subject of a published event.
pub(super) fn event(number: u8) -> Subject {
    Subject::event(
        Service::Accounts,
        "member-removed",
        1,
        HomeId::from_bytes([number; 16]),
    )
}

/// A subject of the stream, whichever its family.
pub(super) fn subject_in(stream: Stream, number: u8) -> Subject {
    match stream.family {
        Family::Evt => evt(number),
        Family::Rec => rec(number),
        Family::Int => event(number),
        Family::State => fact(number),
        Family::Telemetry => Subject::telemetry(number),
    }
}

pub(super) fn topic(name: &'static str) -> Topic {
    Topic(name.into())
}

/// Appends a text without an expectation.
pub(super) async fn put(log: &dyn Log, subject: &Subject, text: impl Into<String>) -> Position {
    let bytes = Bytes::from(text.into());
    within(log.append(subject, Expected::Any, bytes))
        .await
        .expect("an append without expectation")
}

/// Appends a text to a subject whose last message is at that position.
pub(super) async fn put_after(
    log: &dyn Log,
    subject: &Subject,
    last: Option<Position>,
    text: impl Into<String>,
) -> Result<Position, StoreError> {
    let bytes = Bytes::from(text.into());
    within(log.append(subject, Expected::Subject(last), bytes)).await
}

pub(super) async fn load(log: &dyn Log, subject: &Subject) -> Vec<Message> {
    within(log.load(subject, None, 10_000, Read::Leader))
        .await
        .expect("a load")
}

/// Every message of the stream, by pages of an odd size.
pub(super) async fn walk(log: &dyn Log, stream: Stream) -> Vec<Message> {
    let mut all: Vec<Message> = Vec::new();
    loop {
        let after = all.last().map_or(Position::START, |last| last.position);
        let page = within(log.page(stream, after, 7)).await.expect("a page");
        if page.is_empty() {
            return all;
        }
        assert!(
            page[0].position > after,
            "a page begins behind the one before"
        );
        all.extend(page);
    }
}

pub(super) async fn head(log: &dyn Log, stream: Stream) -> Option<Position> {
    within(log.head(stream)).await.expect("a head")
}

/// The next so many messages of a tail.
pub(super) async fn take(
    tail: &mut BoxStream<'static, Result<Message, StoreError>>,
    count: usize,
) -> Vec<Message> {
    let mut messages = Vec::new();
    while messages.len() < count {
        let item = within(tail.next()).await.expect("a tail does not just end");
        messages.push(item.expect("a message"));
    }
    messages
}

pub(super) fn texts(messages: &[Message]) -> Vec<String> {
    messages
        .iter()
        .map(|message| String::from_utf8_lossy(&message.bytes).into_owned())
        .collect()
}

#[track_caller]
pub(super) fn assert_conflict<T: std::fmt::Debug>(answer: Result<T, StoreError>) {
    assert!(
        matches!(answer, Err(StoreError::Conflict)),
        "expected a conflict, got {answer:?}"
    );
}

#[track_caller]
pub(super) fn assert_terminal<T: std::fmt::Debug>(answer: Result<T, StoreError>) {
    assert!(
        matches!(answer, Err(StoreError::Terminal(_))),
        "expected a refusal for good, got {answer:?}"
    );
}

#[track_caller]
pub(super) fn assert_ascending(messages: &[Message]) {
    for pair in messages.windows(2) {
        assert!(
            pair[0].position < pair[1].position,
            "{:?} before {:?}",
            pair[0].position,
            pair[1].position
        );
    }
}
