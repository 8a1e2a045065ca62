//! The stored form of the keys of receipts.

use bytes::Bytes;
use hearth_api::stored::retention::v1 as stored;
use hearth_engine::{Aggregate, CodecError, EncodedEvent, Life, Stored};
use hearth_kernel::Service;
use hearth_retention_domain::signing::{Key, State, Taken};
use prost::Message;

use super::{MAJOR, array, decoded, encoded, optional_micros, optional_time, time, unknown};
use crate::aggregates::Signing;

impl Aggregate for Signing {
    const SERVICE: Service = Service::Retention;
    const KIND: &'static str = "signing";
    const STORED: Stored = Stored::History;
    const LIFE: Life = Life::Lasting;
    const STATE_SCHEMA: u32 = 1;

    fn encode_event(event: &Taken) -> EncodedEvent {
        encoded(
            "key_taken",
            &stored::KeyTaken {
                public: Bytes::copy_from_slice(&event.public),
                at: event.at.micros(),
            },
        )
    }

    fn decode_event(name: &str, major: u32, public: &[u8]) -> Result<Taken, CodecError> {
        if (name, major) != ("key_taken", MAJOR) {
            return Err(unknown(name, major));
        }
        let it: stored::KeyTaken = decoded(public)?;
        Ok(Taken {
            public: array(&it.public)?,
            at: time(it.at),
        })
    }

    fn encode_state(state: &State) -> Vec<u8> {
        let key = |key: &Key| stored::Key {
            public: Bytes::copy_from_slice(&key.public),
            not_before: key.not_before.micros(),
            not_after: optional_micros(key.not_after),
        };
        let keys = state.keys.iter().map(key).collect();
        stored::SigningState { keys }.encode_to_vec()
    }

    fn decode_state(schema: u32, bytes: &[u8]) -> Result<State, CodecError> {
        if schema != Self::STATE_SCHEMA {
            return Err(CodecError::Malformed("signing state of another schema"));
        }
        let state = stored::SigningState::decode(bytes);
        let state = state.map_err(|_| CodecError::Malformed("signing state"))?;
        let key = |key: &stored::Key| {
            Ok(Key {
                public: array(&key.public)?,
                not_before: time(key.not_before),
                not_after: optional_time(key.not_after),
            })
        };
        Ok(State {
            keys: state.keys.iter().map(key).collect::<Result<_, _>>()?,
        })
    }
}
