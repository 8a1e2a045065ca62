//! The sink over a socket: dialogue, dots, bounds.

use super::*;

struct Sender {
    reader: BufReader<tokio::net::tcp::OwnedReadHalf>,
    writer: tokio::net::tcp::OwnedWriteHalf,
}

impl Sender {
    async fn to(sink: &SmtpSink) -> Self {
        let stream = TcpStream::connect(sink.address()).await.expect("connects");
        let (reader, writer) = stream.into_split();
        let mut sender = Self {
            reader: BufReader::new(reader),
            writer,
        };
        assert!(sender.answer().await.starts_with("220 "));
        sender
    }

    async fn answer(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).await.expect("an answer");
        line
    }

    async fn says(&mut self, text: &str) -> String {
        self.writer
            .write_all(text.as_bytes())
            .await
            .expect("written");
        self.answer().await
    }
}

const SECONDS: Duration = Duration::from_secs(10);

#[tokio::test]
async fn mails_arrive_with_their_dots() {
    let tasks = Tasks::new();
    let sink = SmtpSink::start(&tasks).await.expect("starts");
    let mut sender = Sender::to(&sink).await;
    assert_eq!(sender.says("HELO me\r\n").await, "250 sink.test\r\n");
    assert!(
        sender
            .says("RCPT TO:<a@b.test>\r\n")
            .await
            .starts_with("503")
    );
    assert!(
        sender
            .says("MAIL FROM:<>  SIZE=10\r\n")
            .await
            .starts_with("250")
    );
    assert!(sender.says("DATA\r\n").await.starts_with("503"));
    assert!(
        sender
            .says("rcpt to:<Anna@Example.test>\r\n")
            .await
            .starts_with("250")
    );
    assert!(sender.says("DATA\r\n").await.starts_with("354"));
    let mail = "Subject: dots\r\n\r\n..one\r\n.. \r\nlast.\r\n.\r\n";
    assert!(sender.says(mail).await.starts_with("250"));
    let got = sink
        .next_to("anna@example.test", "dots", 0, SECONDS)
        .await
        .expect("it came");
    assert_eq!(got.subject, "dots");
    assert_eq!(got.text, ".one\n. \nlast.\n");
    // The envelope is used up, and a second mail needs its own.
    assert!(sender.says("DATA\r\n").await.starts_with("503"));
    assert!(sender.says("NOOP\r\n").await.starts_with("250"));
    assert!(sender.says("STARTTLS\r\n").await.starts_with("502"));
    assert!(sender.says("QUIT\r\n").await.starts_with("221"));
    assert!(tasks.stop(SECONDS).await);
}

#[tokio::test]
async fn what_is_too_large_is_refused_and_the_dialogue_goes_on() {
    let tasks = Tasks::new();
    let sink = SmtpSink::start(&tasks).await.expect("starts");
    let mut sender = Sender::to(&sink).await;
    let long = format!("NOOP {}\r\n", "x".repeat(3 * LONGEST_LINE));
    assert!(sender.says(&long).await.starts_with("500"));
    for command in ["MAIL FROM:<a@b.test>\r\n", "RCPT TO:<c@d.test>\r\n"] {
        assert!(sender.says(command).await.starts_with("250"));
    }
    assert!(
        sender
            .says("MAIL FROM:<a@b.test>\r\n")
            .await
            .starts_with("503")
    );
    assert!(sender.says("DATA\r\n").await.starts_with("354"));
    let line = format!("{}\r\n", "y".repeat(998));
    let mail = format!("{}.\r\n", line.repeat(LARGEST_MAIL / line.len() + 1));
    assert!(sender.says(&mail).await.starts_with("552"));
    assert!(sender.says("RSET\r\n").await.starts_with("250"));
    assert!(sink.mails_to("c@d.test").is_empty());
    assert!(tasks.stop(SECONDS).await);
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_mail_that_does_not_come_says_what_was_seen() {
    let tasks = Tasks::new();
    let sink = SmtpSink::start(&tasks).await.expect("starts");
    let error = sink
        .next_to("a@b.test", "x", 0, SECONDS)
        .await
        .expect_err("nothing comes");
    assert!(error.to_string().contains("saw []"), "{error}");
}
