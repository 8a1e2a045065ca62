//! The search: one pass over files for markers of owners, in bounded memory. What it finds before an erasure is the
//! control, what it finds after it is the proof.
//!
//! A marker is an id, as its 16 bytes and as text, or a planted text. It knows no store: whoever calls it brings the
//! files. What holds sealed parts is stored uncompressed, so a key id at the head of a part is found as it is.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};

use aho_corasick::{AhoCorasick, BuildError};
use hearth_ports::{Holding, StoredFile, StoredFiles};

/// Bytes read at once.
const BUFFER: usize = 1 << 20;
/// Hits whose place is kept; all are counted.
const PLACES: usize = 1_000;
/// Markers of one pass: bounds its memory to some tens of MiB.
pub const MARKERS: usize = 50_000;

/// Something to look for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker {
    spellings: Vec<Vec<u8>>,
}

impl Marker {
    /// An id: its bytes, and its text with and without hyphens.
    #[must_use]
    pub fn id(id: [u8; 16]) -> Self {
        let id = uuid::Uuid::from_bytes(id);
        let spellings = vec![
            id.as_bytes().to_vec(),
            id.as_simple().to_string().into_bytes(),
            id.as_hyphenated().to_string().into_bytes(),
        ];
        Self { spellings }
    }

    /// A text, byte for byte. An empty one is found nowhere.
    #[must_use]
    pub fn text(text: &str) -> Self {
        let spellings = Some(text.as_bytes().to_vec()).filter(|it| !it.is_empty());
        Self {
            spellings: spellings.into_iter().collect(),
        }
    }
}

/// Why there is no search.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// There are more markers than one pass may look for.
    #[error("more than {MARKERS} markers for one pass")]
    TooMany,
    /// The markers cannot be compiled.
    #[error("the markers cannot be compiled")]
    Build(#[from] BuildError),
    /// A file cannot be read: what was not read proves nothing.
    #[error("{file} cannot be read")]
    File {
        /// Its name.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// The files cannot be listed.
    #[error("the files cannot be listed")]
    Files(#[source] io::Error),
    /// It was told to stop.
    #[error("the search was stopped")]
    Stopped,
}

/// Finds markers in readers.
pub struct Scanner {
    automaton: AhoCorasick,
    /// The marker of each spelling.
    marker_of: Vec<usize>,
    longest: usize,
}

impl std::fmt::Debug for Scanner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Scanner({} spellings)", self.marker_of.len())
    }
}

impl Scanner {
    /// A scanner for these markers; in what it reports, a marker is its place in the list.
    ///
    /// # Errors
    /// `TooMany`, `Build`.
    pub fn new(markers: &[Marker]) -> Result<Self, SearchError> {
        if markers.len() > MARKERS {
            return Err(SearchError::TooMany);
        }
        let numbered = markers.iter().enumerate();
        let (marker_of, spellings): (Vec<_>, Vec<_>) = numbered
            .flat_map(|(number, marker)| marker.spellings.iter().map(move |it| (number, it)))
            .unzip();
        let longest = spellings.iter().map(|it| it.len()).max().unwrap_or(1);
        Ok(Self {
            automaton: AhoCorasick::new(spellings)?,
            marker_of,
            longest,
        })
    }

    /// Reads to the end and says where markers begin. Holds one buffer, and from each the tail that a marker on the
    /// border may begin in. Answers how many bytes were read.
    ///
    /// # Errors
    /// What the reader fails with.
    pub fn scan(
        &self,
        mut reader: impl Read,
        stop: &AtomicBool,
        mut found: impl FnMut(usize, u64),
    ) -> io::Result<u64> {
        let keep = self.longest - 1;
        let mut buffer = vec![0; BUFFER.max(2 * self.longest)];
        // `held` bytes of the buffer are known already; `before` bytes lie in front of the buffer.
        let (mut held, mut before) = (0, 0u64);
        loop {
            if stop.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let read = match reader.read(&mut buffer[held..]) {
                Ok(0) => return Ok(before + size(held)),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let filled = held + read;
            for hit in self.automaton.find_overlapping_iter(&buffer[..filled]) {
                // What ends in the held part was found the time before.
                if hit.end() > held
                    && let Some(marker) = self.marker_of.get(hit.pattern().as_usize())
                {
                    found(*marker, before + size(hit.start()));
                }
            }
            let kept = filled.min(keep);
            buffer.copy_within(filled - kept..filled, 0);
            before += size(filled - kept);
            held = kept;
        }
    }
}

fn size(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// A place where a marker was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Its place in the list of markers.
    pub marker: usize,
    /// The file's name.
    pub file: String,
    /// What the file holds.
    pub holds: Holding,
    /// Where in the file it begins; 0 in the file's name.
    pub offset: u64,
}

/// What one pass found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Files read.
    pub files: u64,
    /// Bytes read.
    pub bytes: u64,
    /// How often each marker was found in each sort of file.
    pub counts: BTreeMap<(usize, Holding), u64>,
    /// The first hits, with their places.
    pub hits: Vec<Hit>,
}

