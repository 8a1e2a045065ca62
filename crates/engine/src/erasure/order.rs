//! An order of retention, read from its fact.

use std::collections::BTreeSet;

use bytes::Bytes;
use hearth_kernel::{AccountId, ErasureId, HomeId, MembershipId, Owner, Service};
use prost::Message;
use uuid::Uuid;

use crate::aggregate::CodecError;
use crate::stamp::Stamp;

/// The kind of the fact.
pub(crate) const FACT: &str = "order";

/// How far an erasure is: `hearth.events.v1.ErasureStage`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Stage {
    /// Never valid.
    Unspecified = 0,
    /// Readers fail closed.
    Requested = 1,
    /// The keys are fenced.
    Fenced = 2,
    /// All leases have ended: services purge.
    Purging = 3,
    /// All services have answered.
    Verifying = 4,
    /// The key receipt is issued.
    KeysGone = 5,
    /// The byte receipt is issued.
    BytesGone = 6,
}

/// Whose data goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The erasure.
    pub erasure: ErasureId,
    /// How far it is.
    pub stage: Stage,
    /// The account, and the homes that end with it.
    pub owners: Vec<Owner>,
    /// The account's memberships in homes that go on: what belongs to them alone goes too.
    pub memberships: Vec<MembershipId>,
}

impl Order {
    /// The accounts among the owners.
    pub fn accounts(&self) -> impl Iterator<Item = AccountId> + '_ {
        self.owners.iter().filter_map(|owner| match owner {
            Owner::Account(id) => Some(*id),
            _ => None,
        })
    }

    /// Everybody and everything that the order names.
    pub(crate) fn named(&self) -> BTreeSet<Uuid> {
        let accounts = self.accounts().map(Uuid::from);
        let homes = self.homes().map(Uuid::from);
        let memberships = self.memberships.iter().map(|it| Uuid::from(*it));
        accounts.chain(homes).chain(memberships).collect()
    }

    /// The homes among the owners.
    pub fn homes(&self) -> impl Iterator<Item = HomeId> + '_ {
        self.owners.iter().filter_map(|owner| match owner {
            Owner::Home(id) => Some(*id),
            _ => None,
        })
    }

    /// The order in a fact; `None` when it has ended.
    ///
    /// # Errors
    /// `Malformed`: an order that is not understood is never carried out in part.
    pub fn read(bytes: &[u8]) -> Result<Option<Self>, CodecError> {
        if Stamp::read(bytes).is_some_and(|stamp| stamp.gone) {
            return Ok(None);
        }
        let bad = || CodecError::Malformed("erasure order");
        let envelope = Envelope::decode(bytes).map_err(|_| bad())?;
        let wire = envelope.fact.and_then(|fact| fact.order).ok_or_else(bad)?;
        let stage = wire.stage();
        if stage == Stage::Unspecified {
            return Err(bad());
        }
        let owners = wire.owners.iter().map(WireOwner::owner);
        let memberships = wire.memberships.iter();
        Ok(Some(Self {
            erasure: ErasureId::from_slice(&wire.erasure).ok_or_else(bad)?,
            stage,
            owners: owners.collect::<Option<_>>().ok_or_else(bad)?,
            memberships: memberships
                .map(|id| MembershipId::from_slice(id))
                .collect::<Option<_>>()
                .ok_or_else(bad)?,
        }))
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct Envelope {
    #[prost(message, optional, tag = "45")]
    fact: Option<RetentionFact>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RetentionFact {
    #[prost(message, optional, tag = "1")]
    order: Option<WireOrder>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireOrder {
    #[prost(bytes = "bytes", tag = "1")]
    erasure: Bytes,
    #[prost(enumeration = "Stage", tag = "2")]
    stage: i32,
    #[prost(message, repeated, tag = "3")]
    owners: Vec<WireOwner>,
    #[prost(bytes = "bytes", repeated, tag = "4")]
    memberships: Vec<Bytes>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireOwner {
    #[prost(bytes = "bytes", tag = "1")]
    account: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    home: Bytes,
    #[prost(uint32, tag = "3")]
    service: u32,
}

impl WireOwner {
    fn owner(&self) -> Option<Owner> {
        if !self.account.is_empty() {
            return AccountId::from_slice(&self.account).map(Owner::Account);
        }
        if !self.home.is_empty() {
            return HomeId::from_slice(&self.home).map(Owner::Home);
        }
        let number = u8::try_from(self.service).ok()?;
        Service::from_number(number).map(Owner::Service)
    }
}

/// The fact of an order for one account, without a stamp.
#[cfg(test)]
pub(crate) fn order_for(erasure: ErasureId, stage: Stage, account: AccountId) -> Vec<u8> {
    let owner = WireOwner {
        account: Bytes::copy_from_slice(account.as_bytes()),
        ..WireOwner::default()
    };
    let order = WireOrder {
        erasure: Bytes::copy_from_slice(erasure.as_bytes()),
        stage: stage.into(),
        owners: vec![owner],
        memberships: Vec::new(),
    };
    let fact = RetentionFact { order: Some(order) };
    Envelope { fact: Some(fact) }.encode_to_vec()
}
