//! What its events do to a home.

use std::collections::BTreeMap;

use super::{Event, Member, State, Status};

/// The state after an event.
pub(super) fn evolve(mut state: State, event: &Event) -> State {
    state.revision = state.revision.saturating_add(1);
    match event {
        Event::Created {
            home,
            name,
            kind,
            time_zone,
            at,
        } => {
            state = State {
                status: Status::Active,
                home: *home,
                name: Some(name.clone()),
                kind: *kind,
                time_zone: time_zone.clone(),
                created_at: *at,
                revision: state.revision,
                ..State::default()
            };
        }
        Event::Renamed { name, .. } => state.name = Some(name.clone()),
        Event::TimeZoneChanged { time_zone } => state.time_zone.clone_from(time_zone),
        Event::RetentionChosen { family, class } => {
            state.retention.insert(*family, *class);
        }
        Event::AreaAdded { area, name, .. } | Event::AreaRenamed { area, name, .. } => {
            state.areas.insert(*area, name.clone());
        }
        Event::AreaRemoved { area } => {
            state.areas.remove(area);
        }
        Event::Invited {
            invitation,
            invited,
        } => {
            state.invitations.insert(*invitation, invited.clone());
        }
        Event::InvitationLapsed { invitation } => {
            state.invitations.remove(invitation);
        }
        Event::MemberJoined {
            membership,
            scope,
            invitation,
            at,
        } => {
            if let Some(invitation) = invitation {
                state.invitations.remove(invitation);
            }
            let member = Member {
                scope: scope.clone(),
                joined_at: *at,
            };
            state.members.insert(*membership, member);
        }
        Event::MemberChanged { membership, scope } => {
            if let Some(member) = state.members.get_mut(membership) {
                member.scope = scope.clone();
            }
        }
        Event::MemberLeft { membership } => {
            state.members.remove(membership);
            // What she offered falls with her.
            state.invitations.retain(|_, it| it.by != *membership);
        }
        // The members stay in the state: each of their accounts has to be told.
        Event::Ended => {
            state.status = Status::Ended;
            state.invitations = BTreeMap::new();
        }
    }
    state
}
