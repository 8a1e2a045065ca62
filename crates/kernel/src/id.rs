//! Typed ids: 128 bits each, random or keyed hashes, so that an id tells neither when nor who.
//!
//! Nothing here makes an id: randomness and hash keys live outside the kernel. An id is written as 32
//! lower-case hexadecimal digits everywhere (subjects, keys, logs, the API), which is one token on every store.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

/// Why a text is not an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an id: 32 hexadecimal digits are expected")]
pub struct IdParseError;

macro_rules! typed_ids {
    ($($(#[$doc:meta])* $name:ident;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Uuid);

        impl $name {
            /// The id with these 16 bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            /// The id with these bytes, if there are exactly 16.
            #[must_use]
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                Uuid::from_slice(bytes).ok().map(Self)
            }

            /// The 16 bytes of the id.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// Whether all bits are zero, which no made id is.
            #[must_use]
            pub const fn is_nil(&self) -> bool {
                self.0.is_nil()
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_simple().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0.as_simple())
            }
        }

        impl FromStr for $name {
            type Err = IdParseError;

            fn from_str(text: &str) -> Result<Self, IdParseError> {
                if text.len() != 32 {
                    return Err(IdParseError);
                }
                Uuid::try_parse(text).map(Self).map_err(|_| IdParseError)
            }
        }
    )+};
}

typed_ids! {
    /// A person's account.
    AccountId;
    /// A room or zone of a home.
    AreaId;
    /// A question, complaint or rights request.
    CaseId;
    /// The pairing of one hub with one home; a new pairing is a new claim.
    ClaimId;
    /// One command's append to the log.
    CommitId;
    /// A thing in an area of a home.
    DeviceId;
    /// One run of a rule's condition, from becoming true to becoming false.
    EpisodeId;
    /// The erasure of one owner.
    ErasureId;
    /// A household or an office.
    HomeId;
    /// A Smart Box.
    HubId;
    /// One life of a hub's buffer: drawn anew when the hub loses it.
    HubStreamId;
    /// This installation: its data, its keys and its escrow all name it.
    InstallationId;
    /// An invitation to a home.
    InvitationId;
    /// One data key of one ring.
    KeyId;
    /// A person's place in one home: what shared things name instead of her account.
    MembershipId;
    /// One notification to one member.
    NoticeId;
    /// One attempt to pair a hub.
    PairingId;
    /// The proof of an erasure; names nobody.
    ReceiptId;
    /// One registration, known before the account is.
    RegistrationId;
    /// A client's request, for idempotency.
    RequestId;
    /// A rule of a home.
    RuleId;
    /// A signed-in device of an account.
    SessionId;
    /// A single-use token, such as that of a verification mail.
    TokenId;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_32_digits_and_parses_back() {
        let id = HomeId::from_bytes([0xab; 16]);
        assert_eq!(id.to_string(), "ab".repeat(16));
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn other_spellings_are_refused() {
        for text in [
            "",
            "ab",
            "abababab-abab-abab-abab-abababababab",
            &"g".repeat(32),
        ] {
            assert_eq!(text.parse::<HomeId>(), Err(IdParseError), "{text}");
        }
    }
}
