//! The dictionary of a batch, resolved once: what each measure is, and whether the home has it. Hubs send the same
//! dictionary with every batch, so it is kept from one to the next.

use bytes::Bytes;
use hearth_api::ingest::v1::Columns;
use hearth_kernel::capability::{Family, ValueType};
use hearth_kernel::{Capability, DeviceId, Reason, RetentionClass};
use hearth_readings::ValueKind;

use super::MAX_MEASURES;
use crate::registry::Registry;

/// One measure of a batch's dictionary.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    pub(super) device: DeviceId,
    pub(super) capability: Capability,
    pub(super) kind: ValueKind,
    pub(super) value: ValueType,
    pub(super) family: Family,
    pub(super) class: RetentionClass,
    /// Why all its readings are refused, if they are.
    pub(super) refused: Option<Reason>,
    /// Whether its readings are signals.
    pub(super) signal: bool,
}

/// The kind of column that values of a type stand in.
pub(crate) const fn kind_of(value: &ValueType) -> ValueKind {
    match value {
        ValueType::Number { .. } => ValueKind::Double,
        ValueType::Integer { .. } => ValueKind::Int,
        ValueType::Flag => ValueKind::Bool,
        ValueType::Text { .. } => ValueKind::Text,
    }
}

/// A resolved dictionary.
#[derive(Debug, Default)]
pub(super) struct Dictionary {
    devices: Bytes,
    measure_device: Vec<u32>,
    measure_capability: Vec<u32>,
    resolved: Vec<Measured>,
}

impl Dictionary {
    /// Forgets what was resolved: the registry is another one.
    pub(super) fn forget(&mut self) {
        self.resolved.clear();
    }

    pub(super) fn get(&self, number: usize) -> Option<&Measured> {
        self.resolved.get(number)
    }

    /// Resolves the dictionary of a batch.
    pub(super) fn resolve(&mut self, columns: &Columns, registry: &Registry) -> Result<(), Reason> {
        let same = !self.resolved.is_empty()
            && self.devices == columns.devices
            && self.measure_device == columns.measure_device
            && self.measure_capability == columns.measure_capability;
        if same {
            return Ok(());
        }
        self.resolved.clear();
        if !columns.devices.len().is_multiple_of(16)
            || columns.measure_device.len() != columns.measure_capability.len()
            || columns.measure_device.len() > MAX_MEASURES as usize
        {
            return Err(Reason::BATCH_MALFORMED);
        }
        let pairs = columns
            .measure_device
            .iter()
            .zip(&columns.measure_capability);
        for (device, capability) in pairs {
            let start = *device as usize * 16;
            let device = columns
                .devices
                .get(start..start + 16)
                .and_then(DeviceId::from_slice)
                .ok_or(Reason::BATCH_MALFORMED)?;
            let found = measured(device, *capability, registry);
            match found {
                Some(measured) => self.resolved.push(measured),
                None => {
                    self.resolved.clear();
                    return Err(Reason::UNKNOWN_CAPABILITY);
                }
            }
        }
        self.devices = columns.devices.clone();
        self.measure_device.clone_from(&columns.measure_device);
        self.measure_capability
            .clone_from(&columns.measure_capability);
        Ok(())
    }
}

/// What a measure is; `None` for a capability that is not in the catalogue.
fn measured(device: DeviceId, capability: u32, registry: &Registry) -> Option<Measured> {
    let number = u16::try_from(capability).ok()?;
    let capability = Capability::from_number(number)?;
    let spec = capability.spec()?;
    let refused = match registry.has(device, capability) {
        Some(true) => None,
        Some(false) => Some(Reason::UNKNOWN_CAPABILITY),
        None => Some(Reason::UNKNOWN_DEVICE),
    };
    Some(Measured {
        device,
        capability,
        kind: kind_of(&spec.value),
        value: spec.value,
        family: spec.family,
        class: registry.class(spec.family),
        refused,
        signal: spec.is_state() || registry.is_named(device, capability),
    })
}
