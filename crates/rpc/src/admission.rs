//! Whether a call gets in: permits for calls and streams in flight, and the caller's rate. Nothing queues here: a call
//! that does not get in is told at once when to come back.

use std::sync::Arc;
use std::time::Duration;

use hearth_kernel::{Failure, Reason};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::limits::{Buckets, Caller, Limits};
use crate::principal::{Peer, Principal};
use crate::rules::{MethodRule, Row};

/// The door of a process.
#[derive(Debug)]
pub struct Admission {
    calls: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    buckets: Buckets,
    rates: bool,
    began: Instant,
}

impl Admission {
    /// A door with these limits.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            calls: Arc::new(Semaphore::new(limits.calls.min(Semaphore::MAX_PERMITS))),
            streams: Arc::new(Semaphore::new(limits.streams.min(Semaphore::MAX_PERMITS))),
            buckets: Buckets::new(limits.callers),
            rates: limits.rates,
            began: Instant::now(),
        }
    }

    /// A place for a call or a stream, given back when it is dropped.
    ///
    /// # Errors
    /// `TOO_MANY_REQUESTS` when none is free.
    pub fn enter(&self, rule: &MethodRule) -> Result<OwnedSemaphorePermit, Failure> {
        let places = if rule.is_stream() {
            &self.streams
        } else {
            &self.calls
        };
        let place = Arc::clone(places).try_acquire_owned();
        place.map_err(|_| {
            let wait = if rule.is_stream() { 5_000 } else { 200 };
            let failure = Failure::new(Reason::TOO_MANY_REQUESTS);
            failure.retry_after(Duration::from_millis(wait))
        })
    }

    /// Takes one from the caller's rate.
    pub(crate) fn charge(
        &self,
        row: &Row,
        principal: &Principal,
        peer: Option<Peer>,
    ) -> Result<(), Failure> {
        if !self.rates {
            return Ok(());
        }
        let caller = match (principal, peer) {
            (Principal::Account { account, .. }, _) => Caller::Account(*account),
            (Principal::Anonymous, Some(peer)) => Caller::Network(peer.network()),
            (Principal::Anonymous, None) => Caller::Local,
        };
        let taken = self
            .buckets
            .take(row.number, caller, row.rule.rate, self.began.elapsed());
        taken.map_err(|wait| Failure::new(Reason::TOO_MANY_REQUESTS).retry_after(wait))
    }
}
