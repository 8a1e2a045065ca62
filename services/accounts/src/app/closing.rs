//! Closing an account, taking that back, and the end of the grace.

use std::time::Duration;

use hearth_accounts_domain::account::{Closing, Command, Event, Status};
use hearth_engine::Actor;
use hearth_kernel::{AccountId, Failure, HomeId, Reason, ReceiptId, Role, Secret};
use ring::digest::{SHA256, digest};
use uuid::Uuid;

use super::caller::Request;
use super::{App, Token, secrets};
use crate::aggregates::{Account, Home};

/// What a closing leaves with its person.
#[derive(Clone, Debug)]
pub(crate) struct Closed {
    pub(crate) closing: Closing,
    pub(crate) receipt: ReceiptId,
    pub(crate) receipt_secret: [u8; 32],
    pub(crate) ending_homes: Vec<HomeId>,
    pub(crate) token: Token,
}

/// Who takes a closing back.
#[derive(Clone, Debug)]
pub(crate) enum Reopening {
    /// Its person, signed in.
    SignedIn(AccountId),
    /// Whoever has the mail.
    ByToken(AccountId, String),
}

impl App {
    /// Closes the account: the grace begins.
    pub(crate) async fn close(
        &self,
        request: &Request,
        account: AccountId,
        password: &Secret,
        grace: Duration,
    ) -> Result<Closed, Failure> {
        // The same door as sign-in, and the same count, so that a stolen session is no way around its limits.
        let address = self.load::<Account>(account).await?.state.address_key;
        let address = Uuid::from_bytes(address.0);
        self.attempts.enter(address, self.now())?;
        self.check_password(account, password).await?;
        self.attempts.forgive(address);
        let grace_bytes = grace.as_micros().to_be_bytes();
        let actor = Actor::Account(account);
        let call = self.call(request, account.as_bytes(), actor, &[&grace_bytes]);
        let (receipt, receipt_secret) = self.secrets.receipt(call.commit);
        let now = self.now();
        let mut closing = Closing {
            closed_at: now,
            grace_ends_at: now.plus(grace),
            receipt,
            receipt_secret_hash: [0; 32],
        };
        let hash = digest(&SHA256, &receipt_secret);
        closing.receipt_secret_hash.copy_from_slice(hash.as_ref());
        let loaded = self.load::<Account>(account).await?;
        let recipient = self.recipient(&loaded.state).await?;
        let mail = self.closing_mail(account, receipt, &recipient, closing.grace_ends_at);
        let command = Command::StartClosing { closing, mail };
        let facts = self.account_facts(account);
        let outcome = self
            .engine
            .execute::<Account, _>(&call, account, &command, async move |_| Ok(facts))
            .await?;
        let first = outcome.events.iter().find_map(|event| match event {
            Event::ClosingStarted(closing) => Some(*closing),
            _ => None,
        });
        Ok(Closed {
            closing: first.unwrap_or(closing),
            receipt,
            receipt_secret,
            ending_homes: self.ending_homes(account).await?,
            token: outcome.position,
        })
    }

    /// The homes of which she is the last owner.
    async fn ending_homes(&self, account: AccountId) -> Result<Vec<HomeId>, Failure> {
        let loaded = self.load::<Account>(account).await?;
        let mut ending = Vec::new();
        for (home, access) in &loaded.state.homes {
            let state = &self.load::<Home>(*home).await?.state;
            let member = state.members.get(&access.membership);
            let owner = member.is_some_and(|it| it.scope.role == Role::Owner);
            if owner && state.owners() == 1 {
                ending.push(*home);
            }
        }
        Ok(ending)
    }

    /// Takes a closing back.
    pub(crate) async fn reopen(&self, request: &Request, who: Reopening) -> Result<Token, Failure> {
        let account = match who {
            Reopening::SignedIn(account) => account,
            Reopening::ByToken(account, token) => {
                self.check_undo(account, &token).await?;
                account
            }
        };
        let call = self.call(request, account.as_bytes(), Actor::Account(account), &[]);
        let facts = self.account_facts(account);
        let outcome = self
            .engine
            .execute::<Account, _>(&call, account, &Command::Reopen, async move |_| Ok(facts))
            .await?;
        Ok(outcome.position)
    }

    /// The token of the closing that runs now; an unknown account and a wrong token look alike.
    async fn check_undo(&self, account: AccountId, token: &str) -> Result<(), Failure> {
        let loaded = self.load::<Account>(account).await?;
        let receipt = match loaded.state.status {
            Status::Closing(closing) => closing.receipt,
            _ => ReceiptId::default(),
        };
        let right = self.secrets.undo_token(account, receipt);
        let matches = secrets::same(&right, token) && !receipt.is_nil();
        if matches {
            return Ok(());
        }
        Err(Reason::ACCOUNT_NOT_CLOSING.into())
    }
}
