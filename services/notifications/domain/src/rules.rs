//! The history of a home's rules, and of what is armed in it.

mod decide;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hearth_kernel::{
    AreaId, DeviceId, Failure, HomeId, MembershipId, PartSlot, Parts, Reason, RuleId, Timestamp,
};

use crate::preferences::Topic;

/// The aggregate.
#[derive(Debug)]
pub struct Rules;

/// What a rule watches for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Heating that was left on.
    HeatingLeftOn {
        /// These devices,
        devices: BTreeSet<DeviceId>,
        /// and those in these areas; neither means all of the home.
        areas: BTreeSet<AreaId>,
        /// How long it must have been on.
        after: Duration,
        /// Whether somebody present keeps it from being true.
        nobody_present: bool,
    },
    /// Motion in an armed area.
    MotionWhileArmed {
        /// These areas; none means all of the home.
        areas: BTreeSet<AreaId>,
        /// How long without motion ends an episode.
        cooldown: Duration,
    },
}

impl Condition {
    /// Whether a device that lies in that area is watched.
    #[must_use]
    pub fn watches(&self, device: DeviceId, area: Option<AreaId>) -> bool {
        let in_area = |areas: &BTreeSet<AreaId>| area.is_some_and(|area| areas.contains(&area));
        match self {
            Self::HeatingLeftOn { devices, areas, .. } => {
                (devices.is_empty() && areas.is_empty())
                    || devices.contains(&device)
                    || in_area(areas)
            }
            Self::MotionWhileArmed { areas, .. } => areas.is_empty() || in_area(areas),
        }
    }

    /// The topic of its notices.
    #[must_use]
    pub const fn topic(&self) -> Topic {
        match self {
            Self::HeatingLeftOn { .. } => Topic::Heating,
            Self::MotionWhileArmed { .. } => Topic::Motion,
        }
    }
}

/// A rule that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Whether it is on.
    pub enabled: bool,
    /// What it watches for.
    pub condition: Condition,
    /// When it was made.
    pub made_at: Timestamp,
    /// When it was last put.
    pub put_at: Timestamp,
}

/// What is armed, and since when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arming {
    /// The whole home, areas still to come included.
    pub whole_home: Option<Timestamp>,
    /// Areas by name; none while the whole home is armed.
    pub areas: BTreeMap<AreaId, Timestamp>,
}

impl Arming {
    /// Since when that area is armed; a thing in no area is armed with the whole home only.
    #[must_use]
    pub fn since(&self, area: Option<AreaId>) -> Option<Timestamp> {
        self.whole_home.or_else(|| self.areas.get(&area?).copied())
    }

    /// Since when anything is.
    #[must_use]
    pub fn first(&self) -> Option<Timestamp> {
        self.areas.values().copied().chain(self.whole_home).min()
    }
}

/// What the past amounts to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The rules.
    pub rules: BTreeMap<RuleId, Rule>,
    /// What is armed.
    pub arming: Arming,
}

/// What a member wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A rule, or other words for one.
    Put {
        /// The rule.
        rule: RuleId,
        /// Whether it is a new one.
        new: bool,
        /// Whether it is on.
        enabled: bool,
        /// What it watches for.
        condition: Condition,
    },
    /// No such rule any more.
    Remove(RuleId),
    /// To arm these areas, or the whole home.
    Arm(BTreeSet<AreaId>),
    /// To disarm these areas, or the whole home.
    Disarm(BTreeSet<AreaId>),
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A rule was made or changed.
    RulePut {
        /// The rule.
        rule: RuleId,
        /// Whether it is on.
        enabled: bool,
        /// What it watches for.
        condition: Condition,
        /// When.
        at: Timestamp,
    },
    /// A rule was removed.
    RuleRemoved {
        /// The rule.
        rule: RuleId,
        /// When.
        at: Timestamp,
    },
    /// Something was armed or disarmed.
    ArmingChanged {
        /// What is armed now.
        arming: Arming,
        /// Who did it.
        by: MembershipId,
        /// When.
        at: Timestamp,
    },
}

impl Parts for Event {
    fn parts(&mut self) -> Vec<PartSlot<'_>> {
        Vec::new()
    }
}

/// What the outside knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The home.
    pub home: HomeId,
    /// Its areas.
    pub areas: BTreeSet<AreaId>,
    /// Who asks.
    pub by: MembershipId,
    /// Now.
    pub now: Timestamp,
}

/// Why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// There is no such rule.
    RuleIsUnknown,
    /// The home has as many rules as it may have.
    HasTooManyRules,
    /// The rule watches for something else.
    IsOfAnotherKind,
    /// An area is not one of the home's.
    AreaIsUnknown,
}

impl From<Rejection> for Failure {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::RuleIsUnknown => Self::new(Reason::NOT_FOUND),
            Rejection::HasTooManyRules => {
                Self::new(Reason::QUOTA_EXCEEDED).violation("rules", "a home has at most 100")
            }
            Rejection::IsOfAnotherKind => Self::new(Reason::INVALID_REQUEST)
                .violation("condition", "the kind of an existing rule cannot change"),
            Rejection::AreaIsUnknown => Self::new(Reason::INVALID_REQUEST)
                .violation("area_ids", "names an area that the home does not have"),
        }
    }
}
