//! hearth-retention.
