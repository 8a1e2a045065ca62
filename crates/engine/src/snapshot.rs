//! Snapshots: disposable copies of a history's state, so that a load need not read its whole log.

use std::collections::VecDeque;

use bytes::Bytes;
use hearth_ports::{Documents, Position, Table};
use prost::Message;
use uuid::Uuid;

use crate::aggregate::Aggregate;
use crate::envelope::StoredState;
use crate::loaded::Loaded;

/// A snapshot is written each time so many commits have been appended (DESIGN section 3).
pub(crate) const EVERY: u64 = 64;

const TABLE: Table = Table("engine_snapshots");

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct Snapshot {
    #[prost(bytes = "bytes", tag = "1")]
    position: Bytes,
    #[prost(uint64, tag = "2")]
    version: u64,
    #[prost(uint64, tag = "3")]
    events: u64,
    #[prost(bytes = "bytes", tag = "4")]
    link: Bytes,
    #[prost(message, required, tag = "5")]
    state: StoredState,
}

fn partition<A: Aggregate>(id: Uuid) -> Vec<u8> {
    A::reference(id).to_string().into_bytes()
}

/// The aggregate as its snapshot has it. Anything wrong with a snapshot means there is none.
pub(crate) async fn load<A: Aggregate>(documents: &dyn Documents, id: Uuid) -> Option<Loaded<A>> {
    let document = documents
        .get(TABLE, &partition::<A>(id), b"s")
        .await
        .ok()??;
    let snapshot = Snapshot::decode(document.value).ok()?;
    if snapshot.state.schema != A::STATE_SCHEMA {
        return None;
    }
    let state = A::decode_state(snapshot.state.schema, &snapshot.state.bytes).ok()?;
    Some(Loaded {
        id,
        state: state.into(),
        position: Some(Position::from_bytes(&snapshot.position)?),
        version: snapshot.version,
        gone: false,
        events: snapshot.events,
        link: Some(<[u8; 32]>::try_from(snapshot.link.as_ref()).ok()?),
        remembered: VecDeque::from(snapshot.state.remembered),
    })
}

/// Writes the aggregate's snapshot. Failing is harmless: the next load reads more.
pub(crate) async fn save<A: Aggregate>(documents: &dyn Documents, loaded: &Loaded<A>) {
    let (Some(position), Some(link)) = (loaded.position, loaded.link) else {
        return;
    };
    let snapshot = Snapshot {
        position: Bytes::copy_from_slice(&position.to_bytes()),
        version: loaded.version,
        events: loaded.events,
        link: Bytes::copy_from_slice(&link),
        state: loaded.stored_state(),
    };
    let value = Bytes::from(snapshot.encode_to_vec());
    let partition = partition::<A>(loaded.id);
    if let Err(error) = documents
        .put(TABLE, &partition, b"s", position.stamp(), value)
        .await
    {
        tracing::debug!(kind = A::KIND, %error, "snapshot not written");
    }
}

/// Deletes the aggregate's snapshot, for an erasure.
pub(crate) async fn delete<A: Aggregate>(
    documents: &dyn Documents,
    id: Uuid,
    through: Position,
) -> Result<(), hearth_ports::StoreError> {
    documents
        .drop_partition(TABLE, &partition::<A>(id), through.stamp())
        .await
}
