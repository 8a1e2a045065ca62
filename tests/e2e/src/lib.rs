//! hearth-e2e.
