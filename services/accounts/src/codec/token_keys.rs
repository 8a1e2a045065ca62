//! The stored form of the keys of access tokens.

use hearth_accounts_domain::token_keys::{Event, Key, State};
use hearth_api::stored::accounts::v1 as stored;
use hearth_engine::{Aggregate, CodecError, EncodedEvent, Life, Stored};
use hearth_kernel::Service;
use prost::Message;

use super::{decoded, encoded, hash, time, unknown};
use crate::aggregates::TokenKeys;

impl Aggregate for TokenKeys {
    const SERVICE: Service = Service::Accounts;
    const KIND: &'static str = "keys";
    const STORED: Stored = Stored::History;
    const LIFE: Life = Life::Lasting;
    const STATE_SCHEMA: u32 = 1;

    fn encode_event(event: &Event) -> EncodedEvent {
        let Event::Announced(key) = event;
        encoded("announced", &key_out(key))
    }

    fn decode_event(name: &str, major: u32, public: &[u8]) -> Result<Event, CodecError> {
        if (name, major) != ("announced", super::MAJOR) {
            return Err(unknown(name, major));
        }
        key_in(&decoded(public)?).map(Event::Announced)
    }

    fn encode_state(state: &State) -> Vec<u8> {
        let keys = state.keys.iter().map(key_out).collect();
        stored::TokenKeysState { keys }.encode_to_vec()
    }

    fn decode_state(schema: u32, bytes: &[u8]) -> Result<State, CodecError> {
        let malformed = CodecError::Malformed("token keys");
        if schema != Self::STATE_SCHEMA {
            return Err(malformed);
        }
        let state = stored::TokenKeysState::decode(bytes).map_err(|_| malformed)?;
        let keys = state.keys.iter().map(key_in);
        Ok(State {
            keys: keys.collect::<Result<_, _>>()?,
        })
    }
}

fn key_out(key: &Key) -> stored::TokenKey {
    stored::TokenKey {
        id: key.id.clone(),
        public: key.public.to_vec().into(),
        not_before: key.not_before.micros(),
    }
}

fn key_in(it: &stored::TokenKey) -> Result<Key, CodecError> {
    Ok(Key {
        id: it.id.clone(),
        public: hash(&it.public)?,
        not_before: time(it.not_before),
    })
}
