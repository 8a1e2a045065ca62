//! The stored forms of a checkpoint: the signed head, the leaves below it, and the short form that is kept elsewhere.
//!
//! A leaf names its aggregate by a hash of the subject, so that outside the log no id of it lies anywhere, and an
//! erasure has nothing to remove here. Protobuf, additive for ever.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use hearth_kernel::{Service, Timestamp};
use hearth_ports::{Message as Stored, Position, Subject};
use prost::Message as _;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use super::tree::{Hash, Tree, sha256};
use crate::aggregate::CodecError;
use crate::envelope::Commit;
use crate::hashing::link;

/// What stands before a body in what is signed and hashed, with a zero byte after it.
const DOMAIN: &[u8] = b"hearth.checkpoint.v1\0";
/// What stands before a subject in its hash.
const SUBJECT: &[u8] = b"hearth.checkpoint.subject.v1\0";
/// Days of one signing key: about a year.
const KEY_DAYS: i64 = 365;

/// The number of the signing key in use at a time: a new one each 365 days. All former ones can be derived again from
/// the service's ring, so a verifier who has the ring knows which key must have signed when.
#[must_use]
pub fn key_number(at: Timestamp) -> u32 {
    u32::try_from(at.seconds() / (86_400 * KEY_DAYS)).unwrap_or(0)
}

/// The name that the secret of a signing key is derived under, from the service's ring.
#[must_use]
pub fn key_name(number: u32) -> String {
    format!("checkpoints.{number}")
}

/// The hash that stands for a subject in a leaf. Whoever has the subject can compute it; it leads to nobody.
#[must_use]
pub fn subject_hash(subject: &Subject) -> Hash {
    sha256(&[SUBJECT, subject.to_string().as_bytes()])
}

/// The last commit of one aggregate, as a checkpoint saw it.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Leaf {
    /// [`subject_hash`].
    #[prost(bytes = "bytes", tag = "1")]
    pub subject: Bytes,
    /// The commit's version.
    #[prost(uint64, tag = "2")]
    pub version: u64,
    /// SHA-256 of the commit's bytes: what the next commit carries as `previous`.
    #[prost(bytes = "bytes", tag = "3")]
    pub link: Bytes,
    /// Of a tombstone: when it was written, in microseconds; else 0.
    #[prost(int64, tag = "4")]
    pub ended_at: i64,
    /// The aggregate's kind.
    #[prost(string, tag = "5")]
    pub kind: String,
}

impl Leaf {
    /// The leaf of a commit as it lies in the log; `None` for bytes that are no commit.
    pub(super) fn of(message: &Stored) -> Option<Self> {
        let commit = Commit::read(&message.bytes).ok()?;
        Some(Self {
            subject: Bytes::copy_from_slice(&subject_hash(&message.subject)),
            version: commit.version,
            link: Bytes::copy_from_slice(&link(&message.bytes)),
            ended_at: if commit.is_tombstone() {
                commit.decided_at
            } else {
                0
            },
            kind: message.subject.kind().to_owned(),
        })
    }
}

/// A document of leaves, in the order of their subjects' hashes.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct Page {
    #[prost(message, repeated, tag = "1")]
    pub(super) leaves: Vec<Leaf>,
}

/// What a checkpoint says.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct HeadBody {
    /// [`Service::number`] of the service whose history it covers.
    #[prost(uint32, tag = "1")]
    pub service: u32,
    /// Dense, from 1.
    #[prost(uint64, tag = "2")]
    pub number: u64,
    /// [`Head::hash`] of the checkpoint before, or empty.
    #[prost(bytes = "bytes", tag = "3")]
    pub previous: Bytes,
    /// It covers what lies behind this position of EVT: [`Position::to_bytes`].
    #[prost(bytes = "bytes", tag = "4")]
    pub after: Bytes,
    /// It covers what lies up to this position, itself included.
    #[prost(bytes = "bytes", tag = "5")]
    pub through: Bytes,
    /// How many aggregates changed between.
    #[prost(uint64, tag = "6")]
    pub leaves: u64,
    /// The root of the tree of their leaves.
    #[prost(bytes = "bytes", tag = "7")]
    pub root: Bytes,
    /// When it was signed, in microseconds.
    #[prost(int64, tag = "8")]
    pub at: i64,
    /// [`key_number`] of that time.
    #[prost(uint32, tag = "9")]
    pub key_number: u32,
    /// The Ed25519 public key that signed it.
    #[prost(bytes = "bytes", tag = "10")]
    pub public_key: Bytes,
    /// The one before did not verify when this one was made: what lies behind it is vouched for by nobody.
    #[prost(bool, tag = "11")]
    pub after_a_break: bool,
}

