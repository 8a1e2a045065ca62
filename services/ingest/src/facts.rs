//! [`Knowledge`] from the facts that accounts and notifications publish.

use std::sync::Arc;

use async_trait::async_trait;
use hearth_access::Access;
use hearth_api::events::v1::{self as events, envelope, notifications_fact::Fact};
use hearth_engine::{CommitToken, FactCache, Stale};
use hearth_kernel::capability::Family;
use hearth_kernel::{Capability, DeviceId, Failure, HomeId, Role};
use hearth_ports::Clock;
use hearth_rpc::Principal;
use moka::sync::Cache;
use prost::Message;

use crate::knowledge::{HomeKnown, Knowledge, Member};
use crate::registry::{Interests, Periods};
use crate::wire;

/// Homes whose interests are remembered while the facts of notifications are stale.
const REMEMBERED: u64 = 10_000;

/// What ingest knows, from facts.
pub(crate) struct Facts {
    access: Arc<Access>,
    clock: Arc<dyn Clock>,
    rules: FactCache,
    interests: Cache<HomeId, Interests>,
}

impl Facts {
    pub(crate) fn new(access: Arc<Access>, clock: Arc<dyn Clock>, rules: FactCache) -> Self {
        Self {
            access,
            clock,
            rules,
            interests: Cache::new(REMEMBERED),
        }
    }
}

#[async_trait]
impl Knowledge for Facts {
    async fn require(
        &self,
        principal: &Principal,
        home: HomeId,
        role: Role,
    ) -> Result<Member, Failure> {
        let member = self.access.require(principal, home, role).await?;
        Ok(Member {
            membership: member.membership,
            role: member.role,
            areas: member.areas,
        })
    }

    async fn home(&self, home: HomeId) -> Result<Option<HomeKnown>, Stale> {
        let known = self.access.home(home).await?;
        Ok(known.map(|it| HomeKnown {
            ended: it.ended,
            periods: periods(&it.retention),
            areas: it.areas,
        }))
    }

    /// Interests that cannot be known now are those that were known last: readings are not refused because the service
    /// that acts on them is away. A home of which nothing was ever known waits.
    async fn interests(&self, home: HomeId) -> Result<Interests, Stale> {
        match self.rules.get("interests", home).await {
            Ok(message) => {
                let interests = message.as_deref().map(read).unwrap_or_default();
                self.interests.insert(home, interests.clone());
                Ok(interests)
            }
            Err(stale) => self.interests.get(&home).ok_or(stale),
        }
    }

    async fn settled(&self) -> Result<(), Stale> {
        let now = self.clock.now();
        let known = self.access.facts().knows_as_of(now).await;
        known.then_some(()).ok_or(Stale)
    }

    async fn after(&self, tokens: &[CommitToken]) -> Result<(), Failure> {
        self.access.after(tokens).await
    }
}

fn periods(choices: &[hearth_api::types::v1::RetentionChoice]) -> Periods {
    choices.iter().fold(Periods::default(), |periods, choice| {
        let family = u8::try_from(choice.family)
            .ok()
            .and_then(Family::from_number);
        match family.zip(wire::of_class(choice.class)) {
            Some((family, class)) => periods.with(family, class),
            None => periods,
        }
    })
}

/// The interests in a published message; none in one that does not decode.
fn read(message: &[u8]) -> Interests {
    let payload = events::Envelope::decode(message)
        .ok()
        .and_then(|it| it.payload);
    let Some(envelope::Payload::NotificationsFact(fact)) = payload else {
        return Interests::default();
    };
    let Some(Fact::Interests(interests)) = fact.fact else {
        return Interests::default();
    };
    Interests::new(interests.interests.iter().filter_map(|it| {
        let capability = u16::try_from(it.capability)
            .ok()
            .and_then(Capability::from_number)?;
        Some((DeviceId::from_slice(&it.device_id), capability))
    }))
}
