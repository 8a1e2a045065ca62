//! How the servers are reached and what is asked of them. Only the composition root fills this in.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Who this process is to the servers.
#[derive(Clone, Default)]
pub enum Credentials {
    /// The user and password of the first URL that has them (`nats://user:password@host`), if one does.
    #[default]
    InUrls,
    /// A user and a password.
    Password {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// A file of a JWT and its key.
    File(PathBuf),
    /// The seed of an nkey.
    Nkey(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InUrls => "InUrls",
            Self::Password { .. } => "Password",
            Self::File(_) => "File",
            Self::Nkey(_) => "Nkey",
        })
    }
}

/// The files of a mutually authenticated connection, in cert-manager's layout or any other.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Who signs the servers' certificates, in PEM.
    pub roots: PathBuf,
    /// The own certificate and its key, in PEM; `None`: the servers ask for none.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// How the servers are reached and what is asked of them.
#[derive(Clone)]
pub struct NatsOptions {
    /// `nats://host:port` or `tls://host:port`, at least one.
    pub urls: Vec<String>,
    /// Who this process is.
    pub credentials: Credentials,
    /// TLS with own files; `None`: by the URLs' scheme and the system's roots.
    pub tls: Option<Tls>,
    /// The name that operators see in the servers' lists of connections.
    pub name: String,
    /// Where answers arrive: a prefix of its own for each service, so that no other may listen to them.
    pub inbox: String,
    /// Copies of each stream: 1 or 3.
    pub replicas: u8,
    /// The generation of streams that do not exist yet. Those that do keep the one that they say.
    pub generation: u32,
    /// The most bytes of frames that are kept: appends beyond are refused, nothing is dropped.
    pub telemetry_bytes: u64,
    /// Development only: accept servers that ack before they sync, and so lose what they acked in a power cut.
    pub allow_unsynced: bool,
    /// The bound of each call.
    pub deadline: Duration,
    /// How long the start waits for servers that are still forming a cluster.
    pub patience: Duration,
}

impl NatsOptions {
    /// What production wants, for these URLs.
    #[must_use]
    pub fn new(urls: Vec<String>) -> Self {
        Self {
            urls,
            credentials: Credentials::default(),
            tls: None,
            name: "hearth".to_owned(),
            inbox: "_INBOX".to_owned(),
            replicas: 3,
            generation: 1,
            telemetry_bytes: 64 << 30,
            allow_unsynced: false,
            deadline: Duration::from_secs(10),
            patience: Duration::from_secs(30),
        }
    }

    /// What is wrong with them, if anything.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        if self.urls.is_empty() {
            Some("no URL of a server")
        } else if !matches!(self.replicas, 1 | 3) {
            Some("replicas must be 1 or 3")
        } else if self.generation == 0 {
            Some("generations begin at 1")
        } else if self.deadline.is_zero() {
            Some("a deadline of nothing")
        } else {
            None
        }
    }
}

impl fmt::Debug for NatsOptions {
    // URLs may carry passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsOptions")
            .field("name", &self.name)
            .field("credentials", &self.credentials)
            .field("replicas", &self.replicas)
            .field("allow_unsynced", &self.allow_unsynced)
            .finish_non_exhaustive()
    }
}
