//! `hearth up`: everything in one process on embedded stores. A first start needs no configuration.

use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use hearth_backend_sqlite::Stores;
use hearth_host::config::Sources;
use hearth_host::{Bound, Config, Exit, telemetry, told_to_end};
use hearth_ports::{Clock, SystemClock};

use crate::installation::{Folders, Installation, Ports};
use crate::maintenance;
use crate::modules::MODULES;

/// What `hearth up` is told.
#[derive(Args, Clone, Debug)]
pub struct UpArgs {
    /// Where the data lies; made at the first start.
    #[arg(
        long,
        value_name = "DIR",
        env = "HEARTH_DATA",
        default_value = "hearth-data"
    )]
    pub data: PathBuf,
    /// Where the epoch keys lie, apart from the data and its backups [default: DIR.keys]
    #[arg(long, value_name = "DIR", env = "HEARTH_KEYS")]
    pub keys: Option<PathBuf>,
    /// Where the second copy of the keys lies [default: DIR.escrow]
    #[arg(long, value_name = "DIR", env = "HEARTH_ESCROW")]
    pub escrow: Option<PathBuf>,
    /// Address and port for all services [default: 127.0.0.1:7400]
    #[arg(long, value_name = "ADDR", env = "HEARTH_LISTEN")]
    pub listen: Option<String>,
    /// A TOML file with options
    #[arg(long, value_name = "FILE", env = "HEARTH_CONFIG")]
    pub config: Option<PathBuf>,
    /// Set one option: section.key=value; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
    pub set: Vec<(String, String)>,
    /// Check the options and end
    #[arg(long)]
    pub check_config: bool,
    /// Print the options, each with where it came from, and end
    #[arg(long)]
    pub dump_config: bool,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected section.key=value")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Runs until told to end.
///
/// # Errors
/// `Usage` in one line for what the operator can put right, `Failed` for the rest.
pub async fn run(args: UpArgs) -> Result<(), Exit> {
    let mut overrides = args.set.clone();
    overrides.extend(
        args.listen
            .iter()
            .map(|listen| ("server.listen".to_owned(), listen.clone())),
    );
    let loaded = Sources::of_process(args.config.clone(), overrides)
        .load()
        .map_err(|error| Exit::usage(error.to_string()))?;
    // What is wrong in any section is said before anything starts, and all of it at once.
    let checked = hearth_host::module::check_options(&loaded.config, &MODULES);
    if args.dump_config {
        crate::ctl::say(&loaded.dump());
    }
    checked?;
    if args.dump_config || args.check_config {
        return Ok(());
    }
    let config = loaded.config;
    telemetry::init(&config.log)?;
    hearth_host::process::harden()
        .map_err(|error| Exit::failed("the process cannot be hardened", &error))?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let folders = Folders::new(args.data, args.keys, args.escrow);
    // Heard from here on: a signal that comes while it starts ends it as well as a later one.
    let mut told = pin!(told_to_end());
    let (stores, installation) = tokio::select! {
        biased;
        told = &mut told => return told,
        started = Box::pin(start(&folders, &config, &clock)) => started?,
    };
    let ended = tokio::select! {
        biased;
        told = &mut told => told,
        ready = installation.ready() => match ready {
            Ok(()) => {
                let (address, data) = (installation.address(), folders.data.display());
                tracing::info!(%address, %data, "ready");
                told.await
            }
            not_ready => not_ready,
        },
    };
    let grace = Duration::from_secs(u64::from(config.server.grace_seconds));
    let clean = installation.stop(grace).await;
    stores.close();
    ended?;
    if clean {
        Ok(())
    } else {
        Err(Exit::Failed("calls were cut off at the end".to_owned()))
    }
}

/// Takes the port, opens the stores, and starts the services and the upkeep of their files.
async fn start(
    folders: &Folders,
    config: &Config,
    clock: &Arc<dyn Clock>,
) -> Result<(Arc<Stores>, Installation), Exit> {
    let bound = Bound::new(&config.server, &folders.tls(), clock.now())?;
    let outbound = hearth_host::smtp::outbound(&config.smtp)?;
    let stores = Arc::new(folders.open(Arc::clone(clock)).await?);
    let ports = Ports::embedded(&stores, folders, outbound, Arc::clone(clock));
    let installation = Installation::start_on(bound, ports, config).await?;
    maintenance::start(&installation.ports().files, clock, installation.tasks());
    Ok((stores, installation))
}
