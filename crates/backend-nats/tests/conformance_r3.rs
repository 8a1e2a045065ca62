//! The suites on a cluster of three real nats-servers with three copies of each stream: where followers lag, leaders
//! are elected, and two writers' messages may be under way at once.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

#[path = "kit/pool.rs"]
mod pool;
#[path = "kit/suites.rs"]
mod suites;

// Each case makes six streams, and each stream is a group of three that elects its leader.
static POOL: pool::Pool = pool::Pool::new(3, 12);
