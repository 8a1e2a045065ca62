//! The stored form of what belongs to a person: preferences, notices, mails.

use bytes::Bytes;
use hearth_api::stored::notifications::v1 as stored;
use hearth_engine::{Aggregate, CodecError, EncodedEvent, Life, Stored};
use hearth_kernel::Service;
use hearth_notifications_domain::notice::{self, Made, Place, Source};
use hearth_notifications_domain::preferences::{self, Channel, Channels, Mute};
use hearth_notifications_domain::{Delivery, mail};
use prost::Message;

use super::{
    MAJOR, bytes, decoded, decoded_state, empty_part, encoded, id, optional_micros, optional_part,
    optional_time, outcome, outcome_number, part_bytes, time, topic, unknown,
};
use crate::aggregates::{Mail, Notice, Preferences};

impl Aggregate for Preferences {
    const SERVICE: Service = Service::Notifications;
    const KIND: &'static str = "preferences";
    const STORED: Stored = Stored::History;
    const LIFE: Life = Life::Lasting;
    const STATE_SCHEMA: u32 = 1;

    fn encode_event(event: &preferences::Event) -> EncodedEvent {
        match *event {
            preferences::Event::Chosen { topic, channel, on } => {
                encoded("preference_chosen", &chosen((topic, channel), on))
            }
            preferences::Event::Muted { mute, at } => {
                let message = stored::Muted {
                    until: optional_micros(mute.until),
                    at: at.micros(),
                };
                encoded("muted", &message)
            }
            preferences::Event::Unmuted => encoded("unmuted", &stored::Unmuted {}),
        }
    }

    fn decode_event(
        name: &str,
        major: u32,
        public: &[u8],
    ) -> Result<preferences::Event, CodecError> {
        match (name, major) {
            ("preference_chosen", MAJOR) => {
                let message: stored::PreferenceChosen = decoded(public)?;
                Ok(preferences::Event::Chosen {
                    topic: topic(message.topic)?,
                    channel: channel(message.channel)?,
                    on: message.on,
                })
            }
            ("muted", MAJOR) => {
                let message: stored::Muted = decoded(public)?;
                let until = optional_time(message.until);
                Ok(preferences::Event::Muted {
                    mute: Mute { until },
                    at: time(message.at),
                })
            }
            ("unmuted", MAJOR) => Ok(preferences::Event::Unmuted),
            _ => Err(unknown(name, major)),
        }
    }

    fn encode_state(state: &preferences::State) -> Vec<u8> {
        let mute = state.mute.map(|mute| stored::Muted {
            until: optional_micros(mute.until),
            at: optional_micros(state.muted_at),
        });
        let message = stored::PreferencesState {
            chosen: state
                .chosen
                .iter()
                .map(|(key, on)| chosen(*key, *on))
                .collect(),
            mute,
            muted_at: optional_micros(state.muted_at),
        };
        message.encode_to_vec()
    }

    fn decode_state(schema: u32, bytes: &[u8]) -> Result<preferences::State, CodecError> {
        let message: stored::PreferencesState = decoded_state(schema, Self::STATE_SCHEMA, bytes)?;
        let chosen = message.chosen.iter();
        let chosen = chosen.map(|it| Ok(((topic(it.topic)?, channel(it.channel)?), it.on)));
        let mute = message.mute.map(|mute| Mute {
            until: optional_time(mute.until),
        });
        Ok(preferences::State {
            chosen: chosen.collect::<Result<_, CodecError>>()?,
            mute,
            muted_at: optional_time(message.muted_at),
        })
    }
}

fn chosen(key: (preferences::Topic, Channel), on: bool) -> stored::PreferenceChosen {
    stored::PreferenceChosen {
        topic: u32::from(key.0.number()),
        channel: u32::from(key.1.number()),
        on,
    }
}

fn channel(number: u32) -> Result<Channel, CodecError> {
    let channel = u8::try_from(number).ok().and_then(Channel::from_number);
    channel.ok_or(CodecError::Malformed("channel"))
}

impl Aggregate for Notice {
    const SERVICE: Service = Service::Notifications;
    const KIND: &'static str = "notice";
    const STORED: Stored = Stored::History;
    const LIFE: Life = Life::Episodic;
    const STATE_SCHEMA: u32 = 1;

    fn encode_event(event: &notice::Event) -> EncodedEvent {
        let place = Some(place_out(event.place()));
        match event {
            notice::Event::Made(made) => encoded("notice_made", &made_out(made)),
            notice::Event::EpisodeEnded { .. } => encoded(
                "notice_episode_ended",
                &stored::NoticeEpisodeEnded { place },
            ),
            notice::Event::TryFailed { attempt, due, .. } => {
                let message = stored::NoticeTryFailed {
                    place,
                    attempt: u32::from(*attempt),
                    due: due.micros(),
                };
                encoded("notice_try_failed", &message)
            }
            notice::Event::MailDone {
                source, outcome, ..
            } => {
                let message = stored::NoticeMailDone {
                    place,
                    source: Some(source_out(source)),
                    outcome: outcome_number(*outcome),
                };
                encoded("notice_mail_done", &message)
            }
            notice::Event::Read { .. } => encoded("notice_read", &stored::NoticeRead { place }),
            notice::Event::Forgotten { .. } => {
                encoded("notice_forgotten", &stored::NoticeForgotten { place })
            }
        }
    }

