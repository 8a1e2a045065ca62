//! What this service must know of people, homes and devices; and where it learns it: from the facts of others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hearth_access::{Access, HomeFacts, Member};
use hearth_api::events::v1::{Envelope, envelope, ingest_fact};
use hearth_engine::{CommitToken, FactCache, Stale};
use hearth_kernel::{
    AccountId, AreaId, DeviceId, Failure, HomeId, MembershipId, Reason, Role, Sealed, Service,
};
use hearth_rpc::Principal;
use prost::Message;

/// How long a reader waits for what it has written elsewhere.
const READ_YOUR_WRITES: Duration = Duration::from_secs(2);

/// What others know. Absent is no; what cannot be known is [`Stale`].
#[async_trait]
pub(crate) trait Facts: Send + Sync + 'static {
    /// Those of these devices that the home has, with the area of each.
    async fn devices(
        &self,
        home: HomeId,
        devices: &BTreeSet<DeviceId>,
    ) -> Result<BTreeMap<DeviceId, Option<AreaId>>, Stale>;

    /// The home, while it is in use.
    async fn home(&self, home: HomeId) -> Result<Option<HomeFacts>, Stale>;

    /// Whose membership that is.
    async fn account_of(&self, membership: MembershipId) -> Result<Option<AccountId>, Stale>;

    /// The account's place in the home, now.
    async fn member(&self, account: AccountId, home: HomeId) -> Result<Option<Member>, Stale>;

    /// Where the account's mail goes: an `AddressContent`.
    async fn address(&self, account: AccountId) -> Result<Option<Sealed>, Stale>;

    /// The caller's place in a home, if she has at least that role.
    async fn require(
        &self,
        principal: &Principal,
        home: HomeId,
        role: Role,
    ) -> Result<Member, Failure>;

    /// Waits until these commits of other services are known.
    async fn after(&self, tokens: &[CommitToken]) -> Result<(), Failure>;
}

/// The facts that accounts and ingest publish.
pub(crate) struct Published {
    /// What the process knows of people.
    pub(crate) access: Arc<Access>,
    /// The facts of ingest.
    pub(crate) ingest: FactCache,
}

impl Published {
    async fn device(
        &self,
        home: HomeId,
        device: DeviceId,
    ) -> Result<Option<Option<AreaId>>, Stale> {
        let Some(bytes) = self.ingest.get("device", device).await? else {
            return Ok(None);
        };
        let payload = Envelope::decode(bytes)
            .ok()
            .and_then(|envelope| envelope.payload);
        let Some(envelope::Payload::IngestFact(fact)) = payload else {
            return Ok(None);
        };
        let Some(ingest_fact::Fact::Device(fact)) = fact.fact else {
            return Ok(None);
        };
        let of_home = fact.home_id.as_ref() == home.as_bytes();
        Ok(of_home.then(|| AreaId::from_slice(&fact.area_id)))
    }
}

#[async_trait]
impl Facts for Published {
    async fn devices(
        &self,
        home: HomeId,
        devices: &BTreeSet<DeviceId>,
    ) -> Result<BTreeMap<DeviceId, Option<AreaId>>, Stale> {
        let mut found = BTreeMap::new();
        for device in devices {
            if let Some(area) = self.device(home, *device).await? {
                found.insert(*device, area);
            }
        }
        Ok(found)
    }

    async fn home(&self, home: HomeId) -> Result<Option<HomeFacts>, Stale> {
        let home = self.access.home(home).await?;
        Ok(home.filter(|home| !home.ended))
    }

    async fn account_of(&self, membership: MembershipId) -> Result<Option<AccountId>, Stale> {
        self.access.account_of(membership).await
    }

    async fn member(&self, account: AccountId, home: HomeId) -> Result<Option<Member>, Stale> {
        self.access.member(account, home).await
    }

    async fn address(&self, account: AccountId) -> Result<Option<Sealed>, Stale> {
        let address = self.access.address(account).await?;
        Ok(address.and_then(|address| Sealed::decode(&address.sealed)))
    }

    async fn require(
        &self,
        principal: &Principal,
        home: HomeId,
        role: Role,
    ) -> Result<Member, Failure> {
        self.access.require(principal, home, role).await
    }

    async fn after(&self, tokens: &[CommitToken]) -> Result<(), Failure> {
        self.access.after(tokens).await?;
        for token in tokens
            .iter()
            .filter(|token| token.service == Service::Ingest)
        {
            tokio::time::timeout(READ_YOUR_WRITES, self.ingest.reached(*token))
                .await
                .map_err(|_| Failure::new(Reason::STALE_KNOWLEDGE))?;
        }
        Ok(())
    }
}
