//! Given what happened, when somebody wants something, then this; and the laws.

use std::time::Duration;

use hearth_kernel::Decider;
use hearth_kernel::decider::fold;
use hearth_kernel::laws::{self, Step};
use proptest::prelude::*;

use super::*;
use crate::limits::{INVITATION, MEMBERS};

const START: Timestamp = Timestamp::from_seconds(1_000_000);
const HOME: HomeId = HomeId::from_bytes([1; 16]);
const OWNER: MembershipId = MembershipId::from_bytes([10; 16]);

fn member(n: u8) -> MembershipId {
    MembershipId::from_bytes([n; 16])
}

fn area(n: u8) -> AreaId {
    AreaId::from_bytes([n; 16])
}

fn invitation(n: u8) -> InvitationId {
    InvitationId::from_bytes([n; 16])
}

fn role(role: Role) -> Scope {
    Scope {
        role,
        areas: BTreeSet::new(),
        expires_at: None,
    }
}

fn create() -> Command {
    Command::Create {
        name: Part::clear("Cottage"),
        kind: HomeKind::Household,
        time_zone: "Europe/Skopje".into(),
        owner: OWNER,
    }
}

fn invite(by: MembershipId, n: u8, scope: Scope) -> Command {
    Command::Invite {
        by,
        invitation: invitation(n),
        scope,
        expires_at: START.plus(INVITATION),
    }
}

fn accept(n: u8) -> Command {
    Command::Accept {
        invitation: invitation(n),
        membership: member(n),
    }
}

fn add(n: u8, name: &str) -> Command {
    Command::AddArea {
        by: OWNER,
        area: area(n),
        name: name.into(),
    }
}

fn change(by: MembershipId, membership: MembershipId, to: Role) -> Command {
    Command::ChangeRole {
        by,
        membership,
        scope: role(to),
    }
}

fn remove(by: MembershipId, membership: MembershipId) -> Command {
    Command::Remove { by, membership }
}

/// What the use case would open.
fn facts(state: &State, now: Timestamp) -> Facts {
    let text = |part: &Part| match part {
        Part::Clear(secret) => secret.expose_text().unwrap_or_default().to_owned(),
        Part::Sealed(_) => String::new(),
    };
    Facts {
        home: HOME,
        now,
        names: state
            .areas
            .iter()
            .map(|(id, name)| (*id, text(name)))
            .collect(),
    }
}

fn when_at(state: &State, command: &Command, now: Timestamp) -> Result<Vec<Event>, Rejection> {
    Home::decide(state, command, &facts(state, now))
}

fn when(state: &State, command: &Command) -> Result<Vec<Event>, Rejection> {
    when_at(state, command, START)
}

fn given(commands: &[Command]) -> State {
    commands.iter().fold(State::default(), |state, command| {
        let events = when(&state, command).expect("taken");
        fold::<Home>(state, &events)
    })
}

/// A home with an admin (20), an adult (30) and a guest (40).
fn shared() -> Vec<Command> {
    vec![
        create(),
        invite(OWNER, 20, role(Role::Admin)),
        accept(20),
        invite(OWNER, 30, role(Role::Adult)),
        accept(30),
        invite(OWNER, 40, role(Role::Guest)),
        accept(40),
    ]
}

#[test]
fn it_is_made_with_its_owner() {
    let state = given(&[create()]);
    assert_eq!(state.owners(), 1);
    assert_eq!(when(&state, &create()), Err(Rejection::Exists));
}

#[test]
fn to_a_stranger_it_does_not_exist() {
    let state = given(&shared());
    for command in [
        remove(member(99), member(30)),
        invite(member(99), 50, role(Role::Guest)),
        change(member(99), member(30), Role::Guest),
    ] {
        assert_eq!(
            when(&state, &command),
            Err(Rejection::IsAbsent),
            "{command:?}"
        );
        assert_eq!(when(&State::default(), &command), Err(Rejection::IsAbsent));
    }
}

