//! Heartbeats are committed in batches and answered only then, so that a builder that heard an answer knows
//! that its lease is renewed. Here an attempt that its builder no longer lists is found.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use slipway_domain::agent::ToBuilder;
use slipway_domain::attempt::{AttemptOutcome, AttemptRef};
use slipway_domain::builder::Load;
use slipway_domain::ids::SessionId;
use slipway_domain::timing;
use slipway_runtime::wake::Wake;
use slipway_store::attempt_ends::Ended;
use slipway_store::sessions::{HeldAttempt, Renewal};
use tracing::{error, warn};

use crate::{Dispatcher, tally};

/// Heartbeats wait this long for others, so that one commit serves many.
const LINGER: Duration = Duration::from_millis(50);
/// An open attempt missing from so many heartbeats in a row is lost.
const MISSES: u32 = 2;
/// Heartbeats begun so soon after a claim prove nothing: they are also sent whenever something changes, while
/// the claim's answer may still be on its way or be asked for again.
const CLAIM_ANSWER: TimeDelta = TimeDelta::seconds(timing::HEARTBEAT.as_secs() as i64);
/// Commits further apart than this are a break: the database hung, or this process stood still.
const BREAK: TimeDelta = TimeDelta::seconds(timing::HEARTBEAT.as_secs() as i64);

/// Heartbeats that wait for their commit, the newest of each session. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Renewals {
    waiting: Arc<Mutex<HashMap<SessionId, Beat>>>,
    misses: Arc<Mutex<HashMap<SessionId, HashMap<AttemptRef, u32>>>>,
    health: Arc<Mutex<Option<Health>>>,
    wake: Wake,
}

/// Renewals have been committing without a break.
#[derive(Debug, Clone, Copy)]
struct Health {
    since: DateTime<Utc>,
    last: DateTime<Utc>,
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
    /// When it arrived, by the clock of this process.
    pub arrived: Instant,
}

impl Renewals {
    /// Queues a heartbeat; a newer one of the same session replaces an older one.
    pub fn add(&self, beat: Beat) {
        lock(&self.waiting).insert(beat.session, beat);
        self.wake.ring();
    }

    /// Since when renewals have been committing; `None` before the first, after a failure, and when the last
    /// one is too long ago.
    pub fn healthy_since(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        lock(&self.health).filter(|health| now - health.last < BREAK).map(|health| health.since)
    }

    fn take(&self) -> Vec<Beat> {
        lock(&self.waiting).drain().map(|(_, beat)| beat).collect()
    }

    fn committed(&self, now: DateTime<Utc>) {
        let mut health = lock(&self.health);
        let since = health.filter(|health| now - health.last < BREAK).map_or(now, |health| health.since);
        *health = Some(Health { since, last: now });
    }

    fn failed(&self) {
        *lock(&self.health) = None;
    }

