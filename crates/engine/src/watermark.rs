//! Watermarks: at a time, how far a service's history had been published. What makes a cache's "no" worth something.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use hearth_kernel::{Service, Timestamp};
use hearth_ports::{Log, Position, StoreError, Topic};
use prost::Message;
use tokio::sync::watch;

use crate::stamp::WirePosition;

/// How often an idle relay announces its watermark (DESIGN section 3).
pub(crate) const IDLE: Duration = Duration::from_millis(500);
/// A watermark that is so much older than the one before comes from a clock that was set back.
const SET_BACK: Duration = Duration::from_secs(10);

/// `hearth.events.v1.Watermark`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Watermark {
    /// The service's name.
    #[prost(string, tag = "1")]
    pub source: String,
    /// When the head was read, microseconds.
    #[prost(int64, tag = "2")]
    pub at_micros: i64,
    /// The head of EVT then; all of it is published.
    #[prost(message, optional, tag = "3")]
    pub evt: Option<WirePosition>,
    /// The head of INT then.
    #[prost(message, optional, tag = "4")]
    pub int: Option<WirePosition>,
    /// The head of STATE then.
    #[prost(message, optional, tag = "5")]
    pub state: Option<WirePosition>,
}

/// What a watermark says, in the engine's types.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// When the head was read.
    pub at: Timestamp,
    /// The head of EVT then.
    pub evt: Position,
    /// The head of INT then.
    pub int: Position,
    /// The head of STATE then.
    pub state: Position,
}

impl From<&Watermark> for Published {
    fn from(mark: &Watermark) -> Self {
        let place = |position: Option<WirePosition>| position.map_or(Position::START, Into::into);
        Self {
            at: Timestamp::from_micros(mark.at_micros),
            evt: place(mark.evt),
            int: place(mark.int),
            state: place(mark.state),
        }
    }
}

fn topic(service: Service) -> Topic {
    Topic(format!("watermark.{service}").into())
}

/// Announces a watermark.
///
/// # Errors
/// When the log cannot be reached.
pub async fn announce(
    log: &dyn Log,
    service: Service,
    watermark: &Watermark,
) -> Result<(), StoreError> {
    log.announce(&topic(service), watermark.encode_to_vec().into())
        .await
}

/// The newest watermark of each service, as this process has heard it.
#[derive(Clone)]
pub struct Watermarks {
    log: Arc<dyn Log>,
    heard: Arc<BTreeMap<Service, watch::Sender<Published>>>,
}

impl Watermarks {
    /// Nothing heard yet.
    #[must_use]
    pub fn new(log: Arc<dyn Log>) -> Self {
        let heard = Service::ALL.map(|service| (service, watch::Sender::new(Published::default())));
        Self {
            log,
            heard: Arc::new(heard.into_iter().collect()),
        }
    }

    /// What was heard last of a service.
    #[must_use]
    pub fn newest(&self, service: Service) -> watch::Receiver<Published> {
        self.heard.get(&service).map_or_else(
            || watch::Sender::new(Published::default()).subscribe(),
            watch::Sender::subscribe,
        )
    }

    /// Listens to one service until its topic ends; supervise it.
    ///
    /// # Errors
    /// Never; it ends when the log stops announcing.
    pub async fn listen(&self, service: Service) -> Result<(), StoreError> {
        let mut announcements = self.log.listen(&topic(service));
        while let Some(announcement) = announcements.next().await {
            let Ok(mark) = Watermark::decode(announcement.0) else {
                continue;
            };
            if let Some(heard) = self.heard.get(&service) {
                heard.send_if_modified(|old| {
                    let new = Published::from(&mark);
                    // A clock that was set back must not make us deaf until it has caught up.
                    let newer = new.at > old.at || old.at.since(new.at) > SET_BACK;
                    if newer {
                        *old = new;
                    }
                    newer
                });
            }
        }
        Ok(())
    }
}
