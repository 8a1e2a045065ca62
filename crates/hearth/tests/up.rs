//! `hearth up` as the built program, as somebody meets it who starts it for the first time: what it makes, what it says
//! in one line when it cannot start, what it logs, and how it ends.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};

use serde_json::Value;
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_hearth");

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

/// `hearth up` without anything of the environment, on a free port unless the arguments name one.
fn up(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.env_clear().current_dir(folder).arg("up").args(args);
    if !args.contains(&"--listen") {
        command.args(["--listen", "127.0.0.1:0"]);
    }
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// Starts something that must not start. Answers the one line that it says.
fn refused(folder: &Path, args: &[&str]) -> String {
    let output = up(folder, args).output().expect("it runs");
    let said = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(64), "{args:?}: {said}");
    assert_eq!(said.lines().count(), 1, "{args:?}: {said}");
    assert!(said.starts_with("hearth: "), "{args:?}: {said}");
    said
}

/// One that runs.
struct Up {
    child: Child,
    lines: BufReader<ChildStderr>,
    address: String,
    log: Vec<Value>,
}

impl Up {
    fn start(folder: &Path, args: &[&str]) -> Self {
        let mut child = up(folder, args).spawn().expect("it starts");
        let lines = BufReader::new(child.stderr.take().expect("stderr"));
        let mut it = Self {
            child,
            lines,
            address: String::new(),
            log: Vec::new(),
        };
        let mut line = String::new();
        // It says that it is ready within 10 s, or ends, which ends the lines.
        while it.address.is_empty() {
            let read = it.lines.read_line(&mut line).expect("text");
            assert!(read > 0, "never ready: {:?}", it.log);
            let said: Value = serde_json::from_str(&line).expect("each line is JSON");
            line.clear();
            if said["message"] == "ready" {
                it.address = said["address"].as_str().expect("an address").to_owned();
            }
            it.log.push(said);
        }
        it
    }

    /// Ends it as an operator does. Answers how it ended, and all that it logged.
    fn stop(mut self) -> (ExitStatus, Vec<Value>) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it is there");
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).expect("text");
        let rest = rest
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"));
        let mut log = std::mem::take(&mut self.log);
        log.extend(rest);
        (self.child.wait().expect("it ends"), log)
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_first_start_needs_nothing_and_the_second_finds_everything() {
    let folder = folder();
    let first = Up::start(folder.path(), &[]);
    for name in ["hearth-data", "hearth-data.keys", "hearth-data.escrow"] {
        let mode = fs::metadata(folder.path().join(name))
            .expect(name)
            .permissions()
            .mode();
        assert_eq!(mode & 0o077, 0, "{name} is for its owner only");
    }
    // A call that is held open does not keep it from ending.
    let idle = std::net::TcpStream::connect(&first.address).expect("it listens");
    let (status, log) = first.stop();
    drop(idle);
    assert!(status.success(), "{log:?}");
    quiet(&log);
    let (status, log) = Up::start(folder.path(), &[]).stop();
    assert!(status.success(), "{log:?}");
    quiet(&log);
}

/// Nothing to worry an operator with, and each line is whole.
fn quiet(log: &[Value]) {
    for line in log {
        assert!(
            line["timestamp"].is_string() && line["message"].is_string(),
            "{line}"
        );
        assert!(
            line["level"] == "INFO" || line["level"] == "DEBUG",
            "{line}"
        );
    }
}

fn ended_well(up: Up) {
    let (status, log) = up.stop();
    assert!(status.success(), "{status}: {log:?}");
}

#[test]
fn a_signal_while_it_starts_ends_it_well() {
    let folder = folder();
    for wait in [0, 3, 10, 30, 100] {
        let mut child = up(folder.path(), &[]).spawn().expect("it starts");
        let mut lines = child.stderr.take().expect("stderr");
        // Wherever it is by then: before it listens to signals it ends by the signal itself, and that is fine too.
        std::thread::park_timeout(std::time::Duration::from_millis(wait));
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it is there");
        let mut said = String::new();
        lines.read_to_string(&mut said).expect("text");
        let status = child.wait().expect("it ends");
        assert!(
            status.success() || status.code().is_none(),
            "{status}: {said}"
        );
    }
    ended_well(Up::start(folder.path(), &[]));
}

#[test]
fn the_usual_spellings_of_a_folder_work() {
    let folder = folder();
    fs::create_dir(folder.path().join("in")).expect("a folder");
    // As a shell completes it.
    ended_well(Up::start(folder.path(), &["--data", "a/"]));
    assert!(folder.path().join("a.keys").is_dir());
    // The folder one stands in.
    ended_well(Up::start(&folder.path().join("in"), &["--data", "."]));
    assert!(folder.path().join("in.keys").is_dir());
    // Through a link to the data folder.
    symlink("a", folder.path().join("b")).expect("a link");
    let keys = ["--data", "b", "--keys", "a.keys", "--escrow", "a.escrow"];
    ended_well(Up::start(folder.path(), &keys));
}

