//! The stored form of what belongs to a home: rules and episodes.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use hearth_api::stored::notifications::v1 as stored;
use hearth_engine::{Aggregate, CodecError, EncodedEvent, Life, Stored};
use hearth_kernel::{Service, Timestamp};
use hearth_notifications_domain::episode::{self, Of};
use hearth_notifications_domain::rules::{self, Arming, Condition, Rule};
use prost::Message;
use uuid::Uuid;

use super::{
    MAJOR, bytes, decoded, decoded_state, empty_part, encoded, id, optional_micros, optional_time,
    time, topic, unknown,
};
use crate::aggregates::{Episode, Rules};

impl Aggregate for Rules {
    const SERVICE: Service = Service::Notifications;
    const KIND: &'static str = "rules";
    const STORED: Stored = Stored::History;
    const LIFE: Life = Life::Lasting;
    const STATE_SCHEMA: u32 = 1;

    fn encode_event(event: &rules::Event) -> EncodedEvent {
        match event {
            rules::Event::RulePut {
                rule,
                enabled,
                condition,
                at,
            } => {
                let message = stored::RulePut {
                    rule: bytes(*rule),
                    enabled: *enabled,
                    condition: Some(condition_out(condition)),
                    at: at.micros(),
                };
                encoded("rule_put", &message)
            }
            rules::Event::RuleRemoved { rule, at } => {
                let message = stored::RuleRemoved {
                    rule: bytes(*rule),
                    at: at.micros(),
                };
                encoded("rule_removed", &message)
            }
            rules::Event::ArmingChanged { arming, by, at } => {
                let message = stored::ArmingChanged {
                    arming: Some(arming_out(arming)),
                    by: bytes(*by),
                    at: at.micros(),
                };
                encoded("arming_changed", &message)
            }
        }
    }

    fn decode_event(name: &str, major: u32, public: &[u8]) -> Result<rules::Event, CodecError> {
        match (name, major) {
            ("rule_put", MAJOR) => {
                let message: stored::RulePut = decoded(public)?;
                Ok(rules::Event::RulePut {
                    rule: id(&message.rule)?,
                    enabled: message.enabled,
                    condition: condition_in(message.condition)?,
                    at: time(message.at),
                })
            }
            ("rule_removed", MAJOR) => {
                let message: stored::RuleRemoved = decoded(public)?;
                Ok(rules::Event::RuleRemoved {
                    rule: id(&message.rule)?,
                    at: time(message.at),
                })
            }
            ("arming_changed", MAJOR) => {
                let message: stored::ArmingChanged = decoded(public)?;
                Ok(rules::Event::ArmingChanged {
                    arming: arming_in(message.arming)?,
                    by: id(&message.by)?,
                    at: time(message.at),
                })
            }
            _ => Err(unknown(name, major)),
        }
    }

    fn encode_state(state: &rules::State) -> Vec<u8> {
        let standing = state.rules.iter().map(|(id, rule)| stored::StandingRule {
            rule: bytes(*id),
            enabled: rule.enabled,
            condition: Some(condition_out(&rule.condition)),
            made_at: rule.made_at.micros(),
            put_at: rule.put_at.micros(),
        });
        let message = stored::RulesState {
            rules: standing.collect(),
            arming: Some(arming_out(&state.arming)),
        };
        message.encode_to_vec()
    }

    fn decode_state(schema: u32, bytes: &[u8]) -> Result<rules::State, CodecError> {
        let message: stored::RulesState = decoded_state(schema, Self::STATE_SCHEMA, bytes)?;
        let standing = message.rules.into_iter().map(|it| {
            let rule = Rule {
                enabled: it.enabled,
                condition: condition_in(it.condition)?,
                made_at: time(it.made_at),
                put_at: time(it.put_at),
            };
            Ok((id(&it.rule)?, rule))
        });
        Ok(rules::State {
            rules: standing.collect::<Result<_, CodecError>>()?,
            arming: arming_in(message.arming)?,
        })
    }
}

fn all<T: Into<Uuid> + Copy>(ids: &BTreeSet<T>) -> Vec<Bytes> {
    ids.iter().map(|it| bytes(*it)).collect()
}

fn ids<T: From<Uuid> + Ord>(list: &[Bytes]) -> Result<BTreeSet<T>, CodecError> {
    list.iter().map(|it| id(it)).collect()
}

