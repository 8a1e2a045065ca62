//! What the rules of one home have seen: a pure machine from signals and the clock to episodes.
//!
//! Time is the devices': a deadline passes when a later signal of the same hub claim shows that it did, or when
//! the clock says so and no late signals of that claim are still coming in. Signals that are older than the
//! newest of their capability are passed over, so a batch that comes twice changes nothing.

mod evaluate;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use hearth_kernel::{AreaId, Capability, ClaimId, DeviceId, RuleId, Timestamp};

use crate::limits::{AHEAD, CLAIMS, LATE, QUIET};
use crate::preferences::Topic;
use crate::rules;

/// A state capability that rules look at, as yes or no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flag {
    /// Heat is being given.
    HeatingOn,
    /// Something moves.
    Motion,
    /// Somebody is there.
    Present,
    /// People are counted.
    Occupied,
}

impl Flag {
    /// Every flag.
    pub const ALL: [Self; 4] = [Self::HeatingOn, Self::Motion, Self::Present, Self::Occupied];

    /// The flag that a capability is, if rules look at it.
    #[must_use]
    pub fn of(capability: Capability) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|flag| flag.capability() == capability)
    }

    /// The capability; for people that are counted, any number but 0 is a yes.
    #[must_use]
    pub const fn capability(self) -> Capability {
        match self {
            Self::HeatingOn => Capability::HEATING_ON,
            Self::Motion => Capability::MOTION,
            Self::Present => Capability::PRESENCE,
            Self::Occupied => Capability::OCCUPANCY_COUNT,
        }
    }

    const fn tells_presence(self) -> bool {
        matches!(self, Self::Present | Self::Occupied)
    }
}

/// What a device said last of one flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Yes or no.
    pub on: bool,
    /// Since when it says so.
    pub since: Timestamp,
    /// When it said so last.
    pub at: Timestamp,
    /// The claim of the hub that passed it on.
    pub claim: ClaimId,
}

/// How far one hub's signals have come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The newest observation.
    pub frontier: Timestamp,
    /// When the last signal was received.
    pub received_at: Timestamp,
    /// Whether that signal was late: more may follow from the hub's buffer.
    pub late: bool,
}

impl Progress {
    /// When the clock may be believed again.
    fn quiet_at(&self) -> Timestamp {
        if self.late {
            self.received_at.plus(QUIET)
        } else {
            Timestamp::from_micros(i64::MIN)
        }
    }
}

/// What an episode is about, within its rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// One device.
    Device(DeviceId),
    /// One area; `None` is what lies in no area.
    Area(Option<AreaId>),
}

impl Subject {
    /// 17 bytes, for the id of an episode.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 17] {
        let mut bytes = [0; 17];
        match self {
            Self::Device(device) => {
                bytes[0] = 1;
                bytes[1..].copy_from_slice(device.as_bytes());
            }
            Self::Area(Some(area)) => {
                bytes[0] = 2;
                bytes[1..].copy_from_slice(area.as_bytes());
            }
            Self::Area(None) => bytes[0] = 3,
        }
        bytes
    }

    /// The subject of those bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (tag, id) = bytes.split_first()?;
        match tag {
            1 => DeviceId::from_slice(id).map(Self::Device),
            2 => AreaId::from_slice(id).map(|area| Self::Area(Some(area))),
            3 if id.len() == 16 => Some(Self::Area(None)),
            _ => None,
        }
    }
}

/// An episode that goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open {
    /// When it began.
    pub began_at: Timestamp,
    /// Whether it began too long ago, when it was found, to tell anybody.
    pub silent: bool,
    /// Since when it has not been true: too short a time to end it.
    pub broken: Option<Timestamp>,
}

/// What has been seen, and what goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watch {
    /// The last word of each device.
    pub known: BTreeMap<(DeviceId, Flag), Known>,
    /// How far each hub has come.
    pub claims: BTreeMap<ClaimId, Progress>,
    /// Episodes that go on.
    pub open: BTreeMap<(RuleId, Subject), Open>,
}

/// What others know of the home.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Its rules and what is armed.
    pub rules: &'a rules::State,
    /// Its devices, with the area of each.
    pub devices: &'a BTreeMap<DeviceId, Option<AreaId>>,
}

