//! Observations as they come: first the newest ones, then whatever the writer stores.

use std::sync::{Arc, PoisonError, RwLock};

use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use hearth_api::ingest::v1::WatchReadingsResponse;
use hearth_kernel::{Capability, DeviceId, Failure, HomeId, Reason, Role};
use hearth_rpc::reads::EVERY;
use hearth_rpc::{Answer, guarded};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tonic::Status;

use crate::app::App;
use crate::app::readings::Sight;
use crate::grpc::Around;
use crate::live::Stored;
use crate::observed::Reading;

/// Observations of one message.
const TOGETHER: usize = 1_000;
/// Readings that one missed group is counted as when its size is not known any more.
const UNKNOWN_GROUP: u64 = 1;

/// What a watcher wants and may see. What she may see is renewed each second.
#[derive(Clone)]
pub(super) struct Filter {
    devices: Vec<DeviceId>,
    capabilities: Vec<Capability>,
    sight: Arc<RwLock<Sight>>,
}

impl Filter {
    pub(super) fn new(devices: Vec<DeviceId>, capabilities: Vec<Capability>, sight: Sight) -> Self {
        Self {
            devices,
            capabilities,
            sight: Arc::new(RwLock::new(sight)),
        }
    }

    fn sight(&self) -> Sight {
        self.sight
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn renew(&self, sight: Sight) {
        *self.sight.write().unwrap_or_else(PoisonError::into_inner) = sight;
    }

    fn passes(&self, reading: &Reading) -> bool {
        (self.devices.is_empty() || self.devices.contains(&reading.device))
            && (self.capabilities.is_empty() || self.capabilities.contains(&reading.capability))
            && self
                .sight
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .sees(reading.device)
    }
}

/// Watches a home until its watcher leaves or may not see it any more.
pub(super) async fn watch(
    app: App,
    around: Around,
    home: HomeId,
    filter: Filter,
) -> Result<BoxStream<'static, Result<WatchReadingsResponse, Status>>, Failure> {
    // Listening begins before the newest are read: what is stored between the two comes twice, not never.
    let live = app.core.live.watch(home).ok_or(Reason::TOO_MANY_REQUESTS)?;
    let newest = app.latest(&filter.sight(), home, &[]).await?;
    let observations = observations(newest, live, filter.clone());
    let around = Arc::new(around);
    let check = move || {
        let (app, around, filter) = (app.clone(), Arc::clone(&around), filter.clone());
        async move { renew(&app, &around, home, &filter).await }
    };
    Ok(guarded(observations, check, EVERY).boxed())
}

async fn renew(app: &App, around: &Around, home: HomeId, filter: &Filter) -> Answer {
    let member = match around.member(app, home, Role::Guest).await {
        Ok(member) => member,
        Err(failure) => return Answer::from(Err(failure)),
    };
    match app.sight(member, home).await {
        Ok(sight) => {
            filter.renew(sight);
            Answer::Yes
        }
        Err(failure) => Answer::from(Err(failure)),
    }
}

fn observations(
    newest: Vec<Reading>,
    mut live: Receiver<Stored>,
    filter: Filter,
) -> impl Stream<Item = Result<WatchReadingsResponse, Status>> + Send + 'static {
    async_stream::stream! {
        let newest: Vec<Reading> = newest.into_iter().filter(|it| filter.passes(it)).collect();
        for part in newest.chunks(TOGETHER) {
            yield Ok(response(part, 0, true));
        }
        let mut dropped = 0;
        loop {
            match live.recv().await {
                Ok(stored) => {
                    let wanted = stored.iter().filter(|it| filter.passes(it));
                    let wanted: Vec<Reading> = wanted.cloned().collect();
                    for part in wanted.chunks(TOGETHER) {
                        yield Ok(response(part, std::mem::take(&mut dropped), false));
                    }
                }
                // How many readings each group had is gone with it; at least one each.
                Err(RecvError::Lagged(groups)) => dropped += groups.saturating_mul(UNKNOWN_GROUP),
                Err(RecvError::Closed) => return,
            }
        }
    }
}

fn response(readings: &[Reading], dropped: u64, initial: bool) -> WatchReadingsResponse {
    WatchReadingsResponse {
        observations: readings.iter().map(Reading::to_wire).collect(),
        dropped,
        initial,
    }
}
