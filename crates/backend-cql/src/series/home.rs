//! What a home has: its days, the homes there are, and the end of one.

use hearth_kernel::{Day, HomeId, RetentionClass};
use hearth_ports::StoreError;
use scylla::response::PagingState;

use super::{CqlSeries, chunks};
use crate::connection::{all_read, all_written, batches};

/// A row of `segment_days` that points at nothing goes when it is older than this: whoever wrote it has long written
/// its segment or failed, and what a node kept for another has been handed over.
const EMPTY_DAY_GOES_AFTER: i64 = 86_400 * 1_000_000;
/// Days whose partitions are looked into at once.
const DAYS_AT_ONCE: usize = 64;

pub(super) async fn segment_days(
    on: &CqlSeries,
    home: HomeId,
    limit: usize,
) -> Result<Vec<Day>, StoreError> {
    let stored = on.stored(home);
    let listed: Vec<(i32, i64)> = on.connection.rows(&on.statements.days, (&stored,)).await?;
    let now = on.connection.clock.now().micros();
    let mut days = Vec::new();
    for some in listed.chunks(DAYS_AT_ONCE) {
        if days.len() >= limit {
            break;
        }
        let there = all_read(
            some.iter()
                .map(|(day, _)| {
                    let values = (&stored, *day);
                    on.connection
                        .rows::<(Vec<u8>,)>(&on.statements.any_segment, values)
                })
                .collect(),
        )
        .await?;
        let mut stale = Vec::new();
        for ((day, written), segments) in some.iter().zip(there) {
            if !segments.is_empty() {
                days.push(Day::from_number(*day));
            } else if written.saturating_add(EMPTY_DAY_GOES_AFTER) < now {
                // As of its own timestamp: whoever writes the day again writes a newer row.
                stale.push((*written, stored.clone(), *day));
            }
        }
        on.connection
            .write_together(&on.statements.delete_day, stale)
            .await?;
    }
    days.truncate(limit);
    Ok(days)
}

/// Walks the ring. Homes whose rows point at nothing are left out.
pub(super) async fn homes(
    on: &CqlSeries,
    after: Option<HomeId>,
    limit: usize,
) -> Result<Vec<HomeId>, StoreError> {
    let after = after.map(|home| on.stored(home));
    let mut found = Vec::new();
    let mut from = PagingState::start();
    loop {
        let (rows, next): (Vec<(Vec<u8>,)>, _) = match &after {
            None => {
                let page = on.connection.page(&on.statements.first_homes, (), from);
                page.await?
            }
            Some(after) => {
                let page = on
                    .connection
                    .page(&on.statements.next_homes, (after,), from);
                page.await?
            }
        };
        for home in rows.iter().filter_map(|(stored,)| on.home(stored)) {
            if found.len() >= limit {
                return Ok(found);
            }
            if !segment_days(on, home, 1).await?.is_empty() {
                found.push(home);
            }
        }
        match next {
            Some(next) => from = next,
            None => return Ok(found),
        }
    }
}

/// Walks the ring. A partition without a row is none to the store.
pub(super) async fn manifest_homes(
    on: &CqlSeries,
    after: Option<HomeId>,
    limit: usize,
) -> Result<Vec<HomeId>, StoreError> {
    let after = after.map(|home| on.stored(home));
    let mut found = Vec::new();
    let mut from = PagingState::start();
    while found.len() < limit {
        let (rows, next): (Vec<(Vec<u8>,)>, _) = match &after {
            None => {
                let page = on.connection.page(&on.statements.first_manifests, (), from);
                page.await?
            }
            Some(after) => {
                let next = &on.statements.next_manifests;
                on.connection.page(next, (after,), from).await?
            }
        };
        found.extend(rows.iter().filter_map(|(stored,)| on.home(stored)));
        match next {
            Some(next) => from = next,
            None => break,
        }
    }
    found.truncate(limit);
    Ok(found)
}

