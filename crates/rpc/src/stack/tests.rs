//! The whole stack, in process and over a socket, with every detail of its refusals.

use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;

use futures::StreamExt;
use hearth_kernel::AccountId;
use hearth_ports::{ManualClock, Tasks};
use http_body_util::BodyExt;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::service::Routes;
use tonic::{Code, Status};
use tonic_prost::ProstCodec;
use tonic_types::StatusExt;

use super::*;
use crate::authenticate::Verdict;
use crate::authenticate::tests::{NOW, authority, bearer_of};
use crate::status::failure_of;

mod echo;
use echo::{Echo, FRESH, GET, MINE, RARE, ROWS, SLOW, WATCH};

const ANNA: AccountId = AccountId::from_bytes([1; 16]);

/// Remembers how calls ended.
#[derive(Default)]
struct Remembers(Mutex<Vec<(&'static str, Code)>>);

impl Observer for Remembers {
    fn started(&self, _: &'static str) {}

    fn finished(&self, method: &'static str, code: Code, _: Duration) {
        self.0.lock().expect("not poisoned").push((method, code));
    }

    fn panicked(&self, _: &'static str) {}
}

struct Fixture {
    stack: Stack,
    seen: Arc<Remembers>,
}

fn fixture_with(limits: Limits, verdict: Verdict) -> Fixture {
    let seen = Arc::new(Remembers::default());
    let rules = RuleTable::new(ROWS).expect("a table");
    let clock = Arc::new(ManualClock::new(NOW));
    let observer = Arc::<Remembers>::clone(&seen);
    let stack = Stack::new(rules, authority(verdict, true), clock, limits, observer);
    Fixture { stack, seen }
}

fn fixture() -> Fixture {
    fixture_with(Limits::default(), Verdict::Active)
}

type Client<S> = tonic::client::Grpc<S>;

impl Fixture {
    fn front(&self) -> Front<Routes> {
        serve_layers(Routes::new(Echo), self.stack.clone())
    }

    async fn call(
        &self,
        path: &'static str,
        request: tonic::Request<String>,
    ) -> Result<String, Status> {
        unary(&mut Client::new(self.front()), path, request).await
    }

    async fn refused(&self, path: &'static str, text: &str) -> Status {
        self.call(path, tonic::Request::new(text.to_owned()))
            .await
            .expect_err("refused")
    }

    fn ends(&self) -> Vec<(&'static str, Code)> {
        self.seen.0.lock().expect("not poisoned").clone()
    }
}

async fn unary<S>(
    client: &mut Client<S>,
    path: &'static str,
    request: tonic::Request<String>,
) -> Result<String, Status>
where
    S: tonic::client::GrpcService<Body>,
    S::ResponseBody: HttpBody<Data = Bytes> + Send + 'static,
    <S::ResponseBody as HttpBody>::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    client
        .ready()
        .await
        .map_err(|_| Status::unknown("not ready"))?;
    let path = PathAndQuery::from_static(path);
    let codec = ProstCodec::<String, String>::default();
    client
        .unary(request, path, codec)
        .await
        .map(tonic::Response::into_inner)
}

fn text(text: &str) -> tonic::Request<String> {
    tonic::Request::new(text.to_owned())
}

fn signed_in(message: &str, ago: Duration) -> tonic::Request<String> {
    let mut request = text(message);
    let header = bearer_of(ANNA, ago);
    let value = header.to_str().expect("ascii").parse().expect("metadata");
    request.metadata_mut().insert("authorization", value);
    request
}

fn reason(status: &Status) -> Reason {
    failure_of(status).reason
}

#[tokio::test]
async fn a_call_goes_through_and_knows_who_calls() {
    let fixture = fixture();
    assert_eq!(
        fixture.call(GET, text("hello")).await.expect("an answer"),
        "hello"
    );
    assert_eq!(
        fixture.call(GET, text("who")).await.expect("an answer"),
        "nobody"
    );
    let anna = fixture.call(MINE, signed_in("who", Duration::ZERO)).await;
    assert_eq!(anna.expect("an answer"), ANNA.to_string());
    assert_eq!(
        fixture.ends(),
        [(GET, Code::Ok), (GET, Code::Ok), (MINE, Code::Ok)]
    );
}

#[tokio::test]
async fn what_has_no_row_is_closed() {
    let status = fixture()
        .refused("/test.v1.EchoService/Forgotten", "")
        .await;
    assert_eq!(
        (status.code(), reason(&status)),
        (Code::Unimplemented, Reason::UNKNOWN_RPC)
    );
    let info = status.get_details_error_info().expect("error info");
    assert_eq!(
        (info.domain.as_str(), info.reason.as_str()),
        ("hearth", "UNKNOWN_RPC")
    );
}

#[tokio::test]
async fn sign_in_is_asked_for_where_the_row_says_so() {
    let fixture = fixture();
    let status = fixture.refused(MINE, "who").await;
    assert_eq!(
        (status.code(), reason(&status)),
        (Code::Unauthenticated, Reason::NOT_SIGNED_IN)
    );
    let long_ago = Duration::from_secs(3600);
    let status = fixture
        .call(FRESH, signed_in("x", long_ago))
        .await
        .expect_err("refused");
    assert_eq!(reason(&status), Reason::FRESH_SIGN_IN_REQUIRED);
    assert!(
        fixture
            .call(FRESH, signed_in("x", Duration::ZERO))
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_bad_token_is_refused_on_public_methods_too() {
    let mut request = signed_in("x", Duration::ZERO);
    request
        .metadata_mut()
        .insert("authorization", "Bearer a.b.c".parse().expect("metadata"));
    let status = fixture().call(GET, request).await.expect_err("refused");
    assert_eq!(reason(&status), Reason::NOT_SIGNED_IN);

    let revoked = fixture_with(Limits::default(), Verdict::Revoked);
    let status = revoked
        .call(GET, signed_in("x", Duration::ZERO))
        .await
        .expect_err("refused");
    assert_eq!(reason(&status), Reason::NOT_SIGNED_IN);

    let stale = fixture_with(Limits::default(), Verdict::Unknown);
    let status = stale
        .call(GET, signed_in("x", Duration::ZERO))
        .await
        .expect_err("refused");
    assert_eq!(
        (status.code(), reason(&status)),
        (Code::Unavailable, Reason::STALE_KNOWLEDGE)
    );
    assert!(status.get_details_retry_info().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_deadline_holds_in_process_and_has_its_own_code() {
    let fixture = fixture();
    let mut request = text("hang");
    request.set_timeout(Duration::from_millis(50));
    let status = fixture.call(SLOW, request).await.expect_err("too long");
    assert_eq!(
        (status.code(), reason(&status)),
        (Code::DeadlineExceeded, Reason::DEADLINE_EXCEEDED)
    );
    let status = fixture.refused(GET, "hang").await;
    assert_eq!(status.code(), Code::DeadlineExceeded, "the method's own");
    assert_eq!(
        fixture.ends(),
        [
            (SLOW, Code::DeadlineExceeded),
            (GET, Code::DeadlineExceeded)
        ]
    );
}

#[tokio::test]
async fn a_panic_is_a_bug_that_names_the_request_and_nothing_else() {
    let mut request = text("panic");
    request.metadata_mut().insert(
        "x-request-id",
        "0123456789abcdef".parse().expect("metadata"),
    );
    let status = fixture().call(GET, request).await.expect_err("a bug");
    assert_eq!(
        (status.code(), status.message()),
        (Code::Internal, Reason::INTERNAL.message())
    );
    let info = status.get_details_request_info().expect("request info");
    assert_eq!(info.request_id, "0123456789abcdef");
    assert!(status.get_details_error_info().is_none());
}

#[tokio::test]
async fn what_is_too_large_or_no_message_is_refused_with_a_reason() {
    let fixture = fixture();
    assert!(fixture.call(GET, text(&"x".repeat(990))).await.is_ok());
    let status = fixture.refused(GET, &"x".repeat(1000)).await;
    assert_eq!(
        (status.code(), reason(&status)),
        (Code::ResourceExhausted, Reason::MESSAGE_TOO_LARGE)
    );
    assert!(status.get_details_quota_failure().is_some());
    // Field 1 as a varint where text is expected; a message cut short; no message; a wrong flag.
    for body in [
        &[0, 0, 0, 0, 2, 8, 1][..],
        &[0, 0, 0, 0, 9, 1],
        &[],
        &[7, 0, 0, 0, 0],
        &[0, 0],
    ] {
        let status = raw(&fixture, body).await;
        assert_eq!(
            (status.code(), reason(&status)),
            (Code::InvalidArgument, Reason::INVALID_REQUEST),
            "{body:?}"
        );
        assert!(status.get_details_bad_request().is_some());
    }
}

/// A call with these bytes as its body.
async fn raw(fixture: &Fixture, body: &[u8]) -> Status {
    let body = http_body_util::Full::new(Bytes::copy_from_slice(body));
    let request = Request::post(GET)
        .header(CONTENT_TYPE, "application/grpc")
        .body(body);
    let response = fixture.front().oneshot(request.expect("a request")).await;
    let response = response.unwrap_or_else(|never| match never {});
    let (parts, body) = response.into_parts();
    let trailers = body.collect().await.expect("a body").trailers().cloned();
    let status = Status::from_header_map(&parts.headers);
    status
        .or_else(|| Status::from_header_map(&trailers?))
        .expect("a status")
}

async fn answer_to_encoding(path: &'static str, encoding: &str) -> (Status, Option<String>) {
    let body = http_body_util::Full::new(Bytes::from_static(&[0, 0, 0, 0, 0]));
    let request = Request::post(path).header(CONTENT_TYPE, "application/grpc");
    let request = request.header("grpc-encoding", encoding).body(body);
    let response = fixture().front().oneshot(request.expect("a request")).await;
    let (parts, body) = response.unwrap_or_else(|never| match never {}).into_parts();
    let trailers = body.collect().await.expect("a body").trailers().cloned();
    let status = Status::from_header_map(&parts.headers)
        .or_else(|| Status::from_header_map(&trailers?))
        .expect("a status");
    let accepts = parts.headers.get("grpc-accept-encoding");
    let accepts = accepts.map(|it| it.to_str().expect("text").to_owned());
    (status, accepts)
}

#[tokio::test]
async fn a_compressed_message_is_not_taken_and_the_client_learns_what_is() {
    for encoding in ["gzip", "zstd", "deflate", "", "something"] {
        let (status, accepts) = answer_to_encoding(GET, encoding).await;
        assert_eq!(status.code(), Code::Unimplemented, "{encoding}");
        assert_eq!(reason(&status), Reason::UNSUPPORTED_ENCODING, "{encoding}");
        assert_eq!(accepts.as_deref(), Some("identity"), "{encoding}");
    }
    let (status, _) = answer_to_encoding(GET, "identity").await;
    assert_eq!(status.code(), Code::Ok);
    // A method that does not exist is still that.
    let (status, _) = answer_to_encoding("/test.v1.EchoService/Forgotten", "gzip").await;
    assert_eq!(reason(&status), Reason::UNKNOWN_RPC);
}

#[tokio::test]
async fn a_status_that_is_not_ours_does_not_leave() {
    let status = fixture().refused(GET, "foreign").await;
    assert_eq!(status.code(), Code::Internal);
    assert!(!status.message().contains("inside"));
}

#[tokio::test]
async fn every_reason_of_a_handler_arrives() {
    let fixture = fixture();
    for expected in Reason::ALL {
        let status = fixture.refused(GET, expected.name()).await;
        let kind = expected.kind();
        if matches!(
            kind,
            hearth_kernel::Kind::Bug | hearth_kernel::Kind::Corrupt
        ) {
            assert_eq!(reason(&status).kind(), kind);
            let id = status
                .get_details_request_info()
                .expect("request info")
                .request_id;
            assert_eq!(id.len(), 32);
        } else {
            assert_eq!(reason(&status), *expected);
        }
    }
}

#[tokio::test]
async fn a_rate_holds_per_address_and_tells_when_to_come_back() {
    let fixture = fixture();
    let from = |last: u8| {
        let mut request = text("x");
        request
            .extensions_mut()
            .insert(Peer(IpAddr::from([192, 0, 2, last])));
        request
    };
    for _ in 0..2 {
        assert!(fixture.call(RARE, from(1)).await.is_ok());
    }
    let status = fixture.call(RARE, from(1)).await.expect_err("too many");
    assert_eq!(
        (status.code(), reason(&status)),
        (Code::ResourceExhausted, Reason::TOO_MANY_REQUESTS)
    );
    let wait = failure_of(&status).retry_after.expect("a wait");
    assert!(
        wait > Duration::from_secs(50) && wait <= Duration::from_secs(60),
        "{wait:?}"
    );
    assert!(status.get_details_quota_failure().is_some());
    assert!(fixture.call(RARE, from(2)).await.is_ok(), "another address");
}

#[tokio::test]
async fn places_are_given_back() {
    let fixture = fixture_with(
        Limits {
            calls: 1,
            ..Limits::default()
        },
        Verdict::Active,
    );
    let front = fixture.front();
    let mut hanging =
        Box::pin(async move { unary(&mut Client::new(front), SLOW, text("hang")).await });
    assert!(futures::poll!(&mut hanging).is_pending());
    let status = fixture.refused(GET, "x").await;
    assert_eq!(reason(&status), Reason::TOO_MANY_REQUESTS);
    drop(hanging);
    assert!(fixture.call(GET, text("x")).await.is_ok());
    assert_eq!(
        fixture.ends()[1],
        (SLOW, Code::Cancelled),
        "its client left"
    );
}

async fn watching(fixture: &Fixture, request: tonic::Request<String>) -> tonic::Streaming<String> {
    let mut client = Client::new(fixture.front());
    client.ready().await.unwrap_or_else(|never| match never {});
    let path = PathAndQuery::from_static(WATCH);
    let codec = ProstCodec::<String, String>::default();
    client
        .server_streaming(request, path, codec)
        .await
        .expect("a stream")
        .into_inner()
}

/// Reads until the end and answers its status.
async fn end_of(mut stream: tonic::Streaming<String>) -> Status {
    loop {
        match stream.next().await {
            Some(Ok(_)) => {}
            Some(Err(status)) => return status,
            None => return Status::ok(""),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_with_its_deadline_a_drain_or_a_panic() {
    let fixture = fixture();
    let mut request = text("");
    request.set_timeout(Duration::from_millis(100));
    let status = end_of(watching(&fixture, request).await).await;
    assert_eq!(reason(&status), Reason::DEADLINE_EXCEEDED);

    let status = end_of(watching(&fixture, text("panic")).await).await;
    assert_eq!(status.code(), Code::Internal);

    let mut open = watching(&fixture, text("")).await;
    assert!(open.next().await.is_some_and(|item| item.is_ok()));
    fixture.stack.drain();
    let status = end_of(open).await;
    assert_eq!(
        (status.code(), reason(&status)),
        (Code::Unavailable, Reason::SHUTTING_DOWN)
    );
    assert_eq!(
        reason(&fixture.refused(GET, "x").await),
        Reason::SHUTTING_DOWN
    );
    let codes: Vec<_> = fixture.ends().into_iter().map(|(_, code)| code).collect();
    let expected = [
        Code::DeadlineExceeded,
        Code::Internal,
        Code::Unavailable,
        Code::Unavailable,
    ];
    assert_eq!(codes, expected);
}

#[tokio::test]
async fn only_grpc_is_served() {
    let front = fixture().front();
    let request = Request::get(GET).body(Body::empty()).expect("a request");
    let response = front
        .oneshot(request)
        .await
        .unwrap_or_else(|never| match never {});
    assert_eq!(response.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[tokio::test]
async fn all_of_it_holds_over_a_socket() {
    let fixture = fixture();
    let tasks = Tasks::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address: SocketAddr = listener.local_addr().expect("an address");
    let server = tonic::transport::Server::builder()
        .layer(StackLayer(fixture.stack.clone()))
        .add_routes(Routes::new(Echo))
        .serve_with_incoming(TcpListenerStream::new(listener));
    tasks.spawn("server", async move { server.await.expect("served") });
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{address}"));
    let channel = endpoint
        .expect("an endpoint")
        .connect()
        .await
        .expect("a connection");
    let mut client = Client::new(channel);

    assert_eq!(
        unary(&mut client, GET, text("hello"))
            .await
            .expect("an answer"),
        "hello"
    );
    let status = unary(&mut client, GET, text(&"x".repeat(2000)))
        .await
        .expect_err("too large");
    assert_eq!(reason(&status), Reason::MESSAGE_TOO_LARGE);
    let status = unary(&mut client, GET, text("panic"))
        .await
        .expect_err("a bug");
    assert_eq!(
        status
            .get_details_request_info()
            .expect("request info")
            .request_id
            .len(),
        32
    );
    let status = unary(&mut client, MINE, text("who"))
        .await
        .expect_err("refused");
    assert_eq!(reason(&status), Reason::NOT_SIGNED_IN);
    // The server's own guard would answer CANCELLED; both are the same to a reader of failures.
    let mut slow = text("hang");
    slow.set_timeout(Duration::from_millis(50));
    let status = unary(&mut client, SLOW, slow).await.expect_err("too long");
    assert_eq!(reason(&status), Reason::DEADLINE_EXCEEDED);
    assert!(tasks.stop(Duration::from_secs(10)).await);
}
