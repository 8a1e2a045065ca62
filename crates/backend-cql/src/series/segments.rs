//! Segments: rows of a partition (home, day), found through `segment_days`.

use std::collections::BTreeMap;

use bytes::Bytes;
use hearth_kernel::{Day, HomeId};
use hearth_ports::{SegmentKey, StoreError, StoredSegment};

use super::{CqlSeries, check_sealed, keys};
use crate::connection::{all_written, batches};
use crate::error::partly;

/// Of two segments with one key in a call the last counts: they would share a timestamp.
type Partitions<'a> = BTreeMap<(HomeId, Day), BTreeMap<Vec<u8>, &'a Bytes>>;

pub(super) async fn put(on: &CqlSeries, segments: &[StoredSegment]) -> Result<(), StoreError> {
    let mut partitions = Partitions::new();
    for segment in segments {
        check_sealed(&segment.sealed)?;
        let partition = partitions
            .entry((segment.key.home, segment.key.day))
            .or_default();
        partition.insert(keys::segment(&segment.key), &segment.sealed);
    }
    if partitions.is_empty() {
        return Ok(());
    }
    let (connection, statements) = (&on.connection, &on.statements);
    // One timestamp for the rows and for what they are found by: who deletes between them deletes both or neither.
    let stamp = connection.tick();
    all_written(
        partitions
            .keys()
            .map(|(home, day)| {
                let values = (on.stored(*home), day.number(), stamp);
                connection.write(&statements.put_day, values)
            })
            .collect(),
    )
    .await?;
    let mut writes = Vec::new();
    for ((home, day), rows) in partitions {
        let home = on.stored(home);
        for batch in batches(rows, |(key, sealed)| home.len() + key.len() + sealed.len()) {
            let rows: Vec<_> = batch
                .into_iter()
                .map(|(key, sealed)| (home.clone(), day.number(), key, sealed.clone(), stamp))
                .collect();
            writes.push(connection.write_together(&statements.put_segment, rows));
        }
    }
    all_written(writes).await
}

pub(super) async fn read(
    on: &CqlSeries,
    home: HomeId,
    day: Day,
    after: Option<SegmentKey>,
    limit: usize,
) -> Result<Vec<StoredSegment>, StoreError> {
    let stored = on.stored(home);
    let (connection, statements) = (&on.connection, &on.statements);
    if limit == 0 {
        return Ok(Vec::new());
    }
    let limit = i32::try_from(limit).unwrap_or(i32::MAX);
    let rows: Vec<(Vec<u8>, Bytes)> = match after {
        None => {
            let values = (stored, day.number(), limit);
            connection.rows(&statements.first_segments, values).await?
        }
        Some(after) => {
            let values = (stored, day.number(), keys::segment(&after), limit);
            connection.rows(&statements.next_segments, values).await?
        }
    };
    rows.into_iter()
        .map(|(key, sealed)| {
            let key = keys::segment_from(home, day, &key)?;
            Ok(StoredSegment { key, sealed })
        })
        .collect()
}

pub(super) async fn delete(on: &CqlSeries, doomed: &[SegmentKey]) -> Result<(), StoreError> {
    let Some(first) = doomed.first() else {
        return Ok(());
    };
    if doomed
        .iter()
        .any(|key| (key.home, key.day) != (first.home, first.day))
    {
        return Err(StoreError::terminal(
            "one call deletes in one partition only",
        ));
    }
    let (connection, statements) = (&on.connection, &on.statements);
    let (home, stamp) = (on.stored(first.home), connection.tick());
    let cut = batches(doomed.iter().map(keys::segment), |key| {
        home.len() + key.len()
    });
    all_written(
        cut.into_iter()
            .map(|batch| {
                let rows: Vec<_> = batch
                    .into_iter()
                    .map(|key| (stamp, home.clone(), first.day.number(), key))
                    .collect();
                connection.write_together(&statements.delete_segment, rows)
            })
            .collect(),
    )
    .await
    .map_err(partly)
}
