//! A relay of a few lines on a free port, and what comes of its answers.

use hearth_ports::Tasks;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::*;

/// Takes one connection; answers each line but the data with `answer`, and sends what it was given.
async fn relay(tasks: &Tasks, answer: fn(&str) -> &'static str) -> (u16, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let (said, heard) = mpsc::channel(100);
    tasks.spawn("relay", async move {
        let (stream, _) = listener.accept().await.expect("a connection");
        let (reader, mut writer) = stream.into_split();
        let mut lines = BufReader::new(reader).lines();
        writer.write_all(b"220 relay\r\n").await.expect("sent");
        let mut data = false;
        while let Ok(Some(line)) = lines.next_line().await {
            let reply = match (data, line.as_str()) {
                (true, ".") => {
                    data = false;
                    "250 taken"
                }
                (true, _) => "",
                (false, line) => answer(line),
            };
            data |= line == "DATA" && reply.starts_with('3');
            let _ = said.send(line).await;
            if !reply.is_empty()
                && writer
                    .write_all(format!("{reply}\r\n").as_bytes())
                    .await
                    .is_err()
            {
                return;
            }
        }
    });
    (port, heard)
}

fn polite(line: &str) -> &'static str {
    match line {
        "DATA" => "354 go on",
        "QUIT" => "221 bye",
        _ => "250 ok",
    }
}

fn options(port: u16) -> config::Smtp {
    config::Smtp {
        host: "127.0.0.1".to_owned(),
        port,
        from: "Hearth <hearth@home.example>".to_owned(),
        tls: config::SmtpTls::None,
        allow_private: true,
        timeout_seconds: 10,
        ..config::Smtp::default()
    }
}

fn mail(to: &str) -> Mail {
    Mail {
        to: Secret::from(to),
        subject: Secret::from("Your heating is on"),
        text: Secret::from("Since 8 o'clock.\n"),
        attempt: "abcd-1".to_owned(),
    }
}

async fn sent(
    answer: fn(&str) -> &'static str,
    mail: &Mail,
) -> (Result<(), OutboundError>, String) {
    let tasks = Tasks::new();
    let (port, mut heard) = relay(&tasks, answer).await;
    let relay = SmtpRelay::new(&options(port)).expect("a relay");
    let outcome = relay.mail(mail).await;
    tasks.stop(Duration::from_secs(10)).await;
    let mut lines = String::new();
    while let Some(line) = heard.recv().await {
        lines.push_str(&line);
        lines.push('\n');
    }
    (outcome, lines)
}

#[tokio::test]
async fn a_mail_is_handed_over_with_its_id() {
    let (outcome, lines) = sent(polite, &mail("anna@example.org")).await;
    outcome.expect("taken");
    for part in [
        "MAIL FROM:<hearth@home.example>",
        "RCPT TO:<anna@example.org>",
        "Message-ID: <abcd-1@home.example>",
        "Subject: Your heating is on",
        "Since 8 o'clock.",
    ] {
        assert!(lines.contains(part), "{part} in\n{lines}");
    }
}

#[tokio::test]
async fn answers_are_told_apart_and_their_text_stays_behind() {
    let anna = mail("anna@example.org");
    let says = |reply: fn(&str) -> &'static str| sent(reply, &anna);
    let (outcome, _) = says(|line| match line {
        line if line.starts_with("RCPT") => "550 5.1.1 no anna@example.org here",
        line => polite(line),
    })
    .await;
    let error = outcome.expect_err("refused");
    assert!(matches!(&error, OutboundError::Refused(_)), "{error:?}");
    let OutboundError::Refused(cause) = error else {
        return;
    };
    assert_eq!(cause.to_string(), "the relay answered 550");
    let (outcome, _) = says(|line| match line {
        line if line.starts_with("RCPT") => "451 later",
        line => polite(line),
    })
    .await;
    assert!(matches!(outcome, Err(OutboundError::Retryable(_))));
}

#[tokio::test]
async fn malformed_mails_do_not_leave() {
    let relay = SmtpRelay::new(&options(9)).expect("a relay");
    let mut split = mail("anna@example.org");
    split.subject = Secret::from("a\r\nBcc: x@example.org");
    let mut attempt = mail("anna@example.org");
    attempt.attempt = "a>\r\nBcc: x".to_owned();
    let to = [
        "",
        "anna",
        "a@b\r\nRCPT TO:<x@y>",
        "a@b.example, c@d.example",
    ]
    .map(mail);
    for mail in to.iter().chain([&split, &attempt]) {
        let outcome = relay.mail(mail).await;
        assert!(
            matches!(outcome, Err(OutboundError::Refused(_))),
            "{outcome:?}"
        );
    }
}

#[tokio::test]
async fn private_networks_are_refused_unless_allowed() {
    let relay = |allow_private| {
        SmtpRelay::new(&config::Smtp {
            allow_private,
            ..options(1)
        })
        .expect("a relay")
    };
    let outcome = relay(false).mail(&mail("anna@example.org")).await;
    assert!(
        matches!(outcome, Err(OutboundError::Refused(cause)) if cause.to_string().contains("private"))
    );
    let outcome = relay(true).mail(&mail("anna@example.org")).await;
    assert!(
        matches!(outcome, Err(OutboundError::Retryable(_))),
        "nobody listens there"
    );
}

#[tokio::test]
async fn starttls_is_not_given_up_for_a_relay_that_lacks_it() {
    let tasks = Tasks::new();
    let (port, mut heard) = relay(&tasks, polite).await;
    let smtp = config::Smtp {
        tls: config::SmtpTls::Starttls,
        ..options(port)
    };
    let outcome = SmtpRelay::new(&smtp)
        .expect("a relay")
        .mail(&mail("anna@example.org"))
        .await;
    assert!(outcome.is_err());
    tasks.stop(Duration::from_secs(10)).await;
    while let Some(line) = heard.recv().await {
        assert!(!line.contains("anna"), "{line}");
    }
}

#[tokio::test]
async fn without_a_relay_nothing_is_configured() {
    let none = outbound(&config::Smtp::default()).expect("none");
    let outcome = none.mail(&mail("anna@example.org")).await;
    assert!(matches!(outcome, Err(OutboundError::NotConfigured)));
    let bad = config::Smtp {
        from: "nobody".to_owned(),
        ..options(1)
    };
    assert_eq!(SmtpRelay::new(&bad).expect_err("refused").number(), 64);
}

#[test]
fn public_is_what_the_registries_leave() {
    let public = |text: &str| is_public(text.parse().expect("an address"));
    for text in [
        "1.1.1.1",
        "100.128.0.1",
        "172.32.0.1",
        "2606:4700::1",
        "2a00::1",
    ] {
        assert!(public(text), "{text}");
    }
    for text in [
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "127.0.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "192.168.1.1",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:10.0.0.1",
        "fe80::1",
        "fd00::1",
        "ff02::1",
        "2001:db8::1",
        "2002:a00:1::",
        "64:ff9b::a00:1",
    ] {
        assert!(!public(text), "{text}");
    }
}

#[tokio::test]
async fn a_relay_that_says_nothing_is_a_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let tasks = Tasks::new();
    tasks.spawn("silent", async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes).await;
    });
    let smtp = config::Smtp {
        timeout_seconds: 1,
        ..options(port)
    };
    let outcome = SmtpRelay::new(&smtp)
        .expect("a relay")
        .mail(&mail("a@example.org"))
        .await;
    assert!(matches!(outcome, Err(OutboundError::Retryable(_))));
}