    /// Counts a heartbeat without these attempts; gives those that were missing once too often.
    fn missed(&self, session: SessionId, missing: &[AttemptRef]) -> Vec<AttemptRef> {
        let mut misses = lock(&self.misses);
        let before = misses.remove(&session).unwrap_or_default();
        let count = |attempt: &AttemptRef| (*attempt, before.get(attempt).copied().unwrap_or(0) + 1);
        let (lost, counted): (Vec<_>, Vec<_>) = missing.iter().map(count).partition(|(_, count)| *count >= MISSES);
        if !counted.is_empty() {
            misses.insert(session, counted.into_iter().collect());
        }
        lost.into_iter().map(|(attempt, _)| attempt).collect()
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
    let open: HashSet<SessionId> = if renewals.is_empty() {
        HashSet::new()
    } else {
        deps.db.renew_sessions(&renewals, now).await?.into_iter().collect()
    };
    dispatcher.renewals.committed(now);
    let sessions: Vec<SessionId> = open.iter().copied().collect();
    let mut held = if sessions.is_empty() { HashMap::new() } else { deps.db.held_attempts(&sessions).await? };
    for beat in beats {
        if !open.contains(&beat.session) {
            let reason = "this session was closed or lost".to_owned();
            dispatcher.fleet.tell(beat.session, ToBuilder::Closed { reason });
            continue;
        }
        let held = held.remove(&beat.session).unwrap_or_default();
        if let Err(error) = answer(dispatcher, beat, &held, now).await {
            // One bad session never stops the others; it asks again in five seconds.
            warn!(session.id = %beat.session, error = format!("{error:#}"), "heartbeat not answered");
        }
    }
    Ok(())
}

/// Compares what the builder lists with what the rows say, and answers.
async fn answer(dispatcher: &Dispatcher, beat: &Beat, open: &[HeldAttempt], now: DateTime<Utc>) -> anyhow::Result<()> {
    let deps = &dispatcher.deps;
    let is_open = |attempt: &AttemptRef| open.iter().any(|held| held.attempt == *attempt);
    let stop = beat.held.iter().copied().filter(|attempt| !is_open(attempt)).collect();
    let cancel = open.iter().filter(|held| held.cancelling).map(|held| held.attempt).collect();
    let ago = TimeDelta::from_std(deps.clock.monotonic().duration_since(beat.arrived)).unwrap_or_default();
    for attempt in dispatcher.renewals.missed(beat.session, &missing(open, &beat.held, now - ago)) {
        let why = "The builder no longer knows of this build.";
        if let Ended::Now(_) = deps.db.lose_attempt(attempt, why, now).await? {
            tally::attempts_ended(AttemptOutcome::Lost, 1);
        }
        warn!(job.id = %attempt.job, epoch = attempt.epoch, "attempt missing from heartbeats: lost");
        dispatcher.jobs_changed();
    }
    dispatcher.fleet.tell(beat.session, ToBuilder::HeartbeatAck { seq: beat.seq, stop, cancel });
    Ok(())
}

/// Open attempts that a heartbeat of this time should have listed and did not.
fn missing(open: &[HeldAttempt], held: &[AttemptRef], begun: DateTime<Utc>) -> Vec<AttemptRef> {
    let due = |open: &&HeldAttempt| begun - open.claimed_at >= CLAIM_ANSWER && !held.contains(&open.attempt);
    open.iter().filter(due).map(|open| open.attempt).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every operation leaves the value whole, so a panic elsewhere does not spoil it.
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

#[cfg(test)]
mod tests {
    use slipway_runtime::clock::Clock;
    use slipway_runtime::ids::new_id;

    use super::*;

    fn attempt() -> AttemptRef {
        AttemptRef { job: new_id(), epoch: 1 }
    }

    #[test]
    fn an_attempt_is_lost_only_when_it_is_missing_twice_in_a_row() {
        let (renewals, session, other) = (Renewals::default(), new_id(), new_id());
        let (one, two) = (attempt(), attempt());
        assert!(renewals.missed(session, &[one, two]).is_empty());
        assert!(renewals.missed(other, &[one]).is_empty(), "another session counts for itself");
        assert_eq!(renewals.missed(session, &[one]), [one]);
        assert!(renewals.missed(session, &[two]).is_empty(), "it was listed in between");
        assert!(renewals.missed(session, &[]).is_empty());
        assert!(!lock(&renewals.misses).contains_key(&session), "nothing is kept of what is well");
    }

    #[test]
    fn heartbeats_right_after_a_claim_prove_nothing() {
        let (claimed_at, fresh, held) = (Clock::system().now(), attempt(), attempt());
        let open = [fresh, held].map(|attempt| HeldAttempt { attempt, claimed_at, cancelling: false });
        let at = |millis| missing(&open, &[held], claimed_at + TimeDelta::milliseconds(millis));
        assert!(at(10).is_empty() && at(4_999).is_empty() && at(-60_000).is_empty());
        assert_eq!(at(5_000), [fresh]);
    }

    #[test]
    fn a_break_of_the_commits_begins_the_grace_anew() {
        let (renewals, start) = (Renewals::default(), Clock::system().now());
        let at = |secs| start + TimeDelta::seconds(secs);
        assert_eq!(renewals.healthy_since(start), None);
        for secs in [0, 2, 4] {
            renewals.committed(at(secs));
        }
        assert_eq!(renewals.healthy_since(at(5)), Some(start));
        assert_eq!(renewals.healthy_since(at(30)), None, "the last commit is long ago");
        renewals.committed(at(30));
        assert_eq!(renewals.healthy_since(at(31)), Some(at(30)));
        renewals.failed();
        assert_eq!(renewals.healthy_since(at(31)), None);
    }
}
