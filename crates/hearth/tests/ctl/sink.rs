//! Where the mails of a test arrive: just enough of SMTP (RFC 5321) on a port of its own.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// How long a mail may take: it goes out by a task of its own.
const WITHIN: Duration = Duration::from_secs(30);

/// A listener, and the mails that came.
pub(crate) struct Sink {
    port: u16,
    mails: Mutex<Receiver<String>>,
}

impl Sink {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (sender, mails) = channel();
        // Both threads end with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let sender = sender.clone();
                std::thread::spawn(move || serve(stream, &sender));
            }
        });
        Self {
            port,
            mails: Mutex::new(mails),
        }
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// What stands behind a label in the next mail that has it.
    pub(crate) fn field(&self, label: &str) -> String {
        let mails = self.mails.lock().expect("not poisoned");
        loop {
            let mail = mails.recv_timeout(WITHIN).expect("a mail in time");
            let mut lines = mail.lines();
            if let Some(value) = lines.find_map(|line| line.trim().strip_prefix(label)) {
                return value.trim().to_owned();
            }
        }
    }
}

/// Takes mails until the other side ends.
fn serve(stream: TcpStream, mails: &Sender<String>) {
    let mut answers = stream.try_clone().expect("a second handle");
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let _ = answers.write_all(b"220 sink\r\n");
    while let Some(line) = lines.next() {
        let answer: &[u8] = match line.to_ascii_uppercase().as_str() {
            "DATA" => {
                let _ = answers.write_all(b"354 go on\r\n");
                let mail: Vec<_> = lines.by_ref().take_while(|line| line != ".").collect();
                let _ = mails.send(mail.join("\n"));
                b"250 taken\r\n"
            }
            "QUIT" => {
                let _ = answers.write_all(b"221 bye\r\n");
                return;
            }
            _ => b"250 fine\r\n",
        };
        if answers.write_all(answer).is_err() {
            return;
        }
    }
}
