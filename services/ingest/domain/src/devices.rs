//! The history of a home's devices: which there are, in which area, what each can measure or be.

mod decide;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use hearth_kernel::{
    AreaId, Capability, DeviceId, Failure, HomeId, HubId, Owner, Part, PartSlot, Parts, Purpose,
    Reason, Timestamp,
};

/// The most devices of a home.
pub const MAX_DEVICES: usize = 2_000;
/// The most capabilities of a device.
pub const MAX_CAPABILITIES: usize = 64;
/// The greatest number of a device kind in this release (`hearth.ingest.v1.DeviceKind`).
pub const MAX_KIND: u8 = 13;

/// The aggregate.
#[derive(Debug)]
pub struct Devices;

/// What a device is, without its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traits {
    /// The area it is in.
    pub area: Option<AreaId>,
    /// What kind of thing it is: a number of the contract, 1 to [`MAX_KIND`].
    pub kind: u8,
    /// What it can measure or be: 1 to [`MAX_CAPABILITIES`].
    pub capabilities: BTreeSet<Capability>,
    /// The hub it reports through; `None`: any hub of the home.
    pub hub: Option<HubId>,
}

/// A device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// What it is.
    pub traits: Traits,
    /// What the home calls it.
    pub name: Part,
    /// When it was registered.
    pub registered_at: Timestamp,
    /// Its place among all that were ever registered, from 0.
    pub ordinal: u64,
}

/// What the past amounts to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The home; nil before the first device.
    pub home: HomeId,
    /// The devices there are.
    pub devices: BTreeMap<DeviceId, Device>,
    /// How many were ever registered.
    pub registered: u64,
    /// Whether the home is being erased.
    pub ended: bool,
}

/// A change of a device; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Another area, or none.
    pub area: Option<Option<AreaId>>,
    /// Another name.
    pub name: Option<Part>,
    /// Another kind.
    pub kind: Option<u8>,
    /// Other capabilities; empty means no change.
    pub capabilities: BTreeSet<Capability>,
}

/// What somebody wants.
#[derive(Clone, Debug)]
pub enum Command {
    /// A new device.
    Register {
        /// The home.
        home: HomeId,
        /// What it is.
        traits: Traits,
        /// What to call it.
        name: Part,
    },
    /// Another description of a device.
    Update {
        /// The device.
        device: DeviceId,
        /// What changes.
        change: Change,
    },
    /// A device to be gone.
    Remove {
        /// The device.
        device: DeviceId,
    },
    /// The home to be erased: every device is gone.
    End,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A device was added.
    DeviceRegistered {
        /// The home.
        home: HomeId,
        /// The device.
        device: DeviceId,
        /// What it is.
        traits: Traits,
        /// What the home calls it.
        name: Part,
        /// When.
        at: Timestamp,
    },
    /// A device was changed: what it is from now on.
    DeviceUpdated {
        /// The home.
        home: HomeId,
        /// The device.
        device: DeviceId,
        /// What it is.
        traits: Traits,
        /// Its other name, if it got one.
        name: Option<Part>,
    },
    /// A device is gone.
    DeviceRemoved {
        /// The home.
        home: HomeId,
        /// The device.
        device: DeviceId,
    },
    /// The home is being erased; these devices went with it.
    DevicesEnded {
        /// The home.
        home: HomeId,
        /// The devices there were.
        devices: Vec<DeviceId>,
    },
}

impl Parts for Event {
    fn parts(&mut self) -> Vec<PartSlot<'_>> {
        let slot = |home: HomeId, part| PartSlot {
            owner: Owner::Home(home),
            purpose: Purpose::Home,
            part,
        };
        match self {
            Self::DeviceRegistered { home, name, .. }
            | Self::DeviceUpdated {
                home,
                name: Some(name),
                ..
            } => vec![slot(*home, name)],
            Self::DeviceUpdated { name: None, .. }
            | Self::DeviceRemoved { .. }
            | Self::DevicesEnded { .. } => Vec::new(),
        }
    }
}

/// Why a command is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// The home has no such device.
    NoDevice(DeviceId),
    /// The home has as many as it may.
    TooMany,
    /// The home is being erased.
    Ended,
    /// The description breaks a bound of the contract.
    Malformed(&'static str),
}

impl From<Rejection> for Failure {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::NoDevice(device) => Self::new(Reason::NOT_FOUND).about("device", device),
            Rejection::TooMany => {
                Self::new(Reason::QUOTA_EXCEEDED).violation("home_id", "at most 2000 devices")
            }
            Rejection::Ended => Self::new(Reason::ERASED),
            Rejection::Malformed(field) => {
                Self::new(Reason::INVALID_REQUEST).violation(field, "out of bounds")
            }
        }
    }
}

/// What the outside knows.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// Now.
    pub now: Timestamp,
    /// The id of a device that is registered.
    pub device: DeviceId,
}
