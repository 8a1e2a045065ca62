//! What follows when the grace of a closing is over: the account leaves its homes, and is then due for erasure.

use hearth_accounts_domain::account::{Command, Departure, Status};
use hearth_accounts_domain::home::{self, Command as HomeCommand};
use hearth_kernel::{AccountId, Failure, HomeId, Kind, MembershipId, Reason, Timestamp};

use super::App;
use crate::aggregates::{Account, Home};

impl App {
    /// The time of a grace that was due then is over. Reopened in time, or ended before: nothing. An account that
    /// should have ended and has not is not given up: the clock was set back, or something is wrong that somebody
    /// mends.
    pub(crate) async fn end_grace(
        &self,
        account: AccountId,
        due: Timestamp,
    ) -> Result<(), Failure> {
        let failure = match self.of_account(account, &Command::EndGrace).await {
            Err(failure) if failure.kind() == Kind::NotFound => return Ok(()),
            Err(failure) if failure.kind() == Kind::Bug => failure,
            other => return other,
        };
        match self.load::<Account>(account).await?.state.status {
            Status::Closing(closing) if closing.grace_ends_at <= due => {
                tracing::warn!(%failure, "the end of a grace is taken again");
                Err(Reason::TEMPORARILY_UNAVAILABLE.into())
            }
            // Closed anew with a later end.
            _ => Ok(()),
        }
    }

    /// The time of a guest that was due then is over: she leaves, and her place is free. One that was given more time
    /// has a later timer. A guest that should have left and has not is not given up: the clock was set back.
    pub(crate) async fn expire(
        &self,
        home: HomeId,
        membership: MembershipId,
        due: Timestamp,
    ) -> Result<(), Failure> {
        let facts = self.home_facts(home);
        let command = HomeCommand::Expire { membership };
        let call = self.fresh_call();
        let outcome = self
            .engine
            .execute::<Home, _>(&call, home, &command, async move |_| Ok(facts.clone()))
            .await;
        let state = match outcome.map_err(Failure::from) {
            Ok(outcome) => outcome.state,
            // The home has ended, or is erased.
            Err(failure) if failure.kind() == Kind::NotFound => return Ok(()),
            Err(failure) => return Err(failure),
        };
        let end = state.members.get(&membership).map(|it| it.scope.expires_at);
        if end.flatten().is_some_and(|end| end <= due) {
            return Err(Reason::TEMPORARILY_UNAVAILABLE.into());
        }
        Ok(())
    }

    /// Leaves every home of a closed account, and notes what became of them.
    pub(crate) async fn depart_all(&self, account: AccountId) -> Result<(), Failure> {
        let loaded = self.load::<Account>(account).await?;
        if !matches!(loaded.state.status, Status::Closed(_)) {
            return Ok(());
        }
        let homes = loaded
            .state
            .homes
            .iter()
            .map(|(home, it)| (*home, it.membership));
        let joining = loaded
            .state
            .joining
            .iter()
            .map(|(home, it)| (*home, it.membership));
        let memberships: Vec<_> = homes.chain(joining).collect();
        let mut departure = Departure::default();
        for (home, membership) in memberships {
            if self.depart(home, membership).await? {
                departure.ended.insert(home);
            } else {
                departure.left.insert(membership);
            }
        }
        // The ends of all memberships are one commit: a crash before it leaves the list as it was.
        self.of_account(account, &Command::NoteDeparture(departure))
            .await
    }

    /// Takes a member whose account is gone out of a home. Answers whether the home ended with her.
    pub(crate) async fn depart(
        &self,
        home: HomeId,
        membership: MembershipId,
    ) -> Result<bool, Failure> {
        let command = HomeCommand::Depart { membership };
        let facts = self.home_facts(home);
        let call = self.fresh_call();
        let outcome = self
            .engine
            .execute::<Home, _>(&call, home, &command, async move |_| Ok(facts.clone()))
            .await;
        match outcome {
            Ok(outcome) => {
                let member = outcome.state.members.get(&membership);
                let owner = member.is_some_and(|it| it.scope.role == hearth_kernel::Role::Owner);
                Ok(outcome.state.status == home::Status::Ended && owner)
            }
            // The home never came to be, or is erased.
            Err(error) => match Failure::from(error) {
                failure if failure.kind() == Kind::NotFound => Ok(false),
                failure => Err(failure),
            },
        }
    }
}
