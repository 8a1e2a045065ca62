//! The suite of channels out over the real relay client, against a small SMTP server on a free port: as it is, and
//! through faults with a caller that repeats.

use std::collections::VecDeque;
use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hearth_conformance::outbound::{Answer, Arrived, Capabilities, Channel, Through};
use hearth_conformance::{Faults, Faulty, Instance, Patient, Random, Rates, SimulatedClock};
use hearth_kernel::Timestamp;
use hearth_ports::Tasks;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::*;

#[derive(Default)]
struct State {
    mails: Mutex<Vec<Arrived>>,
    answers: Mutex<VecDeque<Answer>>,
}

/// A relay client and the server that it talks to.
struct Smtp {
    relay: Arc<SmtpRelay>,
    state: Arc<State>,
    _tasks: Stopped,
}

/// Stops the server at the end of the case.
struct Stopped(Tasks);

impl Drop for Stopped {
    fn drop(&mut self) {
        self.0.stopping().cancel();
    }
}

#[async_trait]
impl Channel for Smtp {
    fn outbound(&self) -> Arc<dyn Outbound> {
        Arc::clone(&self.relay) as _
    }

    async fn arrived(&self) -> Vec<Arrived> {
        self.state.mails.lock().expect("no panic").clone()
    }

    fn answer_next(&self, answer: Answer) {
        let mut answers = self.state.answers.lock().expect("no panic");
        answers.push_back(answer);
    }
}

async fn smtp() -> Instance<dyn Channel> {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let (tasks, state) = (Tasks::new(), Arc::new(State::default()));
    let (owner, serving) = (tasks.clone(), Arc::clone(&state));
    tasks.spawn("smtp server", async move {
        while let Ok((stream, _)) = listener.accept().await {
            let state = Arc::clone(&serving);
            owner.spawn("smtp connection", async move {
                // A client that breaks off has nobody to tell.
                let _ = serve(stream, &state).await;
            });
        }
    });
    let smtp = config::Smtp {
        host: "127.0.0.1".to_owned(),
        port,
        from: "Hearth <hearth@home.example>".to_owned(),
        tls: config::SmtpTls::None,
        allow_private: true,
        timeout_seconds: 2,
        ..config::Smtp::default()
    };
    let relay = Arc::new(SmtpRelay::new(&smtp).expect("a relay"));
    Instance::new(Arc::new(Smtp {
        relay,
        state,
        _tasks: Stopped(tasks),
    }) as Arc<dyn Channel>)
}

async fn serve(stream: TcpStream, state: &State) -> std::io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut lines = BufReader::new(reader).split(b'\n');
    writer.write_all(b"220 relay\r\n").await?;
    let (mut to, mut data): (Vec<String>, Option<Vec<u8>>) = (Vec::new(), None);
    while let Some(line) = lines.next_segment().await? {
        let line = line.strip_suffix(b"\r").unwrap_or(&line);
        if let Some(mut mail) = data.take() {
            if line == b"." {
                let arrived = read(&mail, std::mem::take(&mut to));
                state.mails.lock().expect("no panic").push(arrived);
                writer.write_all(b"250 taken\r\n").await?;
            } else {
                // RFC 5321, section 4.5.2, and the longest line of section 4.5.3.1.6.
                assert!(line.len() <= 998, "a line of {} bytes", line.len());
                mail.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
                mail.extend_from_slice(b"\r\n");
                data = Some(mail);
            }
            continue;
        }
        let line = String::from_utf8_lossy(line);
        let reply = if let Some(rest) = line.strip_prefix("RCPT TO:<") {
            let answer = state.answers.lock().expect("no panic").pop_front();
            to.push(rest.split('>').next().unwrap_or_default().to_owned());
            match answer {
                None => "250 ok",
                Some(Answer::Later) => "451 later",
                Some(Answer::Never) => "550 never",
                Some(Answer::Hang) => std::future::pending().await,
            }
        } else if line == "DATA" {
            data = Some(Vec::new());
            "354 go on"
        } else if line == "QUIT" {
            "221 bye"
        } else if line.starts_with("EHLO") || line.starts_with("MAIL FROM:<") || line == "RSET" {
            "250 ok"
        } else {
            "500 what?"
        };
        writer.write_all(format!("{reply}\r\n").as_bytes()).await?;
    }
    Ok(())
}

