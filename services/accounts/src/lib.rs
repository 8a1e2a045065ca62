//! The accounts service: registration, sign-in, sessions, homes and members, and the closing of an account.
//!
//! `grpc` converts, `app` decides what is asked of which aggregate, `project` says what others learn, `process` does
//! what comes after an answer, `codec` knows the stored form. The rules are in `hearth-accounts-domain`.

mod aggregates;
mod app;
mod codec;
mod erasers;
mod grpc;
mod module;
mod options;
mod process;
mod project;

pub use module::MODULE;
pub use options::Options;
