//! A doorbell inside one process: many may ring, one loop answers, and no ring is lost between two waits.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

/// Rings are coalesced: however many came since the last wait, the loop runs once.
#[derive(Debug, Clone, Default)]
pub struct Wake(Arc<Notify>);

impl Wake {
    /// Asks the loop to run its passes soon.
    pub fn ring(&self) {
        self.0.notify_one();
    }

    /// Returns on the next ring, or after `poll` at the latest.
    pub async fn wait(&self, poll: Duration) {
        // A timeout is the poll that repairs a lost ring, not an error.
        let _ = tokio::time::timeout(poll, self.0.notified()).await;
    }
}
