//! The engine on the in-memory backend.
