//! Events and states in their stored form, and back. The only module that knows the stored form.
//!
//! A field that a newer release wrote is skipped, an event that it wrote is not: what cannot be understood fails the
//! load. A breaking change is a new major and an upcaster here; nothing that was ever written is forgotten.

mod account;
mod home;
mod records;
#[cfg(test)]
mod tests;
mod token_keys;

use std::collections::BTreeSet;

use bytes::Bytes;
use hearth_engine::{CodecError, EncodedEvent};
use hearth_kernel::{Part, Role, Sealed, Secret, Timestamp};
use prost::Message;
use uuid::Uuid;

pub(crate) use home::choice_out;

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

/// The id, where empty bytes mean none.
fn optional_id<T: From<Uuid>>(bytes: &[u8]) -> Result<Option<T>, CodecError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    id(bytes).map(Some)
}

fn ids<T: From<Uuid> + Ord>(list: &[Bytes]) -> Result<BTreeSet<T>, CodecError> {
    list.iter().map(|it| id(it)).collect()
}

fn all_bytes<T: Into<Uuid> + Copy>(ids: &BTreeSet<T>) -> Vec<Bytes> {
    ids.iter().map(|it| bytes(*it)).collect()
}

fn hash(bytes: &[u8]) -> Result<[u8; 32], CodecError> {
    bytes.try_into().map_err(|_| CodecError::Malformed("hash"))
}

/// A part that the engine fills in from where it is stored.
fn empty_part() -> Part {
    Part::Clear(Secret::default())
}

/// A part of a state, self-contained; empty for one that was never sealed, which no stored state has.
fn part_bytes(part: &Part) -> Bytes {
    part.sealed()
        .map_or_else(Bytes::new, |sealed| sealed.encode().into())
}

fn part(bytes: &[u8]) -> Result<Part, CodecError> {
    optional_part(bytes).map(|part| part.unwrap_or_else(empty_part))
}

fn optional_part(bytes: &[u8]) -> Result<Option<Part>, CodecError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let sealed = Sealed::decode(bytes).ok_or(CodecError::Malformed("part"))?;
    Ok(Some(Part::Sealed(sealed)))
}

fn optional_part_bytes(part: Option<&Part>) -> Bytes {
    part.map_or_else(Bytes::new, part_bytes)
}

fn time(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros)
}

/// A time, where 0 means never.
fn optional_time(micros: i64) -> Option<Timestamp> {
    (micros != 0).then(|| time(micros))
}

fn optional_micros(time: Option<Timestamp>) -> i64 {
    time.map_or(0, Timestamp::micros)
}

/// The role as the contract numbers it: the kernel's numbers are the same.
fn role(number: i32) -> Result<Role, CodecError> {
    u8::try_from(number)
        .ok()
        .and_then(Role::from_number)
        .ok_or(CodecError::Malformed("role"))
}

fn role_number(role: Role) -> i32 {
    i32::from(role.number())
}
