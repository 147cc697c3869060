//! The only place that spawns. Two tokens: the first signal is a wish (drain), the second an order.
//!
//! A loop that lives as long as the process is started by [`Life::spawn`]: when it ends before a stop was
//! asked for, with or without an error, the whole process stops with a non-zero exit. A connection, a job
//! or a consumer is started by [`Life::task`]: its result goes to its owner, and it is aborted when the
//! owner drops the handle.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument as _, error, info, info_span, warn};

/// Cheap to clone; all clones are one lifecycle.
#[derive(Debug, Clone, Default)]
pub struct Life {
    soft: CancellationToken,
    hard: CancellationToken,
    quiet: CancellationToken,
    tracker: TaskTracker,
    supports: TaskTracker,
    failed: Arc<AtomicBool>,
}

/// A task that is aborted when this is dropped.
#[derive(Debug)]
pub struct Task<T> {
    handle: JoinHandle<T>,
}

/// Why a task has no result.
#[derive(Debug, thiserror::Error)]
#[error("task {name} did not finish: {reason}")]
pub struct TaskFailed {
    name: &'static str,
    reason: String,
}

impl Life {
    /// A lifecycle that nobody stops yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs a loop that lives as long as the process.
    pub fn spawn<F>(&self, name: &'static str, future: F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let life = self.clone();
        let span = info_span!("loop", name);
        let watched = async move {
            let result = tokio::select! {
                result = future => result,
                () = life.hard.cancelled() => return,
            };
            match result {
                Ok(()) if life.soft.is_cancelled() => {}
                Ok(()) => life.fail(name, "it ended although nobody asked it to"),
                Err(error) => life.fail(name, &format!("{error:#}")),
            }
        };
        self.tracked(watched.instrument(span), name);
    }

    /// Runs something that ends by itself or with its owner.
    #[expect(clippy::disallowed_methods, reason = "the lifecycle is where tasks are spawned")]
    pub fn task<F, T>(&self, name: &'static str, future: F) -> Task<T>
    where
        F: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        Task { handle: tokio::spawn(self.tracker.track_future(future.instrument(info_span!("task", name)))) }
    }

    /// Runs something to its own end: neither an owner nor a kill cuts it short, only the grace of
    /// [`Life::wait`] does. It must watch [`Life::killed`] itself and then hurry.
    pub fn errand<F>(&self, name: &'static str, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.tracked(future.instrument(info_span!("errand", name)), name);
    }

    /// Runs what others need until the last of them has ended, such as a connection that they share: it goes on
    /// while the process stops, and ends by itself when [`Life::others_ended`] or [`Life::killed`] returns.
    #[expect(clippy::disallowed_methods, reason = "the lifecycle is where tasks are spawned")]
    pub fn support<F>(&self, name: &'static str, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let future = self.supports.track_future(future.instrument(info_span!("support", name)));
        self.watch_panics(tokio::spawn(future), name);
    }

    /// Runs work that blocks its thread, such as walking a folder.
    #[expect(clippy::disallowed_methods, reason = "the lifecycle is where tasks are spawned")]
    pub async fn blocking<F, T>(&self, name: &'static str, work: F) -> Result<T, TaskFailed>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let token = self.tracker.token();
        let handle = tokio::task::spawn_blocking(move || {
            let _tracked = token;
            work()
        });
        handle.await.map_err(|error| TaskFailed { name, reason: error.to_string() })
    }

    /// Returns once somebody asked the process to stop.
    pub async fn stopping(&self) {
        self.soft.cancelled().await;
    }

    /// Returns once the process must stop without waiting for work.
    pub async fn killed(&self) {
        self.hard.cancelled().await;
    }

    /// Returns once the process stops and nothing runs any more but what was started by [`Life::support`].
    pub async fn others_ended(&self) {
        self.quiet.cancelled().await;
    }

    /// True once somebody asked the process to stop.
    pub fn is_stopping(&self) -> bool {
        self.soft.is_cancelled()
    }

    /// Asks all loops to end when their work is done.
    pub fn stop(&self) {
        self.soft.cancel();
    }

    /// Ends all loops now.
    pub fn kill(&self) {
        self.soft.cancel();
        self.hard.cancel();
    }

    /// True if a loop failed; the process's exit code says so.
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Waits until every task has ended. After [`Life::kill`], gives up after `grace`.
    pub async fn wait(&self, grace: Duration) {
        let ended = async {
            self.tracker.close();
            self.tracker.wait().await;
            self.quiet.cancel();
            self.supports.close();
            self.supports.wait().await;
        };
        tokio::select! {
            () = ended => {}
            () = async { self.hard.cancelled().await; tokio::time::sleep(grace).await; } => {
                let tasks = self.tracker.len() + self.supports.len();
                warn!(tasks, "stopped before every task had ended");
            }
        }
    }

