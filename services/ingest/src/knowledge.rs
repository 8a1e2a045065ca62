//! What ingest must know of homes and people, and learns from others' facts: who may see what, for how long a home keeps
//! what, and which numbers its rules name.
//!
//! A trait, so that the binding to the facts is one file and tests can say what is so.

use async_trait::async_trait;
use hearth_engine::{CommitToken, Stale};
use hearth_kernel::{AreaId, Failure, HomeId, MembershipId, Reason, Role};
use hearth_rpc::Principal;

use crate::registry::{Interests, Periods};

/// A person's place in a home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The membership: what a home's log names instead of the account.
    pub membership: MembershipId,
    /// What she may do.
    pub role: Role,
    /// The areas she is limited to; empty means all.
    pub areas: Vec<AreaId>,
}

impl Member {
    /// Whether she may see what lies in that area; `None` is a thing of the whole home.
    #[must_use]
    pub fn sees(&self, area: Option<AreaId>) -> bool {
        self.areas.is_empty() || area.is_some_and(|area| self.areas.contains(&area))
    }
}

/// What is known of a home.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HomeKnown {
    /// Whether it has ended: nothing is taken or answered for it.
    pub ended: bool,
    /// Its areas.
    pub areas: Vec<AreaId>,
    /// For how long it keeps what.
    pub periods: Periods,
}

/// What ingest knows of homes and people. Absent means no.
#[async_trait]
pub trait Knowledge: Send + Sync + 'static {
    /// The caller's place in a home, if she has at least that role there.
    ///
    /// # Errors
    /// `NOT_SIGNED_IN`; `NOT_FOUND` for a home she may not know of, or that has ended; `NOT_ALLOWED` when her role is too
    /// low; `STALE_KNOWLEDGE` when that cannot be known.
    async fn require(
        &self,
        principal: &Principal,
        home: HomeId,
        role: Role,
    ) -> Result<Member, Failure>;

    /// A home, if there is one.
    ///
    /// # Errors
    /// `Stale` when that cannot be known.
    async fn home(&self, home: HomeId) -> Result<Option<HomeKnown>, Stale>;

    /// The numbers that the rules of a home name.
    ///
    /// # Errors
    /// `Stale` when that cannot be known.
    async fn interests(&self, home: HomeId) -> Result<Interests, Stale>;

    /// Waits until everything that was decided about homes before this call is known, at most a second or so. A "no" that
    /// is asked for a moment after the "yes" was decided is asked again behind this.
    ///
    /// # Errors
    /// `Stale` when it takes longer.
    async fn settled(&self) -> Result<(), Stale>;

    /// Waits until these commits of other services are known here, at most 2 s.
    ///
    /// # Errors
    /// `STALE_KNOWLEDGE` when it takes longer.
    async fn after(&self, tokens: &[CommitToken]) -> Result<(), Failure>;
}

/// What a client hears when this process does not know enough.
#[must_use]
pub fn stale(_: Stale) -> Failure {
    Failure::new(Reason::STALE_KNOWLEDGE).retry_after(std::time::Duration::from_secs(1))
}
