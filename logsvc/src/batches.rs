//! Rows of many logs at once: what comes in while one transaction runs shares the next one.

use futures_util::future::join_all;
use slipway_domain::agent::LogEnd;
use slipway_domain::attempt::AttemptRef;
use slipway_runtime::batch::Batched;
use slipway_store::StoreError;
use slipway_store::logs::{Booked, NewSegment};
use tracing::debug;

use crate::logs::Deps;

/// Books segments whose objects exist.
#[derive(Clone)]
pub(crate) struct Segments(pub(crate) Deps);

impl Batched for Segments {
    const NAME: &'static str = "log segments";
    type Ask = NewSegment;
    type Answer = Result<Booked, StoreError>;

    fn size_bytes(_: &NewSegment) -> usize {
        size_of::<NewSegment>()
    }

    async fn answer(&self, new: Vec<NewSegment>) -> Vec<Self::Answer> {
        match self.book(&new).await {
            Ok(booked) => return booked.into_iter().map(Ok).collect(),
            Err(error) if new.len() == 1 => return vec![Err(error)],
            Err(error) => debug!(%error, segments = new.len(), "segments not booked together"),
        }
        let first = |all: Vec<_>| all.into_iter().next().unwrap_or(Booked::No);
        join_all(new.iter().map(async |segment| self.book(std::slice::from_ref(segment)).await.map(first))).await
    }
}

impl Segments {
    async fn book(&self, new: &[NewSegment]) -> Result<Vec<Booked>, StoreError> {
        let now = self.0.db.now(&self.0.clock).await?;
        self.0.db.add_log_segments(new, now).await
    }
}

/// Books announced ends.
#[derive(Clone)]
pub(crate) struct Ends(pub(crate) Deps);

impl Batched for Ends {
    const NAME: &'static str = "log ends";
    type Ask = (AttemptRef, LogEnd);
    type Answer = Result<Option<LogEnd>, StoreError>;

    fn size_bytes(_: &Self::Ask) -> usize {
        size_of::<LogEnd>()
    }

    async fn answer(&self, ends: Vec<Self::Ask>) -> Vec<Self::Answer> {
        let now = self.0.clock.now();
        match self.0.db.end_logs(&ends, now).await {
            Ok(stored) => return stored.into_iter().map(Ok).collect(),
            Err(error) if ends.len() == 1 => return vec![Err(error)],
            Err(error) => debug!(%error, ends = ends.len(), "ends not booked together"),
        }
        let alone = async |end| self.0.db.end_logs(std::slice::from_ref(end), now).await;
        let first = |all: Vec<_>| all.into_iter().next().flatten();
        join_all(ends.iter().map(async |end| alone(end).await.map(first))).await
    }
}
