//! The accounts service: registration, sign-in, sessions, homes and members, and the closing of an account.
//!
//! `grpc` converts, `app` decides what is asked of which aggregate, `project` says what others learn, `codec` knows the
//! stored form. The rules themselves are in `hearth-accounts-domain`.

mod aggregates;
mod codec;
