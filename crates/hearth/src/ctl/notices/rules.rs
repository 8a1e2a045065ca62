//! Rules and arming: what makes notices in a home.

use std::time::Duration;

use clap::{Args, Subcommand};
use hearth_api::notifications::v1 as wire;
use hearth_api::notifications::v1::put_rule_request;
use hearth_host::Exit;
use serde_json::{Value, json};

use crate::ctl::connection::{Connection, request_id};
use crate::ctl::output::{Shown, Table};
use crate::ctl::{resolve, values};

#[derive(Subcommand, Clone, Debug)]
pub(crate) enum RulesCommand {
    /// List the rules of a home
    Rules {
        /// The home, by id or name; your only one unless given
        #[arg(long)]
        home: Option<String>,
    },
    /// Make or change the rule "heating left on"
    PutHeating {
        #[command(flatten)]
        rule: RuleArgs,
        /// Watch this device, by id or name; may be repeated
        #[arg(long = "device", value_name = "DEVICE")]
        devices: Vec<String>,
        /// How long it must have been on: 1m to 7d
        #[arg(long, value_name = "SPAN", value_parser = values::span, default_value = "2h")]
        after: Duration,
        /// Only where nobody was present for all that time
        #[arg(long)]
        nobody_present: bool,
    },
    /// Make or change the rule "motion in an armed area"
    PutMotion {
        #[command(flatten)]
        rule: RuleArgs,
        /// An episode ends after so long without motion: 10s to 24h [default: 5m]
        #[arg(long, value_name = "SPAN", value_parser = values::span)]
        cooldown: Option<Duration>,
    },
    /// Remove a rule
    RemoveRule {
        /// The rule, from `rules`
        rule: String,
        /// The home, by id or name; your only one unless given
        #[arg(long)]
        home: Option<String>,
    },
    /// Arm a home, or some of its areas
    Arm(WhereArgs),
    /// Disarm a home, or some of its areas
    Disarm(WhereArgs),
    /// Show what is armed
    Armed {
        /// The home, by id or name; your only one unless given
        #[arg(long)]
        home: Option<String>,
    },
}

/// What every rule has.
#[derive(Args, Clone, Debug)]
pub(crate) struct RuleArgs {
    /// The home, by id or name; your only one unless given
    #[arg(long)]
    home: Option<String>,
    /// Watch this area, by id or name; may be repeated; all of the home unless given
    #[arg(long = "area", value_name = "AREA")]
    areas: Vec<String>,
    /// The rule to change, from `rules`; a new one unless given
    #[arg(long, default_value = "")]
    rule: String,
    /// Leave it turned off
    #[arg(long)]
    off: bool,
}

/// A home, or some of its areas.
#[derive(Args, Clone, Debug)]
pub(crate) struct WhereArgs {
    /// The home, by id or name; your only one unless given
    #[arg(long)]
    home: Option<String>,
    /// Only this area, by id or name; may be repeated
    #[arg(long = "area", value_name = "AREA")]
    areas: Vec<String>,
}

pub(super) async fn run(command: RulesCommand, to: &Connection) -> Result<Shown, Exit> {
    match command {
        RulesCommand::Rules { home } => {
            let home = resolve::home(to, home.as_deref()).await?;
            list(to, home).await
        }
        RulesCommand::PutHeating {
            rule,
            devices,
            after,
            nobody_present,
        } => {
            let home_id = resolve::home(to, rule.home.as_deref()).await?;
            let condition = wire::HeatingLeftOn {
                device_ids: resolve::devices(to, &home_id, &devices).await?,
                area_ids: resolve::areas(to, &home_id, &rule.areas).await?,
                after: Some(values::wire_span(after)),
                nobody_present,
            };
            let condition = put_rule_request::Condition::HeatingLeftOn(condition);
            put(to, home_id, &rule, condition).await
        }
        RulesCommand::PutMotion { rule, cooldown } => {
            let home_id = resolve::home(to, rule.home.as_deref()).await?;
            let condition = wire::MotionWhileArmed {
                area_ids: resolve::areas(to, &home_id, &rule.areas).await?,
                cooldown: cooldown.map(values::wire_span),
            };
            let condition = put_rule_request::Condition::MotionWhileArmed(condition);
            put(to, home_id, &rule, condition).await
        }
        RulesCommand::RemoveRule { rule, home } => {
            let request = wire::RemoveRuleRequest {
                request_id: request_id()?,
                home_id: resolve::home(to, home.as_deref()).await?,
                rule_id: rule,
            };
            let answer = to.client.notifications().remove_rule(request).await;
            to.changed(answer.map_err(|it| to.refused(&it))?.into_inner().token)
                .await?;
            Ok(Shown::Line("the rule is removed".to_owned()))
        }
        RulesCommand::Arm(place) => arm(to, &place, true).await,
        RulesCommand::Disarm(place) => arm(to, &place, false).await,
        RulesCommand::Armed { home } => {
            let home = resolve::home(to, home.as_deref()).await?;
            armed(to, home).await
        }
    }
}

