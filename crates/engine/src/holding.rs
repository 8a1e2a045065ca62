//! Holding: work that one process at a time may do, for as long as it holds the lease of it.
//!
//! The lease says who should do it, the fence whose writes count. Between the two stands a process that was paused:
//! it finds out late that its time is over, and what it had under way arrives later still. So the work is not polled
//! any more a while before the lease ends by this process's clock, and whatever must not be replaced by a former
//! holder's late write is stamped with the fence ([`Held::stamp`]).
//!
//! When the clock jumps, every lease lapses at once. A lease that is taken again with the very next fence was nobody
//! else's meanwhile, so the work goes on where it was. Otherwise it is dropped at an await, and begins anew with what
//! is stored, once the lease is held again: it must be as good at that as at being killed.
//!
//! It must not know what the work is. Relays hold no lease: the positions that they expect keep a rival out.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use hearth_kernel::Timestamp;
use hearth_ports::{Clock, Lease, Leases, StoreError, Tasks};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::hashing::{random_below, random_id};

/// How long a lease lasts unless it is renewed: a holder that was killed is followed after as long.
pub const PERIOD: Duration = Duration::from_secs(9);
/// The first wait before a lease that another holds is asked for again; it doubles, up to a third of the period.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// How long one request to the store of leases may take.
const REQUEST_WITHIN: Duration = Duration::from_secs(3);
/// Bits of a stamp below the fence: a holder numbers up to 134 million writes of one row.
const COUNTER_BITS: u32 = 27;

/// What work knows of the lease that it is done under. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Held {
    fence: Arc<AtomicU64>,
    lost: CancellationToken,
}

impl Held {
    /// Under a fence that somebody else sees to: for tests, and tools that hold a lease by hand.
    #[must_use]
    pub fn new(fence: u64) -> Self {
        Self {
            fence: Arc::new(AtomicU64::new(fence)),
            lost: CancellationToken::new(),
        }
    }

    /// The fence now. It grows when the lease lapsed and nobody else had it meanwhile.
    #[must_use]
    pub fn fence(&self) -> u64 {
        self.fence.load(Ordering::SeqCst)
    }

    /// Resolves when the work under this lease has ended or was dropped: for what is done for it elsewhere.
    pub async fn lost(&self) {
        self.lost.cancelled().await;
    }

    /// Whether the work under this lease has ended or was dropped.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.lost.is_cancelled()
    }

    /// The stamp of the holder's write number `counter` of a document: greater than any stamp of a former holder, and
    /// than those of its own writes before.
    ///
    /// # Errors
    /// `Terminal` for a fence of 2^36 (a lease a second for 2,000 years) or a counter of 2^27.
    pub fn stamp(&self, counter: u64) -> Result<i64, StoreError> {
        let fence = self.fence();
        if fence >> (63 - COUNTER_BITS) != 0 || counter >> COUNTER_BITS != 0 {
            return Err(StoreError::terminal("no stamps are left under this lease"));
        }
        i64::try_from((fence << COUNTER_BITS) | counter)
            .map_err(|_| StoreError::terminal("no stamps are left under this lease"))
    }
}

impl Held {
    /// The stamp of the holder's next write of a document that is stored under `stored`; 0 when it is not.
    ///
    /// # Errors
    /// `Conflict` when a newer holder put it, else as [`Self::stamp`].
    pub fn stamp_after(&self, stored: i64) -> Result<i64, StoreError> {
        let (fence, counter) = (self.fence(), u64::try_from(stored).unwrap_or(0));
        match fence_of(stored) {
            of if of > fence => Err(StoreError::Conflict),
            of if of == fence => self.stamp((counter & ((1 << COUNTER_BITS) - 1)) + 1),
            _ => self.stamp(1),
        }
    }
}

/// The fence in a stamp that [`Held::stamp`] made; 0 for older ones.
#[must_use]
pub fn fence_of(stamp: i64) -> u64 {
    u64::try_from(stamp).map_or(0, |stamp| stamp >> COUNTER_BITS)
}

