//! One SQLite file: its writer with the pragmas that durability and erasure rest on, and its readers.
//!
//! Knows no table. WAL with `synchronous=FULL`: a commit is one fsync of the WAL, and survives a power cut.
//! `secure_delete`: what is deleted is overwritten. Temporary space stays in memory, so that nothing personal
//! is ever spilled outside the data folder.

use std::cmp::Ordering;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hearth_ports::StoreError;
use rusqlite::{Connection, OpenFlags};

use crate::failure::failed;
use crate::pages;
use crate::readers::Readers;
use crate::writer::{Unit, Writer};

/// How long SQLite waits for a lock before it says busy: well inside the deadline of a call.
const BUSY: Duration = Duration::from_secs(5);
/// Pages that one transaction gives back, and how many such transactions one scrub has at most: writers wait for it.
const GIVE_BACK: (u32, u32) = (2_048, 8);
/// How long a scrub may take.
const SCRUB_DEADLINE: Duration = Duration::from_secs(600);

/// What is chosen per file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Name of the writer thread.
    pub(crate) name: &'static str,
    /// The format of the file: raised with each change of its schema, for a file of another one is refused.
    pub(crate) format: i32,
    /// Bytes of a page; fixed when the file is made.
    pub(crate) page_bytes: u32,
    /// Memory for pages of the writer, in KiB.
    pub(crate) writer_kib: u32,
    /// Memory for pages of each reader, in KiB.
    pub(crate) reader_kib: u32,
    /// How many reads may run at once.
    pub(crate) readers: usize,
    /// Whether a scrub gives free pages back to the file system; fixed when the file is made. It costs a page of
    /// pointers here and there, which a file that is unlinked whole need not pay.
    pub(crate) gives_back: bool,
    /// The schema, as statements that may run again.
    pub(crate) schema: &'static str,
}

/// Why a file cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// SQLite refuses, or cannot read or write.
    #[error("{path}: the database cannot be opened")]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The file cannot be created or read.
    #[error("{path}: the file cannot be opened: {}", source.kind())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is of a format that this version does not know.
    #[error("{path}: written by a newer version, format {format}")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: i32,
    },
    /// The file is of a format that this version has left behind.
    #[error("{path}: written by an older version, format {format}, which this one does not read")]
    Older {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: i32,
    },
}

impl DatabaseError {
    pub(crate) fn sqlite(path: &Path) -> impl FnOnce(rusqlite::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Sqlite { path, source }
    }

    pub(crate) fn file(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, source }
    }
}

/// Opens the connection that writes, makes the file and its schema if they are not there.
pub(crate) fn open_writer(path: &Path, shape: &Shape) -> Result<Connection, DatabaseError> {
    create_private(path).map_err(DatabaseError::file(path))?;
    let conn = connect(path, shape.writer_kib).map_err(DatabaseError::sqlite(path))?;
    let format = prepare(&conn, shape).map_err(DatabaseError::sqlite(path))?;
    let path = path.to_owned();
    match format.cmp(&shape.format) {
        Ordering::Greater => Err(DatabaseError::Newer { path, format }),
        // Of format 0 is what was new a moment ago.
        Ordering::Less if format > 0 => Err(DatabaseError::Older { path, format }),
        _ => Ok(conn),
    }
}

/// The connection's own settings, and the file's when it is new. Answers the format that the file had.
fn prepare(conn: &Connection, shape: &Shape) -> rusqlite::Result<i32> {
    let format: i32 = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if format != 0 && format != shape.format {
        // Not even a setting of it is touched.
        return Ok(format);
    }
    if format == 0 {
        conn.pragma_update(None, "page_size", shape.page_bytes)?;
        if shape.gives_back {
            // Before the first page is written, or never.
            conn.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
        }
    }
    let mode: String =
        conn.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        return Err(rusqlite::Error::InvalidQuery);
    }
    conn.pragma_update(None, "synchronous", "FULL")?;
    // A reused WAL is cut back to this after a checkpoint: 16 MiB.
    conn.pragma_update(None, "journal_size_limit", 16 << 20)?;
    conn.pragma_update(None, "wal_autocheckpoint", (8 << 20) / shape.page_bytes)?;
    if format == 0 {
        // In one transaction: a crash leaves either no schema or all of it.
        conn.execute_batch("BEGIN IMMEDIATE")?;
        conn.execute_batch(shape.schema)?;
        conn.pragma_update(None, "user_version", shape.format)?;
        conn.execute_batch("COMMIT")?;
    }
    Ok(format)
}

/// A connection with the settings that writers and readers share.
pub(crate) fn connect(path: &Path, cache_kib: u32) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(BUSY)?;
    conn.pragma_update(None, "secure_delete", "ON")?;
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    // Negative: KiB, not pages.
    conn.pragma_update(None, "cache_size", -i64::from(cache_kib))?;
    conn.set_prepared_statement_cache_capacity(256);
    Ok(conn)
}

