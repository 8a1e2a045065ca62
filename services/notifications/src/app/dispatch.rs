//! What is to be done later: tries of mails, and the end of what is kept for a time only.
//!
//! Every try is a timer, set by the commit that asks for it, and ends with a commit that says what came of it. A
//! crash between the two repeats the mail under the same attempt id, which receivers tell by. Preferences are read
//! again right before each try, so off holds for what is queued.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hearth_api::events::v1::{AddressContent, MailContent};
use hearth_engine::{
    Aggregate, CodecError, Commit, Consume, ConsumeError, Engine, Fire, Timer, Timers,
};
use hearth_kernel::{AccountId, Failure, Owner, Reason, Sealed, Secret, Service, Timestamp};
use hearth_notifications_domain::limits::{EPISODE_KEPT, NOTICE_KEPT};
use hearth_notifications_domain::notice::{self, Made};
use hearth_notifications_domain::{Delivery, Tried, episode, mail};
use hearth_ports::{
    Binding, Family, Mail as OutboundMail, Message, Opened, Outbound, OutboundError, Position,
    Read, Stream,
};
use prost::Message as _;
use uuid::Uuid;

use super::facts::Facts;
use super::letters::{self, Letter};
use super::owned::{Kind, Owned};
use super::{own_call, unless_gone};
use crate::aggregates::{Episode, Mail, Notice, Preferences};
use crate::codec::content::Content;

/// The longest that one try may take.
const TRY: Duration = Duration::from_secs(30);
/// A notice that was forgotten is purged so long after, when relay and views have passed that.
const PURGE_AFTER: Duration = Duration::from_secs(3600);

/// What a timer asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// A try to mail a notice, or a mail.
    Try(Kind, Uuid, u8),
    /// The end of what is kept for a time, with its owner.
    End(Kind, Uuid, Owner),
}

impl Task {
    /// Whether a timer's task names that owner.
    pub(crate) fn names(task: &[u8], owner: Owner) -> bool {
        matches!(Self::decode(task), Some(Self::End(_, _, of)) if of == owner)
    }

    pub(crate) fn encode(self) -> Bytes {
        let mut bytes = Vec::with_capacity(35);
        match self {
            Self::Try(kind, id, attempt) => {
                bytes.extend_from_slice(&[1, kind.number()]);
                bytes.extend_from_slice(id.as_bytes());
                bytes.push(attempt);
            }
            Self::End(kind, id, owner) => {
                bytes.extend_from_slice(&[2, kind.number()]);
                bytes.extend_from_slice(id.as_bytes());
                bytes.extend_from_slice(&owner.to_bytes());
            }
        }
        bytes.into()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk::<2>()?;
        let (id, rest) = rest.split_first_chunk::<16>()?;
        let (kind, id) = (Kind::from_number(head[1])?, Uuid::from_bytes(*id));
        match head[0] {
            1 => Some(Self::Try(kind, id, *rest.first()?)),
            2 => Some(Self::End(kind, id, Owner::from_bytes(rest)?)),
            _ => None,
        }
    }
}

/// The process manager that sets the timers, and keeps the index of what belongs to whom.
pub(crate) struct Dispatch {
    pub(crate) engine: Engine,
    pub(crate) timers: Timers,
    pub(crate) owned: Owned,
}

impl Dispatch {
    async fn set(&self, at: Position, due: Timestamp, task: Task) -> Result<(), ConsumeError> {
        let task = task.encode();
        let id = self.engine.hasher().id("timer", &[&task]);
        Ok(self.timers.set(at, &Timer { due, id, task }).await?)
    }

    async fn made(
        &self,
        at: Position,
        (owner, kind, id): (Owner, Kind, Uuid),
        ends: Timestamp,
    ) -> Result<(), ConsumeError> {
        self.owned.note(owner, kind, id, at).await?;
        self.set(at, ends, Task::End(kind, id, owner)).await
    }

