//! One attempt from its claim to its last word. The work runs in a task of its own, so that a panic, a
//! cancel, a timeout and a kill all end the same way: the work is gone, the log is closed, the finish is
//! told, the workspace is removed and the slot is free.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use slipway_domain::agent::{Claimed, Finish, LogEnd};
use slipway_domain::attempt::AttemptOutcome;
use slipway_domain::failure::{Failure, FailureClass};
use slipway_domain::remarks::Remarks;
use slipway_domain::timing::{KILL_WITHIN, LOG_DURABLE_WAIT, RUNNING_GRACE};
use slipway_runtime::backoff::Backoff;
use slipway_runtime::crash;
use slipway_runtime::lifecycle::Task;
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{Instrument as _, error, info, info_span, warn};

use crate::agent::Agent;
use crate::attempt_log::{AttemptLog, unwritable};
use crate::client::{AttemptApi, CallError};
use crate::halt::{Halt, Reins};
use crate::logship;
use crate::report::{self, Progress};
use crate::shelf::Shelf;
use crate::slots::Slot;
use crate::spool::{Owner, Spool};
use crate::work::engine::local_image;

mod bases;
mod cold;
mod flow;
mod follow;
mod limits;
mod loose_keys;
mod noted;
mod outputs;
mod policy;
mod push;
mod referred;
pub(crate) mod sharing;
mod strangers;
mod telling;
#[cfg(test)]
mod tests;

pub(crate) use bases::base_registries;
pub(crate) use cold::cache_registries;
use flow::Flow;
use noted::Noted;
use outputs::Outputs;

/// The last reports may take this long; after it the finish goes first.
const LAST_REPORTS: Duration = Duration::from_secs(5);
/// After a kill the work gets only this long to end by itself.
const HAND_BACK: Duration = Duration::from_secs(2);
/// After a kill the process has only a few seconds left for the last words.
const KILLED_FINISH: Duration = Duration::from_secs(3);
/// A cancelled build may still export its image when it is already gone here.
const LATE_EXPORT: Duration = Duration::from_secs(30);
/// Removing the image from the engine may take this long.
const REMOVE_IMAGE: Duration = Duration::from_secs(20);

/// What the parts of one attempt share.
struct Attempt {
    agent: Arc<Agent>,
    api: AttemptApi,
    claimed: Claimed,
    began: Instant,
    reins: Reins,
    progress: Arc<Progress>,
    log: Arc<AttemptLog>,
    shelf: Arc<Shelf>,
    outputs: Arc<Outputs>,
    noted: Arc<Noted>,
}

/// The last word as decided here; `None` when nothing may be said.
type Verdict = Option<(AttemptOutcome, Option<Failure>)>;

/// Works on a claimed job and frees its slot at the end, whatever happens.
pub async fn conduct(agent: Arc<Agent>, claimed: Claimed, mut slot: Slot) {
    let span = info_span!("attempt", job.id = %claimed.attempt.job, epoch = claimed.attempt.epoch);
    let reins = Reins::default();
    slot.hold(claimed.attempt, reins.clone());
    async move {
        match open_shelf(&agent, &claimed) {
            Ok(shelf) => Attempt::begin(agent, claimed, reins, shelf).conduct().await,
            Err(failure) => without_log(&agent, &claimed, failure).await,
        }
        drop(slot);
    }
    .instrument(span)
    .await;
}

impl Attempt {
    fn begin(agent: Arc<Agent>, claimed: Claimed, reins: Reins, shelf: Shelf) -> Self {
        let api = agent.client.attempt(claimed.attempt, claimed.token.clone());
        let shelf = Arc::new(shelf);
        let log = Arc::new(AttemptLog::new(
            agent.clock.clone(),
            Arc::clone(&shelf),
            reins.halted().clone(),
            claimed.spec.limits.log_bytes,
        ));
        let began = agent.clock.monotonic();
        let progress = Arc::new(Progress::default());
        let (outputs, noted) = (Arc::default(), Arc::default());
        Self { agent, api, claimed, began, reins, progress, log, shelf, outputs, noted }
    }

    async fn conduct(self) {
        ship_in_background(&self.agent, Arc::clone(&self.shelf), self.api.clone());
        let life = &self.agent.life;
        let telling = life.task(
            "report",
            report::tell(Arc::clone(&self.progress), self.api.clone(), self.reins.clone(), self.agent.clock.clone()),
        );
        let (limit, limits) = watch::channel(Duration::from_secs(self.claimed.timeout_secs));
        let workspace = self.agent.home.workspace(self.claimed.attempt);
        let flow = Flow::new(&self, workspace.clone(), limit);
        let log = Arc::clone(&self.log);
        let work = life.task("work", async move {
            tokio::select! {
                result = flow.run() => result,
                never = log.show_waiting() => match never {},
            }
        });
        let result = self.watch_over(work, limits).await;
        // A full disk ends the log, not the attempt, which is over.
        let _ = self.log.end_output();
        let verdict = self.tell_fully(verdict(self.reins.cause(), result));
        self.say_end(&verdict);
        tokio::join!(self.conclude(verdict), self.clean_up(workspace));
        drop(telling);
    }

