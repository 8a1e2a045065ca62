//! Documents and Series on Apache Cassandra and ScyllaDB: the stores of the cluster.
//!
//! Everything here is written with an explicit timestamp into a place that the value itself names, so each write may
//! be repeated, and of two writes the greater timestamp wins wherever they meet. There is no lightweight transaction,
//! counter, view or secondary index, and no read before a write. Must not know what is sealed, nor which service asks.
//!
//! **Run on:** Apache Cassandra 5.0, by the tests. ScyllaDB itself has **not** been run: no package registry carries
//! it. What is known to differ there stands in `dialect`, in one place, from its documentation and source.
//!
//! **Opening.** [`Cql::connect`] refuses a store whose commit log acks before it syncs; [`Cql::documents`] and
//! [`Cql::series`] refuse a schema that is older than they need. The schema is applied by [`schema::apply`], by one
//! process at a time, never by a service that starts.
//!
//! **Transport.** The driver's TLS feature pulls a second crypto provider into the tree, which the project bans, so
//! the connection is plain; [`Options::plaintext`] says what that means.

mod connection;
mod dialect;
mod documents;
mod error;
mod options;
pub mod schema;
mod series;

pub use connection::Cql;
pub use dialect::Dialect;
pub use documents::CqlDocuments;
pub use error::CqlError;
pub use options::{CommitLog, Options, Plaintext, Replication};
pub use series::CqlSeries;
