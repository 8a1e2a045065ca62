//! The channel of a person: it shows her access token, and renews it when the server no longer takes it.
//!
//! Only calls and streams of answers go through it: a request is kept whole until it is answered, because it may
//! have to be sent again.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use hearth_api::accounts::v1::RefreshSessionRequest;
use hearth_api::accounts::v1::accounts_service_client::AccountsServiceClient;
use hearth_api::types::v1::CommitToken;
use hearth_kernel::Reason;
use hearth_rpc::{RetryingChannel, deadline, failure_of, status_of};
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use tokio::sync::Mutex;
use tonic::Status;
use tonic::body::Body;
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceExt};

use super::request_id;
use super::session::{Session, SessionStore};

pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// A channel to a server, or routes in the same process.
pub(super) type Inner = BoxCloneSyncService<Request<Body>, Response<Body>, BoxError>;

/// The largest request, in bytes: larger than any that a server takes.
const LARGEST_REQUEST: usize = 4 * 1024 * 1024;

/// A channel without a sign-in. It gives every call its time, and repeats it while that lasts.
#[derive(Clone)]
pub struct Anonymous {
    inner: RetryingChannel<Inner>,
    /// The methods that are calls and not streams.
    calls: Arc<BTreeSet<String>>,
    timeout: Duration,
}

impl Anonymous {
    pub(super) const fn new(
        inner: RetryingChannel<Inner>,
        calls: Arc<BTreeSet<String>>,
        timeout: Duration,
    ) -> Self {
        Self {
            inner,
            calls,
            timeout,
        }
    }
}

impl fmt::Debug for Anonymous {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Anonymous")
    }
}

impl Service<Request<Body>> for Anonymous {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        // It is always ready, as `poll_ready` of both says.
        if !self.calls.contains(request.uri().path()) {
            return self.inner.call(request);
        }
        let timeout = deadline::of(request.headers(), Some(self.timeout)).unwrap_or(self.timeout);
        let millis = timeout.as_millis().clamp(1, 99_999_999);
        if let Ok(value) = HeaderValue::try_from(format!("{millis}m")) {
            request.headers_mut().insert(deadline::HEADER, value);
        }
        let answer = self.inner.call(request);
        Box::pin(async move {
            // The server keeps the deadline; this is for one that says nothing at all.
            match tokio::time::timeout(timeout, answer).await {
                Ok(answer) => answer,
                Err(_) => Ok(status_of(&Reason::DEADLINE_EXCEEDED.into()).into_http()),
            }
        })
    }
}

/// A channel with a sign-in, if somebody is signed in. Cheap to clone; all clones share the session.
#[derive(Clone)]
pub struct Authorised {
    inner: Anonymous,
    shared: Arc<Shared>,
}

struct Shared {
    /// Held while tokens are changed, so that one refresh token is shown once.
    session: Mutex<Option<Session>>,
    store: Arc<dyn SessionStore>,
}

impl fmt::Debug for Authorised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authorised")
    }
}

impl Authorised {
    pub(super) fn new(
        inner: Anonymous,
        session: Option<Session>,
        store: Arc<dyn SessionStore>,
    ) -> Self {
        let session = Mutex::new(session);
        Self {
            inner,
            shared: Arc::new(Shared { session, store }),
        }
    }

    pub(super) async fn session(&self) -> Option<Session> {
        self.shared.session.lock().await.clone()
    }

    pub(super) async fn begin(&self, session: Session) -> io::Result<()> {
        let mut held = self.shared.session.lock().await;
        self.shared.store.save(&session)?;
        *held = Some(session);
        Ok(())
    }

    pub(super) async fn forget(&self) -> io::Result<()> {
        let mut held = self.shared.session.lock().await;
        *held = None;
        self.shared.store.clear()
    }

    pub(super) async fn saw(&self, token: CommitToken) -> io::Result<()> {
        let mut held = self.shared.session.lock().await;
        let Some(session) = held.as_mut() else {
            return Ok(());
        };
        // Another process may have renewed the tokens meanwhile: the ones held here must not replace them.
        if let Some(stored) = self.shared.store.load()? {
            session.take_tokens_of(stored);
        }
        session.saw(token);
        self.shared.store.save(session)
    }

    /// A session whose access token is not the one that was refused; `None` when nobody is signed in.
    async fn renewed(&self, refused: &Session) -> Result<Option<Session>, Status> {
        let mut held = self.shared.session.lock().await;
        if let Some(other) = newer(held.as_ref(), refused) {
            return Ok(Some(other));
        }
        // Another process may have changed the token meanwhile: the one held here would end the session.
        let stored = self.shared.store.load().map_err(not_kept)?;
        if let Some(other) = newer(stored.as_ref(), refused) {
            *held = Some(other.clone());
            return Ok(Some(other));
        }
        let Some(session) = held.as_mut() else {
            return Ok(None);
        };
        let request = RefreshSessionRequest {
            request_id: request_id().map_err(|error| Status::internal(error.to_string()))?,
            refresh_token: text(&session.refresh_token),
        };
        let mut accounts = AccountsServiceClient::new(self.inner.clone());
        let answer = accounts.refresh_session(request).await?.into_inner();
        let tokens = answer
            .tokens
            .ok_or_else(|| Status::internal("the answer holds no tokens"))?;
        session.renew(tokens);
        self.shared.store.save(session).map_err(not_kept)?;
        Ok(Some(session.clone()))
    }
}

/// The session, if it is the refused one's with another token.
fn newer(candidate: Option<&Session>, refused: &Session) -> Option<Session> {
    candidate
        .filter(|it| it.access_token != refused.access_token)
        .cloned()
}

fn not_kept(error: io::Error) -> Status {
    let mut status = Status::internal("the session cannot be kept");
    status.set_source(Arc::new(error));
    status
}

fn text(secret: &hearth_kernel::Secret) -> String {
    secret.expose_text().unwrap_or_default().to_owned()
}

impl Service<Request<Body>> for Authorised {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let Some(session) = this.session().await else {
                return this.inner.oneshot(request).await;
            };
            let (parts, body) = request.into_parts();
            let body = Limited::new(body, LARGEST_REQUEST)
                .collect()
                .await?
                .to_bytes();
            let inner = this.inner.clone();
            let answer = inner.oneshot(signed(&parts, &body, &session)).await?;
            if !token_refused(&answer) {
                return Ok(answer);
            }
            match this.renewed(&session).await {
                Ok(Some(session)) => this.inner.oneshot(signed(&parts, &body, &session)).await,
                Ok(None) => Ok(answer),
                Err(status) => Ok(status.into_http()),
            }
        })
    }
}

/// The request with the session's token.
fn signed(parts: &Parts, body: &Bytes, session: &Session) -> Request<Body> {
    let mut parts = parts.clone();
    let token = format!("Bearer {}", text(&session.access_token));
    if let Ok(mut value) = HeaderValue::try_from(token) {
        value.set_sensitive(true);
        parts.headers.insert(AUTHORIZATION, value);
    }
    Request::from_parts(parts, Body::new(Full::new(body.clone())))
}

/// Whether the server did not take the token, which another one may change.
fn token_refused(answer: &Response<Body>) -> bool {
    Status::from_header_map(answer.headers())
        .filter(|status| status.code() == tonic::Code::Unauthenticated)
        .is_some_and(|status| failure_of(&status).reason == Reason::NOT_SIGNED_IN)
}
