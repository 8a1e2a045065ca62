//! Overwriting what deleted rows left behind inside the pages of a database file.
//!
//! `secure_delete` zeroes what is deleted, but when SQLite balances a b-tree it copies live cells to other
//! places, and the old copies stay in the unused middle of their pages. Deleting such a row later zeroes its
//! cell, not the old copies. This walks every b-tree page and zeroes what the page itself says is unused.
//! Unused bytes have no meaning to SQLite, so a power cut in the middle of it harms nothing.
//!
//! Layout: <https://www.sqlite.org/fileformat2.html>, sections 1.3, 1.5 and 1.6.
//!
//! **Not guaranteed:** fragments of at most three bytes between cells stay; a file system that does not
//! overwrite in place, and a flash medium, keep old copies below what any file shows.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rusqlite::Connection;

/// The root pages of every table and index, and of the schema itself.
pub(crate) fn roots(conn: &Connection) -> rusqlite::Result<Vec<u32>> {
    let mut statement =
        conn.prepare("SELECT rootpage FROM sqlite_schema WHERE rootpage > 1 ORDER BY rootpage")?;
    let mut roots = vec![1];
    for root in statement.query_map([], |row| row.get(0))? {
        roots.push(root?);
    }
    Ok(roots)
}

/// Zeroes the unused bytes of every page below these roots, and syncs. The WAL must be empty, nobody may
/// write meanwhile, and no connection that writes later may still have the pages in its cache.
///
/// # Errors
/// When the file cannot be read or written, or is not what the format says.
pub(crate) fn clean(file: &File, roots: &[u32]) -> io::Result<()> {
    let mut head = [0; 100];
    if file.metadata()?.len() < 100 {
        return Ok(());
    }
    file.read_exact_at(&mut head, 0)?;
    let page_bytes = match u16::from_be_bytes([head[16], head[17]]) {
        1 => 65_536,
        bytes => usize::from(bytes),
    };
    if page_bytes < 512 {
        return Err(damaged());
    }
    let usable = page_bytes - usize::from(head[20]);
    let count = file.metadata()?.len() / u64::try_from(page_bytes).unwrap_or(u64::MAX);
    let mut seen = vec![false; usize::try_from(count).map_err(|_| damaged())? + 1];
    let mut page = vec![0; page_bytes];
    let mut waiting = roots.to_vec();
    while let Some(number) = waiting.pop() {
        let index = usize::try_from(number).map_err(|_| damaged())?;
        match seen.get_mut(index) {
            Some(seen) if number > 0 && !*seen => *seen = true,
            _ => return Err(damaged()),
        }
        let offset = u64::from(number - 1) * u64::try_from(page_bytes).unwrap_or(u64::MAX);
        file.read_exact_at(&mut page, offset)?;
        let unused = Page::read(&page[..usable], if number == 1 { 100 } else { 0 })
            .and_then(|page| {
                page.children(&mut waiting)?;
                page.unused()
            })
            .ok_or_else(damaged)?;
        for (from, until) in unused {
            if page[from..until].iter().any(|byte| *byte != 0) {
                page[from..until].fill(0);
                let from_byte = u64::try_from(from).unwrap_or(u64::MAX);
                file.write_all_at(&page[from..until], offset + from_byte)?;
            }
        }
    }
    file.sync_data()
}

fn damaged() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "a page is not what the format says",
    )
}

/// A b-tree page.
struct Page<'a> {
    bytes: &'a [u8],
    /// Where its header begins: after the file's header on the first page.
    header: usize,
    interior: bool,
}

impl<'a> Page<'a> {
    fn read(bytes: &'a [u8], header: usize) -> Option<Self> {
        let interior = match bytes.get(header)? {
            2 | 5 => true,
            10 | 13 => false,
            _ => return None,
        };
        Some(Self {
            bytes,
            header,
            interior,
        })
    }

