//! Manifest and latest rows: one cell each, whose write timestamp is what makes it win.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};
use hearth_kernel::{Capability, Day, DeviceId, HomeId, Timestamp};
use hearth_ports::{Latest, ManifestRow, StoreError};

use super::{CqlSeries, check_sealed, keys};
use crate::connection::{all_written, batches};

/// fence 8, counter 8, and the body: where ranks share a timestamp, the greater cell is the greater rank.
fn manifest_cell(row: &ManifestRow) -> Bytes {
    let mut cell = BytesMut::with_capacity(16 + row.body.len());
    cell.put_u64(row.fence);
    cell.put_u64(row.counter);
    cell.put_slice(&row.body);
    cell.freeze()
}

fn manifest_row(home: HomeId, day: i32, cell: &Bytes) -> Result<ManifestRow, StoreError> {
    let read = || {
        let (fence, rest) = cell.split_first_chunk::<8>()?;
        let (counter, body) = rest.split_first_chunk::<8>()?;
        Some(ManifestRow {
            home,
            day: Day::from_number(day),
            fence: u64::from_be_bytes(*fence),
            counter: u64::from_be_bytes(*counter),
            body: cell.slice_ref(body),
        })
    };
    read().ok_or_else(|| StoreError::terminal("a manifest row is malformed"))
}

pub(super) async fn put_manifest(on: &CqlSeries, row: &ManifestRow) -> Result<(), StoreError> {
    check_sealed(&row.body)?;
    let values = (
        on.stored(row.home),
        row.day.number(),
        manifest_cell(row),
        keys::rank(row.fence, row.counter),
    );
    on.connection
        .write(&on.statements.put_manifest, values)
        .await
}

pub(super) async fn manifest(
    on: &CqlSeries,
    home: HomeId,
    days: (Day, Day),
) -> Result<Vec<ManifestRow>, StoreError> {
    if days.0 > days.1 {
        return Ok(Vec::new());
    }
    let values = (on.stored(home), days.0.number(), days.1.number());
    let rows: Vec<(i32, Bytes)> = on.connection.rows(&on.statements.manifest, values).await?;
    rows.iter()
        .map(|(day, cell)| manifest_row(home, *day, cell))
        .collect()
}

pub(super) async fn put_latest(on: &CqlSeries, rows: &[Latest]) -> Result<(), StoreError> {
    let mut homes: BTreeMap<HomeId, Vec<&Latest>> = BTreeMap::new();
    for row in rows {
        check_sealed(&row.sealed)?;
        if row.observed_at.micros() == i64::MIN {
            return Err(StoreError::terminal("the least time is not one"));
        }
        homes.entry(row.home).or_default().push(row);
    }
    let mut writes = Vec::new();
    for (home, rows) in homes {
        let home = on.stored(home);
        for batch in batches(rows, |row| home.len() + 32 + row.sealed.len()) {
            let rows: Vec<_> = batch
                .into_iter()
                .map(|row| {
                    (
                        home.clone(),
                        row.device.as_bytes().to_vec(),
                        i32::from(row.capability.number()),
                        row.sealed.clone(),
                        row.observed_at.micros(),
                    )
                })
                .collect();
            writes.push(
                on.connection
                    .write_together(&on.statements.put_latest, rows),
            );
        }
    }
    all_written(writes).await
}

/// A capability of a row: the port's are 16 bits wide.
fn capability(number: i32) -> Result<Capability, StoreError> {
    let number = u16::try_from(number)
        .map_err(|_| StoreError::terminal("a capability's number is malformed"))?;
    Ok(Capability::from_stored(number))
}

fn device(bytes: &[u8]) -> Result<DeviceId, StoreError> {
    DeviceId::from_slice(bytes).ok_or_else(|| StoreError::terminal("a device's id is malformed"))
}

pub(super) async fn latest(on: &CqlSeries, home: HomeId) -> Result<Vec<Latest>, StoreError> {
    let values = (on.stored(home),);
    let rows: Vec<(Vec<u8>, i32, Bytes, i64)> =
        on.connection.rows(&on.statements.latest, values).await?;
    rows.into_iter()
        .map(|(id, number, sealed, observed)| {
            Ok(Latest {
                home,
                device: device(&id)?,
                capability: capability(number)?,
                observed_at: Timestamp::from_micros(observed),
                sealed,
            })
        })
        .collect()
}
