//! Sessions: opening, listing and ending them, and the tokens that a client gets.

use std::sync::Arc;
use std::time::Duration;

use hearth_accounts_domain::account::{Cause, Command};
use hearth_accounts_domain::session::{self, Command as FamilyCommand};
use hearth_engine::{Actor, Call};
use hearth_kernel::{AccountId, CommitId, Failure, Reason, Secret, SessionId, Timestamp};
use hearth_rpc::Claims;

use super::caller::Request;
use super::{App, Token};
use crate::aggregates::{Account, SessionFamily};

/// How long an access token lives.
pub(crate) const ACCESS_LIVES: Duration = Duration::from_secs(5 * 60);

/// A session that is to be opened by a command of its account.
pub(crate) struct Opening<'a> {
    pub(crate) account: AccountId,
    pub(crate) session: SessionId,
    pub(crate) command: &'a Command,
}

/// What a client holds.
#[derive(Clone, Debug)]
pub(crate) struct Tokens {
    pub(crate) access: Secret,
    pub(crate) access_expires_at: Timestamp,
    pub(crate) refresh: Secret,
    pub(crate) refresh_expires_at: Timestamp,
}

/// A client that is signed in.
#[derive(Clone, Debug)]
pub(crate) struct SignedIn {
    pub(crate) account: AccountId,
    pub(crate) session: SessionId,
    pub(crate) tokens: Tokens,
    pub(crate) token: Token,
}

/// An open session, as its person sees it.
#[derive(Clone, Debug)]
pub(crate) struct SessionView {
    pub(crate) session: SessionId,
    pub(crate) label: String,
    pub(crate) opened_at: Timestamp,
    pub(crate) refreshed_at: Timestamp,
    pub(crate) expires_at: Timestamp,
}

pub(crate) fn ended() -> Failure {
    Failure::new(Reason::SESSION_ENDED)
}

impl App {
    /// Opens the session in the account, then its family of tokens. A repeat of the call gets the same tokens while
    /// the session stands; an ended one does not come back.
    pub(crate) async fn open_session(
        &self,
        call: &Call,
        opening: Opening<'_>,
    ) -> Result<SignedIn, Failure> {
        let Opening {
            account,
            session,
            command,
        } = opening;
        let facts = self.account_facts(account);
        let outcome = self
            .engine
            .execute::<Account, _>(call, account, command, async move |_| Ok(facts))
            .await?;
        let state = if outcome.repeated {
            Arc::clone(&self.load::<Account>(account).await?.state)
        } else {
            outcome.state
        };
        let opened = state.sessions.get(&session).ok_or_else(ended)?;
        let family = self
            .open_family(account, session, call.commit, opened.opened_at)
            .await?;
        Ok(SignedIn {
            account,
            session,
            tokens: self.tokens(account, session, &family)?,
            token: outcome.position,
        })
    }

    async fn open_family(
        &self,
        account: AccountId,
        session: SessionId,
        seed: CommitId,
        at: Timestamp,
    ) -> Result<session::State, Failure> {
        let now = self.now();
        let command = FamilyCommand::Open { account, seed, at };
        let call = self.fresh_call();
        let outcome = self
            .engine
            .execute::<SessionFamily, _>(&call, session, &command, async move |_| Ok(now))
            .await?;
        Ok((*outcome.state).clone())
    }

    /// The newest tokens of a session.
    pub(crate) fn tokens(
        &self,
        account: AccountId,
        session: SessionId,
        family: &session::State,
    ) -> Result<Tokens, Failure> {
        let now = self.now();
        let claims = Claims {
            account,
            session,
            issued_at: now,
            expires_at: now.plus(ACCESS_LIVES),
            signed_in_at: family.opened_at,
        };
        let access = self.signer.sign(&claims);
        let refresh = self
            .secrets
            .refresh_token(session, family.seed, family.generation);
        Ok(Tokens {
            access: access.map_err(|_| Failure::new(Reason::INTERNAL))?,
            access_expires_at: claims.expires_at,
            refresh: refresh.into(),
            refresh_expires_at: family.expires_at(),
        })
    }

    /// Ends a session of an account on the request of its person. The account says so first: it is what others hear.
    pub(crate) async fn end_session(
        &self,
        request: &Request,
        account: AccountId,
        session: SessionId,
        cause: Cause,
    ) -> Result<Token, Failure> {
        let (who, actor) = (account.as_bytes(), Actor::Account(account));
        let call = self.call(request, who, actor, &[session.as_bytes()]);
        let command = Command::EndSession { session, cause };
        let facts = self.account_facts(account);
        let outcome = self
            .engine
            .execute::<Account, _>(&call, account, &command, async move |_| Ok(facts))
            .await?;
        self.remove::<SessionFamily>(session).await?;
        Ok(outcome.position)
    }

    /// The open sessions of an account, newest first.
    pub(crate) async fn list_sessions(
        &self,
        account: AccountId,
    ) -> Result<Vec<SessionView>, Failure> {
        let loaded = self.load::<Account>(account).await?;
        let now = self.now();
        let mut sessions = Vec::new();
        for (id, session) in &loaded.state.sessions {
            let family = self.load::<SessionFamily>(*id).await?;
            if family.state.account != Some(account) || now >= family.state.expires_at() {
                continue;
            }
            sessions.push(SessionView {
                session: *id,
                label: self.open_text(&session.label).await?,
                opened_at: session.opened_at,
                refreshed_at: family.state.rotated_at,
                expires_at: family.state.expires_at(),
            });
        }
        sessions.sort_by_key(|it| std::cmp::Reverse((it.opened_at, it.session)));
        Ok(sessions)
    }
}
