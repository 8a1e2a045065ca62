//! Reading the options from their four sources, checking them, and printing them with where each came from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use figment::providers::{Format, Serialized, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};
use hearth_kernel::Service;
use serde::{Deserialize, Deserializer};

use super::{Config, OPTIONS, Shape};

/// Where options come from, weakest first; the defaults stand before all of them.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file, if one was named.
    pub file: Option<PathBuf>,
    /// Variables of the environment; only those that begin with `HEARTH_` count.
    pub environment: Vec<(String, String)>,
    /// `section.key` and value, from the command line.
    pub overrides: Vec<(String, String)>,
}

/// Variables that are the command line's, not options.
const NOT_OPTIONS: &[&str] = &[
    "ADMIN", "CONFIG", "DATA", "KEYS", "ESCROW", "LISTEN", "SERVER", "TOKEN", "SESSION", "CA",
];

/// Why there is no configuration. One line, naming the source and the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

/// The options, and where each came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The options.
    pub config: Config,
    figment: Figment,
}

impl Sources {
    /// The file, this process's environment, and the command line.
    #[must_use]
    pub fn of_process(file: Option<PathBuf>, overrides: Vec<(String, String)>) -> Self {
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        Self {
            file,
            environment: variables
                .filter(|(name, _)| name.starts_with("HEARTH_"))
                .collect(),
            overrides,
        }
    }

    /// Reads and checks everything.
    ///
    /// # Errors
    /// A file that cannot be read, the first unknown key or value of a wrong type; else every value out of bounds.
    pub fn load(&self) -> Result<Loaded, ConfigError> {
        let mut figment = defaults();
        if let Some(file) = &self.file {
            // Figment takes a file that is not there for an empty one; a named one must be there.
            let text = std::fs::read_to_string(file).map_err(|error| {
                ConfigError(format!(
                    "the config file {} cannot be read: {error}",
                    file.display()
                ))
            })?;
            figment = figment.merge(Named {
                name: file_name(file),
                inner: Toml::string(&text),
            });
        }
        for (name, text) in &self.environment {
            if let Some(path) = path_of(name)? {
                figment = figment.merge(One {
                    name: name.clone(),
                    value: value_of(&path, text)?,
                    path,
                });
            }
        }
        for (path, text) in &self.overrides {
            let name = "the command line".to_owned();
            figment = figment.merge(One {
                name,
                value: value_of(path, text)?,
                path: path.clone(),
            });
        }
        let config: Config = figment
            .extract()
            .map_err(|error| ConfigError(line(&error)))?;
        let mut problems = Vec::new();
        for option in OPTIONS {
            let value = figment
                .find_value(option.path)
                .map_err(|error| ConfigError(line(&error)))?;
            if let Some(problem) = option.shape.problem(&value) {
                let source = source(&figment, option.path);
                problems.push(format!("{} {problem} ({source})", option.path));
            }
        }
        problems.extend(together(&config));
        if problems.is_empty() {
            return Ok(Loaded { config, figment });
        }
        Err(ConfigError(problems.join("; ")))
    }
}

impl Loaded {
    /// All options as TOML, with where each came from; what is private is not shown.
    #[must_use]
    pub fn dump(&self) -> String {
        use std::fmt::Write;
        let mut out = String::new();
        let mut section = "";
        for option in OPTIONS {
            let (this, key) = option.path.split_once('.').unwrap_or(("", option.path));
            if this != section {
                let _ = writeln!(
                    out,
                    "{}[{this}]",
                    if section.is_empty() { "" } else { "\n" }
                );
                section = this;
            }
            let value = self
                .figment
                .find_value(option.path)
                .map(|value| toml(&value));
            let value = match value {
                Ok(value) if option.private && value != "\"\"" => "\"***\"".to_owned(),
                Ok(value) => value,
                Err(_) => continue,
            };
            let _ = writeln!(
                out,
                "{key} = {value} # {}",
                source(&self.figment, option.path)
            );
        }
        for (name, section) in &self.config.modules {
            let _ = writeln!(out, "\n[{name}]");
            for key in section
                .as_object()
                .into_iter()
                .flat_map(serde_json::Map::keys)
            {
                let path = format!("{name}.{key}");
                if let Ok(value) = self.figment.find_value(&path) {
                    let _ = writeln!(
                        out,
                        "{key} = {} # {}",
                        toml(&value),
                        source(&self.figment, &path)
                    );
                }
            }
        }
        out
    }
}

pub(super) fn defaults() -> Figment {
    Figment::from(Serialized::defaults(Config::default()))
}

/// What holds between options.
fn together(config: &Config) -> Vec<String> {
    let mut problems = Vec::new();
    let mut error = |text: &str| problems.push(text.to_owned());
    let server = &config.server;
    if server.tls_certificate.as_os_str().is_empty() != server.tls_key.as_os_str().is_empty() {
        error("server.tls_certificate and server.tls_key must be set together");
    }
    let smtp = &config.smtp;
    if !smtp.host.is_empty() && smtp.from.is_empty() {
        error("smtp.from must be set with smtp.host");
    }
    if smtp.username.is_empty() != smtp.password_file.as_os_str().is_empty() {
        error("smtp.username and smtp.password_file must be set together");
    }
    if !smtp.username.is_empty() && smtp.tls == super::SmtpTls::None {
        error("smtp.username needs smtp.tls: a password does not travel in the clear");
    }
    problems
}

