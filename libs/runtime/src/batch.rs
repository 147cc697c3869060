//! Calls that many requests share. While one batch is under way, the requests that come in wait and then share
//! the next one; a request that comes alone waits for nobody.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use crate::lifecycle::Life;
use crate::problem::ApiError;

/// Most requests of one batch.
const MAX_ASKS: usize = 256;
/// Most bytes of one batch, unless one request alone is larger.
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// What is done for many requests at once. Cheap to clone.
pub trait Batched: Clone + Send + Sync + 'static {
    /// What it is called in spans.
    const NAME: &'static str;
    /// A request.
    type Ask: Send + 'static;
    /// What becomes of it.
    type Answer: Send + 'static;

    /// What a request adds to the size of its batch.
    fn size_bytes(ask: &Self::Ask) -> usize;

    /// The answers, in the order of `asks`. A request that fails must not take its neighbours along.
    fn answer(&self, asks: Vec<Self::Ask>) -> impl Future<Output = Vec<Self::Answer>> + Send;
}

/// Cheap to clone; clones share one queue.
#[derive(Clone)]
pub struct Batcher<B: Batched> {
    batched: B,
    life: Life,
    queue: Arc<Mutex<Queue<B>>>,
}

type Waiting<B> = (<B as Batched>::Ask, oneshot::Sender<<B as Batched>::Answer>);

struct Queue<B: Batched> {
    waiting: VecDeque<Waiting<B>>,
    /// A task works the queue and looks at it again before it ends.
    working: bool,
}

impl<B: Batched> Batcher<B> {
    /// A queue of its own, worked by errands of `life`.
    pub fn new(batched: B, life: Life) -> Self {
        let queue = Queue { waiting: VecDeque::new(), working: false };
        Self { batched, life, queue: Arc::new(Mutex::new(queue)) }
    }

    /// Asks together with others. Whoever stops waiting does not stop what was begun.
    pub async fn ask(&self, ask: B::Ask) -> Result<B::Answer, ApiError> {
        let (sender, answer) = oneshot::channel();
        if self.enqueue((ask, sender)) {
            let batcher = self.clone();
            self.life.errand(B::NAME, async move { batcher.work().await });
        }
        answer.await.map_err(ApiError::internal)
    }

    /// True if nobody works the queue yet.
    fn enqueue(&self, waiting: Waiting<B>) -> bool {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.waiting.push_back(waiting);
        !std::mem::replace(&mut queue.working, true)
    }

    async fn work(&self) {
        while let Some(batch) = self.next_batch() {
            let (asks, senders): (_, Vec<_>) = batch.into_iter().unzip();
            for (answer, sender) in self.batched.answer(asks).await.into_iter().zip(senders) {
                // Whoever hung up finds what was done when it asks again.
                let _ = sender.send(answer);
            }
        }
    }

    /// What waits now; `None` gives the queue back.
    fn next_batch(&self) -> Option<Vec<Waiting<B>>> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut count, mut bytes) = (0, 0);
        for (ask, _) in queue.waiting.iter().take(MAX_ASKS) {
            bytes += B::size_bytes(ask);
            if count > 0 && bytes > MAX_BYTES {
                break;
            }
            count += 1;
        }
        queue.working = count > 0;
        queue.working.then(|| queue.waiting.drain(..count).collect())
    }
}
