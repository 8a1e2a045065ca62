//! The history of a home: its areas, and who may do what in it.
//!
//! People stand here by membership only, and nothing in this log leads to an account, so that a member can be forgotten
//! without touching the home.

mod decide;
mod evolve;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use hearth_kernel::{
    AreaId, Failure, HomeId, InvitationId, MembershipId, Owner, Part, PartSlot, Parts, Purpose,
    Reason, RetentionClass, Role, Timestamp,
};

/// The aggregate.
#[derive(Debug)]
pub struct Home;

/// Where the home stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Status {
    /// There is none.
    #[default]
    Absent,
    /// In use.
    Active,
    /// Its last owner is gone: it is to be erased.
    Ended,
}

/// What a home is used as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HomeKind {
    /// People live there.
    #[default]
    Household,
    /// People work there.
    Office,
}

/// A kind of time series that is kept for a period of the home's choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DataFamily {
    /// All readings that no other family names.
    Readings,
    /// Water flow, volume and leaks.
    Water,
}

impl DataFamily {
    /// Every family.
    pub const ALL: [Self; 2] = [Self::Readings, Self::Water];

    /// The class it has unless the home chose another (privacy notice).
    #[must_use]
    pub const fn default_class(self) -> RetentionClass {
        match self {
            Self::Readings => RetentionClass::Days30,
            Self::Water => RetentionClass::Days90,
        }
    }

    /// Whether a home may choose this class for it.
    #[must_use]
    pub const fn allows(self, class: RetentionClass) -> bool {
        matches!(
            class,
            RetentionClass::Days7
                | RetentionClass::Days30
                | RetentionClass::Days90
                | RetentionClass::Days400
        )
    }
}

/// What a member may do, where and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// What she may do.
    pub role: Role,
    /// The areas she is limited to; empty means all. An area that is removed stays named here: with it, a guest of one
    /// room would else become a guest of the house.
    pub areas: BTreeSet<AreaId>,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
}

/// A member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// What she may do.
    pub scope: Scope,
    /// When she joined.
    pub joined_at: Timestamp,
}

/// An open invitation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitation {
    /// What the invited one may do.
    pub scope: Scope,
    /// Until when it can be taken.
    pub expires_at: Timestamp,
    /// Who invited.
    pub by: MembershipId,
}

/// What the past amounts to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Where it stands.
    pub status: Status,
    /// Its id; nil before it is made.
    pub home: HomeId,
    /// Its name.
    pub name: Option<Part>,
    /// What it is used as.
    pub kind: HomeKind,
    /// Its IANA time zone.
    pub time_zone: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Its areas, by their names.
    pub areas: BTreeMap<AreaId, Part>,
    /// Its members.
    pub members: BTreeMap<MembershipId, Member>,
    /// Its open invitations.
    pub invitations: BTreeMap<InvitationId, Invitation>,
    /// The periods that it chose.
    pub retention: BTreeMap<DataFamily, RetentionClass>,
    /// How many events it has seen: orders what others note about it.
    pub revision: u64,
}

impl State {
    /// The member, while she is one at that time.
    #[must_use]
    pub fn member(&self, membership: MembershipId, now: Timestamp) -> Option<&Member> {
        self.members
            .get(&membership)
            .filter(|member| member.scope.expires_at.is_none_or(|end| now < end))
    }

    /// The class that a family is kept in.
    #[must_use]
    pub fn class(&self, family: DataFamily) -> RetentionClass {
        let chosen = self.retention.get(&family).copied();
        chosen.unwrap_or_else(|| family.default_class())
    }

    /// How many owners it has.
    #[must_use]
    pub fn owners(&self) -> usize {
        let owner = |member: &&Member| member.scope.role == Role::Owner;
        self.members.values().filter(owner).count()
    }
}

