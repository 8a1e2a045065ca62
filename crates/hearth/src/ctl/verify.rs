//! `hearth ctl verify`: whether every history in a data folder is whole, and is still the one that was signed.

use std::path::{Path, PathBuf};

use clap::Args;
use hearth_backend_sqlite::Stores;
use hearth_engine::checkpoint::{Kept, key_name, key_pair, public_key};
use hearth_host::Exit;
use hearth_kernel::{Purpose, Service, Timestamp};
use hearth_ports::tasks::Chain;
use hearth_ports::{Clock as _, Family, Log as _, Stream, SystemClock};
use serde_json::{Value, json};

use super::attested::{Attested, Keys, Sources, key_numbers};
use super::chain;
use super::folder::FolderArgs;
use super::output::{Shown, Table};
use super::values;

/// The largest file of kept checkpoints.
const MOST_BYTES: u64 = 64 << 20;

/// Which folder, and what was kept of it elsewhere.
#[derive(Args, Clone, Debug)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    folder: FolderArgs,
    /// A checkpoint that was kept elsewhere (accounts:12:...), or a file with any number of them in any text: lines of
    /// the log, what /checkpoints answered. The data must still extend each
    #[arg(long, value_name = "CHECKPOINT|FILE")]
    against: Vec<String>,
}

/// Walks every aggregate of every EVT stream, and checks every checkpoint. Answers what it found, and whether all is
/// well.
///
/// # Errors
/// `Usage` when the folder or what was kept cannot be opened, `Failed` when the folder cannot be read.
pub(crate) async fn run(args: &VerifyArgs) -> Result<(Shown, Option<Exit>), Exit> {
    let kept = kept(&args.against)?;
    let stores = args.folder.open().await?;
    let found = verify(&stores, &kept, SystemClock.now()).await?;
    let end = found.end();
    Ok((found.shown(), end))
}

/// What a run found.
pub(crate) struct Found {
    streams: Table,
    checkpoints: Table,
    broken: Table,
    /// Findings about checkpoints, one a line.
    pub(crate) findings: Vec<String>,
    faults: u64,
    unnamed_faults: u64,
    all_findings: u64,
}

/// Verifies open stores.
///
/// # Errors
/// `Failed` when they cannot be read.
pub(crate) async fn verify(stores: &Stores, kept: &[Kept], now: Timestamp) -> Result<Found, Exit> {
    let mut found = Found {
        streams: Table::new(&["stream", "aggregates", "commits", "tombstones", "faults"]),
        checkpoints: Table::new(&[
            "service",
            "checkpoints",
            "newest",
            "signed_at",
            "keys",
            "kept",
            "aggregates",
            "purged",
            "forgotten",
            "commits_behind",
            "findings",
        ]),
        broken: Table::new(&["subject", "position", "fault"]),
        findings: Vec::new(),
        faults: 0,
        unnamed_faults: 0,
        all_findings: 0,
    };
    for service in Service::ALL {
        let stream = Stream::new(Family::Evt, service);
        let failed = |error| Exit::failed("the log cannot be read", &error);
        let is_kept = kept.iter().any(|it| it.service == service);
        if stores.log.head(stream).await.map_err(failed)?.is_none() && !is_kept {
            continue;
        }
        let from = Sources {
            log: &*stores.log,
            documents: &*stores.documents,
        };
        let keys = keys(stores, service).await?;
        let attested = Attested::read(from, service, &keys, kept).await;
        let mut attested = attested.map_err(failed)?;
        let report = chain::walk(&*stores.log, stream, |message, commit, link| {
            attested.see(message, commit, link);
        });
        let report = report.await.map_err(failed)?;
        attested.finish(&*stores.log, now).await.map_err(failed)?;
        found.chains(stream, report);
        found.attested(service, &attested);
    }
    Ok(found)
}

