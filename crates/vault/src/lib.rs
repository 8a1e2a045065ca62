//! hearth-vault.

mod error;
mod keyring;
mod seal;
pub mod table;

pub use error::VaultError;
pub use table::{Permission, Use};
