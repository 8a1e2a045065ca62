//! Rules of the story: what is watched for, the notices they make, and the mails that go out or do not.

use std::time::Duration;

use anyhow::{Context as _, Result};
use hearth_api::notifications::v1::{
    ArmHomeRequest, Channel, HeatingLeftOn, ListInboxRequest, MotionWhileArmed, MuteAllRequest,
    Notice, Preference, PutRuleRequest, SetPreferenceRequest, StreamInboxRequest,
    StreamInboxResponse, Topic, UnmuteAllRequest, put_rule_request::Condition,
};
use hearth_api::types::v1::Capability;
use hearth_ports::Clock;
use tonic::Streaming;

use super::data::{Gadget, Sample, Value};
use super::home::Home;
use super::people::{Line, Person, refused, request_id, wire_duration};
use super::replay::Session;
use super::screen::{Screen, check};

/// How long heating is on before it was left on.
pub(super) const LEFT_ON: Duration = Duration::from_secs(3600);
/// How long nothing must move before the next motion is news.
pub(super) const COOLDOWN: Duration = Duration::from_secs(10);
/// How long a notice may take to arrive.
const NOTICE: Duration = Duration::from_secs(20);

/// Turns mails for heating and motion on.
pub(super) async fn want_mails(who: &Person) -> Result<()> {
    for topic in [Topic::Heating, Topic::Motion] {
        let preference = Preference {
            topic: topic.into(),
            channel: Channel::Email.into(),
            on: true,
        };
        let set = SetPreferenceRequest {
            request_id: request_id()?,
            preference: Some(preference),
        };
        let set = who
            .notifications()
            .set_preference(who.call(set).await?)
            .await;
        who.saw(set.map_err(refused("SetPreference"))?.into_inner().token);
    }
    Ok(())
}

/// Puts the two rules and arms the living room.
pub(super) async fn put_rules(who: &Person, home: &Home) -> Result<()> {
    let living_room = home.area("Living room")?;
    let heating = HeatingLeftOn {
        device_ids: vec![home.device(Gadget::Boiler)?.to_string()],
        area_ids: Vec::new(),
        after: Some(wire_duration(LEFT_ON)),
        nobody_present: true,
    };
    let motion = MotionWhileArmed {
        area_ids: vec![living_room.to_string()],
        cooldown: Some(wire_duration(COOLDOWN)),
    };
    for condition in [
        Condition::HeatingLeftOn(heating),
        Condition::MotionWhileArmed(motion),
    ] {
        let put = PutRuleRequest {
            request_id: request_id()?,
            home_id: home.id.to_string(),
            rule_id: String::new(),
            enabled: true,
            condition: Some(condition),
        };
        let put = who.notifications().put_rule(who.call(put).await?).await;
        who.saw(put.map_err(refused("PutRule"))?.into_inner().token);
    }
    let arm = ArmHomeRequest {
        request_id: request_id()?,
        home_id: home.id.to_string(),
        area_ids: vec![living_room.to_string()],
    };
    let armed = who.notifications().arm_home(who.call(arm).await?).await;
    who.saw(armed.map_err(refused("ArmHome"))?.into_inner().token);
    Ok(())
}

/// Sends flags observed now, by the demo's clock, and waits until they are durable.
pub(super) async fn observe(
    session: &Session,
    (line, screen): (&Line, &Screen),
    flags: &[(Gadget, Capability, bool)],
) -> Result<()> {
    let at = line.clock.now().micros();
    let sample = |(gadget, capability, flag): &(Gadget, Capability, bool)| Sample {
        at,
        gadget: *gadget,
        capability: *capability,
        value: Value::Flag(*flag),
    };
    let samples: Vec<_> = flags.iter().map(sample).collect();
    session.replay(&samples, screen).await?;
    Ok(())
}

