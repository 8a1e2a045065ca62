//! A service of two methods, without generated code: `Get` does what its text says, `Watch` counts for ever.

use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt};
use hearth_kernel::{Failure, Reason, Role};
use tonic::body::Body;
use tonic::server::{Grpc, NamedService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;
use tower::{Service, service_fn};

use crate::principal::Principal;
use crate::rules::{Authorisation, Idempotency, MethodRule};
use crate::{Rate, fail, request_id};

pub(super) const GET: &str = "/test.v1.EchoService/Get";
pub(super) const SLOW: &str = "/test.v1.EchoService/Slow";
pub(super) const MINE: &str = "/test.v1.EchoService/Mine";
pub(super) const FRESH: &str = "/test.v1.EchoService/Fresh";
pub(super) const RARE: &str = "/test.v1.EchoService/Rare";
pub(super) const WATCH: &str = "/test.v1.EchoService/Watch";

const fn row(path: &'static str, authorisation: Authorisation) -> MethodRule {
    MethodRule::new(path, authorisation, Idempotency::Read)
}

pub(super) const ROWS: [MethodRule; 6] = [
    row(GET, Authorisation::Public).at_most_bytes(1000),
    row(SLOW, Authorisation::Public).within(Duration::from_secs(3600)),
    row(MINE, Authorisation::HomeMember(Role::Guest)),
    row(FRESH, Authorisation::AccountFresh),
    row(RARE, Authorisation::Public).limited(Rate::per_minute(1, 2)),
    row(WATCH, Authorisation::Public).streaming(),
];

/// The service.
#[derive(Clone, Copy, Debug)]
pub(super) struct Echo;

impl NamedService for Echo {
    const NAME: &'static str = "test.v1.EchoService";
}

async fn get(request: Request<String>) -> Result<Response<String>, Status> {
    let text = match request.get_ref().as_str() {
        "who" => match Principal::of_request(&request).account() {
            Some(account) => account.to_string(),
            None => "nobody".to_owned(),
        },
        "id" => request_id::current().unwrap_or_default(),
        "hang" => std::future::pending().await,
        "panic" => panic!("as asked"),
        "foreign" => return Err(Status::failed_precondition("the inside")),
        text => match Reason::ALL.iter().find(|reason| reason.name() == text) {
            Some(reason) => return Err(fail(&Failure::new(*reason), None)),
            None => text.to_owned(),
        },
    };
    Ok(Response::new(text))
}

async fn watch(
    request: Request<String>,
) -> Result<Response<BoxStream<'static, Result<String, Status>>>, Status> {
    let panics = request.get_ref() == "panic";
    let ticks = stream::unfold(0_u64, move |count| async move {
        assert!(!(panics && count == 2), "as asked");
        tokio::time::sleep(Duration::from_millis(10)).await;
        Some((Ok(count.to_string()), count + 1))
    });
    Ok(Response::new(ticks.boxed()))
}

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            let mut grpc = Grpc::new(ProstCodec::<String, String>::default());
            Ok(if request.uri().path() == WATCH {
                grpc.server_streaming(service_fn(watch), request).await
            } else {
                grpc.unary(service_fn(get), request).await
            })
        })
    }
}
