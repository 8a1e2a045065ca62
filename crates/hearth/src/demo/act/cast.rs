//! Who and what takes part: people, homes, devices, and the names that are looked for when Anna is gone.

use hearth_api::ingest::v1::DeviceKind;
use hearth_api::types::v1::Capability;

use crate::demo::data::Gadget;
use crate::demo::home::{Furnishing, Plan};
use crate::demo::people::Newcomer;
use crate::demo::readings::Measure;

pub(super) const ANNA: Newcomer = Newcomer {
    name: "Anna Dunjarova",
    email: "anna.dunjarova@hearth-demo.test",
    password: "quinces ripen late in november",
};

pub(super) const BOJAN: Newcomer = Newcomer {
    name: "Bojan Orevski",
    email: "bojan.orevski@hearth-demo.test",
    password: "walnuts fall early in september",
};

pub(super) const ANNAS_HOME: Plan = Plan {
    name: "The Quince House",
    areas: &["Living room", "Bathroom", "Office", "Boiler room"],
    hub: "Anna's box in the hall",
    devices: &[
        Furnishing {
            gadget: Gadget::Meter,
            area: "Boiler room",
            name: "Meter under the stairs",
            kind: DeviceKind::ElectricityMeter,
            capabilities: &[Capability::PlugEnergy, Capability::PlugPower],
        },
        Furnishing {
            gadget: Gadget::Boiler,
            area: "Boiler room",
            name: "Old gas boiler",
            kind: DeviceKind::Boiler,
            capabilities: &[Capability::HeatingEnergy, Capability::HeatingOn],
        },
        Furnishing {
            gadget: Gadget::Weather,
            area: "Living room",
            name: "Thermometer on the quince",
            kind: DeviceKind::Weather,
            capabilities: &[Capability::ClimateOutdoorTemperature],
        },
        Furnishing {
            gadget: Gadget::Water,
            area: "Bathroom",
            name: "Pipe behind the tub",
            kind: DeviceKind::WaterSensor,
            capabilities: &[Capability::WaterFlow],
        },
        Furnishing {
            gadget: Gadget::Climate,
            area: "Office",
            name: "Air on Anna's desk",
            kind: DeviceKind::ClimateSensor,
            capabilities: &[
                Capability::ClimateTemperature,
                Capability::ClimateHumidity,
                Capability::ClimateLight,
                Capability::ClimateCo2,
            ],
        },
        Furnishing {
            gadget: Gadget::Presence,
            area: "Office",
            name: "Eye above Anna's desk",
            kind: DeviceKind::PresenceSensor,
            capabilities: &[Capability::Presence, Capability::Motion],
        },
        Furnishing {
            gadget: Gadget::Motion,
            area: "Living room",
            name: "Eye by the quince window",
            kind: DeviceKind::MotionSensor,
            capabilities: &[Capability::Motion],
        },
    ],
};

pub(super) const BOJANS_HOME: Plan = Plan {
    name: "Flat on the quay",
    areas: &["Kitchen", "Balcony"],
    hub: "Bojan's box",
    devices: &[
        Furnishing {
            gadget: Gadget::Meter,
            area: "Kitchen",
            name: "Meter by the fridge",
            kind: DeviceKind::ElectricityMeter,
            capabilities: &[Capability::PlugEnergy, Capability::PlugPower],
        },
        Furnishing {
            gadget: Gadget::Weather,
            area: "Balcony",
            name: "Thermometer on the rail",
            kind: DeviceKind::Weather,
            capabilities: &[Capability::ClimateOutdoorTemperature],
        },
    ],
};

/// What Anna wrote, and nobody else: looked for behind every key.
pub(super) const PLANTED: [&str; 14] = [
    ANNA.name,
    ANNA.email,
    ANNAS_HOME.name,
    "Living room",
    "Bathroom",
    "Boiler room",
    ANNAS_HOME.hub,
    "Meter under the stairs",
    "Old gas boiler",
    "Thermometer on the quince",
    "Pipe behind the tub",
    "Air on Anna's desk",
    "Eye above Anna's desk",
    "Eye by the quince window",
];

const fn measure(gadget: Gadget, capability: Capability) -> Measure {
    Measure { gadget, capability }
}

/// Every measure that Anna's home has sent something of.
pub(super) const ANNAS_MEASURES: [Measure; 12] = [
    measure(Gadget::Meter, Capability::PlugEnergy),
    measure(Gadget::Meter, Capability::PlugPower),
    measure(Gadget::Boiler, Capability::HeatingEnergy),
    measure(Gadget::Boiler, Capability::HeatingOn),
    measure(Gadget::Weather, Capability::ClimateOutdoorTemperature),
    measure(Gadget::Water, Capability::WaterFlow),
    measure(Gadget::Climate, Capability::ClimateTemperature),
    measure(Gadget::Climate, Capability::ClimateHumidity),
    measure(Gadget::Climate, Capability::ClimateLight),
    measure(Gadget::Climate, Capability::ClimateCo2),
    measure(Gadget::Presence, Capability::Presence),
    measure(Gadget::Presence, Capability::Motion),
];
