//! Where the demo writes: lines on stdout, a line of progress that is replaced where there is a terminal.
//!
//! Knows nothing of the story. What a step says appears under its tick, so that the terminal reads in order.

use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use hearth_kernel::Timestamp;
use hearth_ports::{Clock, SystemClock};

/// How wide charts and lines may be.
pub(super) const WIDTH: usize = 76;

const GREEN: &str = "32";
const RED: &str = "31";
const BOLD: &str = "1";
const DIM: &str = "2";

/// The screen. Cheap to clone; all clones are one.
#[derive(Clone)]
pub(super) struct Screen {
    color: bool,
    live: bool,
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    out: Box<dyn Write + Send>,
    /// What the step under way has said so far.
    said: Vec<String>,
    /// Its name, on a terminal.
    under_way: String,
}

impl Screen {
    /// The process's stdout; colours and live progress on a terminal only.
    pub(super) fn stdout(no_color: bool) -> Self {
        let live = std::io::stdout().is_terminal();
        Self::new(Box::new(std::io::stdout()), live && !no_color, live)
    }

    fn new(out: Box<dyn Write + Send>, color: bool, live: bool) -> Self {
        let inner = Inner {
            out,
            said: Vec::new(),
            under_way: String::new(),
        };
        Self {
            color,
            live,
            inner: Arc::new(Mutex::new(inner)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn paint(&self, style: &str, text: &str) -> String {
        if self.color {
            format!("\x1b[{style}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    /// A title between parts of the story.
    pub(super) fn title(&self, text: &str) {
        let text = self.paint(BOLD, text);
        self.lock().line(&format!("\n{text}"));
    }

    /// A line now, outside of any step.
    pub(super) fn line(&self, text: &str) {
        self.lock().line(text);
    }

    /// A line under the tick of the step that is under way.
    pub(super) fn say(&self, text: impl Into<String>) {
        self.lock().said.push(text.into());
    }

    /// A line at once, while the step is under way.
    pub(super) fn now(&self, text: &str) {
        let mut inner = self.lock();
        if self.live {
            inner.replaced("");
        }
        inner.line(&format!("    {text}"));
    }

    /// How far the step is: replaces what it said before, and leaves no trace.
    pub(super) fn progress(&self, text: &str) {
        if self.live {
            let mut inner = self.lock();
            let line = format!("… {}: {text}", inner.under_way);
            inner.replaced(&line);
        }
    }

    fn begin(&self, name: &str) {
        let mut inner = self.lock();
        name.clone_into(&mut inner.under_way);
        inner.said.clear();
        if self.live {
            inner.replaced(&format!("… {name}"));
        }
    }

    fn end(&self, name: &str, took: Duration, good: bool) {
        let mark = if good {
            self.paint(GREEN, "✓")
        } else {
            self.paint(RED, "✗")
        };
        let took = self.paint(DIM, &format!("({:.1} s)", took.as_secs_f64()));
        let mut inner = self.lock();
        if self.live {
            inner.replaced("");
        }
        inner.line(&format!("{mark} {name} {took}"));
        for said in std::mem::take(&mut inner.said) {
            inner.line(&format!("    {said}"));
        }
    }
}

impl Inner {
    /// A terminal that went away is nobody to tell, and no reason to fail.
    fn line(&mut self, text: &str) {
        let _ = writeln!(self.out, "{text}");
        let _ = self.out.flush();
    }

    fn replaced(&mut self, text: &str) {
        let shown: String = text.chars().take(WIDTH).collect();
        let _ = write!(self.out, "\r\x1b[K{shown}");
        let _ = self.out.flush();
    }
}

/// Tells the story step by step, each with a deadline, its time and its outcome.
pub(super) struct Story {
    screen: Screen,
    began: Timestamp,
    told: u32,
}

impl Story {
    pub(super) fn new(screen: Screen) -> Self {
        Self {
            screen,
            began: SystemClock.now(),
            told: 0,
        }
    }

    pub(super) const fn screen(&self) -> &Screen {
        &self.screen
    }

    /// How many steps were taken, and in how long.
    pub(super) fn so_far(&self) -> (u32, Duration) {
        (self.told, SystemClock.now().since(self.began))
    }

    /// One step: shows that it is under way, then that it is done or has failed.
    pub(super) async fn step<T>(
        &mut self,
        name: &str,
        within: Duration,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        self.screen.begin(name);
        let began = SystemClock.now();
        let outcome = match tokio::time::timeout(within, Box::pin(work)).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => Err(anyhow::anyhow!(
                "expected it to be done within {} s; it was not",
                within.as_secs()
            )),
        };
        self.told += 1;
        self.screen
            .end(name, SystemClock.now().since(began), outcome.is_ok());
        outcome.map_err(|error| error.context(format!("step {} ({name})", self.told)))
    }
}

/// Fails with what was expected and what was seen.
pub(super) fn check(
    good: bool,
    expected: impl std::fmt::Display,
    saw: impl std::fmt::Display,
) -> Result<()> {
    anyhow::ensure!(good, "expected {expected}; saw {saw}");
    Ok(())
}

/// `1234567` as `1,234,567`.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0
                .lock()
                .expect("not poisoned")
                .extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_step_is_ticked_and_what_it_said_stands_below() {
        let paper = Paper::default();
        let screen = Screen::new(Box::new(paper.clone()), false, false);
        let mut story = Story::new(screen.clone());
        let said = screen.clone();
        let work = async move {
            said.say("detail");
            said.progress("not on paper");
            Ok(7)
        };
        let second = Duration::from_secs(1);
        assert_eq!(
            story.step("first", second, work).await.expect("it works"),
            7
        );
        let failed = story
            .step("second", second, async { check(false, "one", "two") })
            .await;
        let error = format!("{:#}", failed.expect_err("it fails"));
        assert_eq!(error, "step 2 (second): expected one; saw two");
        let text = String::from_utf8(paper.0.lock().expect("not poisoned").clone()).expect("text");
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("✓ first ("));
        assert_eq!(lines[1], "    detail");
        assert!(lines[2].starts_with("✗ second ("));
        assert_eq!(story.so_far().0, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_step_that_takes_too_long_fails() {
        let screen = Screen::new(Box::new(Paper::default()), false, false);
        let never = std::future::pending::<Result<()>>();
        let outcome = Story::new(screen)
            .step("never", Duration::from_secs(5), never)
            .await;
        assert!(format!("{:#}", outcome.expect_err("late")).contains("within 5 s"));
    }

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1_234_567), "1,234,567");
    }
}
