//! The log on SQLite: `log.db` for history, records, events and facts; a file per day for frames.
//!
//! Answers mean durable: the writer answers after COMMIT returned, and COMMIT is an fsync. A tail reads pages
//! from the store and is woken by the commit that has more, so a slow reader costs no memory and nobody polls.
//! Must not know what a message carries.

mod frames;
mod heads;
mod rows;
mod tables;
mod tail;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{BoxStream, unfold};
use hearth_ports::{
    Announcement, Clock, Expected, Family, Log, Message, Position, Purge, Read, Removed,
    StoreError, Stream, Subject, Topic,
};
use rusqlite::OptionalExtension;
use tokio::sync::broadcast;

use crate::database::{Database, DatabaseError, Primary, Shape};
use crate::failure::{closed, failed, lock};
use crate::readers::Readers;
use crate::writer::Writer;
use frames::{FrameFiles, Frames};
use heads::{Followers, Heads, generation_of};
use rows::sequence_at;
use tables::Tables;

/// The greatest message. A greater one is `Terminal`.
pub const MAX_MESSAGE_BYTES: usize = 1 << 20;
/// Announcements kept for a slow listener.
const ANNOUNCEMENTS: usize = 256;

const SHAPE: Shape = Shape {
    name: "log-writer",
    format: 1,
    page_bytes: 4096,
    writer_kib: 2 << 10,
    reader_kib: 512,
    readers: 4,
    gives_back: true,
    schema: "CREATE TABLE meta(name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
             INSERT INTO meta(name, value) VALUES ('generation', 1);
             CREATE TABLE heads(stream TEXT PRIMARY KEY, head INTEGER NOT NULL, \
             at INTEGER NOT NULL) STRICT, WITHOUT ROWID;",
};

/// The log on SQLite.
pub struct SqliteLog {
    database: Database<Heads>,
    frames: Writer<Frames>,
    reading: Arc<Reading>,
    topics: Mutex<HashMap<Topic, broadcast::Sender<Announcement>>>,
}

/// What tails share with the log.
struct Reading {
    generation: u32,
    tables: Tables,
    readers: Readers,
    files: Arc<FrameFiles>,
    followers: Arc<Followers>,
}

impl std::fmt::Debug for SqliteLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SqliteLog")
    }
}

impl SqliteLog {
    /// Opens `log.db` and `telemetry/` in a folder, and makes them if they are not there.
    ///
    /// # Errors
    /// When a file cannot be opened, is damaged, or of another format.
    pub fn open(folder: &Path, clock: Arc<dyn Clock>) -> Result<Self, DatabaseError> {
        let followers = Arc::new(Followers::new());
        let tables = Tables::new();
        let mut generation = 0;
        let database = Database::open(&folder.join("log.db"), SHAPE, |conn| {
            tables.create(conn)?;
            let heads = Heads::read(conn, Arc::clone(&clock), Arc::clone(&followers))?;
            generation = heads.log_generation();
            Ok(heads)
        })?;
        let telemetry = folder.join("telemetry");
        crate::folder::make_private(&telemetry).map_err(DatabaseError::file(&telemetry))?;
        let (frames, files) = frames::open(&telemetry, clock, Arc::clone(&followers))?;
        let reading = Arc::new(Reading {
            generation,
            tables,
            readers: database.readers.clone(),
            files,
            followers,
        });
        Ok(Self {
            database,
            frames,
            reading,
            topics: Mutex::default(),
        })
    }

    /// Makes the bytes of removed messages vanish from `log.db` and its WAL. Frames go by whole files.
    ///
    /// # Errors
    /// `Retryable` when a reader holds it up; scrubbing again is harmless.
    pub async fn scrub(&self) -> Result<(), StoreError> {
        self.database.scrub().await?;
        self.frames
            .submit_alone(frames::slow(), Frames::checkpoint)
            .await
    }

    /// Commits what is queued, ends every tail, and closes the files. Blocks until that is done.
    pub fn close(&self) {
        self.reading.files.close();
        self.database.close();
        self.frames.stop();
        self.reading.followers.wake_all();
    }