    fn decode_event(name: &str, major: u32, public: &[u8]) -> Result<notice::Event, CodecError> {
        match (name, major) {
            ("notice_made", MAJOR) => Ok(notice::Event::Made(made_in(decoded(public)?)?)),
            ("notice_episode_ended", MAJOR) => {
                let message: stored::NoticeEpisodeEnded = decoded(public)?;
                Ok(notice::Event::EpisodeEnded {
                    place: place_in(message.place)?,
                    content: empty_part(),
                })
            }
            ("notice_try_failed", MAJOR) => {
                let message: stored::NoticeTryFailed = decoded(public)?;
                Ok(notice::Event::TryFailed {
                    place: place_in(message.place)?,
                    attempt: attempt(message.attempt)?,
                    due: time(message.due),
                })
            }
            ("notice_mail_done", MAJOR) => {
                let message: stored::NoticeMailDone = decoded(public)?;
                Ok(notice::Event::MailDone {
                    place: place_in(message.place)?,
                    source: source_in(message.source)?,
                    outcome: outcome(message.outcome)?,
                })
            }
            ("notice_read", MAJOR) => {
                let message: stored::NoticeRead = decoded(public)?;
                let place = place_in(message.place)?;
                Ok(notice::Event::Read { place })
            }
            ("notice_forgotten", MAJOR) => {
                let message: stored::NoticeForgotten = decoded(public)?;
                let place = place_in(message.place)?;
                Ok(notice::Event::Forgotten { place })
            }
            _ => Err(unknown(name, major)),
        }
    }

    fn encode_state(state: &notice::State) -> Vec<u8> {
        let content = state.made.as_ref().map(|made| part_bytes(&made.content));
        let message = stored::NoticeState {
            made: state.made.as_ref().map(made_out),
            content: content.unwrap_or_default(),
            ended: state.ended.as_ref().map_or_else(Bytes::new, part_bytes),
            read: state.read,
            email: Some(delivery_out(state.email)),
            forgotten: state.forgotten,
        };
        message.encode_to_vec()
    }

    fn decode_state(schema: u32, bytes: &[u8]) -> Result<notice::State, CodecError> {
        let message: stored::NoticeState = decoded_state(schema, Self::STATE_SCHEMA, bytes)?;
        let mut made = message.made.map(made_in).transpose()?;
        if let Some(made) = &mut made {
            let content = optional_part(&message.content)?;
            made.content = content.ok_or(CodecError::Malformed("notice without content"))?;
        }
        Ok(notice::State {
            made,
            ended: optional_part(&message.ended)?,
            read: message.read,
            email: delivery_in(message.email)?,
            forgotten: message.forgotten,
        })
    }
}

fn place_out(place: Place) -> stored::NoticePlace {
    stored::NoticePlace {
        account: bytes(place.account),
        made_at: place.made_at.micros(),
    }
}

fn place_in(message: Option<stored::NoticePlace>) -> Result<Place, CodecError> {
    let message = message.ok_or(CodecError::Malformed("place"))?;
    Ok(Place {
        account: id(&message.account)?,
        made_at: time(message.made_at),
    })
}

fn source_out(source: &Source) -> stored::NoticeSource {
    stored::NoticeSource {
        home: bytes(source.home),
        membership: bytes(source.membership),
        rule: bytes(source.rule),
        episode: bytes(source.episode),
        topic: u32::from(source.topic.number()),
    }
}

fn source_in(message: Option<stored::NoticeSource>) -> Result<Source, CodecError> {
    let message = message.ok_or(CodecError::Malformed("source"))?;
    Ok(Source {
        home: id(&message.home)?,
        membership: id(&message.membership)?,
        rule: id(&message.rule)?,
        episode: id(&message.episode)?,
        topic: topic(message.topic)?,
    })
}

fn made_out(made: &Made) -> stored::NoticeMade {
    stored::NoticeMade {
        place: Some(place_out(made.place)),
        source: Some(source_out(&made.source)),
        inbox: made.channels.inbox,
        email: made.channels.email,
    }
}

fn made_in(message: stored::NoticeMade) -> Result<Made, CodecError> {
    Ok(Made {
        place: place_in(message.place)?,
        source: source_in(message.source)?,
        channels: Channels {
            inbox: message.inbox,
            email: message.email,
        },
        content: empty_part(),
    })
}

