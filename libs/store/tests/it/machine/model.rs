//! The reference: the life of a few jobs as design and documentation tell it, over plain values. Knows nothing of rows, versions of
//! schemas or transactions; everything happens at once and in order.

mod ends;
mod leaves;
mod sessions;

use std::collections::BTreeMap;

use slipway_domain::agent::ClaimRefusal;
use slipway_domain::attempt::{AttemptOutcome, Phase};
use slipway_domain::build::CancelledBy;
use slipway_domain::job::JobState;

use super::ops::{AClaim, Answer, CancelAnswer, Op, Refused, Said, Step, Try};

/// Tenant, ref, before and after of each build; the second follows the first.
pub const BUILDS: [(usize, &str, Option<char>, char); 4] = [
    (0, "refs/heads/main", None, 'a'),
    (0, "refs/heads/main", Some('a'), 'b'),
    (0, "refs/heads/other", None, 'c'),
    (1, "refs/heads/main", None, 'd'),
];
/// The build of each job.
pub const JOBS: [usize; 5] = [0, 0, 1, 2, 3];
/// Builders: the first has a shared engine, the last is of another pool.
pub const BUILDERS: usize = 3;
pub const FAR: usize = 2;
pub const TENANTS: usize = 2;
pub const TAGS: usize = 2;
pub const PROCESSES: usize = 2;
pub const RUNNING_LIMIT: usize = 2;
/// What one attempt may take.
pub const TIMEOUT: i64 = 60;
const DAY: i64 = 24 * 3600;

#[derive(Clone, Default)]
pub struct Model {
    /// Seconds since the start.
    pub now: i64,
    pub jobs: BTreeMap<usize, Job>,
    pub builders: [Builder; BUILDERS],
    pub sessions: BTreeMap<u32, Session>,
    pub tags: [Tag; TAGS],
    /// The newest build of each ref that each tag ever showed: (tag, tenant, ref).
    pub shown: BTreeMap<(usize, usize, &'static str), usize>,
    /// What the registry shows, and which PUTs it answered.
    pub registry: [Option<Try>; TAGS],
    pub puts: Vec<(Try, usize)>,
    /// When each grant was given, as builders remember them.
    pub grants: BTreeMap<(Try, usize), i64>,
    pub leader: Option<Leader>,
    pub processes: [Process; PROCESSES],
    /// Every claim that was made, for saying it again.
    pub claims: Vec<AClaim>,
    pub dispatches: u32,
    /// The answer to the last step, and to its repetition.
    pub first: Option<Answer>,
    pub second: Option<Answer>,
}

#[derive(Clone)]
pub struct Job {
    pub state: JobState,
    pub version: i64,
    pub retries: i64,
    pub dispatch: Option<u32>,
    pub leave: Option<i64>,
    pub avoid: Option<(usize, i64)>,
    pub cancelled_by: Option<CancelledBy>,
    pub queued_at: i64,
    pub not_before: i64,
    pub deadline: Option<i64>,
    pub finished_at: Option<i64>,
    /// The attempt of epoch n is the n-th.
    pub attempts: Vec<Attempt>,
}

#[derive(Clone)]
pub struct Attempt {
    pub claim: u32,
    pub builder: usize,
    pub session: u32,
    pub phase: Phase,
    /// Open until there is one.
    pub outcome: Option<AttemptOutcome>,
    pub started_at: i64,
    pub finished_at: Option<i64>,
}

#[derive(Clone, Default)]
pub struct Builder {
    pub known: bool,
    pub serves: Option<usize>,
    pub drained: bool,
}

#[derive(Clone)]
pub struct Session {
    pub builder: usize,
    pub open: bool,
    pub draining: bool,
    pub renewed_at: i64,
    pub channel_closed_at: Option<i64>,
}

#[derive(Clone, Default)]
pub struct Tag {
    pub holder: Option<Holder>,
    /// The attempt whose digest it shows, as far as was told.
    pub shown: Option<Try>,
}

#[derive(Clone)]
pub struct Holder {
    pub job: usize,
    /// None while, or after, somebody looked into it.
    pub epoch: Option<i64>,
    pub until: i64,
    pub digest: Try,
}

#[derive(Clone)]
pub struct Leader {
    pub process: usize,
    pub term: i64,
    pub expires: i64,
}

#[derive(Clone, Default)]
pub struct Process {
    pub term: Option<i64>,
    /// Jobs as they were read, with their versions.
    pub queued: BTreeMap<usize, i64>,
    pub ready: BTreeMap<usize, i64>,
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "at {} s", self.now)
    }
}

impl Model {
    pub fn take(&mut self, step: &Step) {
        self.first = Some(self.answer(&step.op));
        self.second = (step.said != Said::Once).then(|| self.answer(&step.op));
    }

