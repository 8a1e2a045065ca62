//! Mail by SMTP. The relay's name is resolved once per mail and the connection goes to what was resolved; TLS is by
//! name. Private networks are refused unless they are allowed. What the relay answers is never logged: it repeats addresses.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hearth_kernel::Secret;
use hearth_ports::{Mail, Outbound, OutboundError};
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};

use crate::config;
use crate::exit::Exit;

/// Bytes of an encoded word before they are encoded: a word has at most 75 characters.
const WORD_BYTES: usize = 45;

/// What went wrong, in words that hold nothing of the mail.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MailError {
    /// The name has no address.
    #[error("the relay's name does not resolve")]
    Unresolved,
    /// The address is private and that is not allowed.
    #[error("the relay lies in a private network, which smtp.allow_private does not allow")]
    Private,
    /// A field of the mail is not one.
    #[error("the mail has no valid {0}")]
    Malformed(&'static str),
    /// The relay refused, with this code.
    #[error("the relay answered {0}")]
    Answer(String),
    /// No connection, or none that is protected.
    #[error("no connection to the relay ({0})")]
    Connection(&'static str),
    /// It took too long.
    #[error("the relay took too long")]
    Timeout,
}

impl MailError {
    fn retryable(self) -> OutboundError {
        OutboundError::Retryable(Arc::new(self))
    }

    fn refused(self) -> OutboundError {
        OutboundError::Refused(Arc::new(self))
    }
}

/// The mail relay of `[smtp]`.
pub struct SmtpRelay {
    host: String,
    port: u16,
    from: Mailbox,
    tls: Option<(config::SmtpTls, TlsParameters)>,
    credentials: Option<Credentials>,
    allow_private: bool,
    timeout: Duration,
}

impl std::fmt::Debug for SmtpRelay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SmtpRelay")
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

/// No channel is configured: every mail waits.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoOutbound;

#[async_trait]
impl Outbound for NoOutbound {
    async fn mail(&self, _: &Mail) -> Result<(), OutboundError> {
        Err(OutboundError::NotConfigured)
    }
}

/// The way out that `[smtp]` describes.
///
/// # Errors
/// `Usage` when an option does not work: the sender's address, a file, a name.
pub fn outbound(smtp: &config::Smtp) -> Result<Arc<dyn Outbound>, Exit> {
    if smtp.host.is_empty() {
        return Ok(Arc::new(NoOutbound));
    }
    Ok(Arc::new(SmtpRelay::new(smtp)?))
}

impl SmtpRelay {
    /// The relay of these options.
    ///
    /// # Errors
    /// As [`outbound`].
    pub fn new(smtp: &config::Smtp) -> Result<Self, Exit> {
        let from = smtp.from.parse();
        let from = from.map_err(|_| Exit::usage("smtp.from is not an address"))?;
        let tls = match smtp.tls {
            config::SmtpTls::None => None,
            mode => Some((mode, tls_parameters(smtp)?)),
        };
        let credentials = if smtp.username.is_empty() {
            None
        } else {
            let read = std::fs::read_to_string(&smtp.password_file);
            let password = Secret::from(read.map_err(|error| {
                Exit::usage(format!(
                    "smtp.password_file {} cannot be read: {error}",
                    smtp.password_file.display()
                ))
            })?);
            let text = password.expose_text().unwrap_or_default();
            let text = text.strip_suffix('\n').unwrap_or(text);
            let text = text.strip_suffix('\r').unwrap_or(text);
            Some(Credentials::new(smtp.username.clone(), text.to_owned()))
        };
        Ok(Self {
            host: smtp.host.clone(),
            port: smtp.port,
            from,
            tls,
            credentials,
            allow_private: smtp.allow_private,
            timeout: Duration::from_secs(u64::from(smtp.timeout_seconds)),
        })
    }

    fn message(&self, mail: &Mail) -> Result<Message, MailError> {
        if let Some(field) = mail.wrong_field() {
            return Err(MailError::Malformed(field));
        }
        let text = |secret: &Secret, what| {
            secret
                .expose_text()
                .map(str::to_owned)
                .ok_or(MailError::Malformed(what))
        };
        let subject = text(&mail.subject, "subject")?;
        let to = text(&mail.to, "address")?;
        let to: Mailbox = to.parse().map_err(|_| MailError::Malformed("address"))?;
        let builder = Message::builder().from(self.from.clone()).to(to);
        let builder = if subject.contains("=?") {
            builder.raw_header(literal_subject(subject))
        } else {
            builder.subject(subject)
        };
        builder
            .message_id(Some(format!(
                "<{}@{}>",
                mail.attempt,
                self.from.email.domain()
            )))
            .header(ContentType::TEXT_PLAIN)
            .body(text(&mail.text, "text")?)
            .map_err(|_| MailError::Malformed("form"))
    }

    /// One address of the relay. When any of them is private and that is not allowed, none is taken.
    async fn resolve(&self) -> Result<IpAddr, MailError> {
        let found = tokio::net::lookup_host((self.host.as_str(), self.port)).await;
        let found: Vec<SocketAddr> = found.map_err(|_| MailError::Unresolved)?.collect();
        if !self.allow_private && found.iter().any(|address| !is_public(address.ip())) {
            return Err(MailError::Private);
        }
        found
            .first()
            .map(SocketAddr::ip)
            .ok_or(MailError::Unresolved)
    }

    async fn hand_over(&self, message: Message) -> Result<(), OutboundError> {
        let address = self.resolve().await.map_err(|error| match error {
            MailError::Private => error.refused(),
            error => error.retryable(),
        })?;
        let tls = match self.tls.clone() {
            None => Tls::None,
            Some((config::SmtpTls::Implicit, parameters)) => Tls::Wrapper(parameters),
            Some((_, parameters)) => Tls::Required(parameters),
        };
        let mut relay =
            AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(address.to_string())
                .port(self.port)
                .tls(tls)
                .timeout(Some(self.timeout));
        if let Some(credentials) = self.credentials.clone() {
            relay = relay.credentials(credentials);
        }
        relay
            .build()
            .send(message)
            .await
            .map(|_| ())
            .map_err(|error| classify(&error))
    }
}

#[async_trait]
impl Outbound for SmtpRelay {
    async fn mail(&self, mail: &Mail) -> Result<(), OutboundError> {
        let message = self.message(mail).map_err(MailError::refused)?;
        match tokio::time::timeout(self.timeout, self.hand_over(message)).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => Err(MailError::Timeout.retryable()),
        }
    }
}

