//! Small charts for a terminal: a series as columns of block characters, never wider than asked.
//!
//! Pure: values in, lines out. Knows neither readings nor the terminal.

/// Eighths of a character, from below.
const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Columns of the scale at the left, with its border.
const SCALE: usize = 9;
/// The narrowest picture.
const NARROWEST: usize = 8;

/// What a chart looks like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'a> {
    /// Stands above it.
    pub(super) title: &'a str,
    /// Stands below the left end.
    pub(super) from: &'a str,
    /// Stands below the right end.
    pub(super) to: &'a str,
    /// Columns in all; at least 17 are used.
    pub(super) width: usize,
    /// Lines of the picture; at least 1.
    pub(super) height: usize,
}

/// Draws values of equal distance; what is `None` stays empty. Where there are more values than columns, a column is
/// the mean of its share.
pub(super) fn draw(frame: &Frame<'_>, values: &[Option<f64>]) -> Vec<String> {
    let columns = frame.width.saturating_sub(SCALE).max(NARROWEST);
    let heights = shares(values, columns);
    let known = || heights.iter().flatten().copied();
    let most = known().fold(f64::NEG_INFINITY, f64::max);
    // Zero is the ground unless something lies below it.
    let least = known().fold(0.0, f64::min);
    let mut lines = vec![clip(frame.title, frame.width)];
    if !most.is_finite() {
        lines.push(clip("(nothing)", frame.width));
        return lines;
    }
    let height = frame.height.max(1);
    let span = if most > least { most - least } else { 1.0 };
    for row in (0..height).rev() {
        let label = match row {
            0 => number(least),
            top if top == height - 1 => number(most),
            _ => String::new(),
        };
        let mut line = format!("{label:>7} │");
        for value in &heights {
            let filled = value.map_or(0.0, |value| (value - least) / span * scale(height));
            // A value that is there leaves a trace even at the ground.
            let ground = usize::from(row == 0 && value.is_some());
            line.push(block(filled - scale(row), ground));
        }
        lines.push(line.trim_end().to_owned());
    }
    let gap = columns.saturating_sub(frame.from.chars().count() + frame.to.chars().count());
    let axis = format!(
        "{}{}{}{}",
        " ".repeat(SCALE),
        frame.from,
        " ".repeat(gap.max(1)),
        frame.to
    );
    lines.push(clip(&axis, frame.width.max(SCALE + NARROWEST)));
    lines
}

/// The mean of each column's share of the values. Fewer values than columns are repeated to fill them.
fn shares(values: &[Option<f64>], columns: usize) -> Vec<Option<f64>> {
    let share = |column: usize| {
        let first = column * values.len() / columns;
        let end = ((column + 1) * values.len() / columns).max(first + 1);
        let known: Vec<f64> = values.get(first..end)?.iter().flatten().copied().collect();
        let count = known.len();
        (count > 0).then(|| known.iter().sum::<f64>() / scale(count))
    };
    (0..columns).map(share).collect()
}

/// A small count as a number that can be multiplied; counts here are far below 2^32.
fn scale(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}

fn block(filled: f64, ground: usize) -> char {
    let eighths = (1..=8)
        .filter(|eighth| filled * 8.0 + 1e-9 >= scale(*eighth))
        .count();
    BLOCKS.get(eighths.max(ground)).copied().unwrap_or('█')
}

fn number(value: f64) -> String {
    let size = value.abs();
    if size >= 100.0 || value == value.trunc() {
        format!("{value:.0}")
    } else if size >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

fn clip(text: &str, width: usize) -> String {
    text.chars().take(width).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FRAME: Frame<'_> = Frame {
        title: "power, W",
        from: "00:00",
        to: "24:00",
        width: 33,
        height: 4,
    };

    #[test]
    fn a_ramp_climbs_from_the_ground_to_the_top() {
        let values: Vec<Option<f64>> = (0..24).map(|hour| Some(f64::from(hour))).collect();
        let lines = draw(&FRAME, &values);
        let expected = [
            "power, W",
            "     23 │                  ▁▂▃▅▆█",
            "        │             ▂▃▄▆▇██████",
            "        │       ▁▃▄▅▇████████████",
            "      0 │▁▁▂▄▅▆██████████████████",
            "         00:00              24:00",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn nothing_known_is_said_so() {
        assert_eq!(draw(&FRAME, &[]), ["power, W", "(nothing)"]);
        assert_eq!(draw(&FRAME, &[None, None]), ["power, W", "(nothing)"]);
    }

    #[test]
    fn below_zero_the_ground_sinks_and_gaps_stay_open() {
        let frame = Frame {
            height: 1,
            width: 17,
            ..FRAME
        };
        let values = [Some(-4.0), None, Some(4.0), Some(0.0)];
        let lines = draw(&frame, &values);
        assert_eq!(lines[1], "     -4 │▁▁  ██▄▄");
    }

    proptest! {
        #[test]
        fn no_line_is_wider_than_asked(
            values in proptest::collection::vec(proptest::option::of(-1e6..1e6f64), 0..500),
            width in 17usize..200,
            height in 0usize..20,
        ) {
            let frame = Frame { width, height, ..FRAME };
            for line in draw(&frame, &values) {
                prop_assert!(line.chars().count() <= width, "{line:?} in {width}");
            }
        }
    }
}
