//! What an account decides, and what its events do to it.

use hearth_kernel::{Decider, HomeId, MembershipId, Part, RegistrationId, SessionId, Timestamp};

use super::{
    Access, Account, AddressKey, Cause, Closing, Command, Departure, Event, Facts, Joining, Mail,
    MailKind, Profile, Rejection, Session, State, Status,
};
use crate::limits::{
    HOMES, JOINING_LASTS, KNOWN_ADDRESS_PAUSE, LONGEST_GRACE, REGISTRATION_LIVES, REVOKED_NAMED,
    SESSION_LIVES, SESSIONS, SHORTEST_GRACE,
};

/// Ended sessions that are named to others at the same time.
const REVOKED: usize = 64;

impl Decider for Account {
    type State = State;
    type Command = Command;
    type Event = Event;
    type Facts = Facts;
    type Rejection = Rejection;

    fn decide(state: &State, command: &Command, facts: &Facts) -> Result<Vec<Event>, Rejection> {
        match command {
            Command::Register { .. } => register(state, command, facts),
            Command::Verify { .. } => verify(state, command, facts),
            Command::OpenSession { session, label } => {
                signs_in(state)?;
                Ok(open(state, *session, label, facts))
            }
            Command::EndSession { session, cause } => end_session(state, *session, *cause, facts),
            Command::Join { home, membership } => join(state, *home, *membership, facts),
            Command::NoteAccess { home, access } => note_access(state, *home, access),
            Command::EndAccess { home, membership } => {
                exists(state)?;
                let over = state.left.contains(membership);
                Ok(Vec::from_iter((!over).then_some(Event::AccessEnded {
                    home: *home,
                    membership: *membership,
                })))
            }
            Command::RequestMail(mail) => request_mail(state, mail, facts),
            Command::StartClosing { closing, mail } => start_closing(state, closing, mail, facts),
            Command::Reopen => match state.status {
                Status::Closing(closing) if facts.now < closing.grace_ends_at => {
                    Ok(vec![Event::Reopened])
                }
                Status::Active => Err(Rejection::IsNotClosing),
                Status::Closing(_) => Err(Rejection::IsClosed),
                _ => Err(standing_in_the_way(state)),
            },
            Command::EndGrace => match state.status {
                Status::Closing(closing) if facts.now >= closing.grace_ends_at => {
                    Ok(vec![Event::Closed])
                }
                Status::Closing(_) => Err(Rejection::IsNotDue),
                // Reopened, or closed before: there is nothing to end.
                _ => exists(state).map(|()| Vec::new()),
            },
            Command::NoteDeparture(departure) => note_departure(state, departure),
            Command::Lapse { replaced } => lapse(state, *replaced, facts.now),
            Command::Abandon { registration } => abandon(state, *registration, facts),
        }
    }

    fn evolve(state: State, event: &Event) -> State {
        evolve(state, event)
    }

    fn invariant(state: &State) -> Result<(), &'static str> {
        if state.sessions.len() > SESSIONS {
            return Err("an account has at most 32 open sessions");
        }
        if state.homes.len() + state.joining.len() > HOMES {
            return Err("an account has at most 32 homes");
        }
        let over = |access: &Access| state.left.contains(&access.membership);
        if state.homes.values().any(over) {
            return Err("a membership that is over gives no access");
        }
        if state
            .homes
            .keys()
            .any(|home| state.joining.contains_key(home))
        {
            return Err("a home is joined once");
        }
        if matches!(state.status, Status::Departed(_)) && !state.homes.is_empty() {
            return Err("an account departs when its homes are left");
        }
        Ok(())
    }
}

/// The rejection that names where the account stands.
const fn standing_in_the_way(state: &State) -> Rejection {
    match state.status {
        Status::Absent => Rejection::IsAbsent,
        Status::Unverified => Rejection::IsUnverified,
        Status::Active => Rejection::IsVerified,
        Status::Closing(_) => Rejection::IsClosing,
        Status::Closed(_) | Status::Departed(_) => Rejection::IsClosed,
        Status::Lapsed => Rejection::HasLapsed,
    }
}

