//! The life of a job over its rows: admitted within limits, claimed once, ended once, retried within bounds.

use std::time::Duration;

use slipway_domain::agent::{ClaimRefusal, Report, StepReport};
use slipway_domain::attempt::{AttemptOutcome, AttemptState, Phase, StepState};
use slipway_domain::build::{BuildState, CancelledBy};
use slipway_domain::failure::FailureClass;
use slipway_domain::job::JobState;
use slipway_runtime::ids::{new_id, random_id};
use slipway_store::approvals::Approval;
use slipway_store::attempt_ends::Ended;
use slipway_store::builds::{NewBuild, NewJob};
use slipway_store::job_cancels::CancelOutcome;
use slipway_store::jobs::Admission;
use slipway_store::{Scope, StoreError};

use crate::crew::{Crew, pool};
use crate::env::{both, commit, later, new_build, start};

both! {
    async fn admission_stops_at_the_tenants_limit_and_goes_on_when_a_job_ends(env) {
        let world = env.world("own").await;
        let crew = env.crew(start()).await;
        let lead = env.lead(start()).await;
        let mut jobs = Vec::new();
        for key in ["1", "2", "3"] {
            let build = env.build(&world, key, commit('a')).await;
            jobs.push(env.job_of(build).await.id);
        }
        assert_eq!(env.db.queued_jobs(&pool(), start(), 10).await.unwrap().iter().map(|job| job.id).collect::<Vec<_>>(), jobs);
        let first = env.running(&crew, &lead, jobs[0], start()).await;
        assert_eq!(env.db.admit_job(&lead, jobs[1], start()).await.unwrap(), Admission::Admitted);
        assert_eq!(env.db.admit_job(&lead, jobs[1], start()).await.unwrap(), Admission::Gone);
        assert_eq!(env.db.admit_job(&lead, jobs[2], start()).await.unwrap(), Admission::LimitReached);
        assert_eq!(env.running_count(world.tenant).await, 2);
        let waiting = env.db.waiting(&env.db.job(jobs[2]).await.unwrap(), start()).await.unwrap().unwrap();
        assert!(waiting.reason.to_string().contains("plan"), "{}", waiting.reason);
        assert_eq!(env.finish(first, AttemptOutcome::Succeeded, later(1)).await, Ended::Now(JobState::Succeeded));
        assert_eq!(env.running_count(world.tenant).await, 1);
        assert_eq!(env.db.admit_job(&lead, jobs[2], later(1)).await.unwrap(), Admission::Admitted);
    }
}

both! {
    async fn a_job_that_cannot_be_admitted_lets_others_go_first(env) {
        let world = env.world("own").await;
        env.crew(start()).await;
        let bad = env.job_of(env.build(&world, "1", commit('a')).await).await;
        let good = env.job_of(env.build(&world, "2", commit('a')).await).await;
        env.db.postpone_admission(bad.id, start()).await.unwrap();
        assert_eq!(env.db.queued_jobs(&pool(), start(), 10).await.unwrap(), [good]);
        assert_eq!(env.db.queued_jobs(&pool(), later(30), 10).await.unwrap().len(), 2);
    }
}

both! {
    async fn what_cannot_run_takes_nobodys_place_in_the_queue(env) {
        let (full, far, other) = (env.world("full").await, env.world("far").await, env.world("other").await);
        let (_crew, lead) = (env.crew(start()).await, env.lead(start()).await);
        let elsewhere = new_build(&far.project, "1", commit('a'));
        let jobs = elsewhere.jobs.iter().map(|job| NewJob { pool: "far/standard/linux-amd64".parse().unwrap(), ..job.clone() });
        env.db.create_build(&NewBuild { jobs: jobs.collect(), ..elsewhere.clone() }).await.unwrap();
        for key in ["1", "2", "3"] {
            let job = env.job_of(env.build(&full, key, commit('a')).await).await;
            env.db.admit_job(&lead, job.id, start()).await.unwrap();
        }
        let next = env.job_of(env.build(&other, "1", commit('a')).await).await;
        assert_eq!(env.db.queued_jobs(&pool(), start(), 1).await.unwrap(), [next]);
    }
}