    /// Runs a job on the table of a stream, inside the next transaction.
    async fn write<T, F>(&self, stream: Stream, weight: usize, work: F) -> Result<T, StoreError>
    where
        F: FnOnce(&mut Primary<Heads>, &tables::Table) -> Result<T, StoreError> + Send + 'static,
        T: Send + 'static,
    {
        let reading = Arc::clone(&self.reading);
        self.database
            .writer
            .submit(weight, move |primary| {
                work(primary, reading.tables.of(stream)?)
            })
            .await
    }
}

impl Reading {
    const fn generation(&self, stream: Stream) -> u32 {
        generation_of(self.generation, stream)
    }

    fn is_closed(&self) -> bool {
        self.files.is_closed()
    }

    async fn page(
        self: &Arc<Self>,
        stream: Stream,
        after: Position,
        most: usize,
        most_bytes: usize,
    ) -> Result<Vec<Message>, StoreError> {
        let generation = self.generation(stream);
        let after = sequence_at(generation, after);
        if stream.family == Family::Telemetry {
            return self.files.page(after, most, most_bytes).await;
        }
        let reading = Arc::clone(self);
        self.readers
            .read(move |conn| {
                let sql = &reading.tables.of(stream)?.page;
                rows::page(conn, sql, (stream, generation), after, most, most_bytes).map_err(failed)
            })
            .await
    }
}

#[async_trait]
impl Log for SqliteLog {
    async fn append(
        &self,
        subject: &Subject,
        expected: Expected,
        bytes: Bytes,
    ) -> Result<Position, StoreError> {
        check_subject(subject)?;
        if bytes.len() > MAX_MESSAGE_BYTES {
            return Err(StoreError::terminal("a message is at most 1 MiB"));
        }
        let (subject, weight) = (subject.clone(), bytes.len());
        if subject.stream().family == Family::Telemetry {
            return self
                .frames
                .submit(weight, move |frames| {
                    frames.append(&subject, expected, &bytes)
                })
                .await;
        }
        self.write(subject.stream(), weight, move |primary, table| {
            rows::append(primary, table, &subject, expected, &bytes)
        })
        .await
    }

    async fn load(
        &self,
        subject: &Subject,
        after: Option<Position>,
        limit: usize,
        _read: Read,
    ) -> Result<Vec<Message>, StoreError> {
        check_subject(subject)?;
        let stream = subject.stream();
        let generation = self.reading.generation(stream);
        let after = after.map_or(0, |after| sequence_at(generation, after));
        if stream.family == Family::Telemetry {
            return self.reading.files.load(subject, after, limit).await;
        }
        let (reading, subject) = (Arc::clone(&self.reading), subject.clone());
        self.reading
            .readers
            .read(move |conn| {
                let table = reading.tables.of(stream)?;
                rows::load(conn, table, generation, &subject, after, limit).map_err(failed)
            })
            .await
    }

    async fn last(&self, subject: &Subject, _read: Read) -> Result<Option<Message>, StoreError> {
        check_subject(subject)?;
        let stream = subject.stream();
        if stream.family == Family::Telemetry {
            return self.reading.files.last(Some(subject)).await;
        }
        let (reading, subject) = (Arc::clone(&self.reading), subject.clone());
        self.reading
            .readers
            .read(move |conn| {
                let generation = reading.generation(stream);
                conn.prepare_cached(&reading.tables.of(stream)?.last)
                    .and_then(|mut statement| {
                        statement
                            .query_row([subject.tokens()], |row| {
                                rows::message(row, generation, subject.clone())
                            })
                            .optional()
                    })
                    .map_err(failed)
            })
            .await
    }

    async fn head(&self, stream: Stream) -> Result<Option<Position>, StoreError> {
        if self.reading.is_closed() {
            return Err(closed());
        }
        let sequence = self.reading.followers.head(stream);
        Ok((sequence > 0).then(|| Position {
            generation: self.reading.generation(stream),
            sequence,
        }))
    }

    async fn newest(&self, stream: Stream) -> Result<Option<Message>, StoreError> {
        if stream.family == Family::Telemetry {
            return self.reading.files.last(None).await;
        }
        let reading = Arc::clone(&self.reading);
        self.reading
            .readers
            .read(move |conn| {
                let generation = reading.generation(stream);
                conn.prepare_cached(&reading.tables.of(stream)?.newest)
                    .and_then(|mut statement| {
                        statement
                            .query_row([], |row| rows::message_of_stream(row, generation, stream))
                            .optional()
                    })
                    .map_err(failed)
            })
            .await
    }