const fn exists(state: &State) -> Result<(), Rejection> {
    match state.status {
        Status::Absent => Err(Rejection::IsAbsent),
        _ => Ok(()),
    }
}

const fn signs_in(state: &State) -> Result<(), Rejection> {
    if state.may_sign_in() {
        Ok(())
    } else {
        Err(standing_in_the_way(state))
    }
}

const fn is_active(state: &State) -> Result<(), Rejection> {
    match state.status {
        Status::Active => Ok(()),
        _ => Err(standing_in_the_way(state)),
    }
}

fn register(state: &State, command: &Command, facts: &Facts) -> Result<Vec<Event>, Rejection> {
    let Command::Register {
        registration,
        address_key,
        profile,
        mail,
    } = command
    else {
        return Ok(Vec::new());
    };
    if state.status != Status::Absent {
        // The same registration again, after a crash between this commit and the next step.
        let same = state.registration == *registration;
        return if same {
            Ok(Vec::new())
        } else {
            Err(Rejection::Exists)
        };
    }
    let registered = Event::Registered {
        account: facts.account,
        registration: *registration,
        address_key: *address_key,
        profile: profile.clone(),
        at: facts.now,
    };
    Ok(vec![registered, requested(mail, facts)])
}

fn verify(state: &State, command: &Command, facts: &Facts) -> Result<Vec<Event>, Rejection> {
    let Command::Verify {
        address,
        session,
        label,
    } = command
    else {
        return Ok(Vec::new());
    };
    if state.status != Status::Unverified {
        return Err(standing_in_the_way(state));
    }
    if facts.now >= state.registered_at.plus(REGISTRATION_LIVES) {
        return Err(Rejection::HasLapsed);
    }
    let mut events = vec![Event::Verified {
        account: facts.account,
        address: address.clone(),
        at: facts.now,
    }];
    events.extend(open(state, *session, label, facts));
    Ok(events)
}

/// A session's opening, and the ends of those that make room for it.
fn open(state: &State, session: SessionId, label: &Part, facts: &Facts) -> Vec<Event> {
    if state.sessions.contains_key(&session) {
        return Vec::new();
    }
    let now = facts.now;
    let ended = |session: SessionId, cause| Event::SessionEnded {
        session,
        cause,
        at: now,
    };
    let (old, live): (Vec<_>, Vec<_>) = state
        .sessions
        .iter()
        .map(|(id, session)| (session.opened_at, *id))
        .partition(|(opened_at, _)| now >= opened_at.plus(SESSION_LIVES));
    let mut events: Vec<Event> = old
        .into_iter()
        .map(|(_, id)| ended(id, Cause::Expired))
        .collect();
    if live.len() >= SESSIONS {
        let oldest = live.into_iter().min();
        events.extend(oldest.map(|(_, id)| ended(id, Cause::Displaced)));
    }
    events.push(Event::SessionOpened {
        account: facts.account,
        session,
        label: label.clone(),
        at: now,
    });
    events
}

fn end_session(
    state: &State,
    session: SessionId,
    cause: Cause,
    facts: &Facts,
) -> Result<Vec<Event>, Rejection> {
    exists(state)?;
    if state.sessions.contains_key(&session) {
        return Ok(vec![Event::SessionEnded {
            session,
            cause,
            at: facts.now,
        }]);
    }
    if state.revoked.contains_key(&session) {
        return Ok(Vec::new());
    }
    Err(Rejection::SessionHasEnded)
}