both! {
    async fn a_deposed_leader_admits_nothing(env) {
        let world = env.world("own").await;
        let job = env.job_of(env.build(&world, "1", commit('a')).await).await.id;
        let lease = Duration::from_secs(10);
        let (one, two) = (random_id(), random_id());
        let old = env.db.take_lead("scheduler", one, lease, start()).await.unwrap().unwrap();
        assert_eq!(env.db.take_lead("scheduler", two, lease, later(9)).await.unwrap(), None);
        let renewed = env.db.take_lead("scheduler", one, lease, later(9)).await.unwrap().unwrap();
        assert_eq!(renewed.term, old.term);
        let new = env.db.take_lead("scheduler", two, lease, later(20)).await.unwrap().unwrap();
        assert!(new.term > old.term);
        assert!(matches!(env.db.admit_job(&old, job, later(20)).await, Err(StoreError::Stale("leadership"))));
        assert_eq!(env.db.admit_job(&new, job, later(20)).await.unwrap(), Admission::Admitted);
        env.db.leave_lead(&new, later(21)).await.unwrap();
        assert!(env.db.take_lead("scheduler", one, lease, later(21)).await.unwrap().is_some());
    }
}

both! {
    async fn a_claim_wins_once_and_its_repetition_gets_the_same_answer(env) {
        let world = env.world("own").await;
        let (crew, lead) = (env.crew(start()).await, env.lead(start()).await);
        let build = env.build(&world, "1", commit('a')).await;
        let job = env.job_of(build).await.id;
        let dispatch = env.dispatched(&lead, job, start()).await;
        let claim = new_id();
        assert_eq!(env.claim(crew.session, job, random_id(), claim, start()).await, Err(ClaimRefusal::Gone));
        assert_eq!(env.claim(new_id(), job, dispatch, claim, start()).await, Err(ClaimRefusal::Session));
        let won = env.claim(crew.session, job, dispatch, claim, start()).await.unwrap();
        assert_eq!((won.attempt.job, won.attempt.epoch, won.timeout_secs), (job, 1, 60));
        assert_eq!(env.claim(crew.session, job, dispatch, claim, later(5)).await, Ok(won));
        assert_eq!(env.claim(crew.session, job, dispatch, new_id(), later(5)).await, Err(ClaimRefusal::Gone));
        let other = env.job_of(env.build(&world, "2", commit('a')).await).await.id;
        assert_eq!(env.claim(crew.session, other, dispatch, claim, later(5)).await, Err(ClaimRefusal::Gone), "not its job");
        assert_eq!(env.db.build(&Scope::Operator, build).await.unwrap().state, BuildState::Running);
        assert_eq!(env.db.attempts(job).await.unwrap().len(), 1);
    }
}

both! {
    async fn a_claim_of_an_attempt_that_is_over_is_not_won_again(env) {
        let world = env.world("own").await;
        let (crew, lead) = (env.crew(start()).await, env.lead(start()).await);
        let job = env.job_of(env.build(&world, "1", commit('a')).await).await.id;
        let (dispatch, claim) = (env.dispatched(&lead, job, start()).await, new_id());
        let won = env.claim(crew.session, job, dispatch, claim, start()).await.unwrap();
        env.db.lose_attempt(won.attempt, "on purpose", later(1)).await.unwrap();
        assert_eq!(env.claim(crew.session, job, dispatch, claim, later(2)).await, Err(ClaimRefusal::Gone));
    }
}

both! {
    async fn an_unclaimed_offer_goes_back_and_its_dispatch_is_void(env) {
        let world = env.world("own").await;
        let (crew, lead) = (env.crew(start()).await, env.lead(start()).await);
        let job = env.job_of(env.build(&world, "1", commit('a')).await).await.id;
        let old = env.dispatched(&lead, job, start()).await;
        assert!(env.db.expire_jobs(later(9), 10).await.unwrap().is_empty());
        assert_eq!(env.db.expire_jobs(later(11), 10).await.unwrap()[0].state, JobState::Ready);
        assert_eq!(env.running_count(world.tenant).await, 1, "it stays admitted");
        let new = random_id();
        assert!(env.db.dispatch_job(job, new, later(11)).await.unwrap());
        assert!(!env.db.dispatch_job(job, random_id(), later(11)).await.unwrap());
        assert_eq!(env.claim(crew.session, job, old, new_id(), later(12)).await, Err(ClaimRefusal::Gone));
        assert!(env.claim(crew.session, job, new, new_id(), later(12)).await.is_ok());
    }
}

