//! The vault's records as they stand in the log: one ring per owner, one list of epochs per bucket; and the
//! fence facts that it publishes.
//!
//! Knows bytes, not the log. A ring record is clear where everybody must see it (version, epoch, fences) and
//! wrapped where the keys are; the wrapping is bound to all that is clear.

use hearth_kernel::{AggregateRef, Owner, Purpose, Service, Timestamp};
use hearth_ports::{Family, Subject};
use prost::Message;
use ring::digest::{SHA256, digest};
use uuid::Uuid;

use crate::error::VaultError;
use crate::keyring::KeyRing;
use crate::seal;
use crate::statement::FenceStatement;

/// The format of these records; a reader refuses any other.
const FORMAT: u32 = 1;

/// The bucket of an owner: whose epoch key wraps its ring.
#[must_use]
pub fn bucket_of(owner: Owner) -> u8 {
    let hash = digest(&SHA256, &owner.to_bytes());
    hash.as_ref().first().copied().unwrap_or(0)
}

/// The id that names an owner in subjects. Services have fixed ones.
#[must_use]
pub(crate) fn owner_id(owner: Owner) -> Uuid {
    match owner {
        Owner::Account(id) => id.into(),
        Owner::Home(id) => id.into(),
        Owner::Service(service) => {
            let mut bytes = *b"hearth-service-\0";
            bytes[15] = service.number();
            Uuid::from_bytes(bytes)
        }
    }
}

/// The subject of an owner's ring.
#[must_use]
pub fn ring_subject(owner: Owner) -> Subject {
    let kind = match owner {
        Owner::Account(_) => "ring-account",
        Owner::Home(_) => "ring-home",
        Owner::Service(_) => "ring-service",
    };
    let aggregate = AggregateRef::new(Service::Vault, kind, owner_id(owner));
    Subject::aggregate(Family::Rec, &aggregate)
}

/// Whose ring a subject of REC_VAULT is, if it is one.
pub(crate) fn owner_of(subject: &Subject) -> Option<Owner> {
    let id = subject.id()?;
    match subject.kind() {
        "ring-account" => Some(Owner::Account(id.into())),
        "ring-home" => Some(Owner::Home(id.into())),
        "ring-service" => {
            let number = *id.as_bytes().last()?;
            Service::from_number(number).map(Owner::Service)
        }
        _ => None,
    }
}

/// The subject of a bucket's epochs.
#[must_use]
pub fn epoch_subject(bucket: u8) -> Subject {
    let mut bytes = *b"hearth-bucket--\0";
    bytes[15] = bucket;
    let aggregate = AggregateRef::new(Service::Vault, "epoch", Uuid::from_bytes(bytes));
    Subject::aggregate(Family::Rec, &aggregate)
}

/// The subject of an owner's fence fact.
#[must_use]
pub fn fence_subject(owner: Owner) -> Subject {
    Subject::fact(Service::Vault, "fence", owner_id(owner))
}

/// One fence of one purpose, as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fence {
    pub(crate) statement: FenceStatement,
    /// The last epoch that wrapped a stored ring with keys of this purpose; 0 when there was none.
    pub(crate) epoch: u64,
}

/// What of a ring's record is clear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RingHead {
    pub(crate) owner: Owner,
    /// Counts the changes of the record, from 1, dense.
    pub(crate) version: u64,
    /// The version of the last change that the escrow must have before a key is used.
    pub(crate) escrow_version: u64,
    /// The epoch whose key wraps the ring; 0 when nothing is wrapped.
    pub(crate) epoch: u64,
    /// Whether this very version brought the wrapped part into being: if its epoch turns out to have been
    /// destroyed before, no key in it was ever used.
    pub(crate) fresh: bool,
    pub(crate) fences: Vec<Fence>,
    /// The last epoch under which keys lay that are destroyed now; 0 when there was none.
    pub(crate) shred_epoch: u64,
    /// When the oldest key was destroyed of those that lay under `shred_epoch`.
    pub(crate) shredded_at: Timestamp,
    /// When the next key's period ends; `MAX` when none has one.
    pub(crate) next_expiry: Timestamp,
}

