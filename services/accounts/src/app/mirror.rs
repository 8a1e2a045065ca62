//! What a home decided about a member, noted in her account: the fact about what she may do is made from there.
//!
//! It copies what stands now, not what happened, so it may be done again, late, or twice at once.

use std::sync::Arc;

use hearth_accounts_domain::account::{Access, Command, Status as AccountStatus};
use hearth_accounts_domain::home::{self, Status};
use hearth_engine::Call;
use hearth_kernel::{AccountId, Failure, HomeId, Kind, MembershipId};

use super::{App, Token};
use crate::aggregates::{Account, Home, Membership};

impl App {
    /// Whose a membership is.
    pub(crate) async fn account_of(
        &self,
        membership: MembershipId,
    ) -> Result<Option<AccountId>, Failure> {
        let record = self.load::<Membership>(membership).await?;
        Ok(record.state.holder.map(|(account, _)| account))
    }

    /// Notes what a home says about a membership in its account, as part of a request.
    pub(crate) async fn mirror(
        &self,
        call: &Call,
        home: HomeId,
        state: &home::State,
        membership: MembershipId,
    ) -> Result<Token, Failure> {
        let Some(account) = self.account_of(membership).await? else {
            return Ok(None);
        };
        let command = told(home, state, membership);
        let facts = self.account_facts(account);
        let outcome = self
            .engine
            .execute::<Account, _>(call, account, &command, async move |_| Ok(facts))
            .await?;
        if let Command::EndAccess { .. } = command {
            self.remove::<Membership>(membership).await?;
        }
        Ok(outcome.position)
    }

    /// Notes what stands now, by the service itself; an account that is gone or refuses is left alone.
    pub(crate) async fn mirror_now(
        &self,
        home: HomeId,
        membership: MembershipId,
    ) -> Result<(), Failure> {
        if self.is_departing(membership).await? {
            return Ok(());
        }
        let state = Arc::clone(&self.load::<Home>(home).await?.state);
        match self
            .mirror(&self.fresh_call(), home, &state, membership)
            .await
        {
            Ok(_) => Ok(()),
            Err(failure) if is_final(failure.kind()) => {
                // The account never began it, or left it: then the home must not keep it either.
                tracing::warn!(%failure, "membership without an account, ending it");
                self.leave(home, membership).await
            }
            Err(failure) => Err(failure),
        }
    }

    /// Whether the membership's account is leaving all its homes: it notes that at once, in a commit of its own, and
    /// what is noted before would be missing there.
    async fn is_departing(&self, membership: MembershipId) -> Result<bool, Failure> {
        let Some(account) = self.account_of(membership).await? else {
            return Ok(false);
        };
        let loaded = self.load::<Account>(account).await?;
        Ok(matches!(loaded.state.status, AccountStatus::Closed(_)))
    }

    /// Ends a membership whose account is not there for it, unless that would end the home.
    async fn leave(&self, home: HomeId, membership: MembershipId) -> Result<(), Failure> {
        let state = Arc::clone(&self.load::<Home>(home).await?.state);
        let member = state.members.get(&membership);
        let owner = member.is_some_and(|it| it.scope.role == hearth_kernel::Role::Owner);
        if member.is_none() || (owner && state.owners() == 1) {
            return Ok(());
        }
        self.depart(home, membership).await?;
        Ok(())
    }
}

/// Whether a refusal will be the same for ever.
const fn is_final(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::NotFound | Kind::Exists | Kind::Rejected | Kind::Bug
    )
}

fn told(home: HomeId, state: &home::State, membership: MembershipId) -> Command {
    let active = state.status == Status::Active;
    match state.members.get(&membership).filter(|_| active) {
        None => Command::EndAccess { home, membership },
        Some(member) => Command::NoteAccess {
            home,
            access: Access {
                membership,
                role: member.scope.role,
                areas: member.scope.areas.clone(),
                expires_at: member.scope.expires_at,
                revision: state.revision,
            },
        },
    }
}
