//! An aggregate as it was loaded: its state, where its log stands, and the requests it remembers.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hearth_kernel::{CommitId, Origin, Part, PartSlot, Parts, Sealed, Timestamp};
use hearth_ports::{Message, Position};
use uuid::Uuid;

use crate::aggregate::{Aggregate, CodecError, Stored};
use crate::envelope::{Commit, Remembered, StoredEvent, StoredPart, StoredState};
use crate::error::ExecuteError;
use crate::hashing::link;

/// Requests are remembered at least for so long.
const REMEMBER_FOR: Duration = Duration::from_secs(24 * 3600);
/// And never more than so many, whatever the rate: far above the limits of any aggregate.
const REMEMBER_AT_MOST: usize = 4096;

/// An aggregate's state and the place of its log that the state stands for.
pub struct Loaded<A: Aggregate> {
    /// Its id.
    pub id: Uuid,
    /// The state.
    pub state: Arc<A::State>,
    /// The last commit's position; `None` when there is none yet.
    pub position: Option<Position>,
    /// The last commit's version; 0 when there is none yet.
    pub version: u64,
    /// Whether its log has ended with a tombstone.
    pub gone: bool,
    /// How many events have been folded.
    pub(crate) events: u64,
    /// SHA-256 of the last commit's bytes.
    pub(crate) link: Option<[u8; 32]>,
    pub(crate) remembered: VecDeque<Remembered>,
}

impl<A: Aggregate> Clone for Loaded<A> {
    fn clone(&self) -> Self {
        Self {
            id: self.id,
            state: Arc::clone(&self.state),
            position: self.position,
            version: self.version,
            gone: self.gone,
            events: self.events,
            link: self.link,
            remembered: self.remembered.clone(),
        }
    }
}

impl<A: Aggregate> std::fmt::Debug for Loaded<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Loaded({} {} v{})",
            A::KIND,
            self.id.as_simple(),
            self.version
        )
    }
}

impl<A: Aggregate> Loaded<A> {
    /// An aggregate without a log.
    #[must_use]
    pub fn nothing(id: Uuid) -> Self {
        Self {
            id,
            state: Arc::default(),
            position: None,
            version: 0,
            gone: false,
            events: 0,
            link: None,
            remembered: VecDeque::new(),
        }
    }

    /// Whether anything was ever decided about it.
    #[must_use]
    pub const fn exists(&self) -> bool {
        self.version > 0 && !self.gone
    }

    /// The remembered request that led to this commit.
    pub(crate) fn remembers(&self, commit: CommitId) -> Option<&Remembered> {
        self.remembered
            .iter()
            .rev()
            .find(|entry| entry.commit.as_ref() == commit.as_bytes())
    }

    /// Folds one stored message in.
    pub(crate) fn apply(&mut self, message: &Message) -> Result<Vec<A::Event>, ExecuteError> {
        let commit = Commit::read(&message.bytes)?;
        if commit.reference().as_ref() != Some(&A::reference(self.id)) {
            return Err(ExecuteError::Broken(
                "a commit names another aggregate than its subject",
            ));
        }
        self.check_chain(&commit)?;
        let events = match (A::STORED, &commit.state) {
            (Stored::Record, Some(state)) => {
                self.state = Arc::new(A::decode_state(state.schema, &state.bytes)?);
                self.remembered = state.remembered.iter().cloned().collect();
                decode_events::<A>(self.id, &commit)?
            }
            (Stored::Record, None) | (Stored::History, Some(_)) if !commit.is_tombstone() => {
                return Err(CodecError::Malformed("commit of another style").into());
            }
            _ => {
                let events = decode_events::<A>(self.id, &commit)?;
                let state = Arc::unwrap_or_clone(std::mem::take(&mut self.state));
                self.state = Arc::new(hearth_kernel::decider::fold::<A>(state, &events));
                events
            }
        };
        self.position = Some(message.position);
        self.version = commit.version;
        self.events = commit.base + u64::try_from(commit.events.len()).unwrap_or(u64::MAX);
        self.link = Some(link(&message.bytes));
        if commit.is_tombstone() {
            self.gone = true;
            self.state = Arc::default();
            self.remembered.clear();
        } else if A::STORED == Stored::History {
            self.remember(&commit);
        }
        Ok(events)
    }

