//! Readings as the columns of a batch.

use std::collections::HashMap;

use hearth_api::ingest::v1::Columns;
use hearth_kernel::capability::ValueType;
use prost::Message;

use super::{HubError, Reading, Value};

/// The most readings of a batch.
const MOST: usize = 16_384;
/// The most measures of its dictionary.
const MOST_MEASURES: usize = 1_024;
/// The most encoded bytes of the columns: a batch may have 1 MiB, and its stream, its sequence and lengths take less
/// than the rest.
const MOST_BYTES: usize = (1 << 20) - 64;
/// The most bytes of a text.
const MOST_TEXT: usize = 64;

/// The columns of readings, in their order.
pub(super) fn of(readings: &[Reading]) -> Result<Columns, HubError> {
    if readings.len() > MOST {
        return Err(HubError::TooLarge);
    }
    let mut columns = Columns {
        base_time: readings.first().map_or(0, |it| it.observed_at.micros()),
        ..Columns::default()
    };
    let (mut devices, mut measures) = (HashMap::new(), HashMap::new());
    let mut ids: Vec<u8> = Vec::new();
    let mut texts: HashMap<&str, u32> = HashMap::new();
    let mut last = columns.base_time;
    for (index, reading) in readings.iter().enumerate() {
        if !fits(reading) {
            return Err(HubError::Misfit { index });
        }
        let device = place(&mut devices, reading.device)?;
        if device.1 {
            ids.extend_from_slice(reading.device.as_bytes());
        }
        let measure = place(&mut measures, (device.0, reading.capability.number()))?;
        if measure.1 {
            columns.measure_device.push(device.0);
            columns
                .measure_capability
                .push(u32::from(reading.capability.number()));
        }
        columns.measure.push(measure.0);
        let at = reading.observed_at.micros();
        let delta = at.checked_sub(last).ok_or(HubError::Apart { index })?;
        columns.time_delta.push(delta);
        last = at;
        match &reading.value {
            Value::Number(value) => columns.numbers.push(*value),
            Value::Integer(value) => columns.integers.push(*value),
            Value::Flag(value) => columns.flags.push(*value),
            Value::Text(text) if text.len() > MOST_TEXT => return Err(HubError::TooLarge),
            Value::Text(text) => {
                let (code, is_new) = place(&mut texts, text.as_str())?;
                if is_new {
                    columns.texts.push(text.clone());
                }
                columns.text.push(code);
            }
        }
    }
    columns.devices = ids.into();
    if columns.measure_device.len() > MOST_MEASURES || columns.encoded_len() > MOST_BYTES {
        return Err(HubError::TooLarge);
    }
    Ok(columns)
}

/// Whether a value stands in the column that the server looks for it in.
fn fits(reading: &Reading) -> bool {
    let Some(spec) = reading.capability.spec() else {
        return false;
    };
    matches!(
        (&reading.value, spec.value),
        (Value::Number(_), ValueType::Number { .. })
            | (Value::Integer(_), ValueType::Integer { .. })
            | (Value::Flag(_), ValueType::Flag)
            | (Value::Text(_), ValueType::Text { .. })
    )
}

/// The place of a key in a dictionary, and whether it is new there.
fn place<K: std::hash::Hash + Eq>(
    places: &mut HashMap<K, u32>,
    key: K,
) -> Result<(u32, bool), HubError> {
    let next = u32::try_from(places.len()).map_err(|_| HubError::TooLarge)?;
    let place = *places.entry(key).or_insert(next);
    Ok((place, place == next))
}
