//! The row form, turned into columns: for small devices, where a batch is a reading or two.

use std::collections::HashMap;

use bytes::Bytes;
use hearth_api::ingest::v1::{Columns, Reading, Rows, reading::Value};
use hearth_kernel::capability::ValueType;
use hearth_kernel::{Capability, Reason};

use super::{MAX_MEASURES, MAX_READINGS, Outcome, Refused};

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
    let mut places = Places::default();
    for (index, reading) in (0u32..).zip(&rows.readings) {
        match push(reading, &mut columns, &mut places) {
            Ok(()) => misfits.indexes.push(index),
            Err(reason) => misfits.refused.push(Refused { index, reason }),
        }
        if columns.measure_device.len() > MAX_MEASURES as usize {
            return Err(Reason::BATCH_MALFORMED);
        }
    }
    if misfits.refused.is_empty() {
        misfits.indexes.clear();
    }
    columns.devices = places.ids.into();
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

/// The dictionaries while they grow. Looked up by hash: a hub may send 16,384 different texts or devices in a batch, and
/// to compare each with all before it would cost a second.
#[derive(Default)]
struct Places<'a> {
    ids: Vec<u8>,
    devices: HashMap<&'a Bytes, u32>,
    measures: HashMap<(u32, u32), u32>,
    texts: HashMap<&'a str, u32>,
    /// The time before, in microseconds.
    last: i64,
}

fn push<'a>(
    reading: &'a Reading,
    columns: &mut Columns,
    places: &mut Places<'a>,
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
    let delta = micros
        .checked_sub(places.last)
        .ok_or(Reason::BATCH_MALFORMED)?;
    match (&spec.value, &reading.value) {
        (ValueType::Number { .. }, Some(Value::Number(value))) => columns.numbers.push(*value),
        (ValueType::Integer { .. }, Some(Value::Integer(value))) => columns.integers.push(*value),
        (ValueType::Flag, Some(Value::Flag(value))) => columns.flags.push(*value),
        (ValueType::Text { .. }, Some(Value::Text(value))) => {
            let next = next(columns.texts.len());
            let code = *places.texts.entry(value).or_insert(next);
            if code == next {
                columns.texts.push(value.clone());
            }
            columns.text.push(code);
        }
        _ => return Err(Reason::VALUE_OF_OTHER_TYPE),
    }
    let new = next(places.devices.len());
    let device = *places.devices.entry(&reading.device_id).or_insert(new);
    if device == new {
        places.ids.extend_from_slice(&reading.device_id);
    }
    let capability = u32::from(capability.number());
    let new = next(columns.measure_device.len());
    let measure = places.measures.entry((device, capability)).or_insert(new);
    if *measure == new {
        columns.measure_device.push(device);
        columns.measure_capability.push(capability);
    }
    columns.measure.push(*measure);
    columns.time_delta.push(delta);
    places.last = micros;
    Ok(())
}

/// The place behind so many others.
fn next(places: usize) -> u32 {
    u32::try_from(places).unwrap_or(u32::MAX)
}
