//! Where the bytes of `series.db` are: for each group of tables what is sealed, what the rows add, and what pages leave empty.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use rusqlite::{Connection, OpenFlags};

/// Bytes of one group of b-trees.
#[derive(Debug, Default)]
struct Share {
    pages: u32,
    rows: i64,
    bytes: f64,
    /// Keys, values and the headers of rows.
    payload: f64,
    unused: f64,
}

/// One line: bytes for each reading of every group, largest first.
pub(crate) fn of(data: &Path, readings: f64) -> Result<String> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let connection = Connection::open_with_flags(data.join("series.db"), flags)?;
    let mut statement = connection.prepare(
        "SELECT name, pagetype, count(*), sum(ncell), sum(pgsize), sum(payload), sum(unused) \
         FROM dbstat GROUP BY name, pagetype",
    )?;
    let mut groups: BTreeMap<String, Share> = BTreeMap::new();
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        let share = groups.entry(group(&name)).or_default();
        share.pages += row.get::<_, u32>(2)?;
        if row.get::<_, String>(1)? == "leaf" {
            share.rows += row.get::<_, i64>(3)?;
        }
        share.bytes += row.get::<_, f64>(4)?;
        share.payload += row.get::<_, f64>(5)?;
        share.unused += row.get::<_, f64>(6)?;
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by(|a, b| b.1.bytes.total_cmp(&a.1.bytes));
    let mut line = String::new();
    for (name, share) in groups {
        let each = |bytes: f64| bytes / readings;
        let headers = share.bytes - share.payload - share.unused;
        write!(
            line,
            "{name} {:.2} ({} rows on {} pages: payload {:.2}, empty {:.2}, headers {:.2}); ",
            each(share.bytes),
            share.rows,
            share.pages,
            each(share.payload),
            each(share.unused),
            each(headers),
        )?;
    }
    Ok(line)
}

/// Chunks lie in several tables that differ in numbers only.
fn group(name: &str) -> String {
    let name = name.trim_start_matches("sqlite_autoindex_");
    let kind = if name.len() > 40 { "index" } else { name };
    let plain: String = kind
        .chars()
        .take_while(|letter| !letter.is_ascii_digit())
        .collect();
    plain.trim_end_matches('_').to_owned()
}
