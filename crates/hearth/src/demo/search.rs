//! What a thief would do: read every byte of every file, with and without every key there is.
//!
//! Ids and key ids are looked for as they are, by the search that retention itself proves erasures with; planted texts
//! also behind every sealed value that any surviving key opens.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context as _, Result};
use hearth_backend_sqlite::DataFolder;
use hearth_kernel::{KeyId, Owner, Purpose};
use hearth_ports::erasing::{Holding, StoredFiles};
use hearth_ports::{AdjustableClock, KeyCustody, Log};
use hearth_retention::search::{Control, Marker, Report, search};
use hearth_vault::Drill;

use super::screen::check;
use crate::installation::Folders;

/// What must not be found afterwards.
pub(super) struct Traces {
    /// Ids of the person and of the home that ends with her account: bare ids, which tombstones may name.
    pub(super) ids: Vec<(&'static str, [u8; 16])>,
    /// Ids of her keys and of her home's.
    pub(super) keys: Vec<(Purpose, KeyId)>,
    /// Names that she gave, and her own.
    pub(super) texts: Vec<&'static str>,
    pub(super) owners: Vec<Owner>,
}

impl Traces {
    fn markers(&self) -> Vec<Marker> {
        let ids = self.ids.iter().map(|(_, id)| Marker::id(*id));
        let keys = self.keys.iter().map(|(_, id)| Marker::id(*id.as_bytes()));
        let texts = self.texts.iter().map(|text| Marker::text(text));
        ids.chain(keys).chain(texts).collect()
    }

    /// Where the markers of texts begin.
    fn texts_from(&self) -> usize {
        self.ids.len() + self.keys.len()
    }
}

/// What one look at everything found.
pub(super) struct Seen {
    report: Report,
    /// How often each text lay behind a sealed value that opened.
    pub(super) opened: Vec<u64>,
    /// Sealed values that opened, of anybody.
    pub(super) values: u64,
    /// Keys in hand: hers, and all.
    pub(super) her_keys: usize,
    pub(super) all_keys: usize,
}

impl Seen {
    /// How often the markers in a range were found.
    fn found(&self, markers: std::ops::Range<usize>) -> u64 {
        markers.map(|marker| self.report.count(marker)).sum()
    }

    /// One line: files, bytes, and what was found.
    pub(super) fn line(&self, traces: &Traces) -> String {
        let (ids, texts) = (traces.ids.len(), traces.texts_from());
        format!(
            "{} files, {:.1} MB: {} ids, {} key ids, {} planted texts in clear, {} behind {} opened values ({} of {} keys hers)",
            self.report.files,
            megabytes(self.report.bytes),
            self.found(0..ids),
            self.found(ids..texts),
            self.found(texts..texts + traces.texts.len()),
            self.opened.iter().sum::<u64>(),
            self.values,
            self.her_keys,
            self.all_keys,
        )
    }

    /// Where ids were found: kind of file and count.
    pub(super) fn places(&self, traces: &Traces) -> Vec<String> {
        let mut lines = Vec::new();
        for (marker, (what, _)) in traces.ids.iter().enumerate() {
            let found: Vec<String> = self
                .report
                .counts
                .iter()
                .filter(|((of, _), _)| *of == marker)
                .map(|((_, holds), count)| format!("{count} in {holds:?}").to_lowercase())
                .collect();
            let found = if found.is_empty() {
                "nowhere".to_owned()
            } else {
                found.join(", ")
            };
            lines.push(format!("{what}: {found}"));
        }
        lines
    }

    /// The positive control: everything is there and would be found.
    pub(super) fn control(&self, traces: &Traces) -> Result<Control> {
        let required = traces.texts_from();
        let control = Control::of(&self.report, required).map_err(|void| {
            anyhow::anyhow!(
                "expected all {required} ids and key ids to be found; saw {} of them missing: {:?}",
                void.0.len(),
                void.0
            )
        })?;
        for (text, opened) in traces.texts.iter().zip(&self.opened) {
            check(
                *opened > 0,
                format_args!("{text:?} behind a key"),
                "it nowhere",
            )?;
        }
        check(self.her_keys > 0, "keys of hers", "none")?;
        self.no_clear_text(traces)?;
        Ok(control)
    }

