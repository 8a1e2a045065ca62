//! hearth-ingest-domain.
