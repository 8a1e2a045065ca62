//! Personal content inside events: clear while a command is decided, sealed ever after.
//!
//! `decide` makes events whose personal fields are [`Part::Clear`]; the engine seals each of them under
//! the owner and purpose that the event names, and only then folds and stores the event. A part remembers
//! where it was sealed ([`Origin`]), because the seal is bound to that place: state, snapshots and views
//! carry parts as they came and never open them.

use std::borrow::Cow;
use std::sync::Arc;

use uuid::Uuid;

use crate::aggregate::AggregateRef;
use crate::owner::{Owner, Purpose};
use crate::secret::Secret;
use crate::service::Service;

/// What a part was sealed as: it opens as nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// The aggregate whose event holds it.
    pub aggregate: AggregateRef,
    /// The aggregate's version at the commit's first event, from 1.
    pub version: u64,
    /// The event's index in the commit.
    pub event: u16,
    /// The part's index in the event.
    pub part: u16,
}

/// A sealed part: key id, nonce, ciphertext and tag in `bytes`, and what it is bound to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sealed {
    /// Whose key.
    pub owner: Owner,
    /// Which of the owner's keys.
    pub purpose: Purpose,
    /// What it was sealed as.
    pub origin: Origin,
    /// Key id (16 bytes), nonce (12), ciphertext, tag (16).
    pub bytes: Arc<[u8]>,
}

impl Sealed {
    /// One self-contained byte string: what snapshots, records and views store.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let kind = self.origin.aggregate.kind.as_bytes();
        let mut out = Vec::with_capacity(64 + kind.len() + self.bytes.len());
        out.push(1);
        out.extend_from_slice(&self.owner.to_bytes());
        out.extend_from_slice(&self.purpose.number().to_be_bytes());
        out.push(self.origin.aggregate.service.number());
        // Kinds are constants of the source, all far shorter than 255 bytes.
        out.push(u8::try_from(kind.len()).unwrap_or(u8::MAX));
        out.extend_from_slice(&kind[..kind.len().min(255)]);
        out.extend_from_slice(self.origin.aggregate.id.as_bytes());
        out.extend_from_slice(&self.origin.version.to_be_bytes());
        out.extend_from_slice(&self.origin.event.to_be_bytes());
        out.extend_from_slice(&self.origin.part.to_be_bytes());
        out.extend_from_slice(&self.bytes);
        out
    }

    /// The part that [`Self::encode`] wrote; `None` for anything else.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk::<22>()?;
        if head[0] != 1 {
            return None;
        }
        let owner = Owner::from_bytes(&head[1..18])?;
        let purpose = Purpose::from_number(u16::from_be_bytes([head[18], head[19]]))?;
        let service = Service::from_number(head[20])?;
        let (kind, rest) = rest.split_at_checked(usize::from(head[21]))?;
        let kind = std::str::from_utf8(kind).ok()?.to_owned();
        let (id, rest) = rest.split_first_chunk::<16>()?;
        let (version, rest) = rest.split_first_chunk::<8>()?;
        let (event, rest) = rest.split_first_chunk::<2>()?;
        let (part, rest) = rest.split_first_chunk::<2>()?;
        let aggregate = AggregateRef {
            service,
            kind: Cow::Owned(kind),
            id: Uuid::from_bytes(*id),
        };
        let origin = Origin {
            aggregate,
            version: u64::from_be_bytes(*version),
            event: u16::from_be_bytes(*event),
            part: u16::from_be_bytes(*part),
        };
        Some(Self {
            owner,
            purpose,
            origin,
            bytes: Arc::from(rest),
        })
    }
}

/// A personal field of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Not sealed yet: only between `decide` and the append.
    Clear(Secret),
    /// Sealed, as it is stored.
    Sealed(Sealed),
}

impl Part {
    /// A part that is still to be sealed.
    #[must_use]
    pub fn clear(text: &str) -> Self {
        Self::Clear(Secret::from(text))
    }

    /// The sealed form, once there is one.
    #[must_use]
    pub fn sealed(&self) -> Option<&Sealed> {
        match self {
            Self::Clear(_) => None,
            Self::Sealed(sealed) => Some(sealed),
        }
    }
}

/// One personal field of an event, with the key that seals it.
#[derive(Debug)]
pub struct PartSlot<'a> {
    /// Whose key.
    pub owner: Owner,
    /// Which of the owner's keys.
    pub purpose: Purpose,
    /// The field.
    pub part: &'a mut Part,
}

/// An event's personal fields, in an order that never changes for an event type.
pub trait Parts {
    /// Every personal field; the index in the result is the part's index for ever.
    fn parts(&mut self) -> Vec<PartSlot<'_>>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::AccountId;

    #[test]
    fn encode_and_decode_agree_and_cut_bytes_are_refused() {
        let id = AccountId::from_bytes([9; 16]);
        let sealed = Sealed {
            owner: Owner::Account(id),
            purpose: Purpose::Profile,
            origin: Origin {
                aggregate: AggregateRef::new(Service::Accounts, "account", id),
                version: 3,
                event: 1,
                part: 2,
            },
            bytes: Arc::from([1u8, 2, 3].as_slice()),
        };
        let bytes = sealed.encode();
        assert_eq!(Sealed::decode(&bytes), Some(sealed));
        for length in 0..bytes.len() - 3 {
            assert_eq!(Sealed::decode(&bytes[..length]), None, "{length}");
        }
    }
}
