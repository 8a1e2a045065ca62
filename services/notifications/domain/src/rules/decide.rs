//! What a home's rules decide, and what their events do to them.

use std::collections::BTreeSet;

use hearth_kernel::{AreaId, Decider, RuleId};

use super::{Arming, Command, Condition, Event, Facts, Rejection, Rule, Rules, State};
use crate::limits::{AREAS, RULES};

impl Decider for Rules {
    type State = State;
    type Command = Command;
    type Event = Event;
    type Facts = Facts;
    type Rejection = Rejection;

    fn decide(state: &State, command: &Command, facts: &Facts) -> Result<Vec<Event>, Rejection> {
        match command {
            Command::Put {
                rule,
                new,
                enabled,
                condition,
            } => put(state, (*rule, *new), *enabled, condition, facts),
            Command::Remove(rule) if state.rules.contains_key(rule) => {
                Ok(vec![Event::RuleRemoved {
                    rule: *rule,
                    at: facts.now,
                }])
            }
            Command::Remove(_) => Err(Rejection::RuleIsUnknown),
            Command::Arm(areas) => {
                known(areas, facts)?;
                Ok(changed(state, arm(&state.arming, areas, facts), facts))
            }
            Command::Disarm(areas) => {
                // An area that was removed while it was armed can be disarmed.
                Ok(changed(state, disarm(&state.arming, areas, facts), facts))
            }
        }
    }

    fn evolve(mut state: State, event: &Event) -> State {
        match event {
            Event::RulePut {
                rule,
                enabled,
                condition,
                at,
            } => {
                let made_at = state.rules.get(rule).map_or(*at, |known| known.made_at);
                let put = Rule {
                    enabled: *enabled,
                    condition: condition.clone(),
                    made_at,
                    put_at: *at,
                };
                state.rules.insert(*rule, put);
            }
            Event::RuleRemoved { rule, .. } => {
                state.rules.remove(rule);
            }
            Event::ArmingChanged { arming, .. } => state.arming = arming.clone(),
        }
        state
    }

    fn invariant(state: &State) -> Result<(), &'static str> {
        if state.rules.len() > RULES {
            return Err("a home has at most 100 rules");
        }
        if state.arming.whole_home.is_some() && !state.arming.areas.is_empty() {
            return Err("where the whole home is armed, no area is armed by name");
        }
        if state.arming.areas.len() > AREAS {
            return Err("at most 256 areas are armed by name");
        }
        Ok(())
    }
}

fn put(
    state: &State,
    (rule, new): (RuleId, bool),
    enabled: bool,
    condition: &Condition,
    facts: &Facts,
) -> Result<Vec<Event>, Rejection> {
    let areas = match condition {
        Condition::HeatingLeftOn { areas, .. } | Condition::MotionWhileArmed { areas, .. } => areas,
    };
    match state.rules.get(&rule) {
        None if !new => return Err(Rejection::RuleIsUnknown),
        None if state.rules.len() >= RULES => return Err(Rejection::HasTooManyRules),
        Some(known) if known.enabled == enabled && known.condition == *condition => {
            return Ok(Vec::new());
        }
        Some(known)
            if std::mem::discriminant(&known.condition) != std::mem::discriminant(condition) =>
        {
            return Err(Rejection::IsOfAnotherKind);
        }
        _ => {}
    }
    known(areas, facts)?;
    Ok(vec![Event::RulePut {
        rule,
        enabled,
        condition: condition.clone(),
        at: facts.now,
    }])
}

fn known(areas: &BTreeSet<AreaId>, facts: &Facts) -> Result<(), Rejection> {
    if areas.is_subset(&facts.areas) {
        Ok(())
    } else {
        Err(Rejection::AreaIsUnknown)
    }
}

fn changed(state: &State, arming: Arming, facts: &Facts) -> Vec<Event> {
    let changes = arming != state.arming;
    Vec::from_iter(changes.then_some(Event::ArmingChanged {
        arming,
        by: facts.by,
        at: facts.now,
    }))
}

/// What was armed stays armed since when it was.
fn arm(before: &Arming, areas: &BTreeSet<AreaId>, facts: &Facts) -> Arming {
    if before.whole_home.is_some() {
        return before.clone();
    }
    if areas.is_empty() {
        return Arming {
            whole_home: Some(facts.now),
            areas: [].into(),
        };
    }
    let mut arming = before.clone();
    // Areas that the home has no more make room: it has at most 256.
    arming.areas.retain(|area, _| facts.areas.contains(area));
    for area in areas {
        arming.areas.entry(*area).or_insert(facts.now);
    }
    arming
}

/// Of a whole home that is armed, disarming some areas leaves the others armed by name.
fn disarm(before: &Arming, areas: &BTreeSet<AreaId>, facts: &Facts) -> Arming {
    if areas.is_empty() {
        return Arming::default();
    }
    let mut arming = before.clone();
    if let Some(since) = arming.whole_home.take() {
        arming.areas = facts.areas.iter().map(|area| (*area, since)).collect();
    }
    arming.areas.retain(|area, _| !areas.contains(area));
    arming
}
