//! Erasing a home from every store of ingest. An order may be carried out again after a crash: what is gone counts 0.

use std::sync::Arc;

use async_trait::async_trait;
use hearth_engine::erasure::{Order, residual};
use hearth_engine::{Actor, Call, ConsumeError, Engine, Erased, Eraser, ExecuteError, random_id};
use hearth_ingest_domain::devices::{Command, Facts};
use hearth_kernel::{DeviceId, HomeId, Service};
use hearth_ports::{Position, Read};
use tokio::sync::watch;

use crate::aggregates::{Claim, Devices, Hub};
use crate::core::Core;
use crate::views::{claims_of, ended, ended_claims_of};
use crate::{resume, writer};

/// The stores of personal data of ingest: each has an eraser.
pub(crate) const STORES: &[&str] = &[
    "ingest.claims",
    "ingest.devices",
    "ingest.frames",
    "ingest.series",
];

/// All erasers.
pub(crate) fn all(core: &Arc<Core>, relayed: &watch::Receiver<Position>) -> Vec<Arc<dyn Eraser>> {
    let relayed = || relayed.clone();
    vec![
        Arc::new(Claims {
            core: Arc::clone(core),
        }),
        Arc::new(HomeDevices {
            engine: core.engine.clone(),
            relayed: relayed(),
        }),
        Arc::new(Frames {
            engine: core.engine.clone(),
        }),
        Arc::new(Readings {
            core: Arc::clone(core),
        }),
    ]
}

/// Claims, the hubs they are of, how far their streams are stored, and when hubs were seen.
struct Claims {
    core: Arc<Core>,
}

#[async_trait]
impl Eraser for Claims {
    fn store(&self) -> &'static str {
        "ingest.claims"
    }

    async fn erase(&self, order: &Order) -> Result<Erased, ConsumeError> {
        let (core, mut removed) = (&self.core, 0);
        let engine = &core.engine;
        for home in order.homes() {
            for made in claims_of(&core.claims, home).await? {
                removed += engine.purge::<Claim>(made.claim).await?;
                removed += resume::erase(&**engine.documents(), made.claim).await?;
                let hub = engine.load::<Hub>(made.hub, Read::Leader).await?;
                let of_claim = hub.state.current.is_some_and(|it| it.claim == made.claim);
                if let Some(position) = hub.position.filter(|_| of_claim) {
                    engine.remove::<Hub>(made.hub, position).await?;
                    removed += 1;
                }
            }
            for claim in ended_claims_of(&core.claims, home).await? {
                removed += engine.purge::<Claim>(claim).await?;
                removed += resume::erase(&**engine.documents(), claim).await?;
            }
            removed += core.seen.erase(home).await?;
            let head = engine.log().head(hearth_ports::Stream::new(
                hearth_ports::Family::Evt,
                Service::Ingest,
            ));
            let through = head.await?.unwrap_or(Position::START);
            core.claims.erase(home.as_bytes(), through).await?;
            core.claims.erase(&ended(home), through).await?;
        }
        Ok(Erased::items(removed).leaving(residual::TOMBSTONES, None))
    }
}

/// The registry of devices.
struct HomeDevices {
    engine: Engine,
    relayed: watch::Receiver<Position>,
}

impl HomeDevices {
    /// Ends the home's devices, waits until that is published, and purges.
    async fn home(&self, home: HomeId) -> Result<u64, ConsumeError> {
        let loaded = self.engine.load::<Devices>(home, Read::Leader).await?;
        if !loaded.exists() {
            return Ok(self.engine.purge::<Devices>(home).await?);
        }
        let facts = Facts {
            now: self.engine.now(),
            device: DeviceId::default(),
        };
        let call = Call {
            commit: random_id(),
            fingerprint: [0; 16],
            actor: Actor::Service(Service::Ingest),
            causation: None,
            trace: String::new(),
        };
        let ended = self
            .engine
            .execute::<Devices, _>(&call, home, &Command::End, async move |_| Ok(facts))
            .await?;
        if let Some(position) = ended.position {
            let mut relayed = self.relayed.clone();
            let passed = relayed.wait_for(|at| *at >= position);
            let passed = tokio::time::timeout(std::time::Duration::from_secs(10), passed).await;
            if !matches!(passed, Ok(Ok(_))) {
                let late = hearth_ports::StoreError::retryable("the relay is behind");
                return Err(ExecuteError::from(late).into());
            }
        }
        Ok(self.engine.purge::<Devices>(home).await?)
    }
}

#[async_trait]
impl Eraser for HomeDevices {
    fn store(&self) -> &'static str {
        "ingest.devices"
    }

    async fn erase(&self, order: &Order) -> Result<Erased, ConsumeError> {
        let mut removed = 0;
        for home in order.homes() {
            removed += self.home(home).await?;
        }
        Ok(Erased::items(removed).leaving(residual::TOMBSTONES, None))
    }
}

/// Frames end with their period; nobody holds a key to them any more.
struct Frames {
    engine: Engine,
}

#[async_trait]
impl Eraser for Frames {
    fn store(&self) -> &'static str {
        "ingest.frames"
    }

    async fn erase(&self, _: &Order) -> Result<Erased, ConsumeError> {
        // Counted from now: the last frame of an owner cannot be younger than her fence.
        let end = self.engine.now().plus(writer::FRAMES_STAY);
        Ok(Erased::items(0).leaving(residual::FRAMES, Some(end)))
    }
}

/// Segments, chunks, rollups, manifests and newest values.
struct Readings {
    core: Arc<Core>,
}

#[async_trait]
impl Eraser for Readings {
    fn store(&self) -> &'static str {
        "ingest.series"
    }

    async fn erase(&self, order: &Order) -> Result<Erased, ConsumeError> {
        let mut removed = 0;
        for home in order.homes() {
            self.core.pending.forget(home);
            let days = self.core.series.segment_days(home, 10_000).await?;
            removed += u64::try_from(days.len()).unwrap_or(u64::MAX);
            self.core.series.delete_home(home).await?;
        }
        Ok(Erased::items(removed))
    }
}