/// Everything as of one timestamp, first what lies in partitions of its own, then exactly the rows that it was found
/// by. Manifest and latest rows go as of the timestamps they were read with, which are ranks and times and not now: a
/// greater rank, or a newer observation, of a home that goes on counts again.
pub(super) async fn delete(on: &CqlSeries, home: HomeId) -> Result<(), StoreError> {
    let stamp = on.connection.tick();
    delete_segments(on, home, stamp).await?;
    delete_chunks(on, home, stamp).await?;
    delete_rows(on, home).await
}

async fn delete_segments(on: &CqlSeries, home: HomeId, stamp: i64) -> Result<(), StoreError> {
    let (connection, statements, stored) = (&on.connection, &on.statements, on.stored(home));
    let days: Vec<(i32, i64)> = connection.rows(&statements.days, (&stored,)).await?;
    all_written(
        days.iter()
            .map(|(day, _)| {
                let values = (stamp, &stored, *day);
                connection.write(&statements.drop_segments, values)
            })
            .collect(),
    )
    .await?;
    let rows = batches(days, |_| stored.len() + 16)
        .into_iter()
        .map(|days| {
            let rows: Vec<_> = days
                .into_iter()
                .map(|(day, _)| (stamp, stored.clone(), day))
                .collect();
            connection.write_together(&statements.delete_day, rows)
        });
    all_written(rows.collect()).await
}

/// class, device, capability, month, until.
type Month = (i8, Vec<u8>, i32, i32, i32);

async fn delete_chunks(on: &CqlSeries, home: HomeId, stamp: i64) -> Result<(), StoreError> {
    let (connection, statements, stored) = (&on.connection, &on.statements, on.stored(home));
    let months: Vec<Month> = connection.rows(&statements.months, (&stored,)).await?;
    let mut writes = Vec::new();
    for (class, device, capability, month, _) in &months {
        let class = RetentionClass::ALL
            .into_iter()
            .find(|it| chunks::class_number(*it) == *class)
            .ok_or_else(|| StoreError::terminal("a class's number is malformed"))?;
        let drop = &statements.chunks(class)?.drop;
        let values = (stamp, &stored, device, *capability, *month);
        writes.push(connection.write(drop, values));
    }
    all_written(writes).await?;
    let rows = batches(months, |_| stored.len() + 48)
        .into_iter()
        .map(|months| {
            let rows: Vec<_> = months
                .into_iter()
                .map(|(class, device, capability, month, until)| {
                    (
                        stamp,
                        stored.clone(),
                        class,
                        device,
                        capability,
                        month,
                        until,
                    )
                })
                .collect();
            connection.write_together(&statements.delete_month, rows)
        });
    all_written(rows.collect()).await
}

async fn delete_rows(on: &CqlSeries, home: HomeId) -> Result<(), StoreError> {
    let (connection, statements, stored) = (&on.connection, &on.statements, on.stored(home));
    let ranks: Vec<(i32, i64)> = connection
        .rows(&statements.manifest_ranks, (&stored,))
        .await?;
    let rows = batches(ranks, |_| stored.len() + 16)
        .into_iter()
        .map(|ranks| {
            let rows: Vec<_> = ranks
                .into_iter()
                .map(|(day, rank)| (rank, stored.clone(), day))
                .collect();
            connection.write_together(&statements.delete_manifest, rows)
        });
    all_written(rows.collect()).await?;
    let times: Vec<(Vec<u8>, i32, i64)> = connection
        .rows(&statements.latest_times, (&stored,))
        .await?;
    let rows = batches(times, |_| stored.len() + 48)
        .into_iter()
        .map(|times| {
            let rows: Vec<_> = times
                .into_iter()
                .map(|(device, capability, observed)| {
                    (observed, stored.clone(), device, capability)
                })
                .collect();
            connection.write_together(&statements.delete_latest, rows)
        });
    all_written(rows.collect()).await
}
