//! hearth-notifications-domain.