async fn arm(to: &Connection, place: &WhereArgs, on: bool) -> Result<Shown, Exit> {
    let request_id = request_id()?;
    let home_id = resolve::home(to, place.home.as_deref()).await?;
    let area_ids = resolve::areas(to, &home_id, &place.areas).await?;
    let mut notifications = to.client.notifications();
    let token = if on {
        let request = wire::ArmHomeRequest {
            request_id,
            home_id,
            area_ids,
        };
        let answer = notifications.arm_home(request).await;
        answer.map_err(|it| to.refused(&it))?.into_inner().token
    } else {
        let request = wire::DisarmHomeRequest {
            request_id,
            home_id,
            area_ids,
        };
        let answer = notifications.disarm_home(request).await;
        answer.map_err(|it| to.refused(&it))?.into_inner().token
    };
    to.changed(token).await?;
    Ok(Shown::Line(
        if on { "armed" } else { "disarmed" }.to_owned(),
    ))
}

async fn armed(to: &Connection, home_id: String) -> Result<Shown, Exit> {
    let request = wire::GetArmingRequest {
        home_id,
        after: to.client.after().await,
    };
    let answer = to.client.notifications().get_arming(request).await;
    let answer = answer.map_err(|it| to.refused(&it))?.into_inner();
    Ok(Shown::One(vec![
        ("whole_home", json!(answer.whole_home)),
        ("areas", json!(answer.area_ids)),
        ("armed_at", values::wire_time(answer.armed_at)),
    ]))
}

async fn put(
    to: &Connection,
    home_id: String,
    rule: &RuleArgs,
    condition: put_rule_request::Condition,
) -> Result<Shown, Exit> {
    let request = wire::PutRuleRequest {
        request_id: request_id()?,
        home_id,
        rule_id: rule.rule.clone(),
        enabled: !rule.off,
        condition: Some(condition),
    };
    let answer = to.client.notifications().put_rule(request).await;
    let answer = answer.map_err(|it| to.refused(&it))?.into_inner();
    to.changed(answer.token).await?;
    Ok(Shown::One(vec![("rule_id", json!(answer.rule_id))]))
}

async fn list(to: &Connection, home_id: String) -> Result<Shown, Exit> {
    let request = wire::ListRulesRequest {
        home_id,
        after: to.client.after().await,
    };
    let answer = to.client.notifications().list_rules(request).await;
    let rules = answer.map_err(|it| to.refused(&it))?.into_inner().rules;
    let rows = rules.into_iter().map(|it| {
        let none = (Value::Null, Vec::new(), Vec::new(), None);
        let (kind, areas, devices, span) = match it.condition {
            Some(wire::rule::Condition::HeatingLeftOn(rule)) => (
                json!("heating-left-on"),
                rule.area_ids,
                rule.device_ids,
                rule.after,
            ),
            Some(wire::rule::Condition::MotionWhileArmed(rule)) => (
                json!("motion-while-armed"),
                rule.area_ids,
                Vec::new(),
                rule.cooldown,
            ),
            None => none,
        };
        vec![
            json!(it.rule_id),
            kind,
            json!(it.enabled),
            values::shown_span(span),
            json!(areas),
            json!(devices),
            values::wire_time(it.put_at),
        ]
    });
    let columns = &[
        "rule_id", "kind", "enabled", "span", "areas", "devices", "put_at",
    ];
    Ok(Table::of(columns, rows).into())
}
