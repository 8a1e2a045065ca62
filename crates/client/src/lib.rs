//! hearth-client.
