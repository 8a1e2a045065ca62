//! The history of one person's account: from its registration to the end of its grace.
//!
//! What others must know of a session or a membership stands here too, so that every fact about an account is made
//! from one log. The home's own log decides who is a member; what is noted here follows it, by the home's revision.

mod decide;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use hearth_kernel::{
    AccountId, AreaId, Failure, HomeId, MembershipId, Owner, Part, PartSlot, Parts, Purpose,
    Reason, ReceiptId, RegistrationId, Role, SessionId, Timestamp, TokenId,
};

/// What seals the address that notices are sent to.
pub const ADDRESS_PURPOSE: Purpose = Purpose::Delivery;

/// The aggregate.
#[derive(Debug)]
pub struct Account;

/// Where the account stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Status {
    /// There is none.
    #[default]
    Absent,
    /// Its address is not proved yet.
    Unverified,
    /// In use.
    Active,
    /// In the grace of its closing.
    Closing(Closing),
    /// The grace is over; its homes are being left.
    Closed(Closing),
    /// Its homes are left: it is to be erased.
    Departed(Closing),
    /// It was never proved.
    Lapsed,
}

/// A closing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Closing {
    /// When it was asked for.
    pub closed_at: Timestamp,
    /// When the grace ends.
    pub grace_ends_at: Timestamp,
    /// The receipt of the erasure; random, and linked to nothing that is kept.
    pub receipt: ReceiptId,
    /// SHA-256 of the receipt's secret.
    pub receipt_secret_hash: [u8; 32],
}

/// The keyed hash of an e-mail address in normal form: the id of its reservation. It is kept in clear, so that the
/// reservation is found when the address itself can no longer be opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct AddressKey(pub [u8; 16]);

/// What an account says about its person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The sign-in name, as it was typed.
    pub email: Part,
    /// The name that others see.
    pub username: Part,
    /// A BCP 47 tag.
    pub locale: Part,
}

impl Profile {
    /// Its fields, in the order of their parts.
    pub(crate) fn parts(&mut self) -> [&mut Part; 3] {
        [&mut self.email, &mut self.username, &mut self.locale]
    }
}

/// An open session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// What the client called its device.
    pub label: Part,
    /// When it was opened.
    pub opened_at: Timestamp,
}

/// What the account may do in one home, as that home decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// The membership.
    pub membership: MembershipId,
    /// What she may do.
    pub role: Role,
    /// The areas she is limited to; empty means all.
    pub areas: BTreeSet<AreaId>,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// The home's revision that says so.
    pub revision: u64,
}

/// A membership that is on its way into a home's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joining {
    /// The membership, new and random.
    pub membership: MembershipId,
    /// Since when.
    pub at: Timestamp,
}

/// What becomes of the homes of a closed account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Departure {
    /// Homes that ended with it.
    pub ended: BTreeSet<HomeId>,
    /// Memberships in homes that go on.
    pub left: BTreeSet<MembershipId>,
}

/// What the past amounts to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Where it stands.
    pub status: Status,
    /// Its id; nil before it is registered.
    pub account: AccountId,
    /// The registration it came from.
    pub registration: RegistrationId,
    /// Where its address is reserved.
    pub address_key: AddressKey,
    /// When it was registered.
    pub registered_at: Timestamp,
    /// What it says about its person.
    pub profile: Option<Box<Profile>>,
    /// Where notices are sent, sealed for who sends them.
    pub address: Option<Part>,
    /// Open sessions.
    pub sessions: BTreeMap<SessionId, Session>,
    /// Sessions that ended a short while ago.
    pub revoked: BTreeMap<SessionId, Timestamp>,
    /// Its homes.
    pub homes: BTreeMap<HomeId, Access>,
    /// Homes that it is about to join: their own logs do not say so yet.
    pub joining: BTreeMap<HomeId, Joining>,
    /// Memberships that are over, for ever.
    pub left: BTreeSet<MembershipId>,
    /// What its departure came to.
    pub departure: Departure,
    /// When it was last told that its address was used to register again.
    pub told_known_at: Option<Timestamp>,
}

