//! What others learn: events with ids only, what is armed, and which numbers the rules of a home need as signals.

use async_trait::async_trait;
use hearth_api::events::v1 as events;
use hearth_api::events::v1::notifications_event::Event as Published;
use hearth_api::events::v1::{Envelope, NotificationsEvent, NotificationsFact, envelope};
use hearth_engine::{
    Aggregate, CodecError, Commit, Publication, PublishedFacts, Publisher, RelayError, Target,
    erasure,
};
use hearth_kernel::{AccountId, HomeId, Owner};
use hearth_notifications_domain::notice::Source;
use hearth_notifications_domain::rules::Arming;
use hearth_notifications_domain::{Outcome, episode, mail, notice, rules};
use prost::Message;
use uuid::Uuid;

use crate::aggregates::{Episode, Mail, Notice, Preferences, Rules};
use crate::codec::{bytes, id, outcome_number};

/// The major version of every event so far.
const MAJOR: u32 = 1;

/// The publisher.
pub(crate) struct Publish;

#[async_trait]
impl Publisher for Publish {
    async fn publish(
        &self,
        commit: &Commit,
        _facts: &PublishedFacts,
    ) -> Result<Vec<Publication>, RelayError> {
        if let Some(answered) = erasure::publications(commit)? {
            return Ok(answered);
        }
        Ok(publications(commit)?)
    }
}

fn publications(commit: &Commit) -> Result<Vec<Publication>, CodecError> {
    if commit.is_tombstone() {
        return ended(commit);
    }
    let mut out = Vec::new();
    for stored in &commit.events {
        let (name, major, public) = (&*stored.name, stored.major, &stored.public);
        match &*commit.kind {
            Rules::KIND => {
                let home = id(&commit.aggregate)?;
                of_rules(home, Rules::decode_event(name, major, public)?, &mut out);
            }
            Episode::KIND => {
                let event = Episode::decode_event(name, major, public)?;
                out.push(of_episode(commit, &event));
            }
            Notice::KIND => {
                let event = Notice::decode_event(name, major, public)?;
                out.extend(of_notice(commit, &event));
            }
            Preferences::KIND => {
                let account: AccountId = id(&commit.aggregate)?;
                let changed = events::PreferencesChanged {
                    account_id: bytes(account),
                };
                let published = Published::PreferencesChanged(changed);
                out.push(event(
                    Owner::Account(account),
                    "preferences-changed",
                    published,
                ));
            }
            Mail::KIND => {
                let event = Mail::decode_event(name, major, public)?;
                out.extend(of_mail(commit, &event));
            }
            _ => return Err(CodecError::Malformed("kind of an aggregate")),
        }
    }
    // One commit says at most one thing per fact: the last word of it.
    let mut seen = std::collections::HashSet::new();
    out.reverse();
    out.retain(|publication| match publication.target {
        Target::Event { .. } => true,
        Target::Fact { kind, id, .. } => seen.insert((kind, id)),
    });
    out.reverse();
    Ok(out)
}

/// The facts of a home end with its rules.
fn ended(commit: &Commit) -> Result<Vec<Publication>, CodecError> {
    if commit.kind != Rules::KIND {
        return Ok(Vec::new());
    }
    let home: HomeId = id(&commit.aggregate)?;
    let gone = |kind| Publication {
        target: Target::Fact {
            kind,
            id: home.into(),
            gone: true,
        },
        body: envelope(Owner::Home(home), envelope::Payload::Gone(events::Gone {})),
    };
    Ok(vec![gone("interests"), gone("arming")])
}

fn of_rules(home: HomeId, what: rules::Event, out: &mut Vec<Publication>) {
    let owner = Owner::Home(home);
    match what {
        rules::Event::RulePut { rule, .. } => {
            let put = events::RulePut {
                home_id: bytes(home),
                rule_id: bytes(rule),
            };
            out.push(event(owner, "rule-put", Published::RulePut(put)));
            // All that today's rules look at are states, whose changes are signals anyway.
            let interests = events::Interests {
                home_id: bytes(home),
                interests: Vec::new(),
            };
            let fact = events::notifications_fact::Fact::Interests(interests);
            out.push(self::fact(owner, "interests", home, fact));
        }
        rules::Event::RuleRemoved { rule, .. } => {
            let removed = events::RuleRemoved {
                home_id: bytes(home),
                rule_id: bytes(rule),
            };
            out.push(event(
                owner,
                "rule-removed",
                Published::RuleRemoved(removed),
            ));
        }
        rules::Event::ArmingChanged { arming, .. } => {
            let changed = events::ArmingChanged {
                home_id: bytes(home),
            };
            out.push(event(
                owner,
                "arming-changed",
                Published::ArmingChanged(changed),
            ));
            let fact = events::notifications_fact::Fact::Arming(armed(home, &arming));
            out.push(self::fact(owner, "arming", home, fact));
        }
    }
}

