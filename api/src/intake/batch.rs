//! Group commit for the inbox. While one transaction is being flushed, the deliveries that come in wait and
//! then share the next one; a delivery that comes alone waits for nobody.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use slipway_runtime::lifecycle::Life;
use slipway_store::deliveries::{Accepted, NewDelivery};
use slipway_store::{Db, StoreError};
use tokio::sync::oneshot;

/// Most deliveries of one transaction.
const MAX_DELIVERIES: usize = 256;
/// Most bytes of one transaction, unless one delivery alone is larger.
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// Cheap to clone; clones share one queue.
#[derive(Clone)]
pub(super) struct Batcher {
    db: Db,
    life: Life,
    queue: Arc<Mutex<Queue>>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    /// A task works the queue and looks at it again before it ends.
    flushing: bool,
}

struct Waiting {
    new: NewDelivery,
    answer: oneshot::Sender<Result<Accepted, StoreError>>,
}

impl Batcher {
    pub(super) fn new(db: Db, life: Life) -> Self {
        Self { db, life, queue: Arc::default() }
    }

    /// Stores a delivery; returns once it is durable. Whoever stops waiting does not stop the storing.
    pub(super) async fn accept(&self, new: NewDelivery) -> anyhow::Result<Accepted> {
        let (answer, accepted) = oneshot::channel();
        if self.enqueue(Waiting { new, answer }) {
            let batcher = self.clone();
            self.life.errand("store deliveries", async move { batcher.flush_all().await });
        }
        Ok(accepted.await??)
    }

    /// True if nobody works the queue yet.
    fn enqueue(&self, waiting: Waiting) -> bool {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.waiting.push_back(waiting);
        !std::mem::replace(&mut queue.flushing, true)
    }

    async fn flush_all(&self) {
        while let Some((new, answers)) = self.next_batch() {
            match self.db.accept_deliveries(&new).await {
                Ok(accepted) => {
                    for (accepted, answer) in accepted.into_iter().zip(answers) {
                        // Whoever hung up finds its delivery stored when it asks again.
                        let _ = answer.send(Ok(accepted));
                    }
                }
                Err(_) => self.flush_singly(new, answers).await,
            }
        }
    }

    /// One delivery that cannot be stored must not take its neighbours along.
    async fn flush_singly(&self, new: Vec<NewDelivery>, answers: Vec<oneshot::Sender<Result<Accepted, StoreError>>>) {
        for (new, answer) in new.iter().zip(answers) {
            let _ = answer.send(self.db.accept_delivery(new).await);
        }
    }

    /// What waits now; `None` gives the queue back.
    fn next_batch(&self) -> Option<(Vec<NewDelivery>, Vec<oneshot::Sender<Result<Accepted, StoreError>>>)> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut new, mut answers, mut bytes) = (Vec::new(), Vec::new(), 0);
        while let Some(next) = queue.waiting.front() {
            bytes += next.new.body.len();
            if new.len() == MAX_DELIVERIES || (!new.is_empty() && bytes > MAX_BYTES) {
                break;
            }
            if let Some(taken) = queue.waiting.pop_front() {
                new.push(taken.new);
                answers.push(taken.answer);
            }
        }
        queue.flushing = !new.is_empty();
        queue.flushing.then_some((new, answers))
    }
}
