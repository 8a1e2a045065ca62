//! The servers' times: RFC 3339 with up to nine decimals, always UTC.

use hearth_kernel::{Day, Timestamp};

/// The time of such a text; `None` for what is none.
pub(crate) fn parse(text: &str) -> Option<Timestamp> {
    let text = text.strip_suffix('Z')?;
    let (date, time) = text.split_once('T')?;
    let mut date = date.splitn(3, '-');
    let year: i64 = date.next()?.parse().ok()?;
    let month: i64 = date.next()?.parse().ok()?;
    let day: i64 = date.next()?.parse().ok()?;
    let (time, fraction) = time.split_once('.').unwrap_or((time, ""));
    let mut time = time.splitn(3, ':');
    let hour: i64 = time.next()?.parse().ok()?;
    let minute: i64 = time.next()?.parse().ok()?;
    let second: i64 = time.next()?.parse().ok()?;
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || !fraction.is_ascii() {
        return None;
    }
    // The nanoseconds are cut, never rounded: positions of one microsecond keep their order.
    let micros: i64 = format!("{fraction:0<6}").get(..6)?.parse().ok()?;
    let start = Day::from_number(days(year, month, day)?).start().micros();
    let seconds = hour
        .checked_mul(3600)?
        .checked_add(minute.checked_mul(60)?)?
        .checked_add(second)?;
    let of_day = seconds.checked_mul(1_000_000)?.checked_add(micros)?;
    Some(Timestamp::from_micros(start.checked_add(of_day)?))
}

/// Days since 1970-01-01, by the civil calendar.
fn days(year: i64, month: i64, day: i64) -> Option<i32> {
    let year = if month <= 2 {
        year.checked_sub(1)?
    } else {
        year
    };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let of_era = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    i32::try_from(era.checked_mul(146_097)?.checked_add(of_era)? - 719_468).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_to_the_microsecond() {
        for (text, micros) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01T00:00:00.000001999Z", 1),
            ("2000-03-01T00:00:00.5Z", 951_868_800_500_000),
            ("2026-11-24T01:02:03.123456789Z", 1_795_482_123_123_456),
        ] {
            assert_eq!(parse(text), Some(Timestamp::from_micros(micros)), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            "Z",
            "2026-11-24",
            "2026-13-01T00:00:00Z",
            "2026-11-24T01:02:03+01:00",
            "2026-11-24T01:02:03.äZ",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