both! {
    async fn a_declined_offer_goes_back_at_once_and_only_once(env) {
        let world = env.world("own").await;
        let (crew, lead) = (env.crew(start()).await, env.lead(start()).await);
        let job = env.job_of(env.build(&world, "1", commit('a')).await).await.id;
        let old = env.dispatched(&lead, job, start()).await;
        let decline = async |dispatch| env.db.decline_job(job, dispatch, later(1)).await.unwrap();
        assert!(!decline(random_id()).await, "nobody was offered that");
        assert!(decline(old).await);
        let row = env.db.job(job).await.unwrap();
        assert_eq!((row.state, row.dispatch_id, row.infra_retries), (JobState::Ready, None, 0));
        assert_eq!(env.running_count(world.tenant).await, 1, "it stays admitted");
        assert!(!decline(old).await, "repeated");
        let new = random_id();
        assert!(env.db.dispatch_job(job, new, later(1)).await.unwrap());
        assert!(!decline(old).await, "late: the job is offered anew");
        assert!(env.claim(crew.session, job, new, new_id(), later(2)).await.is_ok());
        assert!(!decline(new).await, "late: it runs");
        assert_eq!(env.db.job(job).await.unwrap().state, JobState::Running);
        assert!(!env.db.decline_job(new_id(), new, later(2)).await.unwrap());
    }
}

both! {
    async fn a_shared_engine_serves_one_tenant(env) {
        let (own, other) = (env.world("own").await, env.world("other").await);
        let (crew, lead) = (env.crew(start()).await, env.lead(start()).await);
        let mine = env.job_of(env.build(&own, "1", commit('a')).await).await.id;
        let theirs = env.job_of(env.build(&other, "1", commit('a')).await).await.id;
        let attempt = env.running(&crew, &lead, mine, start()).await;
        env.finish(attempt, AttemptOutcome::Succeeded, later(1)).await;
        let dispatch = env.dispatched(&lead, theirs, later(1)).await;
        let refused = env.claim(crew.session, theirs, dispatch, new_id(), later(1)).await;
        assert_eq!(refused, Err(ClaimRefusal::Tenant));
        assert!(env.db.attempts(theirs).await.unwrap().is_empty());
    }
}

both! {
    async fn the_last_word_is_said_once(env) {
        let world = env.world("own").await;
        let (crew, lead) = (env.crew(start()).await, env.lead(start()).await);
        let build = env.build(&world, "1", commit('a')).await;
        let attempt = env.running(&crew, &lead, env.job_of(build).await.id, start()).await;
        assert_eq!(env.finish(attempt, AttemptOutcome::Failed, later(1)).await, Ended::Now(JobState::Failed));
        assert_eq!(env.finish(attempt, AttemptOutcome::Failed, later(2)).await, Ended::Before);
        assert_eq!(env.finish(attempt, AttemptOutcome::Succeeded, later(2)).await, Ended::Stale);
        let row = env.db.build(&Scope::Operator, build).await.unwrap();
        assert_eq!((row.state, row.finished_at), (BuildState::Failed, Some(later(1))));
        assert_eq!(env.running_count(world.tenant).await, 0);
        assert!(matches!(env.db.report(attempt, &Report::default()).await, Err(StoreError::Stale("attempt"))));
    }
}

