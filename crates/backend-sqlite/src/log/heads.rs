//! The head of each stream: the last sequence ever given, kept apart from the messages so that it never goes back.
//!
//! During a transaction the writer's copy runs ahead; followers hear of it after the commit. What a head
//! says outside this module is therefore always durable.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use hearth_kernel::Timestamp;
use hearth_ports::{Clock, Family, Position, Stream};
use rusqlite::Connection;
use tokio::sync::watch;

use super::tables::streams;
use crate::database::Beside;
use crate::failure::count;

/// The generation of INT and TELEMETRY, which are never rolled, and of all others at first.
pub(super) const FIRST_GENERATION: u32 = 1;

/// The durable head of each stream, and who waits for it to grow.
pub(super) struct Followers {
    heads: HashMap<Stream, watch::Sender<u64>>,
}

impl Followers {
    pub(super) fn new() -> Self {
        let all = streams().chain([Stream::TELEMETRY]);
        Self {
            heads: all.map(|stream| (stream, watch::Sender::new(0))).collect(),
        }
    }

    /// The last sequence ever given, durable; 0 when there is none.
    pub(super) fn head(&self, stream: Stream) -> u64 {
        self.heads.get(&stream).map_or(0, |head| *head.borrow())
    }

    pub(super) fn follow(&self, stream: Stream) -> Option<watch::Receiver<u64>> {
        self.heads.get(&stream).map(watch::Sender::subscribe)
    }

    pub(super) fn advance(&self, stream: Stream, head: u64) {
        if let Some(sender) = self.heads.get(&stream) {
            sender.send_replace(head);
        }
    }

    /// Wakes every follower, so that it sees that the store is closed.
    pub(super) fn wake_all(&self) {
        for head in self.heads.values() {
            head.send_modify(|_| ());
        }
    }
}

#[derive(Clone, Copy, Default)]
struct Head {
    sequence: i64,
    at: i64,
}

/// The writer's copy of the heads.
pub(super) struct Heads {
    clock: Arc<dyn Clock>,
    followers: Arc<Followers>,
    generation: u32,
    heads: HashMap<Stream, Head>,
    grown: HashSet<Stream>,
}

impl Heads {
    pub(super) fn read(
        conn: &Connection,
        clock: Arc<dyn Clock>,
        followers: Arc<Followers>,
    ) -> rusqlite::Result<Self> {
        let generation = conn.query_row(
            "SELECT value FROM meta WHERE name = 'generation'",
            [],
            |row| row.get(0),
        )?;
        let mut heads = Self {
            clock,
            followers,
            generation,
            heads: HashMap::new(),
            grown: HashSet::new(),
        };
        heads.reload(conn)?;
        for (stream, head) in &heads.heads {
            heads.followers.advance(*stream, count(head.sequence));
        }
        Ok(heads)
    }

    /// The generation of the streams that are rolled.
    pub(super) const fn log_generation(&self) -> u32 {
        self.generation
    }

    /// The generation that a stream is in.
    const fn generation(&self, stream: Stream) -> u32 {
        generation_of(self.generation, stream)
    }

    /// The last sequence given, also in this transaction.
    pub(super) fn sequence(&self, stream: Stream) -> i64 {
        self.heads.get(&stream).map_or(0, |head| head.sequence)
    }

    /// The next message's sequence and time; later messages never have earlier times.
    pub(super) fn next(&self, stream: Stream) -> (i64, Timestamp) {
        let head = self.heads.get(&stream).copied().unwrap_or_default();
        let at = self.clock.now().micros().max(head.at);
        (head.sequence + 1, Timestamp::from_micros(at))
    }

    /// The next message was inserted.
    pub(super) fn grow(&mut self, stream: Stream, sequence: i64, at: Timestamp) {
        let at = at.micros();
        self.heads.insert(stream, Head { sequence, at });
        self.grown.insert(stream);
    }

    pub(super) fn position(&self, stream: Stream, sequence: i64) -> Position {
        Position {
            generation: self.generation(stream),
            sequence: count(sequence),
        }
    }

    fn reload(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        let mut statement = conn.prepare_cached("SELECT head, at FROM heads WHERE stream = ?1")?;
        for stream in streams() {
            let mut rows = statement.query([stream.name()])?;
            let head = match rows.next()? {
                Some(row) => Head {
                    sequence: row.get(0)?,
                    at: row.get(1)?,
                },
                None => Head::default(),
            };
            self.heads.insert(stream, head);
        }
        self.grown.clear();
        Ok(())
    }
}

/// The generation of a stream in a log of that generation.
pub(super) const fn generation_of(log: u32, stream: Stream) -> u32 {
    match stream.family {
        Family::Evt | Family::Rec | Family::State => log,
        Family::Int | Family::Telemetry => FIRST_GENERATION,
    }
}

impl Beside for Heads {
    fn before_commit(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        let mut statement = conn.prepare_cached(
            "INSERT INTO heads(stream, head, at) VALUES (?1, ?2, ?3) \
             ON CONFLICT(stream) DO UPDATE SET head = excluded.head, at = excluded.at",
        )?;
        for stream in &self.grown {
            let head = self.heads.get(stream).copied().unwrap_or_default();
            statement.execute((stream.name(), head.sequence, head.at))?;
        }
        Ok(())
    }

    fn committed(&mut self) {
        for stream in self.grown.drain() {
            let head = self.heads.get(&stream).copied().unwrap_or_default();
            self.followers.advance(stream, count(head.sequence));
        }
    }

    fn rolled_back(&mut self, conn: &Connection) {
        if let Err(error) = self.reload(conn) {
            // A head that is too great leaves a gap, which is harmless; the next commit writes it.
            tracing::error!(error = %error, "the heads of the log cannot be read again");
        }
    }
}
