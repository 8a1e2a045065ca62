//! Takes the steps of erasures: after each commit of one, and when a timer says that it is time.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hearth_engine::{Aggregate, Commit, Consume, ConsumeError, Fire, Timer};
use hearth_kernel::{ErasureId, Service, Timestamp};
use hearth_ports::{Family, Message, Position, SealedOff, Stream};
use hearth_retention_domain::erasure::{Command, Next, State, next};

use super::{App, sort};
use crate::aggregates::Erasure;

/// How often the vault is asked whether it has rotated: it looks every hour.
const ASK_VAULT: Duration = Duration::from_secs(600);
/// Steps that one visit takes: more than an erasure with every home has.
const STEPS: usize = 128;

/// The process manager, and what timers fire.
pub(crate) struct Driver(pub(crate) App);

#[async_trait]
impl Consume for Driver {
    fn name(&self) -> String {
        "retention.driver".to_owned()
    }

    fn sources(&self) -> Vec<Stream> {
        vec![Stream::new(Family::Evt, Service::Retention)]
    }

    async fn handle(&self, message: &Message) -> Result<(), ConsumeError> {
        if message.subject.kind() != Erasure::KIND {
            return Ok(());
        }
        let commit = Commit::read(&message.bytes)?;
        if let (false, Some(reference)) = (commit.is_tombstone(), commit.reference()) {
            self.0.advance(reference.id.into()).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Fire for Driver {
    async fn fire(&self, timer: &Timer) -> Result<(), ConsumeError> {
        let waits = self.0.advance(timer.id.into()).await?;
        if waits == Some(timer.due) {
            // The clock went back: this row is the timer that is still needed.
            let early = std::io::Error::other("a timer fired before its time");
            return Err(ConsumeError::Retry(std::sync::Arc::new(early)));
        }
        Ok(())
    }
}

impl App {
    /// Takes every step that can be taken now. Answers the time that it waits for, if a timer was set.
    pub(super) async fn advance(
        &self,
        erasure: ErasureId,
    ) -> Result<Option<Timestamp>, ConsumeError> {
        for _ in 0..STEPS {
            let loaded = self.load(erasure).await?;
            let Some(position) = loaded.position.filter(|_| loaded.exists()) else {
                return Ok(None);
            };
            let state = &loaded.state;
            match next(state, self.engine.now()) {
                Next::Nothing | Next::Await(_) => return Ok(None),
                Next::Search(kind) => {
                    self.want_search(erasure, kind, position).await?;
                    return Ok(None);
                }
                Next::Fence(owner) => {
                    let since = self.erasing.vault.shred(owner).await?;
                    tracing::info!(%erasure, owner = sort(owner), "ring fenced");
                    let fence = Command::Fence { owner, since };
                    self.take(erasure, &fence).await?;
                }
                Next::EndLeases => {
                    self.take(erasure, &Command::EndLeases).await?;
                }
                Next::Wait(until) => return self.wake(erasure, position, until).await,
                Next::SignKeys => {
                    let Some(evidence) = self.sealed_off(state).await? else {
                        let again = self.engine.now().plus(ASK_VAULT);
                        return self.wake(erasure, position, again).await;
                    };
                    let receipt = self.receipts.keys(state, evidence, self.engine.now());
                    self.take(erasure, &Command::SignKeys(receipt)).await?;
                    tracing::info!(%erasure, "key receipt signed");
                }
                Next::Forget => {
                    self.engine.purge::<Erasure>(erasure).await?;
                    return Ok(None);
                }
            }
        }
        Ok(None)
    }

    async fn wake(
        &self,
        erasure: ErasureId,
        position: Position,
        due: Timestamp,
    ) -> Result<Option<Timestamp>, ConsumeError> {
        let timer = Timer {
            due,
            id: erasure.into(),
            task: Bytes::new(),
        };
        self.timers.set(position, &timer).await?;
        Ok(Some(due))
    }

    /// The vault's evidence for all owners together: the last key destroyed, and the weakest way it was. `None`: not
    /// yet for all.
    pub(super) async fn sealed_off(
        &self,
        state: &State,
    ) -> Result<Option<SealedOff>, ConsumeError> {
        let mut all: Option<SealedOff> = None;
        for owner in state.owners() {
            let Some(one) = self.erasing.vault.sealed_off(owner).await? else {
                return Ok(None);
            };
            all = Some(all.map_or(one, |all| SealedOff {
                destroyed_at: all.destroyed_at.max(one.destroyed_at),
                overwritten_in_place: all.overwritten_in_place && one.overwritten_in_place,
            }));
        }
        Ok(all)
    }
}
