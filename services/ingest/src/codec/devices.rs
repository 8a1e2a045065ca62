//! The stored form of a home's devices.

use std::collections::BTreeSet;

use bytes::Bytes;
use hearth_api::stored::ingest::v1 as stored;
use hearth_engine::{Aggregate, CodecError, EncodedEvent, Life, Stored};
use hearth_ingest_domain::devices::{Device, Event, State, Traits};
use hearth_kernel::{Capability, DeviceId, Part, Service, Timestamp};
use prost::Message;

use crate::aggregates::Devices;

use super::{id, optional_id, put_part, raw, read, take_part, unknown};

impl Aggregate for Devices {
    const SERVICE: Service = Service::Ingest;
    const KIND: &'static str = "devices";
    const STORED: Stored = Stored::History;
    const LIFE: Life = Life::Lasting;
    const STATE_SCHEMA: u32 = 1;

    fn encode_event(event: &Event) -> EncodedEvent {
        let (name, public) = match event {
            Event::DeviceRegistered {
                home,
                device,
                traits,
                at,
                name: _,
            } => {
                let message = stored::DeviceRegistered {
                    home_id: raw(*home),
                    device_id: raw(*device),
                    traits: Some(put_traits(traits)),
                    at: at.micros(),
                };
                ("device_registered", message.encode_to_vec())
            }
            Event::DeviceUpdated {
                home,
                device,
                traits,
                name,
            } => {
                let message = stored::DeviceUpdated {
                    home_id: raw(*home),
                    device_id: raw(*device),
                    traits: Some(put_traits(traits)),
                    named: name.is_some(),
                };
                ("device_updated", message.encode_to_vec())
            }
            Event::DeviceRemoved { home, device } => {
                let message = stored::DeviceRemoved {
                    home_id: raw(*home),
                    device_id: raw(*device),
                };
                ("device_removed", message.encode_to_vec())
            }
            Event::DevicesEnded { home, devices } => {
                let ids: Vec<u8> = devices.iter().flat_map(|it| *it.as_bytes()).collect();
                let message = stored::DevicesEnded {
                    home_id: raw(*home),
                    device_ids: ids.into(),
                };
                ("devices_ended", message.encode_to_vec())
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
            ("device_registered", 1) => {
                let message: stored::DeviceRegistered = read(public, "device_registered")?;
                Ok(Event::DeviceRegistered {
                    home: id(&message.home_id, "home id")?,
                    device: id(&message.device_id, "device id")?,
                    traits: take_traits(message.traits.as_ref())?,
                    name: Part::clear(""),
                    at: Timestamp::from_micros(message.at),
                })
            }
            ("device_updated", 1) => {
                let message: stored::DeviceUpdated = read(public, "device_updated")?;
                Ok(Event::DeviceUpdated {
                    home: id(&message.home_id, "home id")?,
                    device: id(&message.device_id, "device id")?,
                    traits: take_traits(message.traits.as_ref())?,
                    name: message.named.then(|| Part::clear("")),
                })
            }
            ("device_removed", 1) => {
                let message: stored::DeviceRemoved = read(public, "device_removed")?;
                Ok(Event::DeviceRemoved {
                    home: id(&message.home_id, "home id")?,
                    device: id(&message.device_id, "device id")?,
                })
            }
            ("devices_ended", 1) => {
                let message: stored::DevicesEnded = read(public, "devices_ended")?;
                let ids = message.device_ids.chunks(16);
                let devices: Result<Vec<DeviceId>, _> = ids.map(|it| id(it, "device id")).collect();
                Ok(Event::DevicesEnded {
                    home: id(&message.home_id, "home id")?,
                    devices: devices?,
                })
            }
            _ => Err(unknown(name, major)),
        }
    }

    fn encode_state(state: &State) -> Vec<u8> {
        let put = |(device, known): (&DeviceId, &Device)| stored::StoredDevice {
            device_id: raw(*device),
            traits: Some(put_traits(&known.traits)),
            name: put_part(&known.name),
            registered_at: known.registered_at.micros(),
            ordinal: known.ordinal,
        };
        stored::DevicesState {
            home_id: if state.home.is_nil() {
                Bytes::new()
            } else {
                raw(state.home)
            },
            devices: state.devices.iter().map(put).collect(),
            registered: state.registered,
            ended: state.ended,
        }
        .encode_to_vec()
    }

    fn decode_state(_: u32, bytes: &[u8]) -> Result<State, CodecError> {
        let message: stored::DevicesState = read(bytes, "devices state")?;
        let take = |stored: &stored::StoredDevice| {
            let device = Device {
                traits: take_traits(stored.traits.as_ref())?,
                name: take_part(&stored.name)?,
                registered_at: Timestamp::from_micros(stored.registered_at),
                ordinal: stored.ordinal,
            };
            Ok((id(&stored.device_id, "device id")?, device))
        };
        Ok(State {
            home: optional_id(&message.home_id, "home id")?.unwrap_or_default(),
            devices: message
                .devices
                .iter()
                .map(take)
                .collect::<Result<_, CodecError>>()?,
            registered: message.registered,
            ended: message.ended,
        })
    }
}

fn put_traits(traits: &Traits) -> stored::DeviceTraits {
    stored::DeviceTraits {
        area_id: traits.area.map(raw).unwrap_or_default(),
        kind: u32::from(traits.kind),
        capabilities: traits
            .capabilities
            .iter()
            .map(|it| u32::from(it.number()))
            .collect(),
        hub_id: traits.hub.map(raw).unwrap_or_default(),
    }
}

fn take_traits(message: Option<&stored::DeviceTraits>) -> Result<Traits, CodecError> {
    let message = message.ok_or(CodecError::Malformed("traits"))?;
    let number =
        |n: &u32| u16::try_from(*n).map_err(|_| CodecError::Malformed("number of a capability"));
    let capabilities: BTreeSet<Capability> = message
        .capabilities
        .iter()
        .map(|n| number(n).map(Capability::from_stored))
        .collect::<Result<_, _>>()?;
    Ok(Traits {
        area: optional_id(&message.area_id, "area id")?,
        kind: u8::try_from(message.kind).map_err(|_| CodecError::Malformed("device kind"))?,
        capabilities,
        hub: optional_id(&message.hub_id, "hub id")?,
    })
}
