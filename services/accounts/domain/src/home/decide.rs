//! What a home decides. Who asks is looked up here, at the row: no other check stands in for this one.

use std::collections::BTreeSet;

use hearth_kernel::{AreaId, Decider, InvitationId, MembershipId, Part, Role, Timestamp};

use super::evolve::evolve;
use super::{Command, Event, Facts, Home, Invitation, Member, Rejection, Scope, State, Status};
use crate::limits::{AREAS, LONGEST_INVITATION, MEMBERS, SHORTEST_INVITATION};

type Decision = Result<Vec<Event>, Rejection>;

impl Decider for Home {
    type State = State;
    type Command = Command;
    type Event = Event;
    type Facts = Facts;
    type Rejection = Rejection;

    fn decide(state: &State, command: &Command, facts: &Facts) -> Decision {
        if let Command::Create { .. } = command {
            return create(state, command, facts);
        }
        // An account that departs from a home which ended with another owner has nothing to do.
        if let (Command::Depart { .. }, Status::Ended) = (command, state.status) {
            return Ok(Vec::new());
        }
        if state.status != Status::Active {
            return Err(Rejection::IsAbsent);
        }
        match command {
            Command::Create { .. } => Ok(Vec::new()),
            Command::Update { .. } => update(state, command, facts),
            Command::AddArea { by, area, name } => add_area(state, *by, *area, name, facts),
            Command::RenameArea { by, area, name } => rename_area(state, *by, *area, name, facts),
            Command::RemoveArea { by, area } => {
                at_least(state, *by, Role::Admin, facts)?;
                let known = state.areas.contains_key(area);
                known
                    .then(|| vec![Event::AreaRemoved { area: *area }])
                    .ok_or(Rejection::AreaIsAbsent)
            }
            Command::Invite {
                by,
                invitation,
                scope,
                expires_at,
            } => invite(state, (*by, *invitation), scope, *expires_at, facts),
            Command::Accept {
                invitation,
                membership,
            } => accept(state, *invitation, *membership, facts),
            Command::ChangeRole {
                by,
                membership,
                scope,
            } => change_role(state, *by, *membership, scope, facts),
            Command::Remove { by, membership } => remove(state, *by, *membership, facts),
            Command::Transfer { by, to } => transfer(state, *by, *to, facts),
            Command::Depart { membership } => Ok(depart(state, *membership)),
            Command::Expire { membership } => Ok(expire(state, *membership, facts.now)),
        }
    }

    fn evolve(state: State, event: &Event) -> State {
        evolve(state, event)
    }

    fn invariant(state: &State) -> Result<(), &'static str> {
        // The first owner comes in the commit that makes the home, one event later.
        if state.status == Status::Active && state.owners() == 0 && state.revision > 1 {
            return Err("a home has an owner");
        }
        if state.areas.len() > AREAS {
            return Err("a home has at most 256 areas");
        }
        if state.members.len() + state.invitations.len() > MEMBERS {
            return Err("a home has at most 64 members and invitations");
        }
        Ok(())
    }
}

/// Who asks, when she is a member whose role is enough.
fn at_least<'a>(
    state: &'a State,
    by: MembershipId,
    role: Role,
    facts: &Facts,
) -> Result<&'a Member, Rejection> {
    let member = state.member(by, facts.now).ok_or(Rejection::IsAbsent)?;
    if member.scope.role < role {
        return Err(Rejection::MayNot);
    }
    Ok(member)
}

fn create(state: &State, command: &Command, facts: &Facts) -> Decision {
    let Command::Create {
        name,
        kind,
        time_zone,
        owner,
    } = command
    else {
        return Ok(Vec::new());
    };
    if state.status != Status::Absent {
        return Err(Rejection::Exists);
    }
    let scope = Scope {
        role: Role::Owner,
        areas: BTreeSet::new(),
        expires_at: None,
    };
    Ok(vec![
        Event::Created {
            home: facts.home,
            name: name.clone(),
            kind: *kind,
            time_zone: time_zone.clone(),
            at: facts.now,
        },
        joined(*owner, scope, None, facts.now),
    ])
}

fn joined(
    membership: MembershipId,
    scope: Scope,
    invitation: Option<InvitationId>,
    at: Timestamp,
) -> Event {
    Event::MemberJoined {
        membership,
        scope,
        invitation,
        at,
    }
}

