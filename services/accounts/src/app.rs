//! The use cases: what is asked of which aggregate, in which order, and what is answered.
//!
//! **Invariant:** no wire type and no storage. A use case that touches two aggregates is safe to repeat at every step,
//! and `process` finishes what a crash cut off.

pub(crate) mod account;
pub(crate) mod attempts;
pub(crate) mod caller;
pub(crate) mod closing;
pub(crate) mod departure;
pub(crate) mod homes;
pub(crate) mod mail;
pub(crate) mod members;
pub(crate) mod mirror;
pub(crate) mod passwords;
pub(crate) mod refresh;
pub(crate) mod registering;
pub(crate) mod secrets;
pub(crate) mod sessions;
pub(crate) mod sign_in;
pub(crate) mod text;

use std::sync::Arc;

use hearth_engine::{Aggregate, Engine, ExecuteError, Loaded};
use hearth_kernel::{Failure, Part, Reason, Sealed, Secret, Timestamp};
use hearth_ports::{Binding, Opened, Position, Read, Removed, SealError, Tasks};
use hearth_rpc::TokenSigner;
use uuid::Uuid;

use attempts::Attempts;
use passwords::Passwords;
use secrets::Secrets;
use sign_in::Decoys;

/// How often a removal that meets concurrent commits is tried again.
const REMOVALS: u32 = 8;

/// Verification codes that are tried at the same time in this process, at most.
pub(crate) const GUESSES: usize = 64;

/// What the use cases run on. Cheap to clone.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) engine: Engine,
    pub(crate) passwords: Passwords,
    pub(crate) secrets: Secrets,
    pub(crate) signer: Arc<TokenSigner>,
    pub(crate) attempts: Arc<Attempts>,
    pub(crate) decoys: Arc<Decoys>,
    pub(crate) tasks: Tasks,
    /// Whose turn it is to try a verification code: a registration has one of these.
    pub(crate) guesses: Arc<[tokio::sync::Mutex<()>; GUESSES]>,
}

impl App {
    pub(crate) fn now(&self) -> Timestamp {
        self.engine.now()
    }

    /// The aggregate as every acked commit left it.
    pub(crate) async fn load<A: Aggregate>(
        &self,
        id: impl Into<Uuid>,
    ) -> Result<Arc<Loaded<A>>, Failure> {
        Ok(self.engine.load::<A>(id, Read::Leader).await?)
    }

    /// Opens a part; `None` once its owner is erased or its period is over.
    pub(crate) async fn open(&self, part: &Part) -> Result<Option<Secret>, Failure> {
        match part {
            Part::Clear(secret) => Ok(Some(secret.clone())),
            Part::Sealed(sealed) => self.open_sealed(sealed).await,
        }
    }

    async fn open_sealed(&self, sealed: &Sealed) -> Result<Option<Secret>, Failure> {
        let binding = Binding::Event(sealed.origin.clone());
        let (owner, purpose) = (sealed.owner, sealed.purpose);
        let opened = self
            .engine
            .sealing()
            .open(owner, purpose, &binding, &sealed.bytes);
        opened.await.map(Opened::clear).map_err(seal_failure)
    }

    /// Opens a part as text; empty once it is erased.
    pub(crate) async fn open_text(&self, part: &Part) -> Result<String, Failure> {
        let opened = self.open(part).await?;
        let text = opened.as_ref().and_then(Secret::expose_text);
        Ok(text.unwrap_or_default().to_owned())
    }

    /// Removes a record, whatever is being done to it at the same time.
    pub(crate) async fn remove<A: Aggregate>(&self, id: impl Into<Uuid>) -> Result<bool, Failure> {
        let id = id.into();
        for _ in 0..REMOVALS {
            let Some(position) = self.load::<A>(id).await?.position else {
                return Ok(false);
            };
            if self.engine.remove::<A>(id, position).await? == Removed::Done {
                return Ok(true);
            }
        }
        Err(Failure::new(Reason::TOO_MANY_CONFLICTS))
    }
}

/// How a failure to seal or open looks to a client.
pub(crate) fn seal_failure(error: SealError) -> Failure {
    ExecuteError::from(error).into()
}

/// What an answer carries so that its client can wait for the change elsewhere: the position of a commit.
pub(crate) type Token = Option<Position>;
