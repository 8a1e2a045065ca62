//! The list of reasons: stable names that clients may act on. Each has a page in `docs/reasons`.

use std::fmt;

use crate::failure::Kind;

/// Why something was refused or failed: part of the contract, never renamed.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reason {
    name: &'static str,
    kind: Kind,
    message: &'static str,
}

impl Reason {
    /// `UPPER_SNAKE_CASE`, as in `google.rpc.ErrorInfo.reason`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The kind it belongs to.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// A fixed English sentence for developers.
    #[must_use]
    pub const fn message(&self) -> &'static str {
        self.message
    }
}

impl fmt::Debug for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

macro_rules! reasons {
    ($($name:ident => $kind:ident, $message:literal;)+) => {
        #[expect(missing_docs, reason = "the message says what a reason means, and docs/reasons has a page each")]
        impl Reason {
            $(pub const $name: Self =
                Self { name: stringify!($name), kind: Kind::$kind, message: $message };)+

            /// Every reason, in the order of this file.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];
        }
    };
}

reasons! {
    // What any RPC may answer.
    INVALID_REQUEST => Invalid, "the request has fields that are missing, malformed or out of bounds";
    UNKNOWN_RPC => Invalid, "there is no such method";
    UNSUPPORTED_ENCODING => Invalid, "messages are not taken in this encoding; send them uncompressed";
    REQUEST_ID_REUSED => Rejected, "this request id was used for another request";
    NOT_FOUND => NotFound, "there is no such object, or none that you may see";
    TOO_MANY_CONFLICTS => Conflict, "others kept changing the same object; read it again and retry";
    NOT_SIGNED_IN => Unauthenticated, "a valid access token is required";
    FRESH_SIGN_IN_REQUIRED => Unauthenticated, "this needs a sign-in of the last 15 minutes";
    NOT_ALLOWED => Forbidden, "your role does not permit this";
    TOO_MANY_REQUESTS => Limited, "too many requests; wait before the next";
    QUOTA_EXCEEDED => Limited, "a limit on count or size is reached";
    MESSAGE_TOO_LARGE => Limited, "the message is larger than this method accepts";
    TEMPORARILY_UNAVAILABLE => Unavailable, "nothing was changed; try again";
    STALE_KNOWLEDGE => Unavailable, "this process does not know the current state well enough to answer";
    SHUTTING_DOWN => Unavailable, "this process is draining; try again";
    DEADLINE_EXCEEDED => Deadline, "the call took longer than its deadline";
    WRITE_OUTCOME_UNKNOWN => Unknown, "the write may have happened; repeat it with the same request id";
    INTERNAL => Bug, "something went wrong on our side";
    DATA_CORRUPT => Corrupt, "stored data is not what was written";
    ERASED => NotFound, "this has been erased";
    // Append the reasons of a service below, under a comment with its name.
    // Accounts.
    INVALID_CREDENTIALS => Unauthenticated, "e-mail address or password is wrong";
    VERIFICATION_FAILED => Rejected, "the code or the client is not the right one, or the registration is over";
    SESSION_ENDED => Unauthenticated, "this session has ended; sign in again";
    ACCOUNT_CLOSING => Rejected, "the account is closing; reopen it first";
    ACCOUNT_NOT_CLOSING => Rejected, "the account is not closing";
    INVITATION_NOT_VALID => Rejected, "the invitation is unknown, taken or over";
    ALREADY_MEMBER => Exists, "the account is a member of this home already";
    MEMBER_CLOSING => Rejected, "the member's account is closing, and the home would end with it";
    LAST_OWNER => Rejected, "a home needs an owner; hand it over first";
    ROLE_ABOVE_OWN => Forbidden, "nobody grants or takes a role above her own";
    AREA_NAME_TAKEN => Exists, "an area of this home has that name";
    // Ingest.
    PAIRING_CODE_NOT_VALID => Rejected, "the code is unknown, used or over; ask the hub for a new one";
    HUB_NOT_PROVED => Unauthenticated, "the hub's signature, nonce or claim is not valid";
    CLAIM_ENDED => Unauthenticated, "this claim has ended; pair the hub again";
    CLOCK_TOO_FAR_OFF => Rejected, "the time of the signature is more than 5 minutes off";
    UNKNOWN_DEVICE => Invalid, "the home has no such device";
    UNKNOWN_CAPABILITY => Invalid, "the device has no such capability";
    VALUE_OUT_OF_RANGE => Invalid, "the value is outside the range of its capability";
    VALUE_OF_OTHER_TYPE => Invalid, "the value is not of the capability's type";
    EXPIRED => Invalid, "the reading is older than its period; it is dropped and counts as stored";
    TIME_TOO_FAR_AHEAD => Invalid, "the time of the reading is more than a year ahead";
    BATCH_MALFORMED => Invalid, "the columns of the batch do not fit each other, or are above their bounds";
    SEQUENCE_BEYOND_WINDOW => Invalid, "the sequence is beyond the credit window";
    STREAM_NEARLY_FULL => Unavailable, "readings are not taken for a while; send them again later";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_upper_snake_case() {
        let mut seen = std::collections::BTreeSet::new();
        for reason in Reason::ALL {
            assert!(
                seen.insert(reason.name()),
                "{} is listed twice",
                reason.name()
            );
            assert!(
                reason
                    .name()
                    .chars()
                    .all(|c| c.is_ascii_uppercase() || c == '_')
            );
            assert!(!reason.message().ends_with('.'), "{}", reason.name());
        }
    }
}
