//! The numbers that the rules use, in one place, each with its reason.

use std::time::Duration;

/// A second, to spell the others.
const SECOND: Duration = Duration::from_secs(1);
/// A day of 24 hours.
const DAY: Duration = Duration::from_secs(86_400);

/// How long a registration can be confirmed; then it lapses.
pub const REGISTRATION_LIVES: Duration = DAY;
/// How many wrong codes a registration bears.
pub const REGISTRATION_TRIES: u8 = 5;
/// Within this time a second registration of the same address is dropped instead of taking the place of the first:
/// one address gets at most one verification mail in it. It doubles with each that nobody proved.
pub const REGISTRATION_PAUSE: Duration = Duration::from_secs(60);
/// The longest such pause: what nobody proved gets no more mails than what somebody did, and whoever's address is
/// registered by others can still register it herself.
pub const LONGEST_REGISTRATION_PAUSE: Duration = KNOWN_ADDRESS_PAUSE;
/// How often somebody is told by mail that her address was used to register again.
pub const KNOWN_ADDRESS_PAUSE: Duration = Duration::from_secs(3600);

/// How long a session lives without being refreshed.
pub const SESSION_IDLE: Duration = Duration::from_secs(30 * 86_400);
/// How long a session lives at most.
pub const SESSION_LIVES: Duration = Duration::from_secs(180 * 86_400);
/// How long the refresh token before the newest is answered with the newest: what concurrent callers need.
pub const REFRESH_GRACE: Duration = Duration::from_secs(10);
/// Open sessions of one account; a further one ends the oldest.
pub const SESSIONS: usize = 32;
/// How long an ended session is named to others: longer than any access token lives, with their clocks' error.
pub const REVOKED_NAMED: Duration = Duration::from_secs(15 * 60);

/// Keys of access tokens that are published at the same time.
pub const TOKEN_KEYS: usize = 16;

/// Wrong passwords that cost no wait.
pub const FREE_ATTEMPTS: u32 = 4;
/// Wrong passwords in a row that are counted; each further one costs the longest wait again, and no more. NIST SP
/// 800-63B, 3.2.2, would try none from here on, but then whoever knows an address could lock its owner out for ever.
pub const ATTEMPTS: u32 = 100;
/// The wait after the first wrong password that costs one; it doubles with each further one.
pub const FIRST_WAIT: Duration = Duration::from_secs(30);
/// The longest wait between two passwords: 24 guesses a day, and an end that she can wait for.
pub const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// The shortest time in which a closing can be taken back.
pub const SHORTEST_GRACE: Duration = Duration::from_secs(72 * 3600);
/// The longest time in which a closing can be taken back.
pub const LONGEST_GRACE: Duration = Duration::from_secs(30 * 86_400);

/// Homes of one account.
pub const HOMES: usize = 32;
/// How long a membership may be on its way into a home's log; one that did not arrive by then makes room for others.
pub const JOINING_LASTS: Duration = Duration::from_secs(3600);
/// Areas of one home.
pub const AREAS: usize = 256;
/// Members and open invitations of one home, together.
pub const MEMBERS: usize = 64;
/// The shortest time that an invitation can be taken.
pub const SHORTEST_INVITATION: Duration = Duration::from_secs(3600);
/// The longest time that an invitation can be taken.
pub const LONGEST_INVITATION: Duration = Duration::from_secs(30 * 86_400);
/// How long an invitation can be taken unless it says otherwise.
pub const INVITATION: Duration = Duration::from_secs(7 * 86_400);

/// The wait that so many wrong passwords in a row cost.
#[must_use]
pub fn wait_after(failures: u32) -> Duration {
    let Some(costly) = failures.checked_sub(FREE_ATTEMPTS + 1) else {
        return Duration::ZERO;
    };
    // 30 s doubled seven times is above an hour: more shifts change nothing.
    let doubled = FIRST_WAIT.saturating_mul(1 << costly.min(16));
    doubled.clamp(SECOND, LONGEST_WAIT)
}

/// The pause after so many registrations of one address, none of which was proved.
#[must_use]
pub fn pause_after(registrations: u32) -> Duration {
    // A minute doubled six times is above an hour: more shifts change nothing.
    let doubled = REGISTRATION_PAUSE.saturating_mul(1 << registrations.saturating_sub(1).min(16));
    doubled.min(LONGEST_REGISTRATION_PAUSE)
}

#[cfg(test)]
mod tests {
    //! The waits, at their edges.

    use super::*;

    #[test]
    fn waits_grow_from_half_a_minute_to_an_hour_and_always_end() {
        assert_eq!(wait_after(0), Duration::ZERO);
        assert_eq!(wait_after(FREE_ATTEMPTS), Duration::ZERO);
        assert_eq!(wait_after(FREE_ATTEMPTS + 1), FIRST_WAIT);
        assert_eq!(wait_after(FREE_ATTEMPTS + 2), FIRST_WAIT * 2);
        assert_eq!(wait_after(ATTEMPTS - 1), LONGEST_WAIT);
        assert_eq!(wait_after(ATTEMPTS), LONGEST_WAIT);
        assert_eq!(wait_after(u32::MAX), LONGEST_WAIT);
        for n in 1..=ATTEMPTS {
            assert!(wait_after(n) >= wait_after(n - 1), "{n}");
        }
    }

    #[test]
    fn pauses_grow_from_a_minute_to_an_hour() {
        assert_eq!(pause_after(0), REGISTRATION_PAUSE);
        assert_eq!(pause_after(1), REGISTRATION_PAUSE);
        assert_eq!(pause_after(2), REGISTRATION_PAUSE * 2);
        assert_eq!(pause_after(6), REGISTRATION_PAUSE * 32);
        assert_eq!(pause_after(7), LONGEST_REGISTRATION_PAUSE);
        assert_eq!(pause_after(u32::MAX), LONGEST_REGISTRATION_PAUSE);
    }
}
