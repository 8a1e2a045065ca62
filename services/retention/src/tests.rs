//! Erasures through whole services, on memory and on real files: to the receipts, through crashes, past other people.

mod end_to_end;
mod fake;
mod fuse;
mod rpcs;
mod wire;
mod world;
