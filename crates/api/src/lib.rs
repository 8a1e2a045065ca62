//! hearth-api.
