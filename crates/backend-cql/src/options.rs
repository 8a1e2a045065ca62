//! How the store is reached, and what is let pass.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::error::CqlError;

/// Longest name of a keyspace, in bytes: what both stores allow.
const KEYSPACE_BYTES: usize = 48;

/// What is asked of the commit log before the store is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CommitLog {
    /// Every node must say that it syncs a write before it acks it: `commitlog_sync` is `batch` or `group`.
    #[default]
    MustSync,
    /// A node that cannot be asked is taken to sync, because the operator has looked: for stores that do not show
    /// their configuration. One that says it does not sync is refused all the same.
    SyncsByMyWord,
    /// Anything goes, with a warning: acked writes may be lost in a power cut. For development only.
    MayLoseAckedWrites,
}

/// Whether a connection that nobody encrypts may leave this machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Plaintext {
    /// Only loopback: elsewhere a password would go over the wire as it is.
    #[default]
    LoopbackOnly,
    /// To any address: something below (a mesh, a tunnel, an isolated network) protects it.
    ProtectedBelow,
}

/// How many copies, and where: for the keyspace that [`crate::schema::apply`] makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replication {
    /// Replicas per data centre, by its name; at most as many as it has racks on ScyllaDB.
    pub per_datacenter: Vec<(String, u8)>,
}

impl Replication {
    /// That many copies in one data centre.
    #[must_use]
    pub fn of(datacenter: &str, copies: u8) -> Self {
        Self {
            per_datacenter: vec![(datacenter.to_owned(), copies)],
        }
    }
}

/// How to reach the store.
#[derive(Clone)]
pub struct Options {
    /// Nodes to ask first, `host:port`.
    pub contact_points: Vec<String>,
    /// The data centre whose nodes are used; none other ever is.
    pub datacenter: String,
    /// The keyspace: lower-case letters, digits and underscores.
    pub keyspace: String,
    /// Role and password, where roles are on.
    pub login: Option<(String, Zeroizing<String>)>,
    /// Whether an unencrypted connection may leave this machine.
    pub plaintext: Plaintext,
    /// What is asked of the commit log.
    pub commit_log: CommitLog,
    /// The longest that one statement takes, waiting for its turn included.
    pub deadline: Duration,
    /// Statements under way at once in this process; more wait. 1 to 4,096.
    pub in_flight: usize,
    /// Put before table names of documents and ids of homes, so that several installations (or the cases of a test)
    /// share a keyspace. At most 64 bytes; empty for one installation.
    pub space: String,
}

impl Options {
    /// The defaults: no login, loopback only, a commit log that syncs, 5 s, 256 statements under way.
    #[must_use]
    pub fn new(contact_points: Vec<String>, datacenter: &str, keyspace: &str) -> Self {
        Self {
            contact_points,
            datacenter: datacenter.to_owned(),
            keyspace: keyspace.to_owned(),
            login: None,
            plaintext: Plaintext::default(),
            commit_log: CommitLog::default(),
            deadline: Duration::from_secs(5),
            in_flight: 256,
            space: String::new(),
        }
    }

    /// Refuses what must not get into a statement or over a wire.
    pub(crate) fn checked(&self) -> Result<(), CqlError> {
        let keyspace = self.keyspace.as_bytes();
        let named = keyspace.first().is_some_and(u8::is_ascii_lowercase)
            && keyspace.len() <= KEYSPACE_BYTES
            && keyspace
                .iter()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'_');
        if !named {
            return Err(CqlError::Option("keyspace is not a plain lower-case name"));
        }
        if self.space.len() > 64 {
            return Err(CqlError::Option("space is longer than 64 bytes"));
        }
        if !(1..=4_096).contains(&self.in_flight) {
            return Err(CqlError::Option("in_flight is not 1 to 4,096"));
        }
        if self.deadline.is_zero() {
            return Err(CqlError::Option("deadline is zero"));
        }
        if self.plaintext == Plaintext::LoopbackOnly
            && !self.contact_points.iter().all(|it| is_loopback(it))
        {
            return Err(CqlError::Plaintext);
        }
        Ok(())
    }
}

fn is_loopback(contact_point: &str) -> bool {
    let host = match contact_point.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => host,
        _ => contact_point,
    };
    let host = host.trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("contact_points", &self.contact_points)
            .field("datacenter", &self.datacenter)
            .field("keyspace", &self.keyspace)
            .field("role", &self.login.as_ref().map(|(role, _)| role))
            .field("plaintext", &self.plaintext)
            .field("commit_log", &self.commit_log)
            .field("deadline", &self.deadline)
            .field("in_flight", &self.in_flight)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(contact: &str, keyspace: &str) -> Options {
        Options::new(vec![contact.to_owned()], "dc", keyspace)
    }

    #[test]
    fn plain_connections_stay_on_the_machine_unless_allowed_by_name() {
        for near in [
            "127.0.0.1:9042",
            "localhost:9042",
            "[::1]:9042",
            "127.0.0.3",
        ] {
            assert!(options(near, "hearth").checked().is_ok(), "{near}");
        }
        for far in ["10.0.0.1:9042", "cassandra:9042", "localhost.example:9042"] {
            let mut options = options(far, "hearth");
            assert!(
                matches!(options.checked(), Err(CqlError::Plaintext)),
                "{far}"
            );
            options.plaintext = Plaintext::ProtectedBelow;
            assert!(options.checked().is_ok(), "{far}");
        }
    }

    #[test]
    fn a_keyspace_is_a_name_and_nothing_else() {
        for bad in [
            "",
            "Hearth",
            "1st",
            "a b",
            "a;drop",
            "a\"b",
            &"k".repeat(49),
        ] {
            let checked = options("localhost", bad).checked();
            assert!(matches!(checked, Err(CqlError::Option(_))), "{bad}");
        }
    }

    #[test]
    fn a_password_is_not_printed() {
        let mut options = options("localhost", "hearth");
        options.login = Some(("ingest".into(), Zeroizing::new("swordfish".into())));
        let printed = format!("{options:?}");
        assert!(printed.contains("ingest") && !printed.contains("swordfish"));
    }
}
