//! What others learn: the orders that services carry out, how far an erasure is, and the keys of receipts.
//!
//! An order names owners, because the services have to find them; what happened is published under the erasure's or the
//! receipt's id, which lead to nobody.

use async_trait::async_trait;
use bytes::Bytes;
use hearth_api::events::v1::{
    self as events, envelope::Payload, retention_event::Event as Said, retention_fact::Fact,
};
use hearth_api::retention::v1::ReceiptBody;
use hearth_engine::{
    Aggregate, CodecError, Commit, Publication, PublishedFacts, Publisher, RelayError, Target,
    erasure,
};
use hearth_kernel::{Owner, ReceiptId, Timestamp};
use hearth_retention_domain::erasure::{Event, Receipt, Request};
use hearth_retention_domain::signing::Taken;
use prost::Message;
use uuid::Uuid;

use crate::aggregates::{Erasure, SIGNING, Signing};
use crate::receipt::key_id;

/// The kind of an order's fact.
const ORDER: &str = "order";
/// The kind of the keys' fact.
const KEYS: &str = "keys";

/// The publisher of retention.
pub(crate) struct Projector;

#[async_trait]
impl Publisher for Projector {
    async fn publish(
        &self,
        commit: &Commit,
        facts: &PublishedFacts,
    ) -> Result<Vec<Publication>, RelayError> {
        if let Some(answer) = erasure::publications(commit)? {
            return Ok(answer);
        }
        let id = Uuid::from_slice(&commit.aggregate).map_err(|_| CodecError::Malformed("id"))?;
        match commit.kind.as_str() {
            Erasure::KIND => {
                let order = facts.current(ORDER, id).await?;
                Ok(advanced(id, commit, order.as_deref())?)
            }
            Signing::KIND => {
                let keys = facts.current(KEYS, SIGNING).await?;
                Ok(keys_taken(commit, keys.as_deref())?)
            }
            _ => Ok(Vec::new()),
        }
    }
}

/// The fact of retention in a message.
fn read(message: Option<&[u8]>) -> Option<Fact> {
    match events::Envelope::decode(message?).ok()?.payload? {
        Payload::RetentionFact(fact) => fact.fact,
        _ => None,
    }
}

fn body(payload: Payload) -> Vec<u8> {
    let envelope = events::Envelope {
        stamp: None,
        owner: None,
        payload: Some(payload),
    };
    envelope.encode_to_vec()
}

fn fact(kind: &'static str, id: Uuid, fact: Option<Fact>) -> Publication {
    let gone = fact.is_none();
    let payload = fact.map_or(Payload::Gone(events::Gone {}), |fact| {
        Payload::RetentionFact(events::RetentionFact { fact: Some(fact) })
    });
    Publication {
        target: Target::Fact { kind, id, gone },
        body: body(payload),
    }
}

fn event(name: &'static str, id: Uuid, said: Said) -> Publication {
    let said = events::RetentionEvent { event: Some(said) };
    Publication {
        target: Target::Event { name, major: 1, id },
        body: body(Payload::RetentionEvent(said)),
    }
}

/// What a commit of an erasure says to others: each stage that it reached, and the order as it stands now.
fn advanced(
    id: Uuid,
    commit: &Commit,
    current: Option<&[u8]>,
) -> Result<Vec<Publication>, CodecError> {
    let mut publications = Vec::new();
    let standing = match read(current) {
        Some(Fact::Order(order)) => Some(order),
        _ => None,
    };
    let mut order = standing.clone();
    for stored in &commit.events {
        let happened = Erasure::decode_event(&stored.name, stored.major, &stored.public)?;
        let stage = apply(id, &mut order, &happened);
        if let Some(stage) = stage {
            let said = events::ErasureAdvanced {
                erasure_id: bytes(id),
                stage: stage.into(),
            };
            publications.push(event("erasure-advanced", id, Said::ErasureAdvanced(said)));
        }
        if let Event::KeysGone { receipt, .. } | Event::BytesGone { receipt, .. } = &happened {
            let bytes_gone = matches!(happened, Event::BytesGone { .. });
            publications.push(issued(receipt, bytes_gone)?);
        }
    }
    if commit.is_tombstone() {
        order = None;
    }
    // What never stood need not end: a closing that was taken back.
    if order.is_some() || standing.is_some() {
        publications.push(fact(ORDER, id, order.map(Fact::Order)));
    }
    Ok(publications)
}

