//! Tables of chunks: one per retention class and stretch of expiry days, so that what expires is found
//! without looking at what does not. About nine of a class are alive.

use std::collections::BTreeSet;
use std::sync::{Arc, RwLock};

use hearth_kernel::{Day, RetentionClass, Timestamp};
use rusqlite::Connection;

use crate::database::Beside;
use crate::failure::{read_lock, write_lock};

/// One table of chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Window {
    pub(super) class: RetentionClass,
    /// Number of the stretch, counted from 1970 in stretches of the class's length.
    stretch: i32,
}

impl Window {
    /// Where chunks of a class that expire then belong.
    pub(super) fn of(class: RetentionClass, expires: Timestamp) -> Self {
        Self {
            class,
            stretch: expires.day().number().div_euclid(length(class)),
        }
    }

    /// Whether everything in it has expired.
    pub(super) fn is_over(self, now: Timestamp) -> bool {
        let next = self.stretch.saturating_add(1);
        Day::from_number(next.saturating_mul(length(self.class))).start() <= now
    }

    /// Whether something in it may have expired.
    pub(super) fn has_begun(self, now: Timestamp) -> bool {
        Day::from_number(self.stretch.saturating_mul(length(self.class))).start() <= now
    }

    /// The table's name: `chunks_<class>_<stretch>`, with an `m` for a minus.
    pub(super) fn table(self) -> String {
        let sign = if self.stretch < 0 { "m" } else { "" };
        let stretch = self.stretch.unsigned_abs();
        format!("chunks_{}_{sign}{stretch}", self.class.number())
    }

    fn parse(table: &str) -> Option<Self> {
        let (class, stretch) = table.strip_prefix("chunks_")?.split_once('_')?;
        let class = RetentionClass::from_number(class.parse().ok()?)?;
        let stretch = match stretch.strip_prefix('m') {
            Some(stretch) => -stretch.parse::<i32>().ok()?,
            None => stretch.parse().ok()?,
        };
        Some(Self { class, stretch })
    }
}

/// Days of one stretch: an eighth of the period, at least one, as a slot of its keys has. More tables would each spend
/// a page or two on a small home; fewer would make looking for what has expired read more of what has not.
fn length(class: RetentionClass) -> i32 {
    i32::from(class.days() / 8).max(1)
}

/// The tables that are there for certain, as readers see them.
#[derive(Clone, Default)]
pub(super) struct Known(Arc<RwLock<BTreeSet<Window>>>);

impl Known {
    /// The windows of a class that have not expired whole.
    pub(super) fn alive(&self, class: RetentionClass, now: Timestamp) -> Vec<Window> {
        let alive = |window: &&Window| window.class == class && !window.is_over(now);
        read_lock(&self.0).iter().filter(alive).copied().collect()
    }

    pub(super) fn all(&self) -> Vec<Window> {
        read_lock(&self.0).iter().copied().collect()
    }
}

/// The writer's own list, which runs ahead of [`Known`] until the commit.
pub(super) struct Windows {
    there: BTreeSet<Window>,
    known: Known,
    changed: bool,
}

impl Windows {
    pub(super) fn read(conn: &Connection, known: Known) -> rusqlite::Result<Self> {
        let mut windows = Self {
            there: tables(conn)?,
            known,
            changed: true,
        };
        windows.committed();
        Ok(windows)
    }

    pub(super) fn has(&self, window: Window) -> bool {
        self.there.contains(&window)
    }

    pub(super) fn add(&mut self, window: Window) {
        self.changed |= self.there.insert(window);
    }

    pub(super) fn drop(&mut self, window: Window) {
        self.changed |= self.there.remove(&window);
    }
}

fn tables(conn: &Connection) -> rusqlite::Result<BTreeSet<Window>> {
    let mut statement = conn.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'")?;
    let names = statement.query_map([], |row| row.get::<_, String>(0))?;
    let mut windows = BTreeSet::new();
    for name in names {
        windows.extend(Window::parse(&name?));
    }
    Ok(windows)
}

impl Beside for Windows {
    fn committed(&mut self) {
        if self.changed {
            write_lock(&self.known.0).clone_from(&self.there);
            self.changed = false;
        }
    }

    fn rolled_back(&mut self, conn: &Connection) {
        match tables(conn) {
            Ok(there) => {
                self.there = there;
                self.changed = true;
                self.committed();
            }
            Err(error) => {
                tracing::error!(error = %error, "the tables of chunks cannot be listed again");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_both_ways_and_bounds_hold() {
        for class in RetentionClass::ALL {
            for day in [-400, -1, 0, 1, 20_000, 21_000] {
                let expires = Day::from_number(day).start();
                let window = Window::of(class, expires);
                assert_eq!(Window::parse(&window.table()), Some(window));
                assert!(!window.is_over(expires) && window.has_begun(expires));
                assert!(window.is_over(Day::from_number(day + length(class)).start()));
            }
        }
        assert_eq!(Window::parse("chunks_9_1"), None);
        assert_eq!(Window::parse("segments"), None);
    }
}
