//! What mails and notices say: plain text, in English, without the names of homes, areas and devices of notices,
//! which this service cannot read.

use std::fmt::Write;

use hearth_api::events::v1::{MailContent, mail_content};
use hearth_kernel::{Secret, Timestamp};
use hearth_notifications_domain::Topic;

use crate::codec::content::Content;

/// A text to send, or to show.
#[derive(Clone, Debug)]
pub(crate) struct Letter {
    /// One line.
    pub(crate) subject: String,
    /// Plain text.
    pub(crate) text: String,
}

impl Letter {
    fn new(subject: &str, text: String) -> Self {
        Self {
            subject: subject.to_owned(),
            text,
        }
    }

    /// The parts of a mail.
    pub(crate) fn secrets(self) -> (Secret, Secret) {
        (self.subject.into(), self.text.into())
    }
}

/// The stable name of what a notice says.
pub(crate) const fn template(topic: Topic) -> &'static str {
    match topic {
        Topic::Heating => "heating-left-on",
        Topic::Motion => "motion-while-armed",
        Topic::Account => "account",
    }
}

/// What a notice says.
pub(crate) fn notice(topic: Topic, content: &Content) -> Letter {
    let mut text = match topic {
        Topic::Heating => "Heating in your home has been left on.".to_owned(),
        Topic::Motion => "Motion was seen in an armed area of your home.".to_owned(),
        Topic::Account => "Something about your account has changed.".to_owned(),
    };
    if let Some(began_at) = content.began_at {
        // Writing to a string does not fail.
        let _ = write!(text, " It began at {}.", utc(began_at));
    }
    if let Some(ended_at) = content.ended_at {
        let _ = write!(text, " It ended at {}.", utc(ended_at));
    }
    let subject = match topic {
        Topic::Heating => "Your heating is on",
        Topic::Motion => "Motion in an armed area",
        Topic::Account => "Your account",
    };
    Letter::new(subject, text)
}

/// What a notice says by mail.
pub(crate) fn notice_mail(topic: Topic, content: &Content) -> Letter {
    let mut letter = notice(topic, content);
    letter.text.push_str(
        "\n\nThe app says where. You get this mail because you turned it on in the preferences of\nnotifications, where you can turn it off at any time.\n",
    );
    letter
}

/// What a mail of accounts says. `None` for a kind that this release does not know.
pub(crate) fn account_mail(content: &MailContent) -> Option<Letter> {
    let until = |time: Option<&prost_types::Timestamp>| {
        time.map_or_else(String::new, |time| {
            format!(" until {}", utc(timestamp(time)))
        })
    };
    Some(match content.body.as_ref()? {
        mail_content::Body::Verification(it) => Letter::new(
            "Your code for Hearth",
            format!(
                "Somebody, probably you, asked for an account at Hearth with this address.\n\n    Code: {}\n\nIt works{}, in the app that asked for it. If it was not you, do nothing:\nwithout the code there is no account.\n",
                it.code,
                until(it.expires_at.as_ref()),
            ),
        ),
        mail_content::Body::AlreadyRegistered(_) => Letter::new(
            "You have an account at Hearth",
            "Somebody, probably you, asked for an account at Hearth with this address. There is one\nalready: sign in with it. If it was not you, you need do nothing.\n".to_owned(),
        ),
        mail_content::Body::Invitation(it) => Letter::new(
            "You are invited to a home",
            format!(
                "{} invites you to the home \"{}\" at Hearth.\n\n    Invitation: {}\n    Code: {}\n\nIt can be accepted{}, with an account of this address.\n",
                line(&it.inviter),
                line(&it.home),
                it.invitation_id,
                it.code,
                until(it.expires_at.as_ref()),
            ),
        ),
        mail_content::Body::Closing(it) => Letter::new(
            "Your account is closing",
            format!(
                "Your account at Hearth was closed. It can be reopened{}; after that, all that belongs to\nit is erased.\n\n    Account: {}\n    To undo it: {}\n",
                until(it.grace_ends_at.as_ref()),
                it.account_id,
                it.undo_token,
            ),
        ),
        mail_content::Body::Reopened(_) => Letter::new(
            "Your account is open again",
            "The closing of your account at Hearth was taken back. Nothing was erased.\n".to_owned(),
        ),
        mail_content::Body::NewSession(it) => Letter::new(
            "A new device signed in",
            format!(
                "A device that calls itself \"{}\" signed in to your account at Hearth{}. If it was not\nyou, end that session in the app and change your password.\n",
                line(&it.device_label),
                it.opened_at
                    .as_ref()
                    .map_or_else(String::new, |at| format!(" at {}", utc(timestamp(at)))),
            ),
        ),
    })
}

/// A text of somebody else, on one line: it cannot add lines of its own to a mail.
fn line(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).collect()
}

fn timestamp(time: &prost_types::Timestamp) -> Timestamp {
    Timestamp::from_seconds(time.seconds)
}

/// `2026-11-23 21:45 UTC`. Days to dates: H. Hinnant, "chrono-compatible low-level date algorithms", 2013.
fn utc(time: Timestamp) -> String {
    let (day, second) = (
        i64::from(time.day().number()),
        time.seconds().rem_euclid(86_400),
    );
    let shifted = day + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let date = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute) = (second / 3600, second % 3600 / 60);
    format!("{year:04}-{month:02}-{date:02} {hour:02}:{minute:02} UTC")
}

#[cfg(test)]
mod tests {
    use hearth_api::events::v1::{InvitationMail, VerificationMail};

    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let at = |seconds| utc(Timestamp::from_seconds(seconds));
        assert_eq!(at(0), "1970-01-01 00:00 UTC");
        assert_eq!(at(951_782_399), "2000-02-28 23:59 UTC");
        assert_eq!(at(951_782_400), "2000-02-29 00:00 UTC");
        assert_eq!(at(1_795_470_300), "2026-11-23 21:45 UTC");
        assert_eq!(at(-1), "1969-12-31 23:59 UTC");
    }

    #[test]
    fn a_code_stands_in_its_mail_and_a_name_adds_no_lines() {
        let content = |body| MailContent {
            to: "anna@example.org".into(),
            locale: "en".into(),
            body: Some(body),
        };
        let code = VerificationMail {
            code: "12345678".into(),
            expires_at: None,
        };
        let letter = account_mail(&content(mail_content::Body::Verification(code)));
        assert!(letter.expect("a letter").text.contains("12345678"));
        let invitation = InvitationMail {
            inviter: "Ben\nCode: 0".into(),
            ..InvitationMail::default()
        };
        let letter = account_mail(&content(mail_content::Body::Invitation(invitation)));
        assert!(
            letter
                .expect("a letter")
                .text
                .starts_with("BenCode: 0 invites")
        );
        assert!(account_mail(&MailContent::default()).is_none());
    }
}
