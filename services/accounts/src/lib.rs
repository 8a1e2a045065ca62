//! hearth-accounts.
