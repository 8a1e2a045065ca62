//! Which episodic aggregates belong to whom: an index that erasures walk. Its rows are bare ids.

use std::sync::Arc;

use bytes::Bytes;
use hearth_engine::{Engine, ExecuteError};
use hearth_kernel::Owner;
use hearth_ports::{Documents, Position, Range, StoreError, Table};
use uuid::Uuid;

use crate::aggregates::{Episode, Mail, Notice};

const TABLE: Table = Table("notifications_owned");
/// Rows per page of an erasure.
const PAGE: usize = 256;

/// The kinds of episodic aggregates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An episode, of a home.
    Episode,
    /// A notice, of an account.
    Notice,
    /// A mail, of the account whose key seals it.
    Mail,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Episode, Self::Notice, Self::Mail];

    /// A stable number, for keys and timers.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Episode => 1,
            Self::Notice => 2,
            Self::Mail => 3,
        }
    }

    /// The kind with that number.
    pub(crate) fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }

    /// Ends one and purges its commits. Answers how many messages went.
    pub(crate) async fn purge(self, engine: &Engine, id: Uuid) -> Result<u64, ExecuteError> {
        match self {
            Self::Episode => engine.purge::<Episode>(id).await,
            Self::Notice => engine.purge::<Notice>(id).await,
            Self::Mail => engine.purge::<Mail>(id).await,
        }
    }
}

/// The index.
#[derive(Clone)]
pub(crate) struct Owned(pub(crate) Arc<dyn Documents>);

impl Owned {
    /// Notes whose an aggregate is, as of the commit that made it.
    pub(crate) async fn note(
        &self,
        owner: Owner,
        kind: Kind,
        id: Uuid,
        at: Position,
    ) -> Result<(), StoreError> {
        let (partition, key) = (owner.to_bytes(), key(kind, id));
        self.0
            .put(TABLE, &partition, &key, at.stamp(), Bytes::new())
            .await
    }

    /// Forgets one that was purged, for good: its id never returns.
    pub(crate) async fn forget(
        &self,
        owner: Owner,
        kind: Kind,
        id: Uuid,
    ) -> Result<(), StoreError> {
        self.0
            .delete(TABLE, &owner.to_bytes(), &key(kind, id), i64::MAX)
            .await
    }

    /// A page of an owner's aggregates of a kind; asked again after each is forgotten, until none is left.
    pub(crate) async fn page(&self, owner: Owner, kind: Kind) -> Result<Vec<Uuid>, StoreError> {
        let range = Range {
            from: Some(vec![kind.number()]),
            until: Some(vec![kind.number() + 1]),
            ..Range::all(PAGE)
        };
        let rows = self.0.range(TABLE, &owner.to_bytes(), range).await?;
        let read = |key: &[u8]| Uuid::from_slice(key.get(1..)?).ok();
        Ok(rows.iter().filter_map(|row| read(&row.key)).collect())
    }
}

fn key(kind: Kind, id: Uuid) -> Vec<u8> {
    let mut key = vec![kind.number()];
    key.extend_from_slice(id.as_bytes());
    key
}
