//! Between the wire and the domain: every violation of a request at once.

use std::collections::BTreeSet;

use hearth_api::notifications::v1 as api;
use hearth_api::types::v1::{CommitToken, PageResponse};
use hearth_kernel::{AreaId, Failure, HomeId, NoticeId, RuleId, Timestamp, Violations};
use hearth_notifications_domain::limits::{
    AREAS, LONGEST_AFTER, LONGEST_COOLDOWN, LONGEST_MUTE, NAMED, SHORTEST_AFTER, SHORTEST_COOLDOWN,
    SHORTEST_MUTE, USUAL_COOLDOWN,
};
use hearth_notifications_domain::preferences::{self, Channel, Mute, Topic};
use hearth_notifications_domain::rules::{Condition, Rule};
use prost::Message;

use crate::app::commands::Request;
use crate::app::inbox::{Item, notice_text};
use crate::app::letters;
use crate::project::inbox::Slot;
use crate::wire;

/// Notices of one page, unless asked otherwise.
const PAGE: u32 = 50;
/// The most notices of one page, and of one call of `MarkRead`.
const MOST: u32 = 200;

/// The content that makes a request itself, without its id.
fn request(rpc: &'static str, request_id: String, message: &impl Message) -> Request {
    Request {
        rpc,
        request_id,
        content: message.encode_to_vec(),
    }
}

/// A rule that is to be put.
pub(super) struct PutRule {
    pub(super) request: Request,
    pub(super) home: HomeId,
    pub(super) rule: Option<RuleId>,
    pub(super) enabled: bool,
    pub(super) condition: Condition,
}

pub(super) fn put_rule(message: &api::PutRuleRequest) -> Result<PutRule, Failure> {
    let mut violations = Violations::new();
    let request_id = wire::request_id(&message.request_id, &mut violations);
    let home = wire::id(&message.home_id, "home_id", &mut violations);
    let rule = match &*message.rule_id {
        "" => Some(None),
        text => wire::id(text, "rule_id", &mut violations).map(Some),
    };
    let condition = condition(message.condition.as_ref(), &mut violations);
    let parts = request_id.zip(home).zip(rule.zip(condition));
    let put = parts.map(|((request_id, home), (rule, condition))| PutRule {
        request: request("PutRule", request_id, message),
        home,
        rule,
        enabled: message.enabled,
        condition,
    });
    violations.finish(put)
}

fn condition(
    wire: Option<&api::put_rule_request::Condition>,
    violations: &mut Violations,
) -> Option<Condition> {
    match wire {
        Some(api::put_rule_request::Condition::HeatingLeftOn(it)) => {
            let field = "heating_left_on.after";
            let bounds = (SHORTEST_AFTER, LONGEST_AFTER);
            let words = "from 1 minute to 7 days";
            let after = it.after.unwrap_or_default();
            let after = wire::of_span(&after, bounds, field, words, violations);
            let devices = wire::ids(
                &it.device_ids,
                NAMED,
                "heating_left_on.device_ids",
                violations,
            );
            let areas = wire::ids(&it.area_ids, NAMED, "heating_left_on.area_ids", violations);
            Some(Condition::HeatingLeftOn {
                devices,
                areas,
                after: after?,
                nobody_present: it.nobody_present,
            })
        }
        Some(api::put_rule_request::Condition::MotionWhileArmed(it)) => {
            let field = "motion_while_armed.cooldown";
            let bounds = (SHORTEST_COOLDOWN, LONGEST_COOLDOWN);
            let words = "from 10 seconds to 24 hours";
            let cooldown = match &it.cooldown {
                None => Some(USUAL_COOLDOWN),
                Some(span) => wire::of_span(span, bounds, field, words, violations),
            };
            let areas = wire::ids(
                &it.area_ids,
                NAMED,
                "motion_while_armed.area_ids",
                violations,
            );
            Some(Condition::MotionWhileArmed {
                areas,
                cooldown: cooldown?,
            })
        }
        None => {
            violations.add("condition", "what to watch for is missing");
            None
        }
    }
}

