//! What a member may read of a home's devices.

use std::collections::HashMap;
use std::sync::Arc;

use hearth_kernel::{AreaId, DeviceId, Failure, HomeId, Reason};
use hearth_ports::Read;

use super::App;
use crate::aggregates::Devices;
use crate::history::{HistoryError, Query, Reader, Store};
use crate::knowledge::Member;
use crate::latest::{self, LatestError};
use crate::observed::Reading;

/// Which devices a member sees.
#[derive(Clone, Debug)]
pub(crate) struct Sight {
    member: Member,
    /// Areas of the home's devices; asked only for a member who is limited.
    areas: HashMap<DeviceId, Option<AreaId>>,
}

impl Sight {
    /// Whether she sees it. A device that was removed lies in no area any more.
    pub(crate) fn sees(&self, device: DeviceId) -> bool {
        self.member.areas.is_empty()
            || self
                .areas
                .get(&device)
                .is_some_and(|area| self.member.sees(*area))
    }
}

impl App {
    /// Which devices a member sees.
    pub(crate) async fn sight(&self, member: Member, home: HomeId) -> Result<Sight, Failure> {
        let mut areas = HashMap::new();
        if !member.areas.is_empty() {
            let loaded = self.core.engine.load::<Devices>(home, Read::Follower).await;
            let loaded = loaded.map_err(Failure::from)?;
            let devices = loaded.state.devices.iter();
            areas.extend(devices.map(|(id, device)| (*id, device.traits.area)));
        }
        Ok(Sight { member, areas })
    }

    /// A reader of one series, behind everything that is acked now.
    pub(crate) async fn reader(
        &self,
        sight: &Sight,
        query: Query,
        after: &[hearth_engine::CommitToken],
    ) -> Result<Reader, Failure> {
        self.after(after).await?;
        if !sight.sees(query.device) {
            return Err(Failure::new(Reason::NOT_FOUND).about("device", query.device));
        }
        let written = self.core.written().await;
        written.map_err(|error| hearth_engine::store_failure(&error))?;
        let store = Store {
            series: Arc::clone(&self.core.series),
            sealing: Arc::clone(self.core.engine.sealing()),
        };
        let clock = Arc::clone(self.core.engine.clock());
        Reader::new(store, clock, query)
            .await
            .map_err(|error| history_failure(&error))
    }

    /// The newest values that a member sees, by device and capability.
    pub(crate) async fn latest(
        &self,
        sight: &Sight,
        home: HomeId,
        after: &[hearth_engine::CommitToken],
    ) -> Result<Vec<Reading>, Failure> {
        self.after(after).await?;
        let written = self.core.written().await;
        written.map_err(|error| hearth_engine::store_failure(&error))?;
        let core = &self.core;
        let (sealing, now) = (core.engine.sealing(), core.engine.now());
        let read = latest::read(&*core.series, &**sealing, &core.pending, home, now).await;
        let mut readings = read.map_err(|error| latest_failure(&error))?;
        readings.retain(|it| sight.sees(it.device));
        Ok(readings)
    }
}

/// How a failure to read history looks to a client.
pub(crate) fn history_failure(error: &HistoryError) -> Failure {
    match error {
        HistoryError::Store(error) => hearth_engine::store_failure(error),
        HistoryError::Seal(error) => hearth_engine::ExecuteError::from(error.clone()).into(),
        HistoryError::Corrupt(_) => Failure::new(Reason::DATA_CORRUPT),
        HistoryError::Overtaken => Failure::new(Reason::TEMPORARILY_UNAVAILABLE),
    }
}

fn latest_failure(error: &LatestError) -> Failure {
    match error {
        LatestError::Store(error) => hearth_engine::store_failure(error),
        LatestError::Seal(error) => hearth_engine::ExecuteError::from(error.clone()).into(),
    }
}
