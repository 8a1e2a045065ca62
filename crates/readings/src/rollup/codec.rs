//! The bytes of a rollup: the columns of the chunk, once per field.
//!
//! Layout of version 1: one byte of format and version, one of kind, level and flags, the number of
//! windows, their starts, counts, then the fields. A window of one point is its first value, one of
//! two its first and last: the other fields are left out where they follow from these.

use super::{Duty, Level, Number, Rollup, Spread, States, Window, Windows};
use crate::{
    booleans,
    cursor::{Cursor, put_count},
    doubles,
    error::{DecodeError, EncodeError},
    integers,
    limits::Limits,
    strings::Texts,
    timestamps,
    value::ValueKind,
};

/// First byte of a rollup of version 1.
const FORMAT: u8 = 0x71;
/// Flag above kind (2 bits) and level (2 bits): every field of every window is there.
const FULL: u8 = 16;

/// From this count on, the extremes and the sum of a window do not follow from its ends.
const OWN_EXTREMES: u64 = 3;

impl Rollup {
    /// The bytes of this rollup.
    ///
    /// # Errors
    /// [`EncodeError::TooLarge`] above a bound of [`Limits::ROLLUP`].
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let limits = Limits::ROLLUP;
        if self.len() > limits.max_rows {
            let (what, found) = ("windows", self.len());
            return Err(EncodeError::TooLarge {
                what,
                found,
                limit: limits.max_rows,
            });
        }
        let full = match self.windows() {
            Windows::Double(windows) => !follows(windows),
            Windows::Int(windows) => !follows(windows),
            Windows::Bool(_) | Windows::Text(_) => false,
        };
        let level = match self.level() {
            Level::Minute => 0,
            Level::Hour => 1,
            Level::Day => 2,
        };
        let flags = if full { FULL } else { 0 };
        let mut out = vec![FORMAT, self.windows().kind().code() | level << 2 | flags];
        put_count(&mut out, self.len());
        match self.windows() {
            Windows::Double(windows) => put_spreads(windows, full, &mut out),
            Windows::Int(windows) => put_spreads(windows, full, &mut out),
            Windows::Bool(windows) => put_duties(windows, &mut out),
            Windows::Text(windows) => put_states(windows, &mut out)?,
        }
        let limit = limits.max_bytes;
        if out.len() > limit {
            let what = "bytes of a rollup";
            return Err(EncodeError::TooLarge {
                what,
                found: out.len(),
                limit,
            });
        }
        Ok(out)
    }

    /// The rollup of these bytes.
    ///
    /// # Errors
    /// [`DecodeError`] for anything that [`Rollup::encode`] could not have meant.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::new(bytes);
        let format = cursor.byte()?;
        if format != FORMAT {
            return Err(DecodeError::UnknownFormat(format));
        }
        let head = cursor.byte()?;
        let level = match head >> 2 & 3 {
            0 => Level::Minute,
            1 => Level::Hour,
            2 => Level::Day,
            _ => return Err(DecodeError::Malformed("level of a rollup")),
        };
        if head & !(15 | FULL) != 0 {
            return Err(DecodeError::Malformed("flags of a rollup"));
        }
        let full = head & FULL != 0;
        let rows = cursor.count(Limits::ROLLUP.max_rows, "windows")?;
        let cursor_ref = &mut cursor;
        let windows = match ValueKind::from_code(head & 3)? {
            ValueKind::Double => Windows::Double(take_spreads(cursor_ref, level, rows, full)?),
            ValueKind::Int => Windows::Int(take_spreads(cursor_ref, level, rows, full)?),
            ValueKind::Bool => Windows::Bool(take_duties(cursor_ref, level, rows)?),
            ValueKind::Text => Windows::Text(take_states(cursor_ref, level, rows)?),
        };
        cursor.finish()?;
        Ok(Self { level, windows })
    }
}

/// A column of either number.
trait Column: Number {
    fn put(values: &[Self], out: &mut Vec<u8>);
    fn take(cursor: &mut Cursor<'_>, count: usize) -> Result<Vec<Self>, DecodeError>;
}

impl Column for f64 {
    fn put(values: &[Self], out: &mut Vec<u8>) {
        doubles::encode(values, &mut doubles::Work::default(), out);
    }

    fn take(cursor: &mut Cursor<'_>, count: usize) -> Result<Vec<Self>, DecodeError> {
        let mut values = Vec::new();
        doubles::decode(cursor, count, &mut doubles::Work::default(), &mut values)?;
        Ok(values)
    }
}

impl Column for i64 {
    fn put(values: &[Self], out: &mut Vec<u8>) {
        integers::encode(values, out);
    }

