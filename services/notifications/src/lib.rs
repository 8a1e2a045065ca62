//! The notifications service: rules that find episodes, notices that tell of them, and the mails of other services.
//!
//! `grpc` converts, `app` decides what is asked of which aggregate, `project` says what others learn and keeps the
//! inbox, `codec` knows the stored form. The rules themselves are in `hearth-notifications-domain`.

mod aggregates;
mod app;
mod codec;
mod grpc;
mod module;
mod project;
#[cfg(test)]
mod tests;
mod wire;

pub use module::MODULE;
