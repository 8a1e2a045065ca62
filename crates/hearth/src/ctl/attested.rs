//! The signed checkpoints of one service, checked against the history as it lies in the log.
//!
//! First the heads are read: each is signed, follows the one before, and has the leaves of its root. Then the history
//! is walked, and each commit is shown here. At the end every leaf must have found its commit, or a tombstone that
//! fits; what did not is named. Like the walk it opens nothing that belongs to a person.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use hearth_engine::Commit;
use hearth_engine::checkpoint::{
    self, Hash, Head, HeadBody, Kept, Leaf, is_checkpoints, root_of, subject_hash,
};
use hearth_kernel::{Service, Timestamp};
use hearth_ports::{Documents, Family, Log, Message, Position, StoreError, Stream, Subject};

/// The most findings that are named; the rest is counted.
const MOST_NAMED: usize = 1000;
/// How long the tombstone of an episodic aggregate stays at least (DESIGN section 3).
const TOMBSTONES_STAY: Duration = Duration::from_secs(30 * 86_400);
/// Messages per page.
const PAGE: usize = 512;

/// The public keys of a service's checkpoints, by number, as its ring gives them.
pub(crate) type Keys = BTreeMap<u32, Bytes>;

/// What is wrong with the checkpoints, or with the history by them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// The commit at that position is no checkpoint.
    Unreadable(Position),
    /// Its key cannot be had from the service's ring.
    NoKey(u64),
    /// The service did not sign it.
    NotSigned(u64),
    /// It does not follow the one before.
    NotLinked(u64),
    /// The service found that the one before it did not verify.
    AfterABreak(u64),
    /// Its leaves are not there, or are not those it signed.
    Leaves(u64),
    /// It was made, and is not in the log.
    TakenOut(Kept),
    /// It was kept, and the log ends before it.
    RolledBack {
        /// What was kept.
        kept: Kept,
        /// The newest number that is there; 0 when there is none.
        newest: u64,
    },
    /// It was kept, and another one has its number.
    Rewritten(Kept),
    /// The stream ends before what it covers.
    StreamEnds(u64),
    /// An aggregate is not there any more.
    Missing(String, Saw),
    /// An aggregate ends before the commit that it saw.
    CutOff(Subject, Saw, u64),
    /// Another commit has the place of the one that it saw.
    Changed(Subject, Saw),
    /// The tombstone does not follow the commit that it saw.
    Tombstone(Subject, Saw),
    /// A commit lies among what it covers, and it has not seen it.
    SlippedIn(Subject, Position),
}

/// What a checkpoint saw of an aggregate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Saw {
    pub(crate) number: u64,
    pub(crate) version: u64,
}

impl fmt::Display for Saw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "version {}, which checkpoint {} saw",
            self.version, self.number
        )
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(at) => write!(
                f,
                "what lies at {}:{} is no checkpoint",
                at.generation, at.sequence
            ),
            Self::NoKey(number) => write!(
                f,
                "checkpoint {number}: the service's ring, which has its key, is missing or cannot be opened"
            ),
            Self::NotSigned(number) => {
                write!(f, "checkpoint {number} was not signed by this service")
            }
            Self::NotLinked(number) => {
                write!(f, "checkpoint {number} does not follow the one before it")
            }
            Self::AfterABreak(number) => write!(
                f,
                "checkpoint {number}: the one before it did not verify when it was made"
            ),
            Self::Leaves(number) => write!(
                f,
                "the leaves of checkpoint {number} are missing, or not those that it signed"
            ),
            Self::TakenOut(kept) => write!(f, "checkpoint {kept} was taken out of the log"),
            Self::RolledBack { kept, newest } => write!(
                f,
                "checkpoint {kept} was kept elsewhere, and this history ends at checkpoint {newest}: it was rolled back or cut off"
            ),
            Self::Rewritten(kept) => write!(
                f,
                "checkpoint {kept} was kept elsewhere, and another one has its number here: this history was rewritten"
            ),
            Self::StreamEnds(number) => {
                write!(f, "the stream ends before what checkpoint {number} covers")
            }
            Self::Missing(name, saw) => write!(f, "{name} is missing: it had {saw}"),
            Self::CutOff(subject, saw, ends) => {
                write!(
                    f,
                    "{subject} was cut off: it ends at version {ends}, before {saw}"
                )
            }
            Self::Changed(subject, saw) => {
                write!(
                    f,
                    "{subject} was changed: it does not have {saw}, as it was"
                )
            }
            Self::Tombstone(subject, saw) => write!(
                f,
                "{subject} was changed before its purge: its tombstone does not follow {saw}"
            ),
            Self::SlippedIn(subject, at) => write!(
                f,
                "{subject} has a commit at {}:{} that no checkpoint saw, among what they cover",
                at.generation, at.sequence
            ),
        }
    }
}

