//! The connection: every answer that is not a success becomes a typed [`Refusal`], and requests that `object_store`
//! has no call for are signed here.

use std::error::Error;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use http::Method;
use object_store::aws::{AwsAuthorizer, AwsCredential};
use object_store::client::{
    ClientOptions, HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest,
    HttpRequestBody, HttpResponse, HttpResponseBody, HttpService,
};

use crate::bucket::{Bucket, OpenError};
use crate::keeping::Xml;

/// The most that is read of an answer which is not an object or a listing.
const MAX_ANSWER_BYTES: usize = 64 << 10;
/// Idle connections that are kept.
const IDLE: usize = 16;
/// How long they are kept. Most stores and proxies give up after a minute.
const IDLE_FOR: std::time::Duration = std::time::Duration::from_secs(20);

/// A clear answer that is not a success.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store answered {status} {code}")]
pub(crate) struct Refusal {
    /// The status of HTTP.
    pub(crate) status: u16,
    /// The code of S3, empty where the answer has none. Letters only, so that it may be logged.
    pub(crate) code: String,
}

impl Refusal {
    pub(crate) fn new(status: u16, body: &[u8]) -> Self {
        let code = Xml::parse(body).and_then(|xml| xml.first("Code").map(str::to_owned));
        let code = code
            .unwrap_or_default()
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .take(64)
            .collect();
        Self { status, code }
    }
}

/// The inner connection, with refusals as errors. `object_store` retries none of them: that is decided here.
#[derive(Debug)]
struct Wire {
    inner: HttpClient,
}

#[async_trait]
impl HttpService for Wire {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let answer = self.inner.execute(request).await?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status().as_u16();
        // The status is the answer; a body that breaks off takes only its details away.
        let body = bounded(answer.into_body()).await.unwrap_or_default();
        Err(HttpError::new(
            HttpErrorKind::Unknown,
            Refusal::new(status, &body),
        ))
    }
}

async fn bounded(body: HttpResponseBody) -> Result<Vec<u8>, HttpError> {
    let mut pieces = body.bytes_stream();
    let mut whole = Vec::new();
    while let Some(piece) = pieces.next().await {
        let piece = piece?;
        let room = MAX_ANSWER_BYTES.saturating_sub(whole.len());
        whole.extend_from_slice(piece.get(..room).unwrap_or(&piece));
        if whole.len() == MAX_ANSWER_BYTES {
            break;
        }
    }
    Ok(whole)
}

/// Gives every client of `object_store` the same connection.
#[derive(Debug)]
pub(crate) struct Connector(pub(crate) HttpClient);

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(self.0.clone())
    }
}

/// Turns refusals into errors.
pub(crate) fn refusing(inner: HttpClient) -> HttpClient {
    HttpClient::new(Wire { inner })
}

/// A connection to the endpoint.
///
/// # Errors
/// When certificates are no certificates.
pub(crate) fn connection(bucket: &Bucket) -> Result<HttpClient, OpenError> {
    // The client takes the provider of the process. It fails when there is one already, which is ring too.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = |error: reqwest::Error| OpenError::Client(Box::new(error));
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("hearth/", env!("CARGO_PKG_VERSION")))
        .https_only(!bucket.plain)
        .connect_timeout(bucket.deadlines.connect)
        .pool_max_idle_per_host(IDLE)
        .pool_idle_timeout(IDLE_FOR)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        // A creation is sent once.
        .retry(reqwest::retry::never());
    if let Some(pem) = &bucket.roots {
        let roots = reqwest::Certificate::from_pem_bundle(pem).map_err(client)?;
        builder = builder.tls_certs_only(roots);
    }
    Ok(HttpClient::new(builder.build().map_err(client)?))
}

/// Requests about the bucket itself.
#[derive(Debug)]
pub(crate) struct Asker {
    pub(crate) client: HttpClient,
    pub(crate) credential: AwsCredential,
    pub(crate) region: String,
    pub(crate) url: String,
}

impl Asker {
    /// What the bucket answers to a query such as `versioning`.
    ///
    /// # Errors
    /// A [`Refusal`] somewhere in the chain of sources, or what went wrong on the way.
    pub(crate) async fn ask(
        &self,
        query: &str,
    ) -> Result<Bytes, Box<dyn Error + Send + Sync + 'static>> {
        let mut request = http::Request::builder()
            .method(Method::GET)
            .uri(format!("{}?{query}", self.url))
            .body(HttpRequestBody::empty())?;
        AwsAuthorizer::new(&self.credential, "s3", &self.region)
            .try_authorize(&mut request, None)?;
        let answer = self.client.execute(request).await?;
        Ok(bounded(answer.into_body()).await?.into())
    }
}
