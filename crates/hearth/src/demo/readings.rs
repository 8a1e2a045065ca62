//! Queries of the story: answers put together from their chunks, compared with what was sent, and drawn.

use anyhow::{Context as _, Result};
use hearth_api::ingest::v1::{
    LatestReadingsRequest, QueryReadingsRequest, RawColumns, Resolution, WindowColumns,
    query_readings_response::Chunk,
};
use hearth_api::types::v1::{Capability, Interval};
use hearth_kernel::{Day, Timestamp};
use ring::digest::{Context, SHA256};

use super::chart::{Frame, draw};
use super::data::{Gadget, Sample, Value};
use super::home::Home;
use super::people::{Person, refused, wire_time};
use super::screen::{Screen, WIDTH, check};

/// Microseconds of an hour.
const HOUR: i64 = 3_600_000_000;
/// Microseconds of a day.
const DAY: i64 = 24 * HOUR;

/// One capability of one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Measure {
    pub(super) gadget: Gadget,
    pub(super) capability: Capability,
}

/// A span of whole days.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) from: Day,
    pub(super) to: Day,
}

/// A reading, as answered.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Point {
    at: i64,
    value: f64,
}

/// A window, as answered.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Window {
    start: i64,
    count: u32,
    sum: f64,
}

impl Window {
    fn mean(&self) -> f64 {
        self.sum / f64::from(self.count.max(1))
    }
}

/// What a chart shows of a window.
type OfWindow = fn(&Window) -> f64;

/// What a query answered.
#[derive(Clone, Debug, Default, PartialEq)]
struct Answer {
    points: Vec<Point>,
    windows: Vec<Window>,
}

async fn query(
    who: &Person,
    home: &Home,
    measure: Measure,
    span: Span,
    resolution: Resolution,
) -> Result<Answer> {
    let request = QueryReadingsRequest {
        home_id: home.id.to_string(),
        device_id: home.device(measure.gadget)?.to_string(),
        capability: measure.capability.into(),
        interval: Some(Interval {
            start: Some(wire_time(span.from.start())),
            end: Some(wire_time(span.to.start())),
        }),
        resolution: resolution.into(),
        limit: 0,
        cursor: Vec::new().into(),
        after: who.after(),
    };
    let opened = who
        .readings()
        .query_readings(who.call(request).await?)
        .await;
    let mut chunks = opened.map_err(refused("QueryReadings"))?.into_inner();
    let mut answer = Answer::default();
    while let Some(response) = chunks.message().await.map_err(refused("QueryReadings"))? {
        match response.chunk {
            Some(Chunk::Raw(raw)) => points(&mut answer.points, &raw)?,
            Some(Chunk::Windows(columns)) => windows(&mut answer.windows, &columns)?,
            None => {}
        }
    }
    Ok(answer)
}

fn points(out: &mut Vec<Point>, raw: &RawColumns) -> Result<()> {
    let mut at = raw.base_time;
    for (index, delta) in raw.time_delta.iter().enumerate() {
        at += i64::try_from(*delta)?;
        let value = match (raw.numbers.get(index), raw.flags.get(index)) {
            (Some(number), _) => *number,
            (None, Some(flag)) => f64::from(u8::from(*flag)),
            (None, None) => anyhow::bail!("expected a value for each time; saw fewer"),
        };
        out.push(Point { at, value });
    }
    Ok(())
}

fn windows(out: &mut Vec<Window>, columns: &WindowColumns) -> Result<()> {
    let mut start = columns.base_time;
    for (index, delta) in columns.start_delta.iter().enumerate() {
        start += i64::try_from(*delta)?;
        let count = columns
            .count
            .get(index)
            .context("expected a count for each window")?;
        let sum = columns
            .sum
            .get(index)
            .context("expected a sum for each window")?;
        out.push(Window {
            start,
            count: *count,
            sum: *sum,
        });
    }
    Ok(())
}

/// What was sent of a measure in a span, as points.
fn sent(samples: &[Sample], measure: Measure, span: Span) -> Vec<Point> {
    let within = span.from.start().micros()..span.to.start().micros();
    let of_measure = samples.iter().filter(|sample| {
        sample.gadget == measure.gadget
            && sample.capability == measure.capability
            && within.contains(&sample.at)
    });
    let point = |sample: &Sample| {
        let value = match sample.value {
            Value::Number(number) => number,
            Value::Flag(flag) => f64::from(u8::from(flag)),
        };
        Point {
            at: sample.at,
            value,
        }
    };
    of_measure.map(point).collect()
}

