//! What a member may do in a home.

/// A member's role. The order is that of power: a later one may do all that an earlier one may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// May see the areas named in the invitation, until it expires.
    Guest,
    /// May see and use everything in the home.
    Adult,
    /// May also invite, remove and pair.
    Admin,
    /// May also hand the home over and end it.
    Owner,
}

impl Role {
    /// Every role, weakest first.
    pub const ALL: [Self; 4] = [Self::Guest, Self::Adult, Self::Admin, Self::Owner];

    /// A stable number, for encodings; 0 is never used.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Guest => 1,
            Self::Adult => 2,
            Self::Admin => 3,
            Self::Owner => 4,
        }
    }

    /// The role with that number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.number() == number)
    }
}
