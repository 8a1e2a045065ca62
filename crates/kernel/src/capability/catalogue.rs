//! The rows of the catalogue, in the order of their numbers. The contract
//! (`proto/hearth/types/v1/capability.proto`) says the same in options; a test of the ingest service compares the two.

use super::{Capability, Family, Privacy, Role, Spec, ValueType};

macro_rules! catalogue {
    ($($(#[$doc:meta])+ $name:ident = $number:literal, $unit:literal, $value:expr, $role:ident, $family:ident, $privacy:ident;)+) => {
        impl Capability {
            $($(#[$doc])+ pub const $name: Self = Self($number);)+
        }

        /// Every capability, by number.
        pub(super) const ROWS: &[Spec] = &[$(Spec {
            capability: Capability::$name,
            name: stringify!($name),
            unit: $unit,
            value: $value,
            role: Role::$role,
            family: Family::$family,
            privacy: Privacy::$privacy,
        }),+];
    };
}

catalogue! {
    /// Heating: temperature that the thermostat or boiler measures.
    HEATING_TEMPERATURE = 101, "Cel", ValueType::Number { min: -50.0, max: 150.0 }, Measure, Readings, Usage;
    /// Heating: temperature asked for.
    HEATING_TARGET = 102, "Cel", ValueType::Number { min: 0.0, max: 100.0 }, Measure, Readings, Usage;
    /// Heating: how much heat is called for.
    HEATING_DEMAND = 103, "%", ValueType::Number { min: 0.0, max: 100.0 }, Measure, Readings, Usage;
    /// Heating: how it is run.
    HEATING_MODE = 104, "", ValueType::Text { words: &["off", "heat", "cool", "auto", "eco", "boost", "away", "frost"] }, State, Readings, Usage;
    /// Heating: whether it is giving heat now.
    HEATING_ON = 105, "", ValueType::Flag, State, Readings, Usage;
    /// Heating: energy (gas or other fuel) used since the reading before.
    HEATING_ENERGY = 106, "kW.h", ValueType::Number { min: 0.0, max: 100_000.0 }, Measure, Readings, Usage;
    /// Heating: whether hot water is being made.
    HEATING_WATER_ON = 107, "", ValueType::Flag, State, Readings, Usage;
    /// Lighting: whether the light is on.
    LIGHT_ON = 201, "", ValueType::Flag, State, Readings, Usage;
    /// Lighting: brightness.
    LIGHT_LEVEL = 202, "%", ValueType::Number { min: 0.0, max: 100.0 }, Measure, Readings, Usage;
    /// Lighting: colour temperature.
    LIGHT_COLOUR_TEMPERATURE = 203, "K", ValueType::Integer { min: 1_000, max: 20_000 }, Measure, Readings, Usage;
    /// Lighting: colour, as 0xRRGGBB.
    LIGHT_COLOUR = 204, "", ValueType::Integer { min: 0, max: 16_777_215 }, Measure, Readings, Usage;
    /// Contact: whether a door or window is open.
    CONTACT_OPEN = 301, "", ValueType::Flag, State, Readings, Presence;
    /// Contact: whether the sensor's case was opened or moved.
    TAMPER = 302, "", ValueType::Flag, State, Readings, Usage;
    /// Motion: whether something moves.
    MOTION = 401, "", ValueType::Flag, State, Readings, Presence;
    /// Motion: how sure the sensor is.
    MOTION_CONFIDENCE = 402, "%", ValueType::Number { min: 0.0, max: 100.0 }, Measure, Readings, Presence;
    /// Water: flow through the pipe.
    WATER_FLOW = 501, "L/s", ValueType::Number { min: 0.0, max: 1_000.0 }, Measure, Water, Usage;
    /// Water: whether water is where it should not be.
    WATER_LEAK = 502, "", ValueType::Flag, State, Water, Usage;
    /// Water: volume used since the reading before.
    WATER_VOLUME = 503, "L", ValueType::Number { min: 0.0, max: 10_000_000.0 }, Measure, Water, Usage;
    /// Plug or meter: whether it is switched on.
    PLUG_ON = 601, "", ValueType::Flag, State, Readings, Usage;
    /// Plug or meter: power drawn now, negative where it is fed in.
    PLUG_POWER = 602, "W", ValueType::Number { min: -1_000_000.0, max: 1_000_000.0 }, Measure, Readings, Usage;
    /// Plug or meter: electric energy used since the reading before, negative where it was fed in.
    PLUG_ENERGY = 603, "kW.h", ValueType::Number { min: -100_000.0, max: 100_000.0 }, Measure, Readings, Usage;
    /// Climate: air temperature indoors.
    CLIMATE_TEMPERATURE = 701, "Cel", ValueType::Number { min: -60.0, max: 100.0 }, Measure, Readings, Usage;
    /// Climate: relative humidity.
    CLIMATE_HUMIDITY = 702, "%", ValueType::Number { min: 0.0, max: 100.0 }, Measure, Readings, Usage;
    /// Climate: light in the room.
    CLIMATE_LIGHT = 703, "lx", ValueType::Number { min: 0.0, max: 200_000.0 }, Measure, Readings, Usage;
    /// Climate: carbon dioxide.
    CLIMATE_CO2 = 704, "[ppm]", ValueType::Number { min: 0.0, max: 50_000.0 }, Measure, Readings, Usage;
    /// Climate: air temperature outdoors.
    CLIMATE_OUTDOOR_TEMPERATURE = 705, "Cel", ValueType::Number { min: -90.0, max: 70.0 }, Measure, Readings, Usage;
    /// Climate: air pressure.
    CLIMATE_PRESSURE = 706, "hPa", ValueType::Number { min: 300.0, max: 1_200.0 }, Measure, Readings, Usage;
    /// Presence: whether somebody is there.
    PRESENCE = 801, "", ValueType::Flag, State, Readings, Presence;
    /// Presence: how many people are there.
    OCCUPANCY_COUNT = 802, "", ValueType::Integer { min: 0, max: 10_000 }, State, Readings, Presence;
    /// Battery and link: charge.
    BATTERY_LEVEL = 901, "%", ValueType::Number { min: 0.0, max: 100.0 }, Measure, Readings, Usage;
    /// Battery and link: whether the battery should be changed.
    BATTERY_LOW = 902, "", ValueType::Flag, State, Readings, Usage;
    /// Battery and link: quality of the radio link.
    LINK_QUALITY = 903, "%", ValueType::Number { min: 0.0, max: 100.0 }, Measure, Readings, Usage;
    /// Battery and link: whether the hub can reach the device.
    LINK_ONLINE = 904, "", ValueType::Flag, State, Readings, Usage;
    /// Product: time since it started.
    PRODUCT_UPTIME = 1001, "s", ValueType::Integer { min: 0, max: 10_000_000_000 }, Measure, Readings, Usage;
    /// Product: errors since the reading before.
    PRODUCT_ERRORS = 1002, "", ValueType::Integer { min: 0, max: 1_000_000_000 }, Measure, Readings, Usage;
    /// Product: version of its firmware.
    PRODUCT_FIRMWARE = 1003, "", ValueType::Text { words: &[] }, State, Readings, Usage;
    /// Product: temperature of its electronics.
    PRODUCT_TEMPERATURE = 1004, "Cel", ValueType::Number { min: -60.0, max: 200.0 }, Measure, Readings, Usage;
}