    async fn page(
        &self,
        stream: Stream,
        after: Position,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError> {
        self.reading.page(stream, after, limit, usize::MAX).await
    }

    fn tail(
        &self,
        stream: Stream,
        after: Position,
    ) -> BoxStream<'static, Result<Message, StoreError>> {
        let Some(head) = self.reading.followers.follow(stream) else {
            let error = StoreError::terminal("there is no such stream");
            return futures::stream::once(async { Err(error) }).boxed();
        };
        tail::follow(Arc::clone(&self.reading), stream, after, head)
    }

    async fn purge(
        &self,
        subject: &Subject,
        through: Position,
        purge: Purge,
    ) -> Result<u64, StoreError> {
        check_subject(subject)?;
        let (stream, subject) = (subject.stream(), subject.clone());
        if purge == Purge::All && matches!(stream.family, Family::Evt | Family::Rec) {
            return Err(StoreError::terminal(
                "a purge of an aggregate keeps its last message",
            ));
        }
        if stream.family == Family::Telemetry {
            return self
                .frames
                .submit_alone(frames::slow(), move |frames| {
                    frames.purge(&subject, through, purge)
                })
                .await;
        }
        let through = sequence_at(self.reading.generation(stream), through);
        self.write(stream, 0, move |primary, table| {
            rows::purge(&primary.conn, table, &subject, through, purge)
        })
        .await
    }

    async fn remove(&self, subject: &Subject, position: Position) -> Result<Removed, StoreError> {
        check_subject(subject)?;
        let (stream, subject) = (subject.stream(), subject.clone());
        if stream.family == Family::Telemetry {
            return self
                .frames
                .submit_alone(frames::slow(), move |frames| {
                    frames.remove(&subject, position)
                })
                .await;
        }
        self.write(stream, 0, move |primary, table| {
            rows::remove(primary, table, &subject, position)
        })
        .await
    }

    async fn trim(&self, stream: Stream, before: Position) -> Result<(), StoreError> {
        match stream.family {
            Family::Telemetry => {
                self.frames
                    .submit_alone(frames::slow(), move |frames| frames.trim(before))
                    .await
            }
            Family::Int => {
                let before = sequence_at(self.reading.generation(stream), before);
                let mut more = true;
                while more {
                    more = self
                        .write(stream, 0, move |primary, table| {
                            rows::trim_some(&primary.conn, table, before)
                        })
                        .await?;
                }
                Ok(())
            }
            Family::Evt | Family::Rec | Family::State => {
                Err(StoreError::terminal("only events and frames are trimmed"))
            }
        }
    }

    async fn announce(&self, topic: &Topic, bytes: Bytes) -> Result<(), StoreError> {
        let mut topics = lock(&self.topics);
        // Nobody listens any more when sending fails; then the topic costs nothing either.
        if let Some(sender) = topics.get(topic)
            && sender.send(Announcement(bytes)).is_err()
        {
            topics.remove(topic);
        }
        Ok(())
    }

    fn listen(&self, topic: &Topic) -> BoxStream<'static, Announcement> {
        let mut topics = lock(&self.topics);
        topics.retain(|_, sender| sender.receiver_count() > 0);
        let receiver = topics
            .entry(topic.clone())
            .or_insert_with(|| broadcast::Sender::new(ANNOUNCEMENTS))
            .subscribe();
        unfold(receiver, |mut receiver| async move {
            loop {
                match receiver.recv().await {
                    Ok(announcement) => return Some((announcement, receiver)),
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return None,
                }
            }
        })
        .boxed()
    }
}

/// A subject is literal, and each of its tokens can stand in a subject of the distributed log.
fn check_subject(subject: &Subject) -> Result<(), StoreError> {
    let literal = |token: &str| {
        !token.is_empty()
            && token
                .bytes()
                .all(|b| b.is_ascii_graphic() && b != b'*' && b != b'>')
    };
    if subject.tokens().split('.').all(literal) {
        Ok(())
    } else {
        Err(StoreError::terminal(
            "a subject is literal, and no token is empty",
        ))
    }
}
