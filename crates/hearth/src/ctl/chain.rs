//! The hash chains of a history stream, walked commit by commit: every commit follows the one before and hashes it.
//!
//! It runs over the bytes as they lie in the log, ciphertext included, and opens nothing, so it works when keys are
//! gone. It detects what was damaged, lost or put in before the last commit of an aggregate. A last commit that was
//! changed or cut off, and what whoever can write the log wrote anew, are for the signed checkpoints to show.

use std::collections::HashMap;
use std::fmt;

use hearth_engine::Commit;
use hearth_engine::hashing::link;
use hearth_ports::{Log, Message, Position, StoreError, Stream, Subject};

/// Messages per page.
const PAGE: usize = 512;
/// The most faults that are named; the rest is counted.
const MOST_NAMED: usize = 1000;

/// What is wrong with a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The bytes are not a commit.
    Unreadable,
    /// It names another aggregate than its subject.
    OtherAggregate,
    /// Its version does not follow the one before.
    Version {
        /// What should stand there.
        expected: u64,
        /// What stands there.
        found: u64,
    },
    /// It counts other events before it than there were.
    Events {
        /// What should stand there.
        expected: u64,
        /// What stands there.
        found: u64,
    },
    /// It does not hash the commit before it.
    Link,
    /// It is the first one, and hashes one before it.
    FirstHasPrevious,
    /// The commits before it are missing, and no tombstone says that they were purged.
    BeginningMissing,
    /// It follows a tombstone, which forbids return.
    AfterTombstone,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable => f.write_str("the bytes are not a commit"),
            Self::OtherAggregate => f.write_str("names another aggregate than its subject"),
            Self::Version { expected, found } => {
                write!(f, "has version {found} where {expected} should follow")
            }
            Self::Events { expected, found } => {
                write!(
                    f,
                    "counts {found} events before it where there were {expected}"
                )
            }
            Self::Link => f.write_str("does not hash the commit before it"),
            Self::FirstHasPrevious => f.write_str("is the first one, and hashes one before it"),
            Self::BeginningMissing => f.write_str(
                "the commits before it are missing, and no tombstone says that they were purged",
            ),
            Self::AfterTombstone => f.write_str("follows a tombstone, which forbids return"),
        }
    }
}

/// A commit with a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) subject: Subject,
    pub(crate) position: Position,
    pub(crate) fault: Fault,
}

/// What a walk found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    /// Aggregates that there are or were.
    pub(crate) aggregates: u64,
    /// Of them, purged ones.
    pub(crate) tombstones: u64,
    /// Commits read.
    pub(crate) commits: u64,
    /// Faults in all.
    pub(crate) faults: u64,
    /// Faults, in the order of the stream: the first thousand.
    pub(crate) broken: Vec<Broken>,
}

/// Walks a whole stream, and shows each message, with its commit if it is one and its hash, to `seen`.
///
/// # Errors
/// When the log does not answer.
pub(crate) async fn walk(
    log: &dyn Log,
    stream: Stream,
    mut seen: impl FnMut(&Message, Option<&Commit>, &[u8; 32]) + Send,
) -> Result<Report, StoreError> {
    let mut walker = Walker::default();
    let mut after = Position::START;
    loop {
        let page = log.page(stream, after, PAGE).await?;
        let Some(last) = page.last() else {
            return Ok(walker.finish());
        };
        after = last.position;
        for message in &page {
            let (commit, link) = (Commit::read(&message.bytes).ok(), link(&message.bytes));
            seen(message, commit.as_ref(), &link);
            walker.take(message, commit, link);
        }
    }
}

/// The end of one aggregate's chain so far. What an unreadable commit would have said is not known.
struct Chain {
    version: Option<u64>,
    /// Events of all commits so far.
    events: Option<u64>,
    link: [u8; 32],
    ended: bool,
    /// The first commit, where it was not version 1: only a purge takes the beginning.
    beginning: Option<Position>,
}

/// Takes the messages of a stream in order.
#[derive(Default)]
struct Walker {
    chains: HashMap<Subject, Chain>,
    report: Report,
}

impl Walker {
    fn take(&mut self, message: &Message, commit: Option<Commit>, link: [u8; 32]) {
        self.report.commits += 1;
        let Some(commit) = commit else {
            self.fault(message, Fault::Unreadable);
            // Whatever it was, the next one should hash it and follow it.
            let before = self.chains.get(&message.subject);
            let chain = Chain {
                version: before.and_then(|it| it.version).map(|version| version + 1),
                events: None,
                link,
                ended: before.is_some_and(|it| it.ended),
                beginning: before.and_then(|it| it.beginning),
            };
            self.chains.insert(message.subject.clone(), chain);
            return;
        };
        let named = commit
            .reference()
            .map(|named| Subject::aggregate(message.subject.stream().family, &named));
        if named.as_ref() != Some(&message.subject) {
            self.fault(message, Fault::OtherAggregate);
        }
        match self.chains.get(&message.subject) {
            Some(chain) => {
                if let Some(fault) = follows(chain, &commit) {
                    self.fault(message, fault);
                }
            }
            None if commit.version == 1 && !commit.previous.is_empty() => {
                self.fault(message, Fault::FirstHasPrevious);
            }
            None if commit.version == 1 && commit.base != 0 => {
                self.fault(
                    message,
                    Fault::Events {
                        expected: 0,
                        found: commit.base,
                    },
                );
            }
            None => {}
        }
        // From here on it is what the next one must follow, so that one break is told once.
        let beginning = match self.chains.get(&message.subject) {
            Some(chain) => chain.beginning,
            None => (commit.version != 1).then_some(message.position),
        };
        let events = u64::try_from(commit.events.len()).unwrap_or(u64::MAX);
        let chain = Chain {
            version: Some(commit.version),
            events: Some(commit.base.saturating_add(events)),
            link,
            ended: commit.is_tombstone(),
            beginning,
        };
        self.chains.insert(message.subject.clone(), chain);
    }

    fn fault(&mut self, message: &Message, fault: Fault) {
        self.broken(message.subject.clone(), message.position, fault);
    }

    fn broken(&mut self, subject: Subject, position: Position, fault: Fault) {
        self.report.faults += 1;
        if self.report.broken.len() < MOST_NAMED {
            self.report.broken.push(Broken {
                subject,
                position,
                fault,
            });
        }
    }

    fn finish(mut self) -> Report {
        let chains = std::mem::take(&mut self.chains);
        for (subject, chain) in chains {
            self.report.aggregates += 1;
            self.report.tombstones += u64::from(chain.ended);
            if let Some(position) = chain.beginning.filter(|_| !chain.ended) {
                self.broken(subject, position, Fault::BeginningMissing);
            }
        }
        self.report.broken.sort_by_key(|broken| broken.position);
        self.report
    }
}

/// What is wrong with a commit after that chain, the gravest first.
fn follows(chain: &Chain, commit: &Commit) -> Option<Fault> {
    let expected = chain.version.map(|version| version.saturating_add(1));
    let other = |expected: Option<u64>, found| expected.filter(|expected| *expected != found);
    if chain.ended {
        Some(Fault::AfterTombstone)
    } else if let Some(expected) = other(expected, commit.version) {
        let found = commit.version;
        Some(Fault::Version { expected, found })
    } else if commit.previous.as_ref() != chain.link {
        Some(Fault::Link)
    } else {
        let found = commit.base;
        other(chain.events, found).map(|expected| Fault::Events { expected, found })
    }
}

#[cfg(test)]
mod tests;