both! {
    async fn a_lost_job_is_tried_three_times_more_and_then_errs(env) {
        let world = env.world("own").await;
        let (crew, lead) = (env.crew(start()).await, env.lead(start()).await);
        let build = env.build(&world, "1", commit('a')).await;
        let job = env.job_of(build).await.id;
        let mut now = start();
        for epoch in 1..=4 {
            let attempt = env.running(&crew, &lead, job, now).await;
            assert_eq!(attempt.epoch, epoch);
            env.db.lose_attempt(attempt, "on purpose", now).await.unwrap();
            let row = env.db.job(job).await.unwrap();
            assert_eq!(env.running_count(world.tenant).await, 0);
            if epoch == 4 {
                assert_eq!(row.state, JobState::Errored);
            } else {
                assert_eq!((row.state, row.avoid_builder), (JobState::Queued, Some(crew.builder)));
                now = row.avoid_until.unwrap();
            }
        }
        assert_eq!(env.db.build(&Scope::Operator, build).await.unwrap().state, BuildState::Errored);
    }
}

both! {
    async fn the_builder_that_lost_a_job_is_avoided_for_a_moment(env) {
        let world = env.world("own").await;
        let (crew, lead) = (env.crew(start()).await, env.lead(start()).await);
        let job = env.job_of(env.build(&world, "1", commit('a')).await).await.id;
        let attempt = env.running(&crew, &lead, job, start()).await;
        env.db.lose_attempt(attempt, "on purpose", start()).await.unwrap();
        let (other, _) = env.open(new_id(), "other key", &[], start()).await;
        let dispatch = env.dispatched(&lead, job, start()).await;
        assert_eq!(env.db.avoided_builder(&env.db.job(job).await.unwrap(), later(1)).await.unwrap(), Some(crew.builder));
        let claim = env.claim(crew.session, job, dispatch, new_id(), later(1)).await;
        assert_eq!(claim, Err(ClaimRefusal::Avoided));
        assert!(env.claim(other, job, dispatch, new_id(), later(1)).await.is_ok());
    }
}

both! {
    async fn nobody_is_avoided_for_a_builder_that_cannot_take_the_job(env) {
        let (world, stranger) = (env.world("own").await, env.world("other").await);
        let (crew, lead) = (env.crew(start()).await, env.lead(start()).await);
        let job = env.job_of(env.build(&world, "1", commit('a')).await).await.id;
        let attempt = env.running(&crew, &lead, job, start()).await;
        env.db.lose_attempt(attempt, "on purpose", start()).await.unwrap();
        let dispatch = env.dispatched(&lead, job, start()).await;
        let row = env.db.job(job).await.unwrap();
        let avoided = async || env.db.avoided_builder(&row, later(9)).await.unwrap();
        assert_eq!(avoided().await, None, "it is alone");
        let open = async |key: &str, at| {
            let builder = new_id();
            (builder, env.open(builder, key, &[], later(at)).await.0)
        };
        open("silent", -5).await;
        let (drained, _) = open("drained", 5).await;
        env.db.drain_builder(drained, true).await.unwrap();
        let (_, gone) = open("gone", 5).await;
        env.db.channel_closed(gone, later(6)).await.unwrap();
        let (builder, bound) = open("bound", 5).await;
        let theirs = env.job_of(env.build(&stranger, "1", commit('a')).await).await.id;
        env.running(&Crew { builder, session: bound }, &lead, theirs, later(5)).await;
        assert_eq!(avoided().await, None);
        open("good", 5).await;
        assert_eq!(avoided().await, Some(crew.builder), "a better one appeared");
        assert_eq!(env.db.avoided_builder(&row, later(10)).await.unwrap(), None, "its time is over");
        assert!(env.claim(crew.session, job, dispatch, new_id(), later(10)).await.is_ok());
    }
}

both! {
    async fn handing_back_costs_no_retry(env) {
        let world = env.world("own").await;
        let (crew, lead) = (env.crew(start()).await, env.lead(start()).await);
        let job = env.job_of(env.build(&world, "1", commit('a')).await).await.id;
        let attempt = env.running(&crew, &lead, job, start()).await;
        assert_eq!(env.finish(attempt, AttemptOutcome::HandedBack, later(1)).await, Ended::Now(JobState::Queued));
        let row = env.db.job(job).await.unwrap();
        assert_eq!((row.infra_retries, row.avoid_builder, row.not_before), (0, None, later(1)));
    }
}

