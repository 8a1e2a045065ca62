//! The stack: everything that happens to a request before its handler, in one readable order.
//!
//! It is one service and not ten layers, because what each step needs (the row, the id, the principal) is found once, and
//! because the order is the point. It wraps the routes, so it holds for a call inside the process as for one over a socket.

use std::convert::Infallible;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use hearth_kernel::{Failure, Reason};
use hearth_ports::Clock;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body::Body as HttpBody;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tower::{Layer, Service, ServiceExt};
use tracing::Instrument;

use crate::admission::Admission;
use crate::authenticate::{Authority, permit};
use crate::framing::{Scanned, Scanner};
use crate::limits::Limits;
use crate::observer::{Observer, Unobserved};
use crate::principal::Peer;
use crate::response::{ACCEPT_ENCODING, Ending, Held, finish, refusal};
use crate::rules::{Row, RuleTable};
use crate::status::fail;
use crate::trace::{self, TraceContext};
use crate::{deadline, request_id};

/// How the messages of a request are encoded (gRPC, "Requests").
const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
/// As they are.
const IDENTITY: &str = "identity";
/// How long a client waits before it tries another process, when this one drains.
const AFTER_SHUTDOWN: Duration = Duration::from_secs(1);

/// What a process puts before its handlers. Cheap to clone; all clones share limits and drain.
#[derive(Clone)]
pub struct Stack {
    shared: Arc<Shared>,
}

struct Shared {
    rules: RuleTable,
    authority: Authority,
    clock: Arc<dyn Clock>,
    admission: Admission,
    observer: Arc<dyn Observer>,
    draining: CancellationToken,
}

impl Stack {
    /// A stack with these limits.
    #[must_use]
    pub fn new(
        rules: RuleTable,
        authority: Authority,
        clock: Arc<dyn Clock>,
        limits: Limits,
        observer: Arc<dyn Observer>,
    ) -> Self {
        let shared = Shared {
            rules,
            authority,
            clock,
            admission: Admission::new(limits),
            observer,
            draining: CancellationToken::new(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// A stack with the usual limits, which nobody observes.
    #[must_use]
    pub fn unobserved(rules: RuleTable, authority: Authority, clock: Arc<dyn Clock>) -> Self {
        Self::new(
            rules,
            authority,
            clock,
            Limits::default(),
            Arc::new(Unobserved),
        )
    }

    /// From now on calls are refused with `SHUTTING_DOWN` and open streams end with it; calls in flight end as they would.
    pub fn drain(&self) {
        self.shared.draining.cancel();
    }

    /// The table it enforces.
    #[must_use]
    pub fn rules(&self) -> &RuleTable {
        &self.shared.rules
    }
}

impl fmt::Debug for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stack")
            .field("rules", &self.shared.rules)
            .finish_non_exhaustive()
    }
}

/// Puts the stack before the routes of a process: for a server, and for clients in the same process.
#[must_use]
pub fn serve_layers(routes: tonic::service::Routes, stack: Stack) -> Front<tonic::service::Routes> {
    StackLayer(stack).layer(routes.prepare())
}

/// The stack as a tower layer.
#[derive(Clone, Debug)]
pub struct StackLayer(pub Stack);

impl<S> Layer<S> for StackLayer {
    type Service = Front<S>;

    fn layer(&self, inner: S) -> Front<S> {
        Front {
            stack: self.0.clone(),
            inner,
        }
    }
}

/// A service behind the stack.
#[derive(Clone, Debug)]
pub struct Front<S> {
    stack: Stack,
    inner: S,
}

impl<S, B> Service<Request<B>> for Front<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // The inner service is asked for each call; this door refuses instead of making callers wait.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (stack, inner) = (self.stack.clone(), self.inner.clone());
        Box::pin(async move { Ok(stack.serve(inner, request.map(Body::new)).await) })
    }
}

impl Stack {
    /// Trace and id first, so that every answer has them; the row next, since nothing is served without one.
    async fn serve<S>(self, inner: S, request: Request<Body>) -> Response<Body>
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Send + 'static,
        S::Future: Send,
    {
        if !is_grpc(&request) {
            return unsupported();
        }
        let id = request_id::of(request.headers());
        let trace = TraceContext::of(request.headers());
        let Some(row) = self.shared.rules.row(request.uri().path()).copied() else {
            let status = fail(&Failure::new(Reason::UNKNOWN_RPC), None);
            return refusal(status);
        };
        // The method is a constant of the source; ids are random. Nothing else of a request stands in its span.
        let span = tracing::info_span!(
            "rpc", method = row.rule.path, request_id = %id, trace_id = %trace.trace_id()
        );
        let future = self.serve_row(inner, request, row, Arc::clone(&id), trace);
        let future = trace::within(trace, request_id::within(id, future));
        future.instrument(span).await
    }

