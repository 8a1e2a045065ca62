//! Whole stories: from a hub's signal to an inbox and a mail, over the handlers of the API.

use std::time::Duration;

use futures::StreamExt;
use hearth_api::events::v1::{
    AccountsEvent, Envelope, MailContent, MailRequested, VerificationMail, accounts_event,
    envelope, mail_content,
};
use hearth_api::notifications::v1 as api;
use hearth_api::notifications::v1::notifications_service_server::NotificationsService;
use hearth_kernel::{AccountId, Capability, Purpose, Reason, Service};
use hearth_ports::{Expected, Log, OutboundError, StoreError, Subject};
use hearth_rpc::failure_of;
use prost::Message;
use tonic::Request;

use super::kit::{ANNA, BEN, CAMERA, HEATER, HOME, Life, START, World, eventually, signed_in};
use crate::grpc::Notifications;

/// Somebody at the API.
struct Person {
    account: AccountId,
    api: Notifications,
    requests: u64,
}

impl Person {
    fn new(account: AccountId, life: &Life) -> Self {
        let api = Notifications {
            app: std::sync::Arc::clone(&life.parts.app),
            inbox: life.parts.inbox.clone(),
        };
        Self {
            account,
            api,
            requests: 0,
        }
    }

    fn asks<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.extensions_mut().insert(signed_in(self.account));
        request
    }

    fn request_id(&mut self) -> String {
        self.requests += 1;
        format!("{}-{:012}", self.account.as_bytes()[0], self.requests).replace('-', "-request-")
    }

    async fn heating_rule(&mut self) -> String {
        let after = prost_types::Duration {
            seconds: 120,
            nanos: 0,
        };
        let heating = api::HeatingLeftOn {
            after: Some(after),
            ..api::HeatingLeftOn::default()
        };
        self.rule(api::put_rule_request::Condition::HeatingLeftOn(heating))
            .await
    }

    async fn motion_rule(&mut self) -> String {
        let motion = api::MotionWhileArmed::default();
        self.rule(api::put_rule_request::Condition::MotionWhileArmed(motion))
            .await
    }

    async fn rule(&mut self, condition: api::put_rule_request::Condition) -> String {
        let put = api::PutRuleRequest {
            request_id: self.request_id(),
            home_id: HOME.to_string(),
            rule_id: String::new(),
            enabled: true,
            condition: Some(condition),
        };
        let first = self
            .api
            .put_rule(self.asks(put.clone()))
            .await
            .expect("put");
        let again = self.api.put_rule(self.asks(put)).await.expect("put");
        let (first, again) = (first.into_inner(), again.into_inner());
        assert_eq!(first.rule_id, again.rule_id, "one request, one rule");
        first.rule_id
    }

    async fn arms(&mut self) {
        let arm = api::ArmHomeRequest {
            request_id: self.request_id(),
            home_id: HOME.to_string(),
            area_ids: Vec::new(),
        };
        self.api.arm_home(self.asks(arm)).await.expect("armed");
    }

    async fn wants_mail(&mut self, topic: api::Topic) {
        let preference = api::Preference {
            topic: topic.into(),
            channel: api::Channel::Email.into(),
            on: true,
        };
        let set = api::SetPreferenceRequest {
            request_id: self.request_id(),
            preference: Some(preference),
        };
        self.api.set_preference(self.asks(set)).await.expect("set");
    }

    async fn notices(&self) -> Vec<api::Notice> {
        let list = api::ListInboxRequest::default();
        self.api
            .list_inbox(self.asks(list))
            .await
            .expect("listed")
            .into_inner()
            .notices
    }

    async fn has_notices(&self, count: usize) -> Vec<api::Notice> {
        eventually("notices in the inbox", async || {
            let notices = self.notices().await;
            (notices.len() == count).then_some(notices)
        })
        .await
    }
}

async fn has_mails(world: &World, count: usize) {
    eventually("mails went out", async || {
        (world.memory.outbound.delivered().len() == count).then_some(())
    })
    .await;
}

