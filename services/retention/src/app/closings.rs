//! Closings, as accounts publishes them: announced, due, or taken back.
//!
//! The end of a fact names the account only, so the receipts that an account was announced with are kept in a document,
//! under a hash of the account, until the erasure begins or the account is reopened.

use async_trait::async_trait;
use bytes::Bytes;
use hearth_api::events::v1::{self as events, accounts_fact::Fact, envelope::Payload};
use hearth_engine::{CodecError, Consume, ConsumeError, Stamp};
use hearth_kernel::{AccountId, MembershipId, ReceiptId, Service};
use hearth_ports::{Family, Message, Range, Stream, Table};
use hearth_retention_domain::erasure::{Closing, Command};
use prost::Message as _;

use super::App;
use crate::project::time_of;

/// Announced closings: partition, a hash of the account; key, the receipt.
const TABLE: Table = Table("retention_closings");
/// The kind of the fact.
const KIND: &str = "closing";
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
        vec![Stream::new(Family::State, Service::Accounts)]
    }

    async fn handle(&self, message: &Message) -> Result<(), ConsumeError> {
        if message.subject.kind() != KIND {
            return Ok(());
        }
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
}

impl Closings {
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