/// A mail as a reader shows it: RFC 5322 headers, RFC 2047 words, RFC 2045 encodings.
fn read(mail: &[u8], to: Vec<String>) -> Arrived {
    let mail = String::from_utf8(mail.to_vec()).expect("UTF-8");
    let (head, body) = mail.split_once("\r\n\r\n").expect("a head and a body");
    let unfolded = head.replace("\r\n ", " ").replace("\r\n\t", " ");
    let header = |name: &str| {
        let mut found = unfolded.split("\r\n").filter_map(|line| {
            let (this, value) = line.split_once(": ")?;
            this.eq_ignore_ascii_case(name).then_some(value)
        });
        let first = found.next().unwrap_or_default().to_owned();
        assert_eq!(found.next(), None, "one {name}");
        first
    };
    assert_eq!(header("bcc"), "");
    let text = match &header("content-transfer-encoding").to_ascii_lowercase()[..] {
        "base64" => {
            let digits: String = body.split_whitespace().collect();
            STANDARD.decode(digits).expect("base64")
        }
        "quoted-printable" => unescaped(body.replace("=\r\n", "").as_bytes(), false),
        _ => body.as_bytes().to_vec(),
    };
    let id = header("message-id");
    let attempt = id
        .strip_prefix('<')
        .and_then(|id| id.strip_suffix("@home.example>"));
    Arrived {
        to,
        subject: words(&header("subject")),
        text: String::from_utf8(text)
            .expect("UTF-8")
            .replace("\r\n", "\n"),
        attempt: attempt.expect("an id").to_owned(),
    }
}

fn unescaped(bytes: &[u8], in_word: bool) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), bytes);
    while let [first, after @ ..] = rest {
        let digits = after.get(..2).and_then(|it| std::str::from_utf8(it).ok());
        let byte = digits.and_then(|it| u8::from_str_radix(it, 16).ok());
        (out, rest) = match (first, byte) {
            (b'=', Some(byte)) => ([out, vec![byte]].concat(), &after[2..]),
            (b'_', _) if in_word => ([out, vec![b' ']].concat(), after),
            _ => ([out, vec![*first]].concat(), after),
        };
    }
    out
}

/// Space between two encoded words is no part of the value, and a character may be cut between them.
fn words(value: &str) -> String {
    let (mut out, mut after_word) = (Vec::new(), true);
    for part in value.split(' ') {
        let inner = part
            .strip_prefix("=?utf-8?")
            .and_then(|it| it.strip_suffix("?="));
        let word = inner.map(|inner| match inner.split_once('?') {
            Some(("b", text)) => STANDARD.decode(text).expect("base64"),
            Some((_, text)) => unescaped(text.as_bytes(), true),
            None => panic!("no word: {part}"),
        });
        if !(out.is_empty() || after_word && word.is_some()) {
            out.push(b' ');
        }
        after_word = word.is_some();
        out.extend(word.unwrap_or_else(|| part.as_bytes().to_vec()));
    }
    String::from_utf8(out).expect("UTF-8")
}

async fn stormy_smtp() -> Instance<dyn Channel> {
    let clock = Arc::new(SimulatedClock::new(Timestamp::from_seconds(1_795_000_000)));
    let faults = Faults::seeded(clock, Random::fresh("stormy_smtp"), Rates::STORM);
    smtp().await.wrapped(move |channel| {
        let faults = Arc::clone(&faults);
        Through::new(channel, |inner| {
            Arc::new(Patient::new(Arc::new(Faulty::new(inner, faults))))
        })
    })
}

hearth_conformance::outbound_conformance!(as_it_is, smtp);
hearth_conformance::outbound_conformance!(
    in_a_storm,
    stormy_smtp,
    Capabilities::default().repeated()
);
