//! hearth-vault.
