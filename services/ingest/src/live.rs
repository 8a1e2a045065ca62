//! Who watches a home now: readings go to them as soon as they are stored.
//!
//! Fed by the writer of this process. A watcher that is slow loses the oldest readings and is told how many.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use hearth_kernel::HomeId;
use tokio::sync::broadcast;

use crate::observed::Reading;

/// Groups of readings that wait for a slow watcher.
const WAITING: usize = 64;
/// Homes that are watched at the same time.
const MAX_HOMES: usize = 10_000;

/// Readings that were stored together.
pub(crate) type Stored = Arc<Vec<Reading>>;

/// The homes that somebody watches.
#[derive(Clone, Debug, Default)]
pub(crate) struct Live {
    homes: Arc<Mutex<HashMap<HomeId, broadcast::Sender<Stored>>>>,
}

impl Live {
    /// Listens to a home; `None` when too many are watched.
    pub(crate) fn watch(&self, home: HomeId) -> Option<broadcast::Receiver<Stored>> {
        let mut homes = self.homes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = homes.get(&home) {
            return Some(sender.subscribe());
        }
        homes.retain(|_, sender| sender.receiver_count() > 0);
        if homes.len() >= MAX_HOMES {
            return None;
        }
        let (sender, receiver) = broadcast::channel(WAITING);
        homes.insert(home, sender);
        Some(receiver)
    }

    /// Whether anybody watches it.
    pub(crate) fn is_watched(&self, home: HomeId) -> bool {
        let homes = self.homes.lock().unwrap_or_else(PoisonError::into_inner);
        homes.get(&home).is_some_and(|it| it.receiver_count() > 0)
    }

    /// Tells who watches.
    pub(crate) fn tell(&self, home: HomeId, readings: Vec<Reading>) {
        let homes = self.homes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = homes.get(&home) {
            // Nobody listening any more is no error.
            let _ = sender.send(Arc::new(readings));
        }
    }
}