/// The newest leaf of an aggregate, and what the walk has seen of it.
struct Witness {
    leaf: Leaf,
    number: u64,
    /// The subject, once a message of it was seen.
    subject: Option<Subject>,
    /// The greatest version.
    reached: u64,
    /// Whether the commit at the leaf's version is the one that the leaf hashes.
    same: Option<bool>,
    /// The version of its tombstone, and what that hashes.
    tombstone: Option<(u64, Bytes)>,
}

/// What the checkpoints of a service say, and what was found.
pub(crate) struct Attested {
    service: Service,
    witnesses: HashMap<Hash, Witness>,
    /// Checkpoints read.
    pub(crate) checkpoints: u64,
    /// The newest one: its short form, what it covers, and when it was signed.
    pub(crate) newest: Option<(Kept, Position, Timestamp)>,
    /// Numbers of the keys that signed.
    pub(crate) keys: BTreeSet<u32>,
    /// Of those kept elsewhere: how many are here unchanged.
    pub(crate) kept: u64,
    /// Aggregates that a checkpoint vouches for.
    pub(crate) aggregates: u64,
    /// Of them, ended ones whose commits are purged.
    pub(crate) purged: u64,
    /// Of them, ended ones whose tombstone's time is over.
    pub(crate) forgotten: u64,
    /// Commits behind the newest checkpoint: chained, and not vouched for yet.
    pub(crate) behind: u64,
    /// What is wrong: how much, and the first thousand.
    pub(crate) findings: u64,
    pub(crate) named: Vec<Finding>,
}

/// Where what is checked lies.
#[derive(Clone, Copy)]
pub(crate) struct Sources<'a> {
    pub(crate) log: &'a dyn Log,
    pub(crate) documents: &'a dyn Documents,
}

/// The numbers of the keys that a service's checkpoints name. At most one a year.
///
/// # Errors
/// When the log does not answer.
pub(crate) async fn key_numbers(
    log: &dyn Log,
    service: Service,
) -> Result<BTreeSet<u32>, StoreError> {
    let (mut numbers, mut after) = (BTreeSet::new(), None);
    loop {
        let page = checkpoint::heads(log, service, after).await?;
        let Some(last) = page.last() else {
            return Ok(numbers);
        };
        after = Some(last.position);
        numbers.extend(
            page.iter()
                .filter_map(read)
                .map(|(_, body)| body.key_number),
        );
    }
}

fn read(message: &Message) -> Option<(Head, HeadBody)> {
    let head = Head::of(&Commit::read(&message.bytes).ok()?).ok()?;
    let body = head.read().ok()?;
    Some((head, body))
}

/// What the next head must follow.
struct Before {
    number: u64,
    hash: Hash,
    through: Position,
}

impl Attested {
    /// Reads and checks every checkpoint of a service. `kept` are those that were kept elsewhere, of any service.
    ///
    /// # Errors
    /// When a store does not answer.
    pub(crate) async fn read(
        from: Sources<'_>,
        service: Service,
        keys: &Keys,
        kept: &[Kept],
    ) -> Result<Self, StoreError> {
        let mut attested = Self {
            service,
            witnesses: HashMap::new(),
            checkpoints: 0,
            newest: None,
            keys: BTreeSet::new(),
            kept: 0,
            aggregates: 0,
            purged: 0,
            forgotten: 0,
            behind: 0,
            findings: 0,
            named: Vec::new(),
        };
        let kept: Vec<_> = kept.iter().filter(|it| it.service == service).collect();
        let (mut before, mut after) = (None, None);
        loop {
            let page = checkpoint::heads(from.log, service, after).await?;
            let Some(last) = page.last() else {
                break;
            };
            after = Some(last.position);
            for message in &page {
                attested
                    .head(from, message, &mut before, (keys, &kept))
                    .await?;
            }
        }
        attested.ends(from, &kept).await?;
        attested.aggregates = u64::try_from(attested.witnesses.len()).unwrap_or(u64::MAX);
        Ok(attested)
    }

