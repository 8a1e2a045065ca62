//! A server as a child process: its log in a file, its readiness waited for, its end certain.
//!
//! The child gets SIGKILL when this process dies, by `setpriv --pdeathsig` where util-linux is installed. That signal
//! follows the *thread* that started the child, so one thread, which lives as long as the process, starts them all.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;
use std::{io, thread};

use rustix::process::{Pid, Signal, kill_process};

use crate::error::ServerError;

/// How often readiness is asked for.
const PACE: Duration = Duration::from_millis(20);
/// How much of a log an error shows.
const TAIL: usize = 3_000;

/// A running server.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Mutex<Child>,
    log: PathBuf,
}

type Order = (Command, Sender<io::Result<Child>>);

/// Starts a child on the one thread that does.
fn spawn(command: Command) -> io::Result<Child> {
    static STARTER: OnceLock<Mutex<Sender<Order>>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (sender, orders) = channel::<Order>();
        thread::spawn(move || {
            for (mut command, answer) in orders {
                let _ = answer.send(command.spawn());
            }
        });
        Mutex::new(sender)
    });
    let (answer, child) = channel();
    let gone = || io::Error::other("the starting thread has ended");
    starter
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .send((command, answer))
        .map_err(|_| gone())?;
    child.recv().map_err(|_| gone())?
}

/// The command, so that its process dies with this one.
fn bound_to_us(program: &Path) -> Command {
    static SETPRIV: OnceLock<bool> = OnceLock::new();
    let known = SETPRIV.get_or_init(|| {
        let output = Command::new("setpriv").arg("--help").output();
        output.is_ok_and(|it| String::from_utf8_lossy(&it.stdout).contains("--pdeathsig"))
    });
    if *known {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    }
}

impl Process {
    /// Starts a program; what it prints goes to `log`.
    ///
    /// # Errors
    /// When it does not start, or the log cannot be written.
    pub fn start(
        name: impl Into<String>,
        program: &Path,
        log: PathBuf,
        arrange: impl FnOnce(&mut Command),
    ) -> Result<Self, ServerError> {
        let name = name.into();
        let out = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .map_err(ServerError::io("cannot write", &log))?;
        let err = out
            .try_clone()
            .map_err(ServerError::io("cannot write", &log))?;
        let mut command = bound_to_us(program);
        arrange(&mut command);
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        let child = spawn(command).map_err(|source| ServerError::Program {
            program: program.display().to_string(),
            source,
        })?;
        Ok(Self {
            name,
            child: Mutex::new(child),
            log,
        })
    }

    /// Its name, for people.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child().id()
    }

    fn child(&self) -> std::sync::MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        !matches!(self.child().try_wait(), Ok(None))
    }

    /// Waits until it is ready.
    ///
    /// # Errors
    /// `NotReady` with the end of its log, when it ends or the time is over.
    pub fn wait_until(
        &self,
        within: Duration,
        mut ready: impl FnMut() -> bool,
    ) -> Result<(), ServerError> {
        let mut left = within;
        while !ready() {
            if self.has_ended() || left.is_zero() {
                return Err(ServerError::NotReady {
                    name: self.name.clone(),
                    within,
                    log: self.end_of_log(),
                });
            }
            pause(PACE);
            left = left.saturating_sub(PACE);
        }
        Ok(())
    }

    /// Whether something listens there.
    #[must_use]
    pub fn listens(address: SocketAddr) -> bool {
        TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_ok()
    }

    /// The end of what it printed.
    #[must_use]
    pub fn end_of_log(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&text[text.len().saturating_sub(TAIL)..]).into_owned()
    }

    /// Sends it a signal; one that has ended gets none.
    pub fn signal(&self, signal: Signal) {
        let mut child = self.child();
        if matches!(child.try_wait(), Ok(None)) {
            let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
            if let Some(pid) = pid {
                let _ = kill_process(pid, signal);
            }
        }
    }

    /// SIGKILL, and waits for its end.
    pub fn kill(&self) {
        let mut child = self.child();
        let _ = child.kill();
        let _ = child.wait();
    }

    /// SIGSTOP: it stands still, its connections stay.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// SIGTERM; SIGKILL when it has not ended in time.
    pub fn stop(&self, within: Duration) {
        self.signal(Signal::TERM);
        let mut left = within;
        while !self.has_ended() && !left.is_zero() {
            pause(PACE);
            left = left.saturating_sub(PACE);
        }
        self.kill();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "another process says nothing when it becomes ready or ends: it is asked again after a while"
)]
pub(crate) fn pause(period: Duration) {
    thread::sleep(period);
}
