//! What people and hubs ask for, over the engine: who may, which aggregate, and in which order.

pub(crate) mod devices;
pub(crate) mod hubs;
pub(crate) mod readings;

use std::sync::Arc;
use std::time::Duration;

use hearth_engine::{Actor, Call, CommitToken, Consumer, ExecuteError, Timers, View};
use hearth_kernel::{Failure, HomeId, Owner, Part, Purpose, Reason, Sealed, Service};
use hearth_ports::sealing::ToOpen;
use hearth_ports::{Binding, Opened};

use crate::core::Core;
use crate::views::ClaimsOfHome;

/// How long a reader waits for what it has written itself.
const READ_YOUR_WRITES: Duration = Duration::from_secs(2);

/// The use cases of ingest. Cheap to clone.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) core: Arc<Core>,
    pub(crate) timers: Timers,
    /// The consumer of the view of claims: what a token of ours waits for.
    pub(crate) viewing: Arc<Consumer<Arc<View<ClaimsOfHome>>>>,
}

/// A request that changes something.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) rpc: &'static str,
    pub(crate) request_id: String,
    /// W3C `traceparent`, or empty.
    pub(crate) trace: String,
}

impl App {
    /// The call of a request: `who` separates one client's request ids from another's, `content` is what makes it this
    /// request and no other, without secrets.
    fn call(&self, request: &Request, who: &[u8], actor: Actor, content: &[&[u8]]) -> Call {
        let hasher = self.core.engine.hasher();
        Call {
            commit: hasher.commit_id(who, request.rpc, &request.request_id),
            fingerprint: hasher.fingerprint(content),
            actor,
            causation: None,
            trace: request.trace.clone(),
        }
    }

    /// The call for another aggregate that belongs to the same request.
    fn also(&self, call: &Call, step: &'static str) -> Call {
        let commit = self
            .core
            .engine
            .hasher()
            .id(step, &[call.commit.as_bytes()]);
        Call {
            commit: commit.into(),
            causation: Some(call.commit),
            ..call.clone()
        }
    }

    /// Waits until everything that these tokens stand for is known here, at most 2 s.
    async fn after(&self, tokens: &[CommitToken]) -> Result<(), Failure> {
        for token in tokens
            .iter()
            .filter(|token| token.service == Service::Ingest)
        {
            let reached = tokio::time::timeout(READ_YOUR_WRITES, self.viewing.reached(*token));
            reached
                .await
                .map_err(|_| Failure::new(Reason::STALE_KNOWLEDGE))?;
        }
        self.core.knowledge.after(tokens).await
    }

    /// The texts of a home's parts, in order. What is erased is empty.
    async fn open(&self, home: HomeId, parts: &[&Part]) -> Result<Vec<String>, Failure> {
        let sealed: Vec<&Sealed> = parts.iter().filter_map(|part| part.sealed()).collect();
        let things: Vec<ToOpen<'_>> = sealed
            .iter()
            .map(|it| ToOpen {
                binding: Binding::Event(it.origin.clone()),
                sealed: &it.bytes,
            })
            .collect();
        let sealing = self.core.engine.sealing();
        let opened = sealing
            .open_all(Owner::Home(home), Purpose::Home, &things)
            .await
            .map_err(|error| Failure::from(ExecuteError::from(error)))?;
        let text = |opened: Opened| {
            let clear = opened.clear();
            clear
                .and_then(|it| it.expose_text().map(str::to_owned))
                .unwrap_or_default()
        };
        let mut texts = opened.into_iter().map(text);
        Ok(parts
            .iter()
            .map(|part| match part.sealed() {
                Some(_) => texts.next().unwrap_or_default(),
                None => String::new(),
            })
            .collect())
    }
}
