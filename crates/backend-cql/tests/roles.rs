//! The roles of `deploy/cql/roles.cql` on a real Cassandra with roles on: each service does its work and no other's.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use hearth_backend_cql::{Cql, CqlError, Options, Replication, schema};
use hearth_kernel::{HomeId, Service};
use hearth_ports::{Documents, Range, Series, StoreError, SystemClock, Table};
use hearth_servers::{Cache, Cassandra, CommitLog};
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::errors::{DbError, ExecutionError, RequestAttemptError};

const PASSWORD: &str = "a password of a test";

fn start() -> Cassandra {
    let cache = Cache::of_user().expect("a cache");
    Cassandra::start_with(&cache, 1, CommitLog::Group, true).expect("a node of Cassandra")
}

async fn connect(server: &Cassandra, role: &str, password: &str) -> Result<Cql, CqlError> {
    let contact_points = vec![server.address(0).to_string()];
    let mut options = Options::new(contact_points, "datacenter1", "hearth");
    options.login = Some((role.to_owned(), password.to_owned().into()));
    Cql::connect(options, Arc::new(SystemClock)).await
}

async fn session(server: &Cassandra, role: &str, password: &str) -> Session {
    SessionBuilder::new()
        .known_node(server.address(0).to_string())
        .user(role, password)
        .build()
        .await
        .expect("a session")
}

/// As the superuser, which the server makes a moment after it takes connections.
async fn superuser(server: &Cassandra) -> Cql {
    for _ in 0..60 {
        match connect(server, "cassandra", "cassandra").await {
            Ok(cql) => return cql,
            Err(CqlError::Unreachable(_)) => tokio::task::yield_now().await,
            Err(other) => panic!("{other:?}"),
        }
    }
    panic!("no superuser")
}

/// The statements of the file, without comments.
fn file() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/cql/roles.cql");
    let text = std::fs::read_to_string(path).expect("the file of roles");
    let code: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with("--"))
        .collect();
    let code = code.join("\n");
    let statements = code.split(';').map(str::trim).filter(|it| !it.is_empty());
    statements.map(str::to_owned).collect()
}

fn is_unauthorized(error: &ExecutionError) -> bool {
    matches!(
        error,
        ExecutionError::LastAttemptError(RequestAttemptError::DbError(DbError::Unauthorized, _))
    ) || format!("{error:?}").contains("Unauthorized")
}