fn condition_out(condition: &Condition) -> stored::RuleCondition {
    let micros = |span: &Duration| i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
    match condition {
        Condition::HeatingLeftOn {
            devices,
            areas,
            after,
            nobody_present,
        } => stored::RuleCondition {
            kind: 1,
            devices: all(devices),
            areas: all(areas),
            span_micros: micros(after),
            nobody_present: *nobody_present,
        },
        Condition::MotionWhileArmed { areas, cooldown } => stored::RuleCondition {
            kind: 2,
            areas: all(areas),
            span_micros: micros(cooldown),
            ..stored::RuleCondition::default()
        },
    }
}

fn condition_in(message: Option<stored::RuleCondition>) -> Result<Condition, CodecError> {
    let message = message.ok_or(CodecError::Malformed("condition"))?;
    let span = u64::try_from(message.span_micros).map(Duration::from_micros);
    let span = span.map_err(|_| CodecError::Malformed("span"))?;
    let areas = ids(&message.areas)?;
    match message.kind {
        1 => Ok(Condition::HeatingLeftOn {
            devices: ids(&message.devices)?,
            areas,
            after: span,
            nobody_present: message.nobody_present,
        }),
        2 => Ok(Condition::MotionWhileArmed {
            areas,
            cooldown: span,
        }),
        _ => Err(CodecError::Malformed("kind of a condition")),
    }
}

fn arming_out(arming: &Arming) -> stored::Arming {
    let areas = arming.areas.iter().map(|(area, since)| stored::ArmedArea {
        area: bytes(*area),
        since: since.micros(),
    });
    stored::Arming {
        whole_home_since: optional_micros(arming.whole_home),
        areas: areas.collect(),
    }
}

fn arming_in(message: Option<stored::Arming>) -> Result<Arming, CodecError> {
    let message = message.unwrap_or_default();
    let areas = message
        .areas
        .iter()
        .map(|it| Ok((id(&it.area)?, time(it.since))));
    Ok(Arming {
        whole_home: optional_time(message.whole_home_since),
        areas: areas.collect::<Result<_, CodecError>>()?,
    })
}

impl Aggregate for Episode {
    const SERVICE: Service = Service::Notifications;
    const KIND: &'static str = "episode";
    const STORED: Stored = Stored::History;
    const LIFE: Life = Life::Episodic;
    const STATE_SCHEMA: u32 = 1;

    fn encode_event(event: &episode::Event) -> EncodedEvent {
        match event {
            episode::Event::Began { of, at, .. } => {
                let message = stored::EpisodeBegan {
                    home: bytes(of.home),
                    rule: bytes(of.rule),
                    topic: u32::from(of.topic.number()),
                    at: at.micros(),
                };
                encoded("episode_began", &message)
            }
            episode::Event::Ended { of, at, .. } => {
                let message = stored::EpisodeEnded {
                    home: bytes(of.home),
                    rule: bytes(of.rule),
                    topic: u32::from(of.topic.number()),
                    at: at.micros(),
                };
                encoded("episode_ended", &message)
            }
        }
    }

    fn decode_event(name: &str, major: u32, public: &[u8]) -> Result<episode::Event, CodecError> {
        let content = empty_part();
        match (name, major) {
            ("episode_began", MAJOR) => {
                let it: stored::EpisodeBegan = decoded(public)?;
                let (of, at): (Of, Timestamp) = (of(&it.home, &it.rule, it.topic)?, time(it.at));
                Ok(episode::Event::Began { of, content, at })
            }
            ("episode_ended", MAJOR) => {
                let it: stored::EpisodeEnded = decoded(public)?;
                let (of, at) = (of(&it.home, &it.rule, it.topic)?, time(it.at));
                Ok(episode::Event::Ended { of, content, at })
            }
            _ => Err(unknown(name, major)),
        }
    }

    fn encode_state(state: &episode::State) -> Vec<u8> {
        let message = match state.of {
            Some(of) => stored::EpisodeState {
                home: bytes(of.home),
                rule: bytes(of.rule),
                topic: u32::from(of.topic.number()),
                ended: state.ended,
            },
            None => stored::EpisodeState::default(),
        };
        message.encode_to_vec()
    }

    fn decode_state(schema: u32, bytes: &[u8]) -> Result<episode::State, CodecError> {
        let message: stored::EpisodeState = decoded_state(schema, Self::STATE_SCHEMA, bytes)?;
        let began = !message.home.is_empty();
        let of = began.then(|| of(&message.home, &message.rule, message.topic));
        Ok(episode::State {
            of: of.transpose()?,
            ended: message.ended,
        })
    }
}

fn of(home: &[u8], rule: &[u8], number: u32) -> Result<Of, CodecError> {
    Ok(Of {
        home: id(home)?,
        rule: id(rule)?,
        topic: topic(number)?,
    })
}
