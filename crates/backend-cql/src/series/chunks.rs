//! Chunks: rows of a partition (home, device, capability, month) of their class's table, found through
//! `chunk_months`, gone by TTL.
//!
//! A row of `chunk_months` ends with the month in which the chunk expires, and lives longer than a month beyond it, so
//! that no writer of a row shortens what another needs.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use hearth_kernel::{Capability, Day, DeviceId, HomeId, RetentionClass, Timestamp};
use hearth_ports::{ChunkKey, StoreError, StoredChunk};

use super::{CqlSeries, check_sealed, keys};
use crate::connection::{all_read, all_written, batches};

/// The longest TTL that both stores take is twenty years. What would live longer lives that long.
const LONGEST_TTL: i64 = 20 * 365 * 86_400;
/// How much longer than a chunk its row of `chunk_months` lives: more than a month, so that the writer of a chunk that
/// expires on the first does not take the row from one that expires on the last.
const INDEX_SLACK: i64 = 33 * 86_400;
/// Questions over at most so many months ask each; longer ones look up which there are.
const MONTHS_ASKED: i32 = 12;

/// A partition of chunks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Partition {
    pub(super) class: RetentionClass,
    pub(super) home: HomeId,
    pub(super) device: DeviceId,
    pub(super) capability: Capability,
    pub(super) month: i32,
}

impl Partition {
    fn of(key: &ChunkKey) -> Self {
        Self {
            class: key.class,
            home: key.home,
            device: key.device,
            capability: key.capability,
            month: keys::month(key.day),
        }
    }
}

/// Seconds until a time, 1 to the longest TTL; none when it is over.
fn ttl(from: Timestamp, until: Timestamp) -> Option<i64> {
    let seconds = until
        .micros()
        .saturating_sub(from.micros())
        .div_euclid(1_000_000);
    (until > from).then(|| seconds.clamp(1, LONGEST_TTL - 2 * INDEX_SLACK))
}

fn seconds(ttl: i64) -> Result<i32, StoreError> {
    i32::try_from(ttl.min(LONGEST_TTL)).map_err(|_| StoreError::terminal("a period without bound"))
}

pub(super) async fn put(
    on: &CqlSeries,
    chunks: &[StoredChunk],
    expires: Timestamp,
) -> Result<(), StoreError> {
    let (connection, statements) = (&on.connection, &on.statements);
    let mut partitions: BTreeMap<Partition, BTreeMap<Vec<u8>, &Bytes>> = BTreeMap::new();
    for chunk in chunks {
        check_sealed(&chunk.sealed)?;
        let key = keys::chunk(chunk.key.window, chunk.key.day, chunk.key.generation);
        partitions
            .entry(Partition::of(&chunk.key))
            .or_default()
            .insert(key, &chunk.sealed);
    }
    // What has expired by now may be dropped, and is.
    let Some(ttl) = ttl(connection.clock.now(), expires) else {
        return Ok(());
    };
    let (stamp, until) = (connection.tick(), keys::month(expires.day()));
    let index_ttl = seconds(ttl.saturating_add(INDEX_SLACK))?;
    all_written(
        partitions
            .keys()
            .map(|it| {
                let values = (
                    on.stored(it.home),
                    class_number(it.class),
                    it.device.as_bytes().to_vec(),
                    i32::from(it.capability.number()),
                    it.month,
                    until,
                    stamp,
                    index_ttl,
                );
                connection.write(&statements.put_month, values)
            })
            .collect(),
    )
    .await?;
    let ttl = seconds(ttl)?;
    let mut writes = Vec::new();
    for (it, rows) in partitions {
        let (home, device) = (on.stored(it.home), it.device.as_bytes().to_vec());
        let put = &statements.chunks(it.class)?.put;
        for batch in batches(rows, |(key, sealed)| {
            home.len() + 32 + key.len() + sealed.len()
        }) {
            let rows: Vec<_> = batch
                .into_iter()
                .map(|(key, sealed)| {
                    (
                        home.clone(),
                        device.clone(),
                        i32::from(it.capability.number()),
                        it.month,
                        key,
                        expires.micros(),
                        sealed.clone(),
                        stamp,
                        ttl,
                    )
                })
                .collect();
            writes.push(connection.write_together(put, rows));
        }
    }
    all_written(writes).await
}

pub(super) fn class_number(class: RetentionClass) -> i8 {
    class.number().cast_signed()
}

pub(super) async fn read(
    on: &CqlSeries,
    like: &ChunkKey,
    days: (Day, Day),
    now: Timestamp,
) -> Result<Vec<StoredChunk>, StoreError> {
    if days.0 > days.1 {
        return Ok(Vec::new());
    }
    let (home, device) = (on.stored(like.home), like.device.as_bytes().to_vec());
    let capability = i32::from(like.capability.number());
    let months = (keys::month(days.0), keys::month(days.1));
    let asked: Vec<i32> = if months.1.saturating_sub(months.0) < MONTHS_ASKED {
        (months.0..=months.1).collect()
    } else {
        let values = (
            &home,
            class_number(like.class),
            &device,
            capability,
            months.0,
            months.1,
        );
        let rows: Vec<(i32,)> = on
            .connection
            .rows(&on.statements.months_of_one, values)
            .await?;
        let there: BTreeSet<i32> = rows.into_iter().map(|(month,)| month).collect();
        there.into_iter().collect()
    };
    let statement = &on.statements.chunks(like.class)?.read;
    let from = keys::chunk(like.window, days.0, 0);
    let until = keys::chunk(like.window, days.1, u64::MAX);
    let found: Vec<Vec<(Vec<u8>, i64, Bytes)>> = all_read(
        asked
            .into_iter()
            .map(|month| {
                let values = (&home, &device, capability, month, &from, &until);
                on.connection.rows(statement, values)
            })
            .collect(),
    )
    .await?;
    found
        .into_iter()
        .flatten()
        .filter(|(_, expires, _)| *expires > now.micros())
        .map(|(key, _, sealed)| {
            let key = keys::chunk_from(like, &key)?;
            Ok(StoredChunk { key, sealed })
        })
        .collect()
}

pub(super) async fn delete(on: &CqlSeries, doomed: &[ChunkKey]) -> Result<(), StoreError> {
    let mut partitions: BTreeMap<Partition, BTreeSet<Vec<u8>>> = BTreeMap::new();
    for key in doomed {
        let row = keys::chunk(key.window, key.day, key.generation);
        partitions
            .entry(Partition::of(key))
            .or_default()
            .insert(row);
    }
    let stamp = on.connection.tick();
    let mut writes = Vec::new();
    for (it, rows) in partitions {
        let (home, device) = (on.stored(it.home), it.device.as_bytes().to_vec());
        let delete = &on.statements.chunks(it.class)?.delete;
        for batch in batches(rows, |key| home.len() + 32 + key.len()) {
            let rows: Vec<_> = batch
                .into_iter()
                .map(|key| {
                    let capability = i32::from(it.capability.number());
                    (
                        stamp,
                        home.clone(),
                        device.clone(),
                        capability,
                        it.month,
                        key,
                    )
                })
                .collect();
            writes.push(on.connection.write_together(delete, rows));
        }
    }
    all_written(writes).await
}
