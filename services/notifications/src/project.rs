//! What follows from the service's history: the inbox that people read, and what others learn.

pub(crate) mod inbox;
pub(crate) mod publish;
