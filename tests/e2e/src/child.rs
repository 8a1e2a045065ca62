//! `hearth-movable` as a child process: started, spoken to, killed.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hearth_kernel::Timestamp;
use hearth_ports::{Clock, SystemClock};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child as Process, ChildStdin, Command};
use tokio::sync::watch;
use tonic::transport::{Channel, Endpoint};

/// The longest that anything is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// An installation that lives in a folder and in one process after another.
pub struct Child {
    program: &'static str,
    data: PathBuf,
    /// How far its clock is ahead.
    ahead: Duration,
    process: Option<(Process, ChildStdin)>,
    address: String,
    mails: Arc<Mutex<VecDeque<(String, String)>>>,
    advanced: watch::Sender<u64>,
    /// The answers to [`Child::uncompacted`]: how many there were, and the last one.
    uncompacted: watch::Sender<(u64, usize)>,
    /// How long the last start took, from the call to readiness.
    pub started_in: Duration,
}

impl Child {
    /// None runs yet. `program` is the path of `hearth-movable`.
    #[must_use]
    pub fn new(program: &'static str, data: PathBuf) -> Self {
        Self {
            program,
            data,
            ahead: Duration::ZERO,
            process: None,
            address: String::new(),
            mails: Arc::default(),
            advanced: watch::Sender::new(0),
            uncompacted: watch::Sender::new((0, 0)),
            started_in: Duration::ZERO,
        }
    }

    /// Starts a process and waits until it is ready.
    #[expect(
        clippy::disallowed_methods,
        reason = "a process that was killed is watched by real time"
    )]
    pub async fn start(&mut self) {
        let begun = Instant::now();
        let mut process = Command::new(self.program)
            .arg(&self.data)
            .arg(self.ahead.as_secs().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let stdin = process.stdin.take().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let (ready, mut address) = watch::channel(String::new());
        let (mails, advanced) = (Arc::clone(&self.mails), self.advanced.clone());
        let uncompacted = self.uncompacted.clone();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let words: Vec<&str> = line.split(' ').collect();
                match words[..] {
                    ["ready", address] => drop(ready.send(address.to_owned())),
                    ["advanced"] => advanced.send_modify(|count| *count += 1),
                    ["uncompacted", days] => {
                        let days = days.parse().unwrap();
                        uncompacted
                            .send_modify(|(count, last)| (*count, *last) = (*count + 1, days));
                    }
                    ["mail", to, text] => mails.lock().unwrap().push_back((unhex(to), unhex(text))),
                    _ => {}
                }
            }
        });
        let wait = address.wait_for(|address| !address.is_empty());
        let found = tokio::time::timeout(PATIENCE, wait)
            .await
            .expect("it does not get ready");
        self.address = found.expect("it ended before it was ready").clone();
        self.started_in = begun.elapsed();
        self.process = Some((process, stdin));
    }

    /// `kill -9`, whatever it is doing.
    pub async fn kill(&mut self) {
        if let Some((mut process, _)) = self.process.take() {
            process.kill().await.unwrap();
        }
    }

    /// Its time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        SystemClock.now().plus(self.ahead)
    }

    /// How many days of a home that are over still have segments: what the compactor has left to do or to sweep away.
    pub async fn uncompacted(&mut self, home: &str) -> usize {
        let mut answers = self.uncompacted.subscribe();
        let before = answers.borrow_and_update().0;
        self.say(&format!("uncompacted {home}\n")).await;
        let answered = answers.wait_for(|(count, _)| *count > before);
        let found = tokio::time::timeout(PATIENCE, answered).await;
        found.expect("it does not answer").unwrap().1
    }

    async fn say(&mut self, line: &str) {
        let (_, stdin) = self.process.as_mut().expect("it runs");
        stdin.write_all(line.as_bytes()).await.unwrap();
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Lets time pass for it.
    pub async fn advance(&mut self, by: Duration) {
        let mut advanced = self.advanced.subscribe();
        let before = *advanced.borrow_and_update();
        self.ahead += by;
        self.say(&format!("advance {}\n", by.as_secs())).await;
        let moved = advanced.wait_for(|count| *count > before);
        tokio::time::timeout(PATIENCE, moved)
            .await
            .expect("its clock does not move")
            .unwrap();
    }

    /// A connection.
    pub async fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).unwrap();
        endpoint.connect().await.unwrap()
    }

    /// The code in the newest mail to an address.
    pub async fn code_for(&self, email: &str) -> String {
        let find = || {
            let mails = self.mails.lock().unwrap();
            let mut to = mails.iter().rev().filter(|(to, _)| to == email);
            to.find_map(|(_, text)| hearth_testkit::person::code_in(text))
        };
        let wait = async {
            loop {
                if let Some(code) = find() {
                    return code;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait)
            .await
            .expect("no mail with a code")
    }
}

fn unhex(text: &str) -> String {
    String::from_utf8(hex::decode(text).unwrap()).unwrap()
}
