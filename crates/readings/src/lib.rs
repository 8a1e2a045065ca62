//! hearth-readings.