fn issued(receipt: &Receipt, bytes_gone: bool) -> Result<Publication, CodecError> {
    let malformed = |()| CodecError::Malformed("receipt");
    let body = ReceiptBody::decode(&*receipt.body).map_err(|_| malformed(()))?;
    let id: ReceiptId = body.receipt_id.parse().map_err(|_| malformed(()))?;
    let said = events::ReceiptIssued {
        receipt_id: bytes(id),
        bytes_gone,
    };
    Ok(event(
        "receipt-issued",
        id.into(),
        Said::ReceiptIssued(said),
    ))
}

/// Folds an event into the order. Answers the stage that it reached.
fn apply(
    id: Uuid,
    order: &mut Option<events::ErasureOrder>,
    event: &Event,
) -> Option<events::ErasureStage> {
    use events::ErasureStage as Stage;
    let stage = match event {
        Event::Requested(request) => {
            *order = Some(requested(id, request));
            Stage::Requested
        }
        Event::AllFenced { .. } => Stage::Fenced,
        Event::LeasesEnded { .. } => Stage::Purging,
        Event::Purged { .. } => Stage::Verifying,
        Event::KeysGone { .. } => Stage::KeysGone,
        Event::BytesGone { .. } => {
            *order = None;
            return Some(Stage::BytesGone);
        }
        _ => return None,
    };
    if let Some(order) = order {
        order.set_stage(stage);
        match event {
            Event::AllFenced { at } => order.fenced_at = Some(wire_time(*at)),
            Event::LeasesEnded { at } => order.leases_ended_at = Some(wire_time(*at)),
            _ => {}
        }
    }
    Some(stage)
}

fn requested(id: Uuid, request: &Request) -> events::ErasureOrder {
    let homes = request.homes.iter().map(|home| Owner::Home(*home));
    let owners = std::iter::once(Owner::Account(request.account)).chain(homes);
    let memberships = request.memberships.iter();
    events::ErasureOrder {
        erasure_id: bytes(id),
        stage: events::ErasureStage::Requested.into(),
        owners: owners.map(wire_owner).collect(),
        membership_ids: memberships.map(|it| bytes(*it)).collect(),
        requested_at: Some(wire_time(request.at)),
        fenced_at: None,
        leases_ended_at: None,
    }
}

fn wire_owner(owner: Owner) -> events::Owner {
    use events::owner::Owner as Wire;
    let owner = match owner {
        Owner::Account(id) => Wire::AccountId(bytes(id)),
        Owner::Home(id) => Wire::HomeId(bytes(id)),
        Owner::Service(service) => Wire::Service(i32::from(service.number())),
    };
    events::Owner { owner: Some(owner) }
}

/// Every key of receipts, former ones too.
fn keys_taken(commit: &Commit, current: Option<&[u8]>) -> Result<Vec<Publication>, CodecError> {
    let mut keys = match read(current) {
        Some(Fact::Keys(keys)) => keys.keys,
        _ => Vec::new(),
    };
    for stored in &commit.events {
        let Taken { public, at } =
            Signing::decode_event(&stored.name, stored.major, &stored.public)?;
        if keys.iter().any(|key| key.public_key.as_ref() == public) {
            continue;
        }
        for former in keys.iter_mut().filter(|key| key.not_after.is_none()) {
            former.not_after = Some(wire_time(at));
        }
        keys.push(events::SigningKey {
            key_id: key_id(&public),
            public_key: Bytes::copy_from_slice(&public),
            r#use: events::signing_key::Use::Receipt.into(),
            not_before: Some(wire_time(at)),
            not_after: None,
        });
    }
    let keys = events::SigningKeys { keys };
    Ok(vec![fact(KEYS, SIGNING, Some(Fact::Keys(keys)))])
}

fn bytes(id: impl Into<Uuid>) -> Bytes {
    Bytes::copy_from_slice(id.into().as_bytes())
}

/// The wire form of a time.
pub(crate) fn wire_time(time: Timestamp) -> prost_types::Timestamp {
    // Below 10^9, so it fits.
    let nanos = i32::try_from(time.subsecond_micros().saturating_mul(1_000));
    prost_types::Timestamp {
        seconds: time.seconds(),
        nanos: nanos.unwrap_or(0),
    }
}

/// The time of a wire form; finer than a microsecond is cut.
pub(crate) fn time_of(wire: &prost_types::Timestamp) -> Timestamp {
    let micros = wire.seconds.saturating_mul(1_000_000);
    Timestamp::from_micros(micros.saturating_add(i64::from(wire.nanos) / 1_000))
}
