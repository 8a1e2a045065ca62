//! Events and states in their stored form, and back. The only module that knows the stored form.
//!
//! A field that a newer release wrote is skipped, an event that it wrote is not: what cannot be understood fails the
//! load. A breaking change is a new major and an upcaster here; nothing that was ever written is forgotten.

mod erasure;
mod signing;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use bytes::Bytes;
use hearth_engine::{CodecError, EncodedEvent};
use hearth_kernel::Timestamp;
use prost::Message;
use uuid::Uuid;

/// The major version of every event so far.
const MAJOR: u32 = 1;

/// The stored form of an event of major 1.
fn encoded(name: &'static str, message: &impl Message) -> EncodedEvent {
    EncodedEvent {
        name,
        major: MAJOR,
        public: message.encode_to_vec(),
    }
}

/// The message of an event of major 1.
fn decoded<M: Message + Default>(public: &[u8]) -> Result<M, CodecError> {
    M::decode(public).map_err(|_| CodecError::Malformed("event"))
}

fn unknown(name: &str, major: u32) -> CodecError {
    CodecError::UnknownEvent {
        name: name.to_owned(),
        major,
    }
}

/// The 16 bytes of an id.
fn bytes(id: impl Into<Uuid>) -> Bytes {
    Bytes::copy_from_slice(id.into().as_bytes())
}

/// The id of 16 bytes.
fn id<T: From<Uuid>>(bytes: &[u8]) -> Result<T, CodecError> {
    Uuid::from_slice(bytes)
        .map(T::from)
        .map_err(|_| CodecError::Malformed("id"))
}

fn ids<T: From<Uuid> + Ord>(list: &[Bytes]) -> Result<BTreeSet<T>, CodecError> {
    list.iter().map(|it| id(it)).collect()
}

fn all_bytes<T: Into<Uuid> + Copy>(ids: &BTreeSet<T>) -> Vec<Bytes> {
    ids.iter().map(|it| bytes(*it)).collect()
}

fn array<const N: usize>(bytes: &[u8]) -> Result<[u8; N], CodecError> {
    bytes.try_into().map_err(|_| CodecError::Malformed("bytes"))
}

const fn time(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros)
}

/// A time, where 0 means never.
fn optional_time(micros: i64) -> Option<Timestamp> {
    (micros != 0).then(|| time(micros))
}

fn optional_micros(time: Option<Timestamp>) -> i64 {
    time.map_or(0, Timestamp::micros)
}
