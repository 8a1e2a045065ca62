//! Windows of chunks: one per retention class and stretch of expiry days, with which their keys begin, so that what
//! expires is found without looking at what does not. About nine of a class are alive. Ranges of one table, because a
//! table each would spend two pages on it, which small homes do not fill.

use std::collections::BTreeSet;
use std::sync::{Arc, RwLock};

use hearth_kernel::{Day, RetentionClass, Timestamp};
use rusqlite::{Connection, OptionalExtension};

use super::keys;
use crate::database::Beside;
use crate::failure::{read_lock, write_lock};

/// One range of chunks.
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

    /// What all its keys begin with: class 1, stretch 4.
    pub(super) fn prefix(self) -> [u8; PREFIX] {
        let stretch = keys::day_bytes(Day::from_number(self.stretch));
        [
            self.class.number(),
            stretch[0],
            stretch[1],
            stretch[2],
            stretch[3],
        ]
    }

    /// The window that a key lies in.
    fn of_key(key: &[u8]) -> Option<Self> {
        let (class, rest) = key.split_first()?;
        let (stretch, _) = rest.split_first_chunk::<4>()?;
        Some(Self {
            class: RetentionClass::from_number(*class)?,
            stretch: keys::day_from(*stretch).number(),
        })
    }
}

/// Bytes of a window in front of a key.
pub(super) const PREFIX: usize = 5;

/// Days of one stretch: an eighth of the period, at least one, as a slot of its keys has. More would make looking for a
/// chunk search more ranges; fewer would make looking for what has expired read more of what has not.
fn length(class: RetentionClass) -> i32 {
    i32::from(class.days() / 8).max(1)
}

/// The windows that are there for certain, as readers see them.
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
            there: stored(conn)?,
            known,
            changed: true,
        };
        windows.committed();
        Ok(windows)
    }

    pub(super) fn add(&mut self, window: Window) {
        self.changed |= self.there.insert(window);
    }

    pub(super) fn drop(&mut self, window: Window) {
        self.changed |= self.there.remove(&window);
    }
}

/// The windows that hold something: one look at the b-tree for each.
fn stored(conn: &Connection) -> rusqlite::Result<BTreeSet<Window>> {
    let mut windows = BTreeSet::new();
    let mut from = Vec::new();
    let mut next = conn.prepare("SELECT key FROM chunks WHERE key >= ?1 ORDER BY key LIMIT 1")?;
    while let Some(key) = next
        .query_row([&from], |row| row.get::<_, Vec<u8>>(0))
        .optional()?
    {
        let window = Window::of_key(&key).ok_or_else(super::rows::damaged)?;
        windows.insert(window);
        from = keys::after_prefix(&window.prefix());
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
        match stored(conn) {
            Ok(there) => {
                self.there = there;
                self.changed = true;
                self.committed();
            }
            Err(error) => {
                tracing::error!(error = %error, "the windows of chunks cannot be listed again");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_go_both_ways_and_bounds_hold() {
        for class in RetentionClass::ALL {
            for day in [-400, -1, 0, 1, 20_000, 21_000] {
                let expires = Day::from_number(day).start();
                let window = Window::of(class, expires);
                let key = [&window.prefix()[..], &[7; 50]].concat();
                assert_eq!(Window::of_key(&key), Some(window));
                assert!(!window.is_over(expires) && window.has_begun(expires));
                assert!(window.is_over(Day::from_number(day + length(class)).start()));
            }
        }
        assert_eq!(Window::of_key(&[99, 0, 0, 0, 0]), None);
        assert_eq!(Window::of_key(&[1, 0, 0]), None);
    }
}
