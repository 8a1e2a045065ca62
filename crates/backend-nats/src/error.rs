//! What can go wrong at the start, and how a server's refusals become the five classes of a store.

use hearth_ports::StoreError;
use serde::Deserialize;

/// Why the log is not there at the start. An operator reads it, so each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The options cannot be used.
    #[error("the options of the log: {0}")]
    Options(String),
    /// No server could be reached, or none accepts the credentials.
    #[error("cannot connect to the log")]
    Connect(#[source] async_nats::ConnectError),
    /// The servers take smaller messages than Hearth writes.
    #[error("the servers take messages of {found} bytes; set max_payload to at least {needed}")]
    Payload {
        /// What they take.
        found: usize,
        /// What is needed.
        needed: usize,
    },
    /// Nobody tells whether writes are synced.
    #[error(
        "{answered} of {expected} servers said whether they sync each write; each server's configuration needs\n{lines}",
        lines = crate::sync::CONFIGURATION
    )]
    Silent {
        /// How many answered.
        answered: usize,
        /// How many there are.
        expected: usize,
    },
    /// A server acks what a power cut takes away.
    #[error(
        "these servers ack writes before they sync them: {0}; set `sync_interval: always` in their jetstream block"
    )]
    Unsynced(String),
    /// A stream exists with other properties, and changing them would lose or alter what is stored.
    #[error(
        "stream {stream} exists with {key} = {found}, not {wanted}; it is not changed by itself"
    )]
    Differs {
        /// Which stream.
        stream: String,
        /// Which property.
        key: String,
        /// What it is.
        found: String,
        /// What it should be.
        wanted: String,
    },
    /// The servers failed.
    #[error("the log is not ready")]
    Store(#[from] StoreError),
}

/// A refusal of the JetStream API.
#[derive(Clone, Debug, Deserialize, thiserror::Error)]
#[error("{description} ({err_code})")]
pub(crate) struct Refusal {
    #[serde(default)]
    pub(crate) code: u16,
    #[serde(default)]
    pub(crate) err_code: u32,
    #[serde(default)]
    pub(crate) description: String,
}

/// Another last sequence than the one expected.
const WRONG_LAST_SEQUENCE: u32 = 10_071;
/// The same without a sequence: somebody's message to the subject is under way.
const SUBJECT_IN_FLIGHT: u32 = 10_164;
const MESSAGE_NOT_FOUND: u32 = 10_037;
const NO_SUCH_SEQUENCE: u32 = 10_043;
const STREAM_NOT_FOUND: u32 = 10_059;
const STREAM_EXISTS: u32 = 10_058;
/// `store failed`: among others, the stream is full.
const STORE_FAILED: u32 = 10_077;
/// Servers that have just started, or are down: they say 400 to it.
const NO_SUITABLE_PEERS: u32 = 10_005;
const NO_PEERS: u32 = 10_074;
const EXCEEDS_MAXIMUM: u32 = 10_054;

impl Refusal {
    /// Whether it says that there is no such message.
    pub(crate) const fn is_no_message(&self) -> bool {
        matches!(self.err_code, MESSAGE_NOT_FOUND | NO_SUCH_SEQUENCE)
    }

    /// Whether it says that there is no such stream.
    pub(crate) const fn is_no_stream(&self) -> bool {
        self.err_code == STREAM_NOT_FOUND
    }

    /// Whether it says that the stream is there with other properties.
    pub(crate) const fn is_stream_exists(&self) -> bool {
        self.err_code == STREAM_EXISTS
    }

    /// Whether it says that another message of the subject is still under way.
    pub(crate) const fn is_under_way(&self) -> bool {
        self.err_code == SUBJECT_IN_FLIGHT
    }

    /// As the class it belongs to. The server refuses before it stores, so nothing was written.
    pub(crate) fn class(self) -> StoreError {
        match self.err_code {
            WRONG_LAST_SEQUENCE | SUBJECT_IN_FLIGHT => StoreError::Conflict,
            EXCEEDS_MAXIMUM => StoreError::Terminal(std::sync::Arc::new(self)),
            STORE_FAILED | STREAM_NOT_FOUND | NO_SUITABLE_PEERS | NO_PEERS => {
                StoreError::Retryable(std::sync::Arc::new(self))
            }
            _ if self.code >= 500 || self.code == 429 => {
                StoreError::Retryable(std::sync::Arc::new(self))
            }
            _ => StoreError::Terminal(std::sync::Arc::new(self)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(code: u16, err_code: u32) -> StoreError {
        let description = String::new();
        Refusal {
            code,
            err_code,
            description,
        }
        .class()
    }

    #[test]
    fn both_codes_of_a_lost_race_are_conflicts() {
        assert!(matches!(class(400, 10_071), StoreError::Conflict));
        assert!(matches!(class(400, 10_164), StoreError::Conflict));
    }

    #[test]
    fn what_may_work_later_is_told_from_what_never_works() {
        for (code, err_code) in [
            (503, 10_008),
            (503, 10_077),
            (404, 10_059),
            (429, 10_210),
            (400, 10_005),
        ] {
            assert!(matches!(class(code, err_code), StoreError::Retryable(_)));
        }
        for (code, err_code) in [(400, 10_054), (400, 10_060), (403, 10_000)] {
            assert!(matches!(class(code, err_code), StoreError::Terminal(_)));
        }
    }
}
