//! Which bucket, as whom, and how long to wait: the settings, and why a start is refused.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use hearth_ports::StoreError;
use zeroize::Zeroizing;

use crate::keeping::Keeping;

/// Access key and secret of an S3 service. `Debug` shows neither.
#[derive(Clone)]
pub struct Credentials {
    /// The access key's id.
    pub access_key: String,
    /// Its secret.
    pub secret: Zeroizing<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

/// How long a call may take in all, tries and waits included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// Until a connection stands.
    pub connect: Duration,
    /// Length, deletion and listing.
    pub short: Duration,
    /// Creation and reading, which carry up to 64 MiB.
    pub transfer: Duration,
}

impl Default for Deadlines {
    /// 5, 15 and 60 seconds.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            short: Duration::from_secs(15),
            transfer: Duration::from_secs(60),
        }
    }
}

/// Where blobs are.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// The service's address without the bucket, `https://...`. The bucket is part of the path, not of the host.
    pub endpoint: String,
    /// The region that requests are signed for; stores of one's own mostly take any, such as `us-east-1`.
    pub region: String,
    /// The bucket's name. It must be there: it is never made.
    pub name: String,
    /// What all keys of this service begin with inside the bucket: of the form of a key, at most 128 bytes.
    pub prefix: String,
    /// Who asks. Needs, as AWS calls it, on the bucket: `ListBucket` (without it what is not there is answered 403),
    /// `GetBucketVersioning`, `GetBucketObjectLockConfiguration`, `GetReplicationConfiguration`; and below the prefix:
    /// `PutObject`, `GetObject`, `DeleteObject`. Nothing that could turn versions on.
    pub credentials: Credentials,
    /// Certificates in PEM that alone are trusted; without them those of the machine are.
    pub roots: Option<Vec<u8>>,
    /// Whether the endpoint may be `http://`. What is stored is sealed; who may delete it is not, then.
    pub plain: bool,
    /// What the bucket may keep of deleted objects. Everything not named here is refused.
    pub allowed: BTreeSet<Keeping>,
    /// How long calls may take.
    pub deadlines: Deadlines,
}

/// Why a bucket is not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A setting has a value that never works.
    #[error("the settings of the bucket do not work: {0}")]
    Settings(&'static str),
    /// The client cannot be made of these settings.
    #[error("the client of the bucket cannot be made")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// There is no bucket of that name.
    #[error("there is no such bucket; it is never made by itself")]
    NoBucket,
    /// The bucket keeps what is deleted, and that is not allowed by name.
    #[error(
        "the bucket has {0}, which keeps what is deleted; turn it off, or allow it by that name"
    )]
    Keeps(Keeping),
    /// Whether the bucket keeps what is deleted cannot be told, and that is not allowed by name.
    #[error("it cannot be told whether the bucket has {keeping}: {why}")]
    Unclear {
        /// What was asked about.
        keeping: Keeping,
        /// What came back.
        why: String,
    },
    /// The store lets a second writer replace an object, or does not do what it answers.
    #[error("the store does not keep to create-only writes: {0}")]
    Overwrites(&'static str),
    /// The store did not do what the proof needs.
    #[error("the store does not take part in the proof at the start")]
    Unavailable(#[source] StoreError),
}
