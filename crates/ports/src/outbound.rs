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

/// The longest address in bytes (RFC 5321, section 4.5.3.1).
pub const LONGEST_ADDRESS: usize = 254;
/// The longest subject in bytes: encoded it still fits the lines that RFC 5322 allows.
pub const LONGEST_SUBJECT: usize = 512;
/// The longest text in bytes.
pub const LONGEST_TEXT: usize = 128 * 1024;
/// The longest attempt id in bytes.
pub const LONGEST_ATTEMPT: usize = 64;

impl Mail {
    /// The field that makes this no mail, if there is one: not text, empty, too long, or with control characters that
    /// could begin a header or a command. Every channel refuses such a mail for good.
    #[must_use]
    pub fn wrong_field(&self) -> Option<&'static str> {
        let line = |secret: &Secret, longest: usize| {
            let text = secret.expose_text();
            text.is_some_and(|text| {
                !text.is_empty() && text.len() <= longest && !text.contains(char::is_control)
            })
        };
        let text = self.text.expose_text();
        let has_text = text.is_some_and(|text| {
            let odd = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
            text.len() <= LONGEST_TEXT && !text.contains(odd)
        });
        let safe = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
        let attempt = (1..=LONGEST_ATTEMPT).contains(&self.attempt.len());
        if !line(&self.to, LONGEST_ADDRESS) {
            Some("address")
        } else if !line(&self.subject, LONGEST_SUBJECT) {
            Some("subject")
        } else if !has_text {
            Some("text")
        } else if !(attempt && self.attempt.bytes().all(safe)) {
            Some("attempt id")
        } else {
            None
        }
    }
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
    /// Hands a mail to the relay. When it answers, the relay has it, whole and unchanged but for line ends. A channel
    /// bounds the whole of it by a deadline of its own, at most 55 s, and never waits longer.
    ///
    /// # Errors
    /// `Refused` for a mail with a [`Mail::wrong_field`], of which nothing leaves, and for what the relay refuses for
    /// good; `Retryable` for the rest. Repeating a mail with the same attempt id is harmless.
    async fn mail(&self, mail: &Mail) -> Result<(), OutboundError>;
}
