//! Wire forms that several handlers share: times, ids, classes.

use std::str::FromStr;

use hearth_api::types::v1::{CommitToken, RetentionClass as WireClass};
use hearth_engine::Outcome;
use hearth_kernel::{RetentionClass, Service, Timestamp, Violations};

/// The wire form of a time.
pub(crate) fn time(at: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: at.seconds(),
        nanos: i32::try_from(at.subsecond_micros()).map_or(0, |micros| micros * 1_000),
    }
}

/// A time from the wire; a part finer than a microsecond is cut off. `None` for what no timestamp may be.
pub(crate) fn of_time(time: &prost_types::Timestamp) -> Option<Timestamp> {
    if !(0..=999_999_999).contains(&time.nanos) {
        return None;
    }
    let micros = time.seconds.checked_mul(1_000_000)?;
    let micros = micros.checked_add(i64::from(time.nanos) / 1_000)?;
    Some(Timestamp::from_micros(micros))
}

/// An id in a request, or a violation.
pub(crate) fn id<T: FromStr>(text: &str, field: &str, violations: &mut Violations) -> Option<T> {
    violations.take(text.parse(), field, "32 hexadecimal digits")
}

/// An id that may be empty, or a violation.
pub(crate) fn optional_id<T: FromStr>(
    text: &str,
    field: &str,
    violations: &mut Violations,
) -> Option<Option<T>> {
    if text.is_empty() {
        return Some(None);
    }
    id(text, field, violations).map(Some)
}

/// A client's request id, or a violation.
pub(crate) fn request_id<'a>(text: &'a str, violations: &mut Violations) -> Option<&'a str> {
    let character = |it: u8| it.is_ascii_alphanumeric() || it == b'-' || it == b'_';
    let good = (16..=64).contains(&text.len()) && text.bytes().all(character);
    violations.require(good, "request_id", "16 to 64 characters of A-Z a-z 0-9 - _");
    good.then_some(text)
}

/// A name that people give, or a violation.
pub(crate) fn name<'a>(text: &'a str, violations: &mut Violations) -> Option<&'a str> {
    let length = text.chars().take(65).count();
    let good =
        (1..=64).contains(&length) && !text.chars().any(char::is_control) && text.trim() == text;
    violations.require(
        good,
        "name",
        "1 to 64 characters, no control characters, no blanks around",
    );
    good.then_some(text)
}

/// The tokens that a read must wait for, or a violation.
pub(crate) fn tokens(
    list: &[CommitToken],
    violations: &mut Violations,
) -> Vec<hearth_engine::CommitToken> {
    violations.require(list.len() <= 8, "after", "at most 8");
    let read = |token: &CommitToken| hearth_engine::CommitToken::from_bytes(&token.value);
    let read: Vec<_> = list.iter().take(8).filter_map(read).collect();
    violations.require(
        read.len() == list.len().min(8),
        "after",
        "not tokens of this system",
    );
    read
}

/// The token of what a call changed.
pub(crate) fn token<A: hearth_engine::Aggregate>(outcome: &Outcome<A>) -> Option<CommitToken> {
    let position = outcome.position?;
    let token = hearth_engine::CommitToken {
        service: Service::Ingest,
        position,
    };
    Some(CommitToken {
        value: token.to_bytes().into(),
    })
}

/// The wire form of a class.
pub(crate) fn class(class: RetentionClass) -> i32 {
    i32::from(class.number())
}

/// A class from the wire; `None` for what is none.
pub(crate) fn of_class(number: i32) -> Option<RetentionClass> {
    WireClass::try_from(number).ok()?;
    u8::try_from(number)
        .ok()
        .and_then(RetentionClass::from_number)
}
