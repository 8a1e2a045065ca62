//! The catalogue of capabilities: what a device can measure or be, with unit, type and range.

/// One typed measure or state of a device: the stable number it has in `hearth.types.v1.Capability`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Capability(u16);

impl Capability {
    /// The stable number.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }
}
