//! hearth-kernel.