    async fn notice(
        &self,
        at: Position,
        id: Uuid,
        event: &notice::Event,
    ) -> Result<(), ConsumeError> {
        match event {
            notice::Event::Made(made) => {
                let Made {
                    place,
                    source,
                    channels,
                    ..
                } = made;
                let owner = Owner::Account(place.account);
                // A home that ends takes along what was said of it, whoever it was said to.
                let home = Owner::Home(source.home);
                self.owned.note(home, Kind::Notice, id, at).await?;
                let ends = place.made_at.plus(NOTICE_KEPT);
                self.made(at, (owner, Kind::Notice, id), ends).await?;
                if channels.email {
                    self.set(at, place.made_at, Task::Try(Kind::Notice, id, 0))
                        .await?;
                }
                Ok(())
            }
            notice::Event::TryFailed { attempt, due, .. } => {
                self.set(at, *due, Task::Try(Kind::Notice, id, *attempt))
                    .await
            }
            _ => Ok(()),
        }
    }

    async fn mail(&self, at: Position, id: Uuid, event: &mail::Event) -> Result<(), ConsumeError> {
        match event {
            mail::Event::Taken { mail, at: now } => {
                let owner = Owner::Account(mail.account);
                self.made(at, (owner, Kind::Mail, id), now.plus(EPISODE_KEPT))
                    .await?;
                self.set(at, *now, Task::Try(Kind::Mail, id, 0)).await
            }
            mail::Event::TryFailed { attempt, due } => {
                self.set(at, *due, Task::Try(Kind::Mail, id, *attempt))
                    .await
            }
            mail::Event::Done { .. } => Ok(()),
        }
    }
}

#[async_trait]
impl Consume for Dispatch {
    fn name(&self) -> String {
        "notifications.dispatch".to_owned()
    }

    fn sources(&self) -> Vec<Stream> {
        vec![Stream::new(Family::Evt, Service::Notifications)]
    }

