//! `hearth ctl` against `hearth up`, both as the built program: what a person and an operator type, and what they get.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

#[path = "ctl/sink.rs"]
mod sink;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use serde_json::Value;
use sink::Sink;

const PROGRAM: &str = env!("CARGO_BIN_EXE_hearth");
const PASSWORD: &str = "seven brown foxes jump over it";

/// A running `hearth up` on a folder of its own, and its mail.
struct Server {
    child: Child,
    address: String,
    mail: Sink,
    folder: tempfile::TempDir,
}

/// What a command did.
struct Done {
    code: i32,
    out: String,
    err: String,
}

impl Done {
    fn of(output: &Output) -> Self {
        Self {
            code: output.status.code().expect("no signal ended it"),
            out: String::from_utf8(output.stdout.clone()).expect("text"),
            err: String::from_utf8(output.stderr.clone()).expect("text"),
        }
    }

    fn json(&self) -> Value {
        assert_eq!(self.code, 0, "{}", self.err);
        serde_json::from_str(&self.out).expect("JSON")
    }
}

/// The program without anything of the environment.
fn program(folder: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    command.env_clear().env("HOME", folder).current_dir(folder);
    command
}

impl Server {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mail = Sink::start();
        let mut command = program(folder.path());
        command.args(["up", "--data", "data", "--listen", "127.0.0.1:0"]);
        let port = format!("smtp.port={}", mail.port());
        for option in [
            "smtp.host=127.0.0.1",
            &port,
            "smtp.tls=none",
            "smtp.allow_private=true",
            "smtp.from=hearth@example.org",
            "log.format=json",
        ] {
            command.args(["--set", option]);
        }
        let mut child = command.stderr(Stdio::piped()).spawn().expect("it starts");
        let mut lines = BufReader::new(child.stderr.take().expect("stderr")).lines();
        // It says that it is ready within 10 s, or ends, which ends the lines.
        let address = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let line: Value = serde_json::from_str(&line).ok()?;
            let ready = line["message"] == "ready";
            ready.then(|| line["address"].as_str().map(str::to_owned))?
        });
        let address = address.expect("it is ready");
        // A pipe that nobody reads would stop it when it is full.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Self {
            child,
            address,
            mail,
            folder,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs `hearth ctl`, with these lines on stdin.
    fn ctl_with(&self, stdin: &str, args: &[&str]) -> Done {
        let mut child = program(self.folder.path())
            .args(["ctl", "--server", &format!("http://{}", self.address)])
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut pipe = child.stdin.take().expect("stdin");
        // A command that reads nothing may have ended already.
        let _ = pipe.write_all(stdin.as_bytes());
        drop(pipe);
        Done::of(&child.wait_with_output().expect("it ends"))
    }

    fn ctl(&self, args: &[&str]) -> Done {
        self.ctl_with("", args)
    }

    fn json(&self, args: &[&str]) -> Value {
        self.ctl(&[&["--json"], args].concat()).json()
    }

    /// Ends the server as an operator does, and waits for it.
    fn stop(&mut self) -> ExitStatus {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it is there");
        self.child.wait().expect("it ends")
    }

    /// Registers and proves the address.
    fn register(&self) {
        let asked = self.ctl_with(
            &format!("{PASSWORD}\n"),
            &[
                "account",
                "register",
                "anna@example.org",
                "--username",
                "Anna",
            ],
        );
        assert_eq!(asked.code, 0, "{}", asked.err);
        let code = self.mail.field("Code:");
        let proved = self.ctl(&["account", "verify", &code]);
        assert_eq!(proved.code, 0, "{}", proved.err);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().expect("a text")
}

