//! Who asks for what, once: the context of a command, and what became of it.

use std::sync::Arc;

use hearth_kernel::{AccountId, CommitId, HubId, MembershipId, Service};
use hearth_ports::Position;

use crate::aggregate::Aggregate;

/// Who did something, by ids only. In a home's log a person is a membership, never an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actor {
    /// Nobody signed in.
    Nobody,
    /// A person, in her own log.
    Account(AccountId),
    /// A member, in a home's log.
    Member(MembershipId),
    /// A hub.
    Hub(HubId),
    /// A service, by itself or as a process manager.
    Service(Service),
}

impl Actor {
    /// 17 bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 17] {
        let mut bytes = [0; 17];
        match self {
            Self::Nobody => {}
            Self::Account(id) => {
                bytes[0] = 1;
                bytes[1..].copy_from_slice(id.as_bytes());
            }
            Self::Member(id) => {
                bytes[0] = 2;
                bytes[1..].copy_from_slice(id.as_bytes());
            }
            Self::Hub(id) => {
                bytes[0] = 3;
                bytes[1..].copy_from_slice(id.as_bytes());
            }
            Self::Service(service) => {
                bytes[0] = 4;
                bytes[1] = service.number();
            }
        }
        bytes
    }

    /// The actor of those bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (tag, rest) = bytes.split_first()?;
        match tag {
            0 => Some(Self::Nobody),
            1 => AccountId::from_slice(rest).map(Self::Account),
            2 => MembershipId::from_slice(rest).map(Self::Member),
            3 => HubId::from_slice(rest).map(Self::Hub),
            4 => rest
                .first()
                .and_then(|n| Service::from_number(*n))
                .map(Self::Service),
            _ => None,
        }
    }
}

/// One request, as the engine sees it. Two calls with the same commit id are one request.
#[derive(Clone, Debug)]
pub struct Call {
    /// From [`crate::Hasher::commit_id`]. One per (request, aggregate): derive another for a second aggregate.
    pub commit: CommitId,
    /// From [`crate::Hasher::fingerprint`].
    pub fingerprint: [u8; 16],
    /// Who.
    pub actor: Actor,
    /// The commit that caused it, for process managers.
    pub causation: Option<CommitId>,
    /// W3C `traceparent`, or empty.
    pub trace: String,
}

/// What a command led to.
pub struct Outcome<A: Aggregate> {
    /// The state after it.
    pub state: Arc<A::State>,
    /// What happened: empty when nothing had to. Of a repeated call: what happened the first time, when the
    /// log still holds it.
    pub events: Vec<A::Event>,
    /// The commit that answers this call.
    pub commit: CommitId,
    /// Where it lies: a commit token waits for it. `None` when nothing was ever appended.
    pub position: Option<Position>,
    /// The aggregate's version after it.
    pub version: u64,
    /// Whether an earlier call with the same id had done it.
    pub repeated: bool,
}

impl<A: Aggregate> std::fmt::Debug for Outcome<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Outcome({} v{}, {} events)",
            A::KIND,
            self.version,
            self.events.len()
        )
    }
}