/// Makes the file, empty and for this user only; SQLite gives its WAL the same mode. The folder is synced.
fn create_private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let made = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    match made {
        Ok(file) => {
            file.sync_all()?;
            path.parent().map_or(Ok(()), sync_folder)
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Makes the names in a folder survive a power cut.
pub(crate) fn sync_folder(path: &Path) -> std::io::Result<()> {
    File::open(path)?.sync_all()
}

/// Runs statements so that all of them or none are part of the transaction.
pub(crate) fn atomically<T>(
    conn: &Connection,
    work: impl FnOnce(&Connection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    run(conn, "SAVEPOINT job")?;
    let result = work(conn);
    if result.is_ok() {
        run(conn, "RELEASE job")?;
    } else if !conn.is_autocommit() {
        run(conn, "ROLLBACK TO job")?;
        run(conn, "RELEASE job")?;
    }
    result
}

fn run(conn: &Connection, sql: &str) -> Result<(), StoreError> {
    conn.prepare_cached(sql)
        .and_then(|mut statement| statement.execute([]))
        .map(|_| ())
        .map_err(failed)
}

/// What a store keeps beside its connection, which must agree with what is committed.
pub(crate) trait Beside: Send + 'static {
    /// Writes what was collected during the transaction.
    fn before_commit(&mut self, _conn: &Connection) -> rusqlite::Result<()> {
        Ok(())
    }
    /// The transaction is durable: tell who follows.
    fn committed(&mut self) {}
    /// The transaction is gone, or nobody knows: read again what is there.
    fn rolled_back(&mut self, _conn: &Connection) {}
}

impl Beside for () {}

/// The writer's side of one file.
pub(crate) struct Primary<B> {
    pub(crate) conn: Connection,
    pub(crate) beside: B,
    path: PathBuf,
    shape: Shape,
    /// Open as long as the store is: closing it would drop the locks that SQLite holds on the file.
    raw: File,
}

impl<B: Beside> Primary<B> {
    /// Moves everything into the file, gives free pages back, empties the WAL, and overwrites what deleted rows left
    /// in its pages.
    ///
    /// Then the connection is opened anew: a page in the old one's cache would bring the leftovers back.
    fn scrub(&mut self) -> Result<(), StoreError> {
        give_back(&self.conn).map_err(failed)?;
        checkpoint(&self.conn).map_err(failed)?;
        let roots = pages::roots(&self.conn).map_err(failed)?;
        let cleaned = pages::clean(&self.raw, &roots);
        let fresh = connect(&self.path, self.shape.writer_kib)
            .and_then(|conn| prepare(&conn, &self.shape).map(|_| conn))
            .map_err(failed)?;
        self.conn = fresh;
        cleaned.map_err(|error| StoreError::Retryable(Arc::new(error)))
    }
}

/// Gives free pages back to the file system, a bounded number of them. Does nothing to a file that was not made for it.
fn give_back(conn: &Connection) -> rusqlite::Result<()> {
    let (pages, times) = GIVE_BACK;
    let mode: u32 = conn.pragma_query_value(None, "auto_vacuum", |row| row.get(0))?;
    for _ in 0..times {
        let free: u32 = conn.pragma_query_value(None, "freelist_count", |row| row.get(0))?;
        if free == 0 || mode == 0 {
            break;
        }
        let mut statement = conn.prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
        let mut freed = statement.query([])?;
        // Each step frees one page.
        while freed.next()?.is_some() {}
    }
    Ok(())
}

/// Copies the WAL into the file and cuts it to nothing. Fails as busy when a reader does not end.
pub(crate) fn checkpoint(conn: &Connection) -> rusqlite::Result<()> {
    let busy: i64 = conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if busy == 0 {
        Ok(())
    } else {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
        Err(rusqlite::Error::SqliteFailure(code, None))
    }
}

impl<B: Beside> Unit for Primary<B> {
    fn begin(&mut self) -> rusqlite::Result<()> {
        self.conn.execute_batch("BEGIN IMMEDIATE")
    }

    fn commit(&mut self) -> rusqlite::Result<()> {
        self.beside.before_commit(&self.conn)?;
        self.conn.execute_batch("COMMIT")?;
        self.beside.committed();
        Ok(())
    }

    fn rollback(&mut self) {
        if !self.conn.is_autocommit()
            && let Err(error) = self.conn.execute_batch("ROLLBACK")
        {
            tracing::error!(error = %error, "a transaction cannot be rolled back");
        }
        self.beside.rolled_back(&self.conn);
    }

    fn in_transaction(&self) -> bool {
        !self.conn.is_autocommit()
    }

    fn end(&mut self) {
        if let Err(error) = checkpoint(&self.conn) {
            // What is in the WAL is durable there; the next start reads it.
            tracing::debug!(error = %error, "the last checkpoint was not complete");
        }
    }
}

/// A file with its writer thread and its readers.
pub(crate) struct Database<B: Beside> {
    pub(crate) writer: Writer<Primary<B>>,
    pub(crate) readers: Readers,
}

impl<B: Beside> Database<B> {
    /// Opens the file; `beside` is made from the open connection.
    pub(crate) fn open(
        path: &Path,
        shape: Shape,
        beside: impl FnOnce(&Connection) -> rusqlite::Result<B>,
    ) -> Result<Self, DatabaseError> {
        let conn = open_writer(path, &shape)?;
        let beside = beside(&conn).map_err(DatabaseError::sqlite(path))?;
        let raw = File::options()
            .read(true)
            .write(true)
            .open(path)
            .map_err(DatabaseError::file(path))?;
        let primary = Primary {
            conn,
            beside,
            path: path.to_owned(),
            shape,
            raw,
        };
        let writer = Writer::start(shape.name, primary).map_err(DatabaseError::file(path))?;
        Ok(Self {
            writer,
            readers: Readers::new(path.to_owned(), shape.reader_kib, shape.readers),
        })
    }

    /// Makes the bytes of what was deleted vanish from the file and its WAL.
    pub(crate) async fn scrub(&self) -> Result<(), StoreError> {
        self.writer
            .submit_alone(SCRUB_DEADLINE, Primary::scrub)
            .await
    }

    /// Commits what is queued and closes the file.
    pub(crate) fn close(&self) {
        self.readers.close();
        self.writer.stop();
    }
}
