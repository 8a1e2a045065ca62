//! hearth-backend-sqlite.