impl RingHead {
    /// What the wrapping is bound to.
    fn associated_data(&self) -> Vec<u8> {
        let mut out = b"hearth/vault/ring/1".to_vec();
        out.extend_from_slice(&self.owner.to_bytes());
        for number in [self.version, self.escrow_version, self.epoch] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        for fence in &self.fences {
            out.extend_from_slice(&fence.statement.purpose.number().to_be_bytes());
        }
        out
    }
}

/// A ring's record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RingRecord {
    pub(crate) head: RingHead,
    /// The wrapped ring; empty when there is none.
    pub(crate) wrapped: Vec<u8>,
}

impl RingRecord {
    /// Wraps a ring under an epoch key. Without one, the record is bare.
    pub(crate) fn seal(
        mut head: RingHead,
        ring: &KeyRing,
        epoch: u64,
        key: &[u8; 32],
    ) -> Result<Self, VaultError> {
        if ring.is_empty() {
            head.epoch = 0;
            return Ok(Self {
                head,
                wrapped: Vec::new(),
            });
        }
        head.epoch = epoch;
        let wrapped = seal::wrap(key, &head.associated_data(), &ring.encode())?;
        Ok(Self { head, wrapped })
    }

    /// Unwraps; `None` when it is not what was wrapped, or not under this key.
    pub(crate) fn open(&self, key: &[u8; 32]) -> Option<KeyRing> {
        let clear = seal::unwrap(key, &self.head.associated_data(), &self.wrapped)?;
        KeyRing::decode(&clear)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let head = &self.head;
        let message = RingMessage {
            format: FORMAT,
            owner: head.owner.to_bytes().to_vec(),
            version: head.version,
            escrow_version: head.escrow_version,
            epoch: head.epoch,
            fresh: head.fresh,
            fences: head.fences.iter().map(encode_fence).collect(),
            shred_epoch: head.shred_epoch,
            shredded_at: head.shredded_at.micros(),
            next_expiry: head.next_expiry.micros(),
            wrapped: self.wrapped.clone(),
        };
        message.encode_to_vec()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, VaultError> {
        let broken = || VaultError::Corrupt("a ring's record does not decode");
        let message = RingMessage::decode(bytes).map_err(|_| broken())?;
        if message.format != FORMAT {
            return Err(VaultError::Corrupt("a ring's record is of another format"));
        }
        let owner = Owner::from_bytes(&message.owner).ok_or_else(broken)?;
        let fences = message
            .fences
            .iter()
            .map(|fence| decode_fence(owner, fence));
        Ok(Self {
            head: RingHead {
                owner,
                version: message.version,
                escrow_version: message.escrow_version,
                epoch: message.epoch,
                fresh: message.fresh,
                fences: fences.collect::<Option<Vec<_>>>().ok_or_else(broken)?,
                shred_epoch: message.shred_epoch,
                shredded_at: Timestamp::from_micros(message.shredded_at),
                next_expiry: Timestamp::from_micros(message.next_expiry),
            },
            wrapped: message.wrapped,
        })
    }
}

/// What the vault publishes of a fenced owner, under [`fence_subject`]: its purposes, each signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FenceFact {
    /// Who is fenced.
    pub owner: Owner,
    /// Each fenced purpose.
    pub fences: Vec<FenceStatement>,
}

impl FenceFact {
    /// The fact's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let fences = self.fences.iter().map(|statement| {
            encode_fence(&Fence {
                statement: statement.clone(),
                epoch: 0,
            })
        });
        let message = FactMessage {
            format: FORMAT,
            owner: self.owner.to_bytes().to_vec(),
            fences: fences.collect(),
        };
        message.encode_to_vec()
    }

    /// The fact that [`Self::encode`] wrote. Its signatures are not checked here.
    ///
    /// # Errors
    /// `Corrupt` for anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, VaultError> {
        let broken = || VaultError::Corrupt("a fence fact does not decode");
        let message = FactMessage::decode(bytes).map_err(|_| broken())?;
        if message.format != FORMAT {
            return Err(broken());
        }
        let owner = Owner::from_bytes(&message.owner).ok_or_else(broken)?;
        let fences = message.fences.iter();
        let fences = fences.map(|fence| decode_fence(owner, fence).map(|fence| fence.statement));
        Ok(Self {
            owner,
            fences: fences.collect::<Option<Vec<_>>>().ok_or_else(broken)?,
        })
    }
}