fn update(state: &State, command: &Command, facts: &Facts) -> Decision {
    let Command::Update {
        by,
        name,
        time_zone,
        retention,
    } = command
    else {
        return Ok(Vec::new());
    };
    at_least(state, *by, Role::Admin, facts)?;
    if retention
        .iter()
        .any(|(family, class)| !family.allows(*class))
    {
        return Err(Rejection::ClassIsNotAllowed);
    }
    let renamed = name.iter().map(|name| Event::Renamed {
        home: facts.home,
        name: name.clone(),
    });
    let moved = time_zone.iter().filter(|it| **it != state.time_zone);
    let moved = moved.map(|time_zone| Event::TimeZoneChanged {
        time_zone: time_zone.clone(),
    });
    let chosen = retention
        .iter()
        .filter(|(family, class)| state.class(**family) != **class);
    let chosen = chosen.map(|(family, class)| Event::RetentionChosen {
        family: *family,
        class: *class,
    });
    Ok(renamed.chain(moved).chain(chosen).collect())
}

/// Whether another area has that name, without regard to case.
fn name_is_taken(area: AreaId, name: &str, facts: &Facts) -> bool {
    let name = name.to_lowercase();
    facts
        .names
        .iter()
        .any(|(other, taken)| *other != area && taken.to_lowercase() == name)
}

fn add_area(state: &State, by: MembershipId, area: AreaId, name: &str, facts: &Facts) -> Decision {
    at_least(state, by, Role::Admin, facts)?;
    if state.areas.contains_key(&area) {
        return Ok(Vec::new());
    }
    if name_is_taken(area, name, facts) {
        return Err(Rejection::AreaNameIsTaken);
    }
    if state.areas.len() >= AREAS {
        return Err(Rejection::HasTooManyAreas);
    }
    Ok(vec![Event::AreaAdded {
        home: facts.home,
        area,
        name: Part::clear(name),
    }])
}

fn rename_area(
    state: &State,
    by: MembershipId,
    area: AreaId,
    name: &str,
    facts: &Facts,
) -> Decision {
    at_least(state, by, Role::Admin, facts)?;
    if !state.areas.contains_key(&area) {
        return Err(Rejection::AreaIsAbsent);
    }
    if name_is_taken(area, name, facts) {
        return Err(Rejection::AreaNameIsTaken);
    }
    if facts
        .names
        .get(&area)
        .is_some_and(|present| present == name)
    {
        return Ok(Vec::new());
    }
    Ok(vec![Event::AreaRenamed {
        home: facts.home,
        area,
        name: Part::clear(name),
    }])
}

/// Whether the scope is one that may be given at all.
fn allowed(state: &State, scope: &Scope, facts: &Facts) -> Result<(), Rejection> {
    if scope.role != Role::Guest && (!scope.areas.is_empty() || scope.expires_at.is_some()) {
        return Err(Rejection::IsNoGuest);
    }
    if scope.expires_at.is_some_and(|end| end <= facts.now) {
        return Err(Rejection::TimeIsOutOfBounds);
    }
    if scope
        .areas
        .iter()
        .any(|area| !state.areas.contains_key(area))
    {
        return Err(Rejection::AreaIsAbsent);
    }
    Ok(())
}

fn invite(
    state: &State,
    (by, invitation): (MembershipId, InvitationId),
    scope: &Scope,
    expires_at: Timestamp,
    facts: &Facts,
) -> Decision {
    let inviter = at_least(state, by, Role::Admin, facts)?;
    if scope.role > inviter.scope.role || scope.role == Role::Owner {
        return Err(Rejection::IsAboveHer);
    }
    allowed(state, scope, facts)?;
    let open_for = expires_at.since(facts.now);
    if open_for < SHORTEST_INVITATION || open_for > LONGEST_INVITATION {
        return Err(Rejection::TimeIsOutOfBounds);
    }
    if state.invitations.contains_key(&invitation) {
        return Ok(Vec::new());
    }
    let lapsed: Vec<InvitationId> = state
        .invitations
        .iter()
        .filter(|(_, it)| it.expires_at <= facts.now)
        .map(|(id, _)| *id)
        .collect();
    if state.members.len() + state.invitations.len() - lapsed.len() >= MEMBERS {
        return Err(Rejection::HasTooManyMembers);
    }
    let mut events: Vec<Event> = lapsed
        .into_iter()
        .map(|invitation| Event::InvitationLapsed { invitation })
        .collect();
    events.push(Event::Invited {
        invitation,
        invited: Invitation {
            scope: scope.clone(),
            expires_at,
            by,
        },
    });
    Ok(events)
}

