//! What may become of a home's devices, and what did.

use hearth_kernel::Decider;

use super::{
    Change, Command, Device, Devices, Event, Facts, MAX_CAPABILITIES, MAX_DEVICES, MAX_KIND,
    Rejection, State, Traits,
};

impl Decider for Devices {
    type State = State;
    type Command = Command;
    type Event = Event;
    type Facts = Facts;
    type Rejection = Rejection;

    fn decide(state: &State, command: &Command, facts: &Facts) -> Result<Vec<Event>, Rejection> {
        if state.ended {
            return if matches!(command, Command::End) {
                Ok(Vec::new())
            } else {
                Err(Rejection::Ended)
            };
        }
        match command {
            Command::Register { home, traits, name } => {
                if state.devices.contains_key(&facts.device) {
                    return Ok(Vec::new());
                }
                if state.devices.len() >= MAX_DEVICES {
                    return Err(Rejection::TooMany);
                }
                check(traits)?;
                Ok(vec![Event::DeviceRegistered {
                    home: *home,
                    device: facts.device,
                    traits: traits.clone(),
                    name: name.clone(),
                    at: facts.now,
                }])
            }
            Command::Update { device, change } => {
                let before = state
                    .devices
                    .get(device)
                    .ok_or(Rejection::NoDevice(*device))?;
                let traits = changed(&before.traits, change);
                check(&traits)?;
                if traits == before.traits && change.name.is_none() {
                    return Ok(Vec::new());
                }
                Ok(vec![Event::DeviceUpdated {
                    home: state.home,
                    device: *device,
                    traits,
                    name: change.name.clone(),
                }])
            }
            Command::Remove { device } => {
                state
                    .devices
                    .get(device)
                    .ok_or(Rejection::NoDevice(*device))?;
                Ok(vec![Event::DeviceRemoved {
                    home: state.home,
                    device: *device,
                }])
            }
            Command::End => Ok(vec![Event::DevicesEnded {
                home: state.home,
                devices: state.devices.keys().copied().collect(),
            }]),
        }
    }

    fn evolve(mut state: State, event: &Event) -> State {
        match event {
            Event::DeviceRegistered {
                home,
                device,
                traits,
                name,
                at,
            } => {
                state.home = *home;
                let added = Device {
                    traits: traits.clone(),
                    name: name.clone(),
                    registered_at: *at,
                    ordinal: state.registered,
                };
                state.devices.insert(*device, added);
                state.registered += 1;
            }
            Event::DeviceUpdated {
                device,
                traits,
                name,
                ..
            } => {
                if let Some(known) = state.devices.get_mut(device) {
                    known.traits.clone_from(traits);
                    if let Some(name) = name {
                        known.name.clone_from(name);
                    }
                }
            }
            Event::DeviceRemoved { device, .. } => {
                state.devices.remove(device);
            }
            Event::DevicesEnded { .. } => {
                state.devices.clear();
                state.ended = true;
            }
        }
        state
    }

    fn invariant(state: &State) -> Result<(), &'static str> {
        if state.devices.len() > MAX_DEVICES {
            return Err("a home has too many devices");
        }
        if state
            .devices
            .values()
            .any(|device| check(&device.traits).is_err())
        {
            return Err("a device breaks a bound");
        }
        if state.ended && !state.devices.is_empty() {
            return Err("an ended home has devices");
        }
        Ok(())
    }
}

fn changed(before: &Traits, change: &Change) -> Traits {
    let capabilities = if change.capabilities.is_empty() {
        &before.capabilities
    } else {
        &change.capabilities
    };
    Traits {
        area: change.area.unwrap_or(before.area),
        kind: change.kind.unwrap_or(before.kind),
        capabilities: capabilities.clone(),
        hub: before.hub,
    }
}

fn check(traits: &Traits) -> Result<(), Rejection> {
    if traits.capabilities.is_empty() || traits.capabilities.len() > MAX_CAPABILITIES {
        return Err(Rejection::Malformed("capabilities"));
    }
    if traits.capabilities.iter().any(|it| it.spec().is_none()) {
        return Err(Rejection::Malformed("capabilities"));
    }
    if traits.kind == 0 || traits.kind > MAX_KIND {
        return Err(Rejection::Malformed("kind"));
    }
    Ok(())
}