#[test]
fn adults_and_guests_change_nothing_about_others() {
    let state = given(&shared());
    for by in [30, 40] {
        let by = member(by);
        assert_eq!(
            when(&state, &remove(by, member(20))),
            Err(Rejection::MayNot)
        );
        assert_eq!(
            when(&state, &invite(by, 50, role(Role::Guest))),
            Err(Rejection::MayNot)
        );
        assert_eq!(
            when(&state, &change(by, by, Role::Owner)),
            Err(Rejection::MayNot)
        );
    }
}

#[test]
fn nobody_grants_or_takes_a_role_above_her_own() {
    let state = given(&shared());
    let admin = member(20);
    assert_eq!(
        when(&state, &change(admin, admin, Role::Owner)),
        Err(Rejection::IsAboveHer)
    );
    assert_eq!(
        when(&state, &change(admin, OWNER, Role::Adult)),
        Err(Rejection::IsAboveHer)
    );
    assert_eq!(
        when(&state, &remove(admin, OWNER)),
        Err(Rejection::IsAboveHer)
    );
    assert_eq!(
        when(&state, &invite(admin, 50, role(Role::Owner))),
        Err(Rejection::IsAboveHer)
    );
    assert_eq!(
        when(&state, &invite(OWNER, 50, role(Role::Owner))),
        Err(Rejection::IsAboveHer)
    );
}

#[test]
fn the_last_owner_stays_until_another_is_made() {
    let state = given(&shared());
    assert_eq!(
        when(&state, &remove(OWNER, OWNER)),
        Err(Rejection::IsLastOwner)
    );
    assert_eq!(
        when(&state, &change(OWNER, OWNER, Role::Adult)),
        Err(Rejection::IsLastOwner)
    );
    let state = given(&[shared(), vec![change(OWNER, member(30), Role::Owner)]].concat());
    assert!(when(&state, &remove(OWNER, OWNER)).is_ok());
}

#[test]
fn a_transfer_makes_one_owner_and_one_admin() {
    let transfer = |to| Command::Transfer { by: OWNER, to };
    let state = given(&[shared(), vec![transfer(member(30))]].concat());
    assert_eq!(state.members[&member(30)].scope.role, Role::Owner);
    assert_eq!(state.members[&OWNER].scope.role, Role::Admin);
    let state = given(&shared());
    assert_eq!(when(&state, &transfer(member(40))), Err(Rejection::IsGuest));
    assert_eq!(
        when(&state, &transfer(member(99))),
        Err(Rejection::MemberIsAbsent)
    );
}

#[test]
fn an_invitation_works_once_and_in_time() {
    let state = given(&[create(), invite(OWNER, 20, role(Role::Adult))]);
    let late = START.plus(INVITATION);
    assert_eq!(
        when_at(&state, &accept(20), late),
        Err(Rejection::InvitationIsOver)
    );
    assert_eq!(when(&state, &accept(21)), Err(Rejection::InvitationIsOver));
    let state = given(&shared());
    assert_eq!(when(&state, &accept(20)), Err(Rejection::InvitationIsOver));
}

#[test]
fn an_invitation_falls_with_who_made_it() {
    let made = invite(member(20), 50, role(Role::Adult));
    let state = given(&[shared(), vec![made.clone(), remove(OWNER, member(20))]].concat());
    assert_eq!(when(&state, &accept(50)), Err(Rejection::InvitationIsOver));
    let state = given(&[shared(), vec![made, change(OWNER, member(20), Role::Adult)]].concat());
    assert_eq!(when(&state, &accept(50)), Err(Rejection::InvitationIsOver));
}

#[test]
fn only_guests_are_limited_and_only_to_what_is_there() {
    let state = given(&[create(), add(1, "Hall")]);
    let limited = |role, n| Scope {
        role,
        areas: [area(n)].into(),
        expires_at: None,
    };
    assert_eq!(
        when(&state, &invite(OWNER, 50, limited(Role::Adult, 1))),
        Err(Rejection::IsNoGuest)
    );
    assert_eq!(
        when(&state, &invite(OWNER, 50, limited(Role::Guest, 2))),
        Err(Rejection::AreaIsAbsent)
    );
    assert!(when(&state, &invite(OWNER, 50, limited(Role::Guest, 1))).is_ok());
}

