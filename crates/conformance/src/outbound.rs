//! The suite of channels out: a mail arrives whole or not at all, nothing in it becomes a header or a command, and what
//! comes of it is told apart. An instance is a channel together with its far side, where a case looks what arrived.

use std::future::Future;
use std::sync::Arc;

use async_trait::async_trait;
use hearth_kernel::Secret;
use hearth_ports::outbound::{LONGEST_ATTEMPT, LONGEST_SUBJECT, LONGEST_TEXT};
use hearth_ports::{Mail, Outbound, OutboundError};

use crate::Instance;
use crate::instance::within;

/// A mail as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// To whom the envelope says.
    pub to: Vec<String>,
    /// The subject, decoded.
    pub subject: String,
    /// The text, decoded, with `\n` as line ends.
    pub text: String,
    /// The attempt id, as it stands in the message's own id.
    pub attempt: String,
}

/// What the far side does with the next mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Says that it may take it later.
    Later,
    /// Says that it never takes it.
    Never,
    /// Says nothing, and keeps the connection.
    Hang,
}

/// A channel and its far side.
#[async_trait]
pub trait Channel: Send + Sync + 'static {
    /// The channel.
    fn outbound(&self) -> Arc<dyn Outbound>;

    /// Everything that arrived, repetitions included, oldest first.
    async fn arrived(&self) -> Vec<Arrived>;

    /// Answers the next mail so, and takes those after it.
    fn answer_next(&self, answer: Answer);
}

/// A channel with something before it, such as faults.
pub struct Through {
    channel: Arc<dyn Channel>,
    outbound: Arc<dyn Outbound>,
}

impl Through {
    /// That channel, reached through what `wrap` makes of its outbound.
    pub fn new(
        channel: Arc<dyn Channel>,
        wrap: impl FnOnce(Arc<dyn Outbound>) -> Arc<dyn Outbound>,
    ) -> Arc<Self> {
        let outbound = wrap(channel.outbound());
        Arc::new(Self { channel, outbound })
    }
}

impl std::fmt::Debug for Through {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Through")
    }
}

#[async_trait]
impl Channel for Through {
    fn outbound(&self) -> Arc<dyn Outbound> {
        Arc::clone(&self.outbound)
    }

    async fn arrived(&self) -> Vec<Arrived> {
        self.channel.arrived().await
    }

    fn answer_next(&self, answer: Answer) {
        self.channel.answer_next(answer);
    }
}

/// What channels may differ in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// Whether its far side can hang: one in memory cannot.
    pub hangs: bool,
    /// Whether calls are repeated underneath, as by [`crate::Patient`]: then a mail may arrive again, and "later" is
    /// not seen.
    pub repeated: bool,
}

impl Default for Capabilities {
    fn default() -> Self {
        Self {
            hangs: true,
            repeated: false,
        }
    }
}

impl Capabilities {
    /// The same without a far side that can hang.
    #[must_use]
    pub const fn without_hanging(self) -> Self {
        Self {
            hangs: false,
            ..self
        }
    }

    /// The same with calls that are repeated underneath.
    #[must_use]
    pub const fn repeated(self) -> Self {
        Self {
            repeated: true,
            ..self
        }
    }
}

suite! { $
    /// Every case of channels out.
    suite, outbound_conformance, outbound, dyn Channel:
    a_mail_arrives_whole,
    the_longest_mail_arrives_whole,
    nothing_in_a_field_becomes_a_header_or_a_command,
    what_is_too_long_or_no_text_is_refused,
    later_and_never_are_told_apart,
    a_repetition_bears_the_same_id,
    a_far_side_that_hangs_is_given_up,
}

fn mail(attempt: &str) -> Mail {
    Mail {
        to: Secret::from("anna@example.org"),
        subject: Secret::from("Your heating is on"),
        text: Secret::from("Since 8 o'clock.\n"),
        attempt: attempt.to_owned(),
    }
}

async fn send(channel: &dyn Channel, mail: &Mail) -> Result<(), OutboundError> {
    within(channel.outbound().mail(mail)).await
}