#[test]
fn an_occupied_port_and_a_used_folder_are_named() {
    let folder = folder();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address");
    let said = refused(folder.path(), &["--listen", &address.to_string()]);
    assert!(
        said.contains(&address.port().to_string()) && said.contains("occupied"),
        "{said}"
    );
    assert!(
        !folder.path().join("hearth-data").exists(),
        "nothing was made"
    );

    let running = Up::start(folder.path(), &[]);
    let said = refused(folder.path(), &[]);
    assert!(
        said.contains("hearth-data") && said.contains("another process"),
        "{said}"
    );
    ended_well(running);
}

#[test]
fn bad_options_are_named() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("broken.toml"), "[server\nlisten = ").expect("written");
    fs::write(at("unknown.toml"), "[server]\nlisen = \"127.0.0.1:0\"\n").expect("written");
    fs::write(at("bytes.toml"), [0xff, 0xfe, 0x00]).expect("written");
    for (args, named) in [
        (&["--config", "none.toml"][..], "none.toml"),
        (&["--config", "broken.toml"], "broken.toml"),
        (&["--config", "unknown.toml"], "lisen"),
        (&["--config", "bytes.toml"], "bytes.toml"),
        (&["--config", "."], "."),
        (&["--set", "server.nothing=1"], "nothing"),
        (&["--set", "server.grace_seconds=soon"], "grace_seconds"),
        (&["--set", "log.level=loud=er=est"], "log.level"),
        // Which is the name of a part to the logging library, and silence.
        (&["--set", "log.level=inof"], "inof"),
        (&["--listen", "here"], "here"),
        (&["--listen", "127.0.0.1:99999"], "99999"),
    ] {
        let said = refused(folder.path(), args);
        assert!(said.contains(named), "{args:?}: {said}");
    }
}

#[test]
fn a_bad_option_of_a_service_ends_what_has_started_in_silence() {
    let folder = folder();
    let option = ["--set", "retention.search_pause_seconds=0"];
    let output = up(folder.path(), &option).output().expect("it runs");
    let said = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(64), "{said}");
    let lines: Vec<&str> = said.lines().collect();
    let (last, before) = lines.split_last().expect("a line");
    assert!(
        last.starts_with("hearth: ") && last.contains("search_pause_seconds"),
        "{said}"
    );
    let before: Vec<Value> = before
        .iter()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    quiet(&before);
    ended_well(Up::start(folder.path(), &[]));
}

#[test]
fn folders_that_cannot_be_are_named() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("file"), "not a folder").expect("written");
    let said = refused(folder.path(), &["--data", "file"]);
    assert!(said.contains("file"), "{said}");
    let said = refused(folder.path(), &["--data", "file/below"]);
    assert!(said.contains("file"), "{said}");
    // Where nobody can write, not even root.
    let said = refused(folder.path(), &["--data", "/proc/hearth"]);
    assert!(said.contains("/proc/hearth"), "{said}");
    // A folder that holds something else.
    fs::create_dir(at("photos")).expect("a folder");
    fs::write(at("photos/one.jpg"), "x").expect("written");
    let said = refused(folder.path(), &["--data", "photos"]);
    assert!(said.contains("one.jpg"), "{said}");
    assert_eq!(
        fs::read_dir(at("photos")).expect("a folder").count(),
        2,
        "with the lock"
    );

    // Inside one another: as written, by dots, and through links.
    fs::create_dir(at("data")).expect("a folder");
    symlink("data", at("link")).expect("a link");
    for (keys, escrow) in [
        ("data/keys", "escrow"),
        ("data", "escrow"),
        ("link/keys", "escrow"),
        ("x/../data/keys", "escrow"),
        ("keys", "link/deep/er"),
        ("keys", "keys/escrow"),
    ] {
        let args = ["--data", "data", "--keys", keys, "--escrow", escrow];
        let said = refused(folder.path(), &args);
        assert!(said.contains("apart") || said.contains("x/"), "{said}");
    }
    assert_eq!(
        fs::read_dir(at("data")).expect("a folder").count(),
        0,
        "nothing was made"
    );
}

