//! Precedence, refusals, bounds, and that every option has a row.

use super::*;

fn environment(pairs: &[(&str, &str)]) -> Sources {
    let environment = pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Sources {
        environment: environment.collect(),
        ..Sources::default()
    }
}

fn file(text: &str) -> (tempfile::TempDir, Sources) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("hearth.toml");
    std::fs::write(&path, text).expect("written");
    (
        folder,
        Sources {
            file: Some(path),
            ..Sources::default()
        },
    )
}

fn error(sources: &Sources) -> String {
    let error = sources.load().expect_err("refused").to_string();
    assert!(!error.contains('\n'), "{error}");
    error
}

#[test]
fn nothing_is_needed() {
    assert_eq!(
        Sources::default().load().expect("options").config,
        Config::default()
    );
}

#[test]
fn the_command_line_outranks_the_environment_and_that_the_file() {
    let (_folder, mut sources) =
        file("[server]\nmax_calls = 1\nmax_streams = 1\nmax_connections = 1\n");
    sources.environment = environment(&[
        ("HEARTH_SERVER__MAX_STREAMS", "2"),
        ("HEARTH_SERVER__MAX_CONNECTIONS", "2"),
        ("HEARTH_DATA", "/somewhere"),
        ("PATH", "x"),
    ])
    .environment;
    sources.overrides = vec![("server.max_connections".to_owned(), "3".to_owned())];
    let loaded = sources.load().expect("options");
    let server = &loaded.config.server;
    assert_eq!(
        (server.max_calls, server.max_streams, server.max_connections),
        (1, 2, 3)
    );
    let dump = loaded.dump();
    for line in [
        "max_connections = 3 # the command line",
        "max_streams = 2 # HEARTH_SERVER__MAX_STREAMS",
        "grace_seconds = 10 # default",
    ] {
        assert!(dump.contains(line), "{line} in\n{dump}");
    }
    assert!(
        dump.lines()
            .any(|it| it.starts_with("max_calls = 1 # ") && it.ends_with("hearth.toml")),
        "{dump}"
    );
}

#[test]
fn unknown_keys_fail_everywhere() {
    let (_folder, sources) = file("[server]\nlisten_on = \"x\"\n");
    assert!(error(&sources).contains("listen_on"));
    let (_folder, sources) = file("[servers]\nlisten = \"x\"\n");
    assert!(error(&sources).contains("servers"));
    assert!(error(&environment(&[("HEARTH_SMTP_HOST", "x")])).contains("HEARTH_SMTP_HOST"));
    assert!(error(&environment(&[("HEARTH_SMTP__HOSTS", "x")])).contains("HEARTH_SMTP__HOSTS"));
    let overrides = vec![("a.b".to_owned(), "1".to_owned())];
    assert!(
        error(&Sources {
            overrides,
            ..Sources::default()
        })
        .contains("a.b")
    );
    let nowhere = Some(PathBuf::from("/nowhere/hearth.toml"));
    assert!(
        error(&Sources {
            file: nowhere,
            ..Sources::default()
        })
        .contains("/nowhere")
    );
    let (_folder, sources) = file("[server\n");
    error(&sources);
}

#[test]
fn bounds_are_kept_and_named() {
    let refused = error(&environment(&[("HEARTH_SERVER__GRACE_SECONDS", "301")]));
    assert!(
        refused.contains("server.grace_seconds must be 0 to"),
        "{refused}"
    );
    let (_folder, sources) = file("[server]\nmax_calls = 0\n");
    assert!(error(&sources).contains("hearth.toml"));
    for (name, value) in [
        ("HEARTH_LOG__FORMAT", "xml"),
        ("HEARTH_SERVER__RATE_LIMITS", "yes"),
        ("HEARTH_SERVER__MAX_CALLS", "-1"),
        ("HEARTH_SMTP__HOST", "mail.example"),
        ("HEARTH_SMTP__USERNAME", "x"),
        ("HEARTH_SERVER__TLS_KEY", "x"),
    ] {
        error(&environment(&[(name, value)]));
    }
}

#[test]
fn a_password_does_not_travel_in_the_clear_nor_a_name_in_a_dump() {
    let mut pairs = vec![
        ("HEARTH_SMTP__USERNAME", "4711"),
        ("HEARTH_SMTP__PASSWORD_FILE", "/x"),
        ("HEARTH_SMTP__TLS", "none"),
    ];
    assert!(error(&environment(&pairs)).contains("clear"));
    pairs.pop();
    let loaded = environment(&pairs).load().expect("options");
    assert_eq!(loaded.config.smtp.username, "4711");
    assert!(!loaded.dump().contains("4711"));
}

#[test]
fn a_dump_is_a_config_file() {
    let names = ("HEARTH_SERVER__TLS_NAMES", "a.example, b.example");
    let module = ("HEARTH_INGEST__LIMIT", "5");
    let loaded = environment(&[names, module, ("HEARTH_SMTP__PORT", "25")])
        .load()
        .expect("options");
    let (_folder, sources) = file(&loaded.dump());
    assert_eq!(sources.load().expect("options").config, loaded.config);
}

#[test]
fn every_option_has_a_row_and_every_row_an_option() {
    let value = figment::value::Value::serialize(Config::default()).expect("a value");
    let mut paths = Vec::new();
    for (section, keys) in value.as_dict().expect("sections") {
        let keys = keys.as_dict().expect("keys").keys();
        paths.extend(keys.map(|key| format!("{section}.{key}")));
    }
    let mut rows: Vec<_> = OPTIONS
        .iter()
        .map(|option| option.path.to_owned())
        .collect();
    paths.sort();
    rows.sort();
    assert_eq!(paths, rows);
    let page = reference();
    assert!(
        page.contains("| `grace_seconds` | seconds, 0 to 300 | `10` | 0.1.0 |"),
        "{page}"
    );
}

#[test]
fn a_module_gets_its_section_from_all_sources() {
    let (_folder, mut sources) = file("[retention]\ngrace_hours = 80\nname = \"x\"\n");
    sources.environment = environment(&[("HEARTH_RETENTION__GRACE_HOURS", "90")]).environment;
    let config = sources.load().expect("options").config;
    let expected = serde_json::json!({ "grace_hours": 90, "name": "x" });
    assert_eq!(config.section(Service::Retention), expected);
    assert!(config.section(Service::Media).is_null());
}
