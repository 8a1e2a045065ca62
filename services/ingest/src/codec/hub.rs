//! The stored form of a hub's record.

use hearth_api::stored::ingest::v1 as stored;
use hearth_engine::{Aggregate, CodecError, EncodedEvent, Life, Stored};
use hearth_ingest_domain::hub::{Current, Event, State};
use hearth_kernel::Service;
use prost::Message;

use crate::aggregates::Hub;

use super::{id, optional_id, raw, read, unknown};

impl Aggregate for Hub {
    const SERVICE: Service = Service::Ingest;
    const KIND: &'static str = "hub";
    const STORED: Stored = Stored::Record;
    const LIFE: Life = Life::Lasting;
    const STATE_SCHEMA: u32 = 1;
    const REMEMBER: usize = 8;

    fn encode_event(event: &Event) -> EncodedEvent {
        let (name, public) = match event {
            Event::Taken(current) => ("taken", put(current).encode_to_vec()),
            Event::Released => ("released", Vec::new()),
        };
        EncodedEvent {
            name,
            major: 1,
            public,
        }
    }

    fn decode_event(name: &str, major: u32, public: &[u8]) -> Result<Event, CodecError> {
        match (name, major) {
            ("taken", 1) => Ok(Event::Taken(take(&read(public, "taken")?)?)),
            ("released", 1) => Ok(Event::Released),
            _ => Err(unknown(name, major)),
        }
    }

    fn encode_state(state: &State) -> Vec<u8> {
        stored::HubState {
            current: state.current.as_ref().map(put),
            former: state.former.map(raw).unwrap_or_default(),
        }
        .encode_to_vec()
    }

    fn decode_state(_: u32, bytes: &[u8]) -> Result<State, CodecError> {
        let message: stored::HubState = read(bytes, "hub state")?;
        Ok(State {
            current: message.current.as_ref().map(take).transpose()?,
            former: optional_id(&message.former, "claim id")?,
        })
    }
}

fn put(current: &Current) -> stored::HubTaken {
    stored::HubTaken {
        claim_id: raw(current.claim),
        home_id: raw(current.home),
    }
}

fn take(message: &stored::HubTaken) -> Result<Current, CodecError> {
    Ok(Current {
        claim: id(&message.claim_id, "claim id")?,
        home: id(&message.home_id, "home id")?,
    })
}
