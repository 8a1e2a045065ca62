//! Stories of heating and motion; and random lives of a home against an oracle that looks at every second.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hearth_kernel::{AreaId, ClaimId, DeviceId, RuleId, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::rules::{Arming, Condition, Rule, State};

const RULE: RuleId = RuleId::from_bytes([9; 16]);
const HEATER: DeviceId = DeviceId::from_bytes([1; 16]);
const SENSOR: DeviceId = DeviceId::from_bytes([2; 16]);
const CAMERA: DeviceId = DeviceId::from_bytes([3; 16]);
const ROOM: AreaId = AreaId::from_bytes([4; 16]);

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_seconds(1_000_000).plus(Duration::from_secs(seconds))
}

fn devices() -> BTreeMap<DeviceId, Option<AreaId>> {
    [(HEATER, Some(ROOM)), (SENSOR, None), (CAMERA, Some(ROOM))].into()
}

fn home(condition: Condition) -> State {
    let rule = Rule {
        enabled: true,
        condition,
        made_at: at(0),
        put_at: at(0),
    };
    State {
        rules: [(RULE, rule)].into(),
        arming: Arming::default(),
    }
}

fn heating(after: u64, nobody_present: bool) -> State {
    home(Condition::HeatingLeftOn {
        devices: BTreeSet::new(),
        areas: BTreeSet::new(),
        after: Duration::from_secs(after),
        nobody_present,
    })
}

fn armed(cooldown: u64) -> State {
    let mut home = home(Condition::MotionWhileArmed {
        areas: BTreeSet::new(),
        cooldown: Duration::from_secs(cooldown),
    });
    home.arming.whole_home = Some(at(0));
    home
}

fn signal(device: DeviceId, flag: Flag, on: bool, second: u64) -> Signal {
    Signal {
        device,
        flag,
        on,
        observed_at: at(second),
        received_at: at(second),
        claim: ClaimId::from_bytes([7; 16]),
    }
}

fn heater(on: bool, second: u64) -> Signal {
    signal(HEATER, Flag::HeatingOn, on, second)
}

fn someone(on: bool, second: u64) -> Signal {
    signal(SENSOR, Flag::Present, on, second)
}

fn motion(on: bool, second: u64) -> Signal {
    signal(CAMERA, Flag::Motion, on, second)
}

/// Episodes as (began, ended), in seconds, after the signals and then the clock's time.
fn episodes(home: &State, signals: &[Signal], end: u64) -> Vec<(u64, Option<u64>)> {
    let devices = devices();
    let facts = Facts {
        rules: home,
        devices: &devices,
    };
    let mut watch = Watch::default();
    let mut changes = Vec::new();
    for signal in signals {
        changes.extend(watch.observe(facts, signal));
    }
    changes.extend(watch.settle(facts, at(end)));
    paired(&changes)
}

fn paired(changes: &[Change]) -> Vec<(u64, Option<u64>)> {
    let second = |time: Timestamp| time.since(at(0)).as_secs();
    let mut found: Vec<(u64, Option<u64>)> = Vec::new();
    for change in changes {
        match change {
            Change::Began { at, .. } => found.push((second(*at), None)),
            Change::Ended { began_at, at, .. } => {
                let open = found
                    .iter_mut()
                    .find(|(began, _)| *began == second(*began_at));
                open.expect("an end has a beginning").1 = Some(second(*at));
            }
        }
    }
    found
}

#[test]
fn heating_that_stays_on_is_found_by_the_clock() {
    let home = heating(1800, false);
    let on = [heater(true, 100)];
    assert_eq!(episodes(&home, &on, 1899), []);
    assert_eq!(episodes(&home, &on, 1900), [(1900, None)]);
    let watch = {
        let mut watch = Watch::default();
        let devices = devices();
        let facts = Facts {
            rules: &home,
            devices: &devices,
        };
        watch.observe(facts, &on[0]);
        watch.next_deadline(facts)
    };
    assert_eq!(watch, Some(at(1900)));
}

