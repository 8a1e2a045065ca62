//! A process without modules, over real sockets: health, probes, TLS, refusals and the drain.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use hearth_kernel::{AccountId, Failure, Reason, SessionId, Timestamp};
use hearth_ports::{Clock, SystemClock};
use hearth_rpc::token::Parties;
use hearth_rpc::{
    Authorisation, Authority, Idempotency, MethodRule, RuleTable, Sessions, Stack, TokenKeys,
    Verdict, fail, failure_of, serve_layers,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use super::*;
use crate::metrics::Metrics;
use crate::module::{Module, Readiness};
use crate::run::{Plan, Running};

const GRACE: Duration = Duration::from_secs(20);

/// Nobody is signed in.
struct Nobody;

impl TokenKeys for Nobody {
    fn key(&self, _: &str) -> Option<[u8; 32]> {
        None
    }
}

#[async_trait]
impl Sessions for Nobody {
    async fn check(&self, _: AccountId, _: SessionId, _: Timestamp) -> Verdict {
        Verdict::Revoked
    }
}

fn authority() -> Authority {
    let parties = Parties {
        issuer: "test".to_owned(),
        audience: "test".to_owned(),
    };
    Authority {
        parties,
        keys: Arc::new(Nobody),
        sessions: Arc::new(Nobody),
    }
}

fn options(listen: &str) -> Server {
    Server {
        listen: listen.to_owned(),
        ..Server::default()
    }
}

fn bind(server: &Server, folder: &Path) -> Result<Bound, Exit> {
    Bound::new(server, folder, SystemClock.now())
}

async fn start(listen: &str, folder: &Path, readiness: Vec<Readiness>) -> Running {
    let server = options(listen);
    let plan = Plan {
        bound: bind(&server, folder).expect("bound"),
        admin: None,
        server,
        modules: Vec::new(),
        context: &|module: &'static Module| panic!("{module:?} is not there"),
        authority: authority(),
        clock: Arc::new(SystemClock),
        metrics: Metrics::new(),
        readiness,
        tasks: Tasks::new(),
    };
    plan.start().await.expect("started")
}

async fn channel(address: SocketAddr) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an endpoint");
    endpoint.connect().await.expect("a connection")
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

fn of_all() -> HealthCheckRequest {
    HealthCheckRequest {
        service: String::new(),
    }
}

#[tokio::test]
async fn health_follows_readiness_and_a_drain_ends_streams() {
    let folder = folder();
    let good = Arc::new(AtomicBool::new(true));
    let asked = Arc::clone(&good);
    let check = Readiness {
        name: "x",
        check: Arc::new(move || asked.load(Ordering::SeqCst)),
    };
    let running = start("127.0.0.1:0", folder.path(), vec![check]).await;
    let mut client = HealthClient::new(channel(running.address()).await);
    let answer = client
        .check(of_all())
        .await
        .expect("an answer")
        .into_inner();
    assert_eq!(answer.status(), ServingStatus::Serving);

    let mut watch = client.watch(of_all()).await.expect("a stream").into_inner();
    let mut next = async || watch.message().await.map(|it| it.map(|it| it.status()));
    assert_eq!(next().await.expect("serving"), Some(ServingStatus::Serving));
    good.store(false, Ordering::SeqCst);
    assert_eq!(
        next().await.expect("not serving"),
        Some(ServingStatus::NotServing)
    );
    assert_eq!(running.ready().missing(), ["x"]);

    assert!(running.drain(GRACE).await);
    let status = next().await.expect_err("an end");
    assert_eq!(failure_of(&status).reason, Reason::SHUTTING_DOWN);
}

#[tokio::test]
async fn reflection_names_what_is_served() {
    let folder = folder();
    let running = start("127.0.0.1:0", folder.path(), Vec::new()).await;
    let mut client = ServerReflectionClient::new(channel(running.address()).await);
    let message_request = Some(MessageRequest::ListServices(String::new()));
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request,
    };
    let requests = futures::stream::iter([request]);
    let mut answers = client
        .server_reflection_info(requests)
        .await
        .expect("a stream")
        .into_inner();
    let answer = answers.message().await.expect("an answer").expect("one");
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        panic!("not a list");
    };
    let names: Vec<_> = list
        .service
        .into_iter()
        .map(|service| service.name)
        .collect();
    assert!(
        names.contains(&"grpc.health.v1.Health".to_owned()),
        "{names:?}"
    );
}

#[tokio::test]
async fn older_tools_find_reflection_too() {
    use tonic_reflection::pb::v1alpha;
    use v1alpha::server_reflection_request::MessageRequest;
    let folder = folder();
    let running = start("127.0.0.1:0", folder.path(), Vec::new()).await;
    let channel = channel(running.address()).await;
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(channel);
    let request = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let answers = client.server_reflection_info(futures::stream::iter([request]));
    let mut answers = answers.await.expect("a stream").into_inner();
    let answer = answers.message().await.expect("an answer").expect("one");
    assert!(answer.message_response.is_some());
}

async fn ask(address: SocketAddr, path: &str, header: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("connected");
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{header}\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("an answer");
    String::from_utf8(answer).expect("text")
}

#[tokio::test]
async fn probes_are_for_this_machine() {
    let folder = folder();
    let running = start("127.0.0.1:0", folder.path(), Vec::new()).await;
    let address = running.address();
    let mut client = HealthClient::new(channel(address).await);
    client.check(of_all()).await.expect("an answer");
    let metrics = ask(address, "/metrics", "").await;
    assert!(metrics.starts_with("HTTP/1.1 200"), "{metrics}");
    assert!(
        metrics.contains("method=\"/grpc.health.v1.Health/Check\""),
        "{metrics}"
    );
    assert!(
        ask(address, "/readyz", "")
            .await
            .starts_with("HTTP/1.1 200")
    );
    let proxied = ask(address, "/metrics", "x-forwarded-for: 192.0.2.1\r\n").await;
    assert!(proxied.starts_with("HTTP/1.1 415"), "{proxied}");
    assert!(ask(address, "/else", "").await.starts_with("HTTP/1.1 415"));
}