/// The option that a variable sets: `HEARTH_SMTP__HOST` is `smtp.host`.
fn path_of(name: &str) -> Result<Option<String>, ConfigError> {
    let Some(rest) = name.strip_prefix("HEARTH_") else {
        return Ok(None);
    };
    if NOT_OPTIONS.contains(&rest) {
        return Ok(None);
    }
    let path = rest
        .split_once("__")
        .map(|(section, key)| format!("{section}.{key}"));
    match path.map(|path| path.to_ascii_lowercase()) {
        Some(path) if is_option(&path) => Ok(Some(path)),
        _ => Err(ConfigError(format!("the variable {name} names no option"))),
    }
}

/// Whether there is such an option, or it may be one of a module, which says so itself when it starts.
fn is_option(path: &str) -> bool {
    OPTIONS.iter().any(|option| option.path == path) || is_of_module(path)
}

fn is_of_module(path: &str) -> bool {
    path.split_once('.')
        .is_some_and(|(section, _)| section.parse::<Service>().is_ok())
}

/// The sections that are not the process's own: each must bear a module's name.
pub(super) fn module_sections<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, serde_json::Value>, D::Error> {
    let sections = BTreeMap::<String, serde_json::Value>::deserialize(deserializer)?;
    match sections
        .keys()
        .find(|name| name.parse::<Service>().is_err())
    {
        Some(name) => Err(serde::de::Error::custom(format!(
            "there is no section {name}"
        ))),
        None => Ok(sections),
    }
}

/// A text as the value that its option wants. A module's is what it looks like: number, truth value, or text.
fn value_of(path: &str, text: &str) -> Result<Value, ConfigError> {
    if is_of_module(path) {
        return Ok(match (text.parse::<i64>(), text.parse::<bool>()) {
            (Ok(number), _) => Value::from(number),
            (_, Ok(flag)) => Value::from(flag),
            _ => Value::from(text),
        });
    }
    let Some(option) = OPTIONS.iter().find(|option| option.path == path) else {
        return Err(ConfigError(format!("there is no option {path}")));
    };
    let wrong = |what: &str| ConfigError(format!("{path} must be {what}"));
    Ok(match option.shape {
        Shape::Text | Shape::Word(_) => Value::from(text),
        Shape::Texts => {
            let parts = text
                .split(',')
                .map(str::trim)
                .filter(|part| !part.is_empty());
            Value::from(parts.map(str::to_owned).collect::<Vec<_>>())
        }
        Shape::Flag => Value::from(text.parse::<bool>().map_err(|_| wrong("true or false"))?),
        Shape::Number(unit, least, most) => {
            let bounds = format!("{least} to {most} {unit}");
            Value::from(text.parse::<u32>().map_err(|_| wrong(&bounds))?)
        }
    })
}

fn file_name(file: &Path) -> String {
    file.display().to_string()
}

fn source(figment: &Figment, path: &str) -> String {
    let found = figment
        .find_metadata(path)
        .map(|metadata| metadata.name.to_string());
    match found {
        Some(name) if !name.contains("Config") => name,
        _ => "default".to_owned(),
    }
}

/// Figment's error on one line: the first one, with key and source.
fn line(error: &figment::Error) -> String {
    let first = error
        .clone()
        .into_iter()
        .next()
        .unwrap_or_else(|| error.clone());
    let path = first.path.join(".");
    let from = first
        .metadata
        .as_ref()
        .map(|it| it.name.to_string())
        .unwrap_or_default();
    format!("{path}: {} ({from})", first.kind)
        .trim_start_matches(": ")
        .replace('\n', " ")
}

/// A value in TOML.
pub(super) fn toml(value: &Value) -> String {
    match value {
        Value::String(_, text) => format!("{text:?}"),
        Value::Array(_, values) => {
            format!(
                "[{}]",
                values.iter().map(toml).collect::<Vec<_>>().join(", ")
            )
        }
        Value::Bool(_, flag) => flag.to_string(),
        other => number(other).map_or_else(|| format!("{other:?}"), |number| number.to_string()),
    }
}

/// A whole number, however its source spelt its sign.
pub(super) fn number(value: &Value) -> Option<i128> {
    value.to_i128().or_else(|| {
        value
            .to_u128()
            .and_then(|number| i128::try_from(number).ok())
    })
}

/// A provider under a name of ours.
struct Named<P> {
    name: String,
    inner: P,
}

impl<P: Provider> Provider for Named<P> {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        self.inner.data()
    }
}

/// One option from one place.
struct One {
    name: String,
    path: String,
    value: Value,
}

impl Provider for One {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let nested = figment::util::nest(&self.path, self.value.clone());
        let dict = nested.into_dict().unwrap_or_default();
        Ok(Map::from([(Profile::Default, dict)]))
    }
}