impl State {
    /// The closing, while or after there is one.
    #[must_use]
    pub const fn closing(&self) -> Option<&Closing> {
        match &self.status {
            Status::Closing(closing) | Status::Closed(closing) | Status::Departed(closing) => {
                Some(closing)
            }
            _ => None,
        }
    }

    /// Whether somebody can sign in to it: to use it, or to take its closing back.
    #[must_use]
    pub const fn may_sign_in(&self) -> bool {
        matches!(self.status, Status::Active | Status::Closing(_))
    }
}

/// A mail that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// Its id: it is sent once.
    pub id: TokenId,
    /// What it is about.
    pub kind: MailKind,
    /// Address, language and body.
    pub content: Part,
    /// Not sent after this.
    pub expires_at: Timestamp,
}

/// What a mail is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MailKind {
    /// Prove your address.
    Verification,
    /// Your address was used to register again.
    KnownAddress,
    /// You are invited: to an address that may belong to nobody here.
    Invitation,
    /// Your account is closing.
    Closing,
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Its person signed out.
    SignedOut,
    /// Its person ended it from another one.
    Revoked,
    /// A token that was replaced long ago was shown again.
    TokenReused,
    /// A newer one took its place.
    Displaced,
    /// It was not used for too long, or lived long enough.
    Expired,
}

/// What somebody wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// An account, to be proved.
    Register {
        /// The registration.
        registration: RegistrationId,
        /// Where its address is reserved.
        address_key: AddressKey,
        /// What it says about its person.
        profile: Box<Profile>,
        /// The mail with the code.
        mail: Box<Mail>,
    },
    /// To prove the address, and a first session.
    Verify {
        /// Where notices are sent.
        address: Part,
        /// The session.
        session: SessionId,
        /// What the client calls its device.
        label: Part,
    },
    /// A session.
    OpenSession {
        /// The session.
        session: SessionId,
        /// What the client calls its device.
        label: Part,
    },
    /// A session's end.
    EndSession {
        /// The session.
        session: SessionId,
        /// Why.
        cause: Cause,
    },
    /// A membership: noted here before the home is asked, so that whatever happens then, the account knows it.
    Join {
        /// The home.
        home: HomeId,
        /// The membership, new and random.
        membership: MembershipId,
    },
    /// What a home decided about a membership of this account.
    NoteAccess {
        /// The home.
        home: HomeId,
        /// The access.
        access: Access,
    },
    /// The end of a membership, as its home decided.
    EndAccess {
        /// The home.
        home: HomeId,
        /// The membership.
        membership: MembershipId,
    },
    /// A mail in the name of this account, or to it.
    RequestMail(Box<Mail>),
    /// To close.
    StartClosing {
        /// How long it can be taken back.
        closing: Closing,
        /// The mail with the way back.
        mail: Box<Mail>,
    },
    /// To take the closing back.
    Reopen,
    /// To end the grace, when it is over.
    EndGrace,
    /// To note that every home is left, or ended: it names each of them.
    NoteDeparture(Departure),
    /// To let an unproved account lapse, when its time is over or another takes its address.
    Lapse {
        /// Whether a newer registration of the address takes its place.
        replaced: bool,
    },
    /// To give up an account that never came to be, because somebody has its address already.
    Abandon {
        /// The registration that names it.
        registration: RegistrationId,
    },
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Somebody asked for an account.
    Registered {
        /// The account.
        account: AccountId,
        /// The registration.
        registration: RegistrationId,
        /// Where its address is reserved.
        address_key: AddressKey,
        /// What it says about its person.
        profile: Box<Profile>,
        /// When.
        at: Timestamp,
    },
    /// The address is proved.
    Verified {
        /// The account.
        account: AccountId,
        /// Where notices are sent.
        address: Part,
        /// When.
        at: Timestamp,
    },
    /// A session is open.
    SessionOpened {
        /// The account.
        account: AccountId,
        /// The session.
        session: SessionId,
        /// What the client calls its device.
        label: Part,
        /// When.
        at: Timestamp,
    },
    /// A session is over.
    SessionEnded {
        /// The session.
        session: SessionId,
        /// Why.
        cause: Cause,
        /// When.
        at: Timestamp,
    },
    /// She is about to join a home.
    JoinBegun {
        /// The home.
        home: HomeId,
        /// The membership.
        membership: MembershipId,
        /// When.
        at: Timestamp,
    },
    /// A home decided what she may do there.
    AccessNoted {
        /// The home.
        home: HomeId,
        /// The access.
        access: Access,
    },
    /// A membership is over.
    AccessEnded {
        /// The home.
        home: HomeId,
        /// The membership.
        membership: MembershipId,
    },
    /// A mail is to be sent.
    MailRequested {
        /// The account whose key seals it.
        account: AccountId,
        /// The mail.
        mail: Box<Mail>,
        /// When.
        at: Timestamp,
    },
    /// She closed it.
    ClosingStarted(Closing),
    /// She took that back.
    Reopened,
    /// The grace is over.
    Closed,
    /// Its homes are left.
    Departed(Departure),
    /// It was never proved.
    Lapsed,
}

