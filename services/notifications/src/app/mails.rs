//! Takes over the mails that accounts asks for. Once taken over, a mail is this service's to send.

use std::sync::Arc;

use async_trait::async_trait;
use hearth_api::events::v1::{Envelope, MailRequested, accounts_event, envelope};
use hearth_engine::{CodecError, Consume, ConsumeError, Engine, Stamp};
use hearth_kernel::{Sealed, Service, Timestamp};
use hearth_notifications_domain::mail;
use hearth_ports::{Family, Message, Stream};
use prost::Message as _;
use uuid::Uuid;

use super::{own_call, unless_gone};
use crate::aggregates::Mail;
use crate::codec::id;

/// The process manager.
pub(crate) struct Mails {
    pub(crate) engine: Engine,
}

impl Mails {
    async fn take(&self, message: &Message, event: &MailRequested) -> Result<(), ConsumeError> {
        let malformed = CodecError::Malformed("requested mail");
        let mail: Uuid = id(&event.mail_id)?;
        let expires_at = event.expires_at.as_ref().ok_or_else(|| malformed.clone())?;
        let expires_at = Timestamp::from_seconds(expires_at.seconds);
        let now = self.engine.now();
        if expires_at <= now {
            tracing::info!(%mail, "a requested mail expired before it was taken over");
            return Ok(());
        }
        if Sealed::decode(&event.sealed).is_none() {
            return Err(malformed.into());
        }
        let command = mail::Command::Take(mail::Taken {
            account: id(&event.account_id)?,
            sealed: Arc::from(event.sealed.as_ref()),
            expires_at,
        });
        let causation = Stamp::read(&message.bytes).and_then(|stamp| stamp.commit_id());
        let call = own_call(&self.engine, causation, "mail.take", &[mail.as_bytes()]);
        let taken = self
            .engine
            .execute::<Mail, _>(&call, mail, &command, async move |_| Ok(now));
        unless_gone(taken.await)?;
        Ok(())
    }
}

#[async_trait]
impl Consume for Mails {
    fn name(&self) -> String {
        "notifications.mails".to_owned()
    }

    fn sources(&self) -> Vec<Stream> {
        vec![Stream::new(Family::Int, Service::Accounts)]
    }

    async fn handle(&self, message: &Message) -> Result<(), ConsumeError> {
        let envelope = Envelope::decode(message.bytes.clone());
        let envelope = envelope.map_err(|_| CodecError::Malformed("envelope"))?;
        let Some(envelope::Payload::AccountsEvent(event)) = envelope.payload else {
            return Err(CodecError::Malformed("event of accounts").into());
        };
        match event.event {
            Some(accounts_event::Event::MailRequested(event)) => self.take(message, &event).await,
            // What accounts tells besides concerns others.
            Some(_) => Ok(()),
            None => Err(CodecError::Malformed("event of accounts").into()),
        }
    }
}