#[test]
fn heating_that_goes_off_in_time_is_not() {
    let signals = [heater(true, 0), heater(false, 1799)];
    assert_eq!(episodes(&heating(1800, false), &signals, 9999), []);
}

#[test]
fn a_short_interruption_ends_no_episode() {
    let signals = [heater(true, 0), heater(false, 2000), heater(true, 2059)];
    let home = heating(600, false);
    assert_eq!(episodes(&home, &signals, 9999), [(600, None)]);
    let longer = [heater(true, 0), heater(false, 2000), heater(true, 2061)];
    assert_eq!(
        episodes(&home, &longer, 9999),
        [(600, Some(2000)), (2661, None)]
    );
}

#[test]
fn somebody_present_keeps_it_from_being_true() {
    let home = heating(600, true);
    let signals = [someone(true, 0), heater(true, 10), someone(false, 1000)];
    assert_eq!(episodes(&home, &signals, 1599), []);
    assert_eq!(episodes(&home, &signals, 1600), [(1600, None)]);
    let back = [&signals[..], &[someone(true, 2000)]].concat();
    assert_eq!(episodes(&home, &back, 3000), [(1600, Some(2000))]);
    assert_eq!(episodes(&home, &[heater(true, 10)], 700), [(610, None)]);
}

#[test]
fn motion_is_found_at_its_first_instant_and_ends_after_the_cooldown() {
    let signals = [
        motion(true, 10),
        motion(false, 12),
        motion(true, 60),
        motion(false, 61),
    ];
    let home = armed(300);
    assert_eq!(episodes(&home, &signals, 360), [(10, None)]);
    assert_eq!(episodes(&home, &signals, 361), [(10, Some(361))]);
    let again = [&signals[..], &[motion(true, 400)]].concat();
    assert_eq!(episodes(&home, &again, 400), [(10, Some(361)), (400, None)]);
}

#[test]
fn motion_from_before_arming_and_in_disarmed_areas_is_nothing() {
    let mut home = armed(300);
    home.arming.whole_home = Some(at(100));
    assert_eq!(episodes(&home, &[motion(true, 99)], 200), []);
    home.arming = Arming::default();
    assert_eq!(episodes(&home, &[motion(true, 150)], 200), []);
    home.arming.areas = [(ROOM, at(100))].into();
    assert_eq!(episodes(&home, &[motion(true, 150)], 200), [(150, None)]);
}

#[test]
fn disarming_and_removing_end_what_goes_on() {
    let devices = devices();
    let home = armed(300);
    let mut watch = Watch::default();
    let facts = Facts {
        rules: &home,
        devices: &devices,
    };
    assert_eq!(watch.observe(facts, &motion(true, 10)).len(), 1);
    let nothing = State::default();
    let without = Facts {
        rules: &nothing,
        devices: &devices,
    };
    let changes = watch.settle(without, at(50));
    assert!(matches!(changes[..], [Change::Ended { at: end, .. }] if end == at(50)));
    assert!(watch.open.is_empty());
}

#[test]
fn while_a_hub_empties_its_buffer_the_clock_waits() {
    let devices = devices();
    let home = heating(600, false);
    let facts = Facts {
        rules: &home,
        devices: &devices,
    };
    let mut watch = Watch::default();
    let late = |on, second| Signal {
        received_at: at(100_000),
        ..heater(on, second)
    };
    assert_eq!(watch.observe(facts, &late(true, 0)), []);
    assert_eq!(watch.settle(facts, at(100_001)), [], "more may follow");
    assert_eq!(watch.next_deadline(facts), Some(at(100_030)));
    let mut told = watch.clone();
    assert_eq!(
        told.observe(facts, &late(false, 300)),
        [],
        "it was off in time"
    );
    assert_eq!(
        watch.settle(facts, at(100_030)).len(),
        1,
        "nothing followed"
    );
}