/// One signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal {
    /// The device.
    pub device: DeviceId,
    /// What it is about.
    pub flag: Flag,
    /// Yes or no.
    pub on: bool,
    /// When, by the device's clock.
    pub observed_at: Timestamp,
    /// When Hearth got it.
    pub received_at: Timestamp,
    /// The claim of the hub that passed it on.
    pub claim: ClaimId,
}

/// What the rules found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// An episode began.
    Began {
        /// The rule.
        rule: RuleId,
        /// Its subject.
        subject: Subject,
        /// What its notices are about.
        topic: Topic,
        /// The device that shows it.
        device: DeviceId,
        /// The area of that device.
        area: Option<AreaId>,
        /// When, by the device's clock.
        at: Timestamp,
    },
    /// An episode is over.
    Ended {
        /// The rule.
        rule: RuleId,
        /// Its subject.
        subject: Subject,
        /// When it began.
        began_at: Timestamp,
        /// When it ended.
        at: Timestamp,
    },
}

impl Watch {
    /// Takes one signal in. Answers what began and ended by it, in order.
    pub fn observe(&mut self, facts: Facts<'_>, signal: &Signal) -> Vec<Change> {
        let key = (signal.device, signal.flag);
        let known = self.known.get(&key).copied();
        let ahead = signal.observed_at > signal.received_at.plus(AHEAD);
        let old = known.is_some_and(|known| known.at >= signal.observed_at);
        if ahead || old || !facts.devices.contains_key(&signal.device) {
            return Vec::new();
        }
        // First what had come true by then, as things stood.
        let just_before = Timestamp::from_micros(signal.observed_at.micros().saturating_sub(1));
        let mut changes = self.pass(facts, signal, just_before);
        self.note_progress(signal);
        let since = match known {
            Some(known) if known.on == signal.on => known.since,
            // The first word of an empty home does not make it full before.
            None if signal.flag.tells_presence() && !signal.on => Timestamp::EPOCH,
            _ => signal.observed_at,
        };
        let new = Known {
            on: signal.on,
            since,
            at: signal.observed_at,
            claim: signal.claim,
        };
        self.known.insert(key, new);
        changes.extend(self.pass(facts, signal, signal.observed_at));
        changes
    }

    /// Lets the time of a signal's claim pass; somebody's coming or going concerns the whole home.
    fn pass(&mut self, facts: Facts<'_>, signal: &Signal, to: Timestamp) -> Vec<Change> {
        let claims = self.claims.clone();
        let all = signal.flag.tells_presence();
        let horizon = |claim: ClaimId| {
            let frontier = claims
                .get(&claim)
                .map_or(Timestamp::from_micros(i64::MIN), |it| it.frontier);
            if all || claim == signal.claim {
                frontier.max(to)
            } else {
                frontier
            }
        };
        self.evaluate(facts, horizon, to, signal.received_at)
    }

    fn note_progress(&mut self, signal: &Signal) {
        let progress = self.claims.entry(signal.claim).or_default();
        progress.frontier = progress.frontier.max(signal.observed_at);
        progress.received_at = progress.received_at.max(signal.received_at);
        progress.late = signal.received_at > signal.observed_at.plus(LATE);
        if self.claims.len() > CLAIMS {
            let silent = self.claims.iter().min_by_key(|(_, it)| it.received_at);
            if let Some(silent) = silent.map(|(claim, _)| *claim) {
                self.claims.remove(&silent);
            }
        }
    }

    /// Lets the clock's time pass, and heeds what has changed in rules, arming and devices. All signals that
    /// were stored before `now` have been taken in.
    pub fn settle(&mut self, facts: Facts<'_>, now: Timestamp) -> Vec<Change> {
        self.known
            .retain(|(device, _), _| facts.devices.contains_key(device));
        let claims = self.claims.clone();
        let horizon = |claim: ClaimId| match claims.get(&claim) {
            Some(progress) if now < progress.quiet_at() => progress.frontier,
            _ => now,
        };
        self.evaluate(facts, horizon, now, now)
    }

    /// When the clock has something to say next, if nothing else happens.
    #[must_use]
    pub fn next_deadline(&self, facts: Facts<'_>) -> Option<Timestamp> {
        let due = self.findings(facts).into_iter().filter_map(|finding| {
            let due = finding.due(self.open.contains_key(&finding.key()))?;
            let quiet_at = self.claims.get(&finding.claim).map(Progress::quiet_at);
            Some(quiet_at.map_or(due, |quiet_at| due.max(quiet_at)))
        });
        due.min()
    }
}
