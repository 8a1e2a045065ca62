//! The columns of an answer as rows. A server may be another release, or none of ours: columns that do not fit each
//! other are an error.

use hearth_api::ingest::v1::{RawColumns, WindowColumns};
use hearth_kernel::Timestamp;
use serde_json::{Value, json};

use crate::ctl::output::Table;
use crate::ctl::values;

/// Columns that do not fit each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its columns do not fit each other")]
pub(super) struct Misfit;

/// The columns of readings.
pub(super) const RAW: &[&str] = &["observed_at", "value"];
/// The columns of windows.
pub(super) const WINDOWS: &[&str] = &[
    "start",
    "count",
    "min",
    "mean",
    "max",
    "sum",
    "last",
    "true_seconds",
];

/// Readings: a time and a value each.
pub(super) fn raw(columns: &RawColumns) -> Result<Table, Misfit> {
    let count = columns.time_delta.len();
    let mut values: Vec<Value> = Vec::with_capacity(count);
    values.extend(columns.numbers.iter().map(|it| json!(it)));
    values.extend(columns.integers.iter().map(|it| json!(it)));
    values.extend(columns.flags.iter().map(|it| json!(it)));
    for index in &columns.text {
        let text = usize::try_from(*index)
            .ok()
            .and_then(|index| columns.texts.get(index));
        values.push(json!(text.ok_or(Misfit)?));
    }
    if values.len() != count {
        return Err(Misfit);
    }
    let times = times(columns.base_time, &columns.time_delta)?;
    let rows = times
        .into_iter()
        .zip(values)
        .map(|(time, value)| vec![time, value]);
    Ok(Table::of(RAW, rows))
}

/// Windows: where they start, and what their type fills.
pub(super) fn windows(columns: &WindowColumns) -> Result<Table, Misfit> {
    let starts = times(columns.base_time, &columns.start_delta)?;
    let count = starts.len();
    let fits = |len: usize| len == count || len == 0;
    let all = [
        columns.min.len(),
        columns.max.len(),
        columns.sum.len(),
        columns.last.len(),
        columns.true_for.len(),
    ];
    if columns.count.len() != count || !all.into_iter().all(fits) {
        return Err(Misfit);
    }
    let number = |column: &[f64], row: usize| column.get(row).map_or(Value::Null, |it| json!(it));
    let rows = starts
        .into_iter()
        .zip(&columns.count)
        .enumerate()
        .map(|(row, (start, count))| {
            let mean = columns
                .sum
                .get(row)
                .map(|sum| sum / f64::from((*count).max(1)));
            vec![
                start,
                json!(count),
                number(&columns.min, row),
                mean.map_or(Value::Null, |mean| json!(mean)),
                number(&columns.max, row),
                number(&columns.sum, row),
                number(&columns.last, row),
                columns
                    .true_for
                    .get(row)
                    .map_or(Value::Null, |it| json!(seconds(*it))),
            ]
        });
    Ok(Table::of(WINDOWS, rows))
}

fn times(base: i64, deltas: &[u64]) -> Result<Vec<Value>, Misfit> {
    let mut micros = base;
    let times = deltas.iter().map(|delta| {
        let delta = i64::try_from(*delta).map_err(|_| Misfit)?;
        micros = micros.checked_add(delta).ok_or(Misfit)?;
        Ok(values::time(Timestamp::from_micros(micros)))
    });
    times.collect()
}

/// Microseconds as seconds.
fn seconds(micros: u64) -> f64 {
    std::time::Duration::from_micros(micros).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::output::Shown;

    fn json_of(table: Table) -> Value {
        Shown::from(table).json()
    }

    #[test]
    fn readings_are_a_time_and_a_value() {
        let columns = RawColumns {
            base_time: 1_000_000,
            time_delta: vec![0, 500_000],
            text: vec![1, 0],
            texts: vec!["off".to_owned(), "eco".to_owned()],
            ..RawColumns::default()
        };
        let rows = json_of(raw(&columns).unwrap());
        assert_eq!(
            rows[0],
            json!({"observed_at": "1970-01-01T00:00:01Z", "value": "eco"})
        );
        assert_eq!(
            rows[1],
            json!({"observed_at": "1970-01-01T00:00:01.5Z", "value": "off"})
        );
    }

    #[test]
    fn windows_have_a_mean_and_leave_out_what_their_type_does_not_fill() {
        let columns = WindowColumns {
            start_delta: vec![0, 60_000_000],
            count: vec![2, 1],
            min: vec![1.0, 5.0],
            max: vec![3.0, 5.0],
            sum: vec![4.0, 5.0],
            last: vec![3.0, 5.0],
            ..WindowColumns::default()
        };
        let rows = json_of(windows(&columns).unwrap());
        assert_eq!(
            (&rows[0]["mean"], &rows[0]["true_seconds"]),
            (&json!(2.0), &Value::Null)
        );
        assert_eq!(rows[1]["start"], json!("1970-01-01T00:01:00Z"));
        let flags = WindowColumns {
            start_delta: vec![0],
            count: vec![9],
            true_for: vec![1_500_000],
            ..WindowColumns::default()
        };
        let rows = json_of(windows(&flags).unwrap());
        assert_eq!(
            (&rows[0]["true_seconds"], &rows[0]["min"]),
            (&json!(1.5), &Value::Null)
        );
    }

    #[test]
    fn columns_that_do_not_fit_are_refused() {
        let short = RawColumns {
            time_delta: vec![0, 1],
            flags: vec![true],
            ..RawColumns::default()
        };
        assert_eq!(raw(&short), Err(Misfit));
        let no_text = RawColumns {
            time_delta: vec![0],
            text: vec![3],
            ..RawColumns::default()
        };
        assert_eq!(raw(&no_text), Err(Misfit));
        let late = RawColumns {
            base_time: i64::MAX,
            time_delta: vec![1],
            flags: vec![true],
            ..RawColumns::default()
        };
        assert_eq!(raw(&late), Err(Misfit));
        let short = WindowColumns {
            start_delta: vec![0],
            ..WindowColumns::default()
        };
        assert_eq!(windows(&short), Err(Misfit));
        let long = WindowColumns {
            start_delta: vec![0],
            count: vec![1],
            min: vec![1.0, 2.0],
            ..WindowColumns::default()
        };
        assert_eq!(windows(&long), Err(Misfit));
    }
}
