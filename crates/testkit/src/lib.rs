//! hearth-testkit.
