//! Closings, as accounts publishes them: announced, due, or taken back.
//!
//! The end of a fact names the account only, so the receipts that an account was announced with are kept in a document,
//! under a hash of the account, until the erasure begins or the account is reopened.
//!
//! A registration that lapsed leaves a ring, a log and mails behind. They go the same way, at once: as a closing whose
//! receipt nobody holds the secret of.

use std::collections::BTreeSet;

use async_trait::async_trait;
use bytes::Bytes;
use hearth_api::events::v1::{
    self as events, accounts_event::Event, accounts_fact::Fact, envelope::Payload,
};
use hearth_engine::{CodecError, Consume, ConsumeError, ExecuteError, Stamp};
use hearth_kernel::{AccountId, MembershipId, Reason, ReceiptId, Service};
use hearth_ports::{Family, Message, Range, Stream, Table};
use hearth_retention_domain::erasure::{Closing, Command};
use prost::Message as _;

use super::App;
use crate::project::time_of;

/// Announced closings: partition, a hash of the account; key, the receipt.
const TABLE: Table = Table("retention_closings");
/// The kind of the fact.
const KIND: &str = "closing";
/// The name of the event of a registration that nobody confirmed.
const LAPSED: &str = "account-lapsed";
/// An account is closed and reopened less often than this before its rows are gone.
const AT_MOST: usize = 1_000;

/// The process manager.
pub(crate) struct Closings(pub(crate) App);

#[async_trait]
impl Consume for Closings {
    fn name(&self) -> String {
        "retention.closings".to_owned()
    }

    fn sources(&self) -> Vec<Stream> {
        let of = |family| Stream::new(family, Service::Accounts);
        vec![of(Family::State), of(Family::Int)]
    }

    async fn handle(&self, message: &Message) -> Result<(), ConsumeError> {
        match (message.subject.stream().family, message.subject.kind()) {
            (Family::State, KIND) => self.closing(message).await,
            (Family::Int, LAPSED) => self.lapsed(message).await,
            _ => Ok(()),
        }
    }
}

impl Closings {
    async fn closing(&self, message: &Message) -> Result<(), ConsumeError> {
        let account = message.subject.id().map(AccountId::from);
        let account = account.ok_or(CodecError::Malformed("subject of a closing"))?;
        let gone = Stamp::read(&message.bytes).is_some_and(|stamp| stamp.gone);
        if gone {
            return self.cancel_others(account, None, message).await;
        }
        let fact = read(&message.bytes)?;
        let closing = closing(&fact)?;
        if closing.account != account {
            return Err(CodecError::Malformed("closing of another account").into());
        }
        self.cancel_others(account, Some(closing.receipt), message)
            .await?;
        let erasure = self.0.erasure_of(closing.receipt);
        if fact.due {
            self.0.take(erasure, &self.due(closing, &fact)?).await?;
            return self.forget(account, closing.receipt, message).await;
        }
        self.0.take(erasure, &Command::Announce(closing)).await?;
        let (partition, key) = (self.partition(account), closing.receipt.as_bytes());
        let documents = self.0.engine.documents();
        let stamp = message.position.stamp();
        documents
            .put(TABLE, &partition, key, stamp, Bytes::new())
            .await?;
        Ok(())
    }

    /// Erases what a registration left that nobody confirmed. Nobody has asked for it, so nobody gets its receipt.
    async fn lapsed(&self, message: &Message) -> Result<(), ConsumeError> {
        let account = lapsed(&message.bytes)?;
        let (hasher, now) = (self.0.engine.hasher(), self.0.engine.now());
        let receipt: ReceiptId = hasher.id("lapsed", &[account.as_bytes()]).into();
        let closing = Closing {
            account,
            receipt,
            // A hash that no secret is known to have.
            secret_hash: hasher.hash("receipt of a lapsed account", &[account.as_bytes()]),
            closed_at: now,
            grace_ends_at: now,
        };
        let request = Command::Request {
            closing,
            homes: BTreeSet::new(),
            memberships: BTreeSet::new(),
            services: self.0.choices.services.clone(),
        };
        let erasure = self.0.erasure_of(receipt);
        match self.0.take(erasure, &request).await {
            // Told twice, and forgotten in between.
            Err(ExecuteError::Refused(failure)) if failure.reason == Reason::ERASED => Ok(()),
            other => Ok(other.map(|_| ())?),
        }
    }

