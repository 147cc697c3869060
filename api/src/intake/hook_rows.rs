//! Reading hooks, many at once. Each request reads the row as it is after the request came in: nothing is
//! remembered that a rotation or a pause would have to reach.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use slipway_domain::ids::HookId;
use slipway_runtime::secret_key::SecretKey;
use slipway_store::hooks::Hook;
use slipway_store::{Db, StoreError};

use slipway_runtime::batch::Batched;

/// Reads hooks.
#[derive(Clone)]
pub(super) struct HookRows {
    pub(super) db: Db,
    pub(super) key: SecretKey,
}

impl Batched for HookRows {
    const NAME: &'static str = "read hooks";
    type Ask = HookId;
    type Answer = Result<Arc<Hook>, StoreError>;

    fn size_bytes(_: &HookId) -> usize {
        0
    }

    async fn answer(&self, ids: Vec<HookId>) -> Vec<Self::Answer> {
        let distinct = Vec::from_iter(ids.iter().copied().collect::<BTreeSet<_>>());
        let Ok(hooks) = self.db.hooks(&self.key, &distinct).await else { return self.each(ids).await };
        let hooks: BTreeMap<_, _> = hooks.into_iter().map(|(id, hook)| (id, hook.map(Arc::new))).collect();
        let mut answers = Vec::with_capacity(ids.len());
        for id in ids {
            answers.push(match hooks.get(&id) {
                Some(Ok(hook)) => Ok(hook.clone()),
                // For its error, which belongs to one request only.
                Some(Err(_)) => self.db.hook(&self.key, id).await.map(Arc::new),
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
            answers.push(self.db.hook(&self.key, id).await.map(Arc::new));
        }
        answers
    }
}
