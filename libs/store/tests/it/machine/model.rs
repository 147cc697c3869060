//! The reference: the life of a few jobs as the documentation tells it, over plain values. It knows nothing of rows
//! and transactions; everything happens at once and in order.

mod ends;
mod leaves;
mod placement;
mod sessions;

use std::collections::BTreeMap;

use slipway_domain::attempt::{AttemptOutcome, Phase};
use slipway_domain::build::CancelledBy;
use slipway_domain::job::JobState;

use super::ops::{AClaim, Answer, Op, Said, Step, Try};

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
    /// Which leave each of these was sent under.
    pub put_leases: BTreeMap<(Try, usize), u64>,
    /// When each grant was given and which leave it is, as builders remember them.
    pub grants: BTreeMap<(Try, usize), (i64, u64)>,
    /// Leaves that were given so far.
    pub leaves: u64,
    pub leader: Option<Leader>,
    pub processes: [Process; PROCESSES],
    /// Every claim that was made, for saying it again.
    pub claims: Vec<AClaim>,
    pub dispatches: u32,
    /// What happened before the story begins.
    pub before: Vec<Step>,
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
    /// Which leave it is.
    pub lease: u64,
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
        write!(f, "after {:?}", self.before)
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

    pub fn succeeded(&self, attempt: Try) -> bool {
        self.attempt(attempt).is_some_and(|row| row.outcome == Some(AttemptOutcome::Succeeded))
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

/// Whether one job's build is of the same ref and newer. Builds are numbered in the order of their moves.
pub fn is_newer(one: usize, other: usize) -> bool {
    ref_of(one) == ref_of(other) && JOBS[one] > JOBS[other]
}
