//! The start: connect, be sure that writes are synced, declare the streams.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use hearth_ports::{StoreError, Stream, Tasks};
use tokio::time::Instant;

use crate::connection::Connection;
use crate::error::StartError;
use crate::leases::NatsLeases;
use crate::log::NatsLog;
use crate::options::NatsOptions;
use crate::streams::{self, Declaring, HEADER_BYTES, MAX_MESSAGE_BYTES};
use crate::sync;

/// Between two tries at a cluster that is still forming.
const AGAIN: Duration = Duration::from_millis(200);

/// A connection to servers that keep what they ack.
#[derive(Clone, Debug)]
pub struct Nats {
    connection: Arc<Connection>,
    options: NatsOptions,
}

impl Nats {
    /// Connects, and asks every server whether it syncs each write before it acks it.
    ///
    /// # Errors
    /// `Connect`, `Payload`; `Unsynced` and `Silent`, unless the options allow servers that do not sync.
    pub async fn connect(options: NatsOptions, tasks: &Tasks) -> Result<Self, StartError> {
        if let Some(problem) = options.problem() {
            return Err(StartError::Options(problem.to_owned()));
        }
        let connection = Connection::open(&options, tasks).await?;
        let found = connection.client.max_payload();
        let needed = MAX_MESSAGE_BYTES + HEADER_BYTES;
        if found < needed {
            return Err(StartError::Payload { found, needed });
        }
        let least = usize::from(options.replicas);
        match sync::check(&connection, least, options.patience).await {
            Ok(()) => {}
            Err(why @ (StartError::Unsynced(_) | StartError::Silent { .. }))
                if options.allow_unsynced =>
            {
                tracing::error!(
                    error = %why,
                    "development only: going on by option with servers that lose in a power cut what they acked"
                );
            }
            Err(why) => return Err(why),
        }
        Ok(Self {
            connection: Arc::new(connection),
            options,
        })
    }

    /// Creates the streams that are missing, extends those that lack something, and refuses those that differ.
    ///
    /// # Errors
    /// `Differs` names the property; `Store` when the servers fail for longer than the options' patience.
    pub async fn declare(&self, wanted: &[Stream]) -> Result<(), StartError> {
        let with = self.declaring();
        for stream in wanted {
            let config = streams::declared(*stream, with);
            self.patiently(|| streams::declare(&self.connection, config.clone()))
                .await?;
        }
        Ok(())
    }

    /// The same for the stream of leases, which all services share.
    ///
    /// # Errors
    /// As [`Nats::declare`].
    pub async fn declare_leases(&self) -> Result<(), StartError> {
        let config = streams::leases(self.declaring());
        self.patiently(|| streams::declare(&self.connection, config.clone()))
            .await
    }

    /// The log. Streams are looked up when they are first used.
    #[must_use]
    pub fn log(&self) -> NatsLog {
        NatsLog::new(Arc::clone(&self.connection))
    }

    /// The leases.
    #[must_use]
    pub fn leases(&self) -> NatsLeases {
        NatsLeases::new(Arc::clone(&self.connection))
    }

    const fn declaring(&self) -> Declaring {
        Declaring {
            replicas: self.options.replicas,
            generation: self.options.generation,
            telemetry_bytes: self.options.telemetry_bytes,
        }
    }

    /// Repeats what may work later, while servers that have just started choose who leads.
    async fn patiently<Fut>(&self, call: impl Fn() -> Fut) -> Result<(), StartError>
    where
        Fut: Future<Output = Result<(), StartError>>,
    {
        let end = Instant::now() + self.options.patience;
        loop {
            match call().await {
                Err(StartError::Store(StoreError::Retryable(why))) if Instant::now() < end => {
                    tracing::debug!(error = %why, "the log is not ready yet");
                    tokio::time::sleep(AGAIN).await;
                }
                done => return done,
            }
        }
    }
}
