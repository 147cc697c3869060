//! What the engine's build cache holds.

use chrono::{DateTime, Utc};
use slipway_buildkit::client::BuildKit;
use slipway_buildkit::endpoint::Endpoint;
use slipway_domain::failure::Failure;

use super::{Engine, QUESTION_TIMEOUT, down};

/// Records of what steps made and of base images; others, such as contexts, outlive a prune.
const REGULAR: &str = "regular";

/// The cache as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheUsage {
    /// What it takes on the disk beside what images hold anyway, bytes.
    pub bytes: i64,
    /// When the oldest of its layers was made; `None` where it has none.
    pub oldest: Option<DateTime<Utc>>,
}

impl Engine {
    /// Asks for the state of the build cache.
    pub async fn cache_usage(&self) -> Result<CacheUsage, Failure> {
        let records = self.buildkit().disk_usage(QUESTION_TIMEOUT).await.map_err(down)?;
        let bytes = records.iter().filter(|record| !record.shared).map(|record| record.size.max(0));
        let layers = records.iter().filter(|record| record.record_type == REGULAR);
        let made = layers.filter_map(|record| {
            // One without a time is as old as can be: it drops nothing.
            record.created_at.as_ref().map_or(Some(DateTime::UNIX_EPOCH), |at| {
                DateTime::from_timestamp(at.seconds, u32::try_from(at.nanos).unwrap_or_default())
            })
        });
        Ok(CacheUsage { bytes: bytes.fold(0, i64::saturating_add), oldest: made.min() })
    }

    /// Whether it keeps caches at registries.
    pub async fn keeps_caches(&self) -> Result<bool, Failure> {
        self.buildkit().keeps_caches(QUESTION_TIMEOUT).await.map_err(down)
    }

    pub(super) fn buildkit(&self) -> BuildKit {
        BuildKit::new(self.life.clone(), Endpoint::Docker(self.address.clone()))
    }
}
