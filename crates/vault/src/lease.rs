//! What a service process asks the vault for, and what the vault answers: Key, Fenced, Expired or nothing.
//!
//! A trait, because the vault is a call in one topology and a process of its own in the other. Handles know
//! this, the fences and the clock; never rings or epochs.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use hearth_kernel::{KeyId, Owner, Purpose, Service, Timestamp};
use hearth_ports::SealError;

use crate::seal::DataKey;
use crate::statement::{ExpiredStatement, FenceStatement};

/// What keys are wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// To seal now: ring and key are made when there are none, and a block of seals is drawn.
    Seal,
    /// To open what this key sealed.
    Open(KeyId),
    /// To derive a service's own secrets; made when there is none.
    Derive,
}

/// What the vault answers.
#[derive(Debug)]
pub enum Answer {
    /// The keys of that owner and purpose.
    Keys(Lease),
    /// The purpose is fenced.
    Fenced(FenceStatement),
    /// The period of the wanted key is over.
    Expired(ExpiredStatement),
}

/// The keys of one owner and purpose, lent to one service process.
#[derive(Debug)]
pub struct Lease {
    keys: Vec<LeasedKey>,
    seal: Option<SealRight>,
}

/// One key, with the end of its period.
#[derive(Debug)]
struct LeasedKey {
    key: DataKey,
    until: Timestamp,
}

/// Which key to seal with, until when, and how often.
#[derive(Debug)]
struct SealRight {
    index: usize,
    until: Timestamp,
    budget: Arc<AtomicI64>,
}

impl Lease {
    pub(crate) fn new() -> Self {
        Self {
            keys: Vec::new(),
            seal: None,
        }
    }

    pub(crate) fn add(&mut self, key: DataKey, until: Timestamp) {
        self.keys.push(LeasedKey { key, until });
    }

    /// Lets this key seal until then, as often as the budget says.
    pub(crate) fn permit(&mut self, id: KeyId, until: Timestamp, budget: Arc<AtomicI64>) {
        self.seal = self
            .keys
            .iter()
            .position(|leased| leased.key.id() == id)
            .map(|index| SealRight {
                index,
                until,
                budget,
            });
    }

    /// The key to seal with now; takes one seal of its budget. `None`: lease again.
    pub(crate) fn sealing_key(&self, now: Timestamp) -> Option<&DataKey> {
        let right = self.seal.as_ref().filter(|right| now < right.until)?;
        if right.budget.fetch_sub(1, Ordering::Relaxed) <= 0 {
            return None;
        }
        self.keys.get(right.index).map(|leased| &leased.key)
    }

    /// The key with that id, unless its period is over. `None`: ask the vault what it knows.
    pub(crate) fn opening_key(&self, id: KeyId, now: Timestamp) -> Option<&DataKey> {
        let leased = self.keys.iter().find(|leased| leased.key.id() == id)?;
        (now < leased.until).then_some(&leased.key)
    }

    /// The only key of a lease for deriving.
    pub(crate) fn deriving_key(&self) -> Option<&DataKey> {
        self.keys.first().map(|leased| &leased.key)
    }
}

/// Lends keys.
#[async_trait]
pub trait Leasing: Send + Sync + 'static {
    /// The keys of one owner and purpose for one service, or why not.
    ///
    /// # Errors
    /// `Denied` by the table; `Unavailable` when the vault cannot answer; `Corrupt` when the ring never had the
    /// key that is to open.
    async fn lease(
        &self,
        service: Service,
        owner: Owner,
        purpose: Purpose,
        want: Want,
    ) -> Result<Answer, SealError>;
}