fn join(
    state: &State,
    home: HomeId,
    membership: MembershipId,
    facts: &Facts,
) -> Result<Vec<Event>, Rejection> {
    is_active(state)?;
    if state.left.contains(&membership) {
        return Err(Rejection::MembershipIsOver);
    }
    if state.homes.contains_key(&home) {
        return Err(Rejection::IsMemberAlready);
    }
    let stale = |it: &Joining| facts.now >= it.at.plus(JOINING_LASTS);
    let mut events = Vec::new();
    match state.joining.get(&home) {
        Some(begun) if begun.membership == membership => return Ok(events),
        Some(begun) if !stale(begun) => return Err(Rejection::IsMemberAlready),
        _ => {}
    }
    let ends = state.joining.iter().filter(|(_, it)| stale(it));
    events.extend(ends.map(|(home, it)| Event::AccessEnded {
        home: *home,
        membership: it.membership,
    }));
    if state.homes.len() + state.joining.len() - events.len() >= HOMES {
        return Err(Rejection::HasTooManyHomes);
    }
    events.push(Event::JoinBegun {
        home,
        membership,
        at: facts.now,
    });
    Ok(events)
}

fn note_access(state: &State, home: HomeId, access: &Access) -> Result<Vec<Event>, Rejection> {
    if state.left.contains(&access.membership) {
        return Err(Rejection::MembershipIsOver);
    }
    // Noted also in the grace of a closing: the home decides, not the account.
    let known = state.homes.get(&home);
    let membership = known.map(|it| it.membership);
    let membership = membership.or_else(|| state.joining.get(&home).map(|it| it.membership));
    match membership {
        None => Err(Rejection::MembershipIsUnknown),
        Some(membership) if membership != access.membership => Err(Rejection::IsMemberAlready),
        Some(_) if known.is_some_and(|it| it.revision >= access.revision) => Ok(Vec::new()),
        Some(_) => Ok(vec![Event::AccessNoted {
            home,
            access: access.clone(),
        }]),
    }
}

fn request_mail(state: &State, mail: &Mail, facts: &Facts) -> Result<Vec<Event>, Rejection> {
    exists(state)?;
    let told = state.told_known_at;
    if mail.kind == MailKind::KnownAddress
        && told.is_some_and(|at| facts.now < at.plus(KNOWN_ADDRESS_PAUSE))
    {
        return Ok(Vec::new());
    }
    Ok(vec![requested(mail, facts)])
}

fn requested(mail: &Mail, facts: &Facts) -> Event {
    Event::MailRequested {
        account: facts.account,
        mail: Box::new(mail.clone()),
        at: facts.now,
    }
}

fn start_closing(
    state: &State,
    closing: &Closing,
    mail: &Mail,
    facts: &Facts,
) -> Result<Vec<Event>, Rejection> {
    is_active(state)?;
    let grace = closing.grace_ends_at.since(closing.closed_at);
    if grace < SHORTEST_GRACE || grace > LONGEST_GRACE {
        return Err(Rejection::GraceIsOutOfBounds);
    }
    Ok(vec![
        Event::ClosingStarted(*closing),
        requested(mail, facts),
    ])
}

/// Every home is left, or has ended with her: that and the ends of her memberships are one commit.
fn note_departure(state: &State, departure: &Departure) -> Result<Vec<Event>, Rejection> {
    match state.status {
        Status::Closed(_) => {}
        Status::Departed(_) => return Ok(Vec::new()),
        _ => return Err(standing_in_the_way(state)),
    }
    let homes = state.homes.iter().map(|(home, it)| (*home, it.membership));
    let joining = state
        .joining
        .iter()
        .map(|(home, it)| (*home, it.membership));
    let all: Vec<(HomeId, MembershipId)> = homes.chain(joining).collect();
    let told = |(home, membership): &(HomeId, MembershipId)| {
        departure.ended.contains(home) || departure.left.contains(membership)
    };
    if !all.iter().all(told) {
        return Err(Rejection::IsNotDue);
    }
    let ends = all
        .into_iter()
        .map(|(home, membership)| Event::AccessEnded { home, membership });
    Ok(ends.chain([Event::Departed(departure.clone())]).collect())
}

