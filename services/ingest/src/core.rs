//! What the handlers of one process share: the engine, the stores, and the parts that run in the background.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use hearth_engine::{Engine, ExecuteError, Stale};
use hearth_kernel::{ClaimId, Failure, HomeId, HubId, Reason};
use hearth_ports::{Read, Series, StoreError};
use tokio_util::sync::CancellationToken;

use crate::aggregates::{Claim, Devices};
use crate::frames::Frames;
use crate::knowledge::{Knowledge, stale};
use crate::latest::Pending;
use crate::live::Live;
use crate::registry::Registry;
use crate::resume::Resume;
use crate::views::Claims;

/// What the handlers share.
pub(crate) struct Core {
    pub(crate) engine: Engine,
    pub(crate) series: Arc<dyn Series>,
    pub(crate) knowledge: Arc<dyn Knowledge>,
    pub(crate) frames: Frames,
    pub(crate) resume: Resume,
    pub(crate) pending: Pending,
    pub(crate) live: Live,
    pub(crate) claims: Claims,
    pub(crate) seen: crate::seen::Seen,
    pub(crate) connected: Connected,
    /// Who this server says it is: what hubs were set up with.
    pub(crate) audience: String,
    /// Batches that a hub may have under way on each stream: fewer while the writer is behind.
    pub(crate) credit: std::sync::atomic::AtomicU32,
    /// Whether nothing is taken for a while, because the writer is days behind.
    pub(crate) closed: std::sync::atomic::AtomicBool,
}

/// A claim that stands, as far as a stream needs to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) claim: ClaimId,
    pub(crate) hub: HubId,
    pub(crate) home: HomeId,
    pub(crate) public_key: [u8; 32],
}

impl Core {
    /// The claim, if it stands.
    pub(crate) async fn standing(
        &self,
        claim: ClaimId,
        read: Read,
    ) -> Result<Option<Standing>, ExecuteError> {
        let loaded = self.engine.load::<Claim>(claim, read).await?;
        Ok(loaded.state.active().map(|made| Standing {
            claim: made.claim,
            hub: made.hub,
            home: made.home,
            public_key: made.public_key,
        }))
    }

    /// What a home's readings are checked against.
    ///
    /// # Errors
    /// `ERASED` when the home has ended, `STALE_KNOWLEDGE` when its periods cannot be known.
    pub(crate) async fn registry(&self, home: HomeId, read: Read) -> Result<Registry, Failure> {
        let known = self.knowledge.home(home).await.map_err(stale)?;
        // A home that nobody has told of yet is no home that has ended.
        let known = known.ok_or_else(|| stale(Stale))?;
        if known.ended {
            return Err(Reason::ERASED.into());
        }
        let interests = self.knowledge.interests(home).await.map_err(stale)?;
        let loaded = self.engine.load::<Devices>(home, read).await?;
        Ok(Registry::new(&loaded.state, known.periods, interests))
    }

    /// Waits until what is acked by now is in the series, as long as that may take; a query that gives up sees a
    /// little less.
    pub(crate) async fn written(&self) -> Result<(), StoreError> {
        if let Some(head) = self
            .engine
            .log()
            .head(hearth_ports::Stream::TELEMETRY)
            .await?
        {
            self.resume.writer_passes(head).await;
        }
        Ok(())
    }
}

/// The open streams of hubs: one each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Connected {
    seats: Arc<Mutex<Seats>>,
}

#[derive(Debug, Default)]
struct Seats {
    /// Of all hubs together: a number that comes again would let a stream that ends late give up another's place.
    taken: u64,
    hubs: HashMap<HubId, (u64, CancellationToken)>,
}

/// The place of one stream among them; given up when dropped.
pub(crate) struct Seat {
    hub: HubId,
    number: u64,
    connected: Connected,
    /// Cancelled when a newer stream of the hub takes its place.
    pub(crate) replaced: CancellationToken,
}

impl Connected {
    /// Takes the hub's place; the stream that had it ends.
    pub(crate) fn take(&self, hub: HubId) -> Seat {
        let replaced = CancellationToken::new();
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        seats.taken += 1;
        let number = seats.taken;
        if let Some((_, before)) = seats.hubs.insert(hub, (number, replaced.clone())) {
            before.cancel();
        }
        Seat {
            hub,
            number,
            connected: self.clone(),
            replaced,
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let seats = &self.connected.seats;
        let mut seats = seats.lock().unwrap_or_else(PoisonError::into_inner);
        let number = seats.hubs.get(&self.hub).map(|(number, _)| *number);
        if number == Some(self.number) {
            seats.hubs.remove(&self.hub);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_ends_late_takes_no_place_but_its_own() {
        let (connected, hub) = (Connected::default(), HubId::from_bytes([1; 16]));
        let first = connected.take(hub);
        let second = connected.take(hub);
        assert!(first.replaced.is_cancelled());
        drop(second);
        let third = connected.take(hub);
        drop(first);
        let _fourth = connected.take(hub);
        assert!(
            third.replaced.is_cancelled(),
            "one stream of a hub at a time"
        );
    }
}
