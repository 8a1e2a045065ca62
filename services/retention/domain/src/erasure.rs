//! One closing, from the day it is asked for to the proof that nothing is left.
//!
//! The account, and the homes that end with it, are erased together and proved by one pair of receipts. Each event is
//! a step that was taken; [`next`] says which one comes now, from the state alone, so that whoever finds the erasure
//! goes on with it wherever another stopped.

mod decide;
mod next;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use hearth_kernel::{
    AccountId, Failure, HomeId, MembershipId, Owner, Part, PartSlot, Parts, Purpose, Reason,
    ReceiptId, Service, Timestamp,
};

pub use next::{Next, Search, next};

/// The aggregate.
#[derive(Debug)]
pub struct Erasure;

/// A closing, as accounts published it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closing {
    /// The account.
    pub account: AccountId,
    /// The receipt: random, and all that the receipts name.
    pub receipt: ReceiptId,
    /// SHA-256 of the secret that the person got.
    pub secret_hash: [u8; 32],
    /// When the account was closed.
    pub closed_at: Timestamp,
    /// When the grace ends.
    pub grace_ends_at: Timestamp,
}

/// What is to be erased, settled when the grace was over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The account.
    pub account: AccountId,
    /// Homes that end with the account.
    pub homes: BTreeSet<HomeId>,
    /// Her memberships in homes that go on.
    pub memberships: BTreeSet<MembershipId>,
    /// The services that must answer.
    pub services: BTreeSet<Service>,
    /// The policy that counts, [`crate::limits::POLICY`] of that day.
    pub policy: u32,
    /// When.
    pub at: Timestamp,
}

/// The positive control: what the search found while everything was still there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// Markers looked for: ids of owners, ids of keys.
    pub markers: u32,
    /// Times that one was found.
    pub found: u64,
    /// The ids of the keys, 16 bytes each, sealed: they must not be found later because they stand here.
    pub key_ids: Part,
    /// When.
    pub at: Timestamp,
}

/// One pass over all files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pass {
    /// Files read.
    pub files: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Markers looked for.
    pub markers: u32,
    /// Times that one was found where the residual list names it.
    pub residual: u64,
    /// Times that one was found elsewhere.
    pub outside: u64,
}

/// What one eraser of a service did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// Its name in the data inventory.
    pub name: String,
    /// Items removed.
    pub removed: u64,
    /// What stays there.
    pub residuals: Vec<Left>,
}

/// Something that stays for a time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Left {
    /// What it is: a name of the residual list.
    pub what: String,
    /// When it ends; `None` for bare ids.
    pub ends_at: Option<Timestamp>,
}

/// A line of the residual list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Residual {
    /// What it is.
    pub what: String,
    /// Where.
    pub store: String,
    /// When it ends; `None` for bare ids.
    pub ends_at: Option<Timestamp>,
}

/// A receipt that was signed. Its body names nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The exact bytes that were signed.
    pub body: Vec<u8>,
    /// Ed25519.
    pub signature: [u8; 64],
    /// The key it verifies under.
    pub public_key: [u8; 32],
}

/// How far it has come. Each step's field is set when the step was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The closing; `None` before anything.
    pub closing: Option<Closing>,
    /// When it was taken back.
    pub cancelled_at: Option<Timestamp>,
    /// The grace is over: readers fail closed.
    pub request: Option<Request>,
    /// The positive control.
    pub control: Option<Control>,
    /// Owners whose ring is fenced, and since when that stands in STATE.
    pub fenced: BTreeMap<Owner, Timestamp>,
    /// When the last of the fences stood; set when all do.
    pub fenced_at: Option<Timestamp>,
    /// All leases have ended.
    pub leases_ended_at: Option<Timestamp>,
    /// What the services answered.
    pub answers: BTreeMap<Service, Vec<Store>>,
    /// All have answered.
    pub purged_at: Option<Timestamp>,
    /// What stays, with its end: settled when all had answered.
    pub residuals: BTreeSet<Residual>,
    /// Nothing was found outside the residual list.
    pub verified: Option<(Pass, Timestamp)>,
    /// No copy of a ring opens anything: the key receipt.
    pub keys_gone: Option<(Receipt, Timestamp)>,
    /// Nothing is left but bare ids: the byte receipt.
    pub bytes_gone: Option<(Receipt, Timestamp)>,
}

impl State {
    /// Whose keys and data go: the account first.
    #[must_use]
    pub fn owners(&self) -> Vec<Owner> {
        let account = self.closing.iter().map(|it| Owner::Account(it.account));
        let homes = self.request.iter().flat_map(|it| it.homes.iter());
        account
            .chain(homes.map(|home| Owner::Home(*home)))
            .collect()
    }

