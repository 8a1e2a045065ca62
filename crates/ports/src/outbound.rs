//! Outbound: the only way out of Hearth. Resolves once, connects to what it resolved, refuses what is not listed.

use async_trait::async_trait;
use hearth_kernel::Secret;

use crate::error::Cause;

/// A mail to one person. Its text is personal: it is not logged.
#[derive(Clone, Debug)]
pub struct Mail {
    /// The address.
    pub to: Secret,
    /// One line.
    pub subject: Secret,
    /// Plain text.
    pub text: Secret,
    /// An id that is the same for each attempt, and stands in `Message-ID`, so that receivers can tell a repetition.
    pub attempt: String,
}

/// Why something did not go out.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OutboundError {
    /// The receiving side may take it later.
    #[error("the receiver is unavailable for now")]
    Retryable(#[source] Cause),
    /// The receiving side never takes it.
    #[error("the receiver refuses this")]
    Refused(#[source] Cause),
    /// No channel of this kind is configured.
    #[error("no such channel is configured")]
    NotConfigured,
}

/// The channels out.
#[async_trait]
pub trait Outbound: Send + Sync + 'static {
    /// Hands a mail to the relay. When it answers, the relay has it.
    ///
    /// # Errors
    /// See [`OutboundError`]; repeating a mail with the same attempt id is harmless.
    async fn mail(&self, mail: &Mail) -> Result<(), OutboundError>;
}
