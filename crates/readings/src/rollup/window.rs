//! Cutting sorted points into windows, and windows into coarser ones.

use super::{
    Level,
    aggregate::{Duty, Number, Spread, States},
};
use crate::{
    merge::Point,
    value::{Value, ValueKind},
};

/// One window: its start, microseconds UTC, and what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window<A> {
    /// A multiple of the level's length.
    pub start: i64,
    /// What the points in it come to.
    pub holds: A,
}

/// The windows of a rollup, ascending, by kind of value.
#[derive(Debug, Clone, PartialEq)]
pub enum Windows {
    /// Of doubles.
    Double(Vec<Window<Spread<f64>>>),
    /// Of integers.
    Int(Vec<Window<Spread<i64>>>),
    /// Of booleans.
    Bool(Vec<Window<Duty>>),
    /// Of texts.
    Text(Vec<Window<States>>),
}

impl Windows {
    /// Number of windows.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self {
            Self::Double(windows) => windows.len(),
            Self::Int(windows) => windows.len(),
            Self::Bool(windows) => windows.len(),
            Self::Text(windows) => windows.len(),
        }
    }

    /// Whether there are no windows.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The kind of the values.
    #[must_use]
    pub const fn kind(&self) -> ValueKind {
        match self {
            Self::Double(_) => ValueKind::Double,
            Self::Int(_) => ValueKind::Int,
            Self::Bool(_) => ValueKind::Bool,
            Self::Text(_) => ValueKind::Text,
        }
    }

    /// Minutes of sorted points.
    pub(super) fn of_points<'a>(points: impl IntoIterator<Item = Point<'a>>) -> Self {
        let mut points = points.into_iter().peekable();
        match points.peek().map(|point| point.value.kind()) {
            None | Some(ValueKind::Double) => Self::Double(spreads(points.filter_map(|p| {
                if let Value::Double(v) = p.value {
                    v.is_finite().then_some((p.at, v))
                } else {
                    None
                }
            }))),
            Some(ValueKind::Int) => Self::Int(spreads(points.filter_map(|p| {
                if let Value::Int(v) = p.value {
                    Some((p.at, v))
                } else {
                    None
                }
            }))),
            Some(ValueKind::Bool) => Self::Bool(duties(points.filter_map(|p| {
                if let Value::Bool(v) = p.value {
                    Some((p.at, v))
                } else {
                    None
                }
            }))),
            Some(ValueKind::Text) => Self::Text(states(points.filter_map(|p| {
                if let Value::Text(v) = p.value {
                    Some((p.at, v))
                } else {
                    None
                }
            }))),
        }
    }

    /// Windows of the level after `from`.
    pub(super) fn coarsen(self, from: Level, to: Level) -> Self {
        match self {
            Self::Double(windows) => Self::Double(coarsen_spreads(&windows, to)),
            Self::Int(windows) => Self::Int(coarsen_spreads(&windows, to)),
            Self::Bool(windows) => Self::Bool(coarsen_duties(&windows, from, to)),
            Self::Text(windows) => Self::Text(coarsen_states(&windows, to)),
        }
    }
}

fn spreads<T: Number>(points: impl Iterator<Item = (i64, T)>) -> Vec<Window<Spread<T>>> {
    let points: Vec<_> = points
        .map(|(start, value)| Window {
            start,
            holds: Spread::of(value),
        })
        .collect();
    coarsen_spreads(&points, Level::Minute)
}

fn coarsen_spreads<T: Number>(windows: &[Window<Spread<T>>], to: Level) -> Vec<Window<Spread<T>>> {
    same_window(windows, to)
        .filter_map(|(start, group)| {
            let holds = Spread::merge(group.iter().map(|window| window.holds))?;
            Some(Window { start, holds })
        })
        .collect()
}

/// Groups of neighbours that fall into one window of `level`, with its start.
fn same_window<A>(
    windows: &[Window<A>],
    level: Level,
) -> impl Iterator<Item = (i64, &[Window<A>])> {
    windows
        .chunk_by(move |a, b| level.start_of(a.start) == level.start_of(b.start))
        .filter_map(move |group| Some((level.start_of(group.first()?.start), group)))
}

