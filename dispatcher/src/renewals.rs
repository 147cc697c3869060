//! Heartbeats are committed in batches and answered only then, so that a builder that heard an answer knows
//! that its lease is renewed. Here an attempt that its builder no longer lists is found.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use chrono::{DateTime, Utc};
use slipway_domain::agent::ToBuilder;
use slipway_domain::attempt::AttemptRef;
use slipway_domain::builder::Load;
use slipway_domain::ids::SessionId;
use slipway_domain::timing;
use slipway_runtime::wake::Wake;
use slipway_store::sessions::Renewal;
use tracing::{error, warn};

use crate::Dispatcher;

/// Heartbeats wait this long for others, so that one commit serves many.
const LINGER: Duration = Duration::from_millis(50);
/// An open attempt missing from so many heartbeats in a row is lost.
const MISSES: u32 = 2;

/// Heartbeats that wait for their commit, the newest of each session. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Renewals {
    waiting: Arc<Mutex<HashMap<SessionId, Beat>>>,
    misses: Arc<Mutex<HashMap<AttemptRef, u32>>>,
    health: Arc<Mutex<Health>>,
    wake: Wake,
}

/// Since when renewals have been committing without a break.
#[derive(Debug, Default)]
struct Health {
    since: Option<DateTime<Utc>>,
}

/// One heartbeat.
#[derive(Debug, Clone)]
pub struct Beat {
    /// The session.
    pub session: SessionId,
    /// Its number.
    pub seq: u64,
    /// Jobs it would take.
    pub free: i64,
    /// How busy its host is.
    pub load: Load,
    /// It drains.
    pub draining: bool,
    /// What it works on.
    pub held: Vec<AttemptRef>,
    /// When it arrived.
    pub begun: DateTime<Utc>,
}

impl Renewals {
    /// Queues a heartbeat; a newer one of the same session replaces an older one.
    pub fn add(&self, beat: Beat) {
        lock(&self.waiting).insert(beat.session, beat);
        self.wake.ring();
    }

    /// Since when renewals have been committing; `None` before the first and after a failure.
    pub fn healthy_since(&self) -> Option<DateTime<Utc>> {
        lock(&self.health).since
    }

    fn take(&self) -> Vec<Beat> {
        lock(&self.waiting).drain().map(|(_, beat)| beat).collect()
    }

    fn committed(&self, now: DateTime<Utc>) {
        lock(&self.health).since.get_or_insert(now);
    }

    fn failed(&self) {
        lock(&self.health).since = None;
    }

    /// Counts a heartbeat without this attempt; true when it was one too many.
    fn missed(&self, attempt: AttemptRef) -> bool {
        let mut misses = lock(&self.misses);
        let count = misses.entry(attempt).or_insert(0);
        *count += 1;
        let lost = *count >= MISSES;
        if lost {
            misses.remove(&attempt);
        }
        lost
    }

    fn seen(&self, attempt: AttemptRef) {
        lock(&self.misses).remove(&attempt);
    }
}

/// Commits what waits, at least once a poll so that trouble of the database is noticed without builders.
pub async fn run(dispatcher: Dispatcher) -> anyhow::Result<()> {
    let (clock, life) = (dispatcher.deps.clock.clone(), dispatcher.deps.life.clone());
    loop {
        tokio::select! {
            () = life.killed() => return Ok(()),
            () = finished(&dispatcher) => return Ok(()),
            () = dispatcher.renewals.wake.wait(timing::POLL) => {}
        }
        clock.sleep(LINGER).await;
        let beats = dispatcher.renewals.take();
        if let Err(error) = renew_once(&dispatcher, &beats).await {
            dispatcher.renewals.failed();
            error!(error = format!("{error:#}"), sessions = beats.len(), "heartbeats could not be committed");
        }
    }
}

/// While stopping, heartbeats are answered as long as builders are connected here.
async fn finished(dispatcher: &Dispatcher) {
    dispatcher.deps.life.stopping().await;
    while !dispatcher.fleet.sessions().is_empty() {
        dispatcher.deps.clock.sleep(LINGER).await;
    }
}

async fn renew_once(dispatcher: &Dispatcher, beats: &[Beat]) -> anyhow::Result<()> {
    let deps = &dispatcher.deps;
    let now = deps.db.now(&deps.clock).await?;
    let renewals: Vec<Renewal> = beats
        .iter()
        .map(|beat| Renewal {
            session: beat.session,
            free: beat.free,
            load: beat.load.clone(),
            draining: beat.draining,
        })
        .collect();
    let open = if renewals.is_empty() { Vec::new() } else { deps.db.renew_sessions(&renewals, now).await? };
    dispatcher.renewals.committed(now);
    for beat in beats {
        if !open.contains(&beat.session) {
            let reason = "this session was closed or lost".to_owned();
            dispatcher.fleet.tell(beat.session, ToBuilder::Closed { reason });
        } else if let Err(error) = answer(dispatcher, beat, now).await {
            // One bad session never stops the others; it asks again in five seconds.
            warn!(session.id = %beat.session, error = format!("{error:#}"), "heartbeat not answered");
        }
    }
    Ok(())
}

/// Compares what the builder lists with what the rows say, and answers.
async fn answer(dispatcher: &Dispatcher, beat: &Beat, now: DateTime<Utc>) -> anyhow::Result<()> {
    let deps = &dispatcher.deps;
    let open = deps.db.session_attempts(beat.session).await?;
    let is_open = |attempt: &AttemptRef| open.iter().any(|(held, _, _)| held == attempt);
    let stop = beat.held.iter().copied().filter(|attempt| !is_open(attempt)).collect();
    let cancel = open.iter().filter(|(_, _, cancelling)| *cancelling).map(|(attempt, _, _)| *attempt).collect();
    for (attempt, claimed_at, _) in &open {
        if beat.held.contains(attempt) {
            dispatcher.renewals.seen(*attempt);
        } else if beat.begun > *claimed_at && dispatcher.renewals.missed(*attempt) {
            let why = "The builder no longer knows of this build.";
            deps.db.lose_attempt(*attempt, why, now).await?;
            warn!(job.id = %attempt.job, epoch = attempt.epoch, "attempt missing from heartbeats: lost");
            dispatcher.jobs_changed();
        }
    }
    dispatcher.fleet.tell(beat.session, ToBuilder::HeartbeatAck { seq: beat.seq, stop, cancel });
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every operation leaves the value whole, so a panic elsewhere does not spoil it.
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