/// Asks for raw readings and compares them, one by one, with what was sent. Answers how many there were.
pub(super) async fn same_as_sent(
    who: &Person,
    home: &Home,
    samples: &[Sample],
    measure: Measure,
    span: Span,
) -> Result<usize> {
    let answer = query(who, home, measure, span, Resolution::Raw).await?;
    let expected = sent(samples, measure, span);
    check(
        answer.points.len() == expected.len(),
        format_args!("{} readings of {:?}", expected.len(), measure.capability),
        answer.points.len(),
    )?;
    let differs = answer
        .points
        .iter()
        .zip(&expected)
        .find(|(got, sent)| got.at != sent.at || got.value.to_bits() != sent.value.to_bits());
    match differs {
        Some((got, sent)) => anyhow::bail!("expected {sent:?}; saw {got:?}"),
        None => Ok(expected.len()),
    }
}

/// Draws the power of a day by the hour, checked against what was sent.
pub(super) async fn draw_day(
    who: &Person,
    home: &Home,
    samples: &[Sample],
    day: Day,
    screen: &Screen,
) -> Result<()> {
    let measure = Measure {
        gadget: Gadget::Meter,
        capability: Capability::PlugPower,
    };
    let span = Span {
        from: day,
        to: day.plus(1),
    };
    let answer = query(who, home, measure, span, Resolution::Hour).await?;
    compare(&answer.windows, &sent(samples, measure, span), HOUR)?;
    let mut hours = vec![None; 24];
    for window in &answer.windows {
        let hour = usize::try_from((window.start - day.start().micros()) / HOUR)?;
        *hours.get_mut(hour).context("expected hours of that day")? = Some(window.mean());
    }
    let title = format!(
        "electric power on {}, mean of each hour, W",
        date(day.start())
    );
    let frame = Frame {
        title: &title,
        from: "00:00",
        to: "24:00 UTC",
        width: WIDTH - 6,
        height: 4,
    };
    // Three columns an hour, so that the day fills the width.
    let wide: Vec<_> = hours.into_iter().flat_map(|hour| [hour; 3]).collect();
    show(screen, &frame, &wide);
    Ok(())
}

/// Draws a year by the day: gas used, and the temperature outdoors.
pub(super) async fn draw_year(
    who: &Person,
    home: &Home,
    samples: &[Sample],
    midnight: Day,
    screen: &Screen,
) -> Result<()> {
    let span = Span {
        from: midnight.plus(-365),
        to: midnight,
    };
    let gas = Measure {
        gadget: Gadget::Boiler,
        capability: Capability::HeatingEnergy,
    };
    let outdoor = Measure {
        gadget: Gadget::Weather,
        capability: Capability::ClimateOutdoorTemperature,
    };
    let drawn: [(Measure, &str, OfWindow); 2] = [
        (gas, "gas used each day, kWh", |window| window.sum),
        (
            outdoor,
            "outdoor temperature, mean of each day, °C",
            Window::mean,
        ),
    ];
    for (measure, title, value) in drawn {
        let answer = query(who, home, measure, span, Resolution::Day).await?;
        compare(&answer.windows, &sent(samples, measure, span), DAY)?;
        let mut days = vec![None; 365];
        for window in &answer.windows {
            let day = usize::try_from((window.start - span.from.start().micros()) / DAY)?;
            *days.get_mut(day).context("expected days of that year")? = Some(value(window));
        }
        let (from, to) = (date(span.from.start()), date(span.to.start()));
        let frame = Frame {
            title,
            from: &from,
            to: &to,
            width: WIDTH - 6,
            height: 4,
        };
        show(screen, &frame, &days);
    }
    Ok(())
}

fn show(screen: &Screen, frame: &Frame<'_>, values: &[Option<f64>]) {
    for line in draw(frame, values) {
        screen.say(line);
    }
}

