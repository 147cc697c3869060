//! Reading hooks, many at once. Each request reads the row as it is after the request came in: nothing is
//! remembered that a rotation or a pause would have to reach.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use slipway_domain::ids::HookId;
use slipway_runtime::clock::Clock;
use slipway_runtime::secret_key::SecretKey;
use slipway_store::hooks::Hook;
use slipway_store::{Db, StoreError};

use slipway_runtime::batch::Batched;

/// Reads hooks.
#[derive(Clone)]
pub(super) struct HookRows {
    pub(super) db: Db,
    pub(super) key: SecretKey,
    pub(super) clock: Clock,
}

/// A hook as its row was, and when that was by the database's clock.
#[derive(Clone)]
pub(super) struct Read {
    pub(super) hook: Arc<Hook>,
    at: DateTime<Utc>,
    /// The same by our own, which goes on without asking.
    seen: Instant,
}

impl Read {
    /// The database's time now, as far as our own clock kept pace since the row was read: a body later, at most.
    pub(super) fn now(&self, clock: &Clock) -> DateTime<Utc> {
        let since = clock.monotonic().saturating_duration_since(self.seen);
        self.at + TimeDelta::from_std(since).unwrap_or_default()
    }
}

impl Batched for HookRows {
    const NAME: &'static str = "read hooks";
    type Ask = HookId;
    type Answer = Result<Read, StoreError>;

    fn size_bytes(_: &HookId) -> usize {
        0
    }

    async fn answer(&self, ids: Vec<HookId>) -> Vec<Self::Answer> {
        let distinct = Vec::from_iter(ids.iter().copied().collect::<BTreeSet<_>>());
        let read = tokio::join!(self.db.hooks(&self.key, &distinct), self.db.now(&self.clock));
        let (Ok(hooks), Ok(at)) = read else {
            return self.each(ids).await;
        };
        let seen = self.clock.monotonic();
        let read = |hook| Read { hook, at, seen };
        let hooks: BTreeMap<_, _> =
            hooks.into_iter().map(|(id, hook)| (id, hook.map(|hook| read(Arc::new(hook))))).collect();
        let mut answers = Vec::with_capacity(ids.len());
        for id in ids {
            answers.push(match hooks.get(&id) {
                Some(Ok(read)) => Ok(read.clone()),
                // For its error, which belongs to one request only.
                Some(Err(_)) => self.one(id).await,
                None => Err(StoreError::NotFound("hook")),
            });
        }
        answers
    }
}

impl HookRows {
    async fn each(&self, ids: Vec<HookId>) -> Vec<<Self as Batched>::Answer> {
        let mut answers = Vec::with_capacity(ids.len());
        for id in ids {
            answers.push(self.one(id).await);
        }
        answers
    }

    async fn one(&self, id: HookId) -> <Self as Batched>::Answer {
        let hook = Arc::new(self.db.hook(&self.key, id).await?);
        let at = self.db.now(&self.clock).await?;
        Ok(Read { hook, at, seen: self.clock.monotonic() })
    }
}
