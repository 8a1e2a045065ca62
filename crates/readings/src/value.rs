//! One value of one reading, its kind, and the marks that the service put on it.
//!
//! Must not know units or ranges: a value here is bits with a kind.

use std::cmp::Ordering;

use crate::error::DecodeError;

/// The id of a device: the 16 bytes of its UUID.
pub type DeviceId = [u8; 16];

/// The kind of a value. A capability has one kind; its code on disk is the discriminant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ValueKind {
    /// IEEE 754 double.
    Double = 0,
    /// Signed 64-bit integer.
    Int = 1,
    /// True or false.
    Bool = 2,
    /// UTF-8: an enumeration's name, or free text.
    Text = 3,
}

impl ValueKind {
    pub(crate) const fn code(self) -> u8 {
        self as u8
    }

    pub(crate) const fn from_code(code: u8) -> Result<Self, DecodeError> {
        match code {
            0 => Ok(Self::Double),
            1 => Ok(Self::Int),
            2 => Ok(Self::Bool),
            3 => Ok(Self::Text),
            _ => Err(DecodeError::Malformed("kind of value")),
        }
    }
}

/// A value, borrowed where it is text.
///
/// Equality and order are total and bit-exact: doubles compare by `f64::total_cmp`, so NaN equals
/// the same NaN and -0.0 is less than 0.0. Different kinds order by kind.
#[derive(Debug, Clone, Copy)]
pub enum Value<'a> {
    /// A double.
    Double(f64),
    /// An integer.
    Int(i64),
    /// A boolean.
    Bool(bool),
    /// A text.
    Text(&'a str),
}

impl Value<'_> {
    /// The kind of this value.
    #[must_use]
    pub const fn kind(&self) -> ValueKind {
        match self {
            Self::Double(_) => ValueKind::Double,
            Self::Int(_) => ValueKind::Int,
            Self::Bool(_) => ValueKind::Bool,
            Self::Text(_) => ValueKind::Text,
        }
    }
}

impl Ord for Value<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Double(a), Self::Double(b)) => a.total_cmp(b),
            (Self::Int(a), Self::Int(b)) => a.cmp(b),
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            _ => self.kind().cmp(&other.kind()),
        }
    }
}

impl PartialOrd for Value<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Value<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Value<'_> {}

/// What the service noted about a reading when it came in: a set of bits. Bits that this build does
/// not know are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Marks(u8);

impl Marks {
    /// No mark.
    pub const NONE: Self = Self(0);
    /// Observed more than five minutes ahead of when it was received: stored, never latest.
    pub const FUTURE: Self = Self(1);

    /// The set with these bits.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// The bits of the set.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Whether every mark of `other` is in this set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The marks of both.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}
