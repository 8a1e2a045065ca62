//! The words every other crate speaks: ids, time, owners and purposes, failures, sealed parts, and the
//! [`Decider`] that every aggregate is.
//!
//! **Invariant:** no I/O, no async, no clock, no randomness, no wire format. What the outside knows (the
//! time, a new id, an opened text) comes in as an argument, so that a rule can be tested by calling it.

pub mod aggregate;
pub mod capability;
pub mod decider;
pub mod failure;
pub mod id;
pub mod laws;
pub mod owner;
pub mod part;
pub mod reason;
pub mod role;
pub mod secret;
pub mod service;
pub mod time;

pub use aggregate::{AggregateKind, AggregateRef};
pub use capability::Capability;
pub use decider::Decider;
pub use failure::{Failure, Kind, Violation, Violations};
pub use id::{
    AccountId, AreaId, CaseId, ClaimId, CommitId, DeviceId, EpisodeId, ErasureId, HomeId, HubId,
    HubStreamId, IdParseError, InstallationId, InvitationId, KeyId, MembershipId, NoticeId,
    PairingId, ReceiptId, RegistrationId, RequestId, RuleId, SessionId, TokenId,
};
pub use owner::{Owner, Purpose, RetentionClass};
pub use part::{Origin, Part, PartSlot, Parts, Sealed};
pub use reason::Reason;
pub use role::Role;
pub use secret::Secret;
pub use service::Service;
pub use time::{Day, Timestamp};
