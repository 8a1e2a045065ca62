//! Who may seal and open what: one compiled table of service x purpose x use (DESIGN section 4).
//!
//! What is not listed is denied. Every service repeats its rows in its module; a test compares the two.
//! The owner decides too: a home has no profile, and a service's own keys are for that service alone.

use hearth_kernel::{Owner, Purpose, RetentionClass, Service};

/// What a service does with a purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Use {
    /// Makes sealed values.
    Seal,
    /// Reads sealed values.
    Open,
}

/// One row: what one service may do with one purpose. Purposes with classes have a row per class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Permission {
    /// The service.
    pub service: Service,
    /// The purpose.
    pub purpose: Purpose,
    /// Whether it may seal.
    pub seal: bool,
    /// Whether it may open.
    pub open: bool,
}

/// A purpose without its class: what the table distinguishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Group {
    Profile,
    Inbox,
    Delivery,
    Records,
    Home,
    Signals,
    Telemetry,
    Media,
    Hashing,
    Signing,
}

const BOTH: (bool, bool) = (true, true);
const SEAL: (bool, bool) = (true, false);
const OPEN: (bool, bool) = (false, true);

/// The table. Notifications opens signals, notices and delivery addresses, never profiles, names, telemetry
/// or media.
const TABLE: &[(Service, Group, (bool, bool))] = &[
    (Service::Accounts, Group::Profile, BOTH),
    (Service::Accounts, Group::Records, BOTH),
    (Service::Accounts, Group::Inbox, SEAL),
    (Service::Accounts, Group::Delivery, BOTH),
    (Service::Accounts, Group::Home, BOTH),
    (Service::Accounts, Group::Hashing, BOTH),
    (Service::Accounts, Group::Signing, BOTH),
    (Service::Ingest, Group::Home, BOTH),
    (Service::Ingest, Group::Telemetry, BOTH),
    (Service::Ingest, Group::Signals, SEAL),
    (Service::Ingest, Group::Hashing, BOTH),
    (Service::Ingest, Group::Signing, BOTH),
    (Service::Media, Group::Media, BOTH),
    (Service::Media, Group::Hashing, BOTH),
    (Service::Media, Group::Signing, BOTH),
    (Service::Notifications, Group::Signals, BOTH),
    (Service::Notifications, Group::Inbox, BOTH),
    (Service::Notifications, Group::Delivery, OPEN),
    (Service::Notifications, Group::Hashing, BOTH),
    (Service::Notifications, Group::Signing, BOTH),
    (Service::Retention, Group::Records, BOTH),
    (Service::Retention, Group::Hashing, BOTH),
    (Service::Retention, Group::Signing, BOTH),
    (Service::Vault, Group::Hashing, BOTH),
    (Service::Vault, Group::Signing, BOTH),
];

fn group(purpose: Purpose) -> Group {
    match purpose {
        Purpose::Profile => Group::Profile,
        Purpose::Inbox => Group::Inbox,
        Purpose::Delivery => Group::Delivery,
        Purpose::Records => Group::Records,
        Purpose::Home => Group::Home,
        Purpose::Signals => Group::Signals,
        Purpose::Telemetry(_) => Group::Telemetry,
        Purpose::Media(_) => Group::Media,
        Purpose::Hashing => Group::Hashing,
        Purpose::Signing => Group::Signing,
    }
}

/// Every purpose that an owner of that sort may have keys of.
#[must_use]
pub fn purposes_of(owner: Owner) -> Vec<Purpose> {
    match owner {
        Owner::Account(_) => vec![
            Purpose::Profile,
            Purpose::Inbox,
            Purpose::Delivery,
            Purpose::Records,
        ],
        Owner::Home(_) => [Purpose::Home, Purpose::Signals]
            .into_iter()
            .chain(RetentionClass::ALL.map(Purpose::Telemetry))
            .chain(RetentionClass::ALL.map(Purpose::Media))
            .collect(),
        Owner::Service(_) => vec![Purpose::Records, Purpose::Hashing, Purpose::Signing],
    }
}

/// Whether a service may do that with that owner's purpose.
#[must_use]
pub fn permits(service: Service, owner: Owner, purpose: Purpose, what: Use) -> bool {
    let own = match owner {
        Owner::Service(other) => other == service,
        Owner::Account(_) | Owner::Home(_) => true,
    };
    if !own || !belongs(owner, purpose) {
        return false;
    }
    let wanted = group(purpose);
    TABLE.iter().any(|(who, which, (seal, open))| {
        *who == service
            && *which == wanted
            && match what {
                Use::Seal => *seal,
                Use::Open => *open,
            }
    })
}

