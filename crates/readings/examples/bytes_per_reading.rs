//! Bytes and nanoseconds per reading of the codecs, on the CSV files of a directory and on a
//! generated home.
//!
//! `cargo run --release -p hearth-readings --example bytes_per_reading -- tests/data`
//!
//! A CSV's first column is the time (UTC or with an offset), every other one a series of doubles.
//! Each series is cut into chunks and rollups of one UTC day. Segments take their values from the
//! same series, one reading a minute, as a hub would send them. The generated home has 10 devices of
//! 6 measures, one reading a minute with up to 20 ms of jitter. Times are the best of several runs.

#![expect(clippy::print_stdout, reason = "printing is what this program is for")]

use std::{collections::BTreeMap, env, error::Error, fs, path::Path, time::Instant};

use hearth_readings::{
    Chunk, DayRollups, Level, Marks, Point, Rollup, Row, Scratch, Segment, SegmentBuilder, Value,
};

const MINUTE: i64 = 60_000_000;
const DAY: i64 = 1_440 * MINUTE;
const RUNS: usize = 7;

type Outcome<T> = Result<T, Box<dyn Error>>;
type Readings = Vec<(i64, f64)>;

fn main() -> Outcome<()> {
    let directory = env::args()
        .nth(1)
        .ok_or("usage: bytes_per_reading <directory of CSVs>")?;
    let series = read_directory(Path::new(&directory))?;

    println!("chunks and rollups: bytes per reading, ns per reading");
    println!(
        "{:<58}{:>8}{:>7}{:>10}{:>13}{:>7}{:>7}",
        "series", "readings", "chunk", "+rollups", "+all levels", "enc", "dec"
    );
    for (name, readings) in &series {
        report_chunks(name, readings)?;
    }
    for (name, readings) in generated_series() {
        report_chunks(&name, &readings)?;
    }

    println!("\nsegments: bytes per reading, ns per reading");
    println!(
        "{:<58}{:>8}{:>7}{:>7}{:>7}",
        "rows", "readings", "bytes", "enc", "dec"
    );
    let by_minute: Vec<Readings> = series.into_values().map(retimed).collect();
    for rows in [1, 16, 128, 512] {
        report_segments(
            &format!("the CSV series, one a minute, {rows} a batch"),
            &by_minute,
            rows,
        )?;
    }
    let home: Vec<Readings> = generated_series().into_values().collect();
    for rows in [1, 16, 128, 512] {
        report_segments(&format!("the generated home, {rows} a batch"), &home, rows)?;
    }
    Ok(())
}

/// Best nanoseconds of several runs.
fn timed<T>(mut work: impl FnMut() -> Outcome<T>) -> Outcome<(T, f64)> {
    let mut best = f64::INFINITY;
    let mut result = None;
    for _ in 0..RUNS {
        #[expect(
            clippy::disallowed_methods,
            reason = "a benchmark measures the real clock"
        )]
        let start = Instant::now();
        result = Some(work()?);
        best = best.min(start.elapsed().as_secs_f64() * 1e9);
    }
    Ok((result.ok_or("no run")?, best))
}

fn report_chunks(name: &str, readings: &Readings) -> Outcome<()> {
    let days: Vec<Vec<Point<'_>>> = readings
        .chunk_by(|a, b| a.0.div_euclid(DAY) == b.0.div_euclid(DAY))
        .map(|day| {
            day.iter()
                .map(|&(at, v)| Point::new(at, Value::Double(v)))
                .collect()
        })
        .collect();
    let chunks: Vec<Chunk> = days
        .iter()
        .cloned()
        .map(Chunk::from_points)
        .collect::<Result<_, _>>()?;
    let (encoded, encode_ns) = timed(|| {
        Ok(chunks
            .iter()
            .map(Chunk::encode)
            .collect::<Result<Vec<_>, _>>()?)
    })?;
    let (decoded, decode_ns) = timed(|| {
        Ok(encoded
            .iter()
            .map(|bytes| Chunk::decode(bytes))
            .collect::<Result<Vec<_>, _>>()?)
    })?;
    assert!(decoded == chunks, "chunks must come back");

    let (mut stored, mut all) = (0, 0);
    for day in &days {
        let DayRollups {
            minutes,
            hours,
            day: whole,
        } = DayRollups::of_points(day.iter().copied());
        for level in [minutes, hours, Some(whole)].into_iter().flatten() {
            stored += level.encode()?.len();
        }
        for level in [Level::Minute, Level::Hour, Level::Day] {
            all += Rollup::of_points(level, day.iter().copied())
                .encode()?
                .len();
        }
    }
    let bytes: usize = encoded.iter().map(Vec::len).sum();
    let count: usize = days.iter().map(Vec::len).sum();
    println!(
        "{name:<58}{count:>8}{:>7.2}{:>10.2}{:>13.2}{:>7.0}{:>7.0}",
        per(bytes, count),
        per(bytes + stored, count),
        per(bytes + all, count),
        encode_ns / count as f64,
        decode_ns / count as f64,
    );
    Ok(())
}

