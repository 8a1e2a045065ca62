//! `hearth ctl doctor`: what an operator should know of a data folder, and what she should do about it.
//!
//! Counts, sizes, ids and states alone: it opens nothing that belongs to a person, and shows no key.

mod advice;
mod files;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use hearth_backend_sqlite::Stores;
use hearth_engine::parking;
use hearth_host::Exit;
use hearth_kernel::Service;
use hearth_ports::tasks::Chain;
use hearth_ports::{
    Clock, Documents as _, Family, Log as _, Range, StoreError, Stream, SystemClock,
};
use hearth_vault::VaultFacts;
use serde_json::{Value, json};

use super::folder::FolderArgs;
use super::output::{Shown, Table};
use super::values;
use crate::installation::Folders;
use advice::Findings;

/// The most consumers with parked subjects that are listed.
const MOST_CONSUMERS: usize = 200;

/// Examines a data folder that no process has open.
///
/// # Errors
/// `Usage` when the folder cannot be opened, `Failed` when it cannot be read.
pub(crate) async fn run(args: &FolderArgs) -> Result<Shown, Exit> {
    let stores = args.open().await?;
    let folders = args.folders();
    let unreadable = |error: StoreError| Exit::failed("the data cannot be read", &error);
    let streams = streams(&stores).await.map_err(unreadable)?;
    let parked = parked(&stores).await.map_err(unreadable)?;
    let vault = vault(&stores).await;
    // What is still in a write-ahead log goes into its file; the lock is held on.
    stores.close();
    let files = files::of(&stores, &folders)
        .map_err(|error| Exit::failed("the folders cannot be read", &error))?;
    let findings = Findings {
        now: SystemClock.now(),
        in_place: vault.as_ref().ok().map(|facts| facts.overwrites_in_place),
        buckets: vault
            .as_ref()
            .map(|facts| facts.buckets.clone())
            .unwrap_or_default(),
        vault: vault.as_ref().err().cloned(),
        open_to_others: open_to_others(&folders),
        together: files::together(&folders),
        parked,
    };
    let path = |path: &Path| Value::from(path.display().to_string());
    Ok(Shown::Parts(vec![
        (
            "installation",
            Shown::One(vec![
                ("installation_id", json!(stores.installation.to_string())),
                ("data", path(&folders.data)),
                ("keys", path(&folders.keys)),
                ("escrow", path(&folders.escrow)),
            ]),
        ),
        ("files", files.into()),
        ("streams", streams.into()),
        ("keys", keys(&vault)),
        ("warnings", Shown::List(findings.advice())),
    ]))
}

/// Every stream that ever had a message, with its head and its newest message.
async fn streams(stores: &Stores) -> Result<Table, StoreError> {
    let families = [Family::Evt, Family::Rec, Family::Int, Family::State];
    let of_all = Service::ALL.into_iter();
    let all = of_all.flat_map(|service| families.map(|family| Stream::new(family, service)));
    let mut table = Table::new(&["stream", "head", "newest_kept", "recorded_at"]);
    for stream in all.chain([Stream::TELEMETRY]) {
        let Some(head) = stores.log.head(stream).await? else {
            continue;
        };
        let position =
            |at: hearth_ports::Position| Value::from(format!("{}:{}", at.generation, at.sequence));
        let newest = stores.log.newest(stream).await?;
        let newest = newest.map_or((Value::Null, Value::Null), |message| {
            (
                position(message.position),
                values::time(message.recorded_at),
            )
        });
        table.push(vec![
            json!(stream.name()),
            position(head),
            newest.0,
            newest.1,
        ]);
    }
    Ok(table)
}

/// How many subjects each consumer has set aside.
async fn parked(stores: &Stores) -> Result<BTreeMap<String, usize>, StoreError> {
    let mut all = BTreeMap::new();
    for partition in stores
        .documents
        .partitions(parking::TABLE, None, MOST_CONSUMERS)
        .await?
    {
        let rows = stores
            .documents
            .range(parking::TABLE, &partition, Range::all(parking::AT_MOST))
            .await?;
        if !rows.is_empty() {
            all.insert(String::from_utf8_lossy(&partition).into_owned(), rows.len());
        }
    }
    Ok(all)
}

/// What can be known of the keys without a vault that runs, which would change some; or why nothing can.
async fn vault(stores: &Stores) -> Result<VaultFacts, String> {
    let log = Arc::clone(&stores.log) as _;
    let custody = Arc::clone(&stores.custody) as _;
    hearth_vault::examine(log, custody, Arc::new(SystemClock))
        .await
        .map_err(|error| Chain(&error).to_string())
}

fn keys(vault: &Result<VaultFacts, String>) -> Shown {
    let facts = match vault {
        Ok(facts) => facts,
        Err(why) => return Shown::Line(format!("the keys cannot be examined: {why}")),
    };
    let count = |holds: fn(&hearth_vault::BucketFacts) -> bool| {
        json!(facts.buckets.iter().filter(|bucket| holds(bucket)).count())
    };
    let oldest = facts
        .buckets
        .iter()
        .filter_map(|bucket| bucket.open.map(|open| open.1))
        .min();
    Shown::One(vec![
        ("overwritten_in_place", json!(facts.overwrites_in_place)),
        ("buckets_in_use", json!(facts.buckets.len())),
        ("buckets_rotating", count(|bucket| bucket.leaving.is_some())),
        (
            "buckets_without_their_key",
            count(|bucket| !bucket.keys_present),
        ),
        (
            "oldest_epoch_since",
            oldest.map_or(Value::Null, values::time),
        ),
        (
            "epochs_destroyed",
            json!(
                facts
                    .buckets
                    .iter()
                    .map(|it| it.destroyed_through)
                    .sum::<u64>()
            ),
        ),
        (
            "stray_keys",
            json!(
                facts
                    .buckets
                    .iter()
                    .map(|bucket| bucket.stray_keys)
                    .sum::<usize>()
            ),
        ),
    ])
}

/// The folders that other users of the machine may read or write.
fn open_to_others(folders: &Folders) -> Vec<String> {
    use std::os::unix::fs::PermissionsExt as _;
    let all = [&folders.data, &folders.keys, &folders.escrow].into_iter();
    let open = all.filter(|folder| {
        let metadata = std::fs::metadata(folder);
        metadata.is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0)
    });
    open.map(|folder| folder.display().to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_changes_nothing_it_looks_at() {
        let folder = tempfile::tempdir().unwrap();
        let folders = Folders::new(folder.path().join("data"), None, None);
        let stores = folders.open(Arc::new(SystemClock)).await.unwrap();
        let keys = std::fs::read(folders.keys.join("epochs.bin")).unwrap();
        // No vault has run yet: one that did would make its own keys, and open the first epoch.
        let facts = vault(&stores).await.unwrap();
        assert_eq!(facts.installation, stores.installation);
        assert!(facts.buckets.is_empty());
        assert!(streams(&stores).await.unwrap().is_empty());
        assert_eq!(
            std::fs::read(folders.keys.join("epochs.bin")).unwrap(),
            keys
        );
    }
}