    async fn head(
        &mut self,
        from: Sources<'_>,
        message: &Message,
        before: &mut Option<Before>,
        (keys, kept): (&Keys, &[&Kept]),
    ) -> Result<(), StoreError> {
        let Some((head, body)) = read(message) else {
            self.finding(Finding::Unreadable(message.position));
            return Ok(());
        };
        let number = body.number;
        self.checkpoints += 1;
        self.keys.insert(body.key_number);
        let signed = match keys.get(&body.key_number) {
            Some(key) if head.is_signed_by(key) => true,
            Some(_) => {
                self.finding(Finding::NotSigned(number));
                false
            }
            None => {
                self.finding(Finding::NoKey(number));
                head.is_signed_by(&body.public_key)
            }
        };
        let covers = body.covers();
        if body.after_a_break {
            self.finding(Finding::AfterABreak(number));
        } else if !follows(before.as_ref(), self.service, &body) {
            self.finding(Finding::NotLinked(number));
        }
        let hash = head.hash();
        for kept in kept.iter().filter(|kept| kept.number == number) {
            if kept.hash == hash {
                self.kept += 1;
            } else {
                self.finding(Finding::Rewritten(**kept));
            }
        }
        let through = covers.map_or(Position::START, |(_, through)| through);
        *before = Some(Before {
            number,
            hash,
            through,
        });
        if signed {
            let short = Kept {
                service: self.service,
                number,
                hash,
            };
            self.newest = Some((short, through, Timestamp::from_micros(body.at)));
            self.leaves(from, &body).await?;
        }
        Ok(())
    }

    async fn leaves(&mut self, from: Sources<'_>, body: &HeadBody) -> Result<(), StoreError> {
        let number = body.number;
        let Ok(root) = Hash::try_from(body.root.as_ref()) else {
            self.finding(Finding::Leaves(number));
            return Ok(());
        };
        let leaves = checkpoint::leaves(from.documents, self.service, number, &root).await?;
        let Some(leaves) = leaves.filter(|leaves| root_of(leaves) == root) else {
            self.finding(Finding::Leaves(number));
            return Ok(());
        };
        for leaf in leaves {
            let Ok(subject) = Hash::try_from(leaf.subject.as_ref()) else {
                continue;
            };
            let witness = Witness {
                leaf,
                number,
                subject: None,
                reached: 0,
                same: None,
                tombstone: None,
            };
            self.witnesses.insert(subject, witness);
        }
        Ok(())
    }

    /// What the end of the checkpoints shows.
    async fn ends(&mut self, from: Sources<'_>, kept: &[&Kept]) -> Result<(), StoreError> {
        let newest = self.newest.map_or(0, |(newest, ..)| newest.number);
        for kept in kept.iter().filter(|kept| kept.number > newest) {
            let kept = **kept;
            self.finding(Finding::RolledBack { kept, newest });
        }
        if let Some(noted) = checkpoint::noted(from.documents, self.service).await? {
            let same = self
                .newest
                .is_some_and(|(newest, ..)| newest.hash == noted.hash);
            if noted.number > newest || (noted.number == newest && !same) {
                self.finding(Finding::TakenOut(noted));
            }
        }
        if let Some((_, through, _)) = self.newest {
            let head = from
                .log
                .head(Stream::new(Family::Evt, self.service))
                .await?;
            if head.is_none_or(|head| head < through) {
                self.finding(Finding::StreamEnds(newest));
            }
        }
        Ok(())
    }

    /// Shows it a commit of the history, in the order of the stream. `commit` is `None` where the bytes are none,
    /// which the walk tells.
    pub(crate) fn see(&mut self, message: &Message, commit: Option<&Commit>, link: &Hash) {
        if is_checkpoints(&message.subject) {
            return;
        }
        let through = self
            .newest
            .map_or(Position::START, |(_, through, _)| through);
        let covered = message.position <= through;
        if !covered {
            self.behind += 1;
        }
        let witness = self.witnesses.get_mut(&subject_hash(&message.subject));
        let Some(commit) = commit else {
            if let Some(witness) = witness {
                witness.subject = Some(message.subject.clone());
            }
            return;
        };
        let Some(witness) = witness else {
            if covered {
                let slipped = Finding::SlippedIn(message.subject.clone(), message.position);
                self.finding(slipped);
            }
            return;
        };
        witness.subject = Some(message.subject.clone());
        witness.reached = witness.reached.max(commit.version);
        if commit.version == witness.leaf.version {
            witness.same = Some(link.as_slice() == witness.leaf.link.as_ref());
        }
        if commit.is_tombstone() {
            witness.tombstone = Some((commit.version, commit.previous.clone()));
        }
        if covered && commit.version > witness.leaf.version {
            let slipped = Finding::SlippedIn(message.subject.clone(), message.position);
            self.finding(slipped);
        }
    }