    async fn handle(&self, message: &Message) -> Result<(), ConsumeError> {
        let commit = Commit::read(&message.bytes)?;
        let (at, id) = (
            message.position,
            crate::codec::id::<Uuid>(&commit.aggregate)?,
        );
        for stored in &commit.events {
            let (name, major, public) = (&*stored.name, stored.major, &stored.public);
            match &*commit.kind {
                Notice::KIND => {
                    self.notice(at, id, &Notice::decode_event(name, major, public)?)
                        .await?;
                }
                Mail::KIND => {
                    self.mail(at, id, &Mail::decode_event(name, major, public)?)
                        .await?
                }
                Episode::KIND => {
                    let event = Episode::decode_event(name, major, public)?;
                    if let episode::Event::Began { of, at: now, .. } = event {
                        let owner = Owner::Home(of.home);
                        let ends = now.plus(EPISODE_KEPT);
                        self.made(at, (owner, Kind::Episode, id), ends).await?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// What is done when a timer fires.
pub(crate) struct Sender {
    pub(crate) engine: Engine,
    pub(crate) facts: Arc<dyn Facts>,
    pub(crate) outbound: Arc<dyn Outbound>,
    pub(crate) owned: Owned,
    pub(crate) timers: Timers,
}

/// A mail that is ready to go, or why there is none.
enum Ready {
    Mail(Box<(Secret, Letter)>),
    Unwanted,
    /// It can never be said: a kind that this release does not know.
    Unsayable,
}

fn stale(_: hearth_engine::Stale) -> ConsumeError {
    Failure::new(Reason::STALE_KNOWLEDGE).into()
}

impl Sender {
    async fn open(&self, sealed: &Sealed) -> Result<Opened, ConsumeError> {
        let binding = Binding::Event(sealed.origin.clone());
        let sealing = self.engine.sealing();
        Ok(sealing
            .open(sealed.owner, sealed.purpose, &binding, &sealed.bytes)
            .await?)
    }

    /// Sends, unless there is nothing to send. The attempt id is the same for every try.
    async fn send(&self, id: Uuid, ready: Ready) -> Tried {
        let (to, letter) = match ready {
            Ready::Mail(mail) => *mail,
            Ready::Unwanted => return Tried::Unwanted,
            Ready::Unsayable => return Tried::Refused,
        };
        let (subject, text) = letter.secrets();
        let attempt = self.engine.hasher().id("attempt", &[id.as_bytes()]);
        let mail = OutboundMail {
            to,
            subject,
            text,
            attempt: attempt.as_simple().to_string(),
        };
        match tokio::time::timeout(TRY, self.outbound.mail(&mail)).await {
            Ok(Ok(())) => Tried::Accepted,
            Ok(Err(OutboundError::Refused(error))) => {
                tracing::warn!(%id, %error, "a mail was refused");
                Tried::Refused
            }
            Ok(Err(error)) => {
                tracing::info!(%id, %error, "a mail was not taken, trying again");
                Tried::Failed
            }
            Err(_) => Tried::Failed,
        }
    }

    async fn try_notice(&self, id: Uuid, attempt: u8) -> Result<(), ConsumeError> {
        let loaded = self.engine.load::<Notice>(id, Read::Leader).await?;
        let Some(made) = &loaded.state.made else {
            return Ok(());
        };
        if !waits(loaded.state.email, attempt) {
            return Ok(());
        }
        let ready = self.notice_ready(made).await?;
        let tried = self.send(id, ready).await;
        let call = own_call(
            &self.engine,
            None,
            "notice.try",
            &[id.as_bytes(), &[attempt]],
        );
        let command = notice::Command::NoteTry { attempt, tried };
        let now = self.engine.now();
        let noted = self
            .engine
            .execute::<Notice, _>(&call, id, &command, async move |_| Ok(now));
        unless_gone(noted.await)?;
        Ok(())
    }

    async fn notice_ready(&self, made: &Made) -> Result<Ready, ConsumeError> {
        let (account, topic) = (made.place.account, made.source.topic);
        let preferences = self
            .engine
            .load::<Preferences>(account, Read::Leader)
            .await?;
        let wanted = preferences
            .state
            .may_mail(topic, made.place.made_at, self.engine.now());
        if preferences.gone || !wanted {
            return Ok(Ready::Unwanted);
        }
        let member = self
            .facts
            .member(account, made.source.home)
            .await
            .map_err(stale)?;
        let (Some(_), Some(to)) = (member, self.address(account).await?) else {
            return Ok(Ready::Unwanted);
        };
        let Some(sealed) = made.content.sealed() else {
            return Ok(Ready::Unsayable);
        };
        let Some(clear) = self.open(sealed).await?.clear() else {
            return Ok(Ready::Unwanted);
        };
        let letter = letters::notice_mail(topic, &Content::read(&clear)?);
        Ok(Ready::Mail(Box::new((to, letter))))
    }

    async fn address(&self, account: AccountId) -> Result<Option<Secret>, ConsumeError> {
        let Some(sealed) = self.facts.address(account).await.map_err(stale)? else {
            return Ok(None);
        };
        let Some(clear) = self.open(&sealed).await?.clear() else {
            return Ok(None);
        };
        let content = AddressContent::decode(clear.expose());
        let content = content.map_err(|_| CodecError::Malformed("address"))?;
        Ok(Some(Secret::from(content.email)))
    }

    async fn try_mail(&self, id: Uuid, attempt: u8) -> Result<(), ConsumeError> {
        let loaded = self.engine.load::<Mail>(id, Read::Leader).await?;
        let Some(taken) = &loaded.state.taken else {
            return Ok(());
        };
        if !waits(loaded.state.delivery, attempt) {
            return Ok(());
        }
        let ready = self.mail_ready(taken).await?;
        let tried = self.send(id, ready).await;
        let call = own_call(&self.engine, None, "mail.try", &[id.as_bytes(), &[attempt]]);
        let command = mail::Command::NoteTry { attempt, tried };
        let now = self.engine.now();
        let noted = self
            .engine
            .execute::<Mail, _>(&call, id, &command, async move |_| Ok(now));
        unless_gone(noted.await)?;
        Ok(())
    }

    async fn mail_ready(&self, taken: &mail::Taken) -> Result<Ready, ConsumeError> {
        if taken.expires_at <= self.engine.now() {
            return Ok(Ready::Unwanted);
        }
        let sealed = Sealed::decode(&taken.sealed).ok_or(CodecError::Malformed("part"))?;
        let Some(clear) = self.open(&sealed).await?.clear() else {
            return Ok(Ready::Unwanted);
        };
        let content = MailContent::decode(clear.expose());
        let content = content.map_err(|_| CodecError::Malformed("mail content"))?;
        let Some(letter) = letters::account_mail(&content) else {
            return Ok(Ready::Unsayable);
        };
        Ok(Ready::Mail(Box::new((Secret::from(content.to), letter))))
    }

    /// Ends what was kept for a time. A notice is forgotten first, and purged when its rows have gone.
    async fn end(&self, kind: Kind, id: Uuid, owner: Owner) -> Result<(), ConsumeError> {
        if kind == Kind::Notice {
            let notice = self.engine.load::<Notice>(id, Read::Follower).await?;
            if let Some(made) = &notice.state.made {
                let home = Owner::Home(made.source.home);
                self.owned.forget(home, kind, id).await?;
            }
            if self.forget(id, owner).await? {
                return Ok(());
            }
        }
        kind.purge(&self.engine, id).await?;
        Ok(self.owned.forget(owner, kind, id).await?)
    }

    /// Forgets a notice, unless it is forgotten or gone. Answers whether it did: then it is purged later.
    async fn forget(&self, id: Uuid, owner: Owner) -> Result<bool, ConsumeError> {
        let call = own_call(&self.engine, None, "notice.forget", &[id.as_bytes()]);
        let (now, forget) = (self.engine.now(), notice::Command::Forget);
        let forgotten = self
            .engine
            .execute::<Notice, _>(&call, id, &forget, async move |_| Ok(now));
        let Some(outcome) = unless_gone(forgotten.await)? else {
            return Ok(false);
        };
        let (Some(at), false) = (outcome.position, outcome.repeated) else {
            return Ok(false);
        };
        if outcome.events.is_empty() {
            return Ok(false);
        }
        let task = Task::End(Kind::Notice, id, owner).encode();
        let timer = Timer {
            due: now.plus(PURGE_AFTER),
            id: self.engine.hasher().id("timer", &[&task]),
            task,
        };
        self.timers.set(at, &timer).await?;
        Ok(true)
    }
}

fn waits(delivery: Delivery, attempt: u8) -> bool {
    matches!(delivery, Delivery::Queued { attempt: next, .. } if next == attempt)
}

#[async_trait]
impl Fire for Sender {
    async fn fire(&self, timer: &Timer) -> Result<(), ConsumeError> {
        match Task::decode(&timer.task).ok_or(CodecError::Malformed("timer"))? {
            Task::Try(Kind::Notice, id, attempt) => self.try_notice(id, attempt).await,
            Task::Try(Kind::Mail, id, attempt) => self.try_mail(id, attempt).await,
            Task::Try(Kind::Episode, ..) => Ok(()),
            Task::End(kind, id, owner) => self.end(kind, id, owner).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_come_back() {
        let id = Uuid::from_bytes([7; 16]);
        let owner = Owner::Account(AccountId::from_bytes([8; 16]));
        for task in [
            Task::Try(Kind::Mail, id, 3),
            Task::End(Kind::Notice, id, owner),
        ] {
            let bytes = task.encode();
            assert_eq!(Task::decode(&bytes), Some(task));
            for length in 0..bytes.len() {
                assert_eq!(Task::decode(&bytes[..length]), None);
            }
        }
    }
}
