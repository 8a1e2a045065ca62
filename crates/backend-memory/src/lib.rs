//! hearth-backend-memory.
