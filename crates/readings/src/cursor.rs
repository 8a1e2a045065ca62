//! Reading and writing the small parts: bytes, variable-length integers, counts.
//!
//! Varints are LEB128, signed ones zigzag (both as in the protocol buffers encoding). The reader
//! never goes beyond its slice, and knows no format.

use crate::error::DecodeError;

/// Writes an unsigned integer in 1 to 10 bytes.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// Writes a count or length.
pub(crate) fn put_count(out: &mut Vec<u8>, count: usize) {
    // A usize has at most 64 bits on every target of this project.
    put_varint(out, u64::try_from(count).unwrap_or(u64::MAX));
}

/// Writes a signed integer; small magnitudes are short.
pub(crate) fn put_zigzag(out: &mut Vec<u8>, value: i64) {
    put_varint(out, zigzag(value));
}

/// Bytes that [`put_zigzag`] takes.
pub(crate) fn zigzag_len(value: i64) -> usize {
    let bits = 64 - (zigzag(value) | 1).leading_zeros();
    usize::try_from(bits.div_ceil(7)).unwrap_or(10)
}

const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

/// A position in bytes that only moves forward.
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Bytes not read yet.
    pub(crate) const fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Everything not read yet.
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next `count` bytes.
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (head, tail) = self
            .rest
            .split_at_checked(count)
            .ok_or(DecodeError::Truncated)?;
        self.rest = tail;
        Ok(head)
    }

    /// The next `N` bytes.
    pub(crate) fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], DecodeError> {
        let (head, tail) = self
            .rest
            .split_first_chunk()
            .ok_or(DecodeError::Truncated)?;
        self.rest = tail;
        Ok(head)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, DecodeError> {
        let (&head, tail) = self.rest.split_first().ok_or(DecodeError::Truncated)?;
        self.rest = tail;
        Ok(head)
    }

    pub(crate) fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::Malformed("varint of more than 64 bits"))
    }

    pub(crate) fn zigzag(&mut self) -> Result<i64, DecodeError> {
        let raw = self.varint()?;
        Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
    }

    /// A count or size that must not be above `limit`.
    pub(crate) fn count(&mut self, limit: usize, what: &'static str) -> Result<usize, DecodeError> {
        let found = self.varint()?;
        match usize::try_from(found) {
            Ok(count) if count <= limit => Ok(count),
            _ => {
                let limit = u64::try_from(limit).unwrap_or(u64::MAX);
                Err(DecodeError::TooLarge { what, found, limit })
            }
        }
    }

    /// A count of things that each take at least `each` bytes, which must be there.
    pub(crate) fn count_of(
        &mut self,
        limit: usize,
        each: usize,
        what: &'static str,
    ) -> Result<usize, DecodeError> {
        let count = self.count(limit, what)?;
        if count.saturating_mul(each) > self.remaining() {
            return Err(DecodeError::Truncated);
        }
        Ok(count)
    }

    /// Ends the reading: nothing may be left.
    pub(crate) const fn finish(&self) -> Result<(), DecodeError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(DecodeError::Trailing(self.rest.len()))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn zigzag_round_trips_in_the_length_foretold(value: i64) {
            let mut out = Vec::new();
            put_zigzag(&mut out, value);
            prop_assert_eq!(out.len(), zigzag_len(value));
            let mut cursor = Cursor::new(&out);
            prop_assert_eq!(cursor.zigzag(), Ok(value));
            prop_assert_eq!(cursor.finish(), Ok(()));
        }
    }

    #[test]
    fn a_varint_of_more_than_64_bits_is_refused() {
        let mut bytes = vec![0xff; 9];
        bytes.push(2);
        assert!(matches!(
            Cursor::new(&bytes).varint(),
            Err(DecodeError::Malformed(_))
        ));
        bytes[9] = 1;
        assert_eq!(Cursor::new(&bytes).varint(), Ok(u64::MAX));
    }
}
