//! Logs: text on a terminal, JSON otherwise, on stderr. Nothing personal is ever logged, so nothing here filters it.

use std::io::IsTerminal;

use tracing_subscriber::filter::LevelFilter;
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
    let filter = filter(&log.level)?;
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

/// The filter of `log.level`. A word alone is a level: as the name of a part, as which it would pass, a misspelt one
/// would silence everything else.
fn filter(level: &str) -> Result<EnvFilter, Exit> {
    let wrong =
        |why: &dyn std::fmt::Display| Exit::usage(format!("log.level is not a level: {why}"));
    for part in level.split(',').map(str::trim) {
        let word = !part.contains(['=', '[', ':']);
        if word && part.parse::<LevelFilter>().is_err() {
            return Err(wrong(&format_args!(
                "{part:?} is none of off, error, warn, info, debug, trace"
            )));
        }
    }
    EnvFilter::try_new(level).map_err(|error| wrong(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_level_is_refused() {
        for good in [
            "info",
            "off",
            "WARN",
            "info,hearth_engine=debug",
            "error,hearth::up=trace",
        ] {
            assert!(filter(good).is_ok(), "{good}");
        }
        for bad in [
            "loud",
            "info,debgu",
            "info,hearth_engine=loud",
            "hearth_engine",
        ] {
            let exit = filter(bad).expect_err(bad);
            assert_eq!(exit.number(), 64, "{bad}");
        }
    }
}
