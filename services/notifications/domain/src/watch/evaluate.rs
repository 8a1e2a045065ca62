//! How things stand for each rule and subject, and what follows from it by a given time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hearth_kernel::{AreaId, ClaimId, DeviceId, RuleId, Timestamp};

use super::{Change, Facts, Flag, Known, Open, Subject, Watch};
use crate::limits::{HYSTERESIS, TOO_OLD};
use crate::preferences::Topic;
use crate::rules::{Condition, Rule};

/// How things stand for one rule and subject.
#[derive(Clone, Copy, Debug)]
pub(super) struct Finding {
    rule: RuleId,
    subject: Subject,
    topic: Topic,
    /// The device that shows it, and its area.
    device: DeviceId,
    area: Option<AreaId>,
    /// Whose time counts.
    pub(super) claim: ClaimId,
    stand: Stand,
}

#[derive(Clone, Copy, Debug)]
enum Stand {
    /// It comes true then, or has.
    Holds { from: Timestamp },
    /// It is not true since `at`, which ends an episode from `due` on.
    Broken { at: Timestamp, due: Timestamp },
}

impl Finding {
    pub(super) const fn key(&self) -> (RuleId, Subject) {
        (self.rule, self.subject)
    }

    /// When it begins or ends an episode.
    pub(super) const fn due(&self, open: bool) -> Option<Timestamp> {
        match self.stand {
            Stand::Holds { from } if !open => Some(from),
            Stand::Broken { due, .. } if open => Some(due),
            _ => None,
        }
    }
}

/// Who is there.
enum Presence {
    /// Somebody, since then.
    Somebody(Timestamp),
    /// Nobody, since then. A home without sensors of presence was always empty.
    Nobody(Timestamp),
}

impl Watch {
    /// Begins and ends what is due by the time that has passed for each claim. What no rule watches any more ends at
    /// `at`; an episode that began long before `found_at` is kept silent.
    pub(super) fn evaluate(
        &mut self,
        facts: Facts<'_>,
        horizon: impl Fn(ClaimId) -> Timestamp,
        at: Timestamp,
        found_at: Timestamp,
    ) -> Vec<Change> {
        let findings = self.findings(facts);
        let mut changes = Vec::new();
        let watched: BTreeSet<_> = findings.iter().map(Finding::key).collect();
        let forsaken = self
            .open
            .keys()
            .filter(|key| !watched.contains(key))
            .copied();
        for key in forsaken.collect::<Vec<_>>() {
            changes.extend(self.end(key, at));
        }
        for finding in findings {
            let open = self.open.contains_key(&finding.key());
            let due = finding.due(open);
            self.note_break(&finding);
            if due.is_none_or(|due| due > horizon(finding.claim)) {
                continue;
            }
            match finding.stand {
                Stand::Holds { from } => changes.extend(self.begin(&finding, from, found_at)),
                Stand::Broken { at, .. } => changes.extend(self.end(finding.key(), at)),
            }
        }
        changes
    }

    /// One interruption may have several causes that follow each other.
    fn note_break(&mut self, finding: &Finding) {
        if let Some(open) = self.open.get_mut(&finding.key()) {
            open.broken = match finding.stand {
                Stand::Holds { .. } => None,
                Stand::Broken { at, .. } => Some(open.broken.map_or(at, |broken| broken.min(at))),
            };
        }
    }

    fn begin(&mut self, finding: &Finding, at: Timestamp, found_at: Timestamp) -> Option<Change> {
        let silent = at.plus(TOO_OLD) < found_at;
        let open = Open {
            began_at: at,
            silent,
            broken: None,
        };
        self.open.insert(finding.key(), open);
        (!silent).then_some(Change::Began {
            rule: finding.rule,
            subject: finding.subject,
            topic: finding.topic,
            device: finding.device,
            area: finding.area,
            at,
        })
    }

    fn end(&mut self, key: (RuleId, Subject), at: Timestamp) -> Option<Change> {
        let open = self.open.remove(&key)?;
        (!open.silent).then_some(Change::Ended {
            rule: key.0,
            subject: key.1,
            began_at: open.began_at,
            at: at.max(open.began_at),
        })
    }

