//! hearth-host.
