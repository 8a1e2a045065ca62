//! The row form, turned into columns: for small devices, where a batch is a reading or two.

use hearth_api::ingest::v1::{Columns, Reading, Rows, reading::Value};
use hearth_kernel::capability::ValueType;
use hearth_kernel::{Capability, Reason};

use super::{MAX_READINGS, Outcome, Refused};

/// Readings that have no place in columns, with their indexes in the batch.
pub(super) struct Misfits {
    refused: Vec<Refused>,
    /// For each reading in the columns, its index in the batch; empty when they are the same.
    indexes: Vec<u32>,
}

/// The columns of rows. A reading whose value is of another type than its capability's, or that names no device,
/// capability or time, is a misfit.
pub(super) fn columns(rows: &Rows) -> Result<(Columns, Misfits), Reason> {
    if rows.readings.len() > MAX_READINGS as usize {
        return Err(Reason::BATCH_MALFORMED);
    }
    let mut columns = Columns::default();
    let mut misfits = Misfits {
        refused: Vec::new(),
        indexes: Vec::new(),
    };
    let mut devices: Vec<u8> = Vec::new();
    let mut last = 0;
    for (index, reading) in (0u32..).zip(&rows.readings) {
        match push(reading, &mut columns, &mut devices, &mut last) {
            Ok(()) => misfits.indexes.push(index),
            Err(reason) => misfits.refused.push(Refused { index, reason }),
        }
    }
    if misfits.refused.is_empty() {
        misfits.indexes.clear();
    }
    columns.devices = devices.into();
    Ok((columns, misfits))
}

/// Puts the indexes of the batch where those of the columns stand, and the misfits among the refused.
pub(super) fn restore(outcome: &mut Outcome, misfits: &Misfits) {
    if misfits.refused.is_empty() {
        return;
    }
    for refused in &mut outcome.refused {
        if let Some(index) = misfits.indexes.get(refused.index as usize) {
            refused.index = *index;
        }
    }
    outcome.refused.extend_from_slice(&misfits.refused);
    outcome.refused.sort_by_key(|refused| refused.index);
}

fn push(
    reading: &Reading,
    columns: &mut Columns,
    devices: &mut Vec<u8>,
    last: &mut i64,
) -> Result<(), Reason> {
    if reading.device_id.len() != 16 {
        return Err(Reason::UNKNOWN_DEVICE);
    }
    let capability = u16::try_from(reading.capability)
        .ok()
        .and_then(Capability::from_number)
        .ok_or(Reason::UNKNOWN_CAPABILITY)?;
    let spec = capability.spec().ok_or(Reason::UNKNOWN_CAPABILITY)?;
    let time = reading
        .observed_at
        .as_ref()
        .ok_or(Reason::BATCH_MALFORMED)?;
    let micros = time
        .seconds
        .checked_mul(1_000_000)
        .and_then(|micros| micros.checked_add(i64::from(time.nanos.clamp(0, 999_999_999)) / 1_000))
        .ok_or(Reason::BATCH_MALFORMED)?;
    let delta = micros.checked_sub(*last).ok_or(Reason::BATCH_MALFORMED)?;
    match (&spec.value, &reading.value) {
        (ValueType::Number { .. }, Some(Value::Number(value))) => columns.numbers.push(*value),
        (ValueType::Integer { .. }, Some(Value::Integer(value))) => columns.integers.push(*value),
        (ValueType::Flag, Some(Value::Flag(value))) => columns.flags.push(*value),
        (ValueType::Text { .. }, Some(Value::Text(value))) => {
            let code = columns
                .texts
                .iter()
                .position(|it| it == value)
                .unwrap_or_else(|| {
                    columns.texts.push(value.clone());
                    columns.texts.len() - 1
                });
            columns.text.push(u32::try_from(code).unwrap_or(u32::MAX));
        }
        _ => return Err(Reason::VALUE_OF_OTHER_TYPE),
    }
    let device = devices
        .chunks_exact(16)
        .position(|it| it == reading.device_id)
        .unwrap_or_else(|| {
            devices.extend_from_slice(&reading.device_id);
            devices.len() / 16 - 1
        });
    let device = u32::try_from(device).unwrap_or(u32::MAX);
    let capability = u32::from(capability.number());
    let mut measures = columns
        .measure_device
        .iter()
        .zip(&columns.measure_capability);
    let measure = measures
        .position(|(d, c)| (*d, *c) == (device, capability))
        .unwrap_or_else(|| {
            columns.measure_device.push(device);
            columns.measure_capability.push(capability);
            columns.measure_device.len() - 1
        });
    columns
        .measure
        .push(u32::try_from(measure).unwrap_or(u32::MAX));
    columns.time_delta.push(delta);
    *last = micros;
    Ok(())
}
