//! The service on the in-memory backend: what rules find, who is told, and what survives a crash at any step.

mod crashes;
mod erasing;
mod kit;
mod stories;
mod tables;
mod vault;
