//! The sweep over all homes: compacts days that are over, deletes what was replaced, lets the store drop what expired. Once
//! a day it makes rollups of sparse readings whose end is near.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hearth_engine::random_id;
use hearth_kernel::{Day, HomeId, Timestamp};
use hearth_ports::{Clock, Lease, Leases, SealError, StoreError};

use super::HistoryError;
use super::compact::{Compactor, ending, late_classes};
use super::period::Period;
use super::store::Store;

/// The lease.
const LEASE: &str = "ingest.compactor.all";
/// How long it lasts; renewed before each home.
const LEASE_PERIOD: Duration = Duration::from_secs(30);
/// How often all homes are looked through.
const EVERY: Duration = Duration::from_secs(60);
/// How long a day is over before it is compacted: hubs that are a little late save it a second generation.
const SETTLE: Duration = Duration::from_secs(600);
/// Segments of a day that is not over from which it is compacted all the same.
const MANY: usize = 4_096;
/// How long what was replaced stays for queries that have begun.
const REPLACED_STAYS: Duration = Duration::from_secs(3_600);
/// Homes per page.
const HOMES: usize = 256;
/// Days of one home.
const MOST_DAYS: usize = 10_000;

/// Sweeps all homes.
pub(crate) struct Sweeper {
    pub(crate) store: Store,
    pub(crate) leases: Arc<dyn Leases>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Sweeper {
    /// Sweeps again and again until something fails; supervise it.
    ///
    /// # Errors
    /// When a store fails.
    pub(crate) async fn run(&self) -> Result<(), StoreError> {
        let mut rolled_up = None;
        loop {
            match self.sweep(false).await {
                // Another process does it.
                Ok(()) | Err(StoreError::Conflict) => {}
                Err(error) => return Err(error),
            }
            let today = self.clock.now().day();
            if rolled_up != Some(today) {
                match self.roll_up().await {
                    Ok(()) => rolled_up = Some(today),
                    Err(StoreError::Conflict) => {}
                    Err(error) => return Err(error),
                }
            }
            self.store.series.expire(self.clock.now()).await?;
            self.clock.sleep(EVERY).await;
        }
    }

    /// Sweeps once. `all` takes every day with segments, over or not.
    ///
    /// # Errors
    /// `Conflict` when another process holds the lease.
    pub(crate) async fn sweep(&self, all: bool) -> Result<(), StoreError> {
        let holder = random_id::<uuid::Uuid>().as_simple().to_string();
        let mut lease = self.leases.acquire(LEASE, &holder, LEASE_PERIOD).await?;
        let outcome = self.homes(all, &mut lease, &holder).await;
        self.leases.release(&lease, &holder).await?;
        outcome
    }

    /// Makes rollups of the sparse readings of all homes whose end is near; of homes, too, whose hubs are gone.
    ///
    /// # Errors
    /// As [`Self::sweep`].
    pub(crate) async fn roll_up(&self) -> Result<(), StoreError> {
        let holder = random_id::<uuid::Uuid>().as_simple().to_string();
        let mut lease = self.leases.acquire(LEASE, &holder, LEASE_PERIOD).await?;
        let outcome = self.ending(&mut lease, &holder).await;
        self.leases.release(&lease, &holder).await?;
        outcome
    }

    async fn ending(&self, lease: &mut Lease, holder: &str) -> Result<(), StoreError> {
        let mut compactor = self.compactor(lease);
        let mut after = None;
        loop {
            let homes = self.store.series.manifest_homes(after, HOMES).await?;
            for home in &homes {
                *lease = self.leases.renew(lease, holder, LEASE_PERIOD).await?;
                let outcome = self.home_ending(*home, &mut compactor).await;
                passed(*home, outcome)?;
            }
            match homes.last() {
                Some(last) if homes.len() == HOMES => after = Some(*last),
                _ => return Ok(()),
            }
        }
    }

    async fn home_ending(
        &self,
        home: HomeId,
        compactor: &mut Compactor,
    ) -> Result<(), HistoryError> {
        let now = self.clock.now();
        for class in late_classes() {
            let (from, to) = ending(class, now.day());
            let days = (Period::of(from).first(), Period::of(to).first());
            for row in self.store.series.manifest(home, days).await? {
                let period = Period::of(row.day);
                let outcome = self.period_ending((home, period), now, compactor).await;
                one_period(home, period, outcome)?;
            }
        }
        Ok(())
    }

    async fn period_ending(
        &self,
        (home, period): (HomeId, Period),
        now: Timestamp,
        compactor: &mut Compactor,
    ) -> Result<(), HistoryError> {
        let made = compactor.roll_up(home, period, now.day()).await?;
        if made > 0 {
            tracing::debug!(home = %home, first_day = %period.first(), made, "rollups of what ends soon");
        }
        Ok(())
    }

    fn compactor(&self, lease: &Lease) -> Compactor {
        Compactor {
            store: self.store.clone(),
            clock: Arc::clone(&self.clock),
            fence: lease.fence,
            made: 0,
        }
    }

    async fn homes(&self, all: bool, lease: &mut Lease, holder: &str) -> Result<(), StoreError> {
        let mut compactor = self.compactor(lease);
        let mut after = None;
        loop {
            let homes = self.store.series.homes(after, HOMES).await?;
            for home in &homes {
                *lease = self.leases.renew(lease, holder, LEASE_PERIOD).await?;
                passed(*home, self.home(*home, all, &mut compactor).await)?;
            }
            match homes.last() {
                Some(last) if homes.len() == HOMES => after = Some(*last),
                _ => return Ok(()),
            }
        }
    }

    async fn home(
        &self,
        home: HomeId,
        all: bool,
        compactor: &mut Compactor,
    ) -> Result<(), HistoryError> {
        let days = self.store.series.segment_days(home, MOST_DAYS).await?;
        let mut periods: BTreeMap<Period, Vec<Day>> = BTreeMap::new();
        for day in days {
            periods.entry(Period::of(day)).or_default().push(day);
        }
        let now = self.clock.now();
        for (period, days) in periods {
            let outcome = self
                .period((home, period), days, (all, now), compactor)
                .await;
            one_period(home, period, outcome)?;
        }
        Ok(())
    }

    async fn period(
        &self,
        (home, period): (HomeId, Period),
        days: Vec<Day>,
        (all, now): (bool, Timestamp),
        compactor: &mut Compactor,
    ) -> Result<(), HistoryError> {
        let manifest = self.store.manifest(home, period).await?.manifest;
        if manifest.has_leftovers() {
            let replaced_for = now.since(manifest.replaced_at);
            if replaced_for >= REPLACED_STAYS {
                compactor.sweep(home, period).await?;
            } else if !all {
                return Ok(());
            }
        }
        let mut due = Vec::new();
        for day in days {
            if all || self.is_due(home, day, now).await? {
                due.push(day);
            }
        }
        while compactor.compact(home, period, &due).await? > 0 {}
        Ok(())
    }

    async fn is_due(&self, home: HomeId, day: Day, now: Timestamp) -> Result<bool, StoreError> {
        if now >= day.end().plus(SETTLE) {
            return Ok(true);
        }
        let segments = self.store.series.segments(home, day, None, MANY).await?;
        Ok(segments.len() >= MANY)
    }
}

/// Whether the sweep goes on after a home.
fn passed(home: HomeId, outcome: Result<(), HistoryError>) -> Result<(), StoreError> {
    match outcome {
        Ok(()) => Ok(()),
        Err(HistoryError::Store(error)) => Err(error),
        // It is being erased, or its keys are away: it is looked at again.
        Err(HistoryError::Seal(SealError::Fenced | SealError::Unavailable)) => Ok(()),
        Err(error) => {
            tracing::error!(home = %home, error = %error, "a home was not compacted");
            Ok(())
        }
    }
}

/// Whether a home's other periods are compacted after one.
fn one_period(
    home: HomeId,
    period: Period,
    outcome: Result<(), HistoryError>,
) -> Result<(), HistoryError> {
    match outcome {
        Err(error @ (HistoryError::Corrupt(_) | HistoryError::Overtaken)) => {
            tracing::error!(home = %home, first_day = %period.first(), error = %error, "a period was not compacted");
            Ok(())
        }
        other => other,
    }
}
