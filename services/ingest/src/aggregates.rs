//! The deciders of the domain as aggregates of this service.

use hearth_ingest_domain as domain;

hearth_engine::aggregates! {
    /// A hub's pairing with a home.
    Claim = domain::Claim;
    /// A home's devices.
    Devices = domain::Devices;
    /// A hub, and the claim it has now.
    Hub = domain::Hub;
    /// An attempt to pair a hub.
    Pairing = domain::Pairing;
}