/// Everything in somebody's inbox, newest first.
pub(super) async fn inbox(who: &Person) -> Result<(Vec<Notice>, Vec<u8>)> {
    let list = ListInboxRequest {
        unread_only: false,
        after: who.after(),
        page: None,
    };
    let listed = who.notifications().list_inbox(who.call(list).await?).await;
    let listed = listed.map_err(refused("ListInbox"))?.into_inner();
    Ok((listed.notices, listed.stream_cursor.to_vec()))
}

/// Somebody's inbox, live. Opened again after the last cursor when it ends.
pub(super) struct Inbox<'a> {
    who: &'a Person,
    cursor: Vec<u8>,
    stream: Option<Streaming<StreamInboxResponse>>,
}

impl<'a> Inbox<'a> {
    /// What comes from now on.
    pub(super) async fn open(who: &'a Person) -> Result<Self> {
        let (_, cursor) = inbox(who).await?;
        let mut inbox = Self {
            who,
            cursor,
            stream: None,
        };
        inbox.stream().await?;
        Ok(inbox)
    }

    async fn stream(&mut self) -> Result<&mut Streaming<StreamInboxResponse>> {
        if self.stream.is_none() {
            let from = StreamInboxRequest {
                cursor: self.cursor.clone().into(),
            };
            let mut client = self.who.notifications();
            let opened = client.stream_inbox(self.who.stream(from).await?).await;
            self.stream = Some(opened.map_err(refused("StreamInbox"))?.into_inner());
        }
        self.stream.as_mut().context("a stream was opened")
    }

    /// The next notice about a topic whose episode still goes on.
    pub(super) async fn next(&mut self, topic: Topic) -> Result<Notice> {
        let wanted = |notice: &Notice| notice.topic() == topic && notice.ended_at.is_none();
        let arrives = async {
            loop {
                match self.stream().await?.message().await {
                    Ok(Some(change)) => {
                        self.cursor = change.cursor.to_vec();
                        if let Some(notice) = change.notice.filter(wanted) {
                            return anyhow::Ok(notice);
                        }
                    }
                    // The token's five minutes pass at once when the clock jumps.
                    Ok(None) => self.stream = None,
                    Err(status) if worth_again(&status) => {
                        self.stream = None;
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                    Err(status) => return Err(refused("StreamInbox")(status)),
                }
            }
        };
        match tokio::time::timeout(NOTICE, arrives).await {
            Ok(notice) => notice,
            Err(_elapsed) => anyhow::bail!(
                "expected a notice about {} within {} s; saw none",
                topic.as_str_name(),
                NOTICE.as_secs()
            ),
        }
    }
}

fn worth_again(status: &tonic::Status) -> bool {
    use tonic::Code::{Aborted, Cancelled, Unauthenticated, Unavailable};
    matches!(
        status.code(),
        Aborted | Cancelled | Unauthenticated | Unavailable
    )
}

/// The notice is the one that the rule makes.
pub(super) fn check_notice(notice: &Notice, home: &Home, template: &str) -> Result<()> {
    check(
        notice.template == template,
        format_args!("{template:?}"),
        &notice.template,
    )?;
    check(
        notice.home_id == home.id.to_string(),
        home.id,
        &notice.home_id,
    )?;
    check(!notice.rule_id.is_empty(), "the rule that made it", "none")
}

/// Turns everything off, or takes that back.
pub(super) async fn mute(who: &Person, muted: bool) -> Result<()> {
    let mut client = who.notifications();
    let token = if muted {
        let mute = MuteAllRequest {
            request_id: request_id()?,
            duration: None,
        };
        let answer = client.mute_all(who.call(mute).await?).await;
        answer.map_err(refused("MuteAll"))?.into_inner().token
    } else {
        let unmute = UnmuteAllRequest {
            request_id: request_id()?,
        };
        let answer = client.unmute_all(who.call(unmute).await?).await;
        answer.map_err(refused("UnmuteAll"))?.into_inner().token
    };
    who.saw(token);
    Ok(())
}
