//! Rates per caller and method, in a table that cannot grow without end.
//!
//! One number per bucket: the time at which it is full again (GCRA). A bucket that is full says nothing and may go; when
//! the table holds no such bucket, newcomers share one per method, so that a flood of addresses slows newcomers and never
//! forgives anybody.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hearth_kernel::AccountId;

/// How often one caller may call a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Calls per minute in the long run; 0 means no limit.
    pub per_minute: u32,
    /// Calls at once after a rest; at least 1.
    pub burst: u32,
}

impl Rate {
    /// No limit: for what has its own (credit of a stream, say).
    pub const UNLIMITED: Self = Self {
        per_minute: 0,
        burst: 1,
    };
    /// For reads and light commands: 1,200 a minute (20 a second), 200 at once.
    pub const USUAL: Self = Self {
        per_minute: 1200,
        burst: 200,
    };
    /// For what costs a password hash or a mail: 30 a minute, 10 at once.
    pub const COSTLY: Self = Self {
        per_minute: 30,
        burst: 10,
    };

    /// That many calls per minute, and at once after a rest.
    #[must_use]
    pub const fn per_minute(per_minute: u32, burst: u32) -> Self {
        Self { per_minute, burst }
    }

    fn interval(self) -> Option<Duration> {
        Duration::from_secs(60).checked_div(self.per_minute)
    }
}

/// The limits of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Calls in flight at once, streams not counted. Each holds a handler's memory.
    pub calls: usize,
    /// Streams open at once: about three per home of a thousand homes.
    pub streams: usize,
    /// Callers whose rates are remembered, about 100 B each.
    pub callers: usize,
    /// Whether rates are kept at all. Off in benches only.
    pub rates: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            calls: 1024,
            streams: 4096,
            callers: 65_536,
            rates: true,
        }
    }
}

/// Whose rate it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Caller {
    /// A signed-in person, wherever she is.
    Account(AccountId),
    /// Somebody at an address.
    Network(IpAddr),
    /// Somebody without an address: a call inside the process, or a Unix socket.
    Local,
    /// Everybody for whom the table has no room.
    Crowd,
}

/// The buckets.
#[derive(Debug)]
pub struct Buckets {
    most: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// When each bucket is full again, in time since the table began.
    full_at: HashMap<(u32, Caller), Duration>,
    /// When the table was last swept of full buckets.
    swept_at: Duration,
}

/// Time between two sweeps of a full table.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

impl Buckets {
    /// A table for that many buckets.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self {
            most,
            state: Mutex::default(),
        }
    }

    /// Takes one from the caller's bucket for a method; `now` never goes back.
    ///
    /// # Errors
    /// How long until there is one.
    pub fn take(
        &self,
        method: u32,
        caller: Caller,
        rate: Rate,
        now: Duration,
    ) -> Result<(), Duration> {
        let Some(interval) = rate.interval() else {
            return Ok(());
        };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut key = (method, caller);
        if state.full_at.len() >= self.most && !state.full_at.contains_key(&key) {
            if now >= state.swept_at + SWEEP_EVERY {
                state.full_at.retain(|_, full_at| *full_at > now);
                state.swept_at = now;
            }
            if state.full_at.len() >= self.most {
                key.1 = Caller::Crowd;
            }
        }
        let full_at = state.full_at.get(&key).copied().unwrap_or(now).max(now) + interval;
        let room = interval * rate.burst.max(1);
        let wait = (full_at - now).saturating_sub(room);
        if wait.is_zero() {
            state.full_at.insert(key, full_at);
            Ok(())
        } else {
            Err(wait)
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.state.lock().expect("not poisoned").full_at.len()
    }
}

#[cfg(test)]
mod tests {
    //! Bursts, refills, and the bound of the table.

    use proptest::prelude::*;

    use super::*;

    const RATE: Rate = Rate::per_minute(60, 3);

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn network(number: u32) -> Caller {
        Caller::Network(IpAddr::from(number.to_be_bytes()))
    }

    #[test]
    fn a_burst_then_one_per_interval() {
        let buckets = Buckets::new(10);
        let take = |now| buckets.take(1, network(1), RATE, now);
        for _ in 0..3 {
            assert_eq!(take(at(0)), Ok(()));
        }
        assert_eq!(take(at(0)), Err(at(1000)));
        assert_eq!(take(at(400)), Err(at(600)));
        assert_eq!(take(at(1000)), Ok(()));
        assert_eq!(take(at(1000)), Err(at(1000)));
        assert_eq!(
            buckets.take(2, network(1), RATE, at(1000)),
            Ok(()),
            "another method"
        );
        assert_eq!(
            buckets.take(1, network(2), RATE, at(1000)),
            Ok(()),
            "another caller"
        );
    }

    #[test]
    fn no_limit_takes_no_room() {
        let buckets = Buckets::new(10);
        for _ in 0..100 {
            assert_eq!(
                buckets.take(1, Caller::Local, Rate::UNLIMITED, at(0)),
                Ok(())
            );
        }
        assert_eq!(buckets.len(), 0);
    }

    #[test]
    fn a_flood_of_addresses_forgives_nobody() {
        let buckets = Buckets::new(4);
        for _ in 0..3 {
            let _ = buckets.take(1, network(0), RATE, at(0));
        }
        for number in 1..1000 {
            let _ = buckets.take(1, network(number), RATE, at(0));
        }
        assert!(
            buckets.take(1, network(0), RATE, at(0)).is_err(),
            "still remembered"
        );
        assert!(
            buckets.take(1, network(9999), RATE, at(0)).is_err(),
            "newcomers share one"
        );
        assert!(buckets.len() <= 5, "four, and the crowd");
        assert_eq!(
            buckets.take(1, network(9999), RATE, at(4000)),
            Ok(()),
            "full buckets went"
        );
    }

    proptest! {
        #[test]
        fn nobody_gets_more_than_burst_and_rate(steps in prop::collection::vec(0_u64..3000, 1..200)) {
            let buckets = Buckets::new(10);
            let (mut now, mut taken) = (0, 0);
            for step in steps {
                now += step;
                taken += u64::from(buckets.take(1, Caller::Local, RATE, at(now)).is_ok());
                prop_assert!(taken <= 3 + now / 1000);
            }
        }
    }
}