/// The row of a notice in an inbox.
pub(crate) fn inbox_row(made: &Made) -> Vec<u8> {
    let message = stored::InboxRow {
        made: Some(made_out(made)),
        content: part_bytes(&made.content),
    };
    message.encode_to_vec()
}

/// The notice of a row.
pub(crate) fn made_of_row(row: &[u8]) -> Result<Made, CodecError> {
    let malformed = CodecError::Malformed("row of an inbox");
    let row = stored::InboxRow::decode(row).map_err(|_| malformed.clone())?;
    let mut made = made_in(row.made.ok_or_else(|| malformed.clone())?)?;
    made.content = optional_part(&row.content)?.ok_or(malformed)?;
    Ok(made)
}

fn attempt(number: u32) -> Result<u8, CodecError> {
    u8::try_from(number).map_err(|_| CodecError::Malformed("attempt"))
}

fn delivery_out(delivery: Delivery) -> stored::DeliveryState {
    match delivery {
        Delivery::Off => stored::DeliveryState::default(),
        Delivery::Queued { attempt, due } => stored::DeliveryState {
            stage: 1,
            attempt: u32::from(attempt),
            due: due.micros(),
            outcome: 0,
        },
        Delivery::Done(outcome) => stored::DeliveryState {
            stage: 2,
            outcome: outcome_number(outcome),
            ..stored::DeliveryState::default()
        },
    }
}

fn delivery_in(message: Option<stored::DeliveryState>) -> Result<Delivery, CodecError> {
    let message = message.unwrap_or_default();
    Ok(match message.stage {
        0 => Delivery::Off,
        1 => Delivery::Queued {
            attempt: attempt(message.attempt)?,
            due: time(message.due),
        },
        2 => Delivery::Done(outcome(message.outcome)?),
        _ => return Err(CodecError::Malformed("delivery")),
    })
}

impl Aggregate for Mail {
    const SERVICE: Service = Service::Notifications;
    const KIND: &'static str = "mail";
    const STORED: Stored = Stored::History;
    const LIFE: Life = Life::Episodic;
    const STATE_SCHEMA: u32 = 1;

    fn encode_event(event: &mail::Event) -> EncodedEvent {
        match event {
            mail::Event::Taken { mail, at } => {
                let message = stored::MailTaken {
                    at: at.micros(),
                    ..taken_out(mail)
                };
                encoded("mail_taken", &message)
            }
            mail::Event::TryFailed { attempt, due } => {
                let message = stored::MailTryFailed {
                    attempt: u32::from(*attempt),
                    due: due.micros(),
                };
                encoded("mail_try_failed", &message)
            }
            mail::Event::Done { account, outcome } => {
                let message = stored::MailDone {
                    account: bytes(*account),
                    outcome: outcome_number(*outcome),
                };
                encoded("mail_done", &message)
            }
        }
    }

    fn decode_event(name: &str, major: u32, public: &[u8]) -> Result<mail::Event, CodecError> {
        match (name, major) {
            ("mail_taken", MAJOR) => {
                let message: stored::MailTaken = decoded(public)?;
                Ok(mail::Event::Taken {
                    at: time(message.at),
                    mail: taken_in(&message)?,
                })
            }
            ("mail_try_failed", MAJOR) => {
                let message: stored::MailTryFailed = decoded(public)?;
                Ok(mail::Event::TryFailed {
                    attempt: attempt(message.attempt)?,
                    due: time(message.due),
                })
            }
            ("mail_done", MAJOR) => {
                let message: stored::MailDone = decoded(public)?;
                Ok(mail::Event::Done {
                    account: id(&message.account)?,
                    outcome: outcome(message.outcome)?,
                })
            }
            _ => Err(unknown(name, major)),
        }
    }

    fn encode_state(state: &mail::State) -> Vec<u8> {
        let message = stored::MailState {
            taken: state.taken.as_ref().map(taken_out),
            delivery: Some(delivery_out(state.delivery)),
        };
        message.encode_to_vec()
    }

    fn decode_state(schema: u32, bytes: &[u8]) -> Result<mail::State, CodecError> {
        let message: stored::MailState = decoded_state(schema, Self::STATE_SCHEMA, bytes)?;
        Ok(mail::State {
            taken: message.taken.as_ref().map(taken_in).transpose()?,
            delivery: delivery_in(message.delivery)?,
        })
    }
}

fn taken_out(mail: &mail::Taken) -> stored::MailTaken {
    stored::MailTaken {
        account: bytes(mail.account),
        sealed: Bytes::copy_from_slice(&mail.sealed),
        expires_at: mail.expires_at.micros(),
        at: 0,
    }
}

fn taken_in(message: &stored::MailTaken) -> Result<mail::Taken, CodecError> {
    Ok(mail::Taken {
        account: id(&message.account)?,
        sealed: message.sealed.as_ref().into(),
        expires_at: time(message.expires_at),
    })
}
