//! A person's place in a home, as its facts have it.

use hearth_kernel::{AreaId, HomeId, MembershipId, Role, Timestamp};

/// What one account may do in one home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The membership: what the home's things name instead of the account.
    pub membership: MembershipId,
    /// The role.
    pub role: Role,
    /// The areas a guest may see; empty for everything.
    pub areas: Vec<AreaId>,
    /// When a guest's membership ends by itself.
    pub expires_at: Option<Timestamp>,
}

impl Member {
    /// Whether it still stands.
    #[must_use]
    pub fn stands(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }

    /// Whether the member may see what lies in that area; `None` is a thing of the whole home.
    #[must_use]
    pub fn sees(&self, area: Option<AreaId>) -> bool {
        self.areas.is_empty() || area.is_some_and(|area| self.areas.contains(&area))
    }
}

/// What others know of a home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HomeFacts {
    /// The home.
    pub home: HomeId,
    /// Whether it has ended.
    pub ended: bool,
    /// Its members.
    pub members: Vec<MembershipId>,
    /// Its areas.
    pub areas: Vec<AreaId>,
    /// Its IANA time zone.
    pub time_zone: String,
    /// The retention choices, as the contract has them.
    pub retention: Vec<hearth_api::types::v1::RetentionChoice>,
}
