//! hearth-retention-domain.
