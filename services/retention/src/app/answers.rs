//! The services' answers, as each publishes its own.

use async_trait::async_trait;
use hearth_api::events::v1::{
    self as events, accounts_fact, envelope::Payload, ingest_fact, notifications_fact,
    retention_fact, vault_fact,
};
use hearth_engine::{CodecError, Consume, ConsumeError, Stamp};
use hearth_kernel::ErasureId;
use hearth_ports::{Family, Message, Stream};
use hearth_retention_domain::erasure::{Command, Left, Store};
use prost::Message as _;

use super::App;
use crate::project::time_of;

/// The kind of the fact.
const KIND: &str = "erasure";

/// The process manager.
pub(crate) struct Answers(pub(crate) App);

#[async_trait]
impl Consume for Answers {
    fn name(&self) -> String {
        "retention.answers".to_owned()
    }

    fn sources(&self) -> Vec<Stream> {
        let services = self.0.choices.services.iter();
        services
            .map(|service| Stream::new(Family::State, *service))
            .collect()
    }

    async fn handle(&self, message: &Message) -> Result<(), ConsumeError> {
        if message.subject.kind() != KIND {
            return Ok(());
        }
        if Stamp::read(&message.bytes).is_some_and(|stamp| stamp.gone) {
            return Ok(());
        }
        let answer = read(&message.bytes)?;
        let erasure = ErasureId::from_slice(&answer.erasure_id);
        let erasure = erasure.ok_or(CodecError::Malformed("erasure answer"))?;
        // An answer that stands after the erasure is over says nothing new.
        let loaded = self.0.load(erasure).await?;
        if !loaded.exists() || loaded.state.is_over() {
            return Ok(());
        }
        let command = Command::Answer {
            service: message.subject.stream().service,
            stores: answer.stores.into_iter().map(store).collect(),
        };
        self.0.take(erasure, &command).await?;
        Ok(())
    }
}

/// The answer in the facts of whichever service.
fn read(bytes: &[u8]) -> Result<events::ErasureAnswer, CodecError> {
    let envelope =
        events::Envelope::decode(bytes).map_err(|_| CodecError::Malformed("envelope"))?;
    let answer = match envelope.payload {
        Some(Payload::AccountsFact(it)) => match it.fact {
            Some(accounts_fact::Fact::Erasure(answer)) => Some(answer),
            _ => None,
        },
        Some(Payload::IngestFact(it)) => match it.fact {
            Some(ingest_fact::Fact::Erasure(answer)) => Some(answer),
            _ => None,
        },
        Some(Payload::NotificationsFact(it)) => match it.fact {
            Some(notifications_fact::Fact::Erasure(answer)) => Some(answer),
            _ => None,
        },
        Some(Payload::RetentionFact(it)) => match it.fact {
            Some(retention_fact::Fact::Erasure(answer)) => Some(answer),
            _ => None,
        },
        Some(Payload::VaultFact(it)) => match it.fact {
            Some(vault_fact::Fact::Erasure(answer)) => Some(answer),
            _ => None,
        },
        _ => None,
    };
    answer.ok_or(CodecError::Malformed("erasure answer"))
}

fn store(it: events::StoreErased) -> Store {
    let left = |it: events::ResidualLeft| Left {
        what: it.what,
        ends_at: it.ends_at.as_ref().map(time_of),
    };
    Store {
        name: it.store,
        removed: it.removed,
        residuals: it.residuals.into_iter().map(left).collect(),
    }
}