    /// How things stand for every rule that is on and every subject that it watches.
    pub(super) fn findings(&self, facts: Facts<'_>) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (id, rule) in facts.rules.rules.iter().filter(|(_, rule)| rule.enabled) {
            match rule.condition {
                Condition::HeatingLeftOn {
                    after,
                    nobody_present,
                    ..
                } => {
                    let presence = nobody_present.then(|| self.presence(facts));
                    let heating = self.watched(facts, rule, Flag::HeatingOn);
                    findings.extend(heating.map(|(device, area, known)| {
                        let subject = Subject::Device(device);
                        let broken = self.open.get(&(*id, subject)).and_then(|open| open.broken);
                        Finding {
                            rule: *id,
                            subject,
                            topic: Topic::Heating,
                            device,
                            area,
                            claim: known.claim,
                            stand: heating_stands(known, presence.as_ref(), after, broken),
                        }
                    }));
                }
                Condition::MotionWhileArmed { cooldown, .. } => {
                    self.motion(facts, (*id, rule), cooldown, &mut findings);
                }
            }
        }
        findings
    }

    /// The devices of the home that a rule watches and that have said something of a flag.
    fn watched<'a>(
        &'a self,
        facts: Facts<'a>,
        rule: &'a Rule,
        flag: Flag,
    ) -> impl Iterator<Item = (DeviceId, Option<AreaId>, &'a Known)> {
        let of_flag = self.known.iter().filter(move |((_, of), _)| *of == flag);
        of_flag.filter_map(move |((device, _), known)| {
            let area = *facts.devices.get(device)?;
            let watches = rule.condition.watches(*device, area);
            watches.then_some((*device, area, known))
        })
    }

    fn presence(&self, facts: Facts<'_>) -> Presence {
        let told = || {
            let present = |(device, flag): &(DeviceId, Flag)| {
                flag.tells_presence() && facts.devices.contains_key(device)
            };
            self.known
                .iter()
                .filter(move |(key, _)| present(key))
                .map(|(_, known)| known)
        };
        let came = told()
            .filter(|known| known.on)
            .map(|known| known.since)
            .min();
        let left = told().map(|known| known.since).max();
        match came {
            Some(came) => Presence::Somebody(came),
            None => Presence::Nobody(left.unwrap_or(Timestamp::from_micros(i64::MIN))),
        }
    }

    fn motion(
        &self,
        facts: Facts<'_>,
        (id, rule): (RuleId, &Rule),
        cooldown: Duration,
        findings: &mut Vec<Finding>,
    ) {
        let mut areas: BTreeMap<Option<AreaId>, Vec<(DeviceId, &Known)>> = BTreeMap::new();
        for (device, area, known) in self.watched(facts, rule, Flag::Motion) {
            areas.entry(area).or_default().push((device, known));
        }
        for (area, devices) in areas {
            let Some(armed) = facts.rules.arming.since(area) else {
                continue;
            };
            let subject = Subject::Area(area);
            let open = self.open.get(&(id, subject));
            if open.is_some_and(|open| open.began_at < armed) {
                // It was disarmed in between: what goes on now is another episode.
                continue;
            }
            let counts = |(_, known): &&(DeviceId, &Known)| known.since >= armed;
            let moving = devices.iter().filter(counts).filter(|(_, known)| known.on);
            let still = devices.iter().filter(counts).filter(|(_, known)| !known.on);
            let first = moving.min_by_key(|(_, known)| known.since);
            let last = still.max_by_key(|(_, known)| known.since);
            let (device, known, stand) = match (first, last) {
                (Some((device, known)), _) => (device, known, Stand::Holds { from: known.since }),
                (None, Some((device, known))) => {
                    let due = known.since.plus(cooldown);
                    (device, known, Stand::Broken { at: due, due })
                }
                (None, None) => continue,
            };
            findings.push(Finding {
                rule: id,
                subject,
                topic: Topic::Motion,
                device: *device,
                area,
                claim: known.claim,
                stand,
            });
        }
    }
}

fn heating_stands(
    known: &Known,
    presence: Option<&Presence>,
    after: Duration,
    broken_before: Option<Timestamp>,
) -> Stand {
    let off = (!known.on).then_some(known.since);
    let came = match presence {
        Some(Presence::Somebody(came)) => Some(*came),
        _ => None,
    };
    let broken = [off, came].into_iter().flatten().min();
    if let Some(at) = broken {
        let at = broken_before.map_or(at, |before| before.min(at));
        let due = at.plus(HYSTERESIS);
        return Stand::Broken { at, due };
    }
    let empty_since = match presence {
        Some(Presence::Nobody(left)) => *left,
        _ => known.since,
    };
    Stand::Holds {
        from: known.since.max(empty_since).plus(after),
    }
}