/// What somebody wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A home.
    Create {
        /// Its name.
        name: Part,
        /// What it is used as.
        kind: HomeKind,
        /// Its IANA time zone.
        time_zone: String,
        /// The membership of its owner, new and random.
        owner: MembershipId,
    },
    /// A change of its settings; `None` stays.
    Update {
        /// Who.
        by: MembershipId,
        /// Its name.
        name: Option<Part>,
        /// Its time zone.
        time_zone: Option<String>,
        /// The periods that are chosen anew.
        retention: BTreeMap<DataFamily, RetentionClass>,
    },
    /// One more area.
    AddArea {
        /// Who.
        by: MembershipId,
        /// The area, new and random.
        area: AreaId,
        /// Its name.
        name: String,
    },
    /// Another name for an area.
    RenameArea {
        /// Who.
        by: MembershipId,
        /// The area.
        area: AreaId,
        /// Its new name.
        name: String,
    },
    /// An area's end.
    RemoveArea {
        /// Who.
        by: MembershipId,
        /// The area.
        area: AreaId,
    },
    /// An invitation.
    Invite {
        /// Who.
        by: MembershipId,
        /// The invitation, new and random.
        invitation: InvitationId,
        /// What the invited one may do.
        scope: Scope,
        /// Until when it can be taken.
        expires_at: Timestamp,
    },
    /// To take an invitation.
    Accept {
        /// The invitation.
        invitation: InvitationId,
        /// The membership of who takes it, new and random.
        membership: MembershipId,
    },
    /// Another role for a member.
    ChangeRole {
        /// Who.
        by: MembershipId,
        /// Whose.
        membership: MembershipId,
        /// What she may do from now on.
        scope: Scope,
    },
    /// A member's end.
    Remove {
        /// Who; she herself when she leaves.
        by: MembershipId,
        /// Whose.
        membership: MembershipId,
    },
    /// Another owner; who asks becomes admin.
    Transfer {
        /// Who.
        by: MembershipId,
        /// To whom.
        to: MembershipId,
    },
    /// A member's account is closed. With its last owner the home ends.
    Depart {
        /// Whose.
        membership: MembershipId,
    },
    /// A guest's time is over: she is no member any more. Nothing for whoever has time left, or no end.
    Expire {
        /// Whose.
        membership: MembershipId,
    },
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The home was made.
    Created {
        /// The home.
        home: HomeId,
        /// Its name.
        name: Part,
        /// What it is used as.
        kind: HomeKind,
        /// Its time zone.
        time_zone: String,
        /// When.
        at: Timestamp,
    },
    /// It has another name.
    Renamed {
        /// The home.
        home: HomeId,
        /// Its name.
        name: Part,
    },
    /// It lies in another time zone.
    TimeZoneChanged {
        /// The time zone.
        time_zone: String,
    },
    /// It keeps a kind of data for another period.
    RetentionChosen {
        /// The kind.
        family: DataFamily,
        /// Its class.
        class: RetentionClass,
    },
    /// It has one more area.
    AreaAdded {
        /// The home.
        home: HomeId,
        /// The area.
        area: AreaId,
        /// Its name.
        name: Part,
    },
    /// An area has another name.
    AreaRenamed {
        /// The home.
        home: HomeId,
        /// The area.
        area: AreaId,
        /// Its name.
        name: Part,
    },
    /// An area is gone.
    AreaRemoved {
        /// The area.
        area: AreaId,
    },
    /// Somebody is invited.
    Invited {
        /// The invitation.
        invitation: InvitationId,
        /// What it is for.
        invited: Invitation,
    },
    /// An invitation was not taken in time.
    InvitationLapsed {
        /// The invitation.
        invitation: InvitationId,
    },
    /// Somebody is a member.
    MemberJoined {
        /// Her membership.
        membership: MembershipId,
        /// What she may do.
        scope: Scope,
        /// The invitation that she took.
        invitation: Option<InvitationId>,
        /// When.
        at: Timestamp,
    },
    /// A member may do other things than before.
    MemberChanged {
        /// Her membership.
        membership: MembershipId,
        /// What she may do.
        scope: Scope,
    },
    /// A member is one no more.
    MemberLeft {
        /// Her membership.
        membership: MembershipId,
    },
    /// The home is to be erased.
    Ended,
}

impl Parts for Event {
    fn parts(&mut self) -> Vec<PartSlot<'_>> {
        match self {
            Self::Created { home, name, .. }
            | Self::Renamed { home, name }
            | Self::AreaAdded { home, name, .. }
            | Self::AreaRenamed { home, name, .. } => vec![PartSlot {
                owner: Owner::Home(*home),
                purpose: Purpose::Home,
                part: name,
            }],
            _ => Vec::new(),
        }
    }
}

/// What the outside knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Which home this is.
    pub home: HomeId,
    /// Now.
    pub now: Timestamp,
    /// The areas' names, opened; needed where a name is given.
    pub names: BTreeMap<AreaId, String>,
}

/// Why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// There is no such home, it has ended, or who asks is no member.
    IsAbsent,
    /// There is one already.
    Exists,
    /// Her role does not permit it.
    MayNot,
    /// The role in question is above her own.
    IsAboveHer,
    /// The area is unknown.
    AreaIsAbsent,
    /// Another area has that name.
    AreaNameIsTaken,
    /// There are as many areas as there may be.
    HasTooManyAreas,
    /// There are as many members and invitations as there may be.
    HasTooManyMembers,
    /// The invitation is unknown, taken or over.
    InvitationIsOver,
    /// The membership is unknown.
    MemberIsAbsent,
    /// She is the last owner.
    IsLastOwner,
    /// Only guests are limited to areas or a time.
    IsNoGuest,
    /// The time is past, or farther than allowed.
    TimeIsOutOfBounds,
    /// The class is not one that this family may have.
    ClassIsNotAllowed,
    /// A guest cannot be made owner.
    IsGuest,
}

impl From<Rejection> for Failure {
    fn from(rejection: Rejection) -> Self {
        let invalid = |field: &'static str, why: &'static str| {
            Self::new(Reason::INVALID_REQUEST).violation(field, why)
        };
        match rejection {
            Rejection::IsAbsent | Rejection::AreaIsAbsent | Rejection::MemberIsAbsent => {
                Self::new(Reason::NOT_FOUND)
            }
            Rejection::Exists => Self::new(Reason::INTERNAL),
            Rejection::MayNot => Self::new(Reason::NOT_ALLOWED),
            Rejection::IsAboveHer => Self::new(Reason::ROLE_ABOVE_OWN),
            Rejection::AreaNameIsTaken => Self::new(Reason::AREA_NAME_TAKEN),
            Rejection::HasTooManyAreas | Rejection::HasTooManyMembers => {
                Self::new(Reason::QUOTA_EXCEEDED)
            }
            Rejection::InvitationIsOver => Self::new(Reason::INVITATION_NOT_VALID),
            Rejection::IsLastOwner => Self::new(Reason::LAST_OWNER),
            Rejection::IsNoGuest => invalid("role", "only guests are limited to areas or a time"),
            Rejection::TimeIsOutOfBounds => invalid("expires_at", "in the future, and in bounds"),
            Rejection::ClassIsNotAllowed => invalid("retention", "7 to 400 days"),
            Rejection::IsGuest => invalid("membership_id", "an adult or admin of the home"),
        }
    }
}
