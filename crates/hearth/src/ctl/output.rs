//! What a command shows: aligned plain text for people, JSON for machines. One value makes both.
//!
//! Names in what is shown were chosen by other people: control characters, which could move the cursor or colour a
//! terminal, are replaced before they are printed.

use std::fmt::Write as _;

use serde_json::{Map, Value};

/// What stands for a value that is not there, in text.
const ABSENT: &str = "-";
/// What stands for a list without items, in text.
const NONE: &str = "none";

/// What a command has to show.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Shown {
    /// One sentence. In JSON: `{"done": "..."}`.
    Line(String),
    /// One thing: a name and a value a line. In JSON an object.
    One(Vec<(&'static str, Value)>),
    /// Sentences, one a line. In JSON an array of them.
    List(Vec<String>),
    /// Many of a kind. In JSON an array of objects.
    Many(Table),
    /// Several of these, each under a title. In JSON an object of them.
    Parts(Vec<(&'static str, Self)>),
}

/// Rows under columns, whose names are also the names of fields in JSON.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Table {
    columns: &'static [&'static str],
    rows: Vec<Vec<Value>>,
}

impl Table {
    /// A table without rows.
    pub(crate) const fn new(columns: &'static [&'static str]) -> Self {
        Self {
            columns,
            rows: Vec::new(),
        }
    }

    /// A table with these rows, each with a value per column.
    pub(crate) fn of(
        columns: &'static [&'static str],
        rows: impl IntoIterator<Item = Vec<Value>>,
    ) -> Self {
        Self {
            columns,
            rows: rows.into_iter().collect(),
        }
    }

    /// Adds a row with a value per column.
    pub(crate) fn push(&mut self, row: Vec<Value>) {
        self.rows.push(row);
    }

    /// How many rows it has.
    pub(crate) const fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether it has no row.
    pub(crate) const fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn json(&self) -> impl Iterator<Item = Value> + '_ {
        self.rows.iter().map(|row| {
            let fields = self.columns.iter().zip(row);
            let fields = fields.map(|(name, value)| ((*name).to_owned(), value.clone()));
            Value::Object(fields.collect())
        })
    }
}

impl From<Table> for Shown {
    fn from(table: Table) -> Self {
        Self::Many(table)
    }
}

impl Shown {
    /// As text, without a line break at the end.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        self.write_text(&mut out, "");
        out.truncate(out.trim_end().len());
        out
    }

    /// As JSON.
    pub(crate) fn json(&self) -> Value {
        match self {
            Self::Line(line) => {
                Value::Object(Map::from_iter([("done".to_owned(), line.clone().into())]))
            }
            Self::One(facts) => {
                let facts = facts.iter();
                Value::Object(
                    facts
                        .map(|(name, value)| ((*name).to_owned(), value.clone()))
                        .collect(),
                )
            }
            Self::List(lines) => lines.clone().into(),
            Self::Many(table) => Value::Array(table.json().collect()),
            Self::Parts(parts) => {
                let parts = parts.iter();
                Value::Object(
                    parts
                        .map(|(title, part)| ((*title).to_owned(), part.json()))
                        .collect(),
                )
            }
        }
    }

    fn write_text(&self, out: &mut String, indent: &str) {
        match self {
            Self::Line(line) => {
                let _ = writeln!(out, "{indent}{}", printable(line));
            }
            Self::One(facts) => {
                let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
                for (name, value) in facts {
                    let name = name.replace('_', " ");
                    let _ = writeln!(out, "{indent}{name:width$}  {}", cell(value));
                }
            }
            Self::List(lines) if lines.is_empty() => {
                let _ = writeln!(out, "{indent}{NONE}");
            }
            Self::List(lines) => {
                for line in lines {
                    let _ = writeln!(out, "{indent}{}", printable(line));
                }
            }
            Self::Many(table) if table.is_empty() => {
                let _ = writeln!(out, "{indent}{NONE}");
            }
            Self::Many(table) => {
                let mut columns = Columns::default();
                for line in columns.lines(table) {
                    let _ = writeln!(out, "{indent}{line}");
                }
            }
            Self::Parts(parts) => {
                for (title, part) in parts {
                    let _ = writeln!(out, "{indent}{}", title.replace('_', " "));
                    part.write_text(out, &format!("{indent}  "));
                    out.push('\n');
                }
            }
        }
    }
}

/// The widths of columns: they grow with what was shown, so that a long answer that comes in pieces stays aligned.
#[derive(Debug, Default)]
struct Columns {
    widths: Vec<usize>,
    /// Whether the header was shown.
    begun: bool,
}

