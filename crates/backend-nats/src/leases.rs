//! Leases: one record each, changed by compare-and-set, judged by the servers' clock alone.
//!
//! Whether a lease has ended is told by when the servers stored it, the period it says, and the time that the stream's
//! leader says it is now: no clock of a service counts. Where two leaders' clocks differ, a lease may be judged over by
//! that much too early: the fence is what protects, and it only grows, because records of leases are never removed.

use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use async_trait::async_trait;
use hearth_kernel::Timestamp;
use hearth_ports::{Lease, Leases, StoreError};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::Instant;

use crate::api::gibberish;
use crate::connection::Connection;
use crate::error::Refusal;
use crate::streams::LEASES;

const MAX_NAME: usize = 200;

/// Leases on JetStream.
#[derive(Clone, Debug)]
pub struct NatsLeases {
    connection: Arc<Connection>,
}

/// What is stored of a lease.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Record {
    holder: String,
    fence: u64,
    period_micros: u64,
    released: bool,
}

/// A lease as it stands.
#[derive(Debug)]
struct Standing {
    record: Option<Record>,
    /// Where it lies; 0 for one that never was.
    sequence: u64,
    /// Until when it is held.
    ends: Timestamp,
    /// What time it is.
    now: Timestamp,
}

impl Standing {
    /// The record, if the lease has not ended.
    fn held(&self) -> Option<&Record> {
        let record = self.record.as_ref().filter(|record| !record.released);
        record.filter(|_| self.now < self.ends)
    }

    /// The record, if it is this lease of this holder and has not ended.
    fn held_by(&self, lease: &Lease, holder: &str) -> Option<&Record> {
        self.held()
            .filter(|record| record.holder == holder && record.fence == lease.fence)
    }
}

impl NatsLeases {
    pub(crate) const fn new(connection: Arc<Connection>) -> Self {
        Self { connection }
    }

    async fn look(&self, subject: &str, until: Instant) -> Result<Standing, StoreError> {
        let last = json!({"last_by_subj": subject});
        // The time is asked for behind the record: a lease is never judged by a time before it was stored.
        let raw = self.connection.message(LEASES, &last, until).await?;
        let info = self.connection.info(LEASES, until).await?;
        let now = info.map_err(Refusal::class)?.now()?;
        let Some(raw) = raw else {
            return Ok(Standing {
                record: None,
                sequence: 0,
                ends: now,
                now,
            });
        };
        let record: Record =
            serde_json::from_slice(&raw.bytes).map_err(|_| gibberish("the record of a lease"))?;
        let ends = raw
            .recorded_at
            .plus(Duration::from_micros(record.period_micros));
        Ok(Standing {
            record: Some(record),
            sequence: raw.sequence,
            ends,
            now,
        })
    }

    async fn put(
        &self,
        subject: String,
        standing: &Standing,
        record: &Record,
        until: Instant,
    ) -> Result<(), StoreError> {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Expected-Stream", LEASES);
        let expected = standing.sequence.to_string();
        headers.insert("Nats-Expected-Last-Subject-Sequence", expected.as_str());
        let bytes =
            serde_json::to_vec(record).map_err(|why| StoreError::Terminal(Arc::new(why)))?;
        let bytes = bytes.into();
        let stored = self.connection.store(&subject, &headers, &bytes, until);
        stored.await.map(|_| ())
    }

    /// Stores the lease for a period, and answers it. It ends a little later than it says: the time was asked before.
    async fn grant(
        &self,
        name: &str,
        standing: &Standing,
        record: Record,
        until: Instant,
    ) -> Result<Lease, StoreError> {
        let period = Duration::from_micros(record.period_micros);
        self.put(subject(name)?, standing, &record, until).await?;
        Ok(Lease {
            name: name.to_owned(),
            fence: record.fence,
            expires: standing.now.plus(period),
        })
    }
}

fn subject(name: &str) -> Result<String, StoreError> {
    let plain = |token: &str| {
        !token.is_empty()
            && token
                .bytes()
                .all(|it| it.is_ascii_graphic() && !matches!(it, b'*' | b'>'))
    };
    if name.len() <= MAX_NAME && name.split('.').all(plain) {
        Ok(format!("lease.{name}"))
    } else {
        Err(StoreError::terminal("not the name of a lease"))
    }
}

fn micros(period: Duration) -> u64 {
    u64::try_from(period.as_micros()).unwrap_or(u64::MAX)
}

#[async_trait]
impl Leases for NatsLeases {
    async fn acquire(
        &self,
        name: &str,
        holder: &str,
        period: Duration,
    ) -> Result<Lease, StoreError> {
        let until = self.connection.deadline();
        let standing = self.look(&subject(name)?, until).await?;
        // The holder itself gets it anew: it asks again because it does not know whether it was granted.
        if standing.held().is_some_and(|it| it.holder != holder) {
            return Err(StoreError::Conflict);
        }
        let fence = standing.record.as_ref().map_or(0, |record| record.fence);
        let record = Record {
            holder: holder.to_owned(),
            fence: fence.saturating_add(1),
            period_micros: micros(period),
            released: false,
        };
        self.grant(name, &standing, record, until).await
    }

    async fn renew(
        &self,
        lease: &Lease,
        holder: &str,
        period: Duration,
    ) -> Result<Lease, StoreError> {
        let until = self.connection.deadline();
        let standing = self.look(&subject(&lease.name)?, until).await?;
        let held = standing.held_by(lease, holder);
        let mut record = held.ok_or(StoreError::Conflict)?.clone();
        record.period_micros = micros(period);
        self.grant(&lease.name, &standing, record, until).await
    }

    async fn release(&self, lease: &Lease, holder: &str) -> Result<(), StoreError> {
        let until = self.connection.deadline();
        let subject = subject(&lease.name)?;
        let standing = self.look(&subject, until).await?;
        let Some(held) = standing.held_by(lease, holder) else {
            return Ok(());
        };
        let record = Record {
            released: true,
            ..held.clone()
        };
        match self.put(subject, &standing, &record, until).await {
            // Somebody took it in between, or an own renewal is under way: the next try tells. Repeating is harmless.
            Err(StoreError::Conflict) => Err(StoreError::retryable("the lease is changing")),
            Err(StoreError::Unknown(why)) => Err(StoreError::Retryable(why)),
            done => done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(now: i64) -> Standing {
        Standing {
            record: Some(Record {
                holder: "one".to_owned(),
                fence: 3,
                period_micros: 10,
                released: false,
            }),
            sequence: 1,
            ends: Timestamp::from_micros(100),
            now: Timestamp::from_micros(now),
        }
    }

    #[test]
    fn a_lease_is_over_at_its_end() {
        assert!(standing(99).held().is_some());
        assert!(standing(100).held().is_none());
    }

    #[test]
    fn names_that_reach_into_others_are_refused() {
        assert!(subject("ingest.writer.7").is_ok());
        for name in ["", "a..b", "a.*", ">", "a b", &"x".repeat(201)] {
            assert!(
                matches!(subject(name), Err(StoreError::Terminal(_))),
                "{name}"
            );
        }
    }
}
