//! The same operations on a store, its answers in the words of the reference.

pub mod words;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use slipway_domain::agent::{ClaimRequest, Finish, Leave, LeaveReturn, OpenSession, Report};
use slipway_domain::attempt::AttemptRef;
use slipway_domain::build::CancelledBy;
use slipway_domain::builder::Load;
use slipway_domain::ids::{JobId, ProcessId};
use slipway_domain::spec::JobSpec;
use slipway_runtime::ids::token_hash;
use slipway_store::Db;
use slipway_store::attempt_ends::Ended;
use slipway_store::claims::Claim;
use slipway_store::jobs::Job;
use slipway_store::leaders::Lead;
use slipway_store::sessions::{NewSession, Renewal};
use slipway_store::unreturned_leaves::Found;

use self::words::{
    attempt_ref, id, leave, number, numbers, refused, said, told_cancel, told_leave, try_of, try_of_digest,
};
use super::model::{BUILDS, FAR, Model, PROCESSES, TIMEOUT, jobs_of};
use super::ops::{Answer, Look, Op, Refused, Swept, Try, verdict};
use crate::crew::pool;
use crate::env::{World, commit, later, new_build};

pub struct Real {
    pub db: Db,
    /// One per tenant.
    pub worlds: Vec<World>,
    processes: [Process; PROCESSES],
    /// Which leave each attempt was given last for a tag, and which one it moved it under.
    leases: BTreeMap<(Try, usize), i64>,
    moved_under: BTreeMap<(Try, usize), i64>,
}

/// What a process remembers.
#[derive(Default)]
struct Process {
    lead: Option<Lead>,
    queued: BTreeMap<usize, Job>,
    ready: BTreeMap<usize, Job>,
}

impl Real {
    pub fn new(db: Db, worlds: Vec<World>) -> Self {
        Self { db, worlds, processes: Default::default(), leases: BTreeMap::new(), moved_under: BTreeMap::new() }
    }

    /// Forgets what processes knew.
    pub fn restart(&mut self) {
        self.processes = Default::default();
        self.leases.clear();
        self.moved_under.clear();
    }