#[test]
fn a_guest_of_a_removed_room_is_no_guest_of_the_house() {
    let hall = Scope {
        role: Role::Guest,
        areas: [area(1)].into(),
        expires_at: None,
    };
    let gone = Command::RemoveArea {
        by: OWNER,
        area: area(1),
    };
    let state = given(&[
        create(),
        add(1, "Hall"),
        invite(OWNER, 40, hall.clone()),
        accept(40),
        gone,
    ]);
    assert_eq!(state.members[&member(40)].scope, hall);
}

#[test]
fn a_guest_whose_time_is_over_is_a_stranger() {
    let end = START.plus(Duration::from_secs(60));
    let brief = Scope {
        role: Role::Guest,
        areas: BTreeSet::new(),
        expires_at: Some(end),
    };
    let state = given(&[create(), invite(OWNER, 40, brief), accept(40)]);
    let leave = remove(member(40), member(40));
    assert_eq!(when_at(&state, &leave, end), Err(Rejection::IsAbsent));
    assert!(when(&state, &leave).is_ok());
}

#[test]
fn area_names_are_unique_without_regard_to_case() {
    let state = given(&[create(), add(1, "Кујна"), add(2, "Hall")]);
    assert_eq!(
        when(&state, &add(3, "КУЈНА")),
        Err(Rejection::AreaNameIsTaken)
    );
    let rename = |n, name: &str| Command::RenameArea {
        by: OWNER,
        area: area(n),
        name: name.into(),
    };
    assert_eq!(
        when(&state, &rename(2, "кујна")),
        Err(Rejection::AreaNameIsTaken)
    );
    assert_eq!(when(&state, &rename(2, "Hall")), Ok(vec![]));
    assert_eq!(when(&state, &rename(2, "HALL")).unwrap().len(), 1);
    assert_eq!(when(&state, &rename(9, "x")), Err(Rejection::AreaIsAbsent));
}

#[test]
fn what_does_not_change_is_no_event() {
    let state = given(&[create()]);
    let update = |class| Command::Update {
        by: OWNER,
        name: None,
        time_zone: Some("Europe/Skopje".into()),
        retention: [(DataFamily::Readings, class)].into(),
    };
    assert_eq!(when(&state, &update(RetentionClass::Days30)), Ok(vec![]));
    assert_eq!(
        when(&state, &update(RetentionClass::Days400))
            .unwrap()
            .len(),
        1
    );
    for class in [RetentionClass::Years5, RetentionClass::Rollups] {
        assert_eq!(
            when(&state, &update(class)),
            Err(Rejection::ClassIsNotAllowed)
        );
    }
}

#[test]
fn with_its_last_owner_a_home_ends_and_with_anybody_else_it_goes_on() {
    let state = given(&shared());
    let depart = |membership| Command::Depart { membership };
    assert_eq!(when(&state, &depart(OWNER)), Ok(vec![Event::Ended]));
    assert_eq!(
        when(&state, &depart(member(20))),
        Ok(vec![Event::MemberLeft {
            membership: member(20)
        }])
    );
    assert_eq!(when(&state, &depart(member(99))), Ok(vec![]));
    let ended = given(&[shared(), vec![depart(OWNER)]].concat());
    assert_eq!(when(&ended, &add(1, "Hall")), Err(Rejection::IsAbsent));
    assert_eq!(when(&ended, &depart(member(20))), Ok(vec![]));
}

#[test]
fn lapsed_invitations_make_room() {
    let mut state = given(&[create()]);
    for n in 20..20 + u8::try_from(MEMBERS).unwrap() - 1 {
        let events = when(&state, &invite(OWNER, n, role(Role::Guest))).unwrap();
        state = fold::<Home>(state, &events);
    }
    let one_more = |now: Timestamp| Command::Invite {
        by: OWNER,
        invitation: invitation(200),
        scope: role(Role::Guest),
        expires_at: now.plus(INVITATION),
    };
    assert_eq!(
        when(&state, &one_more(START)),
        Err(Rejection::HasTooManyMembers)
    );
    let later = START.plus(INVITATION);
    let events = when_at(&state, &one_more(later), later).unwrap();
    assert_eq!(events.len(), MEMBERS);
}

