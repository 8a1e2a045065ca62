//! What every process knows of people, from the facts that accounts publishes: which sessions stand, which
//! keys sign tokens, who is a member of which home.
//!
//! **Invariants:** nothing here asks accounts anything: it follows `STATE_ACCOUNTS`. Absent means no for a
//! membership and not revoked for a session; when that cannot be known, the answer is "stale", never a guess.
//! Home-level authorisation of every service goes through [`Access::require`], and nowhere else.

mod access;
mod fact;
mod member;

pub use access::{Access, TOKEN_KEYS};
pub use member::{HomeFacts, Member};
