//! The newest value of each capability: kept in memory until the writer's next mark, then a sealed row each.
//!
//! Newest by observation, in any order of arrival; of two values of one instant the greater, as in a merge. Disposable:
//! rows that are lost come back with the frames behind the writer's mark.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use hearth_api::stored::ingest::v1::LatestValue;
use hearth_kernel::{Capability, DeviceId, HomeId, Owner, Purpose, RetentionClass, Timestamp};
use hearth_ports::{Binding, Latest, Opened, SealError, Sealing, Series, StoreError};
use prost::Message;

use crate::observed::{Observed, Reading};

/// Rows put at once.
const ROWS: usize = 512;

/// Why newest values could not be stored or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LatestError {
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// A value could not be sealed or opened.
    #[error("sealing failed")]
    Seal(#[from] SealError),
}

type Key = (DeviceId, Capability);

/// A newest value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Newest {
    pub(crate) observed_at: Timestamp,
    pub(crate) value: Observed,
    pub(crate) class: RetentionClass,
}

impl Newest {
    fn is_after(&self, other: &Self) -> bool {
        (self.observed_at, &self.value) > (other.observed_at, &other.value)
    }
}

/// Newest values that are not in rows yet. Shared by the writer and by queries of the same process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pending {
    homes: Arc<Mutex<HashMap<HomeId, HashMap<Key, Newest>>>>,
}

impl Pending {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<HomeId, HashMap<Key, Newest>>> {
        self.homes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the readings of one segment.
    pub(crate) fn note<'a>(
        &self,
        home: HomeId,
        class: RetentionClass,
        rows: impl Iterator<Item = hearth_readings::Row<'a>>,
    ) {
        let mut homes = self.lock();
        let home = homes.entry(home).or_default();
        for row in rows {
            if row.marks.contains(hearth_readings::Marks::FUTURE) {
                continue;
            }
            let key = (
                DeviceId::from_bytes(*row.device),
                Capability::from_stored(row.capability),
            );
            let observed_at = Timestamp::from_micros(row.observed_at);
            match home.entry(key) {
                Entry::Occupied(mut known) => {
                    // The usual case costs no copy of a text: older ones end here.
                    if observed_at < known.get().observed_at {
                        continue;
                    }
                    let newest = Newest {
                        observed_at,
                        value: row.value.into(),
                        class,
                    };
                    if newest.is_after(known.get()) {
                        known.insert(newest);
                    }
                }
                Entry::Vacant(free) => {
                    free.insert(Newest {
                        observed_at,
                        value: row.value.into(),
                        class,
                    });
                }
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().values().map(HashMap::len).sum()
    }

    fn of_home(&self, home: HomeId) -> HashMap<Key, Newest> {
        self.lock().get(&home).cloned().unwrap_or_default()
    }

    /// Puts everything into rows and forgets it. What was noted meanwhile stays.
    pub(crate) async fn flush(
        &self,
        series: &dyn Series,
        sealing: &dyn Sealing,
    ) -> Result<(), LatestError> {
        let homes: Vec<HomeId> = self.lock().keys().copied().collect();
        for home in homes {
            let values = self.of_home(home);
            let mut rows = Vec::with_capacity(values.len().min(ROWS));
            for (key, newest) in &values {
                match seal(sealing, home, *key, newest).await {
                    Ok(row) => rows.push(row),
                    // Its owner is being erased, or its period is over: there is nothing to keep.
                    Err(SealError::Fenced | SealError::Expired) => {}
                    Err(error) => return Err(error.into()),
                }
                if rows.len() == ROWS {
                    series.put_latest(&rows).await?;
                    rows.clear();
                }
            }
            if !rows.is_empty() {
                series.put_latest(&rows).await?;
            }
            self.drop_flushed(home, &values);
        }
        Ok(())
    }

    fn drop_flushed(&self, home: HomeId, flushed: &HashMap<Key, Newest>) {
        let mut homes = self.lock();
        let Some(values) = homes.get_mut(&home) else {
            return;
        };
        values.retain(|key, newest| flushed.get(key) != Some(newest));
        if values.is_empty() {
            homes.remove(&home);
        }
    }

    /// Forgets a home: it is erased.
    pub(crate) fn forget(&self, home: HomeId) {
        self.lock().remove(&home);
    }
}

fn binding(home: HomeId, (device, capability): Key) -> Binding {
    let mut key = home.as_bytes().to_vec();
    key.extend_from_slice(device.as_bytes());
    key.extend_from_slice(&capability.number().to_be_bytes());
    Binding::Document {
        table: "ingest_latest",
        key,
        field: 0,
    }
}

/// The sealed value with its class behind it: without the class nobody knows which key opens it.
async fn seal(
    sealing: &dyn Sealing,
    home: HomeId,
    key: Key,
    newest: &Newest,
) -> Result<Latest, SealError> {
    let clear = newest.value.to_latest().encode_to_vec();
    let purpose = Purpose::Telemetry(newest.class);
    let sealed = sealing
        .seal(Owner::Home(home), purpose, &binding(home, key), &clear)
        .await?;
    let mut bytes = Vec::with_capacity(sealed.len() + 1);
    bytes.extend_from_slice(&sealed);
    bytes.push(newest.class.number());
    Ok(Latest {
        home,
        device: key.0,
        capability: key.1,
        observed_at: newest.observed_at,
        sealed: Bytes::from(bytes),
    })
}

/// The newest values of a home, by device and capability. What is older than its period is absent.
pub(crate) async fn read(
    series: &dyn Series,
    sealing: &dyn Sealing,
    pending: &Pending,
    home: HomeId,
    now: Timestamp,
) -> Result<Vec<Reading>, LatestError> {
    let mut values = HashMap::new();
    // Memory first: what is flushed between the two reads is then in both, not in neither.
    let noted = pending.of_home(home);
    for row in series.latest(home).await? {
        if let Some((key, newest)) = open(sealing, &row).await? {
            values.insert(key, newest);
        }
    }
    for (key, newest) in noted {
        match values.entry(key) {
            Entry::Occupied(mut known) if newest.is_after(known.get()) => {
                known.insert(newest);
            }
            Entry::Occupied(_) => {}
            Entry::Vacant(free) => {
                free.insert(newest);
            }
        }
    }
    let lives = |newest: &Newest| newest.observed_at >= now.minus(newest.class.period());
    let mut readings: Vec<Reading> = values
        .into_iter()
        .filter(|(_, newest)| lives(newest))
        .map(|((device, capability), newest)| Reading {
            device,
            capability,
            observed_at: newest.observed_at,
            value: newest.value,
            future: false,
        })
        .collect();
    readings.sort_by_key(|it| (it.device, it.capability));
    Ok(readings)
}

async fn open(sealing: &dyn Sealing, row: &Latest) -> Result<Option<(Key, Newest)>, LatestError> {
    let key = (row.device, row.capability);
    let Some((class, sealed)) = row.sealed.split_last() else {
        return Ok(None);
    };
    let Some(class) = RetentionClass::from_number(*class) else {
        return Ok(None);
    };
    let purpose = Purpose::Telemetry(class);
    let opened = sealing
        .open(
            Owner::Home(row.home),
            purpose,
            &binding(row.home, key),
            sealed,
        )
        .await?;
    let Opened::Clear(secret) = opened else {
        return Ok(None);
    };
    let value = LatestValue::decode(secret.expose())
        .ok()
        .and_then(Observed::of_latest);
    let observed_at = row.observed_at;
    Ok(value.map(|value| {
        (
            key,
            Newest {
                observed_at,
                value,
                class,
            },
        )
    }))
}