    /// Does it; `model` knows the time and what the registry shows.
    pub async fn answer(&mut self, op: &Op, model: &Model) -> Answer {
        let now = later(model.now);
        match op {
            Op::Wait { .. } => Answer::Done,
            Op::Put { attempt, tag } => {
                let key = (*attempt, *tag);
                if let Some(lease) = self.leases.get(&key).filter(|_| !model.puts.contains(&key)) {
                    self.moved_under.insert(key, *lease);
                }
                Answer::Done
            }
            Op::Enqueue { build } => self.enqueue(*build, model).await,
            Op::Lead { process } => self.lead(*process, model).await,
            Op::Look { process } => self.look(*process, model).await,
            Op::Admit { process, jobs } => self.admit(*process, jobs, model).await,
            Op::Dispatch { process, job, dispatch } => {
                let Some(row) = self.processes[*process].ready.get(job) else { return Answer::Changed(false) };
                let dispatched = self.db.dispatch_jobs(&[(row, id(*dispatch))], now).await.expect("an answer");
                Answer::Changed(dispatched.contains(&row.id))
            }
            Op::Decline { job, dispatch } => {
                Answer::Changed(self.db.decline_job(id(*job), id(*dispatch), now).await.expect("an answer"))
            }
            Op::Claims(claims) => {
                let claims: Vec<Claim<'_>> = claims
                    .iter()
                    .map(|claim| Claim {
                        request: ClaimRequest {
                            session: id(claim.session),
                            job: id(claim.job),
                            dispatch: id(claim.dispatch),
                            claim: id(claim.claim),
                        },
                        one_tenant_per_shared_engine: true,
                        token_hash: &|attempt, claim| token_hash(&format!("{attempt}:{claim}")),
                    })
                    .collect();
                let decided = self.db.claim_jobs(&claims, now).await.expect("an answer");
                let told = |decision: Result<slipway_store::claims::ClaimWon, _>| {
                    decision.map(|won| {
                        assert_eq!(won.timeout_secs, TIMEOUT);
                        try_of(won.attempt)
                    })
                };
                Answer::Claimed(decided.into_iter().map(told).collect())
            }
            Op::Report { attempt, phase } => {
                let report = Report { phase: Some(*phase), steps: Vec::new() };
                let acked = self.db.report(attempt_ref(*attempt), &report).await;
                Answer::Reported(acked.map(|ack| ack.cancel).map_err(refused))
            }
            Op::AskLeave { attempt, tag } => {
                let asked = self.db.request_leave(attempt_ref(*attempt), &leave(*attempt, *tag), now).await;
                if let Ok(Leave::Granted { lease: Some(lease), .. }) = &asked {
                    self.leases.insert((*attempt, *tag), *lease);
                }
                Answer::Leave(asked.map(told_leave).map_err(refused))
            }
            Op::ReturnLeave { attempt, tag, moved } => {
                let lease = self.moved_under.get(&(*attempt, *tag)).copied();
                let back = LeaveReturn { leave: leave(*attempt, *tag), moved: *moved, lease };
                self.db.return_leave(attempt_ref(*attempt), &back, now).await.expect("an answer");
                Answer::Done
            }
            Op::Finishes(finishes) => {
                let said: Vec<(AttemptRef, Finish)> = finishes
                    .iter()
                    .map(|finish| (attempt_ref(finish.attempt), said(finish, &self.moved_under)))
                    .collect();
                let said: Vec<(AttemptRef, &Finish)> = said.iter().map(|(attempt, said)| (*attempt, said)).collect();
                Answer::Ended(self.db.finish_attempts(&said, now).await.map_err(refused))
            }
            Op::Lose { attempt } => {
                let ended = self.db.lose_attempt(attempt_ref(*attempt), "on purpose", now).await;
                Answer::Ended(ended.map(|ended: Ended| vec![ended]).map_err(refused))
            }
            Op::Cancel { build } => {
                let cancelled = self.db.cancel_build(id(*build), CancelledBy::User, now).await;
                Answer::Cancelled(told_cancel(cancelled.expect("an answer")))
            }
            Op::Expire => {
                let changed = self.db.expire_jobs(now, 100).await.expect("an answer");
                let mut changed: Vec<_> = changed.into_iter().map(|job| (number(job.id), job.state)).collect();
                changed.sort_unstable_by_key(|(job, _)| *job);
                Answer::Expired(changed)
            }
            Op::Open { .. } => self.open(op, model).await,
            Op::Renew { sessions, draining } => {
                let renewal = |session: &u32| {
                    let load = Load { busy: 1, not_taking: Some("busy".to_owned()), ..Load::default() };
                    Renewal { session: id(*session), free: 1, load, draining: *draining }
                };
                let renewals: Vec<Renewal> = sessions.iter().map(renewal).collect();
                let mut open: Vec<u32> = numbers(self.db.renew_sessions(&renewals, now).await.expect("an answer"));
                open.sort_unstable();
                Answer::Renewed(open)
            }
            Op::ChannelCloses { session } => {
                self.db.channel_closed(id(*session), now).await.expect("an answer");
                Answer::Done
            }
            Op::Goodbye { session } => self.close(&[*session], model).await,
            Op::LoseOverdue => {
                let overdue = self.db.overdue_sessions(later(model.now - 20), later(model.now - 6)).await;
                let mut overdue: Vec<u32> = numbers(overdue.expect("an answer"));
                overdue.sort_unstable();
                self.close(&overdue, model).await
            }
            Op::Drain { builder, drained } => {
                Answer::Changed(self.db.drain_builder(id(*builder), *drained).await.is_ok())
            }
            Op::Sweep { ends } => self.sweep(*ends, model).await,
        }
    }

    async fn enqueue(&self, build: usize, model: &Model) -> Answer {
        let (tenant, git_ref, before, after) = BUILDS[build];
        let mut new = new_build(&self.worlds[tenant].project, &build.to_string(), commit(after));
        new.id = id(build);
        new.now = later(model.now);
        new.git_ref = slipway_domain::git_ref::GitRef::parse(git_ref).ok();
        new.before = before.map(commit);
        new.order = slipway_store::builds::RefOrder::Move { before: new.before.clone(), after: commit(after) };
        let job = new.jobs.remove(0);
        let spec = JobSpec { git_ref: new.git_ref.clone(), ..job.spec.clone() };
        new.jobs = jobs_of(build)
            .map(|number| slipway_store::builds::NewJob { id: id(number), spec: spec.clone(), ..job.clone() })
            .collect();
        let created = self.db.create_build(&new).await.expect("an answer");
        assert_eq!(number(created.build), build);
        Answer::Enqueued { existing: created.existing }
    }

    async fn lead(&mut self, process: usize, model: &Model) -> Answer {
        let holder: ProcessId = id(process);
        let lead = self.db.take_lead("scheduler", holder, Duration::from_secs(10), later(model.now)).await;
        let lead = lead.expect("an answer");
        let term = lead.as_ref().map(|lead| lead.term);
        if lead.is_some() {
            self.processes[process].lead = lead;
        }
        Answer::Leads(term)
    }

