//! The client channel that retries: only calls that are safe to repeat, only what the server said is worth it, a bounded
//! number of times, with jitter, inside the call's own deadline.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::request::Parts;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use tokio::time::Instant;
use tonic::body::Body;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use tower::{Service, ServiceExt};

use crate::deadline;
use crate::request_id::random;
use crate::rules::RuleTable;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// When and how often to try again.
#[derive(Clone)]
pub struct RetryPolicy {
    /// Whether a method may be repeated: a call, not a stream, and safe to do twice.
    repeatable: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    /// Tries in all.
    pub tries: u32,
    /// The first wait at most; it doubles.
    pub first_wait: Duration,
    /// The longest wait; a server that asks for more gets its answer handed on.
    pub longest_wait: Duration,
    /// The longest request that is kept for another try, in bytes.
    pub longest_request: usize,
}

impl RetryPolicy {
    /// Four tries, 50 ms at first, 5 s at most, for the methods that `repeatable` names by their path.
    pub fn new(repeatable: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self {
            repeatable: Arc::new(repeatable),
            tries: 4,
            first_wait: Duration::from_millis(50),
            longest_wait: Duration::from_secs(5),
            longest_request: 4 * 1024 * 1024,
        }
    }

    /// For every call of a table: each row says what makes it safe to repeat, and only streams are left alone.
    #[must_use]
    pub fn of_rules(rules: RuleTable) -> Self {
        Self::new(move |path| rules.get(path).is_some_and(|rule| !rule.is_stream()))
    }

    /// How long to wait before the next try, or `None` to give up. `asked` is what the server asked for.
    fn wait(
        &self,
        tries_done: u32,
        asked: Option<Duration>,
        left: Option<Duration>,
    ) -> Option<Duration> {
        if tries_done >= self.tries || asked.is_some_and(|asked| asked > self.longest_wait) {
            return None;
        }
        let doubled = self
            .first_wait
            .saturating_mul(2_u32.saturating_pow(tries_done - 1));
        let most = doubled.min(self.longest_wait);
        // Full jitter, on top of what the server asked for.
        let share = u64::from(u32::from_be_bytes(random()));
        let micros = u64::try_from(most.as_micros())
            .unwrap_or(u64::MAX >> 32)
            .min(u64::MAX >> 32);
        let wait = asked.unwrap_or_default() + Duration::from_micros((micros * share) >> 32);
        left.is_none_or(|left| wait < left).then_some(wait)
    }
}

impl fmt::Debug for RetryPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryPolicy")
            .field("tries", &self.tries)
            .finish_non_exhaustive()
    }
}

/// A channel, or routes in the same process, behind a [`RetryPolicy`]. Generated clients take it as they take a channel.
#[derive(Clone, Debug)]
pub struct RetryingChannel<C = tonic::transport::Channel> {
    inner: C,
    policy: RetryPolicy,
}

impl<C> RetryingChannel<C> {
    /// The channel with that policy.
    #[must_use]
    pub const fn new(inner: C, policy: RetryPolicy) -> Self {
        Self { inner, policy }
    }
}

impl<C> Service<Request<Body>> for RetryingChannel<C>
where
    C: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    C::Error: Into<BoxError>,
    C::Future: Send,
{
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (inner, policy) = (self.inner.clone(), self.policy.clone());
        Box::pin(async move {
            if (policy.repeatable)(request.uri().path()) {
                repeat(inner, policy, request).await
            } else {
                inner.oneshot(request).await.map_err(Into::into)
            }
        })
    }
}

async fn repeat<C>(
    inner: C,
    policy: RetryPolicy,
    request: Request<Body>,
) -> Result<Response<Body>, BoxError>
where
    C: Service<Request<Body>, Response = Response<Body>> + Clone + Send,
    C::Error: Into<BoxError>,
    C::Future: Send,
{
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, policy.longest_request)
        .collect()
        .await?
        .to_bytes();
    let began = Instant::now();
    let budget = deadline::of(&parts.headers, None);
    let mut tries = 0;
    loop {
        let left = budget.map(|budget| budget.saturating_sub(began.elapsed()));
        let outcome = inner
            .clone()
            .oneshot(again(&parts, &body, left))
            .await
            .map_err(Into::into);
        tries += 1;
        let asked = match &outcome {
            Ok(response) => match worth_repeating(response) {
                Some(asked) => asked,
                None => return outcome,
            },
            // The connection failed. The method is safe to repeat, whether or not the server did it.
            Err(_) => None,
        };
        let left = budget.map(|budget| budget.saturating_sub(began.elapsed()));
        match policy.wait(tries, asked, left) {
            Some(wait) => tokio::time::sleep(wait).await,
            None => return outcome,
        }
    }
}

