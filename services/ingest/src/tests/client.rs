//! The SDK's hub client against the real server: it loses nothing over connections that break and processes that die.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hearth_api::ingest::v1::ingest_service_server::IngestServiceServer;
use hearth_client::hub::{HubClient, HubKey, HubOptions, Reading, Value};
use hearth_engine::random_id;
use hearth_ingest_domain::claim::{self, Made};
use hearth_kernel::{Capability, ClaimId, Part, Timestamp};
use hearth_ports::Tasks;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Endpoint, Server};

use super::kit::{AUDIENCE, HOME, METER, NOW, World, call};
use crate::aggregates::Claim;
use crate::grpc::Ingest;

/// Serves the world's stream of readings on a port of its own.
async fn serve(world: &World, tasks: &Tasks) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = IngestServiceServer::new(Ingest(Arc::clone(&world.running.app.core)));
    let serving = Server::builder()
        .add_service(service)
        .serve_with_incoming(TcpListenerStream::new(listener));
    tasks.spawn("test server", async move {
        let _ = serving.await;
    });
    address
}

async fn claimed(world: &World, key: &HubKey) -> ClaimId {
    let claim: ClaimId = random_id();
    let made = Made {
        claim,
        hub: key.hub_id(),
        home: HOME,
        public_key: key.public_key().try_into().unwrap(),
        name: Part::clear("hub"),
        model: Part::clear("box"),
        claimed_at: NOW,
    };
    let (facts, request) = (claim::Facts { now: NOW }, call());
    let make = claim::Command::Make(Box::new(made));
    let outcome = world
        .engine
        .execute::<Claim, _>(&request, claim, &make, async move |_| Ok(facts));
    outcome.await.unwrap();
    claim
}

fn readings(from: i64) -> Vec<Reading> {
    (from..from + 50)
        .map(|n| Reading {
            device: METER,
            capability: Capability::PLUG_POWER,
            observed_at: Timestamp::from_seconds(NOW.seconds() - 10_000 + n),
            value: Value::Number(n as f64),
        })
        .collect()
}

fn run(hub: &HubClient, address: SocketAddr, tasks: &Tasks) {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    let (hub, channel) = (hub.clone(), endpoint.connect_lazy());
    tasks.spawn("test hub", async move {
        let _ = hub.run(channel).await;
    });
}

#[tokio::test]
async fn everything_that_was_sent_is_stored_once() {
    let world = World::new().await;
    let (key, _) = HubKey::generate().unwrap();
    let claim = claimed(&world, &key).await;
    let options = HubOptions {
        audience: AUDIENCE.into(),
        claim,
        buffer: 8,
    };
    let hub = HubClient::new(key, options).unwrap();
    let first = Tasks::new();
    let address = serve(&world, &first).await;
    run(&hub, address, &first);
    for n in 0..20 {
        hub.send(&readings(n * 50)).await.unwrap();
    }
    // The process dies with whatever is under way; the hub's buffer does not.
    first.stop(Duration::from_secs(5)).await;
    let world = world.crash().await;
    let second = Tasks::new();
    let address = serve(&world, &second).await;
    run(&hub, address, &second);
    for n in 20..40 {
        hub.send(&readings(n * 50)).await.unwrap();
    }
    tokio::time::timeout(Duration::from_secs(20), hub.drained())
        .await
        .unwrap();
    assert_eq!((hub.waiting(), hub.refused()), (0, vec![]));
    assert_eq!(world.raw(METER, Capability::PLUG_POWER).await.len(), 2_000);
    second.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn what_a_spool_holds_is_stored_though_hub_and_server_die() {
    let world = World::new().await;
    let (key, kept) = HubKey::generate().unwrap();
    let claim = claimed(&world, &key).await;
    let folder = tempfile::tempdir().unwrap();
    let open = |key| {
        let options = HubOptions {
            audience: AUDIENCE.into(),
            claim,
            buffer: 100,
        };
        HubClient::open(key, options, folder.path()).unwrap()
    };
    let hub = open(key);
    let first = Tasks::new();
    let address = serve(&world, &first).await;
    run(&hub, address, &first);
    for n in 0..20 {
        hub.send(&readings(n * 50)).await.unwrap();
    }
    first.stop(Duration::from_secs(5)).await;
    drop(hub);
    let world = world.crash().await;
    let hub = open(HubKey::from_pkcs8(&kept).unwrap());
    let second = Tasks::new();
    let address = serve(&world, &second).await;
    run(&hub, address, &second);
    for (n, number) in (20..40).zip(21u64..) {
        assert_eq!(hub.send(&readings(n * 50)).await.unwrap(), number);
    }
    tokio::time::timeout(Duration::from_secs(20), hub.drained())
        .await
        .unwrap();
    assert_eq!(world.raw(METER, Capability::PLUG_POWER).await.len(), 2_000);
    second.stop(Duration::from_secs(5)).await;
}
