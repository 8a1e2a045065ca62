//! The mails that accounts asks for. Notifications writes and sends them; what they say travels sealed.

use std::time::Duration;

use hearth_accounts_domain::account::{Mail, MailKind};
use hearth_api::events::v1::{
    AddressContent, AlreadyRegisteredMail, ClosingMail, InvitationMail, MailContent,
    VerificationMail, mail_content::Body,
};
use hearth_kernel::{Part, Secret, Timestamp, TokenId};
use prost::Message;

use super::App;

/// A mail that tells of something, and asks nothing, is of no use after a day.
const TELLING_LASTS: Duration = Duration::from_secs(86_400);

/// To whom, and in which language.
#[derive(Clone, Debug)]
pub(crate) struct Recipient {
    /// The address.
    pub(crate) to: String,
    /// A BCP 47 tag.
    pub(crate) locale: String,
}

impl Recipient {
    /// The address in the form that notices are sent by.
    pub(crate) fn address(&self) -> Part {
        let content = AddressContent {
            email: self.to.clone(),
            locale: self.locale.clone(),
        };
        Part::Clear(Secret::new(content.encode_to_vec()))
    }

    fn content(&self, body: Body) -> Part {
        let content = MailContent {
            to: self.to.clone(),
            locale: self.locale.clone(),
            body: Some(body),
        };
        Part::Clear(Secret::new(content.encode_to_vec()))
    }
}

/// A time on the wire.
pub(crate) fn wire_time(time: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: time.seconds(),
        // Less than a second in nanoseconds fits.
        nanos: i32::try_from(time.subsecond_micros() * 1000).unwrap_or(0),
    }
}

impl App {
    /// A mail's id, the same for the same ids: it is sent once.
    fn mail_id(&self, kind: &'static str, ids: &[&[u8]]) -> TokenId {
        self.engine.hasher().id(kind, ids).into()
    }

    pub(crate) fn verification_mail(
        &self,
        registration: hearth_kernel::RegistrationId,
        recipient: &Recipient,
        expires_at: Timestamp,
    ) -> Box<Mail> {
        let body = VerificationMail {
            code: self.secrets.verification_code(registration),
            expires_at: Some(wire_time(expires_at)),
        };
        Box::new(Mail {
            id: self.mail_id("mail/verification", &[registration.as_bytes()]),
            kind: MailKind::Verification,
            content: recipient.content(Body::Verification(body)),
            expires_at,
        })
    }

    pub(crate) fn known_address_mail(
        &self,
        registration: hearth_kernel::RegistrationId,
        recipient: &Recipient,
        now: Timestamp,
    ) -> Box<Mail> {
        Box::new(Mail {
            id: self.mail_id("mail/known-address", &[registration.as_bytes()]),
            kind: MailKind::KnownAddress,
            content: recipient.content(Body::AlreadyRegistered(AlreadyRegisteredMail {})),
            expires_at: now.plus(TELLING_LASTS),
        })
    }

    pub(crate) fn closing_mail(
        &self,
        account: hearth_kernel::AccountId,
        receipt: hearth_kernel::ReceiptId,
        recipient: &Recipient,
        grace_ends_at: Timestamp,
    ) -> Box<Mail> {
        let body = ClosingMail {
            account_id: account.to_string(),
            undo_token: self.secrets.undo_token(account, receipt),
            grace_ends_at: Some(wire_time(grace_ends_at)),
        };
        Box::new(Mail {
            id: self.mail_id("mail/closing", &[receipt.as_bytes()]),
            kind: MailKind::Closing,
            content: recipient.content(Body::Closing(body)),
            expires_at: grace_ends_at,
        })
    }

    pub(crate) fn invitation_mail(
        &self,
        recipient: &Recipient,
        invitation: hearth_kernel::InvitationId,
        body: InvitationMail,
        expires_at: Timestamp,
    ) -> Box<Mail> {
        Box::new(Mail {
            id: self.mail_id("mail/invitation", &[invitation.as_bytes()]),
            kind: MailKind::Invitation,
            content: recipient.content(Body::Invitation(body)),
            expires_at,
        })
    }
}