/// Every table of the keyspace, from the plan of the schema.
async fn tables(cql: &Cql) -> Vec<String> {
    let plan = schema::plan(cql, &Replication::of("datacenter1", 1))
        .await
        .expect("a plan");
    let made = plan
        .iter()
        .filter_map(|it| it.strip_prefix("CREATE TABLE IF NOT EXISTS hearth."));
    made.filter_map(|it| it.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_does_its_own_services_work_and_no_other() {
    let server = tokio::task::spawn_blocking(start).await.expect("a server");
    let cql = superuser(&server).await;
    let tables = tables(&cql).await;
    assert_eq!(tables.len(), 1 + 6 + 5 + 6);
    schema::apply(&cql, &Replication::of("datacenter1", 1))
        .await
        .expect("a schema");
    let admin = session(&server, "cassandra", "cassandra").await;
    // Twice: running the file again is harmless.
    for statement in file().into_iter().chain(file()) {
        let done = admin.query_unpaged(statement.clone(), ()).await;
        done.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    let nobody = connect(&server, "hearth_ingest", "").await;
    assert!(nobody.is_err(), "a role without a password let somebody in");
    for name in Service::ALL
        .map(Service::name)
        .into_iter()
        .chain(["schema"])
    {
        let role = format!("hearth_{name}");
        let statement = format!("ALTER ROLE {role} WITH PASSWORD = '{PASSWORD}'");
        admin
            .query_unpaged(statement, ())
            .await
            .expect("a password");
    }
    for service in Service::ALL {
        does_its_work(&server, service).await;
        is_refused_elsewhere(&server, service, &tables).await;
    }
    extends_but_does_not_read(&server).await;
}

async fn extends_but_does_not_read(server: &Cassandra) {
    let cql = connect(server, "hearth_schema", PASSWORD)
        .await
        .expect("a connection");
    let replication = Replication::of("datacenter1", 1);
    let before = schema::apply(&cql, &replication)
        .await
        .expect("nothing to do");
    assert_eq!(before, schema::NEEDED);
    let session = session(server, "hearth_schema", PASSWORD).await;
    let made = "CREATE TABLE hearth.later (k int PRIMARY KEY)";
    session
        .query_unpaged(made, ())
        .await
        .expect("a newer version's table");
    for never in [
        "SELECT * FROM hearth.documents_ingest LIMIT 1",
        "TRUNCATE hearth.segments",
        "DROP TABLE hearth.segments",
        "CREATE KEYSPACE other WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}",
    ] {
        let error = session.query_unpaged(never, ()).await.expect_err(never);
        assert!(is_unauthorized(&error), "{never}: {error:?}");
    }
}

async fn does_its_work(server: &Cassandra, service: Service) {
    let role = format!("hearth_{}", service.name());
    let cql = connect(server, &role, PASSWORD)
        .await
        .expect("a connection as the service");
    let documents = cql.documents(service).await.expect("its documents");
    let engine = Table("engine_checkpoints");
    documents
        .put(engine, b"p", b"k", 1, Bytes::from("v"))
        .await
        .expect("a put");
    let found = documents
        .range(engine, b"p", Range::all(10))
        .await
        .expect("a range");
    assert_eq!(found.len(), 1, "another service's row was seen, or none");
    documents
        .delete(engine, b"p", b"k", 2)
        .await
        .expect("a delete");
    documents
        .drop_partition(engine, b"p", 3)
        .await
        .expect("a drop");
    documents
        .partitions(engine, None, 10)
        .await
        .expect("a list");
    // Another service's table is refused for good.
    let other = if service == Service::Ingest {
        Table("accounts_homes")
    } else {
        Table("ingest_seen")
    };
    let refused = documents.get(other, b"p", b"k").await;
    assert!(
        matches!(refused, Err(StoreError::Terminal(_))),
        "{refused:?}"
    );
    let refused = documents.put(other, b"p", b"k", 1, Bytes::new()).await;
    assert!(
        matches!(refused, Err(StoreError::Terminal(_))),
        "{refused:?}"
    );
    // The store looks at rights when a statement runs, not when it is prepared.
    let series = cql.series().await.expect("prepared statements");
    let homes = series.homes(None, 10).await;
    let deleted = series.delete_home(HomeId::from_bytes([1; 16])).await;
    if service == Service::Ingest {
        assert_eq!(homes.expect("the homes"), []);
        deleted.expect("a delete");
    } else {
        assert!(
            matches!(homes, Err(StoreError::Terminal(_))),
            "{role}: {homes:?}"
        );
        assert!(
            matches!(deleted, Err(StoreError::Terminal(_))),
            "{role}: {deleted:?}"
        );
    }
}

async fn is_refused_elsewhere(server: &Cassandra, service: Service, tables: &[String]) {
    let role = format!("hearth_{}", service.name());
    let session = session(server, &role, PASSWORD).await;
    let own = format!("documents_{}", service.name());
    for table in tables {
        let documents = table.starts_with("documents_");
        let allowed = *table == own
            || table == "schema_version"
            || (service == Service::Ingest && !documents);
        let read = session
            .query_unpaged(format!("SELECT * FROM hearth.{table} LIMIT 1"), ())
            .await;
        match read {
            Ok(_) => assert!(allowed, "{role} may read {table}"),
            Err(error) => {
                assert!(
                    !allowed && is_unauthorized(&error),
                    "{role}, {table}: {error:?}"
                );
            }
        }
        let truncated = session
            .query_unpaged(format!("TRUNCATE hearth.{table}"), ())
            .await;
        let writes = allowed && table != "schema_version";
        assert_eq!(
            truncated.is_ok(),
            writes,
            "{role} and writes of {table}: {truncated:?}"
        );
    }
    for never in [
        "DROP TABLE hearth.documents_accounts",
        "ALTER TABLE hearth.documents_accounts ADD more int",
        "CREATE TABLE hearth.mine (k int PRIMARY KEY)",
        "CREATE ROLE another WITH LOGIN = true",
        "GRANT SELECT ON hearth.documents_vault TO hearth_ingest",
        "SELECT * FROM system_auth.roles",
        "INSERT INTO hearth.schema_version (component, version, name) VALUES ('hearth', 999, 'x')",
    ] {
        let refused = session.query_unpaged(never, ()).await;
        let error = refused.expect_err(never);
        assert!(is_unauthorized(&error), "{role}: {never}: {error:?}");
    }
}
