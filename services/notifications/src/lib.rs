//! hearth-notifications.
