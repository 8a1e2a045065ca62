//! hearth-ports.
