//! Windows of a minute, an hour or a day, as an answer shows them.

use hearth_readings::{Duty, Number, Rollup, Spread, Window, Windows};

/// One window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct WindowRow {
    /// When it begins, microseconds UTC.
    pub(crate) start: i64,
    pub(crate) count: u64,
    /// Of numbers.
    pub(crate) numbers: Option<Numbers>,
    /// Of flags: microseconds in which it was true.
    pub(crate) true_for: Option<u64>,
}

/// What the numbers of a window come to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Numbers {
    pub(crate) min: f64,
    pub(crate) max: f64,
    pub(crate) sum: f64,
    pub(crate) last: f64,
}

/// The windows of a rollup. Text has none.
pub(crate) fn rows_of(rollup: &Rollup) -> Vec<WindowRow> {
    match rollup.windows() {
        Windows::Double(windows) => windows
            .iter()
            .map(|it| numbers(it, |value| value))
            .collect(),
        // Beyond 2^53 the last digits are lost: the contract answers doubles.
        Windows::Int(windows) => windows
            .iter()
            .map(|it| numbers(it, |value| value as f64))
            .collect(),
        Windows::Bool(windows) => windows.iter().map(flags).collect(),
        Windows::Text(_) => Vec::new(),
    }
}

fn numbers<T: Number>(window: &Window<Spread<T>>, double: impl Fn(T) -> f64) -> WindowRow {
    let holds = &window.holds;
    WindowRow {
        start: window.start,
        count: holds.count,
        numbers: Some(Numbers {
            min: double(holds.min),
            max: double(holds.max),
            sum: double(holds.sum),
            last: double(holds.last),
        }),
        true_for: None,
    }
}

fn flags(window: &Window<Duty>) -> WindowRow {
    WindowRow {
        start: window.start,
        count: window.holds.count,
        numbers: None,
        true_for: Some(u64::try_from(window.holds.true_micros).unwrap_or(0)),
    }
}