/// Takes leases for the work of one owner of tasks. Cheap to clone; all clones are one holder.
#[derive(Clone)]
pub struct Holder {
    leases: Arc<dyn Leases>,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
    name: Arc<str>,
    period: Duration,
    holds: Arc<AtomicI64>,
}

enum Turn<T> {
    Done(T),
    Renewed(Lease, Timestamp),
    Lapsed,
}

impl Holder {
    /// A holder with a random name. When `tasks` stop, they give up the leases before they have ended.
    #[must_use]
    pub fn new(leases: Arc<dyn Leases>, clock: Arc<dyn Clock>, tasks: Tasks) -> Self {
        Self {
            leases,
            clock,
            tasks,
            name: random_id::<Uuid>().as_simple().to_string().into(),
            period: PERIOD,
            holds: Arc::default(),
        }
    }

    /// The same with leases that last longer or shorter than [`PERIOD`].
    #[must_use]
    pub const fn lasting(mut self, period: Duration) -> Self {
        self.period = period;
        self
    }

    /// How many leases it holds now. A process that holds none is a standby, and as ready as any other.
    #[must_use]
    pub fn holds(&self) -> i64 {
        self.holds.load(Ordering::SeqCst)
    }

    /// Waits for a lease, does the work while it is held, and gives it up when the work ends. Work that loses it is
    /// dropped, and made anew when it is held again. `name` is `<service>.<work>.<shard>`; there is one shard, `all`.
    ///
    /// # Errors
    /// What the work ends with, or that of a store of leases that does not answer.
    pub async fn hold<F, Fut, T, E>(&self, name: &str, mut work: F) -> Result<T, E>
    where
        F: FnMut(Held) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: From<StoreError>,
    {
        loop {
            let (lease, until) = self.take(name).await?;
            let mut session = Session::begin(self, lease, until);
            // Dropped before the session: nothing of it is under way when the lease is given up.
            let mut running = pin!(work(session.held.clone()));
            loop {
                match session.go_on(running.as_mut()).await {
                    Turn::Done(outcome) => return outcome,
                    Turn::Renewed(lease, until) => session.extend(lease, until),
                    Turn::Lapsed if session.regain().await => {}
                    Turn::Lapsed => break,
                }
            }
            tracing::info!(lease = name, "lease lost, standing by");
        }
    }

    /// Takes a lease, as soon as no other holds it.
    async fn take(&self, name: &str) -> Result<(Lease, Timestamp), StoreError> {
        let mut wait = FIRST_WAIT;
        loop {
            match self.acquire(name).await {
                Err(StoreError::Conflict) => {}
                other => return other,
            }
            self.sleep(wait + jitter(wait)).await;
            wait = (wait * 2).min(self.period / 3);
        }
    }

    async fn acquire(&self, name: &str) -> Result<(Lease, Timestamp), StoreError> {
        let asked = self.clock.now();
        let acquired = self.leases.acquire(name, &self.name, self.period);
        Ok((within(acquired).await?, self.until(asked)))
    }

    /// Renews a lease when a third of its period is over, again and again while the store fails. `None` when it has
    /// ended, or somebody else has it.
    async fn renewed(&self, lease: &Lease, until: Timestamp) -> Option<(Lease, Timestamp)> {
        let mut at = until.minus(self.period * 2 / 3 - self.margin());
        loop {
            self.clock.sleep_until(at.min(until)).await;
            let asked = self.clock.now();
            if asked >= until {
                return None;
            }
            let renewed = self.leases.renew(lease, &self.name, self.period);
            match within(renewed).await {
                Ok(lease) => return Some((lease, self.until(asked))),
                Err(StoreError::Conflict) => return None,
                Err(error) => {
                    tracing::debug!(lease = lease.name, %error, "lease not renewed, trying again");
                    at = self.clock.now().plus(self.period / 18);
                }
            }
        }
    }

