//! What a stream of readings is checked against: a home's devices, its periods, and the numbers that its rules name.
//!
//! A value, made anew from the log and the facts; a stream holds one and replaces it.

use std::collections::{HashMap, HashSet};

use hearth_ingest_domain::devices;
use hearth_kernel::capability::Family;
use hearth_kernel::{AreaId, Capability, DeviceId, RetentionClass};

/// The most numbers that the rules of a home name.
pub const MAX_INTERESTS: usize = 1_000;

/// For how long a home keeps what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Periods {
    readings: RetentionClass,
    water: RetentionClass,
}

impl Default for Periods {
    fn default() -> Self {
        Self {
            readings: Family::Readings.default_class(),
            water: Family::Water.default_class(),
        }
    }
}

impl Periods {
    /// The class of a family.
    #[must_use]
    pub const fn of(&self, family: Family) -> RetentionClass {
        match family {
            Family::Readings => self.readings,
            Family::Water => self.water,
        }
    }

    /// The same with another class for a family. Rollups have a class of their own and are no choice.
    #[must_use]
    pub fn with(mut self, family: Family, class: RetentionClass) -> Self {
        if class != RetentionClass::Rollups {
            match family {
                Family::Readings => self.readings = class,
                Family::Water => self.water = class,
            }
        }
        self
    }
}

/// The numbers of a home that make signals.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interests {
    everywhere: HashSet<Capability>,
    of_devices: HashSet<(DeviceId, Capability)>,
}

impl Interests {
    /// The interests of these pairs; no device means every device. What is beyond the bound is left out.
    pub fn new(pairs: impl IntoIterator<Item = (Option<DeviceId>, Capability)>) -> Self {
        let mut interests = Self::default();
        for (device, capability) in pairs.into_iter().take(MAX_INTERESTS) {
            match device {
                Some(device) => {
                    interests.of_devices.insert((device, capability));
                }
                None => {
                    interests.everywhere.insert(capability);
                }
            }
        }
        interests
    }

    fn name(&self, device: DeviceId, capability: Capability) -> bool {
        self.everywhere.contains(&capability) || self.of_devices.contains(&(device, capability))
    }
}

/// What is known of one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The area it is in.
    pub area: Option<AreaId>,
    /// The numbers of its capabilities, ascending.
    capabilities: Vec<u16>,
}

/// What a home's readings are checked against.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registry {
    devices: HashMap<DeviceId, Known>,
    periods: Periods,
    interests: Interests,
}

impl Registry {
    /// The registry of a home.
    #[must_use]
    pub fn new(state: &devices::State, periods: Periods, interests: Interests) -> Self {
        let known = |device: &devices::Device| Known {
            area: device.traits.area,
            capabilities: device
                .traits
                .capabilities
                .iter()
                .map(|it| it.number())
                .collect(),
        };
        let devices = state.devices.iter();
        Self {
            devices: devices.map(|(id, device)| (*id, known(device))).collect(),
            periods,
            interests,
        }
    }

    /// A device, if the home has it.
    #[must_use]
    pub fn device(&self, device: DeviceId) -> Option<&Known> {
        self.devices.get(&device)
    }

    /// Whether that device has that capability; `None` when there is no such device.
    #[must_use]
    pub fn has(&self, device: DeviceId, capability: Capability) -> Option<bool> {
        let known = self.devices.get(&device)?;
        Some(
            known
                .capabilities
                .binary_search(&capability.number())
                .is_ok(),
        )
    }

    /// For how long a family is kept.
    #[must_use]
    pub const fn class(&self, family: Family) -> RetentionClass {
        self.periods.of(family)
    }

    /// Whether a rule names that number.
    #[must_use]
    pub fn is_named(&self, device: DeviceId, capability: Capability) -> bool {
        self.interests.name(device, capability)
    }

    /// The same with other periods.
    #[cfg(test)]
    #[must_use]
    pub fn with_periods(mut self, periods: Periods) -> Self {
        self.periods = periods;
        self
    }
}
