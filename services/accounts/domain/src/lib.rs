//! hearth-accounts-domain.