fn report_segments(name: &str, series: &[Readings], rows: usize) -> Outcome<()> {
    let mut arrivals: Vec<(i64, usize, f64)> = series
        .iter()
        .enumerate()
        .flat_map(|(index, readings)| readings.iter().map(move |&(at, v)| (at, index, v)))
        .collect();
    arrivals.sort_by_key(|&(at, index, _)| (at, index));
    arrivals.truncate(100_000);
    let mut segments = Vec::new();
    for day in arrivals.chunk_by(|a, b| a.0.div_euclid(DAY) == b.0.div_euclid(DAY)) {
        for batch in day.chunks_exact(rows) {
            segments.push(segment(batch)?);
        }
    }
    let mut scratch = Scratch::default();
    let (encoded, encode_ns) = timed(|| {
        let mut encoded = Vec::with_capacity(segments.len());
        for segment in &segments {
            let mut bytes = Vec::with_capacity(rows * 10 + 64);
            segment.encode_with(&mut scratch, &mut bytes)?;
            encoded.push(bytes);
        }
        Ok(encoded)
    })?;
    let mut decoded = Segment::default();
    let (count, decode_ns) = timed(|| {
        let mut count = 0;
        for bytes in &encoded {
            decoded.decode_into(&mut scratch, bytes)?;
            count += decoded.len();
        }
        Ok(count)
    })?;
    for (segment, bytes) in segments.iter().zip(&encoded) {
        assert!(
            Segment::decode(bytes)?.rows().eq(segment.rows()),
            "segments must come back"
        );
    }
    let bytes: usize = encoded.iter().map(Vec::len).sum();
    println!(
        "{name:<58}{count:>8}{:>7.2}{:>7.0}{:>7.0}",
        per(bytes, count),
        encode_ns / count as f64,
        decode_ns / count as f64,
    );
    Ok(())
}

/// Six series to a device; a capability is the position of the series.
fn segment(batch: &[(i64, usize, f64)]) -> Outcome<Segment> {
    let mut builder = SegmentBuilder::new(batch.last().map_or(0, |last| last.0) + 40_123);
    for &(observed_at, index, value) in batch {
        // Spread over all 16 bytes, like the keyed hashes that ids are.
        let seed = u128::try_from(index / 6 + 1)?;
        let device = seed
            .wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
            .to_le_bytes();
        let capability = u16::try_from(index % 6)?;
        let value = Value::Double(value);
        builder.push(&Row {
            device: &device,
            capability,
            observed_at,
            marks: Marks::NONE,
            value,
        })?;
    }
    Ok(builder.finish()?)
}

fn per(bytes: usize, readings: usize) -> f64 {
    bytes as f64 / readings.max(1) as f64
}

/// The same values, one a minute.
fn retimed(readings: Readings) -> Readings {
    let minutes = (29_900_000i64..).map(|minute| minute * MINUTE);
    minutes
        .zip(readings)
        .map(|(at, (_, value))| (at, value))
        .collect()
}

/// 10 devices of 6 measures over a day: random walks in the decimals that sensors send.
fn generated_series() -> BTreeMap<String, Readings> {
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut random = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        u32::try_from((state >> 33) % below).map_or(0.0, f64::from)
    };
    let measures = [
        ("temperature", 215.0, 3, 10.0),
        ("humidity", 450.0, 5, 10.0),
        ("power", 800.0, 201, 10.0),
        ("energy", 1_000_000.0, 40, 1_000.0),
        ("motion", 0.0, 0, 1.0),
        ("signal", -60.0, 3, 1.0),
    ];
    let mut series = BTreeMap::new();
    for device in 0..10 {
        let jitter: Vec<i64> = (0..1_440)
            .map(|i| (i * 7_919 + device * 13) % 41 * 1_000)
            .collect();
        for (name, start, spread, scale) in measures {
            let mut now: f64 = start;
            let readings = (0i64..).zip(&jitter).map(|(minute, jitter)| {
                now = match name {
                    "motion" => f64::from(u8::from(random(20) == 0.0)),
                    "energy" => now + random(spread),
                    _ => now + random(spread) - ((spread - 1) / 2) as f64,
                };
                (29_900_160 * MINUTE + minute * MINUTE + jitter, now / scale)
            });
            series.insert(format!("generated {device:02}: {name}"), readings.collect());
        }
    }
    series
}

fn read_directory(directory: &Path) -> Outcome<BTreeMap<String, Readings>> {
    let mut series = BTreeMap::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "csv") {
            let file = path
                .file_stem()
                .and_then(|stem| stem.to_str())
                .unwrap_or("")
                .to_owned();
            for (column, readings) in read_csv(&fs::read_to_string(&path)?)? {
                series.insert(format!("{file}: {column}"), readings);
            }
        }
    }
    Ok(series)
}

fn read_csv(text: &str) -> Outcome<Vec<(String, Readings)>> {
    let mut lines = text.lines();
    let header = lines.next().ok_or("empty file")?;
    let mut columns: Vec<(String, Readings)> = header
        .split(',')
        .skip(1)
        .map(|name| (name.to_owned(), Vec::new()))
        .collect();
    for line in lines {
        let mut fields = line.split(',');
        let at = micros(fields.next().ok_or("no time")?)?;
        for ((_, readings), field) in columns.iter_mut().zip(fields) {
            if !field.is_empty() {
                readings.push((at, field.parse()?));
            }
        }
    }
    for (_, readings) in &mut columns {
        readings.sort_by_key(|reading| reading.0);
        readings.dedup_by_key(|reading| reading.0);
    }
    Ok(columns)
}

/// `2020-04-01 01:00:00`, with `T` or a space, and an offset or none.
fn micros(text: &str) -> Outcome<i64> {
    let number = |range: std::ops::Range<usize>| -> Outcome<i64> {
        Ok(text.get(range).ok_or("time too short")?.parse()?)
    };
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    // Days since 1970, by Howard Hinnant's days_from_civil.
    let (y, m) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719_468;
    let offset = match text.get(19..20) {
        Some(sign) => (number(20..22)? * 60 + number(23..25)?) * if sign == "-" { -1 } else { 1 },
        None => 0,
    };
    Ok((((days * 24 + hour) * 60 + minute - offset) * 60 + second) * 1_000_000)
}
