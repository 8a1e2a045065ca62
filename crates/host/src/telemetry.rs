//! Logs: text on a terminal, JSON otherwise, on stderr. Nothing personal is ever logged, so nothing here filters it.

use std::io::IsTerminal;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

use crate::config::{Log, LogFormat};
use crate::exit::Exit;

/// Begins logging for the process, once. A panic is logged with its place and without its text, which may hold anything.
///
/// # Errors
/// `Usage` when the level is not one.
pub fn init(log: &Log) -> Result<(), Exit> {
    let filter = EnvFilter::try_new(&log.level)
        .map_err(|error| Exit::usage(format!("log.level is not a level: {error}")))?;
    let json = match log.format {
        LogFormat::Auto => !std::io::stderr().is_terminal(),
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = if json {
        lines
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .boxed()
    } else {
        lines.with_target(false).boxed()
    };
    let begun = tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .try_init();
    begun.map_err(|error| Exit::failed("logging does not begin", &error))?;
    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        tracing::error!(place, "panic");
    }));
    Ok(())
}
