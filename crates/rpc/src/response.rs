//! The answer on its way out: statuses that are not ours are replaced, the end of it is observed, and a stream ends when
//! its deadline or the process does.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::future::BoxFuture;
use hearth_kernel::{Failure, Reason};
use http::{HeaderMap, HeaderName, Response};
use http_body::{Body, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tonic::{Code, Status};

use crate::observer::Observer;
use crate::request_id;
use crate::status::{fail, is_ours, malformed};

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
/// What a client needs to learn which compression it may use (gRPC, "Compression").
pub(crate) const ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");

/// How the codec begins when the request's bytes are at fault; a test pins each to the release of tonic in use.
const REQUEST_AT_FAULT: &[&str] = &[
    "failed to decode Protobuf message",
    "Missing request message",
    "Unexpected EOF decoding stream",
    "protocol error",
    "Error decompressing",
    "compressed",
];

/// The failure that a status of the transport or the codec stands for. Its text does not leave.
fn foreign(status: &Status) -> Failure {
    let says = |text: &&str| status.message().contains(*text);
    match status.code() {
        Code::Internal if REQUEST_AT_FAULT.iter().any(says) => malformed(),
        Code::OutOfRange => Failure::new(Reason::MESSAGE_TOO_LARGE),
        Code::ResourceExhausted if says(&"size limit") => Failure::new(Reason::MESSAGE_TOO_LARGE),
        _ => crate::status::failure_of(status),
    }
}

/// Replaces the status in these headers or trailers when it is a failure that is not ours. Answers the code that stands
/// there then, if one does.
fn settle(headers: &mut HeaderMap) -> Option<Code> {
    let status = Status::from_header_map(headers)?;
    if status.code() == Code::Ok || is_ours(&status) {
        return Some(status.code());
    }
    let own = fail(&foreign(&status), None);
    for name in ["grpc-status", "grpc-message", "grpc-status-details-bin"] {
        headers.remove(name);
    }
    // A code, a sentence and base64 of our own fit into headers.
    let _ = own.add_header(headers);
    Some(own.code())
}

/// A trailers-only answer.
pub(crate) fn refusal(status: Status) -> Response<tonic::body::Body> {
    status.into_http()
}

/// Tells the observer how a call ended, once, however it ends.
pub(crate) struct Ending {
    observer: Arc<dyn Observer>,
    method: &'static str,
    began: Instant,
    code: Code,
}

impl Ending {
    pub(crate) fn begin(observer: Arc<dyn Observer>, method: &'static str) -> Self {
        observer.started(method);
        // Until it is known to have ended otherwise, the client left.
        Self {
            observer,
            method,
            began: Instant::now(),
            code: Code::Cancelled,
        }
    }

    pub(crate) fn panicked(&self) -> Failure {
        self.observer.panicked(self.method);
        tracing::error!(method = self.method, "handler panicked");
        Failure::new(Reason::INTERNAL)
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.observer
            .finished(self.method, self.code, self.began.elapsed());
    }
}

/// What a response body holds until it ends.
pub(crate) struct Held {
    /// Told how it ended.
    pub(crate) ending: Ending,
    /// The place among the calls or streams.
    pub(crate) place: Option<OwnedSemaphorePermit>,
    /// The request's id.
    pub(crate) id: Arc<str>,
    /// Resolves when a stream must end, with the reason.
    pub(crate) ends: Option<BoxFuture<'static, Failure>>,
}

/// Puts the answer of the routes into its final form.
pub(crate) fn finish(
    mut response: Response<tonic::body::Body>,
    mut held: Held,
) -> Response<tonic::body::Body> {
    if response.headers().contains_key(GRPC_STATUS) {
        let accepts = response.headers().get(ACCEPT_ENCODING).cloned();
        if let Some(code) = request_id::scope(Some(Arc::clone(&held.id)), || {
            settle(response.headers_mut())
        }) {
            held.ending.code = code;
        }
        if let Some(accepts) = accepts {
            response.headers_mut().insert(ACCEPT_ENCODING, accepts);
        }
    }
    if let Ok(id) = held.id.parse() {
        response.headers_mut().insert(request_id::HEADER, id);
    }
    response.map(|inner| {
        tonic::body::Body::new(Watched {
            inner,
            held,
            done: false,
        })
    })
}

struct Watched {
    inner: tonic::body::Body,
    held: Held,
    done: bool,
}

impl Watched {
    /// Ends the stream with a failure.
    fn end(&mut self, failure: &Failure) -> Frame<Bytes> {
        let id = Some(Arc::clone(&self.held.id));
        let status = request_id::scope(id, || fail(failure, None));
        self.done = true;
        self.held.ending.code = status.code();
        // The rest of the answer is dropped now, not when the client has read the trailers.
        self.inner = tonic::body::Body::empty();
        self.held.place = None;
        self.held.ends = None;
        let mut trailers = HeaderMap::new();
        let _ = status.add_header(&mut trailers);
        Frame::trailers(trailers)
    }
}

impl Body for Watched {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.done {
            return Poll::Ready(None);
        }
        if let Some(ends) = &mut self.held.ends
            && let Poll::Ready(failure) = ends.as_mut().poll(cx)
        {
            return Poll::Ready(Some(Ok(self.end(&failure))));
        }
        let id = Some(Arc::clone(&self.held.id));
        let polled = catch_unwind(AssertUnwindSafe(|| {
            request_id::scope(id, || Pin::new(&mut self.inner).poll_frame(cx))
        }));
        let Ok(polled) = polled else {
            let failure = self.held.ending.panicked();
            return Poll::Ready(Some(Ok(self.end(&failure))));
        };
        let Some(frame) = ready!(polled) else {
            self.done = true;
            return Poll::Ready(None);
        };
        let mut frame = match frame {
            Ok(frame) => frame,
            Err(status) => {
                let failure = foreign(&status);
                return Poll::Ready(Some(Ok(self.end(&failure))));
            }
        };
        if let Some(trailers) = frame.trailers_mut() {
            let id = Some(Arc::clone(&self.held.id));
            if let Some(code) = request_id::scope(id, || settle(trailers)) {
                self.held.ending.code = code;
            }
            self.done = true;
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.done || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched")
            .field("done", &self.done)
            .finish_non_exhaustive()
    }
}
