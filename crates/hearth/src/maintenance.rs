//! What an embedded installation does to its own files: deleted bytes are overwritten, old rows dropped.
//!
//! On a cluster the stores do this by themselves (compaction, TTL, `roll`); here nobody else would.

use std::sync::Arc;
use std::time::Duration;

use hearth_ports::{Clock, StoredFiles, Tasks};

/// How often: well inside the day that the byte receipt promises.
const EVERY: Duration = Duration::from_secs(6 * 3600);

/// Scrubs and expires every six hours, as long as the tasks run.
pub fn start(files: &Arc<dyn StoredFiles>, clock: &Arc<dyn Clock>, tasks: &Tasks) {
    let (files, clock) = (Arc::clone(files), Arc::clone(clock));
    tasks.supervise("maintenance", move || {
        let (files, clock) = (Arc::clone(&files), Arc::clone(&clock));
        async move {
            clock.sleep(EVERY).await;
            files.scrub(clock.now()).await
        }
    });
}
