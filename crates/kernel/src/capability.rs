//! The catalogue of capabilities: what a device can measure or be, with unit, type, range and kind of data.
//!
//! Numbers are those of `hearth.types.v1.Capability`, stable for ever. Knows no wire form: a number that is not in the
//! catalogue (a newer release wrote it, or it is reserved) is still a [`Capability`], without a [`Spec`].

mod catalogue;

use crate::owner::RetentionClass;

/// Bytes of UTF-8 that a text value has at most.
pub const MAX_TEXT_BYTES: usize = 64;

/// One typed measure or state of a device: the stable number it has in `hearth.types.v1.Capability`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Capability(u16);

impl Capability {
    /// No capability: in the keys of stored chunks, one that holds many capabilities of its device.
    pub const MANY: Self = Self(0);

    /// The capability of the catalogue with that number.
    #[must_use]
    pub fn from_number(number: u16) -> Option<Self> {
        let capability = Self(number);
        capability.spec().is_some().then_some(capability)
    }

    /// Whatever has that number, in the catalogue or not: for keys that a store reads back.
    #[must_use]
    pub const fn from_stored(number: u16) -> Self {
        Self(number)
    }

    /// The stable number.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }

    /// Its row in the catalogue; `None` for a number that this release does not know.
    #[must_use]
    pub fn spec(self) -> Option<&'static Spec> {
        let rows = catalogue::ROWS;
        let found = rows.binary_search_by_key(&self.0, |row| row.capability.0);
        found.ok().and_then(|index| rows.get(index))
    }

    /// Every capability, by number.
    #[must_use]
    pub const fn catalogue() -> &'static [Spec] {
        catalogue::ROWS
    }
}

/// What one capability measures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spec {
    /// The capability.
    pub capability: Capability,
    /// Its name in the contract, without the prefix: `HEATING_TARGET`.
    pub name: &'static str,
    /// Its unit, a UCUM symbol; empty where it has none.
    pub unit: &'static str,
    /// The type and range of its values.
    pub value: ValueType,
    /// Whether rules may act on each change of it.
    pub role: Role,
    /// The kind of data, by which a home chooses how long it is kept.
    pub family: Family,
    /// How close to a person's life it is.
    pub privacy: Privacy,
}

impl Spec {
    /// Whether every change of it is a signal.
    #[must_use]
    pub const fn is_state(&self) -> bool {
        matches!(self.role, Role::State)
    }
}

/// The type of a capability's values, with their range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ValueType {
    /// A finite double between two bounds, both included, in the capability's unit.
    Number {
        /// The least value.
        min: f64,
        /// The greatest value.
        max: f64,
    },
    /// An integer between two bounds, both included, in the capability's unit.
    Integer {
        /// The least value.
        min: i64,
        /// The greatest value.
        max: i64,
    },
    /// True or false.
    Flag,
    /// One of these words, or any text of at most [`MAX_TEXT_BYTES`] where none are listed.
    Text {
        /// The words.
        words: &'static [&'static str],
    },
}

impl ValueType {
    /// Whether a number is one of its values.
    #[must_use]
    pub fn takes_number(&self, value: f64) -> bool {
        // False for what is not a number: every comparison with it is.
        matches!(self, Self::Number { min, max } if value >= *min && value <= *max)
    }

    /// Whether an integer is one of its values.
    #[must_use]
    pub const fn takes_integer(&self, value: i64) -> bool {
        matches!(self, Self::Integer { min, max } if value >= *min && value <= *max)
    }

    /// Whether a text is one of its values.
    #[must_use]
    pub fn takes_text(&self, value: &str) -> bool {
        match self {
            Self::Text { words: [] } => value.len() <= MAX_TEXT_BYTES,
            Self::Text { words } => words.contains(&value),
            _ => false,
        }
    }
}

/// What rules may act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A state: every change of it is a signal.
    State,
    /// A measure: it makes signals only where a rule of its home names it.
    Measure,
}

/// The kinds of time series that a home keeps for a period of its choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// All that no other family names.
    Readings,
    /// Water flow, volume and leaks.
    Water,
}

impl Family {
    /// Every family.
    pub const ALL: [Self; 2] = [Self::Readings, Self::Water];

    /// How long its data is kept in a home that chose nothing.
    #[must_use]
    pub const fn default_class(self) -> RetentionClass {
        match self {
            Self::Readings => RetentionClass::Days30,
            Self::Water => RetentionClass::Days90,
        }
    }

    /// The number of `hearth.types.v1.DataFamily`.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Readings => 1,
            Self::Water => 2,
        }
    }

    /// The family with that number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|family| family.number() == number)
    }
}

/// How close to a person's life a capability is: its category in the data inventory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Privacy {
    /// How things are used.
    Usage,
    /// Who is where.
    Presence,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_ascend_and_are_found_by_number() {
        assert!(Capability::catalogue().is_sorted_by(|a, b| a.capability < b.capability));
        for row in Capability::catalogue() {
            assert_eq!(row.capability.spec(), Some(row));
            assert_eq!(
                Capability::from_number(row.capability.number()),
                Some(row.capability)
            );
        }
        assert_eq!(Capability::from_number(0), None);
        assert_eq!(Capability::from_number(100), None);
        assert_eq!(Capability::from_stored(100).spec(), None);
    }

    #[test]
    fn ranges_hold_their_bounds_and_refuse_what_is_no_number() {
        let temperature = Capability::CLIMATE_TEMPERATURE.spec().unwrap().value;
        for (value, taken) in [
            (-60.0, true),
            (100.0, true),
            (100.01, false),
            (f64::NAN, false),
            (f64::INFINITY, false),
        ] {
            assert_eq!(temperature.takes_number(value), taken, "{value}");
        }
        assert!(!temperature.takes_integer(20));
        let mode = Capability::HEATING_MODE.spec().unwrap().value;
        assert!(mode.takes_text("eco") && !mode.takes_text("warm"));
        let firmware = Capability::PRODUCT_FIRMWARE.spec().unwrap().value;
        assert!(firmware.takes_text(&"x".repeat(64)) && !firmware.takes_text(&"x".repeat(65)));
    }
}