both! {
    async fn a_queued_build_is_cancelled_at_once_and_never_starts(env) {
        let world = env.world("own").await;
        let lead = env.lead(start()).await;
        let build = env.build(&world, "1", commit('a')).await;
        let job = env.job_of(build).await.id;
        env.dispatched(&lead, job, start()).await;
        let cancel = env.db.cancel_build(build, CancelledBy::User, start()).await.unwrap();
        assert_eq!(cancel, CancelOutcome::Cancelled);
        assert_eq!(env.running_count(world.tenant).await, 0);
        assert_eq!(env.db.admit_job(&lead, job, start()).await.unwrap(), Admission::Gone);
        let again = env.db.cancel_build(build, CancelledBy::User, start()).await.unwrap();
        assert_eq!(again, CancelOutcome::AlreadyFinished);
        let row = env.db.job(job).await.unwrap();
        assert_eq!((row.state, row.cancelled_by), (JobState::Cancelled, Some(CancelledBy::User)));
    }
}

both! {
    async fn a_running_build_is_cancelled_whatever_the_builder_says_last(env) {
        let world = env.world("own").await;
        let (crew, lead) = (env.crew(start()).await, env.lead(start()).await);
        let build = env.build(&world, "1", commit('a')).await;
        let job = env.job_of(build).await.id;
        let attempt = env.running(&crew, &lead, job, start()).await;
        let cancel = env.db.cancel_build(build, CancelledBy::User, start()).await.unwrap();
        assert_eq!(cancel, CancelOutcome::Stopping(vec![attempt]));
        assert_eq!(env.db.cancelling_attempts().await.unwrap(), [(crew.session, attempt)]);
        assert!(env.db.report(attempt, &Report::default()).await.unwrap().cancel);
        assert_eq!(env.finish(attempt, AttemptOutcome::Succeeded, later(1)).await, Ended::Now(JobState::Cancelled));
        assert_eq!(env.db.build(&Scope::Operator, build).await.unwrap().state, BuildState::Cancelled);
        assert!(env.db.cancelling_attempts().await.unwrap().is_empty());
    }
}

both! {
    async fn a_builder_cannot_cancel_on_its_own(env) {
        let world = env.world("own").await;
        let (crew, lead) = (env.crew(start()).await, env.lead(start()).await);
        let job = env.job_of(env.build(&world, "1", commit('a')).await).await.id;
        let attempt = env.running(&crew, &lead, job, start()).await;
        assert_eq!(env.finish(attempt, AttemptOutcome::Cancelled, later(1)).await, Ended::Now(JobState::Queued));
        let row = env.db.attempt(attempt).await.unwrap();
        assert_eq!((row.outcome, row.failure.unwrap().class), (Some(AttemptOutcome::Infra), FailureClass::Internal));
        assert_eq!(env.finish(attempt, AttemptOutcome::Cancelled, later(2)).await, Ended::Before, "repeated");
    }
}

both! {
    async fn what_nobody_works_is_ended_by_its_deadline(env) {
        let world = env.world("own").await;
        let (crew, lead) = (env.crew(start()).await, env.lead(start()).await);
        let waiting = env.build(&world, "1", commit('a')).await;
        let silent = env.build(&world, "2", commit('a')).await;
        let endless = env.build(&world, "3", commit('a')).await;
        env.running(&crew, &lead, env.job_of(silent).await.id, start()).await;
        env.running(&crew, &lead, env.job_of(endless).await.id, start()).await;
        env.db.cancel_build(silent, CancelledBy::User, start()).await.unwrap();
        let state = async |build| env.job_of(build).await.state;
        env.db.expire_jobs(later(31), 10).await.unwrap();
        assert_eq!((state(silent).await, state(endless).await), (JobState::Cancelled, JobState::Running));
        env.db.expire_jobs(later(121), 10).await.unwrap();
        assert_eq!((state(endless).await, state(waiting).await), (JobState::TimedOut, JobState::Queued));
        env.db.expire_jobs(later(24 * 3600 + 1), 10).await.unwrap();
        assert_eq!(state(waiting).await, JobState::Errored);
        assert_eq!(env.running_count(world.tenant).await, 0);
        let attempts = env.db.attempts(env.job_of(endless).await.id).await.unwrap();
        assert_eq!((attempts[0].state, attempts[0].outcome), (AttemptState::Closed, Some(AttemptOutcome::TimedOut)));
    }
}