    fn number(&self, at: usize) -> Option<usize> {
        let bytes = self.bytes.get(at..at + 2)?;
        Some(usize::from(u16::from_be_bytes([bytes[0], bytes[1]])))
    }

    fn pointer(&self, at: usize) -> Option<u32> {
        let bytes = self.bytes.get(at..at + 4)?;
        bytes.try_into().ok().map(u32::from_be_bytes)
    }

    fn cells(&self) -> Option<usize> {
        self.number(self.header + 3)
    }

    fn cell_pointers(&self) -> usize {
        self.header + if self.interior { 12 } else { 8 }
    }

    fn children(&self, out: &mut Vec<u32>) -> Option<()> {
        if self.interior {
            for cell in 0..self.cells()? {
                let at = self.number(self.cell_pointers() + 2 * cell)?;
                out.push(self.pointer(at)?);
            }
            out.push(self.pointer(self.header + 8)?);
        }
        Some(())
    }

    /// The gap between the cell pointers and the first cell, and the inside of the free blocks.
    fn unused(&self) -> Option<Vec<(usize, usize)>> {
        let from = self.cell_pointers() + 2 * self.cells()?;
        let content = match self.number(self.header + 5)? {
            0 => 65_536,
            at => at,
        };
        if from > content || content > self.bytes.len() {
            return None;
        }
        let mut ranges = vec![(from, content)];
        let mut block = self.number(self.header + 1)?;
        while block != 0 {
            let (next, size) = (self.number(block)?, self.number(block + 2)?);
            let forward = next == 0 || next > block;
            if block < content || size < 4 || block + size > self.bytes.len() || !forward {
                return None;
            }
            ranges.push((block + 4, block + size));
            block = next;
        }
        Some(ranges)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn balancing_leaves_copies_and_cleaning_takes_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.db");
        let conn = Connection::open(&path).unwrap();
        conn.pragma_update(None, "secure_delete", "ON").unwrap();
        conn.execute_batch("CREATE TABLE t(k BLOB PRIMARY KEY, v BLOB) WITHOUT ROWID")
            .unwrap();
        // Keys in a scattered order, so that pages split in their middles.
        let order = |i: u32| (i.wrapping_mul(2_654_435_761)).to_be_bytes();
        conn.execute_batch("BEGIN").unwrap();
        for i in 0..3_000_u32 {
            let marker = format!(
                "marker-{i:08}-{}",
                "x".repeat(usize::try_from(i % 90).unwrap())
            );
            conn.execute(
                "INSERT INTO t VALUES (?1, ?2)",
                (order(i), marker.as_bytes()),
            )
            .unwrap();
        }
        for i in (0..3_000_u32).filter(|i| i % 3 != 0) {
            conn.execute("DELETE FROM t WHERE k = ?1", [order(i)])
                .unwrap();
        }
        conn.execute_batch("COMMIT").unwrap();
        let left = |path: &std::path::Path| {
            let bytes = std::fs::read(path).unwrap();
            bytes
                .windows(15)
                .filter(|window| window.starts_with(b"marker-"))
                .filter_map(|window| std::str::from_utf8(&window[7..]).ok()?.parse::<u32>().ok())
                .filter(|i| i % 3 != 0)
                .count()
        };
        assert!(
            left(&path) > 0,
            "SQLite itself leaves nothing: this module is not needed any more"
        );
        let roots = roots(&conn).unwrap();
        drop(conn);
        let file = File::options().read(true).write(true).open(&path).unwrap();
        clean(&file, &roots).unwrap();
        assert_eq!(left(&path), 0);
        let conn = Connection::open(&path).unwrap();
        let sound: String = conn
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .unwrap();
        assert_eq!(sound, "ok");
        let rows: u32 = conn
            .query_row("SELECT count(*) FROM t", [], |row| row.get(0))
            .unwrap();
        assert_eq!(rows, 1_000);
    }
}
