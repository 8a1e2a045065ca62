//! One stream as JetStream keeps it: messages by sequence, an index by subject, a head that never falls back.
//!
//! Plain data: no lock, no clock, no waiting.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

use bytes::Bytes;
use hearth_kernel::Timestamp;
use hearth_ports::{Expected, Message, Position, Purge, Removed, StoreError, Subject};

/// What one stream holds.
#[derive(Clone, Debug)]
pub(super) struct StreamState {
    keeps_last_only: bool,
    generation: u32,
    /// The newest position ever given in this generation.
    head: Option<Position>,
    messages: BTreeMap<Position, Message>,
    /// The positions of each subject that has any, by its tokens.
    subjects: HashMap<String, BTreeSet<Position>>,
}

impl StreamState {
    pub(super) fn new(keeps_last_only: bool, generation: u32) -> Self {
        Self {
            keeps_last_only,
            generation,
            head: None,
            messages: BTreeMap::new(),
            subjects: HashMap::new(),
        }
    }

    pub(super) fn head(&self) -> Option<Position> {
        self.head
    }

    pub(super) fn append(
        &mut self,
        subject: &Subject,
        expected: Expected,
        bytes: Bytes,
        recorded_at: Timestamp,
    ) -> Result<Position, StoreError> {
        let holds = match expected {
            Expected::Subject(position) => self.last_position(subject) == position,
            Expected::Stream(position) => self.head == position,
            Expected::Any => true,
        };
        if !holds {
            return Err(StoreError::Conflict);
        }
        let position = Position {
            generation: self.generation,
            sequence: self.head.map_or(0, |head| head.sequence) + 1,
        };
        self.head = Some(position);
        if self.keeps_last_only {
            self.drop_where(subject, |_| true);
        }
        self.messages.insert(
            position,
            Message {
                subject: subject.clone(),
                position,
                recorded_at,
                bytes,
            },
        );
        self.subjects
            .entry(subject.tokens().to_owned())
            .or_default()
            .insert(position);
        Ok(position)
    }

    /// The subject's messages after one position and not after another.
    pub(super) fn load(
        &self,
        subject: &Subject,
        after: Option<Position>,
        until: Option<Position>,
        limit: usize,
    ) -> Vec<Message> {
        let Some(positions) = self.subjects.get(subject.tokens()) else {
            return Vec::new();
        };
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        positions
            .range((from, Bound::Unbounded))
            .take_while(|position| until.is_none_or(|until| **position <= until))
            .take(limit)
            .filter_map(|position| self.messages.get(position).cloned())
            .collect()
    }

    pub(super) fn last(&self, subject: &Subject, until: Option<Position>) -> Option<Message> {
        let positions = self.subjects.get(subject.tokens())?;
        let to = until.map_or(Bound::Unbounded, Bound::Included);
        let position = positions.range((Bound::Unbounded, to)).next_back()?;
        self.messages.get(position).cloned()
    }

    pub(super) fn newest(&self) -> Option<Message> {
        self.messages.last_key_value().map(|(_, m)| m.clone())
    }

    pub(super) fn page(&self, after: Position, limit: usize) -> Vec<Message> {
        self.messages
            .range((Bound::Excluded(after), Bound::Unbounded))
            .take(limit)
            .map(|(_, message)| message.clone())
            .collect()
    }

    pub(super) fn purge(&mut self, subject: &Subject, through: Position, purge: Purge) -> u64 {
        let kept = match purge {
            Purge::KeepLast => self.last_position(subject),
            Purge::All => None,
        };
        self.drop_where(subject, |position| {
            position <= through && Some(position) != kept
        })
    }

    pub(super) fn remove(&mut self, subject: &Subject, position: Position) -> Removed {
        match self.last_position(subject) {
            Some(last) if last > position => Removed::Conflict,
            Some(last) if last == position => {
                self.drop_where(subject, |candidate| candidate == position);
                Removed::Done
            }
            // Nothing at or after that position is stored: it is gone already.
            Some(_) | None => Removed::Done,
        }
    }

    pub(super) fn trim(&mut self, before: Position) {
        let kept = self.messages.split_off(&before);
        let gone = std::mem::replace(&mut self.messages, kept);
        for (position, message) in gone {
            self.unindex(message.subject.tokens(), position);
        }
    }

    /// The same messages in a new generation, numbered from 1: what a restore or a roll leaves.
    pub(super) fn roll(&mut self, generation: u32) {
        let messages = std::mem::take(&mut self.messages);
        self.subjects.clear();
        self.generation = generation;
        self.head = None;
        for (sequence, (_, mut message)) in (1..).zip(messages) {
            let position = Position {
                generation,
                sequence,
            };
            message.position = position;
            self.head = Some(position);
            self.subjects
                .entry(message.subject.tokens().to_owned())
                .or_default()
                .insert(position);
            self.messages.insert(position, message);
        }
    }

    fn last_position(&self, subject: &Subject) -> Option<Position> {
        self.subjects.get(subject.tokens())?.last().copied()
    }

    /// Drops the subject's messages for which that is so; answers how many.
    fn drop_where(&mut self, subject: &Subject, gone: impl Fn(Position) -> bool) -> u64 {
        let Some(positions) = self.subjects.get(subject.tokens()) else {
            return 0;
        };
        let gone: Vec<Position> = positions.iter().copied().filter(|p| gone(*p)).collect();
        for position in &gone {
            self.messages.remove(position);
            self.unindex(subject.tokens(), *position);
        }
        u64::try_from(gone.len()).unwrap_or(u64::MAX)
    }

    fn unindex(&mut self, tokens: &str, position: Position) {
        if let Some(positions) = self.subjects.get_mut(tokens) {
            positions.remove(&position);
            if positions.is_empty() {
                self.subjects.remove(tokens);
            }
        }
    }
}
