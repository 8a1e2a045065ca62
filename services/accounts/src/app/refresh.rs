//! Refresh: an old token for new ones, the same new ones for all who ask at the same time, and the end of the session
//! for whoever asks too late.

use hearth_accounts_domain::account::{Cause, Command};
use hearth_accounts_domain::session::{Command as FamilyCommand, Rejection, State};
use hearth_engine::ExecuteError;
use hearth_kernel::{AccountId, Decider, Failure, SessionId};

use super::secrets::Shown;
use super::sessions::{Tokens, ended};
use super::{App, Token};
use crate::aggregates::{Account, SessionFamily};

/// How often a rotation that others overtook is looked at again.
const TRIES: u32 = 3;

impl App {
    /// Changes a refresh token for new tokens.
    pub(crate) async fn refresh(&self, token: &str) -> Result<(Tokens, Token), Failure> {
        let shown = Shown::parse(token).ok_or_else(ended)?;
        let family = self.load::<SessionFamily>(shown.session).await?;
        let account = family.state.account.ok_or_else(ended)?;
        if !self.secrets.proves(&shown, family.state.seed) {
            return Err(ended());
        }
        let rotated = self.rotate(account, &shown).await?;
        // Asked after the rotation: an end that was acked before this call began is seen here, so no descendant of a
        // revoked token works even once.
        let loaded = self.load::<Account>(account).await?;
        let stands = loaded.state.sessions.contains_key(&shown.session);
        if !stands || !loaded.state.may_sign_in() {
            self.remove::<SessionFamily>(shown.session).await?;
            return Err(ended());
        }
        Ok((
            self.tokens(account, shown.session, &rotated)?,
            loaded.position,
        ))
    }

    async fn rotate(&self, account: AccountId, shown: &Shown) -> Result<State, Failure> {
        let command = FamilyCommand::Rotate {
            shown: shown.generation,
        };
        for _ in 0..TRIES {
            let now = self.now();
            let call = self.fresh_call();
            let outcome = self.engine.execute::<SessionFamily, _>(
                &call,
                shown.session,
                &command,
                async move |_| Ok(now),
            );
            match outcome.await {
                Ok(outcome) => return Ok((*outcome.state).clone()),
                Err(ExecuteError::Refused(_)) => {}
                Err(error) => return Err(error.into()),
            }
            let family = self.load::<SessionFamily>(shown.session).await?;
            match SessionFamily::decide(&family.state, &command, &now) {
                Ok(_) => {}
                Err(Rejection::TokenWasReused) => {
                    tracing::warn!("refresh token used again, session ended");
                    let cause = Cause::TokenReused;
                    return Err(self.kill(account, shown.session, cause).await);
                }
                // What it said about a device goes with it, and not only when she signs in again.
                Err(Rejection::HasExpired) => {
                    return Err(self.kill(account, shown.session, Cause::Expired).await);
                }
                Err(_) => return Err(ended()),
            }
        }
        Err(ended())
    }

    /// Ends a session of which somebody has a copy, or whose time is over.
    async fn kill(&self, account: AccountId, session: SessionId, cause: Cause) -> Failure {
        let killed = self
            .of_account(account, &Command::EndSession { session, cause })
            .await;
        // Not open any more is as good.
        match killed {
            Ok(()) => {}
            Err(failure) if failure.reason == hearth_kernel::Reason::SESSION_ENDED => {}
            Err(failure) => return failure,
        }
        match self.remove::<SessionFamily>(session).await {
            Ok(_) => ended(),
            Err(failure) => failure,
        }
    }
}
