//! The names of the services, as they stand in stream names, subjects and key owners.

use std::fmt;
use std::str::FromStr;

/// One of Hearth's services. The vault is one for the purpose of owning streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Service {
    /// Identity, sessions, homes, members.
    Accounts,
    /// Hubs, devices, readings.
    Ingest,
    /// Recordings.
    Media,
    /// Rules, preferences, notices.
    Notifications,
    /// Periods, closing, erasure.
    Retention,
    /// Key rings and epochs.
    Vault,
}

impl Service {
    /// Every service, in the order of their names.
    pub const ALL: [Self; 6] = [
        Self::Accounts,
        Self::Ingest,
        Self::Media,
        Self::Notifications,
        Self::Retention,
        Self::Vault,
    ];

    /// The lower-case name: a token of subjects.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accounts => "accounts",
            Self::Ingest => "ingest",
            Self::Media => "media",
            Self::Notifications => "notifications",
            Self::Retention => "retention",
            Self::Vault => "vault",
        }
    }

    /// A stable number, for compact encodings.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Accounts => 1,
            Self::Ingest => 2,
            Self::Media => 3,
            Self::Notifications => 4,
            Self::Retention => 5,
            Self::Vault => 6,
        }
    }

    /// The service with that number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|service| service.number() == number)
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a text is not a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a service")]
pub struct ServiceParseError;

impl FromStr for Service {
    type Err = ServiceParseError;

    fn from_str(text: &str) -> Result<Self, ServiceParseError> {
        Self::ALL
            .into_iter()
            .find(|service| service.name() == text)
            .ok_or(ServiceParseError)
    }
}
