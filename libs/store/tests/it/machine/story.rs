//! Which stories are tried: in each state of the reference, what may happen next and how likely. Most of it is what
//! honest processes would do; the rest is late, doubled, or meant for somebody else.

mod beginnings;

use proptest::prelude::*;
use proptest_state_machine::ReferenceStateMachine;
use slipway_domain::attempt::{AttemptOutcome, Phase};
use slipway_domain::job::JobState;

use self::beginnings::{after, nobody_hears_the_newer, the_last_try, two_builds_run};
use super::model::{BUILDERS, BUILDS, Model, PROCESSES, TAGS};
use super::ops::{AClaim, AFinish, Op, Said, Step, Try};

/// Seconds that pass at once: around every interval that decides something.
const WAITS: [(u32, i64); 12] =
    [(4, 1), (4, 4), (1, 5), (2, 6), (2, 7), (3, 10), (2, 11), (1, 20), (2, 21), (4, 30), (2, 31), (1, 121)];
/// As long as a job may wait.
const A_DAY: i64 = 24 * 3600 + 1;

pub struct Stories;

impl ReferenceStateMachine for Stories {
    type State = Model;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Model> {
        let before = prop_oneof![
            4 => Just(Vec::new()),
            4 => Just(two_builds_run()),
            2 => Just(nobody_hears_the_newer()),
            1 => Just(the_last_try()),
        ];
        before.prop_map(after).no_shrink().boxed()
    }

    fn transitions(model: &Model) -> BoxedStrategy<Step> {
        let mut next = Next { model, ops: Vec::new() };
        next.time();
        next.placement();
        next.work();
        next.sessions();
        let ops = next.ops;
        let sum: u32 = ops.iter().map(|(weight, _)| weight).sum();
        let op = (0..sum).prop_map(move |place| at(&ops, place));
        let said = prop_oneof![
            8 => Just(Said::Once),
            2 => Just(Said::Twice),
            2 => (1usize..60).prop_map(Said::AfterCut),
        ];
        let step = |(op, said): (Op, Said)| {
            let said = if op.is_idempotent() || (op == Op::Expire && said == Said::Twice) { said } else { Said::Once };
            Step { op, said }
        };
        (op, said).prop_map(step).no_shrink().boxed()
    }

    /// Builders do not lie about what the registry answered, however short the story, and none says that it succeeded
    /// while a PUT of its own is unanswered.
    fn preconditions(model: &Model, step: &Step) -> bool {
        let put = |attempt: Try, tag: usize| model.puts.contains(&(attempt, tag));
        match &step.op {
            Op::Put { attempt, .. } => !model.succeeded(*attempt),
            Op::ReturnLeave { attempt, tag, moved } => *moved == put(*attempt, *tag),
            Op::Finishes(finishes) => {
                finishes.iter().all(|finish| finish.moved.iter().all(|tag| put(finish.attempt, *tag)))
            }
            _ => true,
        }
    }

    fn apply(mut model: Model, step: &Step) -> Model {
        model.take(step);
        model
    }
}

/// The operation at this place, of which each takes as many as it weighs.
fn at(ops: &[(u32, Op)], mut place: u32) -> Op {
    for (weight, op) in ops {
        match place.checked_sub(*weight) {
            Some(rest) => place = rest,
            None => return op.clone(),
        }
    }
    panic!("behind the last one")
}

struct Next<'a> {
    model: &'a Model,
    ops: Vec<(u32, Op)>,
}