/// A subject that looks like encoded words (RFC 2047), encoded, so that a reader shows it as it was written: names that
/// stand in it were chosen by people. The mail library encodes only what is not ASCII.
fn literal_subject(subject: String) -> HeaderValue {
    let (mut words, mut word) = (Vec::new(), String::new());
    for character in subject.chars() {
        if word.len() + character.len_utf8() > WORD_BYTES {
            words.push(std::mem::take(&mut word));
        }
        word.push(character);
    }
    words.push(word);
    let words = words
        .iter()
        .map(|word| format!("=?utf-8?b?{}?=", STANDARD.encode(word)));
    let encoded = words.collect::<Vec<_>>().join("\r\n ");
    let name = HeaderName::new_from_ascii_str("Subject");
    HeaderValue::dangerous_new_pre_encoded(name, subject, encoded)
}

fn tls_parameters(smtp: &config::Smtp) -> Result<TlsParameters, Exit> {
    let mut builder = TlsParameters::builder(smtp.host.clone());
    if !smtp.tls_ca.as_os_str().is_empty() {
        let wrong = |error: String| {
            Exit::usage(format!(
                "smtp.tls_ca {} cannot be used: {error}",
                smtp.tls_ca.display()
            ))
        };
        let pem = std::fs::read(&smtp.tls_ca).map_err(|error| wrong(error.to_string()))?;
        let certificate = Certificate::from_pem(&pem).map_err(|error| wrong(error.to_string()))?;
        builder = builder.add_root_certificate(certificate);
    }
    builder
        .build_rustls()
        .map_err(|error| Exit::failed("TLS for mail does not work", &error))
}

/// What an error of the transport means. Only the code of an answer is kept: its text may repeat the address.
fn classify(error: &lettre::transport::smtp::Error) -> OutboundError {
    if let Some(code) = error.status() {
        let number = code.to_string();
        // 530 to 538 are about our own sign-in (RFC 4954, section 6): ours to put right, and no fault of the mail.
        let ours = number.starts_with("53");
        let answer = MailError::Answer(number);
        return if error.is_permanent() && !ours {
            answer.refused()
        } else {
            answer.retryable()
        };
    }
    if error.is_timeout() {
        return MailError::Timeout.retryable();
    }
    let what = if error.is_tls() { "TLS" } else { "network" };
    MailError::Connection(what).retryable()
}

/// Whether an address is one of the open Internet (IANA special-purpose registries, RFC 6890).
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            !(address.is_private()
                || address.is_loopback()
                || address.is_link_local()
                || address.is_broadcast()
                || address.is_documentation()
                || address.is_multicast()
                || a == 0
                || a >= 240
                || a == 100 && (64..128).contains(&b)
                || a == 192 && b == 0 && c == 0
                || a == 198 && (b == 18 || b == 19))
        }
        IpAddr::V6(address) => {
            let [a, b, ..] = address.segments();
            // Global unicast is 2000::/3, without documentation, benchmarking, ORCHID, Teredo and 6to4.
            a & 0xe000 == 0x2000
                && a != 0x2002
                && !(a == 0x2001 && (b < 0x200 || b == 0xdb8))
                && a != 0x3fff
        }
    }
}

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod tests;