fn encode_fence(fence: &Fence) -> FenceMessage {
    FenceMessage {
        purpose: u32::from(fence.statement.purpose.number()),
        fenced_at: fence.statement.fenced_at.micros(),
        signature: fence.statement.signature.to_vec(),
        epoch: fence.epoch,
    }
}

fn decode_fence(owner: Owner, message: &FenceMessage) -> Option<Fence> {
    let purpose = u16::try_from(message.purpose).ok()?;
    Some(Fence {
        statement: FenceStatement {
            owner,
            purpose: Purpose::from_number(purpose)?,
            fenced_at: Timestamp::from_micros(message.fenced_at),
            signature: message.signature.as_slice().try_into().ok()?,
        },
        epoch: message.epoch,
    })
}

#[derive(Clone, PartialEq, Message)]
struct RingMessage {
    #[prost(uint32, tag = "1")]
    format: u32,
    #[prost(bytes = "vec", tag = "2")]
    owner: Vec<u8>,
    #[prost(uint64, tag = "3")]
    version: u64,
    #[prost(uint64, tag = "4")]
    escrow_version: u64,
    #[prost(uint64, tag = "5")]
    epoch: u64,
    #[prost(bool, tag = "6")]
    fresh: bool,
    #[prost(message, repeated, tag = "7")]
    fences: Vec<FenceMessage>,
    #[prost(uint64, tag = "8")]
    shred_epoch: u64,
    #[prost(int64, tag = "9")]
    shredded_at: i64,
    #[prost(int64, tag = "10")]
    next_expiry: i64,
    #[prost(bytes = "vec", tag = "11")]
    wrapped: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct FenceMessage {
    #[prost(uint32, tag = "1")]
    purpose: u32,
    #[prost(int64, tag = "2")]
    fenced_at: i64,
    #[prost(bytes = "vec", tag = "3")]
    signature: Vec<u8>,
    #[prost(uint64, tag = "4")]
    epoch: u64,
}

#[derive(Clone, PartialEq, Message)]
struct FactMessage {
    #[prost(uint32, tag = "1")]
    format: u32,
    #[prost(bytes = "vec", tag = "2")]
    owner: Vec<u8>,
    #[prost(message, repeated, tag = "3")]
    fences: Vec<FenceMessage>,
}

#[cfg(test)]
mod tests {
    use hearth_kernel::{AccountId, HomeId};

    use super::*;

    #[test]
    fn a_subject_names_its_owner() {
        for owner in [
            Owner::Account(AccountId::from_bytes([1; 16])),
            Owner::Home(HomeId::from_bytes([2; 16])),
            Owner::Service(Service::Retention),
        ] {
            assert_eq!(owner_of(&ring_subject(owner)), Some(owner));
        }
        assert_eq!(owner_of(&epoch_subject(3)), None);
    }

    #[test]
    fn a_record_opens_with_its_key_and_head_only() {
        let owner = Owner::Account(AccountId::from_bytes([1; 16]));
        let mut ring = KeyRing::new().unwrap();
        let id = ring.draw(Purpose::Profile, Timestamp::EPOCH).unwrap();
        let head = RingHead {
            owner,
            version: 3,
            escrow_version: 3,
            epoch: 0,
            fresh: false,
            fences: Vec::new(),
            shred_epoch: 0,
            shredded_at: Timestamp::EPOCH,
            next_expiry: Timestamp::MAX,
        };
        let record = RingRecord::seal(head, &ring, 5, &[1; 32]).unwrap();
        let back = RingRecord::decode(&record.encode()).unwrap();
        assert_eq!(back, record);
        let ring = back.open(&[1; 32]).unwrap();
        assert!(ring.find(Purpose::Profile, id).is_some());
        assert!(back.open(&[2; 32]).is_none());
        for change in [
            |head: &mut RingHead| head.version += 1,
            |head: &mut RingHead| head.epoch += 1,
            |head: &mut RingHead| head.owner = Owner::Service(Service::Vault),
        ] {
            let mut moved = record.clone();
            change(&mut moved.head);
            assert!(moved.open(&[1; 32]).is_none());
        }
    }
}