    /// When the last residual ends that ends at all; `None` before all services have answered.
    #[must_use]
    pub fn residuals_end_at(&self) -> Option<Timestamp> {
        let ends = self.residuals.iter().filter_map(|it| it.ends_at);
        self.purged_at
            .map(|purged| ends.fold(purged, Timestamp::max))
    }

    /// Whether it is over, with proof or without need.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.cancelled_at.is_some() || self.bytes_gone.is_some()
    }
}

/// What somebody wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// An account was closed; its grace runs.
    Announce(Closing),
    /// The account was reopened.
    Cancel,
    /// The grace is over.
    Request {
        /// The closing, which may not have been announced.
        closing: Closing,
        /// Homes that end with the account.
        homes: BTreeSet<HomeId>,
        /// Memberships in homes that go on.
        memberships: BTreeSet<MembershipId>,
        /// The services that must answer.
        services: BTreeSet<Service>,
    },
    /// The search found this before anything was erased.
    Control {
        /// The ids of the keys, 16 bytes each.
        key_ids: Vec<u8>,
        /// Markers looked for.
        markers: u32,
        /// Times that one was found.
        found: u64,
        /// Owners of whom nothing was found.
        missing: u32,
    },
    /// An owner's ring is fenced, and that stands in STATE.
    Fence {
        /// Whose.
        owner: Owner,
        /// Since when.
        since: Timestamp,
    },
    /// The time of the leases is over.
    EndLeases,
    /// A service has purged what it held.
    Answer {
        /// Which.
        service: Service,
        /// What its erasers did.
        stores: Vec<Store>,
    },
    /// The search found this after the purge.
    Verify(Pass),
    /// No copy of a ring opens anything.
    SignKeys(Receipt),
    /// The search found this after the last residual.
    SignBytes(Pass, Receipt),
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// An account was closed.
    Announced(Closing),
    /// It was reopened.
    Cancelled {
        /// When.
        at: Timestamp,
    },
    /// The grace is over.
    Requested(Request),
    /// The positive control succeeded.
    Controlled(Control),
    /// A ring is fenced.
    Fenced {
        /// Whose.
        owner: Owner,
        /// Since when.
        since: Timestamp,
    },
    /// All rings are.
    AllFenced {
        /// Since when.
        at: Timestamp,
    },
    /// No lease lives.
    LeasesEnded {
        /// When that was noticed.
        at: Timestamp,
    },
    /// A service has purged.
    Answered {
        /// Which.
        service: Service,
        /// What its erasers did.
        stores: Vec<Store>,
    },
    /// All services have.
    Purged {
        /// What stays.
        residuals: BTreeSet<Residual>,
        /// When.
        at: Timestamp,
    },
    /// Nothing was found.
    Verified {
        /// The search.
        pass: Pass,
        /// When.
        at: Timestamp,
    },
    /// The key receipt is signed.
    KeysGone {
        /// It.
        receipt: Receipt,
        /// When.
        at: Timestamp,
    },
    /// The byte receipt is signed.
    BytesGone {
        /// It.
        receipt: Receipt,
        /// When.
        at: Timestamp,
    },
}

impl Parts for Event {
    fn parts(&mut self) -> Vec<PartSlot<'_>> {
        match self {
            Self::Controlled(control) => vec![PartSlot {
                owner: Owner::Service(Service::Retention),
                purpose: Purpose::Records,
                part: &mut control.key_ids,
            }],
            _ => Vec::new(),
        }
    }
}

/// Why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// There is no such closing, or the step before is missing.
    IsNotThere,
    /// The account was reopened.
    IsCancelled,
    /// It is about another closing or owner.
    IsAnothers,
    /// More homes, memberships or stores than one account can have.
    TooMany,
    /// It is not time yet: the grace, the leases or a residual.
    TooEarly,
    /// The search did not find the owner while she was still there: it would prove nothing.
    ControlFailed,
    /// The search found something outside the residual list.
    SomethingLeft,
}

impl From<Rejection> for Failure {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::IsNotThere | Rejection::IsAnothers | Rejection::TooMany => {
                Self::new(Reason::INTERNAL)
            }
            Rejection::IsCancelled => Self::new(Reason::ACCOUNT_NOT_CLOSING),
            Rejection::TooEarly | Rejection::ControlFailed | Rejection::SomethingLeft => {
                Self::new(Reason::TEMPORARILY_UNAVAILABLE)
            }
        }
    }
}