#[test]
fn what_began_long_ago_is_told_to_nobody() {
    let devices = devices();
    let home = heating(600, false);
    let facts = Facts {
        rules: &home,
        devices: &devices,
    };
    let mut watch = Watch::default();
    let week = 8 * 86_400;
    let late = |on, second| Signal {
        received_at: at(week),
        ..heater(on, second)
    };
    assert_eq!(watch.observe(facts, &late(true, 0)), []);
    assert_eq!(watch.observe(facts, &late(false, 5000)), []);
    assert_eq!(watch.open.len(), 1);
    assert_eq!(watch.settle(facts, at(week + 60)), []);
    assert!(watch.open.is_empty());
}

/// Looks at every second: (on and empty) for the whole of `after` begins, 60 s without it ends.
fn oracle(on: &[bool], present: &[bool], after: usize, end: usize) -> Vec<(u64, Option<u64>)> {
    let wide = |n: usize| u64::try_from(n).unwrap();
    let holds = |second: usize| on[second] && !present[second];
    let mut found: Vec<(u64, Option<u64>)> = Vec::new();
    let mut open = false;
    for now in 0..=end {
        if !open && now >= after && holds(now) && (now - after..now).all(holds) {
            // Ended and still true would be the same episode: it takes a fresh run.
            found.push((wide(now), None));
            open = true;
        } else if open && !holds(now) && now >= 60 && (now - 60..now).all(|second| !holds(second)) {
            found.last_mut().unwrap().1 = Some(wide(now - 60));
            open = false;
        }
    }
    found
}

proptest! {
    #[test]
    fn episodes_are_those_that_looking_at_every_second_finds(
        steps in prop::collection::vec((1usize..150, any::<bool>(), any::<bool>()), 1..40),
        after in 60usize..200,
        twice in any::<bool>(),
    ) {
        let mut signals = Vec::new();
        let (mut on, mut present) = (vec![false], vec![false]);
        for (gap, is_heater, value) in steps {
            for _ in 0..gap {
                on.push(*on.last().unwrap());
                present.push(*present.last().unwrap());
            }
            let now = u64::try_from(on.len() - 1).unwrap();
            if is_heater {
                *on.last_mut().unwrap() = value;
                signals.push(heater(value, now));
            } else {
                *present.last_mut().unwrap() = value;
                signals.push(someone(value, now));
            }
            if twice {
                signals.push(*signals.last().unwrap());
                signals.push(signals[0]);
            }
        }
        let last = on.len() - 1;
        let end = last + 500;
        on.resize(end + 1, on[last]);
        present.resize(end + 1, present[last]);
        let home = heating(u64::try_from(after).unwrap(), true);
        // Nothing is known before the first word: the home is empty and the heating off.
        let found = episodes(&home, &signals, u64::try_from(end).unwrap());
        prop_assert_eq!(found, oracle(&on, &present, after, end));
    }

    #[test]
    fn however_signals_are_shuffled_and_repeated_the_machine_never_doubles_an_episode(
        order in prop::collection::vec((0u64..3000, any::<bool>(), any::<bool>()), 1..60),
        cooldown in 10u64..100,
    ) {
        let devices = devices();
        let mut home = armed(cooldown);
        home.rules.insert(RuleId::from_bytes([8; 16]), heating(120, false).rules[&RULE].clone());
        let facts = Facts { rules: &home, devices: &devices };
        let mut watch = Watch::default();
        let mut began = BTreeSet::new();
        for (second, is_heater, on) in order {
            let signal = if is_heater { heater(on, second) } else { motion(on, second) };
            let mut changes = watch.observe(facts, &signal);
            changes.extend(watch.observe(facts, &signal));
            for change in changes {
                if let Change::Began { rule, subject, at, .. } = change {
                    prop_assert!(began.insert((rule, subject, at)), "began twice");
                }
            }
        }
    }
}