/// Nothing came of its registration, but what that sealed made keys: it is registered, saying nothing, and lapses. So it
/// is erased like what nobody confirmed, and the search for its keys finds what they sealed.
fn abandon(
    state: &State,
    registration: RegistrationId,
    facts: &Facts,
) -> Result<Vec<Event>, Rejection> {
    match state.status {
        Status::Absent => {
            let nothing = || Part::clear("");
            let registered = Event::Registered {
                account: facts.account,
                registration,
                address_key: AddressKey::default(),
                profile: Box::new(Profile {
                    email: nothing(),
                    username: nothing(),
                    locale: nothing(),
                }),
                at: facts.now,
            };
            Ok(vec![registered, Event::Lapsed])
        }
        Status::Unverified => Ok(vec![Event::Lapsed]),
        Status::Lapsed => Ok(Vec::new()),
        _ => Err(standing_in_the_way(state)),
    }
}

fn lapse(state: &State, replaced: bool, now: Timestamp) -> Result<Vec<Event>, Rejection> {
    match state.status {
        Status::Unverified if replaced || now >= state.registered_at.plus(REGISTRATION_LIVES) => {
            Ok(vec![Event::Lapsed])
        }
        Status::Unverified => Err(Rejection::IsNotDue),
        Status::Lapsed => Ok(Vec::new()),
        _ => Err(standing_in_the_way(state)),
    }
}

fn evolve(mut state: State, event: &Event) -> State {
    match event {
        Event::Registered {
            account,
            registration,
            address_key,
            profile,
            at,
        } => {
            return State {
                status: Status::Unverified,
                account: *account,
                registration: *registration,
                address_key: *address_key,
                registered_at: *at,
                profile: Some(profile.clone()),
                ..State::default()
            };
        }
        Event::Verified { address, .. } => {
            state.status = Status::Active;
            state.address = Some(address.clone());
        }
        Event::SessionOpened {
            session, label, at, ..
        } => {
            forget_revoked(&mut state, *at);
            let opened = Session {
                label: label.clone(),
                opened_at: *at,
            };
            state.sessions.insert(*session, opened);
        }
        Event::SessionEnded { session, at, .. } => {
            forget_revoked(&mut state, *at);
            state.sessions.remove(session);
            state.revoked.insert(*session, *at);
        }
        Event::JoinBegun {
            home,
            membership,
            at,
        } => {
            let joining = Joining {
                membership: *membership,
                at: *at,
            };
            state.joining.insert(*home, joining);
        }
        Event::AccessNoted { home, access } => {
            state.joining.remove(home);
            state.homes.insert(*home, access.clone());
        }
        Event::AccessEnded { membership, .. } => {
            state.homes.retain(|_, it| it.membership != *membership);
            state.joining.retain(|_, it| it.membership != *membership);
            state.left.insert(*membership);
        }
        Event::MailRequested { mail, at, .. } => {
            if mail.kind == MailKind::KnownAddress {
                state.told_known_at = Some(*at);
            }
        }
        Event::ClosingStarted(closing) => state.status = Status::Closing(*closing),
        Event::Reopened => state.status = Status::Active,
        Event::Closed => {
            if let Some(closing) = state.closing().copied() {
                state.status = Status::Closed(closing);
            }
        }
        Event::Departed(departure) => {
            if let Some(closing) = state.closing().copied() {
                state.status = Status::Departed(closing);
            }
            state.departure = departure.clone();
        }
        Event::Lapsed => state.status = Status::Lapsed,
    }
    state
}

/// Drops ended sessions whose tokens are long dead, and the oldest when too many ended at once.
fn forget_revoked(state: &mut State, now: Timestamp) {
    let live = |at: &Timestamp| now < at.plus(REVOKED_NAMED);
    state.revoked.retain(|_, at| live(at));
    while state.revoked.len() >= REVOKED {
        let oldest = state.revoked.iter().min_by_key(|(_, at)| **at);
        let Some(oldest) = oldest.map(|(id, _)| *id) else {
            return;
        };
        state.revoked.remove(&oldest);
    }
}