impl Report {
    /// How often a marker was found anywhere.
    #[must_use]
    pub fn count(&self, marker: usize) -> u64 {
        let of = self
            .counts
            .range((marker, Holding::Log)..=(marker, Holding::Other));
        of.map(|(_, count)| count).sum()
    }

    fn found(&mut self, marker: usize, file: &StoredFile, offset: u64) {
        *self.counts.entry((marker, file.holds)).or_default() += 1;
        if self.hits.len() < PLACES {
            self.hits.push(Hit {
                marker,
                file: file.name.clone(),
                holds: file.holds,
                offset,
            });
        }
    }
}

/// Looks through every file, and its name. A file that goes away meanwhile is skipped: its bytes are in no file then,
/// or in one that is read. Blocks.
///
/// # Errors
/// When a file that is there cannot be read; `Stopped` when `stop` was set.
pub fn search(
    files: &dyn StoredFiles,
    markers: &[Marker],
    stop: &AtomicBool,
) -> Result<Report, SearchError> {
    let scanner = Scanner::new(markers)?;
    let mut report = Report::default();
    for file in files.files().map_err(SearchError::Files)? {
        let reader = match files.open(&file) {
            Ok(reader) => reader,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => return Err(unread(&file, source)),
        };
        let name = scanner.scan(file.name.as_bytes(), stop, |marker, _| {
            report.found(marker, &file, 0);
        });
        let bytes = name.and_then(|_| {
            scanner.scan(reader, stop, |marker, offset| {
                report.found(marker, &file, offset);
            })
        });
        match bytes {
            Ok(bytes) => report.bytes += bytes,
            Err(_) if stop.load(Ordering::Relaxed) => return Err(SearchError::Stopped),
            Err(source) => return Err(unread(&file, source)),
        }
        report.files += 1;
    }
    Ok(report)
}

fn unread(file: &StoredFile, source: io::Error) -> SearchError {
    SearchError::File {
        file: file.name.clone(),
        source,
    }
}

/// A search before: without it a search after proves nothing.
#[derive(Clone, Debug)]
pub struct Control {
    found: u64,
}

/// The search did not find these markers while they were still there: it cannot find what is left either.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} markers were not found before the erasure", .0.len())]
pub struct Void(pub Vec<usize>);

/// What is left, by the residual list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Times that a marker was found before: the control.
    pub before: u64,
    /// Times that one is found where the list names it.
    pub residual: u64,
    /// Times that one is found elsewhere: 0, or nothing is proved.
    pub outside: u64,
}

impl Control {
    /// The control: each of the first `required` markers has been found.
    ///
    /// # Errors
    /// `Void`, with the markers that were not.
    pub fn of(before: &Report, required: usize) -> Result<Self, Void> {
        let missing: Vec<_> = (0..required).filter(|it| before.count(*it) == 0).collect();
        if missing.is_empty() {
            let found = before.counts.values().sum();
            return Ok(Self { found });
        }
        Err(Void(missing))
    }

    /// What the search after says, given which marker may stay in which sort of file.
    #[must_use]
    pub fn prove(&self, after: &Report, may_stay: impl Fn(usize, Holding) -> bool) -> Outcome {
        let mut outcome = Outcome {
            before: self.found,
            ..Outcome::default()
        };
        for ((marker, holds), count) in &after.counts {
            if may_stay(*marker, *holds) {
                outcome.residual += count;
            } else {
                outcome.outside += count;
            }
        }
        outcome
    }
}

#[cfg(test)]
mod tests;