/// What arrived, each attempt once; repetitions must be the same mail.
async fn delivered(channel: &dyn Channel) -> Vec<Arrived> {
    let mut delivered: Vec<Arrived> = Vec::new();
    for mail in channel.arrived().await {
        match delivered.iter().find(|it| it.attempt == mail.attempt) {
            Some(first) => assert_eq!(*first, mail, "a repetition is the same mail"),
            None => delivered.push(mail),
        }
    }
    delivered
}

#[track_caller]
fn assert_refused(answer: &Result<(), OutboundError>, what: &str) {
    assert!(
        matches!(answer, Err(OutboundError::Refused(_))),
        "{what}: {answer:?}"
    );
}

async fn assert_arrives(channel: &dyn Channel, mail: &Mail) {
    let sent = send(channel, mail).await;
    sent.expect("taken");
    let text = |secret: &Secret| secret.expose_text().expect("text").to_owned();
    let arrived = delivered(channel).await;
    let arrived = arrived.last().expect("a mail");
    assert_eq!(arrived.to, [text(&mail.to)]);
    assert_eq!(arrived.subject, text(&mail.subject));
    // A mail's text ends with a line end, whether it was written or not.
    let lines = |text: &str| text.replace("\r\n", "\n").trim_end_matches('\n').to_owned();
    assert_eq!(lines(&arrived.text), lines(&text(&mail.text)));
    assert_eq!(arrived.attempt, mail.attempt);
}

/// Subject and text arrive as they were, whatever a relay's protocol means by them.
pub async fn a_mail_arrives_whole(instance: Instance<dyn Channel>, _: Capabilities) {
    let channel = instance.store();
    let texts = [
        "Since 8 o'clock.\n",
        "Ä, ß, 漢字, 🙂 and \u{202e}others.\n",
        "one\r\ntwo\n\nfour",
        ".\n..\n.dots\nin front\n.\nMAIL FROM:<x@example.org>\nQUIT\n",
        "Bcc: x@example.org\nSubject: other\n\nnot a header\n",
        "=41 =?utf-8?q?x?= equals=\n\ttab and space \nFrom here\n",
    ];
    for (n, text) in texts.iter().enumerate() {
        let mut mail = mail(&format!("whole-{n}"));
        mail.text = Secret::from(*text);
        assert_arrives(&*channel, &mail).await;
    }
    let subjects = [
        "Läuft: 漢字 🙂",
        "=?utf-8?q?x?= as it is written",
        "a colon: and <angles> \"quotes\"",
    ];
    for (n, subject) in subjects.iter().enumerate() {
        let mut mail = mail(&format!("subject-{n}"));
        mail.subject = Secret::from(*subject);
        assert_arrives(&*channel, &mail).await;
    }
    let sent = texts.len() + subjects.len();
    assert_eq!(delivered(&*channel).await.len(), sent, "one each, no more");
}

/// The bounds are reached: what is as long as it may be arrives.
pub async fn the_longest_mail_arrives_whole(instance: Instance<dyn Channel>, _: Capabilities) {
    let channel = instance.store();
    let mut mail = mail(&"a".repeat(LONGEST_ATTEMPT));
    mail.subject = Secret::from("word ".repeat(LONGEST_SUBJECT / 5).trim().to_owned());
    // One line, far longer than a line of a mail may be.
    mail.text = Secret::from("x".repeat(LONGEST_TEXT));
    assert_arrives(&*channel, &mail).await;
}

/// Control characters in a field of one line are refused, and nothing leaves.
pub async fn nothing_in_a_field_becomes_a_header_or_a_command(
    instance: Instance<dyn Channel>,
    _: Capabilities,
) {
    let channel = instance.store();
    for end in ["\r\n", "\n", "\r", "\0", "\u{85}", "\u{b}"] {
        let mut to = mail("to");
        to.to = Secret::from(format!("anna@example.org{end}RCPT TO:<x@example.org>"));
        let mut closed = mail("closed");
        closed.to = Secret::from(format!("anna@example.org>{end}DATA"));
        let mut subject = mail("subject");
        subject.subject = Secret::from(format!("on{end}Bcc: x@example.org"));
        let mut attempt = mail("attempt");
        attempt.attempt = format!("a>{end}Bcc: x@example.org");
        for mail in [&to, &closed, &subject, &attempt] {
            assert_refused(&send(&*channel, mail).await, end);
        }
    }
    for attempt in ["a>", "a b", "<a", "a@b", "ä", "a\""] {
        assert_refused(&send(&*channel, &mail(attempt)).await, attempt);
    }
    assert_eq!(channel.arrived().await, []);
}

