//! The rows of all options: unit, bounds, meaning, and since when. A test compares them with the struct.

use figment::value::Value;

/// One option.
#[derive(Clone, Copy, Debug)]
pub struct Option {
    /// `section.key`.
    pub path: &'static str,
    /// What it may be.
    pub shape: Shape,
    /// What it means, and why the default.
    pub about: &'static str,
    /// The release it came with.
    pub since: &'static str,
    /// Whether its value is shown as `***`.
    pub private: bool,
}

/// What an option may be.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// A whole number of a unit, within bounds.
    Number(&'static str, u32, u32),
    /// True or false.
    Flag,
    /// A text.
    Text,
    /// A list of texts.
    Texts,
    /// One of these words.
    Word(&'static [&'static str]),
}

impl Shape {
    /// What is wrong with a value, if something is.
    pub(super) fn problem(self, value: &Value) -> std::option::Option<String> {
        match self {
            Self::Number(unit, least, most) => {
                let number = super::load::number(value).and_then(|it| u32::try_from(it).ok());
                let fits = number.is_some_and(|number| (least..=most).contains(&number));
                (!fits).then(|| format!("must be {least} to {most} {unit}"))
            }
            Self::Word(words) => {
                let fits = value.as_str().is_some_and(|word| words.contains(&word));
                (!fits).then(|| format!("must be one of {}", words.join(", ")))
            }
            Self::Flag | Self::Text | Self::Texts => None,
        }
    }

    fn text(self) -> String {
        match self {
            Self::Number(unit, least, most) => format!("{unit}, {least} to {most}"),
            Self::Flag => "true or false".to_owned(),
            Self::Text => "text".to_owned(),
            Self::Texts => "list of texts".to_owned(),
            Self::Word(words) => words.join(", "),
        }
    }
}

const fn option(path: &'static str, shape: Shape, about: &'static str) -> Option {
    Option {
        path,
        shape,
        about,
        since: "0.1.0",
        private: false,
    }
}

use Shape::{Flag, Number, Text, Texts, Word};

/// Every option of the process, in the order of the struct.
pub const OPTIONS: &[Option] = &[
    option(
        "server.listen",
        Text,
        "Address and port for all services. An address that is not loopback needs TLS. Port 0 takes a free one.",
    ),
    option(
        "server.admin_listen",
        Text,
        "Address and port, or `unix:` and a path, for metrics, health and version. Loopback only. Empty: off.",
    ),
    option(
        "server.tls_certificate",
        Text,
        "The certificate chain, a PEM file. Empty: plain on loopback; elsewhere a local CA makes one.",
    ),
    option(
        "server.tls_key",
        Text,
        "The key of that certificate, a PEM file.",
    ),
    option(
        "server.tls_names",
        Texts,
        "Names and addresses that the local CA's certificate is for.",
    ),
    option(
        "server.max_connections",
        Number("connections", 1, 1_000_000),
        "Connections at once; more wait in the kernel's queue.",
    ),
    option(
        "server.max_connection_streams",
        Number("streams", 1, 10_000),
        "HTTP/2 streams of one connection at once.",
    ),
    option(
        "server.max_calls",
        Number("calls", 1, 100_000),
        "Calls in flight at once, streams not counted; more are refused with a wait.",
    ),
    option(
        "server.max_streams",
        Number("streams", 1, 1_000_000),
        "Open streams at once: about three per home of a thousand homes.",
    ),
    option(
        "server.max_callers",
        Number("callers", 1024, 10_000_000),
        "Callers and methods whose rates are remembered, about 100 bytes each.",
    ),
    option(
        "server.rate_limits",
        Flag,
        "Whether rates per caller are kept. Off for measurements only.",
    ),
    option(
        "server.grace_seconds",
        Number("seconds", 0, 300),
        "How long calls in flight get when the process is told to end.",
    ),
    option(
        "log.format",
        Word(&["auto", "text", "json"]),
        "`auto` is text on a terminal and JSON otherwise.",
    ),
    option(
        "log.level",
        Text,
        "`error`, `warn`, `info`, `debug` or `trace`, also by part: `info,hearth_engine=debug`.",
    ),
    option(
        "smtp.host",
        Text,
        "The mail relay. Empty: no mail goes out, and whatever waits for a mail keeps waiting.",
    ),
    option(
        "smtp.port",
        Number("port", 1, 65_535),
        "The relay's port: 587 for submission, 465 for implicit TLS.",
    ),
    option(
        "smtp.from",
        Text,
        "The sender's address, with or without a name.",
    ),
    option(
        "smtp.tls",
        Word(&["none", "starttls", "implicit"]),
        "How the connection is protected; `none` is for a relay on this machine.",
    ),
    option(
        "smtp.tls_ca",
        Text,
        "A PEM file with one more certificate to trust. Empty: the public ones.",
    ),
    Option {
        private: true,
        ..option(
            "smtp.username",
            Text,
            "The name to sign in with. Empty: without.",
        )
    },
    option(
        "smtp.password_file",
        Text,
        "The file with the password; its last line break is not part of it.",
    ),
    option(
        "smtp.allow_private",
        Flag,
        "Whether the relay may lie in a private, local or loopback network.",
    ),
    option(
        "smtp.timeout_seconds",
        // Less than the minute that the timer behind it may take.
        Number("seconds", 1, 55),
        "How long handing over one mail may take.",
    ),
];

/// The page `docs/config.md`: every option with its default.
#[must_use]
pub fn reference() -> String {
    use std::fmt::Write;
    let defaults = super::load::defaults();
    let mut page = String::from(
        "# Options\n\nDefaults, then one TOML file, then `HEARTH_SECTION__KEY` of the environment, then the command line.\n",
    );
    let mut section = "";
    for option in OPTIONS {
        let (this, key) = option.path.split_once('.').unwrap_or(("", option.path));
        if this != section {
            section = this;
            let _ = write!(
                page,
                "\n## [{section}]\n\n| key | is | default | since | meaning |\n| --- | --- | --- | --- | --- |\n"
            );
        }
        let default = defaults
            .find_value(option.path)
            .map_or_else(|_| String::new(), |value| super::load::toml(&value));
        let (shape, since, about) = (option.shape.text(), option.since, option.about);
        let _ = writeln!(
            page,
            "| `{key}` | {shape} | `{default}` | {since} | {about} |"
        );
    }
    page
}