pub(super) fn rule(id: RuleId, rule: &Rule) -> api::Rule {
    let text = |ids: &BTreeSet<AreaId>| ids.iter().map(ToString::to_string).collect();
    let condition = match &rule.condition {
        Condition::HeatingLeftOn {
            devices,
            areas,
            after,
            nobody_present,
        } => api::rule::Condition::HeatingLeftOn(api::HeatingLeftOn {
            device_ids: devices.iter().map(ToString::to_string).collect(),
            area_ids: text(areas),
            after: Some(wire::span(*after)),
            nobody_present: *nobody_present,
        }),
        Condition::MotionWhileArmed { areas, cooldown } => {
            api::rule::Condition::MotionWhileArmed(api::MotionWhileArmed {
                area_ids: text(areas),
                cooldown: Some(wire::span(*cooldown)),
            })
        }
    };
    api::Rule {
        rule_id: id.to_string(),
        enabled: rule.enabled,
        condition: Some(condition),
        put_at: Some(wire::time(rule.put_at)),
    }
}

pub(super) fn remove_rule(
    message: &api::RemoveRuleRequest,
) -> Result<(Request, HomeId, RuleId), Failure> {
    let mut violations = Violations::new();
    let request_id = wire::request_id(&message.request_id, &mut violations);
    let home = wire::id(&message.home_id, "home_id", &mut violations);
    let rule = wire::id(&message.rule_id, "rule_id", &mut violations);
    let parts = request_id.zip(home.zip(rule));
    violations.finish(
        parts.map(|(request_id, (home, rule))| {
            (request("RemoveRule", request_id, message), home, rule)
        }),
    )
}

/// The areas of `ArmHome` and `DisarmHome`.
pub(super) fn areas(
    rpc: &'static str,
    request_id: &str,
    (home, areas): (&str, &[String]),
) -> Result<(Request, HomeId, BTreeSet<AreaId>), Failure> {
    let mut violations = Violations::new();
    let request_id = wire::request_id(request_id, &mut violations);
    let home: Option<HomeId> = wire::id(home, "home_id", &mut violations);
    let areas = wire::ids(areas, AREAS, "area_ids", &mut violations);
    violations.finish(request_id.zip(home).map(|(request_id, home)| {
        let mut content = home.as_bytes().to_vec();
        content.extend(areas.iter().flat_map(|area: &AreaId| *area.as_bytes()));
        let request = Request {
            rpc,
            request_id,
            content,
        };
        (request, home, areas)
    }))
}

pub(super) fn home_after(
    home: &str,
    after: &[CommitToken],
) -> Result<(HomeId, Vec<hearth_engine::CommitToken>), Failure> {
    let mut violations = Violations::new();
    let home = wire::id(home, "home_id", &mut violations);
    let after = wire::tokens(after, &mut violations);
    violations.finish(home.map(|home| (home, after)))
}

pub(super) fn preferences(
    state: &preferences::State,
    now: Timestamp,
) -> api::GetPreferencesResponse {
    let one = |topic: Topic, channel: Channel| api::Preference {
        topic: i32::from(topic.number()),
        channel: i32::from(channel.number()),
        on: state.is_on(topic, channel),
    };
    let row = |topic: Topic| Channel::ALL.map(|channel| one(topic, channel));
    let mute = state.muted(now);
    api::GetPreferencesResponse {
        preferences: Topic::ALL.into_iter().flat_map(row).collect(),
        muted: mute.is_some(),
        muted_until: mute.and_then(|mute| mute.until).map(wire::time),
    }
}

pub(super) fn set_preference(
    message: &api::SetPreferenceRequest,
) -> Result<(Request, preferences::Command), Failure> {
    let mut violations = Violations::new();
    let request_id = wire::request_id(&message.request_id, &mut violations);
    let wanted = message.preference.unwrap_or_default();
    let number = |number: i32| u8::try_from(number).ok();
    let topic = number(wanted.topic).and_then(Topic::from_number);
    let topic = violations.take(topic.ok_or(()), "preference.topic", "not a topic");
    let channel = number(wanted.channel).and_then(Channel::from_number);
    let channel = violations.take(channel.ok_or(()), "preference.channel", "not a channel");
    let command = topic
        .zip(channel)
        .map(|(topic, channel)| preferences::Command::Set {
            topic,
            channel,
            on: wanted.on,
        });
    violations.finish(
        request_id
            .zip(command)
            .map(|(request_id, command)| (request("SetPreference", request_id, message), command)),
    )
}