impl Columns {
    fn lines(&mut self, table: &Table) -> Vec<String> {
        let header = table
            .columns
            .iter()
            .map(|name| name.replace('_', " ").to_uppercase());
        let header: Vec<_> = header.collect();
        let rows: Vec<Vec<String>> = table
            .rows
            .iter()
            .map(|row| row.iter().map(cell).collect())
            .collect();
        self.widths.resize(header.len(), 0);
        for row in std::iter::once(&header).chain(&rows) {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        // A column of numbers is read from the right.
        let numbers: Vec<bool> = (0..header.len())
            .map(|column| {
                let of_column = || table.rows.iter().filter_map(|row| row.get(column));
                of_column().any(Value::is_number)
                    && of_column().all(|value| value.is_number() || value.is_null())
            })
            .collect();
        let header = (!std::mem::replace(&mut self.begun, true)).then_some(&header);
        let lines = header.into_iter().chain(&rows);
        lines.map(|row| self.line(row, &numbers)).collect()
    }

    fn line(&self, row: &[String], numbers: &[bool]) -> String {
        let mut line = String::new();
        for ((cell, width), number) in row.iter().zip(&self.widths).zip(numbers) {
            let _ = if *number {
                write!(line, "{cell:>width$}  ")
            } else {
                write!(line, "{cell:<width$}  ")
            };
        }
        line.truncate(line.trim_end().len());
        line
    }
}

/// How a long answer is printed, as it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Aligned columns.
    Text,
    /// One JSON object a line.
    Json,
    /// Comma-separated, with a header (RFC 4180).
    Csv,
}

/// Prints a long answer piece by piece.
#[derive(Debug)]
pub(crate) struct Lines {
    form: Form,
    columns: Columns,
}

impl Lines {
    pub(crate) fn new(form: Form) -> Self {
        Self {
            form,
            columns: Columns::default(),
        }
    }

    /// The text of the next rows; the header stands before the first ones.
    pub(crate) fn next(&mut self, table: &Table) -> String {
        let lines: Vec<String> = match self.form {
            Form::Text => self.columns.lines(table),
            Form::Json => table.json().map(|row| row.to_string()).collect(),
            Form::Csv => {
                let begun = std::mem::replace(&mut self.columns.begun, true);
                let header = (!begun).then(|| table.columns.join(","));
                let rows = table.rows.iter();
                let rows = rows.map(|row| row.iter().map(csv).collect::<Vec<_>>().join(","));
                header.into_iter().chain(rows).collect()
            }
        };
        lines.join("\n")
    }

    /// What is still to be said at the end, given the columns: an answer without rows is no silence.
    pub(crate) fn end(&self, columns: &'static [&'static str]) -> Option<String> {
        match self.form {
            _ if self.columns.begun => None,
            Form::Text => Some(NONE.to_owned()),
            Form::Csv => Some(columns.join(",")),
            Form::Json => None,
        }
    }
}

/// A value as people read it.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => ABSENT.to_owned(),
        Value::String(text) if text.is_empty() => ABSENT.to_owned(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        Value::String(text) => printable(text),
        Value::Array(values) if values.is_empty() => ABSENT.to_owned(),
        Value::Array(values) => values.iter().map(cell).collect::<Vec<_>>().join(", "),
        Value::Number(number) => number
            .as_f64()
            .filter(|_| number.is_f64())
            .map_or_else(|| number.to_string(), rounded),
        Value::Object(_) => value.to_string(),
    }
}

/// A number with at most six decimals, unless it is so small that nothing would be left of it. JSON and CSV have all.
fn rounded(number: f64) -> String {
    if number != 0.0 && number.abs() < 0.001 {
        return number.to_string();
    }
    let text = format!("{number:.6}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    text.to_owned()
}

fn csv(value: &Value) -> String {
    let text = match value {
        Value::Null => return String::new(),
        Value::String(text) => printable(text),
        Value::Bool(_) | Value::Number(_) => return value.to_string(),
        Value::Array(_) | Value::Object(_) => cell(value),
    };
    if text.contains([',', '"', '\n']) {
        return format!("\"{}\"", text.replace('"', "\"\""));
    }
    text
}

fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// Prints a text and a line break to stdout. A reader that is gone is nobody to tell.
pub(crate) fn print(text: &str) {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// Prints a remark to stderr, apart from what a command answers.
pub(crate) fn remark(text: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{text}");
}

#[cfg(test)]
mod tests;