/// Windows agree with what was sent: each is there, with the count and, but for rounding, the sum of its readings.
fn compare(windows: &[Window], sent: &[Point], width: i64) -> Result<()> {
    let mut expected: Vec<Window> = Vec::new();
    for point in sent {
        let start = point.at.div_euclid(width) * width;
        match expected.last_mut() {
            Some(last) if last.start == start => {
                last.count += 1;
                last.sum += point.value;
            }
            _ => expected.push(Window {
                start,
                count: 1,
                sum: point.value,
            }),
        }
    }
    check(
        windows.len() == expected.len(),
        format_args!("{} windows", expected.len()),
        windows.len(),
    )?;
    for (got, sent) in windows.iter().zip(&expected) {
        let close = (got.sum - sent.sum).abs() <= 1e-9 * sent.sum.abs().max(1.0);
        let same = got.start == sent.start && got.count == sent.count && close;
        check(same, format_args!("{sent:?}"), format_args!("{got:?}"))?;
    }
    Ok(())
}

/// A hash over every answer about a home: all readings by the month, and every rollup. Two runs agree when, and only
/// when, every time and every bit of every value does.
pub(super) async fn fingerprint(
    who: &Person,
    home: &Home,
    measures: &[Measure],
    span: Span,
) -> Result<(String, usize)> {
    let mut hash = Context::new(&SHA256);
    let mut count = 0;
    for measure in measures {
        let mut from = span.from;
        while from < span.to {
            let to = from.plus(30).min(span.to);
            let month = query(who, home, *measure, Span { from, to }, Resolution::Raw).await?;
            count += month.points.len();
            for point in &month.points {
                hash.update(&point.at.to_be_bytes());
                hash.update(&point.value.to_bits().to_be_bytes());
            }
            from = to;
        }
        for resolution in [Resolution::Hour, Resolution::Day] {
            let answer = query(who, home, *measure, span, resolution).await?;
            for window in &answer.windows {
                hash.update(&window.start.to_be_bytes());
                hash.update(&window.count.to_be_bytes());
                hash.update(&window.sum.to_bits().to_be_bytes());
            }
        }
    }
    Ok((hex::encode(hash.finish()), count))
}

/// The newest reading of each capability of the home. Answers how many.
pub(super) async fn latest(who: &Person, home: &Home) -> Result<usize> {
    let request = LatestReadingsRequest {
        home_id: home.id.to_string(),
        device_ids: Vec::new(),
        capability: Capability::Unspecified.into(),
        after: who.after(),
        page: None,
    };
    let answer = who
        .readings()
        .latest_readings(who.call(request).await?)
        .await;
    Ok(answer
        .map_err(refused("LatestReadings"))?
        .into_inner()
        .observations
        .len())
}

/// A date of UTC, such as `2026-11-22`.
pub(super) fn date(time: Timestamp) -> String {
    jiff::Timestamp::from_second(time.seconds()).map_or_else(
        |_| time.to_string(),
        |time| time.strftime("%Y-%m-%d").to_string(),
    )
}

/// A time of UTC, such as `2026-11-22 07:30`.
pub(super) fn moment(time: Timestamp) -> String {
    jiff::Timestamp::from_second(time.seconds()).map_or_else(
        |_| time.to_string(),
        |time| time.strftime("%Y-%m-%d %H:%M").to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_become_points_and_windows() {
        let raw = RawColumns {
            base_time: 10,
            time_delta: vec![0, 5],
            flags: vec![true, false],
            ..RawColumns::default()
        };
        let mut out = Vec::new();
        points(&mut out, &raw).expect("whole");
        assert_eq!(
            out,
            [Point { at: 10, value: 1.0 }, Point { at: 15, value: 0.0 }]
        );
        let torn = RawColumns {
            numbers: vec![1.0],
            flags: Vec::new(),
            ..raw
        };
        assert!(points(&mut out, &torn).is_err());
    }

    #[test]
    fn windows_that_miss_a_reading_are_found() {
        let sent = [
            Point { at: 1, value: 1.0 },
            Point { at: 9, value: 2.0 },
            Point { at: 11, value: 4.0 },
        ];
        let good = [
            Window {
                start: 0,
                count: 2,
                sum: 3.0,
            },
            Window {
                start: 10,
                count: 1,
                sum: 4.0,
            },
        ];
        compare(&good, &sent, 10).expect("they agree");
        let bad = [
            Window {
                count: 1,
                ..good[0]
            },
            good[1],
        ];
        assert!(compare(&bad, &sent, 10).is_err());
        assert!(compare(&good[..1], &sent, 10).is_err());
    }

    #[test]
    fn dates_are_those_of_utc() {
        assert_eq!(date(Timestamp::from_seconds(1_795_391_999)), "2026-11-22");
        assert_eq!(moment(Timestamp::EPOCH), "1970-01-01 00:00");
    }
}