    async fn look(&mut self, process: usize, model: &Model) -> Answer {
        let queued = self.db.queued_jobs(&pool(), later(model.now), 100).await.expect("an answer");
        let ready = self.db.ready_jobs(100).await.expect("an answer");
        let by_number = |jobs: Vec<Job>| jobs.into_iter().map(|job| (number(job.id), job)).collect();
        let numbers = |jobs: &[Job]| jobs.iter().map(|job| number(job.id)).collect();
        let answer = Answer::Sees { queued: numbers(&queued), ready: numbers(&ready) };
        let Process { queued: seen_queued, ready: seen_ready, .. } = &mut self.processes[process];
        (*seen_queued, *seen_ready) = (by_number(queued), by_number(ready));
        answer
    }

    async fn admit(&self, process: usize, jobs: &[usize], model: &Model) -> Answer {
        let Process { lead, queued, .. } = &self.processes[process];
        let Some(lead) = lead else { return Answer::Admitted(Err(Refused::Stale("leadership"))) };
        let rows: Vec<Job> = jobs.iter().filter_map(|job| queued.get(job).cloned()).collect();
        let admitted = self.db.admit_jobs(lead, &rows, later(model.now)).await;
        let sorted = |admitted: std::collections::HashSet<JobId>| {
            let mut admitted: Vec<usize> = admitted.into_iter().map(number).collect();
            admitted.sort_unstable();
            admitted
        };
        Answer::Admitted(admitted.map(|admitted| admitted.map(sorted)).map_err(refused))
    }

    async fn open(&self, op: &Op, model: &Model) -> Answer {
        let Op::Open { builder, session, held, claiming } = op else { panic!("asked for something else") };
        let open = OpenSession {
            version: 1,
            builder: id(*builder),
            builder_key: builder.to_string(),
            name: format!("builder {builder}"),
            platform: "linux-amd64".to_owned(),
            slots: 2,
            release: "0.1.0".to_owned(),
            shared_engine: *builder == 0,
            held: held.iter().map(|attempt| attempt_ref(*attempt)).collect(),
            claiming: claiming.iter().map(|claim| id(*claim)).collect(),
        };
        let join = if *builder == FAR { "far" } else { "join" };
        let new = NewSession {
            id: id(*session),
            token_hash: &token_hash(&session.to_string()),
            join_hash: &token_hash(join),
            key_hash: &token_hash(&open.builder_key),
            open: &open,
            trust_tenants: false,
        };
        let opened = self.db.open_session(&new, later(model.now)).await.expect("an answer").expect("welcome");
        let tries = |attempts: Vec<AttemptRef>| attempts.into_iter().map(try_of).collect();
        let closed = opened.closed.map(|session| number(session) as u32);
        Answer::Opened { stop: tries(opened.stop), closed, lost: tries(opened.lost) }
    }

    async fn close(&self, sessions: &[u32], model: &Model) -> Answer {
        let mut closed = Vec::new();
        for session in sessions {
            let lost = self.db.lose_session(id(*session), later(model.now)).await.expect("an answer");
            closed.extend(lost.map(|lost| (*session, lost.attempts.into_iter().map(try_of).collect())));
        }
        Answer::Lost(closed)
    }

    async fn sweep(&self, ends: bool, model: &Model) -> Answer {
        let now = later(model.now);
        let due = self.db.due_leaves(now).await.expect("an answer");
        let taken = self.db.take_leaves(now, due).await.expect("an answer");
        let mut swept = Vec::new();
        for leave in taken.into_iter().filter(|_| ends) {
            let tag: usize = leave.tag[1..].parse().expect("a tag of ours");
            let shown = leave.shown_digest.as_deref().map(|digest| (try_of_digest(digest), leave.shown_is_newer));
            let look = verdict(try_of_digest(&leave.holder_digest), shown, model.registry[tag]);
            let found = if look == Look::Booked { Found::Moved } else { Found::NotMoved };
            swept.push(Swept { tag, job: number(leave.job), look });
            assert!(self.db.settle_unreturned_leave(&leave, found).await.expect("an answer"));
        }
        swept.sort_unstable();
        Answer::Swept(swept)
    }
}

/// Looks at a future so many times, and drops it if it is not done by then.
pub async fn cut<F: Future>(future: F, looks: usize) {
    let mut future = pin!(future);
    for _ in 0..looks {
        if futures_util::poll!(&mut future).is_ready() {
            return;
        }
        tokio::task::yield_now().await;
    }
}