fn duties(points: impl Iterator<Item = (i64, bool)>) -> Vec<Window<Duty>> {
    let length = Level::Minute.micros();
    let mut windows: Vec<Window<Duty>> = Vec::new();
    for (at, value) in points {
        let start = Level::Minute.start_of(at);
        let left = start.saturating_add(length).saturating_sub(at);
        // A true point is counted to the end of the window, and what follows it takes that back.
        let ahead = if value { left } else { 0 };
        let before = windows.last().map(|window| window.holds.last);
        let changed = u64::from(before.is_some_and(|before| before != value));
        match windows.last_mut() {
            Some(window) if window.start == start => {
                let holds = &mut window.holds;
                holds.count += 1;
                holds.changes += changed;
                let back = if holds.last { left } else { 0 };
                holds.true_micros = holds.true_micros - back + ahead;
                holds.last = value;
            }
            _ => {
                let carried = if before == Some(true) {
                    length - left
                } else {
                    0
                };
                let holds = Duty {
                    count: 1,
                    changes: changed,
                    true_micros: carried + ahead,
                    first: value,
                    last: value,
                };
                windows.push(Window { start, holds });
            }
        }
    }
    windows
}

fn coarsen_duties(windows: &[Window<Duty>], from: Level, to: Level) -> Vec<Window<Duty>> {
    let mut out: Vec<Window<Duty>> = Vec::new();
    // End of the finer window before, when it ended true: what is absent since then was true.
    let mut true_since: Option<i64> = None;
    for (start, group) in same_window(windows, to) {
        let mut merged: Option<Duty> = None;
        let end = start.saturating_add(to.micros());
        for window in group {
            let gap = true_since.map_or(0, |since| window.start.saturating_sub(since.max(start)));
            let holds = &window.holds;
            let so_far = merged.get_or_insert(Duty {
                count: 0,
                changes: 0,
                true_micros: 0,
                ..*holds
            });
            so_far.count = so_far.count.saturating_add(holds.count);
            so_far.changes = so_far.changes.saturating_add(holds.changes);
            so_far.true_micros = so_far
                .true_micros
                .saturating_add(holds.true_micros)
                .saturating_add(gap);
            so_far.last = holds.last;
            true_since = holds
                .last
                .then(|| window.start.saturating_add(from.micros()));
        }
        if let Some(mut holds) = merged {
            let rest = true_since.map_or(0, |since| end.saturating_sub(since));
            holds.true_micros = holds.true_micros.saturating_add(rest);
            out.push(Window { start, holds });
        }
    }
    out
}

fn states<'a>(points: impl Iterator<Item = (i64, &'a str)>) -> Vec<Window<States>> {
    let mut windows: Vec<Window<States>> = Vec::new();
    for (at, value) in points {
        let start = Level::Minute.start_of(at);
        let changed = windows
            .last()
            .is_some_and(|window| &*window.holds.last != value);
        match windows.last_mut() {
            Some(window) if window.start == start => {
                window.holds.count += 1;
                if changed {
                    window.holds.changes += 1;
                    window.holds.last = value.into();
                }
            }
            _ => {
                let (first, last) = (value.into(), value.into());
                let holds = States {
                    count: 1,
                    changes: u64::from(changed),
                    first,
                    last,
                };
                windows.push(Window { start, holds });
            }
        }
    }
    windows
}

fn coarsen_states(windows: &[Window<States>], to: Level) -> Vec<Window<States>> {
    same_window(windows, to)
        .filter_map(|(start, group)| {
            let (first, last) = (group.first()?, group.last()?);
            let sum = |of: fn(&States) -> u64| {
                group
                    .iter()
                    .fold(0u64, |sum, window| sum.saturating_add(of(&window.holds)))
            };
            let holds = States {
                count: sum(|states| states.count),
                changes: sum(|states| states.changes),
                first: first.holds.first.clone(),
                last: last.holds.last.clone(),
            };
            Some(Window { start, holds })
        })
        .collect()
}
