//! What Cassandra takes: sealed segments and chunks, beside a row for each reading, one by one and in batches of 50.
//!
//! `cargo bench -p hearth-backend-cql --bench series`, with Cassandra in the cache of `cargo xtask servers`. One node,
//! its commit log synced before each ack, everything on one machine: read the ratios. Sizes are of the files after the
//! node has drained. Bodies are random bytes, as sealed ones are, at 2.5 bytes a reading.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench measures the wall's time, prints, and fails by panicking"
)]

use std::fs;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use hearth_backend_cql::{Cql, CqlSeries, Options, Replication, schema};
use hearth_kernel::{
    Capability, ClaimId, Day, DeviceId, HomeId, HubStreamId, RetentionClass, Timestamp,
};
use hearth_ports::{ChunkKey, Clock, SegmentKey, Series, StoredChunk, StoredSegment, SystemClock};
use hearth_servers::{Cache, Cassandra};
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::statement::batch::{Batch, BatchType};

/// The rate is the last one's, when the server is warm; the bytes are those of all.
const ROUNDS: u64 = 3;
const IN_FLIGHT: usize = 256;
const BODY_BYTES: u64 = 16 << 10;
/// At 2.5 bytes each.
const READINGS_OF_A_BODY: u64 = BODY_BYTES * 2 / 5;
const BODIES: u64 = 2_000;
const SINGLES: u64 = 30_000;
const BATCHES: u64 = 6_000;
const BATCH: u64 = 50;

/// Bytes that do not compress: a xorshift generator from a seed.
fn body(seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let words = (0..BODY_BYTES / 8).flat_map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.collect::<Vec<u8>>().into()
}

fn home(number: u64) -> HomeId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&(number % 100).to_be_bytes());
    HomeId::from_bytes(id)
}

fn bytes_in(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    let sizes = entries.flatten().map(|entry| {
        let path = entry.path();
        if path.is_dir() {
            bytes_in(&path)
        } else {
            entry.metadata().map_or(0, |it| it.len())
        }
    });
    sizes.sum()
}

/// Does that many things, so many at once; answers things a second.
async fn rate<F, Fut, E>(count: u64, work: F) -> u64
where
    F: Fn(u64) -> Fut,
    Fut: Future<Output = Result<(), E>>,
    E: std::fmt::Debug,
{
    let begun = Instant::now();
    let works = stream::iter((0..count).map(&work)).buffer_unordered(IN_FLIGHT);
    works.try_collect::<()>().await.expect("a write");
    let millis = begun.elapsed().as_millis().max(1);
    u64::try_from(u128::from(count) * 1000 / millis).unwrap_or(u64::MAX)
}

async fn rows(session: &Session, round: u64) -> [(&'static str, &'static str, u64, u64); 2] {
    for table in ["singles", "batched"] {
        let text = format!(
            "CREATE TABLE IF NOT EXISTS bench.{table} (channel blob, day int, at bigint, value double, \
             PRIMARY KEY ((channel, day), at)) WITH compaction = {{'class': 'TimeWindowCompactionStrategy'}}"
        );
        session.query_unpaged(text, ()).await.expect("a table");
    }
    let insert = |table: &str| {
        format!("INSERT INTO bench.{table} (channel, day, at, value) VALUES (?, 20000, ?, ?)")
    };
    let single = session
        .prepare(insert("singles"))
        .await
        .expect("a statement");
    let value = |number: u64| 20.0 + f64::from(u32::try_from(number % 97).unwrap_or(0)) / 10.0;
    let at = |number: u64| i64::try_from(number * 10_000_000).unwrap_or(0);
    let singles = rate(SINGLES, |number| {
        let number = round * SINGLES + number;
        let values = (home(number).as_bytes().to_vec(), at(number), value(number));
        let (session, single) = (&session, &single);
        async move { session.execute_unpaged(single, values).await.map(drop) }
    })
    .await;
    let many = session
        .prepare(insert("batched"))
        .await
        .expect("a statement");
    let mut batch = Batch::new(BatchType::Unlogged);
    for _ in 0..BATCH {
        batch.append_statement(many.clone());
    }
    let batched = rate(BATCHES, |number| {
        let number = round * BATCHES + number;
        let channel = home(number).as_bytes().to_vec();
        let rows: Vec<_> = (0..BATCH)
            .map(|row| {
                (
                    channel.clone(),
                    at(number * BATCH + row),
                    value(number + row),
                )
            })
            .collect();
        let (session, batch) = (&session, &batch);
        async move { session.batch(batch, rows).await.map(drop) }
    })
    .await;
    [
        (
            "a row a reading, singly",
            "singles",
            singles,
            ROUNDS * SINGLES,
        ),
        (
            "a row a reading, batches of 50",
            "batched",
            batched * BATCH,
            BATCHES * BATCH,
        ),
    ]
}