impl Next<'_> {
    fn may(&mut self, weight: u32, op: Op) {
        self.ops.push((weight, op));
    }

    fn time(&mut self) {
        for (weight, secs) in WAITS {
            self.may(weight, Op::Wait { secs });
        }
        self.may(1, Op::Wait { secs: A_DAY });
        self.may(4, Op::Expire);
        self.may(4, Op::LoseOverdue);
        let due = self.model.tags.iter().flat_map(|tag| &tag.holder).any(|holder| holder.until <= self.model.now - 30);
        self.may(if due { 20 } else { 2 }, Op::Sweep { ends: true });
        self.may(if due { 6 } else { 1 }, Op::Sweep { ends: false });
    }

    fn placement(&mut self) {
        for build in 0..BUILDS.len() {
            let known = self.model.build(build);
            self.may(if known.is_none() { 6 } else { 1 }, Op::Enqueue { build });
            let live = known.is_some_and(|(state, _)| !state.is_terminal());
            if live || build == 0 {
                self.may(1, Op::Cancel { build });
            }
        }
        for process in 0..PROCESSES {
            let leader = self.model.leader.as_ref().filter(|leader| leader.expires > self.model.now);
            let leads = leader.is_some_and(|leader| leader.process == process);
            self.may(if leader.is_some() { 2 } else { 8 }, Op::Lead { process });
            self.may(if leads { 10 } else { 4 }, Op::Look { process });
            let view = &self.model.processes[process];
            let queued: Vec<usize> = view.queued.keys().copied().collect();
            for job in &queued {
                self.may(if leads { 10 } else { 1 }, Op::Admit { process, jobs: vec![*job] });
            }
            if queued.len() > 1 {
                self.may(if leads { 10 } else { 1 }, Op::Admit { process, jobs: queued });
            }
            for (job, version) in &view.ready {
                let fresh = self.model.jobs[job].version == *version;
                let dispatch = self.model.dispatches + 1;
                self.may(if fresh { 25 } else { 1 }, Op::Dispatch { process, job: *job, dispatch });
            }
        }
    }

    fn work(&mut self) {
        let claim = self.model.claims.iter().map(|claim| claim.claim).max().unwrap_or(0) + 1;
        let mut good = Vec::new();
        for (number, job) in &self.model.jobs {
            let dispatch = job.dispatch.unwrap_or(self.model.dispatches);
            let offered = job.state == JobState::Dispatched;
            self.may(if offered { 2 } else { 1 }, Op::Decline { job: *number, dispatch });
            let closed = self.model.sessions.iter().filter(|(_, row)| !row.open).take(1);
            for (session, row) in self.model.sessions.iter().filter(|(_, row)| row.open).chain(closed) {
                let made = AClaim { session: *session, job: *number, dispatch, claim };
                if offered && row.open {
                    good.push(made.clone());
                }
                if offered || row.builder == 0 {
                    self.may(if offered && row.open { 14 } else { 1 }, Op::Claims(vec![made]));
                }
            }
            self.attempts(*number, job.attempts.len());
        }
        for made in self.model.claims.iter().rev().take(3).cloned().collect::<Vec<_>>() {
            self.may(2, Op::Claims(vec![made]));
        }
        if let [first, .., last] = &good[..] {
            let (first, last) = (first.clone(), AClaim { claim: claim + 1, ..last.clone() });
            self.may(14, Op::Claims(vec![first.clone(), last.clone(), first]));
        }
    }

    /// The newest two attempts of a job, at work or late.
    fn attempts(&mut self, job: usize, count: usize) {
        for epoch in (1..=count).rev().take(2) {
            let attempt = Try(job, epoch as i64);
            let row = self.model.attempt(attempt).expect("it was claimed");
            let open = row.outcome.is_none();
            let cancelling = open && self.model.jobs[&job].state == JobState::Cancelling;
            for phase in [Phase::Fetching, Phase::Building] {
                self.may(1, Op::Report { attempt, phase });
            }
            self.may(if open { 2 } else { 1 }, Op::Lose { attempt });
            for tag in 0..TAGS {
                self.leave(attempt, tag, open);
            }
            for outcome in AttemptOutcome::ALL.iter().copied().filter(|outcome| *outcome != AttemptOutcome::Lost) {
                let weight = match outcome {
                    _ if !open => 1,
                    AttemptOutcome::Succeeded => 6,
                    AttemptOutcome::Cancelled if cancelling => 10,
                    AttemptOutcome::Infra | AttemptOutcome::HandedBack | AttemptOutcome::Cancelled => 3,
                    _ => 1,
                };
                self.may(weight, Op::Finishes(vec![self.finish(attempt, outcome)]));
            }
            for other in self.model.open_attempts(None).into_iter().filter(|other| other.0 > job) {
                let both = [AttemptOutcome::Succeeded, AttemptOutcome::Infra];
                let [first, second] = both.map(|outcome| self.finish(attempt, outcome));
                self.may(1, Op::Finishes(vec![self.finish(other, AttemptOutcome::Succeeded), first, second]));
            }
        }
    }

    fn leave(&mut self, attempt: Try, tag: usize, open: bool) {
        let granted = self.model.grants.contains_key(&(attempt, tag));
        self.may(if open && !granted { 6 } else { 1 }, Op::AskLeave { attempt, tag });
        let moved = self.model.puts.contains(&(attempt, tag));
        if granted && !moved && !self.model.succeeded(attempt) {
            self.may(16, Op::Put { attempt, tag });
        }
        if granted || moved {
            self.may(if granted && moved { 8 } else { 2 }, Op::ReturnLeave { attempt, tag, moved });
        }
    }

    /// The builder names what the registry confirmed.
    fn finish(&self, attempt: Try, outcome: AttemptOutcome) -> AFinish {
        let moved = (0..TAGS).filter(|tag| self.model.puts.contains(&(attempt, *tag))).collect();
        AFinish { attempt, outcome, moved }
    }

    fn sessions(&mut self) {
        let session = self.model.sessions.keys().max().unwrap_or(&0) + 1;
        let claims: Vec<u32> = self.model.claims.iter().rev().take(2).map(|claim| claim.claim).collect();
        let newest = self.model.jobs.iter().filter(|(_, job)| job.epoch() > 0);
        let anybodys: Vec<Try> = newest.map(|(number, job)| Try(*number, job.epoch())).collect();
        for builder in 0..BUILDERS {
            let open = self.model.session_of(builder);
            let own = self.model.open_attempts(builder);
            let weight = if open.is_none() && builder < 2 { 12 } else { 1 };
            self.may(weight, Op::Open { builder, session, held: own.clone(), claiming: Vec::new() });
            self.may(1, Op::Open { builder, session, held: Vec::new(), claiming: claims.clone() });
            self.may(1, Op::Open { builder, session, held: anybodys.clone(), claiming: Vec::new() });
            if let Some(first) = own.first().copied() {
                self.may(1, Op::Open { builder, session, held: Vec::new(), claiming: Vec::new() });
                self.may(1, Op::Open { builder, session, held: vec![first], claiming: claims.clone() });
            }
            if self.model.builders[builder].known {
                let drained = !self.model.builders[builder].drained;
                self.may(1, Op::Drain { builder, drained });
            }
            if let Some(session) = open {
                self.may(2, Op::Renew { sessions: vec![session], draining: false });
                self.may(1, Op::Renew { sessions: vec![session], draining: true });
                self.may(1, Op::ChannelCloses { session });
                self.may(1, Op::Goodbye { session });
            }
        }
        let all: Vec<u32> = self.model.sessions.keys().copied().collect();
        if let Some(oldest) = all.first().copied() {
            self.may(1, Op::ChannelCloses { session: oldest });
            self.may(1, Op::Goodbye { session: oldest });
            self.may(12, Op::Renew { sessions: all, draining: false });
        }
    }
}
