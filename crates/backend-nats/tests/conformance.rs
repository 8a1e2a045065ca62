//! The suites on one real nats-server, as they are, over reopenings, and behind faults.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

#[path = "kit/pool.rs"]
mod pool;
#[path = "kit/suites.rs"]
mod suites;

static POOL: pool::Pool = pool::Pool::new(1, 60);