    /// Waits for the work, and ends it when its time is over or somebody wants it.
    async fn watch_over(
        &self,
        work: Task<Result<(), Failure>>,
        mut limits: watch::Receiver<Duration>,
    ) -> Result<(), Failure> {
        let clock = &self.agent.clock;
        let mut work = std::pin::pin!(work.join());
        let joined = loop {
            let left = limits.borrow_and_update().saturating_sub(clock.monotonic().duration_since(self.began));
            tokio::select! {
                joined = &mut work => break Some(joined),
                () = self.reins.halted().cancelled() => break None,
                () = clock.sleep(left) => self.reins.pull(Halt::TimedOut),
                () = self.agent.life.killed() => self.reins.pull(Halt::HandedBack),
                Ok(()) = limits.changed() => {}
            }
        };
        // Dropping what does not end in time kills its processes as well.
        let joined = match joined {
            Some(joined) => joined,
            None => match timeout(self.patience(), work).await {
                Ok(joined) => joined,
                Err(_) => {
                    warn!("work did not end in time and was dropped");
                    return Err(Failure::new(FailureClass::Cancelled, "It was stopped."));
                }
            },
        };
        joined.unwrap_or_else(|error| {
            error!(%error, "work broke");
            Err(Failure::new(FailureClass::Internal, "The builder broke while it worked on this job."))
        })
    }

    fn patience(&self) -> Duration {
        match self.reins.cause() {
            Some(Halt::HandedBack) => HAND_BACK,
            Some(Halt::Cancelled | Halt::TimedOut | Halt::Stopped) | None => KILL_WITHIN,
        }
    }

    fn say_end(&self, verdict: &Verdict) {
        if let Some((_, Some(failure))) = verdict {
            // A full disk takes no last line either.
            let _ = self.log.meta(0, &format!("{}. {}", failure.message.trim_end_matches('.'), failure.advice()));
        }
        self.log.close();
        self.progress.close(self.agent.clock.now());
    }

    /// Waits for the log, then says the last word. A stopped attempt says nothing; its log is still sent.
    async fn conclude(&self, verdict: Verdict) {
        let Some((outcome, failure)) = verdict else {
            info!("attempt stopped, it is not ours any more");
            return;
        };
        let told = async { timeout(LAST_REPORTS, self.progress.told()).await.is_ok() };
        tokio::select! {
            (durable, told) = async { tokio::join!(self.shelf.settled(LOG_DURABLE_WAIT), told) } => {
                if !(durable && told) {
                    warn!(durable, told, "finish goes before the log or the last report");
                }
            }
            () = self.agent.life.killed() => {}
            () = self.reins.stopped().cancelled() => return,
        }
        let LogEnd { end, sha256 } = self.shelf.log_end().unwrap_or(LogEnd { end: 0, sha256: String::new() });
        let (built, images) = self.outputs.take();
        info!(%outcome, class = failure.as_ref().map(|failure| failure.class.as_str()), log_end = end, "attempt ended");
        let finish =
            Finish { outcome, failure, images, built, remarks: self.remarks(), log_end: end, log_sha256: sha256 };
        crash::point("builder.finish");
        let spent = self.agent.clock.monotonic().duration_since(self.began);
        let within =
            (Duration::from_secs(self.claimed.timeout_secs) + RUNNING_GRACE).saturating_sub(spent).max(RUNNING_GRACE);
        tokio::select! {
            () = finish_until_heard(&self.agent, &self.api, &finish, within) => {}
            () = async { self.agent.life.killed().await; self.agent.clock.sleep(KILLED_FINISH).await; } => {
                warn!("finish not told before the end of the process");
            }
            () = self.reins.stopped().cancelled() => {}
        }
    }

    async fn clean_up(&self, workspace: PathBuf) {
        let begun = self.outputs.begun();
        let images: Vec<String> = (0..begun).map(|variant| local_image(self.claimed.attempt, variant)).collect();
        let removed = self.agent.life.blocking("remove workspace", move || remove_dir(&workspace)).await;
        match removed {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(%error, "workspace not removed; the next start tries again"),
            Err(error) => warn!(%error, "workspace not removed; the next start tries again"),
        }
        remove_images(&self.agent, &images).await;
        if timeout(KILL_WITHIN, self.agent.cgroups.end(self.claimed.attempt)).await.is_err() {
            warn!("processes of the attempt do not die; the next start tries again");
        }
        if self.reins.cause().is_some() {
            let agent = Arc::clone(&self.agent);
            self.agent.life.errand("late export", async move {
                tokio::select! {
                    () = agent.clock.sleep(LATE_EXPORT) => remove_images(&agent, &images).await,
                    () = agent.over.cancelled() => {}
                    () = agent.life.killed() => {}
                }
            });
        }
    }
}

