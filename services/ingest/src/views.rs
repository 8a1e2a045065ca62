//! The view of claims: which hubs a home has.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use hearth_api::stored::ingest::v1::ClaimRow;
use hearth_engine::{
    Aggregate, CodecError, Commit, ConsumeError, Projection, Rows, View, decode_events,
};
use hearth_ingest_domain::claim::{Event, Made};
use hearth_kernel::{ClaimId, HomeId, HubId, Part, Service};
use hearth_ports::{Family, Message, Range, StoreError, Stream, Table};
use prost::Message as _;

use crate::aggregates::Claim;
use crate::codec::{made, row_of, take_part};

/// The most claims of a home that are listed, ended ones not counted.
pub(crate) const MOST_CLAIMS: usize = 16;

/// The view. Cheap to clone.
pub(crate) type Claims = Arc<View<ClaimsOfHome>>;

/// Folds claims into rows: partition by home, key by claim. Ended claims are in a partition of their own.
#[derive(Debug)]
pub(crate) struct ClaimsOfHome;

#[async_trait]
impl Projection for ClaimsOfHome {
    const TABLE: Table = Table("ingest_claims");

    fn sources(&self) -> Vec<Stream> {
        vec![Stream::new(Family::Evt, Service::Ingest)]
    }

    async fn project(&self, message: &Message, rows: &Rows<'_>) -> Result<(), ConsumeError> {
        if message.subject.kind() != Claim::KIND {
            return Ok(());
        }
        let commit = Commit::read(&message.bytes)?;
        let id = message.subject.id().unwrap_or_default();
        for event in decode_events::<Claim>(id, &commit)? {
            match event {
                Event::HubClaimed(made) => {
                    let row = Bytes::from(row_of(&made).encode_to_vec());
                    rows.put(made.home.as_bytes(), made.claim.as_bytes(), row)
                        .await?;
                }
                Event::HubRevoked {
                    claim, home, hub, ..
                } => {
                    rows.delete(home.as_bytes(), claim.as_bytes()).await?;
                    let hub = Bytes::copy_from_slice(hub.as_bytes());
                    rows.put(&ended(home), claim.as_bytes(), hub).await?;
                }
            }
        }
        Ok(())
    }
}

/// The partition of a home's ended claims.
pub(crate) fn ended(home: HomeId) -> Vec<u8> {
    let mut partition = home.as_bytes().to_vec();
    partition.extend_from_slice(b"ended");
    partition
}

/// The ended claims of a home, as far as their histories are not erased.
///
/// # Errors
/// When the store does not answer.
pub(crate) async fn ended_claims_of(
    view: &Claims,
    home: HomeId,
) -> Result<Vec<ClaimId>, StoreError> {
    let rows = view.range(&ended(home), Range::all(10_000)).await?;
    Ok(rows
        .iter()
        .filter_map(|row| ClaimId::from_slice(&row.key))
        .collect())
}

/// The claims of one hub with a home.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClaimsOfHub {
    /// The newest that stands.
    pub(crate) standing: Option<ClaimId>,
    /// One that has ended.
    pub(crate) ended: Option<ClaimId>,
}

/// What the view knows of a hub and a home.
///
/// # Errors
/// When the store does not answer.
pub(crate) async fn claims_of_hub(
    view: &Claims,
    home: HomeId,
    hub: HubId,
) -> Result<ClaimsOfHub, StoreError> {
    let standing = claims_of(view, home).await?;
    let standing = standing.iter().rev().find(|made| made.hub == hub);
    let rows = view.range(&ended(home), Range::all(10_000)).await?;
    let of_hub = |value: &Bytes| value.as_ref() == hub.as_bytes();
    let ended = rows.iter().rev().find(|row| of_hub(&row.value));
    Ok(ClaimsOfHub {
        standing: standing.map(|made| made.claim),
        ended: ended.and_then(|row| ClaimId::from_slice(&row.key)),
    })
}

/// The claims of a home, oldest first.
///
/// # Errors
/// When the store does not answer.
pub(crate) async fn claims_of(view: &Claims, home: HomeId) -> Result<Vec<Made>, StoreError> {
    let rows = view.range(home.as_bytes(), Range::all(1_000)).await?;
    let read = |value: Bytes| -> Result<Made, CodecError> {
        let row = ClaimRow::decode(value).map_err(|_| CodecError::Malformed("claim row"))?;
        let public = row
            .made
            .as_ref()
            .ok_or(CodecError::Malformed("claim row"))?;
        let part = |bytes: &[u8]| -> Result<Part, CodecError> { take_part(bytes) };
        made(public, part(&row.name)?, part(&row.model)?)
    };
    let mut claims: Vec<Made> = rows
        .into_iter()
        .filter_map(|row| match read(row.value) {
            Ok(made) => Some(made),
            Err(error) => {
                tracing::error!(error = %error, "a row of the view of claims cannot be read");
                None
            }
        })
        .collect();
    claims.sort_by_key(|made| (made.claimed_at, made.claim));
    Ok(claims)
}