    /// A history's commits follow each other; a record's and a purged log's first message may have any version.
    fn check_chain(&self, commit: &Commit) -> Result<(), ExecuteError> {
        // Of what was purged behind our back only the tombstone is left, whatever we had read before.
        let purged = commit.is_tombstone() && commit.version != self.version + 1;
        if A::STORED == Stored::Record || purged {
            return Ok(());
        }
        if commit.version != self.version + 1 {
            return Err(ExecuteError::Broken(
                "a commit's version does not follow the one before",
            ));
        }
        if self.link.as_ref().map_or(&[][..], |link| &link[..]) != commit.previous.as_ref() {
            return Err(ExecuteError::Broken(
                "a commit does not hash the one before",
            ));
        }
        Ok(())
    }

    fn remember(&mut self, commit: &Commit) {
        self.remembered.push_back(Remembered {
            commit: commit.id.clone(),
            fingerprint: commit.fingerprint.clone(),
            version: commit.version,
            decided_at: commit.decided_at,
        });
        forget(&mut self.remembered, A::REMEMBER, commit.decided_at());
    }

    /// The stored form of the state after a commit, for a record or a snapshot.
    pub(crate) fn stored_state(&self) -> StoredState {
        StoredState {
            schema: A::STATE_SCHEMA,
            bytes: A::encode_state(&self.state).into(),
            remembered: self.remembered.iter().cloned().collect(),
        }
    }
}

/// Drops what need not be remembered any more at `now`: everything of an aggregate that remembers nothing.
pub(crate) fn forget(remembered: &mut VecDeque<Remembered>, at_least: usize, now: Timestamp) {
    if at_least == 0 {
        remembered.clear();
    }
    let oldest = now.minus(REMEMBER_FOR).micros();
    while remembered.len() > at_least
        && (remembered.len() > REMEMBER_AT_MOST
            || remembered
                .front()
                .is_some_and(|entry| entry.decided_at < oldest))
    {
        remembered.pop_front();
    }
}

/// The events of a commit of that aggregate, with their sealed parts in place: for publishers and views.
///
/// # Errors
/// `UnknownEvent` and `Malformed`: the message is poison.
pub fn decode_events<A: Aggregate>(id: Uuid, commit: &Commit) -> Result<Vec<A::Event>, CodecError> {
    let decode = |(index, stored): (usize, &StoredEvent)| {
        let mut event = A::decode_event(&stored.name, stored.major, &stored.public)?;
        for (part, (slot, from)) in event.parts().into_iter().zip(&stored.parts).enumerate() {
            *slot.part = Part::Sealed(unpack::<A>(id, commit.version, (index, part), from)?);
        }
        Ok(event)
    };
    commit.events.iter().enumerate().map(decode).collect()
}

fn unpack<A: Aggregate>(
    id: Uuid,
    version: u64,
    at: (usize, usize),
    from: &StoredPart,
) -> Result<Sealed, CodecError> {
    let (owner, purpose) = from.key().ok_or(CodecError::Malformed("part"))?;
    let origin = origin::<A>(id, version, at)?;
    Ok(Sealed {
        owner,
        purpose,
        origin,
        bytes: from.sealed.as_ref().into(),
    })
}

/// What the part at (event, part) of a commit is bound to.
pub(crate) fn origin<A: Aggregate>(
    id: Uuid,
    version: u64,
    (event, part): (usize, usize),
) -> Result<Origin, CodecError> {
    let number = |n: usize| u16::try_from(n).map_err(|_| CodecError::Malformed("part index"));
    Ok(Origin {
        aggregate: A::reference(id),
        version,
        event: number(event)?,
        part: number(part)?,
    })
}

/// The stored form of an event whose parts are sealed.
pub(crate) fn encode_event<A: Aggregate>(event: &mut A::Event) -> Result<StoredEvent, CodecError> {
    let encoded = A::encode_event(event);
    let pack = |slot: PartSlot<'_>| match slot.part {
        Part::Sealed(sealed) => Ok(StoredPart {
            owner: Bytes::copy_from_slice(&sealed.owner.to_bytes()),
            purpose: u32::from(sealed.purpose.number()),
            sealed: Bytes::copy_from_slice(&sealed.bytes),
        }),
        Part::Clear(_) => Err(CodecError::Malformed("a part that is not sealed")),
    };
    Ok(StoredEvent {
        name: encoded.name.to_owned(),
        major: encoded.major,
        public: encoded.public.into(),
        parts: event
            .parts()
            .into_iter()
            .map(pack)
            .collect::<Result<_, _>>()?,
    })
}