    /// The proof: bare ids where the residual list has them, and nothing else, with every key that is left. Answers how
    /// often.
    pub(super) fn proof(&self, control: &Control, traces: &Traces) -> Result<u64> {
        let ids = traces.ids.len();
        // Tombstones, facts and the ledger lie in the log; a fence, which is all that is left of a ring, also in escrow.
        let listed = |marker: usize, holds: Holding| {
            marker < ids && matches!(holds, Holding::Log | Holding::Keys)
        };
        let outcome = control.prove(&self.report, listed);
        if outcome.outside > 0 {
            let places: Vec<_> = self
                .report
                .hits
                .iter()
                .filter(|hit| !listed(hit.marker, hit.holds))
                .take(12)
                .map(|hit| format!("marker {} in {} at {}", hit.marker, hit.file, hit.offset))
                .collect();
            anyhow::bail!(
                "expected nothing outside the residual list; saw {} markers outside it: {}",
                outcome.outside,
                places.join(", ")
            );
        }
        for (text, opened) in traces.texts.iter().zip(&self.opened) {
            check(
                *opened == 0,
                format_args!("{text:?} behind no key"),
                format_args!("it {opened} times"),
            )?;
        }
        self.no_clear_text(traces)?;
        Ok(outcome.residual)
    }

    fn no_clear_text(&self, traces: &Traces) -> Result<()> {
        let texts = traces.texts_from();
        let clear = self.found(texts..texts + traces.texts.len());
        check(
            clear == 0,
            "no planted text in clear in any file",
            format_args!("{clear}"),
        )
    }
}

/// Looks at every file of a running installation.
pub(super) async fn look(
    files: Arc<dyn StoredFiles>,
    log: &dyn Log,
    custody: &dyn KeyCustody,
    traces: &Traces,
) -> Result<Seen> {
    let drill = Drill::new(log, custody).await.context("the drill's keys")?;
    let (markers, texts) = (traces.markers(), traces.texts.clone());
    let owners = traces.owners.clone();
    let looked = tokio::task::spawn_blocking(move || -> Result<Seen> {
        let report = search(&*files, &markers, &AtomicBool::new(false))?;
        let mut opened = Opened::new(texts.len());
        for file in files.files()? {
            let mut bytes = Vec::new();
            match files.open(&file) {
                Ok(mut reader) => reader.read_to_end(&mut bytes)?,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error.into()),
            };
            opened.look(&drill, &bytes, &texts);
        }
        Ok(Seen {
            report,
            opened: opened.texts,
            values: opened.values,
            her_keys: owners.iter().map(|owner| drill.keys_of(*owner)).sum(),
            all_keys: drill.keys(),
        })
    });
    looked.await?
}

/// What lay behind sealed values.
struct Opened {
    texts: Vec<u64>,
    values: u64,
}

impl Opened {
    fn new(texts: usize) -> Self {
        Self {
            texts: vec![0; texts],
            values: 0,
        }
    }

    fn look(&mut self, drill: &Drill, bytes: &[u8], texts: &[&'static str]) {
        drill.open(bytes, |guess| {
            self.values += 1;
            for (count, text) in self.texts.iter_mut().zip(texts) {
                let text = text.as_bytes();
                if guess.clear.windows(text.len()).any(|window| window == text) {
                    *count += 1;
                }
            }
        });
    }
}

/// A copy of the data folder beside some keys, read without Hearth. Answers how many keys of these owners it gives, and
/// how many of the texts.
pub(super) async fn beside(
    folders: &Folders,
    clock: AdjustableClock,
    traces: &Traces,
) -> Result<(usize, u64)> {
    let stores = DataFolder::open(
        &folders.data,
        &folders.keys,
        &folders.escrow,
        Arc::new(clock),
    );
    let stores = stores.await?;
    let drill = Drill::new(&*stores.log, &*stores.custody).await?;
    drop(stores);
    let keys = traces
        .owners
        .iter()
        .map(|owner| drill.keys_of(*owner))
        .sum();
    let (data, texts) = (folders.data.clone(), traces.texts.clone());
    let opened = tokio::task::spawn_blocking(move || -> Result<u64> {
        let mut paths = Vec::new();
        super::stage::collect(&data, &mut paths)?;
        let mut opened = Opened::new(texts.len());
        for path in paths {
            opened.look(&drill, &std::fs::read(path)?, &texts);
        }
        Ok(opened.texts.iter().sum())
    });
    Ok((keys, opened.await??))
}

/// Bytes of files by what they hold, in MB.
pub(super) fn sizes(paths: &[PathBuf]) -> Result<BTreeMap<String, u64>> {
    let mut sizes = BTreeMap::new();
    for path in paths {
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        let Ok(metadata) = std::fs::metadata(path) else {
            continue;
        };
        *sizes.entry(name.unwrap_or_default()).or_insert(0) += metadata.len();
    }
    Ok(sizes)
}

/// Bytes as millions.
pub(super) fn megabytes(bytes: u64) -> f64 {
    u32::try_from(bytes / 1000).map_or(f64::INFINITY, f64::from) / 1000.0
}
