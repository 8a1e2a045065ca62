//! When somebody is told something: rules and arming, the episodes they lead to, preferences, notices and mails.
//!
//! [`rules`] and [`preferences`] are lasting histories; [`episode`], [`notice`] and [`mail`] are episodic ones.
//! [`watch`] is no aggregate: it is what the rules of one home have seen, a pure machine from signals to episodes.
//!
//! **Invariant:** nothing here knows how a thing is stored, sent or sealed, or what time it is. Ids, times and
//! facts about homes arrive as arguments.

pub mod delivery;
pub mod episode;
pub mod limits;
pub mod mail;
pub mod notice;
pub mod preferences;
pub mod rules;
pub mod watch;

pub use delivery::{Delivery, Outcome, Tried};
pub use episode::Episode;
pub use mail::Mail;
pub use notice::Notice;
pub use preferences::{Channel, Channels, Preferences, Topic};
pub use rules::Rules;
pub use watch::Watch;
