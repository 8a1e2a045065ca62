//! The bounds of notifications, each with its reason.

use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

/// The most rules of one home: each is looked at for every signal.
pub const RULES: usize = 100;
/// The most devices, and the most areas, that one rule names.
pub const NAMED: usize = 64;
/// The most areas that are armed by name: a home has no more.
pub const AREAS: usize = 256;

/// The shortest time that heating must have been on.
pub const SHORTEST_AFTER: Duration = MINUTE;
/// The longest time that heating must have been on: signals are kept no longer.
pub const LONGEST_AFTER: Duration = Duration::from_secs(7 * 86_400);
/// The shortest time without motion that ends an episode.
pub const SHORTEST_COOLDOWN: Duration = Duration::from_secs(10);
/// The longest time without motion that ends an episode.
pub const LONGEST_COOLDOWN: Duration = DAY;
/// The time without motion that ends an episode, unless it is chosen.
pub const USUAL_COOLDOWN: Duration = Duration::from_secs(300);

/// Heating that is off, or a home that is in use, for less than this ends no episode: not longer than the shortest
/// [`SHORTEST_AFTER`], so that it never hides a second episode.
pub const HYSTERESIS: Duration = MINUTE;
/// A device's clock may be ahead by so much (DESIGN section 5); what is further ahead is passed over.
pub const AHEAD: Duration = Duration::from_secs(300);
/// A signal that took longer than this comes from a hub's buffer, and more of it may follow.
pub const LATE: Duration = MINUTE;
/// After a late signal, a claim counts as caught up when nothing came for this long.
pub const QUIET: Duration = Duration::from_secs(30);
/// An episode that began longer ago than this when it is found makes no notice.
pub const TOO_OLD: Duration = Duration::from_secs(7 * 86_400);
/// The most hub claims whose progress a home remembers; the one longest silent is forgotten.
pub const CLAIMS: usize = 64;

/// When a mail is tried: at once, and so long after each failure.
pub const LADDER: [Duration; 7] = [
    Duration::ZERO,
    Duration::from_secs(2),
    Duration::from_secs(10),
    MINUTE,
    Duration::from_secs(300),
    Duration::from_secs(1800),
    Duration::from_secs(7200),
];
/// A notice by mail is of no use after this.
pub const NOTICE_EXPIRES: Duration = Duration::from_secs(6 * 3600);
/// Notices are kept for so long (privacy notice).
pub const NOTICE_KEPT: Duration = Duration::from_secs(90 * 86_400);
/// Episodes and mails are kept for so long after they are made: as long as the events that tell of them.
pub const EPISODE_KEPT: Duration = Duration::from_secs(30 * 86_400);

/// The shortest mute that ends by itself.
pub const SHORTEST_MUTE: Duration = MINUTE;
/// The longest mute that ends by itself.
pub const LONGEST_MUTE: Duration = Duration::from_secs(366 * 86_400);
