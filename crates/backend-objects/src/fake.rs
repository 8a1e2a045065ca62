//! A store in memory that speaks enough of S3, and can be told to misbehave. It checks no signatures.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, Response};
use object_store::client::{HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService};

/// What it does to the next request that is not about the bucket itself.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mishap {
    /// Does nothing and answers this status and code.
    Refuse(u16, &'static str),
    /// Does it, and answers this status all the same.
    DoneBut(u16),
    /// Does it, and its answer is lost.
    DoneAndLost,
}

/// The store, as far as its tests can see it.
#[derive(Debug, Default)]
pub(crate) struct Fake {
    /// Writes in spite of `If-None-Match`.
    pub(crate) overwrites: bool,
    /// Gives versions, and says nothing about it.
    pub(crate) versions: bool,
    /// What it answers about its versioning, instead of that there is none.
    pub(crate) versioning: Option<(u16, &'static str)>,
    /// Leaves what it is told to delete.
    pub(crate) keeps: bool,
    pub(crate) mishaps: Mutex<VecDeque<Mishap>>,
    pub(crate) objects: Mutex<BTreeMap<String, Bytes>>,
    /// The methods that arrived.
    pub(crate) asked: Mutex<Vec<Method>>,
}

#[derive(Debug, thiserror::Error)]
#[error("the answer is lost")]
struct Lost;

fn answer(status: u16, body: impl Into<Bytes>) -> HttpResponse {
    let body: Bytes = body.into();
    let mut response = Response::new(body.clone().into());
    *response.status_mut() = http::StatusCode::from_u16(status).expect("a status");
    let headers = response.headers_mut();
    headers.insert("content-length", body.len().into());
    let fixed = |text| http::HeaderValue::from_static(text);
    headers.insert("last-modified", fixed("Tue, 24 Nov 2026 00:00:00 GMT"));
    headers.insert("etag", fixed("\"1\""));
    response
}

fn refusal(status: u16, code: &str) -> HttpResponse {
    answer(status, format!("<Error><Code>{code}</Code></Error>"))
}

impl Fake {
    fn bucket(&self, query: &str) -> HttpResponse {
        match query.trim_end_matches('=') {
            "versioning" => match self.versioning {
                Some((status, body)) => answer(status, body),
                None => answer(200, "<VersioningConfiguration/>"),
            },
            "object-lock" => refusal(404, "ObjectLockConfigurationNotFoundError"),
            "replication" => refusal(501, "NotImplemented"),
            other => panic!("not asked by the port: {other}"),
        }
    }

    /// Counts a request; answers what goes wrong with it.
    fn arrived(&self, method: &Method) -> Option<Mishap> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.push(method.clone());
        let mut mishaps = self.mishaps.lock().unwrap_or_else(PoisonError::into_inner);
        mishaps.pop_front()
    }

    fn object(&self, request: &HttpRequest, body: Bytes) -> HttpResponse {
        let mut objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        let path = request.uri().path().to_owned();
        match *request.method() {
            Method::PUT => {
                let only_new = request.headers().contains_key("if-none-match");
                if only_new && !self.overwrites && objects.contains_key(&path) {
                    return refusal(412, "PreconditionFailed");
                }
                objects.insert(path, body);
                let mut done = answer(200, "");
                if self.versions {
                    let version = http::HeaderValue::from_static("v1");
                    done.headers_mut().insert("x-amz-version-id", version);
                }
                done
            }
            Method::DELETE => {
                if !self.keeps {
                    objects.remove(&path);
                }
                answer(204, "")
            }
            Method::HEAD | Method::GET => match objects.get(&path) {
                Some(there) => answer(200, there.clone()),
                None => refusal(404, "NoSuchKey"),
            },
            ref other => panic!("not asked by the port: {other}"),
        }
    }
}

/// The same store for the port and for its test.
#[derive(Clone, Debug)]
pub(crate) struct Shared(pub(crate) std::sync::Arc<Fake>);

#[async_trait]
impl HttpService for Shared {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        if let Some(query) = request.uri().query() {
            return Ok(self.0.bucket(query));
        }
        let fake = &self.0;
        let mishap = fake.arrived(request.method());
        if let Some(Mishap::Refuse(status, code)) = mishap {
            return Ok(refusal(status, code));
        }
        let body = http_body_util::BodyExt::collect(request.body().clone()).await?;
        let done = fake.object(&request, body.to_bytes());
        match mishap {
            Some(Mishap::DoneBut(status)) => Ok(refusal(status, "InternalError")),
            // As a connection looks that ends before its answer.
            Some(Mishap::DoneAndLost) => Err(HttpError::new(HttpErrorKind::Request, Lost)),
            _ => Ok(done),
        }
    }
}
