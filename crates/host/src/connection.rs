//! One connection: HTTP/2 or HTTP/1.1, bounded, and what it may reach.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use hearth_rpc::Peer;
use hearth_rpc::stack::Front;
use http::header::{CONTENT_TYPE, FORWARDED};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::service::Routes;
use tower::{Service, ServiceExt};

use crate::probe::PATHS;
use crate::tls::may_be_plain;

/// The longest that the head of a request may take, and that a connection may last without a request.
const HEAD: Duration = Duration::from_secs(10);
const WITHOUT_REQUEST: Duration = Duration::from_secs(60);
/// A peer that is silent that long is asked, and given up after as long again.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Unread bytes of one stream, and of all streams of a connection, that a client may send ahead.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
/// The largest head: names, paths, one token of at most 2 KiB, trace context.
const HEAD_BYTES: u32 = 16 * 1024;
/// The same for HTTP/1.1, in headers.
const HEAD_COUNT: usize = 64;

/// What is behind the listener. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Door {
    front: Front<Routes>,
    probes: axum::Router,
    loopback: bool,
}

impl Door {
    pub(crate) const fn new(front: Front<Routes>, probes: axum::Router, loopback: bool) -> Self {
        Self {
            front,
            probes,
            loopback,
        }
    }

    pub(crate) fn for_peer(&self, peer: IpAddr) -> PeerService {
        PeerService {
            door: self.clone(),
            peer,
            used: Arc::default(),
        }
    }
}

/// What one peer reaches.
#[derive(Clone)]
pub(crate) struct PeerService {
    door: Door,
    peer: IpAddr,
    /// Whether it sent a request.
    used: Arc<AtomicBool>,
}

impl PeerService {
    /// Probes are for this machine: not for what a proxy on it hands on from outside.
    fn may_probe(&self, request: &Request<Incoming>) -> bool {
        let headers = request.headers();
        self.door.loopback
            && may_be_plain(self.peer)
            && PATHS.contains(&request.uri().path())
            && !headers.contains_key(CONTENT_TYPE)
            && !headers.contains_key(FORWARDED)
            && !headers.contains_key("x-forwarded-for")
    }
}

impl Service<Request<Incoming>> for PeerService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Incoming>) -> Self::Future {
        self.used.store(true, Ordering::Relaxed);
        if self.may_probe(&request) {
            let probes = self.door.probes.clone();
            return Box::pin(async move { Ok(probes.oneshot(request).await?.map(Body::new)) });
        }
        request.extensions_mut().insert(Peer(self.peer));
        self.door.front.call(request)
    }
}

/// One connection, accepted.
pub(crate) struct Connection {
    pub(crate) service: PeerService,
    pub(crate) streams: u32,
    pub(crate) stop: CancellationToken,
}

impl Connection {
    /// Serves until the peer leaves; told to stop, until the calls in flight have ended.
    pub(crate) async fn serve(self, io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .max_headers(HEAD_COUNT);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_concurrent_streams(self.streams)
            .max_header_list_size(HEAD_BYTES);
        let used = Arc::clone(&self.service.used);
        let service = TowerToHyperService::new(self.service);
        let mut served = std::pin::pin!(builder.serve_connection(TokioIo::new(io), service));
        let mut ending = false;
        let mut unused = std::pin::pin!(tokio::time::sleep(WITHOUT_REQUEST));
        let mut waits = true;
        loop {
            tokio::select! {
                outcome = &mut served => {
                    if let Err(error) = outcome {
                        tracing::debug!(error, "connection ended");
                    }
                    return;
                }
                () = self.stop.cancelled(), if !ending => {
                    ending = true;
                    served.as_mut().graceful_shutdown();
                }
                () = &mut unused, if waits => {
                    waits = false;
                    if !ending && !used.load(Ordering::Relaxed) {
                        ending = true;
                        served.as_mut().graceful_shutdown();
                    }
                }
            }
        }
    }
}