impl Found {
    fn chains(&mut self, stream: Stream, report: chain::Report) {
        self.streams.push(vec![
            json!(stream.name()),
            json!(report.aggregates),
            json!(report.commits),
            json!(report.tombstones),
            json!(report.faults),
        ]);
        self.faults += report.faults;
        self.unnamed_faults += report.faults;
        for it in report.broken {
            self.unnamed_faults -= 1;
            let position = format!("{}:{}", it.position.generation, it.position.sequence);
            self.broken.push(vec![
                json!(it.subject.to_string()),
                json!(position),
                json!(it.fault.to_string()),
            ]);
        }
    }

    fn attested(&mut self, service: Service, attested: &Attested) {
        let newest = attested.newest.map_or((Value::Null, Value::Null), |it| {
            (json!(it.0.to_string()), values::time(it.2))
        });
        self.checkpoints.push(vec![
            json!(service.name()),
            json!(attested.checkpoints),
            newest.0,
            newest.1,
            json!(attested.keys.len()),
            json!(attested.kept),
            json!(attested.aggregates),
            json!(attested.purged),
            json!(attested.forgotten),
            json!(attested.behind),
            json!(attested.findings),
        ]);
        self.all_findings += attested.findings;
        let named = attested.named.iter();
        self.findings
            .extend(named.map(|finding| format!("{service}: {finding}")));
    }

    /// How the command ends: `None` when all is well.
    pub(crate) fn end(&self) -> Option<Exit> {
        if self.faults == 0 && self.all_findings == 0 {
            return None;
        }
        let named = u64::try_from(self.findings.len()).unwrap_or(u64::MAX);
        let left = self.unnamed_faults + self.all_findings.saturating_sub(named);
        let more = if left == 0 {
            String::new()
        } else {
            format!(", {left} of them not named")
        };
        Some(Exit::Failed(format!(
            "{} faults in the hash chains and {} findings by the checkpoints{more}",
            self.faults, self.all_findings
        )))
    }

    fn shown(self) -> Shown {
        Shown::Parts(vec![
            ("streams", self.streams.into()),
            ("checkpoints", self.checkpoints.into()),
            ("broken", self.broken.into()),
            ("findings", Shown::List(self.findings)),
        ])
    }
}

/// The public keys that the service's ring gives, for each number that a checkpoint names.
async fn keys(stores: &Stores, service: Service) -> Result<Keys, Exit> {
    let log = &*stores.log;
    let numbers = key_numbers(log, service).await;
    let numbers = numbers.map_err(|error| Exit::failed("the log cannot be read", &error))?;
    let mut keys = Keys::new();
    for number in numbers {
        let name = key_name(number);
        let wanted = (Purpose::Signing, name.as_str());
        let secret = hearth_vault::derived(log, &*stores.custody, service, wanted).await;
        let secret = secret.unwrap_or_else(|error| {
            tracing::warn!(%service, error = %Chain(&error), "the service's ring cannot be read");
            None
        });
        if let Some(pair) = secret.and_then(|secret| key_pair(secret.expose())) {
            keys.insert(number, public_key(&pair));
        }
    }
    Ok(keys)
}

/// The checkpoints that were kept elsewhere.
fn kept(against: &[String]) -> Result<Vec<Kept>, Exit> {
    let mut kept = Vec::new();
    for one in against {
        if let Ok(short) = one.parse() {
            kept.push(short);
            continue;
        }
        let path = PathBuf::from(one);
        let found = Kept::all_in(&text(&path)?);
        if found.is_empty() {
            return Err(Exit::usage(format!(
                "--against {one}: no checkpoint is in this file"
            )));
        }
        kept.extend(found);
    }
    Ok(kept)
}

fn text(path: &Path) -> Result<String, Exit> {
    let cannot = |error: std::io::Error| {
        Exit::usage(format!(
            "--against {}: neither a checkpoint nor a file that can be read: {error}",
            path.display()
        ))
    };
    let size = std::fs::metadata(path).map_err(cannot)?.len();
    if size > MOST_BYTES {
        return Err(Exit::usage(format!(
            "--against {}: the file is larger than 64 MiB",
            path.display()
        )));
    }
    let bytes = std::fs::read(path).map_err(cannot)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
