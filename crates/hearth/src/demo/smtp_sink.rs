//! A small SMTP server that keeps what it is given (RFC 5321): where the demo's mails arrive.
//!
//! It relays nothing, listens on loopback, and bounds every line, mail, mailbox and connection. It takes any sender
//! and any recipient, without TLS or sign-in: it is a sink, not a mail server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use hearth_ports::Tasks;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

mod decode;

/// The longest line, with its end: RFC 5321, section 4.5.3.1.6 allows 1,000; some senders need more.
const LONGEST_LINE: usize = 4096;
/// The largest mail in bytes.
const LARGEST_MAIL: usize = 256 * 1024;
/// Mails that are kept; later ones are refused.
const MOST_MAILS: usize = 1000;
/// Recipients of one mail: RFC 5321, section 4.5.3.1.8 asks for at least 100.
const MOST_RECIPIENTS: usize = 100;
/// Connections at once.
const MOST_CONNECTIONS: usize = 32;
/// How long a connection may say nothing.
const IDLE: Duration = Duration::from_secs(30);

/// One mail, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Received {
    /// The recipients of the envelope.
    pub(super) to: Vec<String>,
    /// The subject.
    pub(super) subject: String,
    /// The text.
    pub(super) text: String,
}

impl Received {
    /// What follows a label on its line, such as `Code:`.
    pub(super) fn field(&self, label: &str) -> Result<String> {
        let line = |line: &str| {
            line.trim()
                .strip_prefix(label)
                .map(str::trim)
                .map(str::to_owned)
        };
        self.text.lines().find_map(line).with_context(|| {
            format!(
                "expected a line {label:?} in the mail {:?}; saw {:?}",
                self.subject, self.text
            )
        })
    }
}

/// The running sink. Cheap to clone; all clones are one.
#[derive(Clone)]
pub(super) struct SmtpSink {
    address: SocketAddr,
    mails: Arc<watch::Sender<Vec<Received>>>,
}

impl SmtpSink {
    /// Listens on a free port of loopback until the tasks stop.
    pub(super) async fn start(tasks: &Tasks) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .context("a port for mail")?;
        let sink = Self {
            address: listener.local_addr()?,
            mails: Arc::new(watch::Sender::new(Vec::new())),
        };
        let (owner, mails) = (tasks.clone(), Arc::clone(&sink.mails));
        tasks.spawn("smtp sink", async move {
            let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
            while let Ok(permit) = Arc::clone(&room).acquire_owned().await {
                let Ok((stream, _)) = listener.accept().await else {
                    continue;
                };
                let mails = Arc::clone(&mails);
                owner.spawn("smtp connection", async move {
                    // A sender that breaks off has nobody to hear why.
                    let _ = serve(stream, &mails).await;
                    drop(permit);
                });
            }
        });
        Ok(sink)
    }

    /// Where it listens.
    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every mail that came for an address, oldest first.
    pub(super) fn mails_to(&self, address: &str) -> Vec<Received> {
        let is_for = |mail: &&Received| mail.to.iter().any(|to| to.eq_ignore_ascii_case(address));
        self.mails.borrow().iter().filter(is_for).cloned().collect()
    }

    /// The mail after the first `seen` of an address whose subject holds `about`; waits for it.
    pub(super) async fn next_to(
        &self,
        address: &str,
        about: &str,
        seen: usize,
        within: Duration,
    ) -> Result<Received> {
        let mut mails = self.mails.subscribe();
        let found = || {
            let mut mails = self.mails_to(address).into_iter();
            mails
                .by_ref()
                .filter(|mail| mail.subject.contains(about))
                .nth(seen)
        };
        let arrives = async {
            loop {
                mails.borrow_and_update();
                if let Some(mail) = found() {
                    return Ok(mail);
                }
                mails.changed().await.context("the sink has ended")?;
            }
        };
        match tokio::time::timeout(within, arrives).await {
            Ok(mail) => mail,
            Err(_elapsed) => {
                let got = self.mails_to(address);
                let got: Vec<_> = got.iter().map(|mail| mail.subject.as_str()).collect();
                anyhow::bail!(
                    "expected mail number {} about {about:?} to {address} within {} s; saw {got:?}",
                    seen + 1,
                    within.as_secs(),
                )
            }
        }
    }
}

/// What a sender has said of the mail it is about to send.
#[derive(Default)]
struct Envelope {
    from: bool,
    to: Vec<String>,
}