    async fn serve_row<S>(
        self,
        inner: S,
        mut request: Request<Body>,
        row: Row,
        id: Arc<str>,
        trace: TraceContext,
    ) -> Response<Body>
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Send + 'static,
        S::Future: Send,
    {
        let rule = row.rule;
        let ending = Ending::begin(Arc::clone(&self.shared.observer), rule.path);
        let deadline = deadline::of(request.headers(), rule.deadline);
        // The transport would enforce it too, and answer CANCELLED.
        request.headers_mut().remove(deadline::HEADER);
        request.extensions_mut().insert(trace);

        let mut held = Held {
            ending,
            place: None,
            id,
            ends: None,
        };
        if is_compressed(&request) {
            return finish(unsupported_encoding(), held);
        }
        match self.shared.enter(&rule) {
            Ok(place) => held.place = Some(place),
            Err(failure) => return finish(refusal(fail(&failure, None)), held),
        }
        // The deadline stands outside the panic guard and both outside authentication: whatever happens in there ends.
        let guarded =
            AssertUnwindSafe(self.shared.admit_and_call(inner, request, row)).catch_unwind();
        let outcome = match deadline {
            Some(period) => tokio::time::timeout(period, guarded).await,
            None => Ok(guarded.await),
        };
        let response = match outcome {
            Ok(Ok(Ok(response))) => response,
            Ok(Ok(Err(failure))) => refusal(fail(&failure, None)),
            Ok(Err(_panic)) => refusal(fail(&held.ending.panicked(), None)),
            Err(_elapsed) => refusal(fail(&Failure::new(Reason::DEADLINE_EXCEEDED), None)),
        };
        if rule.is_stream() {
            held.ends = Some(self.shared.end_of_stream(deadline));
        }
        finish(response, held)
    }
}

impl Shared {
    /// A place among the calls or streams, unless the process drains.
    fn enter(
        &self,
        rule: &crate::rules::MethodRule,
    ) -> Result<tokio::sync::OwnedSemaphorePermit, Failure> {
        if self.draining.is_cancelled() {
            return Err(shutting_down());
        }
        self.admission.enter(rule)
    }

    /// Who is it, may she, how often; then the handler.
    async fn admit_and_call<S>(
        &self,
        inner: S,
        mut request: Request<Body>,
        row: Row,
    ) -> Result<Response<Body>, Failure>
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Send + 'static,
        S::Future: Send,
    {
        let now = self.clock.now();
        let peer = request.extensions().get::<Peer>().copied();
        let principal = self.authority.principal(request.headers(), now).await?;
        permit(&principal, row.rule.authorisation, now)?;
        self.admission.charge(&row, &principal, peer)?;
        request.extensions_mut().insert(principal);
        let scanner = Scanner::new(row.rule.max_request_bytes, row.rule.is_stream());
        let request = request.map(|body| Scanned::wrap(body, scanner));
        match inner.oneshot(request).await {
            Ok(response) => Ok(response),
            Err(never) => match never {},
        }
    }

    /// Resolves when the client's deadline is over or the process drains.
    fn end_of_stream(&self, deadline: Option<Duration>) -> BoxFuture<'static, Failure> {
        let draining = self.draining.clone();
        Box::pin(async move {
            let expired = async {
                match deadline {
                    Some(period) => tokio::time::sleep(period).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = draining.cancelled() => shutting_down(),
                () = expired => Failure::new(Reason::DEADLINE_EXCEEDED),
            }
        })
    }
}

const fn shutting_down() -> Failure {
    Failure::new(Reason::SHUTTING_DOWN).retry_after(AFTER_SHUTDOWN)
}

/// `application/grpc`, alone or with a subtype or parameters (gRPC over HTTP/2, "Content-Type").
fn is_grpc<B>(request: &Request<B>) -> bool {
    let kind = request
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let rest = kind.and_then(|kind| kind.strip_prefix("application/grpc"));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['+', ';']))
}

/// Whether the messages come in an encoding. Requests are small, readings have a codec of their own, and what is
/// unpacked would have to be bounded once more: so none is taken.
fn is_compressed<B>(request: &Request<B>) -> bool {
    let encoding = request.headers().get(ENCODING);
    encoding.is_some_and(|it| it != IDENTITY)
}

/// Says what is accepted instead (gRPC, "Compression").
fn unsupported_encoding() -> Response<Body> {
    let status = fail(&Failure::new(Reason::UNSUPPORTED_ENCODING), None);
    let mut response = refusal(status);
    let accepted = HeaderValue::from_static(IDENTITY);
    response.headers_mut().insert(ACCEPT_ENCODING, accepted);
    response
}

fn unsupported() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    response
}

#[cfg(test)]
mod tests;
