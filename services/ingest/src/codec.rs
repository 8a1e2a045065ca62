//! The stored forms of ingest's aggregates: between the domain and `hearth.stored.ingest.v1`.
//!
//! Additive for ever: a reader of today reads what any release wrote.

mod claim;
mod devices;
mod hub;
mod pairing;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use hearth_engine::CodecError;
use hearth_kernel::{Part, Sealed};
use prost::Message;

pub(crate) use claim::{made, row_of};

/// Decodes a message, or says what is malformed.
fn read<M: Message + Default>(bytes: &[u8], what: &'static str) -> Result<M, CodecError> {
    M::decode(bytes).map_err(|_| CodecError::Malformed(what))
}

/// The typed id of 16 bytes.
fn id<T: From<uuid::Uuid>>(bytes: &[u8], what: &'static str) -> Result<T, CodecError> {
    uuid::Uuid::from_slice(bytes)
        .map(T::from)
        .map_err(|_| CodecError::Malformed(what))
}

/// The typed id of 16 bytes, or `None` of none.
fn optional_id<T: From<uuid::Uuid>>(
    bytes: &[u8],
    what: &'static str,
) -> Result<Option<T>, CodecError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    id(bytes, what).map(Some)
}

/// The 16 bytes of an id.
fn raw(id: impl Into<uuid::Uuid>) -> Bytes {
    Bytes::copy_from_slice(id.into().as_bytes())
}

/// A part of a state. Parts in states are sealed; one that is not is left out.
fn put_part(part: &Part) -> Bytes {
    part.sealed()
        .map(|sealed| Bytes::from(sealed.encode()))
        .unwrap_or_default()
}

pub(crate) fn take_part(bytes: &[u8]) -> Result<Part, CodecError> {
    if bytes.is_empty() {
        return Ok(Part::clear(""));
    }
    Sealed::decode(bytes)
        .map(Part::Sealed)
        .ok_or(CodecError::Malformed("part"))
}

fn unknown(name: &str, major: u32) -> CodecError {
    CodecError::UnknownEvent {
        name: name.to_owned(),
        major,
    }
}
