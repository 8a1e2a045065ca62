//! The options of a process: defaults, then one TOML file, then `HEARTH_SECTION__KEY`, then the command line.
//!
//! This is the only place that reads the environment. An unknown key fails, so that a misspelt one is not silently
//! without effect. Secrets are not options: an option names the file that holds one. Every option of the process is a row
//! of [`OPTIONS`], from which bounds are checked and the documentation is printed; the sections of modules are theirs.

mod load;
mod options;

use std::collections::BTreeMap;
use std::path::PathBuf;

use hearth_kernel::Service;
use serde::{Deserialize, Serialize};

pub use load::{ConfigError, Loaded, Sources};
pub use options::{OPTIONS, Option as Row, Shape, reference};

/// All options. Those of the process have their meaning, unit and bounds in [`OPTIONS`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// The listeners and their limits.
    pub server: Server,
    /// Logs.
    pub log: Log,
    /// Mail.
    pub smtp: Smtp,
    /// The sections of the modules, by their names: each module reads and checks its own.
    #[serde(flatten, deserialize_with = "load::module_sections")]
    pub modules: BTreeMap<String, serde_json::Value>,
}

impl Config {
    /// A module's section, as its `Context` holds it; null when nothing is set.
    #[must_use]
    pub fn section(&self, service: Service) -> serde_json::Value {
        self.modules
            .get(service.name())
            .cloned()
            .unwrap_or_default()
    }
}

/// `[server]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Where calls arrive.
    pub listen: String,
    /// Where operators look; empty: nowhere.
    pub admin_listen: String,
    /// The certificate chain in PEM; empty: one is made when TLS is needed.
    pub tls_certificate: PathBuf,
    /// The key of the certificate in PEM.
    pub tls_key: PathBuf,
    /// Names and addresses that a made certificate is for.
    pub tls_names: Vec<String>,
    /// Connections at once.
    pub max_connections: u32,
    /// Streams of one connection at once.
    pub max_connection_streams: u32,
    /// Calls in flight.
    pub max_calls: u32,
    /// Streams open.
    pub max_streams: u32,
    /// Callers whose rates are remembered.
    pub max_callers: u32,
    /// Whether rates per caller are kept.
    pub rate_limits: bool,
    /// Seconds that calls in flight get at the end.
    pub grace_seconds: u32,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:7400".to_owned(),
            admin_listen: String::new(),
            tls_certificate: PathBuf::new(),
            tls_key: PathBuf::new(),
            tls_names: vec!["localhost".to_owned()],
            max_connections: 4096,
            max_connection_streams: 256,
            max_calls: 1024,
            max_streams: 4096,
            max_callers: 65_536,
            rate_limits: true,
            grace_seconds: 10,
        }
    }
}

/// `[log]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// The form of a line.
    pub format: LogFormat,
    /// Levels, by part of the program.
    pub level: String,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            format: LogFormat::Auto,
            level: "info".to_owned(),
        }
    }
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// For people.
    Text,
    /// One object a line.
    Json,
}

/// `[smtp]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Smtp {
    /// The relay; empty: no mail goes out.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The sender.
    pub from: String,
    /// How the connection is protected.
    pub tls: SmtpTls,
    /// A certificate in PEM that is trusted beside the public ones.
    pub tls_ca: PathBuf,
    /// The name to sign in with; empty: none.
    pub username: String,
    /// The file with the password.
    pub password_file: PathBuf,
    /// Whether the relay may be in a private network.
    pub allow_private: bool,
    /// Seconds that handing over one mail may take.
    pub timeout_seconds: u32,
}

impl Default for Smtp {
    fn default() -> Self {
        Self {
            host: String::new(),
            port: 587,
            from: String::new(),
            tls: SmtpTls::Starttls,
            tls_ca: PathBuf::new(),
            username: String::new(),
            password_file: PathBuf::new(),
            allow_private: false,
            timeout_seconds: 30,
        }
    }
}

/// How a connection to the relay is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SmtpTls {
    /// Not at all: for a relay on the same machine.
    None,
    /// Upgraded before anything is sent; refused when the relay cannot.
    Starttls,
    /// From the first byte.
    Implicit,
}

#[cfg(test)]
mod tests;
