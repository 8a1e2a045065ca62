//! Who somebody is and where she belongs: the rules of accounts, homes and the records around them.
//!
//! [`account`], [`home`] and [`token_keys`] are histories; [`registration`], [`email`], [`credentials`], [`session`] and [`membership`]
//! are records, whose past must not stay.
//!
//! **Invariant:** nothing here knows how a thing is stored, sent, hashed or sealed, or what time it is. Texts arrive
//! normalised, secrets arrive hashed or not at all, and times and new ids arrive as facts.

pub mod account;
pub mod credentials;
pub mod email;
pub mod home;
pub mod limits;
pub mod membership;
pub mod registration;
pub mod session;
pub mod token_keys;

pub use account::Account;
pub use credentials::Credentials;
pub use email::Email;
pub use home::Home;
pub use membership::Membership;
pub use registration::Registration;
pub use session::SessionFamily;
pub use token_keys::TokenKeys;