    fn answer(&mut self, op: &Op) -> Answer {
        match op {
            Op::Wait { secs } => self.now += secs,
            Op::Enqueue { build } => return Answer::Enqueued { existing: !self.enqueue(*build) },
            Op::Lead { process } => return Answer::Leads(self.lead(*process)),
            Op::Look { process } => return self.look(*process),
            Op::Admit { process, jobs } => return Answer::Admitted(self.admit(*process, jobs)),
            Op::Dispatch { process, job, dispatch } => {
                return Answer::Changed(self.dispatch(*process, *job, *dispatch));
            }
            Op::Decline { job, dispatch } => return Answer::Changed(self.decline(*job, *dispatch)),
            Op::Claims(claims) => return Answer::Claimed(claims.iter().map(|claim| self.claim(claim)).collect()),
            Op::Report { attempt, phase } => return Answer::Reported(self.report(*attempt, *phase)),
            Op::AskLeave { attempt, tag } => return Answer::Leave(self.ask_leave(*attempt, *tag)),
            Op::Put { attempt, tag } => self.put(*attempt, *tag),
            Op::ReturnLeave { attempt, tag, moved } => self.return_leave(*attempt, *tag, *moved),
            Op::Finishes(finishes) => return Answer::Ended(self.finish(finishes)),
            Op::Lose { attempt } => {
                return Answer::Ended(self.end(*attempt, AttemptOutcome::Lost).map(|ended| vec![ended]));
            }
            Op::Cancel { build } => return Answer::Cancelled(self.cancel(*build)),
            Op::Expire => return Answer::Expired(self.expire()),
            Op::Open { builder, session, held, claiming } => return self.open(*builder, *session, held, claiming),
            Op::Renew { sessions, draining } => return Answer::Renewed(self.renew(sessions, *draining)),
            Op::ChannelCloses { session } => self.channel_closes(*session),
            Op::Goodbye { session } => return Answer::Lost(self.close(*session).into_iter().collect()),
            Op::LoseOverdue => return Answer::Lost(self.lose_overdue()),
            Op::Drain { builder, drained } => return Answer::Changed(self.drain(*builder, *drained)),
            Op::Sweep { ends } => return Answer::Swept(self.sweep(*ends)),
        }
        Answer::Done
    }

    fn enqueue(&mut self, build: usize) -> bool {
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

    fn lead(&mut self, process: usize) -> Option<i64> {
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

    fn look(&mut self, process: usize) -> Answer {
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
        let answer =
            Answer::Sees { queued: queued.keys().copied().collect(), ready: ready.keys().copied().collect() };
        let Process { queued: seen_queued, ready: seen_ready, .. } = &mut self.processes[process];
        (*seen_queued, *seen_ready) = (queued, ready);
        answer
    }

    fn admit(&mut self, process: usize, jobs: &[usize]) -> Result<Option<Vec<usize>>, Refused> {
        let held = self.leader.as_ref().is_some_and(|leader| {
            leader.process == process
                && Some(leader.term) == self.processes[process].term
                && leader.expires > self.now
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

    fn dispatch(&mut self, process: usize, number: usize, dispatch: u32) -> bool {
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

    fn decline(&mut self, number: usize, dispatch: u32) -> bool {
        let offered = self.jobs.get(&number).is_some_and(|job| job.is_offered_as(dispatch));
        if offered {
            self.make_ready(number);
        }
        offered
    }

    fn claim(&mut self, claim: &AClaim) -> Result<Try, ClaimRefusal> {
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

    fn cancel(&mut self, build: usize) -> CancelAnswer {
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

    fn make_ready(&mut self, number: usize) {
        let job = self.job(number);
        job.change(JobState::Ready);
        job.deadline = Some(job.queued_at + DAY);
    }

    /// Jobs of a tenant from ready to cancelling.
    pub fn running(&self, tenant: usize) -> usize {
        let counts = |(number, job): &(&usize, &Job)| tenant_of(**number) == tenant && job.counts();
        self.jobs.iter().filter(counts).count()
    }

    fn job(&mut self, number: usize) -> &mut Job {
        self.jobs.get_mut(&number).expect("a job that was enqueued")
    }

    pub fn attempt(&self, Try(job, epoch): Try) -> Option<&Attempt> {
        self.jobs.get(&job)?.attempts.get(usize::try_from(epoch - 1).ok()?)
    }
}

impl Job {
    pub fn epoch(&self) -> i64 {
        i64::try_from(self.attempts.len()).expect("few attempts")
    }

    fn is_offered_as(&self, dispatch: u32) -> bool {
        self.state == JobState::Dispatched && self.dispatch == Some(dispatch)
    }

    fn counts(&self) -> bool {
        use JobState::{Cancelling, Dispatched, Ready, Running};
        matches!(self.state, Ready | Dispatched | Running | Cancelling)
    }

    /// Moves on; a dispatch is void from then on.
    fn change(&mut self, state: JobState) {
        assert!(!self.state.is_terminal(), "a terminal state never changes");
        self.state = state;
        self.version += 1;
        self.dispatch = None;
    }

    /// Moves to a terminal state.
    fn stop(&mut self, state: JobState, now: i64) {
        self.change(state);
        self.deadline = None;
        self.finished_at = Some(now);
    }
}

pub fn jobs_of(build: usize) -> impl Iterator<Item = usize> {
    (0..JOBS.len()).filter(move |job| JOBS[*job] == build)
}

pub fn tenant_of(job: usize) -> usize {
    BUILDS[JOBS[job]].0
}

pub fn ref_of(job: usize) -> (usize, &'static str) {
    let (tenant, git_ref, ..) = BUILDS[JOBS[job]];
    (tenant, git_ref)
}