#[test]
fn data_without_their_keys_and_of_another_time_are_refused() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    ended_well(Up::start(folder.path(), &[]));

    // Keys gone, keys of another installation, escrow gone.
    fs::rename(at("hearth-data.keys"), at("aside")).expect("moved");
    let said = refused(folder.path(), &[]);
    assert!(said.contains("hearth-data.keys"), "{said}");
    ended_well(Up::start(folder.path(), &["--data", "other"]));
    let said = refused(folder.path(), &["--keys", "other.keys"]);
    assert!(said.contains("other.keys"), "{said}");
    let said = refused(folder.path(), &["--keys", "aside", "--escrow", "empty"]);
    assert!(said.contains("empty"), "{said}");
    let _ = fs::remove_dir(at("hearth-data.keys"));
    fs::rename(at("aside"), at("hearth-data.keys")).expect("moved back");

    // Of a newer version: a database, the folder.
    let database = at("hearth-data/documents.db");
    let bytes = fs::read(&database).expect("a file");
    let mut newer = bytes.clone();
    // `user_version` of SQLite's header.
    newer[60..64].copy_from_slice(&99_u32.to_be_bytes());
    fs::write(&database, &newer).expect("written");
    let said = refused(folder.path(), &[]);
    assert!(
        said.contains("documents.db") && said.contains("newer"),
        "{said}"
    );
    fs::write(&database, "no database").expect("written");
    let said = refused(folder.path(), &[]);
    assert!(
        said.contains("documents.db") && said.contains("not a database"),
        "{said}"
    );
    fs::write(&database, &bytes).expect("written");
    let named = at("hearth-data/installation");
    let text = fs::read_to_string(&named).expect("a file");
    fs::write(&named, text.replace("format 1", "format 2")).expect("written");
    let said = refused(folder.path(), &[]);
    assert!(said.contains("newer"), "{said}");
    fs::write(&named, &text[..text.len() / 2]).expect("written");
    let said = refused(folder.path(), &[]);
    assert!(said.contains("damaged"), "{said}");

    // None of that has hurt it.
    fs::write(&named, text).expect("written");
    ended_well(Up::start(folder.path(), &[]));
}

#[test]
fn folders_of_secrets_that_others_may_write_to_are_refused() {
    let folder = folder();
    for (arg, name) in [("--keys", "keys"), ("--escrow", "escrow")] {
        let path = folder.path().join(name);
        fs::create_dir(&path).expect("a folder");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).expect("mine");
        let said = refused(folder.path(), &[arg, name]);
        assert!(said.contains(name) && said.contains("chmod"), "{said}");
        assert_eq!(fs::read_dir(&path).expect("a folder").count(), 0);
    }
    assert!(
        !folder.path().join("hearth-data").exists(),
        "nothing was made"
    );
}

#[test]
fn a_second_machine_trusts_the_local_authority_and_no_other() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    // An address that is not this machine's: nothing is made for it (RFC 5737).
    let said = refused(folder.path(), &["--listen", "192.0.2.1:0"]);
    assert!(said.contains("192.0.2.1"), "{said}");
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);

    let everywhere = ["--listen", "0.0.0.0:0"];
    let running = Up::start(folder.path(), &everywhere);
    let port = running
        .address
        .rsplit(':')
        .next()
        .expect("a port")
        .to_owned();
    let mode = |name: &str| fs::metadata(at(name)).expect(name).permissions().mode() & 0o777;
    assert_eq!(mode("hearth-data.tls/ca.key"), 0o600);
    let sign_in = |server: &str, ca: Option<&str>| {
        let mut command = Command::new(PROGRAM);
        command.env_clear().current_dir(folder.path());
        command.args(["ctl", "--server", server, "--session", "session"]);
        command.args(ca.into_iter().flat_map(|ca| ["--ca", ca]));
        command.args([
            "account",
            "register",
            "nobody@example.org",
            "--username",
            "Nobody",
        ]);
        let password = fs::File::open(at("password")).expect("a file");
        let output = command.stdin(password).output().expect("it runs");
        let said = String::from_utf8(output.stderr).expect("text");
        (output.status.success(), said)
    };
    fs::write(at("password"), "a long and quiet pass phrase").expect("written");
    let server = format!("https://localhost:{port}");
    let (done, said) = sign_in(&server, Some("hearth-data.tls/ca.pem"));
    assert!(done, "{said}");
    // Plainly, by a name that the certificate is not for, and under another authority.
    for (server, ca) in [
        (format!("http://localhost:{port}"), None),
        (
            format!("https://127.0.0.2:{port}"),
            Some("hearth-data.tls/ca.pem"),
        ),
        (server, Some("other.tls/ca.pem")),
    ] {
        if ca == Some("other.tls/ca.pem") {
            ended_well(Up::start(
                folder.path(),
                &["--data", "other", "--listen", "0.0.0.0:0"],
            ));
        }
        let (done, said) = sign_in(&server, ca);
        assert!(!done && said.lines().count() == 1, "{server}: {said}");
    }
    ended_well(running);

    // The authority stays; its key, once others could read it, is not used again.
    let authority = fs::read(at("hearth-data.tls/ca.pem")).expect("a file");
    ended_well(Up::start(folder.path(), &everywhere));
    assert_eq!(
        fs::read(at("hearth-data.tls/ca.pem")).expect("a file"),
        authority
    );
    let open = fs::Permissions::from_mode(0o644);
    fs::set_permissions(at("hearth-data.tls/ca.key"), open).expect("mine");
    let said = refused(folder.path(), &everywhere);
    assert!(
        said.contains("ca.key") && said.contains("chmod 600"),
        "{said}"
    );
}