/// A signed checkpoint.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Head {
    /// The encoded [`HeadBody`]: as it was signed, never encoded again.
    #[prost(bytes = "bytes", tag = "1")]
    pub body: Bytes,
    /// Ed25519 over the domain and the body.
    #[prost(bytes = "bytes", tag = "2")]
    pub signature: Bytes,
}

impl Head {
    /// Signs a body.
    pub(super) fn sign(body: &HeadBody, pair: &Ed25519KeyPair) -> Self {
        let body = Bytes::from(body.encode_to_vec());
        let signature = pair.sign(&[DOMAIN, &body].concat());
        Self {
            signature: Bytes::copy_from_slice(signature.as_ref()),
            body,
        }
    }

    /// The head in the event of a commit.
    ///
    /// # Errors
    /// `Malformed`.
    pub fn of(commit: &Commit) -> Result<Self, CodecError> {
        let event = commit.events.first();
        event
            .and_then(|event| Self::decode(event.public.clone()).ok())
            .ok_or(CodecError::Malformed("checkpoint"))
    }

    /// What it says.
    ///
    /// # Errors
    /// `Malformed`.
    pub fn read(&self) -> Result<HeadBody, CodecError> {
        HeadBody::decode(self.body.clone()).map_err(|_| CodecError::Malformed("checkpoint"))
    }

    /// Its hash, which the next one carries.
    #[must_use]
    pub fn hash(&self) -> Hash {
        sha256(&[DOMAIN, &self.body])
    }

    /// Whether this key signed it.
    #[must_use]
    pub fn is_signed_by(&self, public_key: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, public_key)
            .verify(&[DOMAIN, &self.body].concat(), &self.signature)
            .is_ok()
    }
}

/// The key pair of a secret of the service's ring; `None` for a secret that is not one.
#[must_use]
pub fn key_pair(secret: &[u8]) -> Option<Ed25519KeyPair> {
    Ed25519KeyPair::from_seed_unchecked(secret).ok()
}

/// The public half of a pair.
#[must_use]
pub fn public_key(pair: &Ed25519KeyPair) -> Bytes {
    Bytes::copy_from_slice(pair.public_key().as_ref())
}

impl HeadBody {
    /// The position that it begins behind, and the one it reaches.
    #[must_use]
    pub fn covers(&self) -> Option<(Position, Position)> {
        Some((
            Position::from_bytes(&self.after)?,
            Position::from_bytes(&self.through)?,
        ))
    }
}

/// A checkpoint in short, as it is logged, shown and kept elsewhere: `accounts:12:` and 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Whose history.
    pub service: Service,
    /// Its number.
    pub number: u64,
    /// Its hash.
    pub hash: Hash,
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:", self.service, self.number)?;
        self.hash.iter().try_for_each(|it| write!(f, "{it:02x}"))
    }
}

/// The text is no checkpoint in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a checkpoint: it should be a service, a number and 64 hexadecimal digits, with colons between"
)]
pub struct NotKept;

impl FromStr for Kept {
    type Err = NotKept;

    fn from_str(text: &str) -> Result<Self, NotKept> {
        let mut parts = text.split(':');
        let (Some(service), Some(number), Some(hex), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(NotKept);
        };
        if hex.len() != 64 || !hex.bytes().all(|it| it.is_ascii_hexdigit()) {
            return Err(NotKept);
        }
        let mut hash = [0; 32];
        for (at, byte) in hash.iter_mut().enumerate() {
            let digits = hex.get(2 * at..2 * at + 2).ok_or(NotKept)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| NotKept)?;
        }
        Ok(Self {
            service: service.parse().map_err(|_| NotKept)?,
            number: number.parse().map_err(|_| NotKept)?,
            hash,
        })
    }
}

impl Kept {
    /// Every checkpoint in a text, whatever stands around them: lines of a log, an answer of the admin port.
    #[must_use]
    pub fn all_in(text: &str) -> Vec<Self> {
        let words = text.split(|it: char| !it.is_ascii_alphanumeric() && it != ':');
        words.filter_map(|word| word.parse().ok()).collect()
    }
}

/// The root of leaves in their order.
#[must_use]
pub fn root_of<'a>(leaves: impl IntoIterator<Item = &'a Leaf>) -> Hash {
    let mut tree = Tree::default();
    for leaf in leaves {
        tree.push(&leaf.encode_to_vec());
    }
    tree.root()
}