#[tokio::test]
async fn other_addresses_get_tls_by_a_ca_that_stays() {
    let folder = folder();
    let mut known = None;
    for _ in 0..2 {
        let running = start("0.0.0.0:0", folder.path(), Vec::new()).await;
        let port = running.address().port();
        let ca = std::fs::read(folder.path().join(tls::CA_CERTIFICATE)).expect("a CA");
        assert_eq!(*known.get_or_insert_with(|| ca.clone()), ca, "the CA stays");
        let config = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&ca));
        let endpoint = Endpoint::from_shared(format!("https://localhost:{port}"));
        let endpoint = endpoint.and_then(|endpoint| endpoint.tls_config(config));
        let channel = endpoint
            .expect("an endpoint")
            .connect()
            .await
            .expect("a connection");
        let answer = HealthClient::new(channel)
            .check(of_all())
            .await
            .expect("an answer");
        assert_eq!(answer.into_inner().status(), ServingStatus::Serving);
        assert!(running.drain(GRACE).await);
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let key = std::fs::metadata(folder.path().join("ca.key")).expect("a key");
        assert_eq!(key.permissions().mode() & 0o777, 0o600);
    }
    // A CA without its certificate is not silently another one.
    std::fs::remove_file(folder.path().join(tls::CA_CERTIFICATE)).expect("removed");
    assert_eq!(
        bind(&options("0.0.0.0:0"), folder.path())
            .expect_err("refused")
            .number(),
        64
    );
}

#[tokio::test]
async fn what_the_operator_can_put_right_is_64_and_one_line() {
    let folder = folder();
    let taken = bind(&options("127.0.0.1:0"), folder.path()).expect("bound");
    let file = folder.path().join("file");
    std::fs::write(&file, "no PEM").expect("written");
    let bad_tls = Server {
        tls_certificate: file.clone(),
        tls_key: file.clone(),
        ..options("127.0.0.1:0")
    };
    let cases = [
        (
            options(&taken.address().to_string()),
            folder.path(),
            "occupied",
        ),
        (
            options("192.0.2.1:0"),
            folder.path(),
            "no address of this machine",
        ),
        (options("localhost"), folder.path(), "server.listen"),
        (options("0.0.0.0:0"), file.as_path(), "cannot be used"),
        (bad_tls, folder.path(), "PEM"),
    ];
    for (server, folder, expected) in cases {
        let exit = bind(&server, folder).expect_err("refused");
        let line = exit.to_string();
        assert_eq!(exit.number(), 64, "{line}");
        assert!(line.contains(expected) && !line.contains('\n'), "{line}");
    }
}

const WAIT: &str = "/test.v1.WaitService/Wait";

#[tokio::test]
async fn a_call_in_flight_ends_before_the_process_and_a_new_one_is_refused() {
    let folder = folder();
    let (arrived, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (arrives, waits) = (Arc::clone(&arrived), Arc::clone(&go_on));
    let handler = move || async move {
        arrives.notify_one();
        waits.notified().await;
        fail(&Failure::new(Reason::NOT_FOUND), None).into_http::<axum::body::Body>()
    };
    let routes = Routes::from(axum::Router::new().route(WAIT, axum::routing::post(handler)));
    let row = MethodRule::new(WAIT, Authorisation::Public, Idempotency::Read).within(GRACE);
    let rules = RuleTable::new([row]).expect("a table");
    let stack = Stack::unobserved(rules, authority(), Arc::new(SystemClock));
    let server = options("127.0.0.1:0");
    let front = serve_layers(routes, stack.clone());
    let tasks = Tasks::new();
    let bound = bind(&server, folder.path()).expect("bound");
    let serving = bound
        .serve(&server, front, axum::Router::new(), &tasks)
        .expect("serving");
    let address = serving.address();
    let connection = channel(address).await;
    let call = async || {
        let mut client = tonic::client::Grpc::new(connection.clone());
        client.ready().await.expect("ready");
        let path = http::uri::PathAndQuery::from_static(WAIT);
        let codec = tonic_prost::ProstCodec::<(), ()>::default();
        let answer = client.unary(tonic::Request::new(()), path, codec).await;
        failure_of(&answer.expect_err("a status")).reason
    };
    let drained = async {
        arrived.notified().await;
        stack.drain();
        assert_eq!(call().await, Reason::SHUTTING_DOWN);
        let stopped = serving.stop(GRACE);
        tokio::pin!(stopped);
        assert!(
            futures::poll!(&mut stopped).is_pending(),
            "a call is in flight"
        );
        go_on.notify_one();
        stopped.await
    };
    let (reason, ended) = tokio::join!(call(), drained);
    assert_eq!(reason, Reason::NOT_FOUND, "it got its answer");
    assert!(ended);
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens");
}

#[cfg(unix)]
#[tokio::test]
async fn a_signal_tells_it_to_end() {
    let told = crate::run::told_to_end();
    tokio::pin!(told);
    assert!(futures::poll!(&mut told).is_pending());
    let this = rustix::process::getpid();
    rustix::process::kill_process(this, rustix::process::Signal::TERM).expect("sent");
    tokio::time::timeout(GRACE, told)
        .await
        .expect("told")
        .expect("heard");
}
