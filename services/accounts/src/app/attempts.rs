//! How often a password is tried for one address, known or not: both are counted alike, so the limit tells nothing.
//!
//! It counts before the hash, so that guesses in parallel gain nothing. What is kept for ever is in the account's
//! credentials; this is the memory of one process, and bounded.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hearth_accounts_domain::limits::{FREE_ATTEMPTS, wait_after};
use hearth_kernel::{Failure, Reason, Timestamp};
use uuid::Uuid;

/// Addresses that are remembered: about 60 bytes each.
const MOST: usize = 65_536;
/// After so long without an attempt an address is forgotten.
const FORGET_AFTER: Duration = Duration::from_secs(2 * 3600);

/// The attempts of this process.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    seen: Mutex<HashMap<Uuid, Seen>>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    attempts: u32,
    last: Timestamp,
}

impl Attempts {
    /// Counts an attempt, as failed until [`Self::forgive`] says otherwise.
    ///
    /// # Errors
    /// `TOO_MANY_REQUESTS` with the wait, when attempts failed too often.
    pub(crate) fn enter(&self, address: Uuid, now: Timestamp) -> Result<(), Failure> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= MOST && !seen.contains_key(&address) {
            seen.retain(|_, it| now.since(it.last) < FORGET_AFTER);
            if seen.len() >= MOST {
                // Who guesses at many addresses, each a little, must not keep everybody else out: a count that
                // costs no wait yet is dropped. The account's own count is in its credentials.
                seen.retain(|_, it| it.attempts > FREE_ATTEMPTS);
            }
            if seen.len() >= MOST {
                // Nobody's wait is dropped for a newcomer's sake.
                return Err(limited(Duration::from_secs(60)));
            }
        }
        let entry = seen.entry(address).or_insert(Seen {
            attempts: 0,
            last: now,
        });
        if now.since(entry.last) >= FORGET_AFTER {
            entry.attempts = 0;
        }
        let next = entry.last.plus(wait_after(entry.attempts));
        if entry.attempts > 0 && now < next {
            return Err(limited(next.since(now)));
        }
        entry.attempts = entry.attempts.saturating_add(1);
        entry.last = now;
        Ok(())
    }

    /// Forgets the attempts: the right password was shown.
    pub(crate) fn forgive(&self, address: Uuid) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.remove(&address);
    }
}

fn limited(wait: Duration) -> Failure {
    Failure::new(Reason::TOO_MANY_REQUESTS).retry_after(wait)
}

#[cfg(test)]
mod tests {
    //! Free attempts, waits, and forgiveness.

    use hearth_accounts_domain::limits::FIRST_WAIT;

    use super::*;

    #[test]
    fn waits_begin_after_the_free_attempts_and_end_with_the_right_password() {
        let attempts = Attempts::default();
        let (anna, boris) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let now = Timestamp::from_seconds(1000);
        for _ in 0..=FREE_ATTEMPTS {
            assert_eq!(attempts.enter(anna, now), Ok(()));
        }
        let refused = attempts.enter(anna, now).unwrap_err();
        assert_eq!(refused.retry_after, Some(FIRST_WAIT));
        assert_eq!(attempts.enter(boris, now), Ok(()));
        assert_eq!(attempts.enter(anna, now.plus(FIRST_WAIT)), Ok(()));
        assert!(attempts.enter(anna, now.plus(FIRST_WAIT)).is_err());
        attempts.forgive(anna);
        assert_eq!(attempts.enter(anna, now.plus(FIRST_WAIT)), Ok(()));
    }

    #[test]
    fn guesses_at_very_many_addresses_keep_nobody_out_and_lift_no_wait() {
        let attempts = Attempts::default();
        let now = Timestamp::from_seconds(1000);
        let victim = Uuid::from_u128(1);
        while attempts.enter(victim, now).is_ok() {}
        for n in 2..=70_000 {
            assert_eq!(attempts.enter(Uuid::from_u128(n), now), Ok(()), "{n}");
        }
        assert!(attempts.enter(victim, now).is_err(), "she still waits");
        assert!(attempts.seen.lock().expect("a lock").len() <= MOST);
    }
}
