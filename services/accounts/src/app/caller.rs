//! Who asks, under which request id, and what the engine is told of it.

use hearth_engine::{Actor, Call, random_id};
use hearth_kernel::{CommitId, Service};

use super::App;

/// A request that changes something.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// The method's name.
    pub(crate) rpc: &'static str,
    /// From the client.
    pub(crate) request_id: String,
    /// W3C `traceparent`, or empty.
    pub(crate) trace: String,
}

impl App {
    /// The call of a request: `who` separates one client's request ids from another's, `content` is what makes it this
    /// request and no other, without secrets.
    pub(crate) fn call(
        &self,
        request: &Request,
        who: &[u8],
        actor: Actor,
        content: &[&[u8]],
    ) -> Call {
        let hasher = self.engine.hasher();
        Call {
            commit: hasher.commit_id(who, request.rpc, &request.request_id),
            fingerprint: hasher.fingerprint(content),
            actor,
            causation: None,
            trace: request.trace.clone(),
        }
    }

    /// The call for another aggregate that belongs to the same request.
    pub(crate) fn also(&self, call: &Call, step: &'static str, actor: Actor) -> Call {
        let commit = self.engine.hasher().id(step, &[call.commit.as_bytes()]);
        Call {
            commit: commit.into(),
            actor,
            causation: Some(call.commit),
            ..call.clone()
        }
    }

    /// The call of something that the service does by itself, once for these ids.
    pub(crate) fn own_call(&self, step: &'static str, ids: &[&[u8]]) -> Call {
        let hasher = self.engine.hasher();
        own(hasher.id(step, ids).into(), hasher.fingerprint(&[]))
    }

    /// The call of something that the service does by itself, and that names its own effect.
    pub(crate) fn fresh_call(&self) -> Call {
        own(random_id(), [0; 16])
    }
}

fn own(commit: CommitId, fingerprint: [u8; 16]) -> Call {
    Call {
        commit,
        fingerprint,
        actor: Actor::Service(Service::Accounts),
        causation: None,
        trace: String::new(),
    }
}
