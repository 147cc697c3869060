//! The progress of builds, for whoever asks for it by their references.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bollard_buildkit_proto::moby::buildkit::v1::StatusResponse;
use futures_util::{Stream, stream};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tonic::Status;

/// How long a build is waited for that is not known yet, and known after its end.
const MEMORY: Duration = Duration::from_secs(3);

/// Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Jobs(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    jobs: Mutex<HashMap<String, Job>>,
    begun: Notify,
}

#[derive(Debug, Default)]
struct Job {
    history: Vec<StatusResponse>,
    readers: Vec<UnboundedSender<StatusResponse>>,
    ended: bool,
}

/// A build under way; it has ended when this is dropped.
#[derive(Debug)]
pub struct Reported {
    jobs: Jobs,
    reference: String,
}

/// Progress as it is sent.
pub type Told = Pin<Box<dyn Stream<Item = Result<StatusResponse, Status>> + Send>>;

impl Jobs {
    /// Begins a build under a reference.
    pub fn begin(&self, reference: &str) -> Reported {
        self.lock().insert(reference.to_owned(), Job::default());
        self.0.begun.notify_waiters();
        Reported { jobs: self.clone(), reference: reference.to_owned() }
    }

    /// Everything that a build says, from its begin to its end.
    pub async fn follow(&self, reference: &str) -> Result<Told, Status> {
        let known = async {
            loop {
                let begun = self.0.begun.notified();
                if let Some(told) = self.join(reference) {
                    return told;
                }
                begun.await;
            }
        };
        let unknown = |_| Status::unknown(format!("no such job {reference}"));
        tokio::time::timeout(MEMORY, known).await.map_err(unknown)
    }

    fn join(&self, reference: &str) -> Option<Told> {
        let mut jobs = self.lock();
        let job = jobs.get_mut(reference)?;
        let (sender, receiver) = unbounded_channel();
        for message in &job.history {
            let _ = sender.send(message.clone());
        }
        if !job.ended {
            job.readers.push(sender);
        }
        let next = |mut receiver: tokio::sync::mpsc::UnboundedReceiver<_>| async move {
            receiver.recv().await.map(|message| (Ok(message), receiver))
        };
        Some(Box::pin(stream::unfold(receiver, next)))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Job>> {
        self.0.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reported {
    /// Tells everybody who follows it.
    pub fn say(&self, message: StatusResponse) {
        if let Some(job) = self.jobs.lock().get_mut(&self.reference) {
            job.readers.retain(|reader| reader.send(message.clone()).is_ok());
            job.history.push(message);
        }
    }
}

impl Drop for Reported {
    fn drop(&mut self) {
        if let Some(job) = self.jobs.lock().get_mut(&self.reference) {
            job.ended = true;
            job.readers.clear();
        }
        let (jobs, reference) = (self.jobs.clone(), std::mem::take(&mut self.reference));
        tokio::spawn(async move {
            tokio::time::sleep(MEMORY).await;
            jobs.lock().remove(&reference);
        });
    }
}