both! {
    async fn doubled_and_reordered_reports_change_nothing(env) {
        let world = env.world("own").await;
        let (crew, lead) = (env.crew(start()).await, env.lead(start()).await);
        let job = env.job_of(env.build(&world, "1", commit('a')).await).await.id;
        let attempt = env.running(&crew, &lead, job, start()).await;
        let step = |state, finished_at, exit_code| StepReport {
            digest: "sha256:1".to_owned(),
            number: 1,
            name: "[1/1] RUN make".to_owned(),
            state,
            cached: false,
            started_at: Some(start()),
            finished_at,
            exit_code,
            moved_bytes: finished_at.is_none().then_some(7),
            total_bytes: None,
            inputs: vec![2, 3],
            paused_ms: finished_at.is_some().then_some(500),
        };
        let begun = Report { phase: Some(Phase::Building), steps: vec![step(StepState::Running, None, None)] };
        let ended = Report { phase: None, steps: vec![step(StepState::Failed, Some(later(2)), Some(7))] };
        let early = Report { phase: Some(Phase::Fetching), steps: Vec::new() };
        for report in [&begun, &ended, &ended, &begun, &early] {
            env.db.report(attempt, report).await.unwrap();
        }
        let steps = env.db.steps(attempt).await.unwrap();
        assert_eq!(steps.len(), 1);
        assert_eq!((steps[0].state, steps[0].exit_code), (StepState::Failed, Some(7)));
        assert_eq!(steps[0].moved_bytes, Some(7), "an older builder says nothing of it");
        assert_eq!((steps[0].inputs.0.as_slice(), steps[0].paused_ms), ([2, 3].as_slice(), Some(500)));
        assert_eq!(env.db.attempt(attempt).await.unwrap().phase, Phase::Building);
    }
}

both! {
    async fn what_waits_for_an_approval_runs_after_it_and_ends_without(env) {
        let world = env.world("own").await;
        let (crew, lead) = (env.crew(start()).await, env.lead(start()).await);
        let blocked = |key: &str| {
            let new = new_build(&world.project, key, commit('a'));
            let jobs = new.jobs.iter().map(|job| NewJob { blocked: true, ..job.clone() }).collect();
            NewBuild { jobs, ..new }
        };
        let approved = env.db.create_build(&blocked("1")).await.unwrap().build;
        let forgotten = env.db.create_build(&blocked("2")).await.unwrap().build;
        let cancelled = env.db.create_build(&blocked("3")).await.unwrap().build;
        assert_eq!(env.db.queued_jobs(&pool(), start(), 10).await.unwrap(), []);
        let waiting = env.db.waiting(&env.job_of(approved).await, start()).await.unwrap().unwrap();
        assert!(waiting.reason.to_string().contains("approve"), "{}", waiting.reason);
        for _ in 0..2 {
            assert_eq!(env.db.approve_build(approved, later(1)).await.unwrap(), Approval::Approved);
        }
        let job = env.job_of(approved).await;
        assert_eq!((job.state, job.queued_at, job.version), (JobState::Queued, later(1), 1), "once");
        let running = env.running(&crew, &lead, job.id, later(1)).await;
        assert_eq!(env.db.approve_build(approved, later(2)).await.unwrap(), Approval::Approved, "it runs already");
        assert_eq!(env.finish(running, AttemptOutcome::Succeeded, later(2)).await, Ended::Now(JobState::Succeeded));
        assert_eq!(env.db.approve_build(approved, later(3)).await.unwrap(), Approval::AlreadyFinished);
        env.db.cancel_build(cancelled, CancelledBy::User, later(3)).await.unwrap();
        assert_eq!(env.db.approve_build(cancelled, later(3)).await.unwrap(), Approval::AlreadyFinished);
        let week = 7 * 24 * 3600;
        env.db.expire_jobs(later(week - 1), 10).await.unwrap();
        assert_eq!(env.job_of(forgotten).await.state, JobState::Blocked);
        env.db.expire_jobs(later(week + 1), 10).await.unwrap();
        assert_eq!(env.job_of(forgotten).await.state, JobState::Cancelled);
    }
}