fn any_role() -> impl Strategy<Value = Role> {
    prop::sample::select(Role::ALL.to_vec())
}

fn any_scope() -> impl Strategy<Value = Scope> {
    (
        any_role(),
        prop::collection::btree_set(0u8..4, 0..2),
        prop::option::of(0u64..400),
    )
        .prop_map(|(role, areas, hours)| Scope {
            role,
            areas: areas.into_iter().map(area).collect(),
            expires_at: hours.map(|hours| START.plus(Duration::from_secs(hours * 3600))),
        })
}

fn any_command() -> impl Strategy<Value = Command> {
    // Few ids, so that they meet; 10 is the owner.
    let who = || (8u8..14).prop_map(member);
    prop_oneof![
        Just(create()),
        (who(), 0u8..4, "[a-c]{1,2}").prop_map(|(by, n, name)| Command::AddArea {
            by,
            area: area(n),
            name
        }),
        (who(), 0u8..4, "[a-cA-C]{1,2}").prop_map(|(by, n, name)| Command::RenameArea {
            by,
            area: area(n),
            name
        }),
        (who(), 0u8..4).prop_map(|(by, n)| Command::RemoveArea { by, area: area(n) }),
        (who(), 8u8..14, any_scope(), 1u64..100).prop_map(|(by, n, scope, hours)| {
            Command::Invite {
                by,
                invitation: invitation(n),
                scope,
                expires_at: START.plus(Duration::from_secs(hours * 3600)),
            }
        }),
        (8u8..14).prop_map(accept),
        (who(), who(), any_scope()).prop_map(|(by, membership, scope)| Command::ChangeRole {
            by,
            membership,
            scope
        }),
        (who(), who()).prop_map(|(by, membership)| remove(by, membership)),
        (who(), who()).prop_map(|(by, to)| Command::Transfer { by, to }),
        who().prop_map(|membership| Command::Depart { membership }),
        who().prop_map(|membership| Command::Expire { membership }),
        (who(), prop::option::of("[A-Z]{3}")).prop_map(|(by, time_zone)| Command::Update {
            by,
            name: None,
            time_zone,
            retention: BTreeMap::new()
        }),
    ]
}

#[test]
fn a_guest_whose_time_is_over_gives_her_place_back_and_nobody_else_does() {
    let end = START.plus(Duration::from_secs(3600));
    let guest = Scope {
        expires_at: Some(end),
        ..role(Role::Guest)
    };
    let mut state = State::default();
    for command in [create(), invite(OWNER, 8, guest), accept(8)] {
        let events = Home::decide(&state, &command, &facts(&state, START)).unwrap();
        state = fold::<Home>(state, &events);
    }
    let expire = |membership, now| {
        let command = Command::Expire { membership };
        Home::decide(&state, &command, &facts(&state, now)).unwrap()
    };
    let before = end.minus(Duration::from_micros(1));
    assert_eq!(expire(member(8), before), vec![]);
    assert_eq!(expire(OWNER, end), vec![]);
    assert_eq!(expire(member(9), end), vec![]);
    let left = Event::MemberLeft {
        membership: member(8),
    };
    assert_eq!(expire(member(8), end), [left]);
}

proptest! {
    #[test]
    fn laws_hold(
        script in prop::collection::vec((any_command(), 0u64..20), 0..80),
        cut in 0usize..80,
    ) {
        let mut now = START;
        let mut state = State::default();
        let script = std::iter::once((create(), 0)).chain(script);
        let script: Vec<Step<Home>> = script.map(|(command, hours)| {
            now = now.plus(Duration::from_secs(hours * 3600));
            // The names are facts of the state, as the use case opens them.
            let facts = facts(&state, now);
            if let Ok(events) = Home::decide(&state, &command, &facts) {
                state = fold::<Home>(state.clone(), &events);
            }
            // A swap back and forth is no repetition; and a name is opened anew each time.
            let idempotent = !matches!(
                command,
                Command::Transfer { .. } | Command::RenameArea { .. } | Command::Accept { .. }
            );
            Step { command, facts, idempotent }
        }).collect();
        let checked = laws::check(&script, cut);
        prop_assert!(checked.is_ok(), "{checked:?}");
    }
}
