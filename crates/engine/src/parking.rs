//! Parking: a message that can never be handled stops its own subject, and nothing else.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use hearth_ports::{Documents, Message, Range, StoreError, Subject, Table};
use uuid::Uuid;

const TABLE: Table = Table("engine_parked");
/// So many parked subjects mean that something else is wrong: the consumer stops instead.
const AT_MOST: usize = 1000;

/// Deletes what is noted of parked subjects that name one of these, whoever parked them: for an erasure, behind
/// which those subjects have nothing left to be handled.
pub(crate) async fn forget(
    documents: &dyn Documents,
    ids: &BTreeSet<Uuid>,
) -> Result<(), StoreError> {
    let named = |key: &[u8]| {
        let id = std::str::from_utf8(key).ok()?.rsplit('.').next()?;
        Uuid::try_parse(id).ok().filter(|id| ids.contains(id))
    };
    // One partition for each consumer of a process: a few dozen.
    for consumer in documents.partitions(TABLE, None, AT_MOST).await? {
        let rows = documents.range(TABLE, &consumer, Range::all(AT_MOST));
        for row in rows.await? {
            if named(&row.key).is_some() {
                documents
                    .delete(TABLE, &consumer, &row.key, row.stamp)
                    .await?;
            }
        }
    }
    Ok(())
}

/// The parked subjects of one consumer.
#[derive(Clone)]
pub struct Parking {
    documents: Arc<dyn Documents>,
    consumer: Arc<str>,
}

/// The subjects that were parked when it was loaded, and since.
#[derive(Debug, Default)]
pub struct Parked(Mutex<BTreeSet<String>>);

impl Parked {
    /// Whether messages of this subject are left alone.
    #[must_use]
    pub fn holds(&self, subject: &Subject) -> bool {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        !held.is_empty() && held.contains(&subject.to_string())
    }
}

impl Parking {
    /// The parking of a consumer.
    #[must_use]
    pub fn new(documents: Arc<dyn Documents>, consumer: impl Into<Arc<str>>) -> Self {
        Self {
            documents,
            consumer: consumer.into(),
        }
    }

    /// What is parked.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn load(&self) -> Result<Parked, StoreError> {
        let partition = self.consumer.as_bytes();
        let rows = self
            .documents
            .range(TABLE, partition, Range::all(AT_MOST))
            .await?;
        let subjects = rows
            .into_iter()
            .filter_map(|row| String::from_utf8(row.key).ok());
        Ok(Parked(Mutex::new(subjects.collect())))
    }

    /// Parks the subject of a message, for good or until an operator releases it.
    ///
    /// # Errors
    /// When the store does not answer, or too much is parked.
    pub async fn park(
        &self,
        parked: &Parked,
        message: &Message,
        why: &(dyn std::error::Error + Sync),
    ) -> Result<(), StoreError> {
        let subject = message.subject.to_string();
        tracing::error!(consumer = %self.consumer, %subject, error = %why, "parked a subject");
        {
            let mut held = parked.0.lock().unwrap_or_else(PoisonError::into_inner);
            if held.len() >= AT_MOST {
                return Err(StoreError::terminal("too many subjects are parked"));
            }
            held.insert(subject.clone());
        }
        let value = Bytes::copy_from_slice(&message.position.to_bytes());
        let (partition, stamp) = (self.consumer.as_bytes(), message.position.stamp());
        self.documents
            .put(TABLE, partition, subject.as_bytes(), stamp, value)
            .await
    }
}
