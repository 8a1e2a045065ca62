//! What is refused at the start, and how a schema grows with data in it, on real servers.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use hearth_backend_cql::{CommitLog, Cql, CqlError, Options, Replication, schema};
use hearth_kernel::Service;
use hearth_ports::{Documents, Range, Series, SystemClock, Table};
use hearth_servers::{Cache, Cassandra};

const TABLE: Table = Table("ingest_things");

fn start(commit_log: servers::CommitLog) -> Cassandra {
    let cache = Cache::of_user().expect("a cache");
    Cassandra::start_with(&cache, 1, commit_log, false).expect("a node of Cassandra")
}

mod servers {
    pub(crate) use hearth_servers::CommitLog;
}

fn synced() -> &'static Cassandra {
    static SERVER: OnceLock<Cassandra> = OnceLock::new();
    SERVER.get_or_init(|| start(servers::CommitLog::Group))
}

fn options(server: &Cassandra, keyspace: &str) -> Options {
    let contact_points = server.addresses().iter().map(ToString::to_string).collect();
    Options::new(contact_points, "datacenter1", keyspace)
}

async fn connect(options: Options) -> Result<Cql, CqlError> {
    Cql::connect(options, Arc::new(SystemClock)).await
}

async fn to_synced(keyspace: &str) -> Cql {
    let server = tokio::task::spawn_blocking(synced).await.expect("a server");
    connect(options(server, keyspace))
        .await
        .expect("a connection")
}

fn one() -> Replication {
    Replication::of("datacenter1", 1)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_log_that_acks_first_is_refused_unless_allowed_by_name() {
    let server = tokio::task::spawn_blocking(|| start(servers::CommitLog::Periodic));
    let server = server.await.expect("a server");
    for commit_log in [CommitLog::MustSync, CommitLog::SyncsByMyWord] {
        let mut options = options(&server, "hearth");
        options.commit_log = commit_log;
        let refused = connect(options).await;
        assert!(
            matches!(&refused, Err(CqlError::Unsynced { value, .. }) if value == "periodic"),
            "{refused:?}"
        );
    }
    let mut options = options(&server, "hearth");
    options.commit_log = CommitLog::MayLoseAckedWrites;
    connect(options).await.expect("a development option");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_is_told_within_a_bound() {
    let port = hearth_servers::free_port().expect("a port");
    let options = Options::new(vec![format!("127.0.0.1:{port}")], "datacenter1", "hearth");
    let refused = connect(options).await;
    assert!(
        matches!(refused, Err(CqlError::Unreachable(_))),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_is_not_there_or_older_is_refused() {
    let cql = to_synced("unmade").await;
    let older = |found| {
        CqlError::SchemaOlder {
            found,
            needed: schema::NEEDED,
        }
        .to_string()
    };
    let refused = cql.series().await.expect_err("nothing is there");
    assert_eq!(refused.to_string(), older(0));
    schema::apply_until(&cql, &one(), schema::NEEDED - 1)
        .await
        .expect("an older schema");
    let refused = cql
        .documents(Service::Ingest)
        .await
        .expect_err("it is older");
    assert_eq!(refused.to_string(), older(schema::NEEDED - 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schema_grows_and_keeps_what_is_there() {
    let cql = to_synced("grown").await;
    let planned = schema::plan(&cql, &one()).await.expect("a plan");
    assert!(planned.iter().any(|it| it.starts_with("CREATE KEYSPACE")));
    assert_eq!(
        schema::found(&cql).await.expect("a version"),
        0,
        "a plan changes nothing"
    );
    let older = schema::NEEDED - 1;
    assert_eq!(
        schema::apply_until(&cql, &one(), older)
            .await
            .expect("older"),
        0
    );
    assert_eq!(schema::found(&cql).await.expect("a version"), older);
    // What a program of the older version has written, by the statements that it had.
    let plain = plain_session().await;
    plain
        .query_unpaged(
            "INSERT INTO grown.documents_ingest (table_name, partition, key, value) \
             VALUES ('ingest_things', 0x70, 0x6b, 0x76) USING TIMESTAMP 7",
            (),
        )
        .await
        .expect("an older write");
    // Half of the newer version, as a process leaves it that died in between.
    let planned = schema::plan(&cql, &one()).await.expect("a plan");
    let half = planned
        .get(2)
        .cloned()
        .expect("a first statement of the newer version");
    plain.query_unpaged(half, ()).await.expect("half a version");
    assert_eq!(schema::found(&cql).await.expect("a version"), older);
    for before in [older, schema::NEEDED] {
        assert_eq!(schema::apply(&cql, &one()).await.expect("newer"), before);
        schema::check(&cql)
            .await
            .expect("the schema that is needed");
    }
    let documents = cql.documents(Service::Ingest).await.expect("documents");
    let kept = documents
        .range(TABLE, b"p", Range::all(10))
        .await
        .expect("a range");
    assert_eq!(kept.len(), 1);
    assert_eq!((kept[0].stamp, &kept[0].value), (7, &Bytes::from("v")));
    let series = cql.series().await.expect("series");
    assert_eq!(series.homes(None, 10).await.expect("the homes"), []);
    // A newer program's version does not disturb this one.
    plain
        .query_unpaged(
            "INSERT INTO grown.schema_version (component, version, name) VALUES ('hearth', 900, 'later')",
            (),
        )
        .await
        .expect("a later version");
    schema::check(&cql).await.expect("a newer schema");
}

async fn plain_session() -> scylla::client::session::Session {
    scylla::client::session_builder::SessionBuilder::new()
        .known_node(synced().address(0).to_string())
        .build()
        .await
        .expect("a session")
}