    /// SIGTERM and SIGINT: the first one asks, the second one orders.
    pub fn listen_to_signals(&self) -> std::io::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut term = signal(SignalKind::terminate())?;
        let mut int = signal(SignalKind::interrupt())?;
        let life = self.clone();
        // Not tracked: it must not keep the process alive.
        let listen = async move {
            loop {
                tokio::select! {
                    _ = term.recv() => {}
                    _ = int.recv() => {}
                }
                if life.is_stopping() {
                    warn!("second signal: stopping now");
                    life.kill();
                } else {
                    info!("signal: stopping when running work is done; a second signal stops at once");
                    life.stop();
                }
            }
        };
        self.untracked(listen);
        Ok(())
    }

    fn fail(&self, name: &'static str, reason: &str) {
        error!(name, reason, "a loop ended; the process stops");
        self.failed.store(true, Ordering::Release);
        self.stop();
    }

    #[expect(clippy::disallowed_methods, reason = "the lifecycle is where tasks are spawned")]
    fn tracked(&self, future: impl Future<Output = ()> + Send + 'static, name: &'static str) {
        self.watch_panics(tokio::spawn(self.tracker.track_future(future)), name);
    }

    /// A panic is a failure like any other: nobody joins this handle.
    fn watch_panics(&self, handle: JoinHandle<()>, name: &'static str) {
        let life = self.clone();
        self.untracked(async move {
            if let Err(error) = handle.await
                && error.is_panic()
            {
                life.fail(name, "it panicked");
            }
        });
    }

    #[expect(clippy::disallowed_methods, reason = "the lifecycle is where tasks are spawned")]
    fn untracked(&self, future: impl Future<Output = ()> + Send + 'static) {
        drop(tokio::spawn(future));
    }
}

impl<T> Task<T> {
    /// Waits for the result; an error when the task panicked.
    pub async fn join(mut self) -> Result<T, TaskFailed> {
        (&mut self.handle).await.map_err(|error| TaskFailed { name: "task", reason: error.to_string() })
    }

    /// Ends the task at its next await.
    pub fn abort(&self) {
        self.handle.abort();
    }

    /// True once it has ended.
    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_loop_that_ends_stops_the_process() {
        let life = Life::new();
        life.spawn("short", async { Ok(()) });
        life.stopping().await;
        assert!(life.has_failed());
    }

    #[tokio::test]
    async fn a_panic_is_a_failure() {
        let life = Life::new();
        life.spawn("bad", async { panic!("on purpose") });
        life.stopping().await;
        assert!(life.has_failed());
    }

    #[tokio::test]
    async fn a_stopped_loop_is_no_failure() {
        let life = Life::new();
        let inner = life.clone();
        life.spawn("good", async move {
            inner.stopping().await;
            Ok(())
        });
        life.stop();
        life.wait(Duration::from_secs(5)).await;
        assert!(!life.has_failed());
    }

    #[tokio::test]
    async fn what_supports_others_ends_after_the_last_of_them() {
        let life = Life::new();
        let (inner, support) = (life.clone(), life.clone());
        let (said, heard) = tokio::sync::oneshot::channel();
        life.support("connection", async move {
            support.others_ended().await;
            assert_eq!(heard.await, Ok("last words"));
        });
        life.spawn("good", async move {
            inner.stopping().await;
            said.send("last words").expect("somebody listens");
            Ok(())
        });
        life.stop();
        life.wait(Duration::from_secs(5)).await;
        assert!(!life.has_failed() && !life.hard.is_cancelled());
    }

    #[tokio::test]
    async fn an_errand_outlives_a_kill() {
        let life = Life::new();
        let (said, heard) = tokio::sync::oneshot::channel();
        let inner = life.clone();
        life.errand("last words", async move {
            inner.killed().await;
            tokio::task::yield_now().await;
            assert!(said.send(()).is_ok());
        });
        life.kill();
        life.wait(Duration::from_secs(5)).await;
        assert!(heard.await.is_ok());
        assert!(!life.has_failed());
    }

    #[tokio::test]
    async fn a_dropped_task_is_aborted() {
        let life = Life::new();
        let task = life.task("endless", std::future::pending::<()>());
        drop(task);
        life.stop();
        life.wait(Duration::from_secs(5)).await;
    }
}
