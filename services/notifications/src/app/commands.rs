//! The use cases of the API that change something, and the reads of rules and preferences.

use std::collections::BTreeSet;
use std::sync::Arc;

use hearth_access::Member;
use hearth_engine::{Actor, Call, Engine, ExecuteError, Outcome, Stale};
use hearth_kernel::{AccountId, AreaId, DeviceId, Failure, HomeId, NoticeId, Reason, Role, RuleId};
use hearth_notifications_domain::rules::{self, Arming, Condition, Rule};
use hearth_notifications_domain::{notice, preferences};
use hearth_ports::{Position, Read};
use hearth_rpc::{Principal, TraceContext};

use super::facts::Facts;
use crate::aggregates::{Notice, Preferences, Rules};

/// A request that changes something.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// The method's name.
    pub(crate) rpc: &'static str,
    /// From the client.
    pub(crate) request_id: String,
    /// What makes it this request and no other.
    pub(crate) content: Vec<u8>,
}

/// The use cases.
pub(crate) struct App {
    pub(crate) engine: Engine,
    pub(crate) facts: Arc<dyn Facts>,
}

/// The signed-in account.
///
/// # Errors
/// `NOT_SIGNED_IN`.
pub(crate) fn signed_in(principal: &Principal) -> Result<AccountId, Failure> {
    principal
        .account()
        .ok_or_else(|| Failure::new(Reason::NOT_SIGNED_IN))
}

pub(crate) fn stale(_: Stale) -> Failure {
    Failure::new(Reason::STALE_KNOWLEDGE)
}

/// What of the rules a member may see.
pub(crate) struct Visible {
    /// Rules, oldest first.
    pub(crate) rules: Vec<(RuleId, Rule)>,
    /// What is armed.
    pub(crate) arming: Arming,
}

impl App {
    fn call(&self, request: &Request, account: AccountId, actor: Actor) -> Call {
        let hasher = self.engine.hasher();
        Call {
            commit: hasher.commit_id(account.as_bytes(), request.rpc, &request.request_id),
            fingerprint: hasher.fingerprint(&[&request.content]),
            actor,
            causation: None,
            trace: TraceContext::current().map_or_else(String::new, |trace| trace.to_string()),
        }
    }

    async fn home_areas(&self, home: HomeId) -> Result<BTreeSet<AreaId>, Failure> {
        let facts = self.facts.home(home).await.map_err(stale)?;
        let facts = facts.ok_or_else(|| Failure::new(Reason::NOT_FOUND).about("home", home))?;
        Ok(facts.areas.into_iter().collect())
    }

    async fn on_rules(
        &self,
        principal: &Principal,
        request: &Request,
        home: HomeId,
        command: impl FnOnce(&Call) -> rules::Command,
    ) -> Result<(Outcome<Rules>, rules::Command), Failure> {
        let member = self.facts.require(principal, home, Role::Adult).await?;
        let account = signed_in(principal)?;
        let areas = self.home_areas(home).await?;
        let call = self.call(request, account, Actor::Member(member.membership));
        let command = command(&call);
        let facts = rules::Facts {
            home,
            areas,
            by: member.membership,
            now: self.engine.now(),
        };
        let facts = async move |_: &rules::State| Ok(facts.clone());
        let outcome = self
            .engine
            .execute::<Rules, _>(&call, home, &command, facts)
            .await?;
        Ok((outcome, command))
    }

    /// Makes or changes a rule. Answers its id.
    pub(crate) async fn put_rule(
        &self,
        principal: &Principal,
        request: &Request,
        home: HomeId,
        rule: Option<RuleId>,
        enabled: bool,
        condition: Condition,
    ) -> Result<(Position, RuleId), Failure> {
        // Membership first: who is no member learns nothing of devices.
        self.facts.require(principal, home, Role::Adult).await?;
        if let Condition::HeatingLeftOn { devices, .. } = &condition {
            self.has_devices(home, devices).await?;
        }
        let made =
            |call: &Call| RuleId::from(self.engine.hasher().id("rule", &[call.commit.as_bytes()]));
        let command = |call: &Call| rules::Command::Put {
            rule: rule.unwrap_or_else(|| made(call)),
            new: rule.is_none(),
            enabled,
            condition,
        };
        let (outcome, command) = self.on_rules(principal, request, home, command).await?;
        let rules::Command::Put { rule, .. } = command else {
            return Err(Reason::INTERNAL.into());
        };
        Ok((outcome.position.unwrap_or(Position::START), rule))
    }

    async fn has_devices(&self, home: HomeId, devices: &BTreeSet<DeviceId>) -> Result<(), Failure> {
        let known = self.facts.devices(home, devices).await.map_err(stale)?;
        if known.len() == devices.len() {
            return Ok(());
        }
        let failure = Failure::new(Reason::INVALID_REQUEST);
        Err(failure.violation(
            "heating_left_on.device_ids",
            "names a device that the home does not have",
        ))
    }

