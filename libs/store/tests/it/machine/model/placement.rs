//! From the queue to a builder, and cancels: who may take which job when.

use std::collections::BTreeMap;

use slipway_domain::agent::ClaimRefusal;
use slipway_domain::attempt::Phase;
use slipway_domain::build::CancelledBy;
use slipway_domain::job::JobState;

use super::super::ops::{AClaim, Answer, CancelAnswer, Refused, Try};
use super::{Attempt, DAY, FAR, Job, Leader, Model, Process, RUNNING_LIMIT, TENANTS, TIMEOUT, jobs_of, tenant_of};

impl Model {
    pub(super) fn enqueue(&mut self, build: usize) -> bool {
        let new: Vec<usize> = jobs_of(build).collect();
        if new.iter().any(|job| self.jobs.contains_key(job)) {
            return false;
        }
        for job in new {
            self.jobs.insert(
                job,
                Job {
                    state: JobState::Queued,
                    version: 0,
                    retries: 0,
                    dispatch: None,
                    leave: None,
                    avoid: None,
                    cancelled_by: None,
                    queued_at: self.now,
                    not_before: self.now,
                    deadline: Some(self.now + DAY),
                    finished_at: None,
                    attempts: Vec::new(),
                },
            );
        }
        true
    }

    pub(super) fn lead(&mut self, process: usize) -> Option<i64> {
        let term = match &self.leader {
            None => 1,
            Some(leader) if leader.process == process => leader.term,
            Some(leader) if leader.expires < self.now => leader.term + 1,
            Some(_) => return None,
        };
        self.leader = Some(Leader { process, term, expires: self.now + 10 });
        self.processes[process].term = Some(term);
        Some(term)
    }

    pub(super) fn look(&mut self, process: usize) -> Answer {
        let room = |job: usize| self.running(tenant_of(job)) < RUNNING_LIMIT;
        let served = |job: usize| {
            self.sessions.values().any(|session| {
                let serves = self.builders[session.builder].serves;
                session.open && session.builder != FAR && serves.is_none_or(|serves| serves == tenant_of(job))
            })
        };
        let versions = |wanted: &dyn Fn(usize, &Job) -> bool| -> BTreeMap<usize, i64> {
            let wanted = self.jobs.iter().filter(|(number, job)| wanted(**number, job));
            wanted.map(|(number, job)| (*number, job.version)).collect()
        };
        let queued = versions(&|number, job| {
            job.state == JobState::Queued && job.not_before <= self.now && room(number) && served(number)
        });
        let ready = versions(&|_, job| job.state == JobState::Ready);
        let answer = Answer::Sees { queued: queued.keys().copied().collect(), ready: ready.keys().copied().collect() };
        let Process { queued: seen_queued, ready: seen_ready, .. } = &mut self.processes[process];
        (*seen_queued, *seen_ready) = (queued, ready);
        answer
    }

    pub(super) fn admit(&mut self, process: usize, jobs: &[usize]) -> Result<Option<Vec<usize>>, Refused> {
        let held = self.leader.as_ref().is_some_and(|leader| {
            leader.process == process && Some(leader.term) == self.processes[process].term && leader.expires > self.now
        });
        if !held {
            return Err(Refused::Stale("leadership"));
        }
        let seen = &self.processes[process].queued;
        let as_seen = |job: &&usize| seen.get(job).is_some_and(|version| self.jobs[job].version == *version);
        let admitted: Vec<usize> = jobs.iter().filter(as_seen).copied().collect();
        let over = |tenant: usize| {
            let more = admitted.iter().filter(|job| tenant_of(**job) == tenant).count();
            more > 0 && self.running(tenant) + more > RUNNING_LIMIT
        };
        if (0..TENANTS).any(over) {
            return Ok(None);
        }
        for number in &admitted {
            self.make_ready(*number);
        }
        Ok(Some(admitted))
    }

    pub(super) fn dispatch(&mut self, process: usize, number: usize, dispatch: u32) -> bool {
        self.dispatches = self.dispatches.max(dispatch);
        let seen = self.processes[process].ready.get(&number).copied();
        let now = self.now;
        let job = self.jobs.get_mut(&number);
        let Some(job) = job.filter(|job| seen == Some(job.version)) else { return false };
        job.change(JobState::Dispatched);
        job.dispatch = Some(dispatch);
        job.deadline = Some(now + 10);
        true
    }

    pub(super) fn decline(&mut self, number: usize, dispatch: u32) -> bool {
        let offered = self.jobs.get(&number).is_some_and(|job| job.is_offered_as(dispatch));
        if offered {
            self.make_ready(number);
        }
        offered
    }

    pub(super) fn claim(&mut self, claim: &AClaim) -> Result<Try, ClaimRefusal> {
        if !self.claims.contains(claim) {
            self.claims.push(claim.clone());
        }
        if let Some(won) = self.opened_by(claim.claim).filter(|won| won.0 == claim.job) {
            return Ok(won);
        }
        let Some(session) = self.sessions.get(&claim.session) else { return Err(ClaimRefusal::Session) };
        let builder = session.builder;
        if !self.jobs.contains_key(&claim.job) {
            return Err(ClaimRefusal::Gone);
        }
        if !session.open || builder == FAR {
            return Err(ClaimRefusal::Session);
        }
        if !self.jobs[&claim.job].is_offered_as(claim.dispatch) {
            return Err(ClaimRefusal::Gone);
        }
        if self.avoids(claim.job, builder) {
            return Err(ClaimRefusal::Avoided);
        }
        let tenant = tenant_of(claim.job);
        if builder == 0 && *self.builders[0].serves.get_or_insert(tenant) != tenant {
            return Err(ClaimRefusal::Tenant);
        }
        let now = self.now;
        let job = self.job(claim.job);
        job.change(JobState::Running);
        job.deadline = Some(now + TIMEOUT + 60);
        job.attempts.push(Attempt {
            claim: claim.claim,
            builder,
            session: claim.session,
            phase: Phase::Preparing,
            outcome: None,
            started_at: now,
            finished_at: None,
        });
        Ok(Try(claim.job, job.epoch()))
    }

    pub(super) fn cancel(&mut self, build: usize) -> CancelAnswer {
        let jobs: Vec<usize> = jobs_of(build).filter(|job| self.jobs.contains_key(job)).collect();
        if jobs.iter().all(|job| self.jobs[job].state.is_terminal()) {
            return CancelAnswer::AlreadyFinished;
        }
        let (mut stopping, mut publishing, now) = (Vec::new(), false, self.now);
        for number in jobs {
            let job = self.job(number);
            match job.state {
                JobState::Running if job.leave == Some(job.epoch()) => publishing = true,
                JobState::Running => {
                    job.change(JobState::Cancelling);
                    job.cancelled_by = Some(CancelledBy::User);
                    job.deadline = Some(now + 30);
                    stopping.push(Try(number, job.epoch()));
                }
                JobState::Cancelling => stopping.push(Try(number, job.epoch())),
                state if state.is_terminal() => {}
                _ => {
                    job.cancelled_by = Some(CancelledBy::User);
                    job.stop(JobState::Cancelled, now);
                }
            }
        }
        match (stopping.is_empty(), publishing) {
            (false, _) => CancelAnswer::Stopping(stopping),
            (true, true) => CancelAnswer::AlreadyPublishing,
            (true, false) => CancelAnswer::Cancelled,
        }
    }
}
