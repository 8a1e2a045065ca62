//! hearth-conformance.
