//! The end of an aggregate: a tombstone that forbids return, and nothing else of it.

use bytes::Bytes;
use hearth_ports::{Expected, Position, Purge, Read, Removed, StoreError};
use prost::Message as _;
use uuid::Uuid;

use crate::aggregate::{Aggregate, Stored};
use crate::call::Actor;
use crate::envelope::{Commit, CommitKind};
use crate::error::ExecuteError;
use crate::execute::Engine;
use crate::snapshot;

mod tombstones;

pub use tombstones::{EPISODIC_TOMBSTONES, Swept, Tombstones};

/// How often a purge that meets concurrent commits is tried again.
const TRIES: u32 = 8;

impl Engine {
    /// Ends an aggregate and purges its commits and snapshot, leaving a tombstone with the last hash. The
    /// caller has made sure that relay, views and process managers have passed its last commit.
    ///
    /// Answers how many messages went. Purging what is gone or never was is no error.
    ///
    /// # Errors
    /// When the log does not answer; purging again is harmless.
    pub async fn purge<A: Aggregate>(&self, id: impl Into<Uuid>) -> Result<u64, ExecuteError> {
        let id = id.into();
        let subject = A::subject(id);
        for _ in 0..TRIES {
            let Some(last) = self.log().last(&subject, Read::Leader).await? else {
                return Ok(0);
            };
            let commit = Commit::read(&last.bytes)?;
            let tombstone = if commit.is_tombstone() {
                last.position
            } else {
                let bytes = Bytes::from(
                    tombstone::<A>(id, &commit, &last.bytes, self.now().micros()).encode_to_vec(),
                );
                match self
                    .log()
                    .append(&subject, Expected::Subject(Some(last.position)), bytes)
                    .await
                {
                    Ok(position) => position,
                    // Read again: somebody else's commit, or our own tombstone, is the last one now.
                    Err(StoreError::Conflict | StoreError::Unknown(_)) => continue,
                    Err(error) => return Err(error.into()),
                }
            };
            return self.purge_before::<A>(id, tombstone).await;
        }
        Err(StoreError::Conflict.into())
    }

    async fn purge_before<A: Aggregate>(
        &self,
        id: Uuid,
        tombstone: Position,
    ) -> Result<u64, ExecuteError> {
        self.drop_cached::<A>(id);
        if A::STORED == Stored::History {
            snapshot::delete::<A>(&**self.documents(), id, tombstone).await?;
        }
        Ok(self
            .log()
            .purge(&A::subject(id), tombstone, Purge::KeepLast)
            .await?)
    }

    /// Removes a record for good, tombstone and all, if it still is at this position: for what may come
    /// again, such as the reservation of an address.
    ///
    /// # Errors
    /// When the log does not answer; removing again is harmless.
    pub async fn remove<A: Aggregate>(
        &self,
        id: impl Into<Uuid>,
        position: Position,
    ) -> Result<Removed, ExecuteError> {
        let id = id.into();
        self.drop_cached::<A>(id);
        Ok(self.log().remove(&A::subject(id), position).await?)
    }
}

fn tombstone<A: Aggregate>(id: Uuid, last: &Commit, last_bytes: &[u8], now: i64) -> Commit {
    Commit {
        // Nobody asked for it by a request id; the nil id answers to none.
        id: Bytes::from_static(&[0; 16]),
        service: u32::from(A::SERVICE.number()),
        kind: A::KIND.to_owned(),
        aggregate: Bytes::copy_from_slice(id.as_bytes()),
        version: last.version + 1,
        base: last.base + u64::try_from(last.events.len()).unwrap_or(u64::MAX),
        what: CommitKind::Tombstone.into(),
        decided_at: now,
        actor: Bytes::copy_from_slice(&Actor::Service(A::SERVICE).to_bytes()),
        previous: Bytes::copy_from_slice(&crate::hashing::link(last_bytes)),
        ..Commit::default()
    }
}
