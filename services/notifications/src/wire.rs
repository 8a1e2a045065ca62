//! Wire forms that several handlers share: times, spans, ids, tokens.

use std::collections::BTreeSet;
use std::str::FromStr;
use std::time::Duration;

use hearth_api::types::v1::CommitToken;
use hearth_engine::{Aggregate, Outcome};
use hearth_kernel::{Service, Timestamp, Violations};
use hearth_ports::Position;

/// The wire form of a time.
pub(crate) fn time(at: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: at.seconds(),
        nanos: i32::try_from(at.subsecond_micros()).map_or(0, |micros| micros * 1_000),
    }
}

/// The wire form of a span.
pub(crate) fn span(span: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(span.subsec_nanos()).unwrap_or(0),
    }
}

/// A span between two bounds, or a violation. A part finer than a microsecond is cut off.
pub(crate) fn of_span(
    wire: &prost_types::Duration,
    (least, most): (Duration, Duration),
    field: &str,
    description: &'static str,
    violations: &mut Violations,
) -> Option<Duration> {
    let nanos = u32::try_from(wire.nanos)
        .ok()
        .filter(|nanos| *nanos < 1_000_000_000);
    let seconds = u64::try_from(wire.seconds).ok();
    let read = seconds
        .zip(nanos)
        .map(|(seconds, nanos)| Duration::new(seconds, nanos / 1000 * 1000));
    let read = read.filter(|span| (least..=most).contains(span));
    violations.take(read.ok_or(()), field, description)
}

/// An id in a request, or a violation.
pub(crate) fn id<T: FromStr>(text: &str, field: &str, violations: &mut Violations) -> Option<T> {
    violations.take(text.parse(), field, "32 hexadecimal digits")
}

/// Ids in a request, each once; a violation per wrong one.
pub(crate) fn ids<T: FromStr + Ord>(
    list: &[String],
    most: usize,
    field: &str,
    violations: &mut Violations,
) -> BTreeSet<T> {
    if list.len() > most {
        violations.add(field, format!("at most {most}"));
        return BTreeSet::new();
    }
    let parse =
        |(index, text): (usize, &String)| id(text, &format!("{field}[{index}]"), violations);
    list.iter().enumerate().filter_map(parse).collect()
}

/// A client's request id, or a violation.
pub(crate) fn request_id(text: &str, violations: &mut Violations) -> Option<String> {
    let character = |it: u8| it.is_ascii_alphanumeric() || it == b'-' || it == b'_';
    let good = (16..=64).contains(&text.len()) && text.bytes().all(character);
    violations.require(good, "request_id", "16 to 64 characters of A-Z a-z 0-9 - _");
    good.then(|| text.to_owned())
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

/// The token of what was changed at a position.
pub(crate) fn token(position: Position) -> CommitToken {
    let token = hearth_engine::CommitToken {
        service: Service::Notifications,
        position,
    };
    CommitToken {
        value: token.to_bytes().into(),
    }
}

/// The token of what a command led to; where nothing was ever appended, one that everybody has passed.
pub(crate) fn token_of<A: Aggregate>(outcome: &Outcome<A>) -> CommitToken {
    token(outcome.position.unwrap_or(Position::START))
}
