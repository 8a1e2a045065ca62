//! How keys are named in a bucket, under a prefix of the service's own.
//!
//! Every `/` of a key becomes `./`. The order of keys is that of their bytes, where `-` comes before `/`; some stores
//! (SeaweedFS, and others that keep a bucket in a file system) list folder by folder instead, where `a` comes before
//! `a-b` and with it all that is below. `.` lies between `-` and `0`, so with it both orders are the same one. And
//! `a` and `a/b` do not meet, where a file cannot be a folder too. No token has a dot, so the way back is unique.

use hearth_ports::BlobKey;
use object_store::path::Path;

/// The longest prefix of a service, in bytes. With it the longest key stays below the 1024 bytes of S3.
const MAX_ROOT_BYTES: usize = 128;

/// The names below one prefix.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    /// Ends in `./`.
    root: String,
}

impl Names {
    /// The names below a prefix, if it has the form of a key and is not too long.
    pub(crate) fn below(prefix: &str) -> Option<Self> {
        let prefix = BlobKey::parse(prefix).filter(|it| it.as_str().len() <= MAX_ROOT_BYTES)?;
        Some(Self {
            root: format!("{}./", encode(prefix.as_str())),
        })
    }

    /// The name of a key's object.
    pub(crate) fn of(&self, key: &BlobKey) -> Path {
        Path::from(self.text(key))
    }

    /// The same as text.
    pub(crate) fn text(&self, key: &BlobKey) -> String {
        format!("{}{}", self.root, encode(key.as_str()))
    }

    /// The name of something that is no key's object, and that no listing shows.
    pub(crate) fn aside(&self, name: &str) -> Path {
        Path::from(format!("{}_{name}", self.root))
    }

    /// The key that a name stands for, if it is one.
    pub(crate) fn key(&self, name: &str) -> Option<BlobKey> {
        let encoded = name.strip_prefix(&self.root)?;
        let key = BlobKey::parse(&encoded.replace("./", "/"))?;
        (encode(key.as_str()) == encoded).then_some(key)
    }

    /// What the names of all keys begin with that begin with a prefix; `None` if no key can.
    pub(crate) fn prefix(&self, prefix: &str) -> Option<String> {
        let whole = prefix.strip_suffix('/').unwrap_or(prefix);
        (prefix.is_empty() || BlobKey::parse(whole).is_some())
            .then(|| format!("{}{}", self.root, encode(prefix)))
    }
}

fn encode(key: &str) -> String {
    key.replace('/', "./")
}
