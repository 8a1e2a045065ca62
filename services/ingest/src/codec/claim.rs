//! The stored form of a claim.

use bytes::Bytes;
use hearth_api::stored::ingest::v1 as stored;
use hearth_engine::{Aggregate, CodecError, EncodedEvent, Life, Stored};
use hearth_ingest_domain::claim::{Event, Made, State};
use hearth_kernel::{Part, Service, Timestamp};
use prost::Message;

use crate::aggregates::Claim;

use super::{id, put_part, raw, read, take_part, unknown};

impl Aggregate for Claim {
    const SERVICE: Service = Service::Ingest;
    const KIND: &'static str = "claim";
    const STORED: Stored = Stored::History;
    const LIFE: Life = Life::Lasting;
    const STATE_SCHEMA: u32 = 1;

    fn encode_event(event: &Event) -> EncodedEvent {
        let (name, public) = match event {
            Event::HubClaimed(made) => ("hub_claimed", put_made(made).encode_to_vec()),
            Event::HubRevoked {
                claim,
                hub,
                home,
                at,
            } => {
                let message = stored::HubRevoked {
                    claim_id: raw(*claim),
                    hub_id: raw(*hub),
                    home_id: raw(*home),
                    at: at.micros(),
                };
                ("hub_revoked", message.encode_to_vec())
            }
        };
        EncodedEvent {
            name,
            major: 1,
            public,
        }
    }

    fn decode_event(name: &str, major: u32, public: &[u8]) -> Result<Event, CodecError> {
        match (name, major) {
            ("hub_claimed", 1) => {
                let message: stored::HubClaimed = read(public, "hub_claimed")?;
                let made = made(&message, Part::clear(""), Part::clear(""))?;
                Ok(Event::HubClaimed(Box::new(made)))
            }
            ("hub_revoked", 1) => {
                let message: stored::HubRevoked = read(public, "hub_revoked")?;
                Ok(Event::HubRevoked {
                    claim: id(&message.claim_id, "claim id")?,
                    hub: id(&message.hub_id, "hub id")?,
                    home: id(&message.home_id, "home id")?,
                    at: Timestamp::from_micros(message.at),
                })
            }
            _ => Err(unknown(name, major)),
        }
    }

    fn encode_state(state: &State) -> Vec<u8> {
        let Some(made) = state.made() else {
            return Vec::new();
        };
        stored::ClaimState {
            made: Some(put_made(made)),
            name: put_part(&made.name),
            model: put_part(&made.model),
            ended: state.active().is_none(),
        }
        .encode_to_vec()
    }

    fn decode_state(_: u32, bytes: &[u8]) -> Result<State, CodecError> {
        let message: stored::ClaimState = read(bytes, "claim state")?;
        let Some(public) = &message.made else {
            return Ok(State::Absent);
        };
        let made = Box::new(made(
            public,
            take_part(&message.name)?,
            take_part(&message.model)?,
        )?);
        Ok(if message.ended {
            State::Ended(made)
        } else {
            State::Active(made)
        })
    }
}

fn put_made(made: &Made) -> stored::HubClaimed {
    stored::HubClaimed {
        claim_id: raw(made.claim),
        hub_id: raw(made.hub),
        home_id: raw(made.home),
        public_key: Bytes::copy_from_slice(&made.public_key),
        claimed_at: made.claimed_at.micros(),
    }
}

/// What a claim was made as, from its public part and its sealed ones.
///
/// # Errors
/// `Malformed`.
pub(crate) fn made(
    message: &stored::HubClaimed,
    name: Part,
    model: Part,
) -> Result<Made, CodecError> {
    Ok(Made {
        claim: id(&message.claim_id, "claim id")?,
        hub: id(&message.hub_id, "hub id")?,
        home: id(&message.home_id, "home id")?,
        public_key: message
            .public_key
            .as_ref()
            .try_into()
            .map_err(|_| CodecError::Malformed("public key"))?,
        name,
        model,
        claimed_at: Timestamp::from_micros(message.claimed_at),
    })
}

/// The row of the view of claims.
pub(crate) fn row_of(made: &Made) -> stored::ClaimRow {
    stored::ClaimRow {
        made: Some(put_made(made)),
        name: put_part(&made.name),
        model: put_part(&made.model),
    }
}
