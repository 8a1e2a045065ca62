//! Commit tokens: "read what I wrote", in the same service and across services.

use hearth_kernel::Service;
use hearth_ports::Position;

/// Names a commit of a service's history. Opaque to clients; not a secret, and it names nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CommitToken {
    /// The service.
    pub service: Service,
    /// The commit's position in EVT.
    pub position: Position,
}

impl CommitToken {
    /// 13 bytes.
    #[must_use]
    pub fn to_bytes(self) -> Vec<u8> {
        let mut bytes = vec![self.service.number()];
        bytes.extend_from_slice(&self.position.to_bytes());
        bytes
    }

    /// The token of those bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (service, position) = bytes.split_first()?;
        Some(Self {
            service: Service::from_number(*service)?,
            position: Position::from_bytes(position)?,
        })
    }
}
