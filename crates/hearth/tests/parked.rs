//! `hearth ctl parked` and `hearth up --check-config`, both as the built program.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

/// The program without anything of the environment.
fn program(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hearth"));
    command.env_clear().env("HOME", folder).current_dir(folder);
    command
}

fn ctl(folder: &Path, args: &[&str]) -> Output {
    let mut command = program(folder);
    command.args(["ctl", "--json", "parked"]).args(args);
    command.output().expect("it ends")
}

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(unix)]
#[test]
fn an_operator_asks_what_is_parked_over_the_admin_port() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = program(folder.path());
    command.args(["up", "--data", "data", "--listen", "127.0.0.1:0"]);
    command.args([
        "--set",
        "server.admin_listen=unix:admin",
        "--set",
        "log.format=json",
    ]);
    let child = command.stderr(Stdio::piped()).spawn().expect("it starts");
    let mut server = Ended(child);
    let mut lines = BufReader::new(server.0.stderr.take().expect("stderr")).lines();
    let ready = |line: &String| line.contains("\"message\":\"ready\"");
    let started = lines
        .by_ref()
        .map_while(Result::ok)
        .any(|line| ready(&line));
    assert!(started, "it is ready");
    // A pipe that nobody reads would stop it when it is full.
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));

    let listed = ctl(folder.path(), &["--admin", "unix:admin"]);
    assert!(listed.status.success(), "{listed:?}");
    assert_eq!(String::from_utf8_lossy(&listed.stdout).trim(), "[]");
    let release = [
        "release",
        "view.x",
        "EVT_ACCOUNTS/x.1",
        "--admin",
        "unix:admin",
    ];
    let refused = ctl(folder.path(), &release);
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("it is not parked"), "{said}");
    for args in [&[][..], &["--admin", "unix:nowhere"], &["--admin", ""]] {
        let nobody = ctl(folder.path(), args);
        assert_eq!(nobody.status.code(), Some(64), "{args:?}: {nobody:?}");
    }
}

#[test]
fn checking_the_options_says_everything_that_is_wrong_with_the_sections_of_services() {
    let folder = tempfile::tempdir().expect("a folder");
    let check = |options: &[&str]| {
        let mut command = program(folder.path());
        command.args(["up", "--check-config"]);
        for option in options {
            command.args(["--set", option]);
        }
        command.output().expect("it ends")
    };
    assert!(check(&["accounts.password_passes=2"]).status.success());
    let wrong = check(&[
        "accounts.password_passes=99",
        "accounts.pasword_queue=1",
        "ingest.audience=7",
        "notifications.volume=11",
        "retention.search_pause_seconds=0",
    ]);
    assert_eq!(wrong.status.code(), Some(64));
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert_eq!(said.lines().count(), 1, "{said}");
    for key in [
        "[accounts] password_passes",
        "[accounts] pasword_queue: unknown field",
        "[ingest] audience",
        "[notifications] volume: unknown field",
        "[retention] search_pause_seconds",
    ] {
        assert!(said.contains(key), "{key} in {said}");
    }
}