fn armed(home: HomeId, arming: &Arming) -> events::ArmingFact {
    events::ArmingFact {
        home_id: bytes(home),
        whole_home: arming.whole_home.is_some(),
        area_ids: arming.areas.keys().map(|area| bytes(*area)).collect(),
    }
}

fn of_episode(commit: &Commit, what: &episode::Event) -> Publication {
    let of = what.of();
    let (home_id, rule_id) = (bytes(of.home), bytes(of.rule));
    let episode_id = commit.aggregate.clone();
    let owner = Owner::Home(of.home);
    match what {
        episode::Event::Began { .. } => {
            let began = events::EpisodeBegan {
                home_id,
                rule_id,
                episode_id,
            };
            event(owner, "episode-began", Published::EpisodeBegan(began))
        }
        episode::Event::Ended { .. } => {
            let ended = events::EpisodeEnded {
                home_id,
                rule_id,
                episode_id,
            };
            event(owner, "episode-ended", Published::EpisodeEnded(ended))
        }
    }
}

fn of_notice(commit: &Commit, what: &notice::Event) -> Option<Publication> {
    let notice_id = commit.aggregate.clone();
    match what {
        notice::Event::Made(made) => {
            let Source {
                home,
                membership,
                topic,
                ..
            } = made.source;
            let made = events::NoticeMade {
                home_id: bytes(home),
                membership_id: bytes(membership),
                notice_id,
                topic: i32::from(topic.number()),
            };
            Some(event(
                Owner::Home(home),
                "notice-made",
                Published::NoticeMade(made),
            ))
        }
        notice::Event::MailDone {
            source, outcome, ..
        } => {
            let delivered = events::NoticeDelivered {
                home_id: bytes(source.home),
                notice_id,
                channel: 2,
                outcome: outcome_out(*outcome),
            };
            let owner = Owner::Home(source.home);
            Some(event(
                owner,
                "notice-delivered",
                Published::NoticeDelivered(delivered),
            ))
        }
        _ => None,
    }
}

fn of_mail(commit: &Commit, what: &mail::Event) -> Option<Publication> {
    let mail::Event::Done { account, outcome } = what else {
        return None;
    };
    let done = events::MailDone {
        mail_id: commit.aggregate.clone(),
        outcome: outcome_out(*outcome),
    };
    Some(event(
        Owner::Account(*account),
        "mail-done",
        Published::MailDone(done),
    ))
}

fn outcome_out(outcome: Outcome) -> i32 {
    i32::try_from(outcome_number(outcome)).unwrap_or(0)
}

fn owner_out(owner: Owner) -> events::Owner {
    use events::owner::Owner as Wire;
    let owner = match owner {
        Owner::Account(account) => Wire::AccountId(bytes(account)),
        Owner::Home(home) => Wire::HomeId(bytes(home)),
        Owner::Service(service) => Wire::Service(i32::from(service.number())),
    };
    events::Owner { owner: Some(owner) }
}

fn envelope(owner: Owner, payload: envelope::Payload) -> Vec<u8> {
    let envelope = Envelope {
        stamp: None,
        owner: Some(owner_out(owner)),
        payload: Some(payload),
    };
    envelope.encode_to_vec()
}

fn event(owner: Owner, name: &'static str, event: Published) -> Publication {
    let id: Uuid = match owner {
        Owner::Account(account) => account.into(),
        Owner::Home(home) => home.into(),
        Owner::Service(_) => Uuid::nil(),
    };
    let event = NotificationsEvent { event: Some(event) };
    Publication {
        target: Target::Event {
            name,
            major: MAJOR,
            id,
        },
        body: envelope(owner, envelope::Payload::NotificationsEvent(event)),
    }
}

fn fact(
    owner: Owner,
    kind: &'static str,
    id: HomeId,
    fact: events::notifications_fact::Fact,
) -> Publication {
    let fact = NotificationsFact { fact: Some(fact) };
    Publication {
        target: Target::Fact {
            kind,
            id: id.into(),
            gone: false,
        },
        body: envelope(owner, envelope::Payload::NotificationsFact(fact)),
    }
}
