//! Deadlines: the client's `grpc-timeout` or the method's, whichever is shorter.
//!
//! Waiting is by the machine's monotonic time, not by the `Clock` port: a demo that lets weeks pass must not end the
//! calls in flight. It is enforced here, in process too, and not by the transport, which answers CANCELLED.

use std::time::Duration;

use http::{HeaderMap, HeaderName};

/// The header (gRPC over HTTP/2, "Timeout").
pub const HEADER: HeaderName = HeaderName::from_static("grpc-timeout");

/// How long a call may take. A malformed header counts as none.
#[must_use]
pub fn of(headers: &HeaderMap, method: Option<Duration>) -> Option<Duration> {
    let client = headers
        .get(HEADER)
        .and_then(|value| parse(value.to_str().ok()?));
    match (client, method) {
        (Some(client), Some(method)) => Some(client.min(method)),
        (client, method) => client.or(method),
    }
}

/// At most 8 digits and a unit.
#[must_use]
pub fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|it| it.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_and_bounds() {
        assert_eq!(parse("1H"), Some(Duration::from_secs(3600)));
        assert_eq!(parse("250m"), Some(Duration::from_millis(250)));
        assert_eq!(parse("99999999n"), Some(Duration::from_nanos(99_999_999)));
        for bad in [
            "",
            "S",
            "1",
            "1s",
            "-1S",
            "+1S",
            "123456789S",
            "1 S",
            "1ä",
            "ä",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_shorter_one_holds() {
        let mut headers = HeaderMap::new();
        let method = Some(Duration::from_secs(10));
        assert_eq!(of(&headers, method), method);
        assert_eq!(of(&headers, None), None);
        headers.insert(HEADER, "1S".parse().expect("a header"));
        assert_eq!(of(&headers, method), Some(Duration::from_secs(1)));
        headers.insert(HEADER, "1H".parse().expect("a header"));
        assert_eq!(of(&headers, method), method);
        assert_eq!(of(&headers, None), Some(Duration::from_secs(3600)));
    }
}
