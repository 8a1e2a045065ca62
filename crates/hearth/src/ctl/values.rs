//! Times, spans, ids and bytes as people type and read them. Times are RFC 3339 in UTC.

use std::time::Duration;

use hearth_kernel::{Capability, Timestamp};
use serde_json::Value;

/// A point in time as it is typed: it may be counted from now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Then.
    At(Timestamp),
    /// So long ago.
    Ago(Duration),
}

impl Moment {
    /// The time, given what it is now.
    pub(crate) fn at(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(time) => time,
            Self::Ago(span) => now.minus(span),
        }
    }
}

/// Reads `2026-11-23T22:00:00Z`, `2026-11-23` (its midnight, UTC), `now`, or a span before now such as `36h` or `7d`.
///
/// # Errors
/// Says what is expected.
pub(crate) fn moment(text: &str) -> Result<Moment, String> {
    if text == "now" {
        return Ok(Moment::Ago(Duration::ZERO));
    }
    if let Ok(span) = span(text) {
        return Ok(Moment::Ago(span));
    }
    let at = |time: jiff::Timestamp| Moment::At(Timestamp::from_micros(time.as_microsecond()));
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Ok(at(time));
    }
    text.parse::<jiff::civil::Date>()
        .and_then(|day| day.to_zoned(jiff::tz::TimeZone::UTC))
        .map(|day| at(day.timestamp()))
        .map_err(|_| {
            "expected a time such as 2026-11-23T22:00:00Z, a day such as 2026-11-23, or a span before now such as 7d"
                .to_owned()
        })
}

/// Reads a span such as `90s`, `15m`, `36h` or `7d`.
///
/// # Errors
/// Says what is expected.
pub(crate) fn span(text: &str) -> Result<Duration, String> {
    let expected = || "expected a number and a unit: 90s, 15m, 36h or 7d".to_owned();
    let at = text.len().saturating_sub(1);
    let (number, unit) = text.split_at_checked(at).ok_or_else(expected)?;
    let seconds: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(expected()),
    };
    let number: u32 = number.parse().map_err(|_| expected())?;
    Ok(Duration::from_secs(u64::from(number) * seconds))
}

/// A time as it is shown.
pub(crate) fn time(time: Timestamp) -> Value {
    jiff::Timestamp::from_microsecond(time.micros())
        .map_or(Value::Null, |time| time.to_string().into())
}

/// A time of the contract as it is shown; absent is null.
pub(crate) fn wire_time(time: Option<prost_types::Timestamp>) -> Value {
    let time = time.and_then(|time| jiff::Timestamp::new(time.seconds, time.nanos).ok());
    time.map_or(Value::Null, |time| time.to_string().into())
}

/// A time in the form of the contract.
pub(crate) fn to_wire(time: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: time.seconds(),
        // Below a billion.
        nanos: i32::try_from(time.subsecond_micros() * 1000).unwrap_or(0),
    }
}

/// A span in the form of the contract.
pub(crate) fn wire_span(span: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
        nanos: 0,
    }
}

/// A span of the contract as it is shown, in its greatest whole unit.
pub(crate) fn shown_span(span: Option<prost_types::Duration>) -> Value {
    let Some(span) = span else { return Value::Null };
    let units = [(86_400, 'd'), (3_600, 'h'), (60, 'm'), (1, 's')];
    let fits = units
        .iter()
        .find(|(seconds, _)| span.seconds >= *seconds && span.seconds % seconds == 0);
    fits.map_or_else(
        || "0s".into(),
        |(seconds, unit)| format!("{}{unit}", span.seconds / seconds).into(),
    )
}

/// Whether a text is an id: 32 hexadecimal digits.
pub(crate) fn is_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Reads a capability by its name in the catalogue: `heating-on`, `PLUG_POWER`, `climate.co2`.
///
/// # Errors
/// Names what comes near.
pub(crate) fn capability(text: &str) -> Result<Capability, String> {
    let wanted = text.to_ascii_uppercase().replace(['-', '.'], "_");
    let mut near = Vec::new();
    for row in Capability::catalogue() {
        if row.name == wanted {
            return Ok(row.capability);
        }
        let begins = wanted.split('_').next().unwrap_or_default();
        if row.name.split('_').next() == Some(begins) {
            near.push(shown_name(row.name));
        }
    }
    if near.is_empty() {
        let all = Capability::catalogue()
            .iter()
            .map(|row| shown_name(row.name));
        near.extend(all);
    }
    Err(format!("no such capability; there are {}", near.join(", ")))
}

/// The name of a capability of the contract, as it is typed.
pub(crate) fn capability_name(number: i32) -> String {
    u16::try_from(number)
        .ok()
        .and_then(Capability::from_number)
        .and_then(Capability::spec)
        .map_or_else(|| number.to_string(), |spec| shown_name(spec.name))
}

/// A name of the contract, without its prefix, as it is shown: `HEATING_ON` is `heating-on`.
pub(crate) fn shown_name(name: &str) -> String {
    name.to_ascii_lowercase().replace('_', "-")
}

/// The name of an enum's value without the enum's own name before it.
pub(crate) fn enum_name(name: &str, prefix: &str) -> Value {
    shown_name(name.strip_prefix(prefix).unwrap_or(name)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_a_unit() {
        assert_eq!(span("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(span("15m"), Ok(Duration::from_secs(900)));
        assert_eq!(span("7d"), Ok(Duration::from_secs(7 * 86_400)));
        for wrong in [
            "",
            "7",
            "d",
            "-1d",
            "1.5h",
            "7 d",
            "7w",
            "€",
            "99999999999d",
        ] {
            assert!(span(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn moments_are_times_days_or_spans_before_now() {
        let day = Timestamp::from_seconds(1_763_856_000);
        let now = day.plus(Duration::from_secs(3600));
        assert_eq!(moment("2025-11-23").map(|it| it.at(now)), Ok(day));
        assert_eq!(
            moment("2025-11-23T01:00:00+01:00").map(|it| it.at(now)),
            Ok(day)
        );
        assert_eq!(moment("1h").map(|it| it.at(now)), Ok(day));
        assert_eq!(moment("now").map(|it| it.at(now)), Ok(now));
        assert!(moment("yesterday").is_err());
        assert_eq!(time(day), Value::from("2025-11-23T00:00:00Z"));
        assert_eq!(wire_time(Some(to_wire(day))), time(day));
        assert_eq!(to_wire(Timestamp::from_micros(-1)).nanos, 999_999_000);
        assert_eq!(wire_time(None), Value::Null);
    }

    #[test]
    fn spans_are_shown_in_whole_units() {
        let shown = |seconds| shown_span(Some(prost_types::Duration { seconds, nanos: 0 }));
        assert_eq!(shown(259_200), Value::from("3d"));
        assert_eq!(shown(90), Value::from("90s"));
        assert_eq!(shown(0), Value::from("0s"));
    }

    #[test]
    fn capabilities_are_found_however_they_are_written() {
        for text in ["plug-power", "PLUG_POWER", "plug.power"] {
            assert_eq!(capability(text), Ok(Capability::PLUG_POWER));
        }
        assert_eq!(capability_name(602), "plug-power");
        assert_eq!(capability_name(-5), "-5");
        let near = capability("plug-colour").unwrap_err();
        assert!(
            near.contains("plug-energy") && !near.contains("motion"),
            "{near}"
        );
        assert!(capability("banana").unwrap_err().contains("motion"));
    }
}
