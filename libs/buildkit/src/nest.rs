//! HTTP/2 libraries start work of their own beside a connection. Here it all runs inside the connection's one
//! task, so that ending this task ends everything.

use std::future::Future;
use std::pin::Pin;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use hyper::rt::Executor;
use tokio::sync::mpsc;

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Takes in what a connection starts.
#[derive(Debug, Clone)]
pub struct Nest(mpsc::UnboundedSender<Work>);

/// Runs what was taken in.
pub struct Brood(mpsc::UnboundedReceiver<Work>);

/// A place for the work of one connection.
pub fn nest() -> (Nest, Brood) {
    let (give, take) = mpsc::unbounded_channel();
    (Nest(give), Brood(take))
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Nest {
    fn execute(&self, work: F) {
        // Nobody takes it once the connection has ended: then it has no purpose either.
        let _ = self.0.send(Box::pin(work));
    }
}

impl Brood {
    /// Runs `main`, and what it starts, until `main` and all of that have ended.
    pub async fn run<T>(mut self, main: impl Future<Output = T>) -> T {
        let mut running: FuturesUnordered<Work> = FuturesUnordered::new();
        let result = {
            // Dropped before the rest is awaited, which may wait for just that.
            let mut main = std::pin::pin!(main);
            loop {
                tokio::select! {
                    done = &mut main => break done,
                    Some(work) = self.0.recv() => running.push(work),
                    Some(()) = running.next() => {}
                }
            }
        };
        loop {
            tokio::select! {
                biased;
                Some(work) = self.0.recv() => running.push(work),
                ended = running.next() => if ended.is_none() { return result },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn it_ends_with_the_last_of_what_was_started() {
        let (nest, brood) = nest();
        let ended = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&ended);
        let result = brood.run(async move {
            let inner = nest.clone();
            nest.execute(async move {
                tokio::task::yield_now().await;
                let last = Arc::clone(&count);
                inner.execute(async move {
                    tokio::task::yield_now().await;
                    last.fetch_add(1, Ordering::Relaxed);
                });
                count.fetch_add(1, Ordering::Relaxed);
            });
            7
        });
        assert_eq!((result.await, ended.load(Ordering::Relaxed)), (7, 2));
    }
}
