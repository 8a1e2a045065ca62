//! The table that is printed: what, how much, and beside what.

use std::fmt;
use std::time::Duration;

/// Figures in the order in which they were measured.
#[derive(Debug, Default)]
pub(crate) struct Report(Vec<(String, String, String)>);

impl Report {
    /// Adds a figure and what it is to be seen beside; says it at once, too.
    pub(crate) fn line(&mut self, what: &str, figure: String, beside: &str) {
        println!("{what}: {figure} ({beside})");
        self.0.push((what.to_owned(), figure, beside.to_owned()));
    }
}

impl fmt::Display for Report {
    /// A Markdown table.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n| what | figure | beside |\n| --- | --- | --- |")?;
        for (what, figure, beside) in &self.0 {
            writeln!(f, "| {what} | {figure} | {beside} |")?;
        }
        Ok(())
    }
}

/// The value below which that share of the samples lies.
#[must_use]
pub(crate) fn percentile(samples: &mut [Duration], percent: usize) -> Duration {
    samples.sort_unstable();
    let index = (samples.len() * percent / 100).min(samples.len().saturating_sub(1));
    samples.get(index).copied().unwrap_or_default()
}

/// Milliseconds with two digits.
#[must_use]
pub(crate) fn millis(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}