    /// Ends the walk: every leaf must have found its commit.
    ///
    /// # Errors
    /// When the log does not answer.
    pub(crate) async fn finish(&mut self, log: &dyn Log, now: Timestamp) -> Result<(), StoreError> {
        let mut missing = Vec::new();
        let mut found = Vec::new();
        for (hash, witness) in std::mem::take(&mut self.witnesses) {
            let saw = Saw {
                number: witness.number,
                version: witness.leaf.version,
            };
            match (&witness.subject, &witness.tombstone, witness.same) {
                (None, ..) => {
                    let ended = Timestamp::from_micros(witness.leaf.ended_at);
                    if witness.leaf.ended_at != 0 && now.since(ended) >= TOMBSTONES_STAY {
                        self.forgotten += 1;
                    } else {
                        missing.push((hash, witness.leaf.kind, saw));
                    }
                }
                (Some(_), tombstone, Some(true)) => self.purged += u64::from(tombstone.is_some()),
                (Some(subject), _, Some(false)) => {
                    found.push(Finding::Changed(subject.clone(), saw));
                }
                (Some(subject), Some((version, previous)), None) if *version > saw.version => {
                    if *version == saw.version + 1 && *previous != witness.leaf.link {
                        found.push(Finding::Tombstone(subject.clone(), saw));
                    } else {
                        self.purged += 1;
                    }
                }
                (Some(subject), _, None) if witness.reached < saw.version => {
                    found.push(Finding::CutOff(subject.clone(), saw, witness.reached));
                }
                (Some(subject), _, None) => found.push(Finding::Changed(subject.clone(), saw)),
            }
        }
        found.extend(names(log, self.service, missing).await?);
        found.sort_by_cached_key(ToString::to_string);
        for finding in found {
            self.finding(finding);
        }
        Ok(())
    }

    fn finding(&mut self, finding: Finding) {
        self.findings += 1;
        if self.named.len() < MOST_NAMED {
            self.named.push(finding);
        }
    }
}

/// Whether a head follows the one before it, or is the first.
fn follows(before: Option<&Before>, service: Service, body: &HeadBody) -> bool {
    let of_service = body.service == u32::from(service.number());
    let Some((after, through)) = body.covers().filter(|_| of_service) else {
        return false;
    };
    match before {
        None => body.number == 1 && body.previous.is_empty() && after == Position::START,
        Some(before) => {
            body.number == before.number + 1
                && body.previous.as_ref() == before.hash
                && after == before.through
                && through > after
        }
    }
}

/// Findings for aggregates of which nothing is left, with their names where anything in the log still tells: a leaf
/// holds a hash alone, and ids also stand in other streams.
async fn names(
    log: &dyn Log,
    service: Service,
    missing: Vec<(Hash, String, Saw)>,
) -> Result<Vec<Finding>, StoreError> {
    let mut by_hash: HashMap<Hash, String> = HashMap::new();
    if !missing.is_empty() {
        let kinds: BTreeSet<_> = missing.iter().map(|it| it.1.clone()).collect();
        let wanted: BTreeSet<_> = missing.iter().map(|it| it.0).collect();
        for id in ids(log).await? {
            for kind in &kinds {
                let tokens = format!("{kind}.{}", id.as_simple());
                let stream = Stream::new(Family::Evt, service);
                let subject = Subject::from_tokens(stream, tokens);
                let hash = subject_hash(&subject);
                if wanted.contains(&hash) {
                    by_hash.insert(hash, subject.to_string());
                }
            }
        }
    }
    let named = missing.into_iter().map(|(hash, kind, saw)| {
        let name = by_hash.remove(&hash).unwrap_or_else(|| {
            let hash: String = hash.iter().map(|it| format!("{it:02x}")).collect();
            let stream = Stream::new(Family::Evt, service).name();
            format!("{stream}/{kind} with the subject hash {hash}")
        });
        Finding::Missing(name, saw)
    });
    Ok(named.collect())
}

/// Every id in a subject of the log.
async fn ids(log: &dyn Log) -> Result<BTreeSet<uuid::Uuid>, StoreError> {
    let mut ids = BTreeSet::new();
    let families = [Family::Evt, Family::Rec, Family::Int, Family::State];
    for service in Service::ALL {
        for family in families {
            let stream = Stream::new(family, service);
            let mut after = Position::START;
            loop {
                let page = log.page(stream, after, PAGE).await?;
                let Some(last) = page.last() else {
                    break;
                };
                after = last.position;
                ids.extend(page.iter().filter_map(|message| message.subject.id()));
            }
        }
    }
    Ok(ids)
}

#[cfg(test)]
mod tests;