fn open_shelf(agent: &Agent, claimed: &Claimed) -> Result<Shelf, Failure> {
    let owner = Owner { attempt: claimed.attempt, token: claimed.token.clone() };
    Ok(Shelf::new(Spool::create(&agent.home.spool(claimed.attempt), &owner).map_err(no_room)?))
}

/// What it means that a folder of ours cannot be made or written.
fn no_room(error: anyhow::Error) -> Failure {
    match error.downcast_ref::<std::io::Error>() {
        Some(error) => unwritable(error),
        None => Failure::new(FailureClass::Internal, format!("The builder cannot use its data folder: {error:#}.")),
    }
}

/// Sends a log in the background and deletes its spool once nothing more can come of it. What is left
/// when the process ends is sent by its next life.
pub fn ship_in_background(agent: &Arc<Agent>, shelf: Arc<Shelf>, api: AttemptApi) {
    let (over, life, clock) = (agent.over.clone(), agent.life.clone(), agent.clock.clone());
    let shipping = async move {
        tokio::select! {
            () = logship::ship(Arc::clone(&shelf), api, clock.clone()) => {}
            () = over.cancelled() => return,
            () = async { life.killed().await; clock.sleep(KILLED_FINISH).await; } => return,
        }
        // Given up early, the attempt may still be writing.
        let _ = shelf.watch().wait_for(|marks| marks.closed).await;
        if let Err(error) = shelf.remove() {
            warn!(%error, "spool not removed; the next start tries again");
        }
    };
    agent.life.errand("ship log", agent.logs.track_future(shipping));
}

/// What is said at the end. A result that came through is a result, whatever was asked meanwhile: after
/// leave was given nothing takes it back.
fn verdict(cause: Option<Halt>, result: Result<(), Failure>) -> Verdict {
    match (cause, result) {
        (Some(Halt::Stopped), _) => None,
        (_, Ok(())) => Some((AttemptOutcome::Succeeded, None)),
        (None, Err(failure)) => Some((failure.class.outcome(), Some(failure))),
        (Some(Halt::Cancelled), Err(_)) => {
            Some((AttemptOutcome::Cancelled, Some(Failure::new(FailureClass::Cancelled, "The job was cancelled."))))
        }
        (Some(Halt::TimedOut), Err(stopped)) => {
            let failure = Failure::new(FailureClass::TimedOut, "The job ran longer than it may and was stopped.");
            Some((AttemptOutcome::TimedOut, Some(Failure { step: stopped.step, ..failure })))
        }
        (Some(Halt::HandedBack), Err(_)) => Some((AttemptOutcome::HandedBack, None)),
    }
}

async fn finish_until_heard(agent: &Agent, api: &AttemptApi, finish: &Finish, within: Duration) {
    let began = agent.clock.monotonic();
    let mut backoff = Backoff::for_calls();
    while agent.clock.monotonic().duration_since(began) < within {
        match api.finish(finish).await {
            Ok(()) => return crash::point("builder.finished"),
            Err(error @ CallError::Refused { .. }) => return warn!(%error, "finish refused"),
            Err(CallError::Unavailable(_)) => agent.clock.sleep(backoff.pause()).await,
        }
    }
    warn!("finish not told: the control plane did not answer in time");
}

/// The disk has no room even for the log: the attempt ends before it began.
async fn without_log(agent: &Agent, claimed: &Claimed, failure: Failure) {
    let api = agent.client.attempt(claimed.attempt, claimed.token.clone());
    warn!(reason = failure.message, "attempt without a log");
    let digest = slipway_logfmt::digest::StreamDigest::default();
    let finish = Finish {
        outcome: failure.class.outcome(),
        failure: Some(failure),
        images: Vec::new(),
        built: Vec::new(),
        remarks: Remarks::default(),
        log_end: 0,
        log_sha256: digest.hex(),
    };
    finish_until_heard(agent, &api, &finish, RUNNING_GRACE).await;
}

async fn remove_images(agent: &Agent, images: &[String]) {
    for image in images {
        remove_image(agent, image).await;
    }
}

async fn remove_image(agent: &Agent, image: &str) {
    match timeout(REMOVE_IMAGE, agent.engine.remove_image(image)).await {
        Ok(Ok(())) => {}
        Ok(Err(failure)) => warn!(reason = failure.message, "image not removed from the engine"),
        Err(_) => warn!("image not removed from the engine in time"),
    }
}

/// Removes a folder; one that is not there is removed already.
pub fn remove_dir(dir: &std::path::Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