fn accept(
    state: &State,
    invitation: InvitationId,
    membership: MembershipId,
    facts: &Facts,
) -> Decision {
    let open = state.invitations.get(&invitation);
    let open = open.filter(|it| facts.now < it.expires_at);
    let Some(open) = open else {
        return Err(Rejection::InvitationIsOver);
    };
    // It holds no more than who made it still has.
    let inviter = state.member(open.by, facts.now);
    if inviter.is_none_or(|it| it.scope.role < open.scope.role.max(Role::Admin)) {
        return Err(Rejection::InvitationIsOver);
    }
    if open.scope.expires_at.is_some_and(|end| end <= facts.now) {
        return Err(Rejection::InvitationIsOver);
    }
    if state.members.contains_key(&membership) {
        return Ok(Vec::new());
    }
    Ok(vec![joined(
        membership,
        open.scope.clone(),
        Some(invitation),
        facts.now,
    )])
}

fn change_role(
    state: &State,
    by: MembershipId,
    membership: MembershipId,
    scope: &Scope,
    facts: &Facts,
) -> Decision {
    let asking = at_least(state, by, Role::Admin, facts)?.scope.role;
    let member = state.members.get(&membership);
    let member = member.ok_or(Rejection::MemberIsAbsent)?;
    if scope.role > asking || member.scope.role > asking {
        return Err(Rejection::IsAboveHer);
    }
    if member.scope == *scope {
        return Ok(Vec::new());
    }
    allowed(state, scope, facts)?;
    let is_last = member.scope.role == Role::Owner && state.owners() == 1;
    if is_last && scope.role != Role::Owner {
        return Err(Rejection::IsLastOwner);
    }
    Ok(vec![Event::MemberChanged {
        membership,
        scope: scope.clone(),
    }])
}

fn remove(state: &State, by: MembershipId, membership: MembershipId, facts: &Facts) -> Decision {
    // Whoever is a member may leave; to remove somebody else takes an admin.
    let needed = if by == membership {
        Role::Guest
    } else {
        Role::Admin
    };
    let asking = at_least(state, by, needed, facts)?.scope.role;
    let member = state.members.get(&membership);
    let role = member.ok_or(Rejection::MemberIsAbsent)?.scope.role;
    if role > asking {
        return Err(Rejection::IsAboveHer);
    }
    if role == Role::Owner && state.owners() == 1 {
        return Err(Rejection::IsLastOwner);
    }
    Ok(vec![Event::MemberLeft { membership }])
}

fn transfer(state: &State, by: MembershipId, to: MembershipId, facts: &Facts) -> Decision {
    at_least(state, by, Role::Owner, facts)?;
    let member = state
        .member(to, facts.now)
        .ok_or(Rejection::MemberIsAbsent)?;
    if by == to {
        return Ok(Vec::new());
    }
    if member.scope.role == Role::Guest {
        return Err(Rejection::IsGuest);
    }
    let scope = |role| Scope {
        role,
        areas: BTreeSet::new(),
        expires_at: None,
    };
    Ok(vec![
        Event::MemberChanged {
            membership: to,
            scope: scope(Role::Owner),
        },
        Event::MemberChanged {
            membership: by,
            scope: scope(Role::Admin),
        },
    ])
}

fn depart(state: &State, membership: MembershipId) -> Vec<Event> {
    match state.members.get(&membership) {
        None => Vec::new(),
        Some(member) if member.scope.role == Role::Owner && state.owners() == 1 => {
            vec![Event::Ended]
        }
        Some(_) => vec![Event::MemberLeft { membership }],
    }
}

fn expire(state: &State, membership: MembershipId, now: Timestamp) -> Vec<Event> {
    let end = state
        .members
        .get(&membership)
        .and_then(|it| it.scope.expires_at);
    let over = end.is_some_and(|end| end <= now);
    Vec::from_iter(over.then_some(Event::MemberLeft { membership }))
}
