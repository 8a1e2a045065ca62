//! What the service does by itself: it goes on with registrations behind their answer, finishes what a crash cut off,
//! and watches the times that were given.
//!
//! Everything it does is a command that names its own effect, so seeing a message twice, or late, is harmless.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use hearth_accounts_domain::account::Event as AccountEvent;
use hearth_accounts_domain::home::Event as HomeEvent;
use hearth_accounts_domain::registration::Stage;
use hearth_engine::{
    Aggregate, CodecError, Commit, Consume, ConsumeError, Fire, Timer, Timers, decode_events,
};
use hearth_kernel::{AccountId, Failure, HomeId, Kind, RegistrationId, Service};
use hearth_ports::{Family, Message, Stream};
use uuid::Uuid;

use crate::aggregates::{Account, Home, Membership, Registration, SessionFamily};
use crate::app::App;

/// The task of a timer: a registration's day is over.
const LAPSE: &[u8] = b"lapse";
/// The task of a timer: the grace of a closing is over.
const END_GRACE: &[u8] = b"end-grace";
/// The task of a timer: the time of a guest is over. The home's id follows; the timer's is the membership's.
const EXPIRE: &[u8] = b"expire ";

/// The process manager of accounts.
pub(crate) struct Process {
    pub(crate) app: App,
    pub(crate) timers: Timers,
}

#[async_trait]
impl Consume for Process {
    fn name(&self) -> String {
        "accounts.process".to_owned()
    }

    fn sources(&self) -> Vec<Stream> {
        let of = |family| Stream::new(family, Service::Accounts);
        vec![of(Family::Evt), of(Family::Rec)]
    }

    async fn handle(&self, message: &Message) -> Result<(), ConsumeError> {
        let Some(id) = message.subject.id() else {
            return Ok(());
        };
        match (message.subject.stream().family, message.subject.kind()) {
            (Family::Evt, Account::KIND) => self.account(id.into(), message).await,
            (Family::Evt, Home::KIND) => self.home(id.into(), message).await,
            (Family::Rec, Registration::KIND) => self.registration(id.into(), message).await,
            _ => Ok(()),
        }
    }
}

/// The events of a message; none of a tombstone.
fn events<A: Aggregate>(id: Uuid, message: &Message) -> Result<Vec<A::Event>, CodecError> {
    let commit = Commit::read(&message.bytes)?;
    if commit.is_tombstone() {
        return Ok(Vec::new());
    }
    decode_events::<A>(id, &commit)
}

impl Process {
    async fn registration(
        &self,
        id: RegistrationId,
        message: &Message,
    ) -> Result<(), ConsumeError> {
        let registration = self.app.load::<Registration>(id).await?;
        if registration.state.stage == Stage::Absent {
            return Ok(());
        }
        let timer = Timer {
            due: registration.state.lapses_at(),
            id: id.into(),
            task: Bytes::from_static(LAPSE),
        };
        self.timers.set(message.position, &timer).await?;
        Ok(self.app.proceed(id).await?)
    }

    async fn account(&self, account: AccountId, message: &Message) -> Result<(), ConsumeError> {
        for event in events::<Account>(account.into(), message)? {
            match event {
                AccountEvent::SessionEnded { session, .. } => {
                    self.app.remove::<SessionFamily>(session).await?;
                }
                AccountEvent::AccessEnded { membership, .. } => {
                    self.app.remove::<Membership>(membership).await?;
                }
                AccountEvent::ClosingStarted(closing) => {
                    let timer = Timer {
                        due: closing.grace_ends_at,
                        id: account.into(),
                        task: Bytes::from_static(END_GRACE),
                    };
                    self.timers.set(message.position, &timer).await?;
                }
                AccountEvent::Closed => self.app.depart_all(account).await?,
                AccountEvent::Lapsed => self.app.clear_lapsed(account).await?,
                _ => {}
            }
        }
        Ok(())
    }

    async fn home(&self, home: HomeId, message: &Message) -> Result<(), ConsumeError> {
        for event in events::<Home>(home.into(), message)? {
            if let HomeEvent::MemberJoined {
                membership, scope, ..
            }
            | HomeEvent::MemberChanged { membership, scope } = &event
                && let Some(due) = scope.expires_at
            {
                let timer = Timer {
                    due,
                    id: (*membership).into(),
                    task: [EXPIRE, home.as_bytes()].concat().into(),
                };
                self.timers.set(message.position, &timer).await?;
            }
            match event {
                HomeEvent::MemberJoined { membership, .. }
                | HomeEvent::MemberChanged { membership, .. }
                | HomeEvent::MemberLeft { membership } => {
                    self.app.mirror_now(home, membership).await?;
                }
                HomeEvent::Ended => {
                    let loaded = self.app.load::<Home>(home).await?;
                    for membership in loaded.state.members.keys() {
                        self.app.mirror_now(home, *membership).await?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// The timers of accounts.
pub(crate) struct Clockwork {
    pub(crate) app: App,
}

#[async_trait]
impl Fire for Clockwork {
    async fn fire(&self, timer: &Timer) -> Result<(), ConsumeError> {
        let done = match &timer.task[..] {
            LAPSE => self.app.lapse(timer.id.into()).await,
            END_GRACE => self.app.end_grace(timer.id.into(), timer.due).await,
            task => {
                let home = task.strip_prefix(EXPIRE).and_then(HomeId::from_slice);
                let home = home.ok_or(CodecError::Malformed("timer"))?;
                self.app.expire(home, timer.id.into(), timer.due).await
            }
        };
        done.map_err(retried)
    }
}

/// A key that is not to be had now is worth another try; so is everything that may pass.
fn retried(failure: Failure) -> ConsumeError {
    match failure.kind() {
        Kind::Unavailable | Kind::Conflict | Kind::Unknown | Kind::Deadline | Kind::Limited => {
            ConsumeError::Retry(Arc::new(failure))
        }
        _ => ConsumeError::Poison(Arc::new(failure)),
    }
}