async fn sealed(series: &CqlSeries, round: u64) -> [(&'static str, &'static str, u64, u64); 2] {
    let segments = rate(BODIES, |number| {
        let number = round * BODIES + number;
        let key = SegmentKey {
            home: home(number),
            day: Day::from_number(20_000),
            class: RetentionClass::Days30,
            claim: ClaimId::from_bytes([1; 16]),
            stream: HubStreamId::from_bytes([2; 16]),
            sequence: number,
        };
        let segment = StoredSegment {
            key,
            sealed: body(number),
        };
        async move { series.put_segments(&[segment]).await }
    })
    .await;
    let expires = Timestamp::from_micros(SystemClock.now().micros() + 20 * 86_400_000_000);
    let chunks = rate(BODIES, |number| {
        let number = round * BODIES + number;
        let key = ChunkKey {
            home: home(number),
            device: DeviceId::from_bytes([3; 16]),
            capability: Capability::from_stored(1),
            class: RetentionClass::Days30,
            day: Day::from_number(20_000),
            window: 0,
            generation: number,
        };
        let chunk = StoredChunk {
            key,
            sealed: body(number),
        };
        async move { series.put_chunks(&[chunk], expires).await }
    })
    .await;
    let all = ROUNDS * BODIES * READINGS_OF_A_BODY;
    [
        (
            "sealed segments of 16 KiB",
            "segments",
            segments * READINGS_OF_A_BODY,
            all,
        ),
        (
            "sealed chunks of 16 KiB",
            "chunks_days30",
            chunks * READINGS_OF_A_BODY,
            all,
        ),
    ]
}

async fn measure(address: String) -> Vec<(&'static str, &'static str, u64, u64)> {
    let options = Options::new(vec![address.clone()], "datacenter1", "bench");
    let cql = Cql::connect(options, Arc::new(SystemClock))
        .await
        .expect("a connection");
    schema::apply(&cql, &Replication::of("datacenter1", 1))
        .await
        .expect("a schema");
    let series = cql.series().await.expect("series");
    let session = SessionBuilder::new()
        .known_node(address)
        .build()
        .await
        .expect("a session");
    let mut last = Vec::new();
    for round in 0..ROUNDS {
        last = rows(&session, round).await.to_vec();
        last.extend(sealed(&series, round).await);
    }
    last
}

fn main() {
    let cache = Cache::of_user().expect("a cache");
    let server = Cassandra::start(&cache).expect("a node of Cassandra");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let measured = runtime.block_on(measure(server.address(0).to_string()));
    // Ended by a signal that makes it write what it holds.
    server.stop(0);
    let tables = server.data(0).join("data").join("bench");
    println!("{:34} {:>14} {:>18}", "", "readings/s", "bytes a reading");
    for (name, table, rate, readings) in measured {
        let folders = fs::read_dir(&tables)
            .expect("the folders of tables")
            .flatten();
        let own =
            folders.filter(|it| it.file_name().to_string_lossy().split('-').next() == Some(table));
        let bytes: u64 = own.map(|it| bytes_in(&it.path())).sum();
        let hundredths = bytes * 100 / readings.max(1);
        println!(
            "{name:34} {rate:>14} {:>15}.{:02}",
            hundredths / 100,
            hundredths % 100
        );
    }
}
