//! Hubs, devices and what they may send: the rules of ingestion, without storage, wire forms or a clock.
//!
//! [`claim`] and [`devices`] are histories; [`hub`] and [`pairing`] are records, whose past must not stay: a hub that
//! is sold takes no trace of its former home along. [`timing`] and [`window`] are the rules of the stream of readings.
//!
//! **Invariant:** nothing here knows how a thing is sent, sealed or stored, or what time it is.

pub mod claim;
pub mod devices;
pub mod hub;
pub mod pairing;
pub mod timing;
pub mod window;

pub use claim::Claim;
pub use devices::Devices;
pub use hub::Hub;
pub use pairing::Pairing;