    fn take(cursor: &mut Cursor<'_>, count: usize) -> Result<Vec<Self>, DecodeError> {
        let mut values = Vec::new();
        integers::decode(cursor, count, &mut values)?;
        Ok(values)
    }
}

/// Whether what the short form leaves out can be had back.
fn follows<T: Number>(windows: &[Window<Spread<T>>]) -> bool {
    windows.iter().all(|Window { holds, .. }| {
        holds.count >= OWN_EXTREMES
            || Spread::of_ends(holds.count, holds.first, holds.last) == *holds
    })
}

fn put_starts<A>(windows: &[Window<A>], count: fn(&A) -> u64, out: &mut Vec<u8>) {
    let starts: Vec<i64> = windows.iter().map(|window| window.start).collect();
    timestamps::encode(&starts, &mut timestamps::Work::default(), out);
    let counts: Vec<i64> = windows
        .iter()
        .map(|window| count(&window.holds).cast_signed())
        .collect();
    integers::encode(&counts, out);
}

fn take_starts(
    cursor: &mut Cursor<'_>,
    level: Level,
    rows: usize,
) -> Result<(Vec<i64>, Vec<u64>), DecodeError> {
    let mut starts = Vec::new();
    timestamps::decode(cursor, rows, &mut starts)?;
    if !starts.is_sorted_by(|a, b| a < b) {
        return Err(DecodeError::Malformed("windows that do not ascend"));
    }
    if starts.iter().any(|start| start % level.micros() != 0) {
        return Err(DecodeError::Malformed("start of a window"));
    }
    let counts = i64::take(cursor, rows)?;
    if counts.contains(&0) {
        return Err(DecodeError::Malformed("empty window"));
    }
    Ok((starts, counts.into_iter().map(i64::cast_unsigned).collect()))
}

/// Up to this many windows, all fields share one column: its head is paid once.
const JOINED: usize = 7;

/// A field, and the count from which it does not follow from the ends.
type Field<T> = (u64, fn(&Spread<T>) -> T);

fn put_spreads<T: Column>(windows: &[Window<Spread<T>>], full: bool, out: &mut Vec<u8>) {
    put_starts(windows, |spread| spread.count, out);
    let mut joined = Vec::new();
    let fields: [Field<T>; 5] = [
        (1, |spread| spread.first),
        (2, |spread| spread.last),
        (OWN_EXTREMES, |spread| spread.min),
        (OWN_EXTREMES, |spread| spread.max),
        (OWN_EXTREMES, |spread| spread.sum),
    ];
    for (least, of) in fields {
        let present = windows
            .iter()
            .filter(|window| full || window.holds.count >= least);
        joined.extend(present.map(|window| of(&window.holds)));
        if windows.len() > JOINED {
            T::put(&joined, out);
            joined.clear();
        }
    }
    T::put(&joined, out);
}

fn take_spreads<T: Column>(
    cursor: &mut Cursor<'_>,
    level: Level,
    rows: usize,
    full: bool,
) -> Result<Vec<Window<Spread<T>>>, DecodeError> {
    let (starts, counts) = take_starts(cursor, level, rows)?;
    let at_least = |least: u64| {
        counts
            .iter()
            .filter(|&&count| full || count >= least)
            .count()
    };
    let (ends, extremes) = (at_least(2), at_least(OWN_EXTREMES));
    let lengths = [rows, ends, extremes, extremes, extremes];
    let mut fields = [const { Vec::new() }; 5];
    if rows <= JOINED {
        let mut joined = T::take(cursor, lengths.iter().sum())?.into_iter();
        for (field, length) in fields.iter_mut().zip(lengths) {
            field.extend(joined.by_ref().take(length));
        }
    } else {
        for (field, length) in fields.iter_mut().zip(lengths) {
            *field = T::take(cursor, length)?;
        }
    }
    let [firsts, lasts, mins, maxs, sums] = fields;
    let (mut lasts, mut mins) = (lasts.into_iter(), mins.into_iter());
    let (mut maxs, mut sums) = (maxs.into_iter(), sums.into_iter());
    let rows = starts.into_iter().zip(counts).zip(firsts);
    Ok(rows
        .map(|((start, count), first)| {
            // The columns are as long as the counts say: the fallbacks are never taken.
            let last = if full || count > 1 {
                lasts.next().unwrap_or(first)
            } else {
                first
            };
            let mut holds = Spread::of_ends(count, first, last);
            if full || count >= OWN_EXTREMES {
                holds.min = mins.next().unwrap_or(first);
                holds.max = maxs.next().unwrap_or(first);
                holds.sum = sums.next().unwrap_or(first);
            }
            Window { start, holds }
        })
        .collect())
}

fn put_duties(windows: &[Window<Duty>], out: &mut Vec<u8>) {
    put_starts(windows, |duty| duty.count, out);
    let ints = |of: fn(&Duty) -> i64| windows.iter().map(|w| of(&w.holds)).collect::<Vec<_>>();
    let bools = |of: fn(&Duty) -> bool| windows.iter().map(|w| of(&w.holds)).collect::<Vec<_>>();
    integers::encode(&ints(|duty| duty.changes.cast_signed()), out);
    // As times, because they share a unit.
    let durations = ints(|duty| duty.true_micros);
    timestamps::encode(&durations, &mut timestamps::Work::default(), out);
    booleans::encode(&bools(|duty| duty.first), out);
    booleans::encode(&bools(|duty| duty.last), out);
}

fn take_duties(
    cursor: &mut Cursor<'_>,
    level: Level,
    rows: usize,
) -> Result<Vec<Window<Duty>>, DecodeError> {
    let (starts, counts) = take_starts(cursor, level, rows)?;
    let changes = i64::take(cursor, rows)?;
    let mut durations = Vec::new();
    timestamps::decode(cursor, rows, &mut durations)?;
    if durations
        .iter()
        .any(|duration| !(0..=level.micros()).contains(duration))
    {
        return Err(DecodeError::Malformed("time longer than its window"));
    }
    let (mut firsts, mut lasts) = (Vec::new(), Vec::new());
    booleans::decode(cursor, rows, &mut firsts)?;
    booleans::decode(cursor, rows, &mut lasts)?;
    let heads = starts.into_iter().zip(counts).zip(changes).zip(durations);
    Ok(heads
        .zip(firsts.into_iter().zip(lasts))
        .map(
            |((((start, count), changes), true_micros), (first, last))| {
                let changes = changes.cast_unsigned();
                Window {
                    start,
                    holds: Duty {
                        count,
                        changes,
                        true_micros,
                        first,
                        last,
                    },
                }
            },
        )
        .collect())
}

fn put_states(windows: &[Window<States>], out: &mut Vec<u8>) -> Result<(), EncodeError> {
    put_starts(windows, |states| states.count, out);
    let changes: Vec<i64> = windows
        .iter()
        .map(|w| w.holds.changes.cast_signed())
        .collect();
    integers::encode(&changes, out);
    // One dictionary for both ends: they are the same few words.
    let ends = windows
        .iter()
        .flat_map(|w| [&*w.holds.first, &*w.holds.last]);
    Texts::from_rows(ends, Limits::ROLLUP.max_text_bytes)?.encode(out);
    Ok(())
}

fn take_states(
    cursor: &mut Cursor<'_>,
    level: Level,
    rows: usize,
) -> Result<Vec<Window<States>>, DecodeError> {
    let (starts, counts) = take_starts(cursor, level, rows)?;
    let changes = i64::take(cursor, rows)?;
    let mut ends = Texts::default();
    ends.decode(cursor, rows * 2, Limits::ROLLUP.max_text_bytes)?;
    // Few bytes can name one long text many times; as owned texts they must fit the bound too.
    let total = ends
        .iter()
        .fold(0usize, |total, text| total.saturating_add(text.len()));
    let limit = Limits::ROLLUP.max_bytes;
    if total > limit {
        let (found, limit) = (u64::try_from(total), u64::try_from(limit));
        let (found, limit) = (found.unwrap_or(u64::MAX), limit.unwrap_or(u64::MAX));
        return Err(DecodeError::TooLarge {
            what: "bytes of texts",
            found,
            limit,
        });
    }
    let mut ends = ends.iter();
    let heads = starts.into_iter().zip(counts).zip(changes);
    Ok(heads
        .map(|((start, count), changes)| {
            let (first, last) = (ends.next().unwrap_or(""), ends.next().unwrap_or(""));
            let (first, last) = (first.into(), last.into());
            let changes = changes.cast_unsigned();
            Window {
                start,
                holds: States {
                    count,
                    changes,
                    first,
                    last,
                },
            }
        })
        .collect())
}
