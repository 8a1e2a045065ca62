//! The engine on the in-memory backend: an aggregate of each style, and everything that follows the log.

mod breaking;
mod commands;
mod erasures;
mod failover;
mod followers;
mod jar;
mod replicas;
mod tombstones;
