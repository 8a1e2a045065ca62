//! From an episode to a notice for each member who may see what it is about, on the channels that she has left on.

use std::sync::Arc;

use async_trait::async_trait;
use hearth_engine::{Commit, Consume, ConsumeError, Engine};
use hearth_kernel::{
    AccountId, EpisodeId, Failure, HomeId, MembershipId, NoticeId, Reason, Service,
};
use hearth_notifications_domain::episode::{self, Of};
use hearth_notifications_domain::notice::{self, Source};
use hearth_ports::{Binding, Family, Message, Read, Stream};

use super::facts::Facts;
use super::{own_call, unless_gone};
use crate::aggregates::{Episode, Notice, Preferences};
use crate::codec::content::Content;
use crate::codec::{id, sealed_part};
use hearth_engine::Aggregate;

/// The process manager that makes notices.
pub(crate) struct Fanout {
    pub(crate) engine: Engine,
    pub(crate) facts: Arc<dyn Facts>,
}

/// One recipient of an episode's notices.
struct Recipient {
    account: AccountId,
    membership: MembershipId,
    areas: hearth_access::Member,
}

fn stale(_: hearth_engine::Stale) -> ConsumeError {
    Failure::new(Reason::STALE_KNOWLEDGE).into()
}

/// The notice of an episode to a member: the same whenever it is made.
pub(crate) fn notice_id(engine: &Engine, episode: EpisodeId, member: MembershipId) -> NoticeId {
    let parts: [&[u8]; 2] = [episode.as_bytes(), member.as_bytes()];
    engine.hasher().id("notice", &parts).into()
}

impl Fanout {
    async fn recipients(&self, home: HomeId) -> Result<Vec<Recipient>, ConsumeError> {
        let Some(facts) = self.facts.home(home).await.map_err(stale)? else {
            return Ok(Vec::new());
        };
        let mut recipients = Vec::new();
        for membership in facts.members {
            let account = self.facts.account_of(membership).await.map_err(stale)?;
            let Some(account) = account else { continue };
            let member = self.facts.member(account, home).await.map_err(stale)?;
            let Some(areas) = member.filter(|it| it.membership == membership) else {
                continue;
            };
            recipients.push(Recipient {
                account,
                membership,
                areas,
            });
        }
        Ok(recipients)
    }

    async fn event(
        &self,
        commit: &Commit,
        index: usize,
        event: &episode::Event,
    ) -> Result<(), ConsumeError> {
        let episode: EpisodeId = id(&commit.aggregate)?;
        let part = sealed_part(commit, index)?;
        let binding = Binding::Event(part.origin.clone());
        let sealing = self.engine.sealing();
        let opened = sealing
            .open(part.owner, part.purpose, &binding, &part.bytes)
            .await?;
        // Erased, or found again after a week: there is nothing to tell.
        let Some(clear) = opened.clear() else {
            return Ok(());
        };
        let content = Content::read(&clear)?;
        for recipient in self.recipients(event.of().home).await? {
            let notice = notice_id(&self.engine, episode, recipient.membership);
            let told = match event {
                episode::Event::Began { of, .. } => {
                    self.make((episode, *of), notice, &recipient, &content)
                        .await
                }
                episode::Event::Ended { .. } => {
                    let part = content.part();
                    let command = notice::Command::NoteEnd { content: part };
                    self.execute(commit, notice, "notice.end", command).await
                }
            };
            told?;
        }
        Ok(())
    }

    async fn make(
        &self,
        (episode, of): (EpisodeId, Of),
        notice: NoticeId,
        recipient: &Recipient,
        content: &Content,
    ) -> Result<(), ConsumeError> {
        if !recipient.areas.sees(content.area) {
            return Ok(());
        }
        let preferences = self
            .engine
            .load::<Preferences>(recipient.account, Read::Leader)
            .await?;
        let channels = preferences.state.channels(of.topic, self.engine.now());
        if preferences.gone || !channels.any() {
            return Ok(());
        }
        let command = notice::Command::Make {
            account: recipient.account,
            source: Source {
                home: of.home,
                membership: recipient.membership,
                rule: of.rule,
                episode,
                topic: of.topic,
            },
            channels,
            content: content.part(),
        };
        let call = own_call(&self.engine, None, "notice.make", &[notice.as_bytes()]);
        let now = self.engine.now();
        let made = self
            .engine
            .execute::<Notice, _>(&call, notice, &command, async move |_| Ok(now));
        unless_gone(made.await)?;
        Ok(())
    }

    async fn execute(
        &self,
        commit: &Commit,
        notice: NoticeId,
        label: &str,
        command: notice::Command,
    ) -> Result<(), ConsumeError> {
        let call = own_call(
            &self.engine,
            commit.commit_id(),
            label,
            &[notice.as_bytes()],
        );
        let now = self.engine.now();
        let done = self
            .engine
            .execute::<Notice, _>(&call, notice, &command, async move |_| Ok(now));
        unless_gone(done.await)?;
        Ok(())
    }
}

#[async_trait]
impl Consume for Fanout {
    fn name(&self) -> String {
        "notifications.fanout".to_owned()
    }

    fn sources(&self) -> Vec<Stream> {
        vec![Stream::new(Family::Evt, Service::Notifications)]
    }

    async fn handle(&self, message: &Message) -> Result<(), ConsumeError> {
        if message.subject.kind() != Episode::KIND {
            return Ok(());
        }
        let commit = Commit::read(&message.bytes)?;
        for (index, stored) in commit.events.iter().enumerate() {
            let event = Episode::decode_event(&stored.name, stored.major, &stored.public)?;
            self.event(&commit, index, &event).await?;
        }
        Ok(())
    }
}