/// What is empty, too long or no text is refused for good, and nothing leaves.
pub async fn what_is_too_long_or_no_text_is_refused(
    instance: Instance<dyn Channel>,
    _: Capabilities,
) {
    let channel = instance.store();
    let made = |change: fn(&mut Mail)| {
        let mut mail = mail("long");
        change(&mut mail);
        mail
    };
    let mails = [
        (
            "text",
            made(|it| it.text = Secret::from("x".repeat(LONGEST_TEXT + 1))),
        ),
        (
            "subject",
            made(|it| it.subject = Secret::from("x".repeat(LONGEST_SUBJECT + 1))),
        ),
        (
            "attempt",
            made(|it| it.attempt = "x".repeat(LONGEST_ATTEMPT + 1)),
        ),
        ("no attempt", made(|it| it.attempt = String::new())),
        ("no subject", made(|it| it.subject = Secret::from(""))),
        ("no address", made(|it| it.to = Secret::from(""))),
        (
            "address",
            made(|it| it.to = Secret::from(format!("{}@example.org", "x".repeat(300)))),
        ),
        (
            "no text",
            made(|it| it.text = Secret::new(vec![0xff, 0xfe])),
        ),
        ("control", made(|it| it.text = Secret::from("a\0b"))),
    ];
    for (what, mail) in &mails {
        assert_refused(&send(&*channel, mail).await, what);
    }
    assert_eq!(channel.arrived().await, []);
}

/// A refusal for now may be repeated, one for good may not.
pub async fn later_and_never_are_told_apart(instance: Instance<dyn Channel>, can: Capabilities) {
    let channel = instance.store();
    channel.answer_next(Answer::Later);
    let answer = send(&*channel, &mail("later")).await;
    if can.repeated {
        answer.expect("asked again until it was taken");
    } else {
        assert!(
            matches!(answer, Err(OutboundError::Retryable(_))),
            "{answer:?}"
        );
        assert_eq!(channel.arrived().await, []);
        send(&*channel, &mail("later")).await.expect("taken");
    }
    channel.answer_next(Answer::Never);
    assert_refused(&send(&*channel, &mail("never")).await, "never");
    let delivered = delivered(&*channel).await;
    let attempts: Vec<_> = delivered.iter().map(|mail| &mail.attempt[..]).collect();
    assert_eq!(attempts, ["later"]);
}

/// Whoever gets a mail again can tell that it is the same one, and another mail is another one.
pub async fn a_repetition_bears_the_same_id(instance: Instance<dyn Channel>, _: Capabilities) {
    let channel = instance.store();
    for _ in 0..3 {
        send(&*channel, &mail("once")).await.expect("taken");
    }
    channel.answer_next(Answer::Later);
    let _ = send(&*channel, &mail("once")).await;
    send(&*channel, &mail("other")).await.expect("taken");
    assert!(channel.arrived().await.len() >= 4);
    let delivered = delivered(&*channel).await;
    let attempts: Vec<_> = delivered.iter().map(|mail| &mail.attempt[..]).collect();
    assert_eq!(attempts, ["once", "other"]);
}

/// A far side that says nothing costs no more than the channel's deadline, and the next mail goes out.
pub async fn a_far_side_that_hangs_is_given_up(instance: Instance<dyn Channel>, can: Capabilities) {
    if !can.hangs {
        return;
    }
    let channel = instance.store();
    channel.answer_next(Answer::Hang);
    let answer = send(&*channel, &mail("hangs")).await;
    if !can.repeated {
        assert!(
            matches!(answer, Err(OutboundError::Retryable(_))),
            "{answer:?}"
        );
    }
    send(&*channel, &mail("next")).await.expect("taken");
}
