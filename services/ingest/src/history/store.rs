//! Chunks and manifests in the store, sealed and opened.

use std::sync::Arc;

use hearth_kernel::{Day, HomeId, Owner, Purpose, Timestamp};
use hearth_ports::{Binding, ChunkKey, ManifestRow, Opened, Sealing, Series, StoredChunk};

use super::HistoryError;
use super::bundle::Bundle;
use super::manifest::{Manifest, Name};
use super::period::Period;

/// The store of history.
#[derive(Clone)]
pub(crate) struct Store {
    pub(crate) series: Arc<dyn Series>,
    pub(crate) sealing: Arc<dyn Sealing>,
}

/// A manifest with its place among its predecessors.
#[derive(Clone, Debug, Default)]
pub(crate) struct Versioned {
    pub(crate) manifest: Manifest,
    pub(crate) fence: u64,
    pub(crate) counter: u64,
}

impl Store {
    /// The manifest of a period; an empty one when there is none.
    pub(crate) async fn manifest(
        &self,
        home: HomeId,
        period: Period,
    ) -> Result<Versioned, HistoryError> {
        let first = period.first();
        let rows = self.series.manifest(home, (first, first)).await?;
        match rows.into_iter().next() {
            None => Ok(Versioned::default()),
            Some(row) => Ok(Versioned {
                manifest: Manifest::decode(&row.body)?,
                fence: row.fence,
                counter: row.counter,
            }),
        }
    }

    /// Puts a manifest, and makes sure that it is the one that counts.
    pub(crate) async fn put_manifest(
        &self,
        home: HomeId,
        period: Period,
        versioned: &Versioned,
    ) -> Result<(), HistoryError> {
        let row = ManifestRow {
            home,
            day: period.first(),
            fence: versioned.fence,
            counter: versioned.counter,
            body: versioned.manifest.encode(),
        };
        self.series.put_manifest(row).await?;
        let now = self.manifest(home, period).await?;
        if (now.fence, now.counter) != (versioned.fence, versioned.counter) {
            return Err(HistoryError::Overtaken);
        }
        Ok(())
    }

    /// Seals a bundle as a chunk.
    pub(crate) async fn seal(
        &self,
        key: ChunkKey,
        bundle: &Bundle,
    ) -> Result<StoredChunk, HistoryError> {
        let (owner, purpose) = (Owner::Home(key.home), Purpose::Telemetry(key.class));
        let sealed = self
            .sealing
            .seal(owner, purpose, &binding(&key), &bundle.encode())
            .await?;
        Ok(StoredChunk { key, sealed })
    }

    /// Opens a chunk; `None` when its owner is erased or its period is over.
    pub(crate) async fn open(&self, chunk: &StoredChunk) -> Result<Option<Bundle>, HistoryError> {
        let key = &chunk.key;
        let (owner, purpose) = (Owner::Home(key.home), Purpose::Telemetry(key.class));
        let opened = self
            .sealing
            .open(owner, purpose, &binding(key), &chunk.sealed)
            .await?;
        match opened {
            Opened::Clear(clear) => Bundle::decode(clear.expose()).map(Some),
            Opened::Erased | Opened::Expired => Ok(None),
        }
    }

    /// A named chunk's bundle, and the other generations that lie beside it: what nobody names any more.
    pub(crate) async fn named(
        &self,
        home: HomeId,
        period: Period,
        name: &Name,
        now: Timestamp,
    ) -> Result<Option<Bundle>, HistoryError> {
        let day = period.day(name.day);
        let stored = self.generations(home, name, (day, day), now).await?;
        match stored
            .iter()
            .find(|chunk| chunk.key.generation == name.generation)
        {
            Some(chunk) => self.open(chunk).await,
            None => Ok(None),
        }
    }

    /// Every generation of a chunk between two days.
    pub(crate) async fn generations(
        &self,
        home: HomeId,
        name: &Name,
        days: (Day, Day),
        now: Timestamp,
    ) -> Result<Vec<StoredChunk>, HistoryError> {
        let (device, capability) = (name.device, name.capability);
        let (class, window) = (name.class, name.window);
        let series = &self.series;
        Ok(series
            .chunks(home, device, capability, class, window, days, now)
            .await?)
    }
}

fn binding(key: &ChunkKey) -> Binding {
    Binding::Chunk {
        home: key.home,
        device: key.device,
        capability: key.capability,
        class: key.class,
        day: key.day,
        window: key.window,
        generation: key.generation,
    }
}