/// The request once more, with what is left of its time.
fn again(parts: &Parts, body: &Bytes, left: Option<Duration>) -> Request<Body> {
    let mut parts = parts.clone();
    if let Some(left) = left {
        let millis = left.as_millis().clamp(1, 99_999_999);
        if let Ok(value) = format!("{millis}m").parse() {
            parts.headers.insert(deadline::HEADER, value);
        }
    }
    Request::from_parts(parts, Body::new(Full::new(body.clone())))
}

/// `Some` when the answer says that another try may help, with the wait it asks for.
fn worth_repeating(response: &Response<Body>) -> Option<Option<Duration>> {
    let status = Status::from_header_map(response.headers())?;
    let asked = status
        .get_details_retry_info()
        .and_then(|info| info.retry_delay);
    match status.code() {
        Code::Unavailable => Some(asked),
        Code::ResourceExhausted => asked.map(Some),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    //! Scripts of answers, and how often they are asked.

    use std::convert::Infallible;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use hearth_kernel::{Failure, Reason};

    use super::*;
    use crate::status::{failure_of, status_of};

    const PATH: &str = "/test.v1.EchoService/Get";

    /// Answers each try by its number with a reason, or well; answers the last reason and the number of tries.
    async fn outcome(
        path: &str,
        answer: fn(usize) -> Option<Failure>,
        timeout: Option<&str>,
    ) -> (Option<Reason>, usize) {
        let tries = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&tries);
        let inner = tower::service_fn(move |_: Request<Body>| {
            let answer = answer(seen.fetch_add(1, Ordering::SeqCst));
            let status = answer.map_or_else(|| Status::ok(""), |failure| status_of(&failure));
            std::future::ready(Ok::<_, Infallible>(status.into_http::<Body>()))
        });
        let channel = RetryingChannel::new(inner, RetryPolicy::new(|path| path == PATH));
        let mut request = Request::builder().uri(path);
        if let Some(timeout) = timeout {
            request = request.header(deadline::HEADER, timeout);
        }
        let request = request.body(Body::empty()).expect("a request");
        let response = channel.oneshot(request).await.expect("an answer");
        let status = Status::from_header_map(response.headers()).expect("a status");
        let reason = (status.code() != Code::Ok).then(|| failure_of(&status).reason);
        (reason, tries.load(Ordering::SeqCst))
    }

    const UNAVAILABLE: Failure = Failure::new(Reason::TEMPORARILY_UNAVAILABLE);

    #[tokio::test(start_paused = true)]
    async fn it_tries_until_it_works_and_no_longer() {
        let third = |number| (number < 2).then_some(UNAVAILABLE);
        assert_eq!(outcome(PATH, third, None).await, (None, 3));
        let never = |_| Some(UNAVAILABLE);
        assert_eq!(
            outcome(PATH, never, None).await,
            (Some(Reason::TEMPORARILY_UNAVAILABLE), 4)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_another_try_cannot_change_is_handed_on() {
        let refused = |_| Some(Failure::new(Reason::NOT_FOUND));
        assert_eq!(
            outcome(PATH, refused, None).await,
            (Some(Reason::NOT_FOUND), 1)
        );
        let other = |_| Some(UNAVAILABLE);
        assert_eq!(
            outcome("/test.v1.EchoService/Watch", other, None).await.1,
            1
        );
        let long = |_| Some(UNAVAILABLE.retry_after(Duration::from_secs(60)));
        assert_eq!(
            outcome(PATH, long, None).await.1,
            1,
            "the caller decides about a minute"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_bounds_all_tries() {
        let slow = |_| Some(UNAVAILABLE.retry_after(Duration::from_secs(2)));
        assert_eq!(outcome(PATH, slow, Some("5S")).await.1, 3);
    }
}
