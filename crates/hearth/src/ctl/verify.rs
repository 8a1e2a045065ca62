//! `hearth ctl verify`: whether every history in a data folder is whole.

use hearth_host::Exit;
use hearth_kernel::Service;
use hearth_ports::{Family, Log as _, Stream};
use serde_json::json;

use super::chain;
use super::folder::FolderArgs;
use super::output::{Shown, Table};

/// Walks every aggregate of every EVT stream. Answers what it found, and whether all is well.
///
/// # Errors
/// `Usage` when the folder cannot be opened, `Failed` when it cannot be read.
pub(crate) async fn run(args: &FolderArgs) -> Result<(Shown, Option<Exit>), Exit> {
    let stores = args.open().await?;
    let mut streams = Table::new(&["stream", "aggregates", "commits", "tombstones", "faults"]);
    let mut broken = Table::new(&["subject", "position", "fault"]);
    let (mut faults, mut named) = (0, 0);
    for service in Service::ALL {
        let stream = Stream::new(Family::Evt, service);
        let failed = |error| Exit::failed("the log cannot be read", &error);
        if stores.log.head(stream).await.map_err(failed)?.is_none() {
            continue;
        }
        let report = chain::walk(&*stores.log, stream).await.map_err(failed)?;
        streams.push(vec![
            json!(stream.name()),
            json!(report.aggregates),
            json!(report.commits),
            json!(report.tombstones),
            json!(report.faults),
        ]);
        faults += report.faults;
        for it in report.broken {
            named += 1;
            let position = format!("{}:{}", it.position.generation, it.position.sequence);
            broken.push(vec![
                json!(it.subject.to_string()),
                json!(position),
                json!(it.fault.to_string()),
            ]);
        }
    }
    if faults == 0 {
        return Ok((
            Shown::Parts(vec![("streams", streams.into()), ("broken", broken.into())]),
            None,
        ));
    }
    let left = faults - named;
    let more = if left == 0 {
        String::new()
    } else {
        format!(", {left} of them not named")
    };
    let end = Exit::Failed(format!("{faults} faults in the hash chains{more}"));
    Ok((
        Shown::Parts(vec![("streams", streams.into()), ("broken", broken.into())]),
        Some(end),
    ))
}
