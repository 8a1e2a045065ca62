//! What stands between the wire and a handler: tracing, request ids, deadlines, authentication, rules,
//! limits, and the one mapping of failures to statuses; and the client channel that retries.
//!
//! **Invariant:** no service, no storage, no generated message. Who is signed in and what is revoked is
//! asked through [`TokenKeys`] and [`Sessions`]; what a home's member may do is decided in the services.
//! A method without a row in the [`RuleTable`] is refused, and no status is built outside [`mod@status`].

pub mod admission;
pub mod authenticate;
pub mod channel;
pub mod deadline;
pub mod descriptor;
pub mod framing;
pub mod limits;
pub mod observer;
pub mod principal;
pub mod reads;
pub mod request_id;
pub mod response;
pub mod rules;
pub mod stack;
pub mod status;
pub mod token;
pub mod trace;

pub use authenticate::{Authority, Sessions, TokenKeys, Verdict};
pub use channel::{RetryPolicy, RetryingChannel};
pub use limits::{Limits, Rate};
pub use observer::{Observer, Unobserved};
pub use principal::{Peer, Principal};
pub use reads::{Answer, guarded};
pub use rules::{Authorisation, Idempotency, MethodRule, RuleTable};
pub use stack::{Stack, StackLayer, serve_layers};
pub use status::{fail, failure_of, inbound, status_of};
pub use token::{Claims, TokenError, TokenSigner};
pub use trace::TraceContext;