#[test]
fn a_person_uses_hearth_at_a_terminal() {
    let server = Server::start();
    let nobody = server.ctl(&["account", "show"]);
    assert_eq!((nobody.code, nobody.out.as_str()), (1, ""));
    assert!(nobody.err.contains("nobody is signed in"), "{}", nobody.err);
    server.register();
    let account = server.json(&["account", "show"]);
    assert_eq!(
        (text(&account, "email"), text(&account, "state")),
        ("anna@example.org", "active")
    );

    // A home, named in every command only when there are two.
    let home = server.json(&["home", "create", "Home", "--time-zone", "Europe/Skopje"]);
    server.json(&["home", "area", "add", "Kitchen"]);
    let listed = server.json(&["home", "list"]);
    assert_eq!(
        listed[0]["home_id"], home["home_id"],
        "a change is seen by the next read"
    );
    assert_eq!(
        server.json(&["home", "show"])["areas"][0]["name"],
        "Kitchen"
    );
    assert_eq!(server.json(&["home", "members"])[0]["role"], "owner");

    // A hub that is played, and a device.
    let pairing = server.json(&["devices", "pair", "--key", "hub.key"]);
    let claimed = server.json(&["devices", "claim", text(&pairing, "code"), "Box"]);
    let state = &[
        "devices",
        "pairing",
        text(&pairing, "pairing_id"),
        "--key",
        "hub.key",
    ];
    assert_eq!(server.json(state)["claim_id"], claimed["claim_id"]);
    assert_eq!(server.json(&["devices", "hubs"])[0]["name"], "Box");
    let capability = ["--capability", "heating-on"];
    let register = [
        "devices", "register", "Boiler", "--area", "kitchen", "--kind", "boiler",
    ];
    server.json(&[&register[..], &capability].concat());
    let device = &server.json(&["devices", "list", "--area", "Kitchen"])[0];
    assert_eq!(device["capabilities"], serde_json::json!(["heating-on"]));
    let query = ["readings", "query", "--device", "boiler", "--csv"];
    let none = server.ctl(&[&query[..], &capability].concat());
    assert_eq!(
        (none.code, none.out.as_str()),
        (0, "observed_at,value\n"),
        "{}",
        none.err
    );
    assert_eq!(server.json(&["readings", "latest"]), serde_json::json!([]));

    // Rules, arming, preferences.
    server.json(&[
        "notices",
        "put-heating",
        "--device",
        "BOILER",
        "--after",
        "1h",
    ]);
    let rule = &server.json(&["notices", "rules"])[0];
    assert_eq!(
        (text(rule, "kind"), text(rule, "span")),
        ("heating-left-on", "1h")
    );
    server.json(&["notices", "arm", "--area", "kitchen"]);
    assert_eq!(
        server.json(&["notices", "armed"])["areas"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    server.json(&["notices", "mute", "--for", "1h"]);
    assert_eq!(
        server.json(&["notices", "preferences"])["everything"]["muted"],
        true
    );
    assert_eq!(server.json(&["notices", "list"]), serde_json::json!([]));
}

#[test]
fn a_refusal_is_one_readable_block() {
    let server = Server::start();
    let register = ["account", "register", "no-address", "--username", ""];
    let refused = server.ctl_with("short\n", &register);
    assert_eq!((refused.code, refused.out.as_str()), (1, ""));
    let lines: Vec<_> = refused.err.lines().collect();
    assert!(
        lines[0].starts_with("hearth: INVALID_REQUEST: "),
        "{}",
        refused.err
    );
    for (line, field) in lines[1..].iter().zip(["email", "username", "password"]) {
        assert!(line.starts_with(&format!("  {field}: ")), "{}", refused.err);
    }
    assert_eq!(lines.len(), 4, "{}", refused.err);
    assert_eq!(server.ctl(&["account", "no-such-command"]).code, 64);
    assert_eq!(
        server.ctl_with("\n", &register).code,
        64,
        "no password at all"
    );
}

#[test]
fn a_closing_leaves_a_receipt_that_can_ask() {
    let server = Server::start();
    server.register();
    let closed = server.ctl_with(
        &format!("{PASSWORD}\n"),
        &["--json", "account", "close", "--receipt", "receipt.json"],
    );
    assert!(!closed.json()["receipt_id"].is_null());
    assert_eq!(server.json(&["account", "show"])["state"], "closing");
    let status = server.json(&[
        "--session",
        "other.json",
        "erasure",
        "status",
        "receipt.json",
    ]);
    assert_eq!(
        status["erasure"]["state"], "grace",
        "nobody needs to be signed in"
    );
    assert_eq!(
        server.ctl(&["erasure", "verify", "receipt.json"]).code,
        64,
        "there is none yet"
    );
    assert_eq!(server.ctl(&["account", "reopen"]).code, 0);
    assert_eq!(server.json(&["account", "show"])["state"], "active");
    assert_eq!(server.ctl(&["account", "sign-out"]).code, 0);
    assert_eq!(server.ctl(&["account", "show"]).code, 1);
}

#[test]
fn an_operator_examines_a_folder_that_nothing_else_has_open() {
    let mut server = Server::start();
    server.register();
    for command in ["doctor", "verify", "rebuild"] {
        let busy = server.ctl(&[command, "--data", "data"]);
        assert_eq!(
            (busy.code, busy.err.lines().count()),
            (64, 1),
            "{}",
            busy.err
        );
        assert!(
            busy.err
                .contains("another process has this data folder open"),
            "{}",
            busy.err
        );
        let nothing = server.ctl(&[command, "--data", "nothing"]);
        assert_eq!((nothing.code, server.path("nothing").exists()), (64, false));
    }
    assert!(server.stop().success());

    let facts = server.json(&["doctor", "--data", "data"]);
    assert_eq!(text(&facts["installation"], "installation_id").len(), 32);
    assert!(facts["keys"]["buckets_in_use"].as_u64() > Some(0));
    let verified = server.json(&["verify", "--data", "data"]);
    assert_eq!(verified["broken"], serde_json::json!([]));
    assert!(verified["streams"][0]["commits"].as_u64() > Some(0));
    assert_eq!(verified["findings"], serde_json::json!([]));
    // The services signed a last checkpoint when they stopped; it can be kept, and the data extends it.
    let newest = text(&verified["checkpoints"][0], "newest").to_owned();
    let extends = server.ctl(&["verify", "--data", "data", "--against", &newest]);
    assert_eq!(extends.code, 0, "{}", extends.err);
    let other = format!("accounts:9000:{}", "a".repeat(64));
    std::fs::write(
        server.path("kept"),
        format!("checkpoint={newest}\n{other}\n"),
    )
    .expect("kept");
    let lost = server.ctl(&["verify", "--data", "data", "--against", "kept"]);
    assert_eq!(
        (lost.code, lost.err.lines().count()),
        (1, 1),
        "{}",
        lost.err
    );
    assert!(
        lost.out.contains("was rolled back or cut off"),
        "{}",
        lost.out
    );
    let nothing = server.ctl(&["verify", "--data", "data", "--against", "no-such-file"]);
    assert_eq!(nothing.code, 64, "{}", nothing.err);
    let views = server.json(&["rebuild", "--data", "data"]);
    for view in views.as_array().expect("views") {
        let rebuilt = server.ctl(&["rebuild", "--data", "data", text(view, "view")]);
        assert_eq!(rebuilt.code, 0, "{}", rebuilt.err);
    }
    let unknown = server.ctl(&["rebuild", "--data", "data", "no-such-view"]);
    assert_eq!(unknown.code, 64, "{}", unknown.err);
    assert_eq!(
        server.json(&["verify", "--data", "data"])["broken"],
        serde_json::json!([])
    );
}