/// What one line of a sender leads to.
enum Next {
    Answer(&'static str),
    Data,
    Close,
}

async fn serve(mut stream: TcpStream, mails: &watch::Sender<Vec<Received>>) -> Result<()> {
    let (reader, mut writer) = stream.split();
    let mut reader = BufReader::new(reader);
    writer.write_all(b"220 sink.test ESMTP\r\n").await?;
    let mut envelope = Envelope::default();
    let mut line = Vec::new();
    loop {
        match read_line(&mut reader, &mut line).await? {
            Line::End => return Ok(()),
            Line::TooLong => {
                writer.write_all(b"500 5.5.2 line too long\r\n").await?;
                continue;
            }
            Line::Whole => {}
        }
        let text = String::from_utf8_lossy(&line).into_owned();
        match command(&text, &mut envelope) {
            Next::Answer(answer) => writer.write_all(answer.as_bytes()).await?,
            Next::Close => {
                writer.write_all(b"221 2.0.0 bye\r\n").await?;
                return Ok(());
            }
            Next::Data => {
                writer.write_all(b"354 go on, end with a dot\r\n").await?;
                let answer = match read_mail(&mut reader).await? {
                    None => "552 5.3.4 mail too large\r\n",
                    Some(bytes) => keep(mails, std::mem::take(&mut envelope), &bytes),
                };
                envelope = Envelope::default();
                writer.write_all(answer.as_bytes()).await?;
            }
        }
    }
}

fn command(line: &str, envelope: &mut Envelope) -> Next {
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    let after = |prefix: &str| {
        let head = rest.get(..prefix.len())?;
        head.eq_ignore_ascii_case(prefix)
            .then(|| path(&rest[prefix.len()..]))
            .flatten()
    };
    match verb.to_ascii_uppercase().as_str() {
        "EHLO" => {
            *envelope = Envelope::default();
            Next::Answer("250-sink.test\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 SIZE 262144\r\n")
        }
        "HELO" => {
            *envelope = Envelope::default();
            Next::Answer("250 sink.test\r\n")
        }
        "MAIL" if envelope.from => Next::Answer("503 5.5.1 one mail at a time\r\n"),
        "MAIL" if after("FROM:").is_some() => {
            envelope.from = true;
            Next::Answer("250 2.1.0 ok\r\n")
        }
        "RCPT" if !envelope.from => Next::Answer("503 5.5.1 MAIL first\r\n"),
        "RCPT" if envelope.to.len() >= MOST_RECIPIENTS => {
            Next::Answer("452 4.5.3 too many recipients\r\n")
        }
        "RCPT" => match after("TO:") {
            Some(to) if !to.is_empty() => {
                envelope.to.push(to);
                Next::Answer("250 2.1.5 ok\r\n")
            }
            _ => Next::Answer("501 5.5.4 no address\r\n"),
        },
        "DATA" if envelope.to.is_empty() => Next::Answer("503 5.5.1 RCPT first\r\n"),
        "DATA" => Next::Data,
        "RSET" => {
            *envelope = Envelope::default();
            Next::Answer("250 2.0.0 ok\r\n")
        }
        "NOOP" => Next::Answer("250 2.0.0 ok\r\n"),
        "VRFY" => Next::Answer("252 2.1.5 nothing is known\r\n"),
        "QUIT" => Next::Close,
        "MAIL" => Next::Answer("501 5.5.4 no address\r\n"),
        _ => Next::Answer("502 5.5.1 not implemented\r\n"),
    }
}

/// The address between angle brackets; empty for the null sender. Parameters after it are ignored.
fn path(text: &str) -> Option<String> {
    let text = text.trim_start().strip_prefix('<')?;
    let (address, _) = text.split_once('>')?;
    Some(address.to_owned())
}

fn keep(mails: &watch::Sender<Vec<Received>>, envelope: Envelope, bytes: &[u8]) -> &'static str {
    let (subject, text) = decode::mail(bytes);
    let mail = Received {
        to: envelope.to,
        subject,
        text,
    };
    let kept = mails.send_if_modified(|mails| {
        let room = mails.len() < MOST_MAILS;
        if room {
            mails.push(mail);
        }
        room
    });
    if kept {
        "250 2.0.0 kept\r\n"
    } else {
        "452 4.3.1 the sink is full\r\n"
    }
}

#[derive(PartialEq, Eq)]
enum Line {
    Whole,
    TooLong,
    End,
}

/// One line without its end. One that is too long is read to its end and dropped.
async fn read_line<R: AsyncBufReadExt + Unpin>(reader: &mut R, line: &mut Vec<u8>) -> Result<Line> {
    let mut too_long = false;
    loop {
        line.clear();
        let mut bounded = (&mut *reader).take(u64::try_from(LONGEST_LINE)?);
        let reading = bounded.read_until(b'\n', line);
        if tokio::time::timeout(IDLE, reading).await?? == 0 {
            return Ok(Line::End);
        }
        if line.ends_with(b"\n") {
            line.pop();
            if line.ends_with(b"\r") {
                line.pop();
            }
            return Ok(if too_long { Line::TooLong } else { Line::Whole });
        }
        too_long = true;
    }
}

/// The mail up to the line with the dot, dots unstuffed (RFC 5321, section 4.5.2); `None` when it was too large.
async fn read_mail<R: AsyncBufReadExt + Unpin>(reader: &mut R) -> Result<Option<Vec<u8>>> {
    let mut mail = Vec::new();
    let mut good = true;
    let mut line = Vec::new();
    loop {
        match read_line(reader, &mut line).await? {
            Line::End => anyhow::bail!("the sender broke off"),
            Line::TooLong => good = false,
            Line::Whole if line == b"." => return Ok(good.then_some(mail)),
            Line::Whole => {
                let unstuffed = line.strip_prefix(b".").unwrap_or(&line);
                if mail.len() + unstuffed.len() + 2 > LARGEST_MAIL {
                    good = false;
                } else if good {
                    mail.extend_from_slice(unstuffed);
                    mail.extend_from_slice(b"\r\n");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