    fn partition(&self, account: AccountId) -> [u8; 32] {
        let hasher = self.0.engine.hasher();
        hasher.hash("closings of an account", &[account.as_bytes()])
    }

    fn due(&self, closing: Closing, fact: &events::ClosingFact) -> Result<Command, CodecError> {
        let bad = || CodecError::Malformed("closing");
        let homes = fact.ending_home_ids.iter();
        let memberships = fact.membership_ids.iter();
        Ok(Command::Request {
            closing,
            homes: homes
                .map(|id| hearth_kernel::HomeId::from_slice(id))
                .collect::<Option<_>>()
                .ok_or_else(bad)?,
            memberships: memberships
                .map(|id| MembershipId::from_slice(id))
                .collect::<Option<_>>()
                .ok_or_else(bad)?,
            services: self.0.choices.services.clone(),
        })
    }

    /// Takes back every announced closing of the account but the one that stands. One that has begun goes on.
    async fn cancel_others(
        &self,
        account: AccountId,
        stands: Option<ReceiptId>,
        message: &Message,
    ) -> Result<(), ConsumeError> {
        let documents = self.0.engine.documents();
        let partition = self.partition(account);
        let rows = documents
            .range(TABLE, &partition, Range::all(AT_MOST))
            .await?;
        for row in rows {
            let receipt = ReceiptId::from_slice(&row.key);
            let Some(receipt) = receipt.filter(|receipt| Some(*receipt) != stands) else {
                continue;
            };
            self.0
                .take(self.0.erasure_of(receipt), &Command::Cancel)
                .await?;
            self.forget(account, receipt, message).await?;
        }
        Ok(())
    }

    async fn forget(
        &self,
        account: AccountId,
        receipt: ReceiptId,
        message: &Message,
    ) -> Result<(), ConsumeError> {
        let documents = self.0.engine.documents();
        let (partition, stamp) = (self.partition(account), message.position.stamp());
        documents
            .delete(TABLE, &partition, receipt.as_bytes(), stamp)
            .await?;
        Ok(())
    }
}

fn read(bytes: &[u8]) -> Result<events::ClosingFact, CodecError> {
    let envelope =
        events::Envelope::decode(bytes).map_err(|_| CodecError::Malformed("envelope"))?;
    match envelope.payload {
        Some(Payload::AccountsFact(events::AccountsFact {
            fact: Some(Fact::Closing(closing)),
        })) => Ok(closing),
        _ => Err(CodecError::Malformed("closing")),
    }
}

fn lapsed(bytes: &[u8]) -> Result<AccountId, CodecError> {
    let bad = || CodecError::Malformed("lapsed account");
    let envelope = events::Envelope::decode(bytes).map_err(|_| bad())?;
    match envelope.payload {
        Some(Payload::AccountsEvent(events::AccountsEvent {
            event: Some(Event::AccountLapsed(lapsed)),
        })) => AccountId::from_slice(&lapsed.account_id).ok_or_else(bad),
        _ => Err(bad()),
    }
}

fn closing(fact: &events::ClosingFact) -> Result<Closing, CodecError> {
    let bad = || CodecError::Malformed("closing");
    Ok(Closing {
        account: AccountId::from_slice(&fact.account_id).ok_or_else(bad)?,
        receipt: ReceiptId::from_slice(&fact.receipt_id).ok_or_else(bad)?,
        secret_hash: fact
            .receipt_secret_hash
            .as_ref()
            .try_into()
            .map_err(|_| bad())?,
        closed_at: time_of(fact.closed_at.as_ref().ok_or_else(bad)?),
        grace_ends_at: time_of(fact.grace_ends_at.as_ref().ok_or_else(bad)?),
    })
}