/// Lets everything that is on its way arrive: a marker that travels behind it.
async fn settled(world: &World, life: &Life) {
    let evt = hearth_ports::Stream::new(hearth_ports::Family::Evt, Service::Notifications);
    eventually("all has been followed", async || {
        let head = world.memory.log.head(evt).await.expect("a head")?;
        let frames = world
            .memory
            .log
            .head(hearth_ports::Stream::TELEMETRY)
            .await
            .expect("a head");
        let at = |receiver: Option<tokio::sync::watch::Receiver<hearth_ports::Position>>| {
            receiver.map(|it| *it.borrow()).unwrap_or_default()
        };
        let parts = &life.parts;
        let followed = [
            at(parts.fanout.progress(evt)),
            at(parts.dispatch.progress(evt)),
            at(parts.inbox.consumer.progress(evt)),
        ];
        let read = at(parts.rules.progress(hearth_ports::Stream::TELEMETRY));
        (followed.iter().all(|it| *it >= head) && frames.is_none_or(|it| read >= it)).then_some(())
    })
    .await;
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[tokio::test]
async fn heating_left_on_is_told_once_to_who_may_see_it_across_restarts() {
    let world = World::new();
    let life = world.live().await;
    let mut anna = Person::new(ANNA, &life);
    let rule = anna.heating_rule().await;
    anna.wants_mail(api::Topic::Heating).await;
    world.signal(HEATER, Capability::HEATING_ON, true, 10).await;
    settled(&world, &life).await;
    world.clock.advance(seconds(129));
    assert_eq!(anna.notices().await, []);
    life.end().await;

    let life = world.live().await;
    let anna = Person::new(ANNA, &life);
    world.clock.advance(seconds(1));
    let notices = anna.has_notices(1).await;
    assert_eq!(notices[0].rule_id, rule);
    assert_eq!(notices[0].template, "heating-left-on");
    assert_eq!(notices[0].device_id, HEATER.to_string());
    let began = START.plus(seconds(130)).seconds();
    assert_eq!(notices[0].began_at.map(|at| at.seconds), Some(began));
    has_mails(&world, 1).await;
    settled(&world, &life).await;
    life.end().await;

    let life = world.live().await;
    let (anna, ben) = (Person::new(ANNA, &life), Person::new(BEN, &life));
    world
        .signal(HEATER, Capability::HEATING_ON, false, 300)
        .await;
    settled(&world, &life).await;
    world.clock.advance(seconds(400));
    let ended = eventually("the end is told", async || anna.notices().await[0].ended_at).await;
    assert_eq!(ended.seconds, START.plus(seconds(300)).seconds());
    assert_eq!(anna.notices().await.len(), 1);
    assert_eq!(ben.notices().await, [], "he does not see that room");
    assert_eq!(world.memory.outbound.delivered().len(), 1);
    let sent = world.memory.outbound.sent();
    assert_eq!(sent[0].to.expose_text(), Some("anna@example.org"));
    life.end().await;
}

#[tokio::test]
async fn motion_while_armed_reaches_everybody_who_sees_the_area_and_mutes_hold() {
    let world = World::new();
    let life = world.live().await;
    let (mut anna, ben) = (Person::new(ANNA, &life), Person::new(BEN, &life));
    anna.motion_rule().await;
    anna.heating_rule().await;
    anna.arms().await;
    anna.wants_mail(api::Topic::Motion).await;
    anna.wants_mail(api::Topic::Heating).await;
    let mute = api::MuteAllRequest {
        request_id: anna.request_id(),
        duration: None,
    };
    anna.api.mute_all(anna.asks(mute)).await.expect("muted");
    world.signal(HEATER, Capability::HEATING_ON, true, 1).await;
    world.signal(CAMERA, Capability::MOTION, true, 5).await;
    settled(&world, &life).await;
    world.clock.advance(seconds(130));
    let kept = anna.has_notices(1).await;
    assert_eq!(
        kept[0].template, "motion-while-armed",
        "safety stays in the inbox"
    );
    assert_eq!(ben.has_notices(1).await.len(), 1);
    let evt = hearth_ports::Stream::new(hearth_ports::Family::Evt, Service::Notifications);
    eventually("both episodes are found", async || {
        let page = world
            .memory
            .log
            .page(evt, hearth_ports::Position::START, 1000)
            .await;
        let page = page.expect("a page");
        let episodes = page
            .iter()
            .filter(|message| message.subject.kind() == "episode");
        (episodes.count() == 2).then_some(())
    })
    .await;
    settled(&world, &life).await;
    let unmute = api::UnmuteAllRequest {
        request_id: anna.request_id(),
    };
    anna.api
        .unmute_all(anna.asks(unmute))
        .await
        .expect("unmuted");
    settled(&world, &life).await;
    world.clock.advance(seconds(60));
    assert_eq!(
        world.memory.outbound.sent().len(),
        0,
        "what was muted stays unsent"
    );
    life.end().await;
}

#[tokio::test]
async fn a_mute_stops_what_is_queued_and_a_failing_relay_is_tried_again() {
    let world = World::new();
    let life = world.live().await;
    let mut anna = Person::new(ANNA, &life);
    anna.motion_rule().await;
    anna.arms().await;
    anna.wants_mail(api::Topic::Motion).await;
    let away = || OutboundError::Retryable(std::sync::Arc::new(StoreError::retryable("away")));
    world.memory.outbound.break_down(Some(away()));
    world.signal(CAMERA, Capability::MOTION, true, 5).await;
    let notices = anna.has_notices(1).await;
    let queued = async |attempt: u8| {
        let id: hearth_kernel::NoticeId = notices[0].notice_id.parse().expect("an id");
        eventually("the next try is queued", async || {
            let engine = &life.parts.app.engine;
            let read = hearth_ports::Read::Leader;
            let notice = engine.load::<crate::aggregates::Notice>(id, read).await.expect("loads");
            let email = notice.state.email;
            let due = matches!(email, hearth_notifications_domain::Delivery::Queued { attempt: n, .. } if n == attempt);
            due.then_some(())
        })
        .await;
        settled(&world, &life).await;
    };
    queued(1).await;
    world.clock.advance(seconds(2));
    queued(2).await;
    world.memory.outbound.break_down(None);
    world.clock.advance(seconds(10));
    has_mails(&world, 1).await;

    // The next one is queued, then muted.
    world.memory.outbound.break_down(Some(away()));
    world.signal(CAMERA, Capability::MOTION, false, 6).await;
    world.signal(CAMERA, Capability::MOTION, true, 1000).await;
    let notices = anna.has_notices(2).await;
    let id: hearth_kernel::NoticeId = notices[0].notice_id.parse().expect("an id");
    let email = async || {
        let engine = &life.parts.app.engine;
        let read = hearth_ports::Read::Leader;
        engine
            .load::<crate::aggregates::Notice>(id, read)
            .await
            .expect("loads")
            .state
            .email
    };
    eventually("a try failed", async || {
        let email = email().await;
        matches!(
            email,
            hearth_notifications_domain::Delivery::Queued { attempt: 1, .. }
        )
        .then_some(())
    })
    .await;
    settled(&world, &life).await;
    let mute = api::MuteAllRequest {
        request_id: anna.request_id(),
        duration: None,
    };
    anna.api.mute_all(anna.asks(mute)).await.expect("muted");
    world.memory.outbound.break_down(None);
    world.clock.advance(seconds(3));
    let dropped =
        hearth_notifications_domain::Delivery::Done(hearth_notifications_domain::Outcome::Dropped);
    eventually("it is dropped", async || {
        (email().await == dropped).then_some(())
    })
    .await;
    assert_eq!(world.memory.outbound.delivered().len(), 1);
    life.end().await;
}

#[tokio::test]
async fn a_stream_goes_on_where_it_stopped_without_a_gap_or_a_double() {
    let world = World::new();
    let life = world.live().await;
    let mut anna = Person::new(ANNA, &life);
    anna.motion_rule().await;
    anna.arms().await;
    let open = async |anna: &Person, cursor: bytes::Bytes| {
        let request = api::StreamInboxRequest { cursor };
        anna.api
            .stream_inbox(anna.asks(request))
            .await
            .expect("opened")
            .into_inner()
    };
    let next = async |stream: &mut <Notifications as NotificationsService>::StreamInboxStream| loop {
        let waited = tokio::time::timeout(seconds(10), stream.next()).await;
        let message = waited
            .expect("in time")
            .expect("goes on")
            .expect("no failure");
        if let Some(notice) = message.notice {
            return (notice, message.cursor);
        }
    };
    let mut stream = open(&anna, bytes::Bytes::new()).await;
    stream
        .next()
        .await
        .expect("a first cursor")
        .expect("no failure");
    world.signal(CAMERA, Capability::MOTION, true, 5).await;
    let (first, cursor) = next(&mut stream).await;
    drop(stream);

    world.signal(CAMERA, Capability::MOTION, false, 6).await;
    world.signal(CAMERA, Capability::MOTION, true, 1000).await;
    anna.has_notices(2).await;
    settled(&world, &life).await;
    let mut stream = open(&anna, cursor).await;
    let (ended, _) = next(&mut stream).await;
    assert_eq!(
        ended.notice_id, first.notice_id,
        "its end comes as a change"
    );
    assert!(ended.ended_at.is_some());
    let (second, cursor) = next(&mut stream).await;
    assert_ne!(second.notice_id, first.notice_id);

    let read = api::MarkReadRequest {
        request_id: anna.request_id(),
        notice_ids: vec![first.notice_id.clone(), "0".repeat(32)],
    };
    anna.api.mark_read(anna.asks(read)).await.expect("marked");
    let (changed, _) = next(&mut stream).await;
    assert!(changed.read && changed.notice_id == first.notice_id);
    let mut again = open(&anna, cursor).await;
    assert_eq!(
        next(&mut again).await.0,
        changed,
        "the same from the same cursor"
    );
    let unread = api::ListInboxRequest {
        unread_only: true,
        ..api::ListInboxRequest::default()
    };
    let unread = anna
        .api
        .list_inbox(anna.asks(unread))
        .await
        .expect("listed")
        .into_inner();
    assert_eq!(unread.notices.len(), 1);
    life.end().await;
}

#[tokio::test]
async fn pages_of_an_inbox_hold_each_notice_once() {
    let world = World::new();
    let life = world.live().await;
    let mut anna = Person::new(ANNA, &life);
    anna.motion_rule().await;
    anna.arms().await;
    for n in 0..5 {
        world
            .signal(CAMERA, Capability::MOTION, true, 1000 * n + 1)
            .await;
        world
            .signal(CAMERA, Capability::MOTION, false, 1000 * n + 2)
            .await;
        anna.has_notices(usize::try_from(n).unwrap() + 1).await;
        world.clock.advance(seconds(1));
    }
    let mut cursor = bytes::Bytes::new();
    let mut seen = Vec::new();
    loop {
        let list = api::ListInboxRequest {
            page: Some(hearth_api::types::v1::PageRequest { size: 2, cursor }),
            ..api::ListInboxRequest::default()
        };
        let page = anna
            .api
            .list_inbox(anna.asks(list))
            .await
            .expect("listed")
            .into_inner();
        assert!(page.notices.len() <= 2);
        seen.extend(page.notices.into_iter().map(|it| it.notice_id));
        match page.next {
            Some(next) if !next.cursor.is_empty() => cursor = next.cursor,
            _ => break,
        }
    }
    let all: Vec<String> = anna
        .notices()
        .await
        .into_iter()
        .map(|it| it.notice_id)
        .collect();
    assert_eq!(seen, all);
    life.end().await;
}

#[tokio::test]
async fn a_mail_of_accounts_is_sent_once_and_an_old_one_is_not() {
    let world = World::new();
    let life = world.live().await;
    let content = MailContent {
        to: "carl@example.org".into(),
        locale: "en".into(),
        body: Some(mail_content::Body::Verification(VerificationMail {
            code: "12345678".into(),
            expires_at: None,
        })),
    };
    let sealed = world
        .part(ANNA, Purpose::Inbox, &content.encode_to_vec())
        .encode();
    for (mail, lives, times) in [(1u8, 3600, 2), (2, -1, 1)] {
        let requested = MailRequested {
            mail_id: vec![mail; 16].into(),
            account_id: ANNA.as_bytes().to_vec().into(),
            sealed: sealed.clone().into(),
            expires_at: Some(prost_types::Timestamp {
                seconds: START.seconds() + lives,
                nanos: 0,
            }),
        };
        let event = AccountsEvent {
            event: Some(accounts_event::Event::MailRequested(requested)),
        };
        let envelope = Envelope {
            payload: Some(envelope::Payload::AccountsEvent(event)),
            ..Envelope::default()
        };
        let subject = Subject::event(Service::Accounts, "mail-requested", 1, ANNA);
        for _ in 0..times {
            let bytes = envelope.encode_to_vec().into();
            world
                .memory
                .log
                .append(&subject, Expected::Any, bytes)
                .await
                .expect("appended");
        }
    }
    has_mails(&world, 1).await;
    let sent = world.memory.outbound.sent();
    assert_eq!(sent[0].to.expose_text(), Some("carl@example.org"));
    assert!(
        sent[0]
            .text
            .expose_text()
            .expect("text")
            .contains("12345678")
    );
    life.end().await;

    let life = world.live().await;
    let accounts = hearth_ports::Stream::new(hearth_ports::Family::Int, Service::Accounts);
    let head = world
        .memory
        .log
        .head(accounts)
        .await
        .expect("a head")
        .expect("a head");
    let mut passed = life.parts.mails.progress(accounts).expect("followed");
    passed.wait_for(|at| *at >= head).await.expect("runs");
    settled(&world, &life).await;
    assert_eq!(world.memory.outbound.sent().len(), 1);
    life.end().await;
}

#[tokio::test]
async fn requests_are_refused_with_every_violation_and_by_role() {
    let world = World::new();
    let life = world.live().await;
    let (anna, ben) = (Person::new(ANNA, &life), Person::new(BEN, &life));
    let put = api::PutRuleRequest {
        request_id: "short".into(),
        home_id: "x".into(),
        condition: Some(api::put_rule_request::Condition::HeatingLeftOn(
            api::HeatingLeftOn {
                device_ids: vec!["y".into()],
                ..api::HeatingLeftOn::default()
            },
        )),
        ..api::PutRuleRequest::default()
    };
    let refused = anna
        .api
        .put_rule(anna.asks(put))
        .await
        .expect_err("refused");
    let failure = failure_of(&refused);
    assert_eq!(failure.reason, Reason::INVALID_REQUEST);
    let fields: Vec<&str> = failure.violations.iter().map(|it| &*it.field).collect();
    assert_eq!(
        fields,
        [
            "request_id",
            "home_id",
            "heating_left_on.after",
            "heating_left_on.device_ids[0]",
        ]
    );
    let arm = |home: String| api::ArmHomeRequest {
        request_id: "a-request-of-sixteen".into(),
        home_id: home,
        area_ids: Vec::new(),
    };
    let guest = ben
        .api
        .arm_home(ben.asks(arm(HOME.to_string())))
        .await
        .expect_err("refused");
    assert_eq!(failure_of(&guest).reason, Reason::NOT_ALLOWED);
    let elsewhere = arm("ab".repeat(16));
    let stranger = ben
        .api
        .arm_home(ben.asks(elsewhere))
        .await
        .expect_err("refused");
    assert_eq!(failure_of(&stranger).reason, Reason::NOT_FOUND);
    let nobody = anna
        .api
        .arm_home(Request::new(arm(HOME.to_string())))
        .await
        .expect_err("refused");
    assert_eq!(failure_of(&nobody).reason, Reason::NOT_SIGNED_IN);
    life.end().await;
}

#[tokio::test]
async fn two_replicas_tell_once_and_the_one_that_is_left_goes_on() {
    let world = World::new();
    let first = world.live().await;
    let mut anna = Person::new(ANNA, &first);
    anna.heating_rule().await;
    anna.wants_mail(api::Topic::Heating).await;
    world.signal(HEATER, Capability::HEATING_ON, true, 10).await;
    settled(&world, &first).await;
    let second = world.live().await;
    let standing_by = Person::new(ANNA, &second);
    world.clock.advance(seconds(130));
    anna.has_notices(1).await;
    // The standby answers from what the holder has stored.
    standing_by.has_notices(1).await;
    has_mails(&world, 1).await;
    settled(&world, &first).await;
    settled(&world, &second).await;
    first.end().await;

    world
        .signal(HEATER, Capability::HEATING_ON, false, 300)
        .await;
    settled(&world, &second).await;
    world.clock.advance(seconds(400));
    eventually("the end is told", async || {
        standing_by.notices().await[0].ended_at
    })
    .await;
    assert_eq!(standing_by.notices().await.len(), 1);
    assert_eq!(world.memory.outbound.delivered().len(), 1);
    second.end().await;
}