impl Parts for Event {
    fn parts(&mut self) -> Vec<PartSlot<'_>> {
        let (account, purpose, parts) = match self {
            Self::Registered {
                account, profile, ..
            } => (account, Purpose::Profile, profile.parts().into()),
            Self::Verified {
                account, address, ..
            } => (account, ADDRESS_PURPOSE, vec![address]),
            Self::SessionOpened { account, label, .. } => (account, Purpose::Profile, vec![label]),
            Self::MailRequested { account, mail, .. } => {
                (account, Purpose::Inbox, vec![&mut mail.content])
            }
            _ => return Vec::new(),
        };
        let owner = Owner::Account(*account);
        let slot = |part| PartSlot {
            owner,
            purpose,
            part,
        };
        parts.into_iter().map(slot).collect()
    }
}

/// What the outside knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Which account this is.
    pub account: AccountId,
    /// Now.
    pub now: Timestamp,
}

/// Why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// There is no account, or none any more.
    IsAbsent,
    /// There is one already.
    Exists,
    /// Its address is not proved yet.
    IsUnverified,
    /// Its address was proved before.
    IsVerified,
    /// It lapsed.
    HasLapsed,
    /// It is in its grace.
    IsClosing,
    /// It is not in its grace.
    IsNotClosing,
    /// Its grace is over.
    IsClosed,
    /// The session is not one of its open ones.
    SessionHasEnded,
    /// It has another membership in that home.
    IsMemberAlready,
    /// It never noted that membership.
    MembershipIsUnknown,
    /// The membership is over.
    MembershipIsOver,
    /// It has as many homes as one may have.
    HasTooManyHomes,
    /// The grace is shorter or longer than allowed.
    GraceIsOutOfBounds,
    /// It is too early for that.
    IsNotDue,
}

impl From<Rejection> for Failure {
    fn from(rejection: Rejection) -> Self {
        Self::new(match rejection {
            Rejection::IsAbsent | Rejection::IsClosed => Reason::NOT_FOUND,
            Rejection::IsUnverified | Rejection::IsVerified | Rejection::HasLapsed => {
                Reason::VERIFICATION_FAILED
            }
            Rejection::IsClosing => Reason::ACCOUNT_CLOSING,
            Rejection::IsNotClosing => Reason::ACCOUNT_NOT_CLOSING,
            Rejection::SessionHasEnded => Reason::SESSION_ENDED,
            Rejection::IsMemberAlready => Reason::ALREADY_MEMBER,
            Rejection::HasTooManyHomes => Reason::QUOTA_EXCEEDED,
            Rejection::GraceIsOutOfBounds => {
                return Self::new(Reason::INVALID_REQUEST)
                    .violation("grace", "from 72 hours to 30 days");
            }
            Rejection::MembershipIsOver => Reason::NOT_FOUND,
            Rejection::Exists | Rejection::MembershipIsUnknown | Rejection::IsNotDue => {
                Reason::INTERNAL
            }
        })
    }
}
