//! The stored form of a pairing's record.

use bytes::Bytes;
use hearth_api::stored::ingest::v1 as stored;
use hearth_engine::{Aggregate, CodecError, EncodedEvent, Life, Stored};
use hearth_ingest_domain::pairing::{Asked, Event, State, Taken};
use hearth_kernel::{Service, Timestamp};
use prost::Message;

use crate::aggregates::Pairing;

use super::{id, raw, read, unknown};

impl Aggregate for Pairing {
    const SERVICE: Service = Service::Ingest;
    const KIND: &'static str = "pairing";
    const STORED: Stored = Stored::Record;
    const LIFE: Life = Life::Episodic;
    const STATE_SCHEMA: u32 = 1;
    const REMEMBER: usize = 4;

    fn encode_event(event: &Event) -> EncodedEvent {
        let (name, public) = match event {
            Event::Begun(asked) => ("begun", put_asked(asked).encode_to_vec()),
            Event::Taken(taken) => ("taken", put_taken(taken).encode_to_vec()),
        };
        EncodedEvent {
            name,
            major: 1,
            public,
        }
    }

    fn decode_event(name: &str, major: u32, public: &[u8]) -> Result<Event, CodecError> {
        match (name, major) {
            ("begun", 1) => Ok(Event::Begun(take_asked(&read(public, "begun")?)?)),
            ("taken", 1) => Ok(Event::Taken(take_taken(&read(public, "taken")?)?)),
            _ => Err(unknown(name, major)),
        }
    }

    fn encode_state(state: &State) -> Vec<u8> {
        stored::PairingState {
            asked: state.asked.as_ref().map(put_asked),
            taken: state.taken.as_ref().map(put_taken),
        }
        .encode_to_vec()
    }

    fn decode_state(_: u32, bytes: &[u8]) -> Result<State, CodecError> {
        let message: stored::PairingState = read(bytes, "pairing state")?;
        Ok(State {
            asked: message.asked.as_ref().map(take_asked).transpose()?,
            taken: message.taken.as_ref().map(take_taken).transpose()?,
        })
    }
}

fn put_asked(asked: &Asked) -> stored::PairingBegun {
    stored::PairingBegun {
        hub_id: raw(asked.hub),
        public_key: Bytes::copy_from_slice(&asked.public_key),
        model: asked.model.clone(),
        expires_at: asked.expires_at.micros(),
    }
}

fn take_asked(message: &stored::PairingBegun) -> Result<Asked, CodecError> {
    Ok(Asked {
        hub: id(&message.hub_id, "hub id")?,
        public_key: message
            .public_key
            .as_ref()
            .try_into()
            .map_err(|_| CodecError::Malformed("public key"))?,
        model: message.model.clone(),
        expires_at: Timestamp::from_micros(message.expires_at),
    })
}

fn put_taken(taken: &Taken) -> stored::PairingTaken {
    stored::PairingTaken {
        home_id: raw(taken.home),
        claim_id: raw(taken.claim),
    }
}

fn take_taken(message: &stored::PairingTaken) -> Result<Taken, CodecError> {
    Ok(Taken {
        home: id(&message.home_id, "home id")?,
        claim: id(&message.claim_id, "claim id")?,
    })
}