    /// Removes a rule.
    pub(crate) async fn remove_rule(
        &self,
        principal: &Principal,
        request: &Request,
        home: HomeId,
        rule: RuleId,
    ) -> Result<Outcome<Rules>, Failure> {
        let command = |_: &Call| rules::Command::Remove(rule);
        Ok(self.on_rules(principal, request, home, command).await?.0)
    }

    /// Arms the home, or some of its areas.
    pub(crate) async fn arm(
        &self,
        principal: &Principal,
        request: &Request,
        home: HomeId,
        areas: BTreeSet<AreaId>,
    ) -> Result<Outcome<Rules>, Failure> {
        let command = |_: &Call| rules::Command::Arm(areas);
        Ok(self.on_rules(principal, request, home, command).await?.0)
    }

    /// Disarms the home, or some of its areas.
    pub(crate) async fn disarm(
        &self,
        principal: &Principal,
        request: &Request,
        home: HomeId,
        areas: BTreeSet<AreaId>,
    ) -> Result<Outcome<Rules>, Failure> {
        let command = |_: &Call| rules::Command::Disarm(areas);
        Ok(self.on_rules(principal, request, home, command).await?.0)
    }

    /// The rules that concern areas the caller may see, and which of those are armed.
    pub(crate) async fn visible(
        &self,
        principal: &Principal,
        home: HomeId,
    ) -> Result<Visible, Failure> {
        let member = self.facts.require(principal, home, Role::Guest).await?;
        let loaded = self.engine.load::<Rules>(home, Read::Leader).await?;
        let mut rules = Vec::new();
        for (id, rule) in &loaded.state.rules {
            if self.concerns(&member, home, &rule.condition).await? {
                rules.push((*id, rule.clone()));
            }
        }
        rules.sort_by_key(|(id, rule)| (rule.made_at, *id));
        let mut arming = loaded.state.arming.clone();
        arming.areas.retain(|area, _| member.sees(Some(*area)));
        Ok(Visible { rules, arming })
    }

    async fn concerns(
        &self,
        member: &Member,
        home: HomeId,
        condition: &Condition,
    ) -> Result<bool, Failure> {
        let none = BTreeSet::new();
        let (areas, devices) = match condition {
            Condition::HeatingLeftOn { areas, devices, .. } => (areas, devices),
            Condition::MotionWhileArmed { areas, .. } => (areas, &none),
        };
        let all = areas.is_empty() && devices.is_empty();
        if member.areas.is_empty() || all || areas.iter().any(|area| member.sees(Some(*area))) {
            return Ok(true);
        }
        let places = self.facts.devices(home, devices).await.map_err(stale)?;
        Ok(places.values().any(|area| member.sees(*area)))
    }

    /// The caller's preferences.
    pub(crate) async fn preferences(
        &self,
        principal: &Principal,
    ) -> Result<preferences::State, Failure> {
        let account = signed_in(principal)?;
        let loaded = self
            .engine
            .load::<Preferences>(account, Read::Leader)
            .await?;
        Ok(preferences::State::clone(&loaded.state))
    }

    /// Changes the caller's preferences.
    pub(crate) async fn prefer(
        &self,
        principal: &Principal,
        request: &Request,
        command: preferences::Command,
    ) -> Result<Outcome<Preferences>, Failure> {
        let account = signed_in(principal)?;
        let call = self.call(request, account, Actor::Account(account));
        let now = self.engine.now();
        let facts = async move |_: &preferences::State| Ok(now);
        Ok(self
            .engine
            .execute::<Preferences, _>(&call, account, &command, facts)
            .await?)
    }

    /// Marks notices of the caller as read. What is no more, or never was hers, is passed over.
    pub(crate) async fn mark_read(
        &self,
        principal: &Principal,
        request: &Request,
        notices: &BTreeSet<NoticeId>,
    ) -> Result<Position, Failure> {
        let account = signed_in(principal)?;
        let whole = self.call(request, account, Actor::Account(account));
        let command = notice::Command::MarkRead { account };
        let now = self.engine.now();
        let mut last = Position::START;
        for notice in notices {
            let parts: [&[u8]; 2] = [whole.commit.as_bytes(), notice.as_bytes()];
            let call = Call {
                commit: self.engine.hasher().id("notice.read", &parts).into(),
                ..whole.clone()
            };
            let facts = async move |_: &notice::State| Ok(now);
            match self
                .engine
                .execute::<Notice, _>(&call, *notice, &command, facts)
                .await
            {
                Ok(outcome) => last = last.max(outcome.position.unwrap_or(Position::START)),
                Err(ExecuteError::Refused(failure))
                    if matches!(failure.reason, Reason::NOT_FOUND | Reason::ERASED) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(last)
    }
}
