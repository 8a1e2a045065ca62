//! A real S3 store for the tests of one program, and what tests ask of it that the port has no call for.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use hearth_backend_objects::{Bucket, Credentials, Deadlines};
use hearth_servers::{Cache, SeaweedFs};
use http::Method;
use object_store::aws::{AwsAuthorizer, AwsCredential};
use object_store::client::{HttpClient, HttpRequestBody};

/// The store that the cases of one program share. The first call starts it, and blocks meanwhile.
pub(crate) fn shared() -> &'static SeaweedFs {
    static STORE: OnceLock<SeaweedFs> = OnceLock::new();
    STORE.get_or_init(|| {
        let cache = Cache::of_user().expect("a cache");
        SeaweedFs::start(&cache).expect("SeaweedFS")
    })
}

/// A bucket's settings at an address, under a prefix that nobody else has.
pub(crate) fn bucket(endpoint: String, name: &str) -> Bucket {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let (access_key, secret) = shared().credentials();
    Bucket {
        endpoint,
        region: "us-east-1".to_owned(),
        name: name.to_owned(),
        prefix: format!("test/{}", NEXT.fetch_add(1, Ordering::Relaxed)),
        credentials: Credentials {
            access_key: access_key.to_owned(),
            secret: secret.to_owned().into(),
        },
        roots: None,
        plain: true,
        allowed: [].into(),
        deadlines: Deadlines::default(),
    }
}

/// Asks the store something about a bucket; answers the status and the body.
pub(crate) async fn ask(endpoint: &str, method: Method, path: &str, body: &str) -> (u16, String) {
    let (access_key, secret) = shared().credentials();
    let credential = AwsCredential {
        key_id: access_key.to_owned(),
        secret_key: secret.to_owned(),
        token: None,
    };
    let mut request = http::Request::builder()
        .method(method)
        .uri(format!("{endpoint}/{path}"))
        .body(HttpRequestBody::from(body.to_owned()))
        .expect("a request");
    AwsAuthorizer::new(&credential, "s3", "us-east-1")
        .try_authorize(&mut request, None)
        .expect("a signed request");
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = HttpClient::new(reqwest::Client::new());
    let answer = client.execute(request).await.expect("an answer");
    let status = answer.status().as_u16();
    let body = answer.into_body().bytes().await.expect("a body");
    (status, String::from_utf8_lossy(&body).into_owned())
}

/// Makes a bucket, or finds it made.
pub(crate) async fn make(endpoint: &str, name: &str) {
    let (status, body) = ask(endpoint, Method::PUT, name, "").await;
    assert!(matches!(status, 200 | 409), "{status} {body}");
}