pub(super) fn mute_all(
    message: &api::MuteAllRequest,
    now: Timestamp,
) -> Result<(Request, preferences::Command), Failure> {
    let mut violations = Violations::new();
    let request_id = wire::request_id(&message.request_id, &mut violations);
    let bounds = (SHORTEST_MUTE, LONGEST_MUTE);
    let words = "from 1 minute to 366 days";
    let until = match &message.duration {
        None => Some(None),
        Some(span) => wire::of_span(span, bounds, "duration", words, &mut violations)
            .map(|span| Some(now.plus(span))),
    };
    let command = until.map(|until| preferences::Command::MuteAll(Mute { until }));
    violations.finish(
        request_id
            .zip(command)
            .map(|(request_id, command)| (request("MuteAll", request_id, message), command)),
    )
}

pub(super) fn unmute_all(message: &api::UnmuteAllRequest) -> Result<Request, Failure> {
    let mut violations = Violations::new();
    let request_id = wire::request_id(&message.request_id, &mut violations);
    violations.finish(request_id.map(|request_id| request("UnmuteAll", request_id, message)))
}

/// A page of an inbox that is asked for.
pub(super) struct ListInbox {
    pub(super) before: Option<Slot>,
    pub(super) size: usize,
    pub(super) after: Vec<hearth_engine::CommitToken>,
}

pub(super) fn list_inbox(message: &api::ListInboxRequest) -> Result<ListInbox, Failure> {
    let mut violations = Violations::new();
    let after = wire::tokens(&message.after, &mut violations);
    let page = message.page.clone().unwrap_or_default();
    let size = if page.size == 0 { PAGE } else { page.size };
    violations.require(size <= MOST, "page.size", "at most 200");
    let before = match &*page.cursor {
        [] => Some(None),
        cursor => {
            let slot = Slot::from_bytes(cursor).ok_or(());
            violations
                .take(slot, "page.cursor", "not a cursor of this list")
                .map(Some)
        }
    };
    violations.finish(before.map(|before| ListInbox {
        before,
        size: usize::try_from(size).unwrap_or(usize::MAX),
        after,
    }))
}

pub(super) fn next_page(last: Slot) -> PageResponse {
    PageResponse {
        cursor: last.to_bytes().into(),
    }
}

pub(super) fn mark_read(
    message: &api::MarkReadRequest,
) -> Result<(Request, BTreeSet<NoticeId>), Failure> {
    let mut violations = Violations::new();
    let request_id = wire::request_id(&message.request_id, &mut violations);
    let most = usize::try_from(MOST).unwrap_or(usize::MAX);
    let notices = wire::ids(&message.notice_ids, most, "notice_ids", &mut violations);
    violations
        .finish(request_id.map(|request_id| (request("MarkRead", request_id, message), notices)))
}

pub(super) fn notice(item: &Item) -> api::Notice {
    let source = &item.made.source;
    let letter = letters::notice(source.topic, &item.content);
    let text = |id: Option<String>| id.unwrap_or_default();
    api::Notice {
        notice_id: notice_text(item.slot),
        home_id: source.home.to_string(),
        topic: i32::from(source.topic.number()),
        template: letters::template(source.topic).to_owned(),
        title: letter.subject,
        body: letter.text,
        rule_id: source.rule.to_string(),
        device_id: text(item.content.device.map(|device| device.to_string())),
        area_id: text(item.content.area.map(|area| area.to_string())),
        began_at: item.content.began_at.map(wire::time),
        ended_at: item.content.ended_at.map(wire::time),
        made_at: Some(wire::time(item.slot.made_at)),
        read: item.read,
    }
}
