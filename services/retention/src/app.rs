//! The use cases: begin with what accounts publishes, take each step, gather the answers, search, sign.
//!
//! Three consumers and two loops share one [`App`]; each looks at the state that the log has and does what comes next,
//! so any of them may stop anywhere.

mod answers;
mod closings;
mod driver;
mod knowledge;
mod receipts;
mod sweep;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use hearth_engine::{Actor, Call, Engine, ExecuteError, Loaded, Timers};
use hearth_host::Erasing;
use hearth_kernel::{ErasureId, Owner, ReceiptId, Service};
use hearth_ports::{Position, Read};
use hearth_retention_domain::erasure::Command;
use tokio::sync::Notify;

use crate::aggregates::Erasure;

pub(crate) use answers::Answers;
pub(crate) use closings::Closings;
pub(crate) use driver::Driver;
pub(crate) use knowledge::Knowledge;
pub(crate) use receipts::{Receipts, residuals, steps};
pub(crate) use sweep::Sweep;

/// What an installation chooses.
pub(crate) struct Choices {
    /// The services whose answers an erasure waits for.
    pub(crate) services: BTreeSet<Service>,
    /// The least time between two searches.
    pub(crate) search_pause: Duration,
}

/// What the use cases run on. Cheap to clone.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) engine: Engine,
    pub(crate) erasing: Erasing,
    pub(crate) timers: Timers,
    pub(crate) receipts: Arc<Receipts>,
    pub(crate) choices: Arc<Choices>,
    /// Told when a search is wanted.
    pub(crate) wanted: Arc<Notify>,
}

impl App {
    /// The erasure that a receipt is of: a keyed hash, so that neither leads to the other without the key.
    pub(crate) fn erasure_of(&self, receipt: ReceiptId) -> ErasureId {
        let hasher = self.engine.hasher();
        hasher.id("erasure", &[receipt.as_bytes()]).into()
    }

    pub(crate) async fn load(
        &self,
        erasure: ErasureId,
    ) -> Result<Arc<Loaded<Erasure>>, ExecuteError> {
        self.engine.load::<Erasure>(erasure, Read::Leader).await
    }

    /// Carries out one step. Answers where its commit, or the last one, lies.
    async fn take(
        &self,
        erasure: ErasureId,
        command: &Command,
    ) -> Result<Option<Position>, ExecuteError> {
        let call = Call {
            commit: self.engine.hasher().commit_id(
                erasure.as_bytes(),
                &step(command),
                &erasure.to_string(),
            ),
            // Each step is taken once; what a second try found is not what counts.
            fingerprint: [0; 16],
            actor: Actor::Service(Service::Retention),
            causation: None,
            trace: String::new(),
        };
        let now = self.engine.now();
        let outcome = self
            .engine
            .execute::<Erasure, _>(&call, erasure, command, async move |_| Ok(now))
            .await?;
        Ok(outcome.position)
    }
}

/// The name of a step: one per commit that an erasure can have.
fn step(command: &Command) -> String {
    match command {
        Command::Announce(_) => "announce".to_owned(),
        Command::Cancel => "cancel".to_owned(),
        Command::Request { .. } => "request".to_owned(),
        Command::Control { .. } => "control".to_owned(),
        Command::Fence { owner, .. } => format!("fence {owner}"),
        Command::EndLeases => "end leases".to_owned(),
        Command::Answer { service, .. } => format!("answer {service}"),
        Command::Verify(_) => "verify".to_owned(),
        Command::SignKeys(_) => "sign keys".to_owned(),
        Command::SignBytes(..) => "sign bytes".to_owned(),
    }
}

/// How an owner is called in a log line: what it is, never who.
const fn sort(owner: Owner) -> &'static str {
    match owner {
        Owner::Account(_) => "account",
        Owner::Home(_) => "home",
        Owner::Service(_) => "service",
    }
}
