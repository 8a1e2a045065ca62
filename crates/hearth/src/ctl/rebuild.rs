//! `hearth ctl rebuild`: makes a view anew from the log, on a data folder that nothing else has open.
//!
//! The services run meanwhile, as in `hearth up`, on a loopback port that the system chooses, because a view
//! belongs to its service. No mail goes out: what is due waits for the next `hearth up`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use clap::Args;
use hearth_engine::Rebuild;
use hearth_host::Exit;
use hearth_host::config::Sources;
use hearth_ports::{Clock, Mail, Outbound, OutboundError, SystemClock};
use serde_json::json;

use super::folder::FolderArgs;
use super::output::{Shown, Table};
use crate::installation::{Installation, Ports};

/// How long the services may take to end.
const GRACE: Duration = Duration::from_secs(10);

/// Which view of which installation.
#[derive(Args, Clone, Debug)]
pub(crate) struct RebuildArgs {
    /// The view; without one, their names are listed
    view: Option<String>,
    #[command(flatten)]
    folder: FolderArgs,
    /// The TOML file with options that `hearth up` takes
    #[arg(long, value_name = "FILE", env = "HEARTH_CONFIG")]
    config: Option<PathBuf>,
}

/// Rebuilds the view, or lists the views.
///
/// # Errors
/// `Usage` when the folder cannot be opened or there is no such view, `Failed` when the rebuild fails.
pub(crate) async fn run(args: &RebuildArgs) -> Result<Shown, Exit> {
    let overrides = [
        ("server.listen", "127.0.0.1:0"),
        ("server.admin_listen", ""),
    ];
    let overrides = overrides.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let loaded = Sources::of_process(args.config.clone(), overrides.to_vec()).load();
    let config = loaded
        .map_err(|error| Exit::usage(error.to_string()))?
        .config;
    let stores = Arc::new(args.folder.open().await?);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let folders = args.folder.folders();
    let ports = Ports::embedded(&stores, &folders, Arc::new(NoMail), clock);
    let installation = Box::pin(Installation::start(ports, &config, &folders.tls())).await?;
    let outcome = match installation.ready().await {
        Ok(()) => rebuild(installation.views(), args.view.as_deref()).await,
        Err(exit) => Err(exit),
    };
    installation.stop(GRACE).await;
    stores.close();
    outcome
}

async fn rebuild(views: &[Arc<dyn Rebuild>], name: Option<&str>) -> Result<Shown, Exit> {
    let Some(name) = name else {
        let rows = views.iter().map(|view| vec![json!(view.name())]);
        return Ok(Table::of(&["view"], rows).into());
    };
    let Some(view) = views.iter().find(|view| view.name() == name) else {
        let names: Vec<_> = views.iter().map(|view| view.name()).collect();
        return Err(Exit::usage(format!(
            "no view is called {name}; there are {}",
            names.join(", ")
        )));
    };
    let rebuilt = view.rebuild().await;
    rebuilt
        .map_err(|error| Exit::failed("the view was not rebuilt; the old one stands", &error))?;
    let rows = view.rows().await;
    let rows = rows.map_err(|error| Exit::failed("the new view cannot be read", &error))?;
    Ok(Shown::Line(format!(
        "{name} is rebuilt: {} rows",
        rows.len()
    )))
}

/// Takes no mail now, and says that it may later.
struct NoMail;

#[async_trait]
impl Outbound for NoMail {
    async fn mail(&self, _: &Mail) -> Result<(), OutboundError> {
        let why = std::io::Error::other("no mail goes out while a view is rebuilt");
        Err(OutboundError::Retryable(Arc::new(why)))
    }
}
