//! Given rules and arming, when a member wants something, then this; and the laws.

use std::collections::BTreeSet;
use std::time::Duration;

use hearth_kernel::decider::fold;
use hearth_kernel::laws::{self, Step};
use hearth_kernel::{AreaId, Decider, HomeId, MembershipId, RuleId, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::limits::RULES;

const START: Timestamp = Timestamp::from_seconds(1_000_000);

fn area(n: u8) -> AreaId {
    AreaId::from_bytes([n; 16])
}

fn rule(n: u8) -> RuleId {
    RuleId::from_bytes([n; 16])
}

fn areas(list: &[u8]) -> BTreeSet<AreaId> {
    list.iter().map(|n| area(*n)).collect()
}

fn facts(now: Timestamp) -> Facts {
    Facts {
        home: HomeId::from_bytes([1; 16]),
        areas: areas(&[1, 2, 3]),
        by: MembershipId::from_bytes([2; 16]),
        now,
    }
}

fn heating(minutes: u64) -> Condition {
    Condition::HeatingLeftOn {
        devices: BTreeSet::new(),
        areas: BTreeSet::new(),
        after: Duration::from_secs(minutes * 60),
        nobody_present: false,
    }
}

fn motion(list: &[u8]) -> Condition {
    Condition::MotionWhileArmed {
        areas: areas(list),
        cooldown: Duration::from_secs(300),
    }
}

fn put(n: u8, new: bool, condition: Condition) -> Command {
    Command::Put {
        rule: rule(n),
        new,
        enabled: true,
        condition,
    }
}

fn given(commands: &[Command]) -> State {
    commands.iter().fold(State::default(), |state, command| {
        let events = Rules::decide(&state, command, &facts(START)).expect("accepted");
        fold::<Rules>(state, &events)
    })
}

fn when(state: &State, command: &Command) -> Result<Vec<Event>, Rejection> {
    Rules::decide(state, command, &facts(START.plus(Duration::from_secs(60))))
}

#[test]
fn a_rule_is_made_changed_and_removed() {
    let state = given(&[put(1, true, heating(30))]);
    let changed = when(&state, &put(1, false, heating(60))).unwrap();
    let state = fold::<Rules>(state, &changed);
    assert_eq!(state.rules[&rule(1)].made_at, START);
    assert_ne!(state.rules[&rule(1)].put_at, START);
    let removed = when(&state, &Command::Remove(rule(1))).unwrap();
    assert!(fold::<Rules>(state, &removed).rules.is_empty());
}

#[test]
fn what_is_there_already_makes_no_event() {
    let state = given(&[put(1, true, heating(30)), Command::Arm(areas(&[]))]);
    assert_eq!(when(&state, &put(1, false, heating(30))), Ok(vec![]));
    assert_eq!(when(&state, &Command::Arm(areas(&[]))), Ok(vec![]));
    assert_eq!(when(&state, &Command::Arm(areas(&[2]))), Ok(vec![]));
}

#[test]
fn what_cannot_be_is_refused() {
    let state = given(&[put(1, true, heating(30))]);
    let refused = |command| when(&state, &command).unwrap_err();
    assert_eq!(
        refused(put(1, false, motion(&[]))),
        Rejection::IsOfAnotherKind
    );
    assert_eq!(
        refused(put(2, false, heating(30))),
        Rejection::RuleIsUnknown
    );
    assert_eq!(
        refused(put(2, true, motion(&[9]))),
        Rejection::AreaIsUnknown
    );
    assert_eq!(refused(Command::Remove(rule(2))), Rejection::RuleIsUnknown);
    assert_eq!(refused(Command::Arm(areas(&[9]))), Rejection::AreaIsUnknown);
    let many = (0..RULES).map(|n| put(u8::try_from(n).unwrap(), true, heating(30)));
    let full = given(&many.collect::<Vec<_>>());
    assert_eq!(
        when(&full, &put(200, true, heating(30))),
        Err(Rejection::HasTooManyRules)
    );
}

#[test]
fn disarming_one_area_of_an_armed_home_leaves_the_others_armed() {
    let state = given(&[Command::Arm(areas(&[])), Command::Disarm(areas(&[2]))]);
    assert_eq!(state.arming.since(Some(area(1))), Some(START));
    assert_eq!(state.arming.since(Some(area(2))), None);
    assert_eq!(state.arming.since(None), None);
    let state = given(&[Command::Arm(areas(&[1])), Command::Disarm(areas(&[]))]);
    assert_eq!(state.arming, Arming::default());
}

fn any_command() -> impl Strategy<Value = Command> {
    let some = prop::collection::vec(0u8..5, 0..4);
    prop_oneof![
        (0u8..6, any::<bool>(), 1u64..4).prop_map(|(n, new, minutes)| put(
            n,
            new,
            heating(minutes)
        )),
        (0u8..6, any::<bool>(), some.clone()).prop_map(|(n, new, list)| put(n, new, motion(&list))),
        (0u8..6).prop_map(|n| Command::Remove(rule(n))),
        some.clone().prop_map(|list| Command::Arm(areas(&list))),
        some.prop_map(|list| Command::Disarm(areas(&list))),
    ]
}

proptest! {
    #[test]
    fn laws_hold(script in prop::collection::vec((any_command(), 0u64..600), 0..60), cut in 0usize..60) {
        let mut now = START;
        let script: Vec<Step<Rules>> = script.into_iter().map(|(command, seconds)| {
            now = now.plus(Duration::from_secs(seconds));
            Step { command, facts: facts(now), idempotent: true }
        }).collect();
        let checked = laws::check(&script, cut);
        prop_assert!(checked.is_ok(), "{checked:?}");
    }
}
