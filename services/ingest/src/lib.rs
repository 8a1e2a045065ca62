//! hearth-ingest.
