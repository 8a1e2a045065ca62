//! One value as people see it: typed, owned, and apart from columns.

use std::cmp::Ordering;
use std::sync::Arc;

use hearth_api::ingest::v1::{Observation, observation};
use hearth_api::stored::ingest::v1::{LatestValue, latest_value};
use hearth_kernel::{Capability, DeviceId, Timestamp};
use hearth_readings::{Marks, Row, Value};

use crate::wire;

/// A value.
#[derive(Clone, Debug)]
pub enum Observed {
    /// A number.
    Number(f64),
    /// An integer.
    Integer(i64),
    /// True or false.
    Flag(bool),
    /// A text.
    Text(Arc<str>),
}

impl From<Value<'_>> for Observed {
    fn from(value: Value<'_>) -> Self {
        match value {
            Value::Double(value) => Self::Number(value),
            Value::Int(value) => Self::Integer(value),
            Value::Bool(value) => Self::Flag(value),
            Value::Text(value) => Self::Text(value.into()),
        }
    }
}

impl Observed {
    /// The value as the codecs see it.
    #[must_use]
    pub fn value(&self) -> Value<'_> {
        match self {
            Self::Number(value) => Value::Double(*value),
            Self::Integer(value) => Value::Int(*value),
            Self::Flag(value) => Value::Bool(*value),
            Self::Text(value) => Value::Text(value),
        }
    }

    pub(crate) fn to_latest(&self) -> LatestValue {
        LatestValue {
            value: Some(match self {
                Self::Number(value) => latest_value::Value::Number(*value),
                Self::Integer(value) => latest_value::Value::Integer(*value),
                Self::Flag(value) => latest_value::Value::Flag(*value),
                Self::Text(value) => latest_value::Value::Text(value.to_string()),
            }),
        }
    }

    pub(crate) fn of_latest(stored: LatestValue) -> Option<Self> {
        Some(match stored.value? {
            latest_value::Value::Number(value) => Self::Number(value),
            latest_value::Value::Integer(value) => Self::Integer(value),
            latest_value::Value::Flag(value) => Self::Flag(value),
            latest_value::Value::Text(value) => Self::Text(value.into()),
        })
    }
}

/// Total and bit-exact, as that of [`Value`].
impl Ord for Observed {
    fn cmp(&self, other: &Self) -> Ordering {
        self.value().cmp(&other.value())
    }
}

impl PartialOrd for Observed {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Observed {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Observed {}

/// A reading of a home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The device.
    pub device: DeviceId,
    /// What was measured.
    pub capability: Capability,
    /// When, by the device's clock.
    pub observed_at: Timestamp,
    /// The value.
    pub value: Observed,
    /// Whether its time was too far ahead to be the latest.
    pub future: bool,
}

impl Reading {
    pub(crate) fn of(row: &Row<'_>) -> Self {
        Self {
            device: DeviceId::from_bytes(*row.device),
            capability: Capability::from_stored(row.capability),
            observed_at: Timestamp::from_micros(row.observed_at),
            value: row.value.into(),
            future: row.marks.contains(Marks::FUTURE),
        }
    }

    pub(crate) fn to_wire(&self) -> Observation {
        Observation {
            device_id: self.device.to_string(),
            capability: i32::from(self.capability.number()),
            observed_at: Some(wire::time(self.observed_at)),
            value: Some(match &self.value {
                Observed::Number(value) => observation::Value::Number(*value),
                Observed::Integer(value) => observation::Value::Integer(*value),
                Observed::Flag(value) => observation::Value::Flag(*value),
                Observed::Text(value) => observation::Value::Text(value.to_string()),
            }),
        }
    }
}
