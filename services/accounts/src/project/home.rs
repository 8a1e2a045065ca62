//! What a commit of a home makes public.

use bytes::Bytes;
use hearth_accounts_domain::home::{DataFamily, Event};
use hearth_api::events::v1::{
    self as events, accounts_event::Event as Out, accounts_fact::Fact, home_fact::Status,
};
use hearth_api::types::v1::RetentionChoice;
use hearth_engine::{Commit, Publication, PublishedFacts, RelayError, decode_events};
use hearth_kernel::{HomeId, MembershipId, RetentionClass};
use uuid::Uuid;

use super::{bytes, current, event, fact, gone, of_home};
use crate::aggregates::Home;
use crate::codec::choice_out;

pub(super) async fn publish(
    home: HomeId,
    commit: &Commit,
    published: &PublishedFacts,
) -> Result<Vec<Publication>, RelayError> {
    if commit.is_tombstone() {
        return Ok(vec![gone("home", home)]);
    }
    let events = decode_events::<Home>(home.into(), commit)?;
    let mut known = match current(published, "home", home.into()).await? {
        Some(Fact::Home(known)) => known,
        _ => events::HomeFact {
            home_id: bytes(home),
            ..events::HomeFact::default()
        },
    };
    let mut out: Vec<Publication> = Vec::new();
    let (mut changed, mut settings) = (false, false);
    for it in &events {
        let folded = fold(&mut known, it);
        changed |= folded;
        match happened(home, it) {
            Some(publication) => out.push(publication),
            None => settings |= folded,
        }
    }
    let home_id = bytes(home);
    if settings {
        let change = Out::HomeChanged(events::HomeChanged { home_id });
        out.push(event("home-changed", home.into(), of_home(home), change));
    }
    if changed {
        out.push(fact("home", home, Some(of_home(home)), Fact::Home(known)));
    }
    Ok(out)
}

/// The event for others, if it is one of its own; the rest are changes of the home.
fn happened(home: HomeId, it: &Event) -> Option<Publication> {
    let home_id = bytes(home);
    let (name, out) = match it {
        Event::Created { .. } => (
            "home-created",
            Out::HomeCreated(events::HomeCreated { home_id }),
        ),
        Event::Ended => ("home-ended", Out::HomeEnded(events::HomeEnded { home_id })),
        Event::MemberJoined {
            membership, scope, ..
        } => (
            "member-joined",
            Out::MemberJoined(events::MemberJoined {
                home_id,
                membership_id: bytes(*membership),
                role: i32::from(scope.role.number()),
            }),
        ),
        Event::MemberChanged { membership, scope } => (
            "member-changed",
            Out::MemberChanged(events::MemberChanged {
                home_id,
                membership_id: bytes(*membership),
                role: i32::from(scope.role.number()),
            }),
        ),
        Event::MemberLeft { membership } => (
            "member-left",
            Out::MemberLeft(events::MemberLeft {
                home_id,
                membership_id: bytes(*membership),
            }),
        ),
        _ => return None,
    };
    Some(event(name, home.into(), of_home(home), out))
}

/// Folds an event in. Answers whether the fact may say something else now. An event that is in already changes nothing.
fn fold(known: &mut events::HomeFact, it: &Event) -> bool {
    match it {
        Event::Created { time_zone, .. } => {
            known.set_status(Status::Active);
            known.time_zone.clone_from(time_zone);
            known.retention = DataFamily::ALL
                .map(|family| choice_out(family, family.default_class()))
                .to_vec();
        }
        Event::TimeZoneChanged { time_zone } => known.time_zone.clone_from(time_zone),
        Event::RetentionChosen { family, class } => choose(known, *family, *class),
        Event::AreaAdded { area, .. } => put(&mut known.area_ids, *area),
        Event::AreaRemoved { area } => take(&mut known.area_ids, *area),
        Event::MemberJoined { membership, .. } => put(&mut known.membership_ids, *membership),
        Event::MemberLeft { membership } => {
            take::<MembershipId>(&mut known.membership_ids, *membership);
        }
        Event::Ended => known.set_status(Status::Ended),
        Event::Renamed { .. }
        | Event::AreaRenamed { .. }
        | Event::Invited { .. }
        | Event::InvitationLapsed { .. }
        | Event::MemberChanged { .. } => return false,
    }
    true
}

fn choose(known: &mut events::HomeFact, family: DataFamily, class: RetentionClass) {
    let chosen: RetentionChoice = choice_out(family, class);
    known.retention.retain(|it| it.family != chosen.family);
    known.retention.push(chosen);
    known.retention.sort_by_key(|it| it.family);
}

fn put<T: Into<Uuid>>(list: &mut Vec<Bytes>, id: T) {
    let id = bytes(id);
    if !list.contains(&id) {
        list.push(id);
    }
}

fn take<T: Into<Uuid>>(list: &mut Vec<Bytes>, id: T) {
    let id = bytes(id);
    list.retain(|it| *it != id);
}