/// Whether an owner of that sort has keys of that purpose at all.
#[must_use]
pub fn belongs(owner: Owner, purpose: Purpose) -> bool {
    match owner {
        Owner::Account(_) => matches!(
            purpose,
            Purpose::Profile | Purpose::Inbox | Purpose::Delivery | Purpose::Records
        ),
        Owner::Home(_) => matches!(
            purpose,
            Purpose::Home | Purpose::Signals | Purpose::Telemetry(_) | Purpose::Media(_)
        ),
        Owner::Service(_) => matches!(
            purpose,
            Purpose::Hashing | Purpose::Signing | Purpose::Records
        ),
    }
}

/// Every row, classes spelled out: what tests compare with the modules of the services.
#[must_use]
pub fn rows() -> Vec<Permission> {
    let mut rows = Vec::new();
    for (service, which, (seal, open)) in TABLE {
        for purpose in all_purposes() {
            if group(purpose) == *which {
                rows.push(Permission {
                    service: *service,
                    purpose,
                    seal: *seal,
                    open: *open,
                });
            }
        }
    }
    rows
}

fn all_purposes() -> impl Iterator<Item = Purpose> {
    [
        Purpose::Profile,
        Purpose::Inbox,
        Purpose::Delivery,
        Purpose::Records,
        Purpose::Home,
        Purpose::Signals,
        Purpose::Hashing,
        Purpose::Signing,
    ]
    .into_iter()
    .chain(RetentionClass::ALL.map(Purpose::Telemetry))
    .chain(RetentionClass::ALL.map(Purpose::Media))
}

#[cfg(test)]
mod tests {
    use hearth_kernel::{AccountId, HomeId};

    use super::*;

    const ACCOUNT: Owner = Owner::Account(AccountId::from_bytes([1; 16]));
    const HOME: Owner = Owner::Home(HomeId::from_bytes([2; 16]));

    fn may(service: Service, owner: Owner, purpose: Purpose) -> (bool, bool) {
        (
            permits(service, owner, purpose, Use::Seal),
            permits(service, owner, purpose, Use::Open),
        )
    }

    #[test]
    fn notifications_never_sees_telemetry_media_or_profiles() {
        for class in RetentionClass::ALL {
            for purpose in [Purpose::Telemetry(class), Purpose::Media(class)] {
                let found = may(Service::Notifications, HOME, purpose);
                assert_eq!(found, (false, false), "{purpose:?}");
            }
        }
        assert_eq!(
            may(Service::Notifications, ACCOUNT, Purpose::Profile),
            (false, false)
        );
        assert_eq!(
            may(Service::Notifications, HOME, Purpose::Home),
            (false, false)
        );
        assert_eq!(may(Service::Notifications, HOME, Purpose::Signals), BOTH);
        assert_eq!(
            may(Service::Notifications, ACCOUNT, Purpose::Delivery),
            OPEN
        );
        assert_eq!(may(Service::Notifications, ACCOUNT, Purpose::Inbox), BOTH);
    }

    #[test]
    fn accounts_writes_inbox_and_cannot_read_it() {
        assert_eq!(may(Service::Accounts, ACCOUNT, Purpose::Inbox), SEAL);
        assert_eq!(may(Service::Accounts, ACCOUNT, Purpose::Profile), BOTH);
        assert_eq!(
            may(Service::Ingest, ACCOUNT, Purpose::Profile),
            (false, false)
        );
    }

    #[test]
    fn a_purpose_fits_its_owner_only() {
        assert_eq!(
            may(Service::Accounts, HOME, Purpose::Profile),
            (false, false)
        );
        assert_eq!(
            may(Service::Accounts, ACCOUNT, Purpose::Home),
            (false, false)
        );
        assert_eq!(
            may(Service::Accounts, ACCOUNT, Purpose::Hashing),
            (false, false)
        );
        for owner in [ACCOUNT, HOME, Owner::Service(Service::Media)] {
            for purpose in all_purposes() {
                let listed = purposes_of(owner).contains(&purpose);
                assert_eq!(belongs(owner, purpose), listed, "{purpose:?}");
            }
        }
    }

    #[test]
    fn a_services_own_keys_are_its_own() {
        for service in Service::ALL {
            for other in Service::ALL {
                let found = may(service, Owner::Service(other), Purpose::Signing);
                assert_eq!(found == BOTH, service == other, "{service} {other}");
            }
        }
    }

    #[test]
    fn every_row_is_there_once_and_grants_something() {
        let rows = rows();
        let set: std::collections::BTreeSet<_> =
            rows.iter().map(|row| (row.service, row.purpose)).collect();
        assert_eq!(set.len(), rows.len());
        assert!(rows.iter().all(|row| row.seal || row.open));
    }
}