    /// When work ends under a lease that was asked for then: counted from before the request, so the store cannot
    /// think that it ended earlier.
    fn until(&self, asked: Timestamp) -> Timestamp {
        asked.plus(self.period - self.margin())
    }

    fn margin(&self) -> Duration {
        self.period / 9
    }

    /// A wait of the clock's, and of the machine's at most: what is waited for may be given up while a clock stands.
    async fn sleep(&self, wait: Duration) {
        tokio::select! {
            () = self.clock.sleep(wait) => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

fn jitter(most: Duration) -> Duration {
    let most = u64::try_from(most.as_micros()).unwrap_or(u64::MAX);
    Duration::from_micros(random_below(most.max(1)))
}

async fn within<T>(request: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    tokio::time::timeout(REQUEST_WITHIN, request)
        .await
        .unwrap_or_else(|_| Err(StoreError::unknown("the store of leases does not answer")))
}

/// One lease, from taking it to giving it up.
struct Session<'a> {
    holder: &'a Holder,
    lease: Lease,
    until: Timestamp,
    held: Held,
}

impl<'a> Session<'a> {
    fn begin(holder: &'a Holder, lease: Lease, until: Timestamp) -> Self {
        tracing::debug!(lease = lease.name, fence = lease.fence, "lease held");
        holder.holds.fetch_add(1, Ordering::SeqCst);
        Self {
            holder,
            held: Held::new(lease.fence),
            lease,
            until,
        }
    }

    fn extend(&mut self, lease: Lease, until: Timestamp) {
        self.lease = lease;
        self.until = until;
    }

    /// Polls the work until it ends, or the lease was renewed or has lapsed.
    async fn go_on<T>(&self, mut work: Pin<&mut impl Future<Output = T>>) -> Turn<T> {
        let (holder, until) = (self.holder, self.until);
        let mut renewing = pin!(holder.renewed(&self.lease, until));
        poll_fn(|context| {
            // First: work that is always ready must not keep its lease from being renewed.
            if let Poll::Ready(renewed) = renewing.as_mut().poll(context) {
                return Poll::Ready(
                    renewed.map_or(Turn::Lapsed, |(lease, until)| Turn::Renewed(lease, until)),
                );
            }
            // A process that was paused wakes here, whatever woke it.
            if holder.clock.now() >= until {
                return Poll::Ready(Turn::Lapsed);
            }
            work.as_mut().poll(context).map(Turn::Done)
        })
        .await
    }

    /// Takes a lease that has lapsed again, at once. Answers whether it was nobody else's meanwhile.
    async fn regain(&mut self) -> bool {
        let fence = self.lease.fence;
        match self.holder.acquire(&self.lease.name).await {
            Ok((lease, until)) => {
                let alone = lease.fence == fence + 1;
                if alone {
                    self.held.fence.store(lease.fence, Ordering::SeqCst);
                }
                self.extend(lease, until);
                tracing::debug!(
                    lease = self.lease.name,
                    alone,
                    "a lease that lapsed is held again"
                );
                alone
            }
            Err(StoreError::Conflict) => false,
            Err(error) => {
                tracing::warn!(lease = self.lease.name, %error, "lease not renewed");
                false
            }
        }
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        self.held.lost.cancel();
        self.holder.holds.fetch_sub(1, Ordering::SeqCst);
        if tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        let (holder, lease) = (self.holder.clone(), self.lease.clone());
        // The owner waits for it when it stops, so the next holder need not wait for the lease to end.
        holder.tasks.clone().spawn_draining("lease", async move {
            if let Err(error) = within(holder.leases.release(&lease, &holder.name)).await {
                tracing::debug!(lease = lease.name, %error, "lease not given up, it ends by itself");
            }
        });
    }
}

#[cfg(test)]
mod tests;
