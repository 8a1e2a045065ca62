//! Each server is fetched, started, found ready, killed and started again.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use hearth_servers::{Cache, Cassandra, Nats, NatsOptions, Process, SeaweedFs, Server, Toxiproxy};

fn cache() -> Cache {
    Cache::of_user().expect("a cache")
}

#[test]
fn nats_comes_back_on_its_ports_one_or_three() {
    Server::Nats.fetch(&cache()).expect("nats-server");
    for nodes in [1, 3] {
        let options = NatsOptions {
            nodes,
            ..NatsOptions::default()
        };
        let nats = Nats::start_with(&cache(), &options).expect("a cluster");
        let last = nodes - 1;
        assert!(Process::listens(nats.addresses()[last]));
        nats.kill(last);
        assert!(!Process::listens(nats.addresses()[last]));
        nats.restart(last).expect("a restart");
        assert!(Process::listens(nats.addresses()[last]));
    }
}

#[test]
fn cassandra_comes_back() {
    Server::Cassandra.fetch(&cache()).expect("Cassandra");
    let cassandra = Cassandra::start(&cache()).expect("a node");
    cassandra.kill(0);
    assert!(!Process::listens(cassandra.address(0)));
    cassandra.restart(0).expect("a restart");
    assert!(Process::listens(cassandra.address(0)));
}

#[test]
fn s3_comes_back_and_a_proxy_before_it_cuts() {
    Server::SeaweedFs.fetch(&cache()).expect("SeaweedFS");
    Server::Toxiproxy.fetch(&cache()).expect("Toxiproxy");
    let store = SeaweedFs::start(&cache()).expect("a store");
    let toxiproxy = Toxiproxy::start(&cache()).expect("a proxy");
    let through = toxiproxy.proxy("s3", store.address()).expect("a proxy");
    assert!(Process::listens(through));
    toxiproxy.cut("s3").expect("cut");
    assert!(!Process::listens(through));
    toxiproxy.heal().expect("healed");
    assert!(Process::listens(through));
    store.kill();
    assert!(!Process::listens(store.address()));
    store.restart().expect("a restart");
}
