//! What several use cases do to an account and its credentials.

use futures::future::BoxFuture;
use hearth_accounts_domain::account::{Command, Facts, Status};
use hearth_accounts_domain::credentials::Command as CredentialsCommand;
use hearth_engine::Loaded;
use hearth_kernel::{AccountId, Failure, Reason};

use super::App;
use crate::aggregates::{Account, Credentials};

/// An account as its person sees it.
#[derive(Clone, Debug)]
pub(crate) struct AccountView {
    pub(crate) account: AccountId,
    pub(crate) email: String,
    pub(crate) username: String,
    pub(crate) locale: String,
    pub(crate) status: Status,
    pub(crate) registered_at: hearth_kernel::Timestamp,
}

impl App {
    pub(crate) fn account_facts(&self, account: AccountId) -> Facts {
        Facts {
            account,
            now: self.now(),
        }
    }

    /// A command that names its own effect, by the service itself.
    pub(crate) async fn of_account(
        &self,
        account: AccountId,
        command: &Command,
    ) -> Result<(), Failure> {
        let facts = self.account_facts(account);
        let call = self.fresh_call();
        self.engine
            .execute::<Account, _>(&call, account, command, async move |_| Ok(facts))
            .await?;
        Ok(())
    }

    /// The same on credentials. Boxed: behind an answer it runs as a task.
    pub(crate) fn of_credentials<'a>(
        &'a self,
        account: AccountId,
        command: &'a CredentialsCommand,
    ) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            let now = self.now();
            let call = self.fresh_call();
            self.engine
                .execute::<Credentials, _>(&call, account, command, async move |_| Ok(now))
                .await?;
            Ok(())
        })
    }

    /// The account, when it is in use: in the grace of its closing it can only be read and reopened.
    pub(crate) async fn active(
        &self,
        account: AccountId,
    ) -> Result<std::sync::Arc<Loaded<Account>>, Failure> {
        let loaded = self.load::<Account>(account).await?;
        match loaded.state.status {
            Status::Active => Ok(loaded),
            Status::Closing(_) => Err(Reason::ACCOUNT_CLOSING.into()),
            _ => Err(Reason::NOT_FOUND.into()),
        }
    }

    /// The caller's account.
    pub(crate) async fn account(&self, account: AccountId) -> Result<AccountView, Failure> {
        let loaded = self.load::<Account>(account).await?;
        let state = &loaded.state;
        let profile = state.profile.as_ref();
        let profile = profile.ok_or_else(|| Failure::new(Reason::NOT_FOUND))?;
        Ok(AccountView {
            account,
            email: self.open_text(&profile.email).await?,
            username: self.open_text(&profile.username).await?,
            locale: self.open_text(&profile.locale).await?,
            status: state.status,
            registered_at: state.registered_at,
        })
    }

    /// The name that others see of an account; empty once it is erased.
    pub(crate) async fn username(&self, account: AccountId) -> Result<String, Failure> {
        let loaded = self.load::<Account>(account).await?;
        match loaded.state.profile.as_ref() {
            Some(profile) => self.open_text(&profile.username).await,
            None => Ok(String::new()),
        }
    }
}
