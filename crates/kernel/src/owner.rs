//! Whose data a thing is, and what it is kept for: what chooses the key that seals it.

use std::fmt;
use std::time::Duration;

use crate::id::{AccountId, HomeId};
use crate::service::Service;

/// Who a key ring belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Owner {
    /// A person.
    Account(AccountId),
    /// A household or office.
    Home(HomeId),
    /// A service's own secrets: hash keys, signing keys.
    Service(Service),
}

impl Owner {
    /// 17 bytes that are unique to the owner: part of what every seal is bound to.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 17] {
        let mut bytes = [0; 17];
        match self {
            Self::Account(id) => {
                bytes[0] = 1;
                bytes[1..].copy_from_slice(id.as_bytes());
            }
            Self::Home(id) => {
                bytes[0] = 2;
                bytes[1..].copy_from_slice(id.as_bytes());
            }
            Self::Service(service) => {
                bytes[0] = 3;
                bytes[1] = service.number();
            }
        }
        bytes
    }

    /// The owner with those bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (tag, rest) = bytes.split_first()?;
        match tag {
            1 => AccountId::from_slice(rest).map(Self::Account),
            2 => HomeId::from_slice(rest).map(Self::Home),
            3 if rest.len() == 16 && rest[1..].iter().all(|byte| *byte == 0) => {
                Service::from_number(rest[0]).map(Self::Service)
            }
            _ => None,
        }
    }

    /// The token that names the owner in a subject: `account-<id>`, `home-<id>` or `service-<name>`.
    #[must_use]
    pub fn token(self) -> String {
        match self {
            Self::Account(id) => format!("account-{id}"),
            Self::Home(id) => format!("home-{id}"),
            Self::Service(service) => format!("service-{service}"),
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.token())
    }
}

/// How long readings and recordings of a kind are kept after they were observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RetentionClass {
    /// 7 days.
    Days7,
    /// 30 days.
    Days30,
    /// 90 days.
    Days90,
    /// 400 days.
    Days400,
    /// Five years of 365 days and a leap day: 1,826 days.
    Years5,
    /// Rollups: 25 months, 762 days.
    Rollups,
}

impl RetentionClass {
    /// Every class, shortest first; rollups last.
    pub const ALL: [Self; 6] = [
        Self::Days7,
        Self::Days30,
        Self::Days90,
        Self::Days400,
        Self::Years5,
        Self::Rollups,
    ];

    /// The period in days.
    #[must_use]
    pub const fn days(self) -> u16 {
        match self {
            Self::Days7 => 7,
            Self::Days30 => 30,
            Self::Days90 => 90,
            Self::Days400 => 400,
            Self::Years5 => 1826,
            Self::Rollups => 762,
        }
    }

    /// The period.
    #[must_use]
    pub fn period(self) -> Duration {
        Duration::from_secs(u64::from(self.days()) * 86_400)
    }

    /// How long one generation of keys of this class is used for sealing: an eighth of the period, at least a day.
    #[must_use]
    pub fn slot(self) -> Duration {
        (self.period() / 8).max(Duration::from_secs(86_400))
    }

    /// A stable number, for encodings and keys.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Days7 => 1,
            Self::Days30 => 2,
            Self::Days90 => 3,
            Self::Days400 => 4,
            Self::Years5 => 5,
            Self::Rollups => 6,
        }
    }

    /// The class with that number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.number() == number)
    }
}

/// What a data key is for. A thing sealed for one purpose does not open for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Purpose {
    /// An account's name, address and settings.
    Profile,
    /// An account's notices.
    Inbox,
    /// Where an account's notices go: addresses, for as long as the account lives.
    Delivery,
    /// What must outlive closing, each category with its own period.
    Records,
    /// A home's names of areas and devices.
    Home,
    /// Readings that rules act on.
    Signals,
    /// Readings of one retention class.
    Telemetry(RetentionClass),
    /// Recordings of one retention class.
    Media(RetentionClass),
    /// A service's key for hashes (e-mail index, commit ids).
    Hashing,
    /// A service's key for signatures (access tokens, receipts).
    Signing,
}

impl Purpose {
    /// A stable number: family in the high byte, class in the low one.
    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            Self::Profile => 0x0100,
            Self::Inbox => 0x0200,
            Self::Records => 0x0300,
            Self::Home => 0x0400,
            Self::Signals => 0x0500,
            Self::Telemetry(class) => 0x0600 | class.number() as u16,
            Self::Media(class) => 0x0700 | class.number() as u16,
            Self::Hashing => 0x0800,
            Self::Signing => 0x0900,
            Self::Delivery => 0x0a00,
        }
    }

    /// The purpose with that number.
    #[must_use]
    pub fn from_number(number: u16) -> Option<Self> {
        let [family, low] = number.to_be_bytes();
        match (family, low) {
            (1, 0) => Some(Self::Profile),
            (2, 0) => Some(Self::Inbox),
            (3, 0) => Some(Self::Records),
            (4, 0) => Some(Self::Home),
            (5, 0) => Some(Self::Signals),
            (6, class) => RetentionClass::from_number(class).map(Self::Telemetry),
            (7, class) => RetentionClass::from_number(class).map(Self::Media),
            (8, 0) => Some(Self::Hashing),
            (9, 0) => Some(Self::Signing),
            (10, 0) => Some(Self::Delivery),
            _ => None,
        }
    }

    /// The period after which a generation of this purpose is destroyed, if it has one.
    ///
    /// `signals` are kept 7 days with the frames that carry them; `inbox` 90 days (privacy notice).
    #[must_use]
    pub fn class(self) -> Option<RetentionClass> {
        match self {
            Self::Telemetry(class) | Self::Media(class) => Some(class),
            Self::Signals => Some(RetentionClass::Days7),
            Self::Inbox => Some(RetentionClass::Days90),
            Self::Profile
            | Self::Delivery
            | Self::Records
            | Self::Home
            | Self::Hashing
            | Self::Signing => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_bytes_go_both_ways() {
        let classes = RetentionClass::ALL;
        let purposes = [
            Purpose::Profile,
            Purpose::Inbox,
            Purpose::Delivery,
            Purpose::Records,
            Purpose::Home,
            Purpose::Signals,
            Purpose::Hashing,
            Purpose::Signing,
        ];
        let all = purposes
            .into_iter()
            .chain(classes.map(Purpose::Telemetry))
            .chain(classes.map(Purpose::Media));
        for purpose in all {
            assert_eq!(Purpose::from_number(purpose.number()), Some(purpose));
        }
        for owner in [
            Owner::Account(AccountId::from_bytes([7; 16])),
            Owner::Home(HomeId::from_bytes([8; 16])),
            Owner::Service(Service::Accounts),
        ] {
            assert_eq!(Owner::from_bytes(&owner.to_bytes()), Some(owner));
        }
        assert_eq!(Owner::from_bytes(&[]), None);
        assert_eq!(Owner::from_bytes(&[3; 17]), None);
    }
}
