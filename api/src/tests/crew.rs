//! A builder as the store sees it, so that tests can show builds that run, fail and succeed.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use slipway_domain::agent::{ClaimRequest, Finish, OpenSession, PushedImage, Report, StepReport};
use slipway_domain::attempt::{AttemptOutcome, AttemptRef, Phase, StepState};
use slipway_domain::failure::Failure;
use slipway_domain::ids::{BuildId, SessionId};
use slipway_domain::image::BuiltImage;
use slipway_domain::placement::Pool;
use slipway_domain::remarks::Remarks;
use slipway_runtime::ids::{new_id, random_id, token_hash};
use slipway_store::claims::Claim;
use slipway_store::leaders::Lead;
use slipway_store::sessions::NewSession;

use super::App;

/// One builder with an open session, and the scheduler's lead.
pub struct Crew {
    pub session: SessionId,
    lead: Lead,
}

impl App {
    pub async fn crew(&self, name: &str) -> Crew {
        let (db, now) = (&self.state.db, self.state.clock.now());
        let pool: Pool = "local/standard/linux-amd64".parse().expect("a pool");
        db.create_join_token(new_id(), &token_hash("join"), &pool, now).await.expect("a join token");
        let session = new_id();
        let open = OpenSession {
            version: 1,
            builder: new_id(),
            builder_key: "key".to_owned(),
            name: name.to_owned(),
            platform: "linux-amd64".to_owned(),
            slots: 2,
            release: "0.1.0".to_owned(),
            shared_engine: true,
            held: Vec::new(),
            claiming: Vec::new(),
        };
        let new = NewSession {
            id: session,
            token_hash: &token_hash(&session.to_string()),
            join_hash: &token_hash("join"),
            key_hash: &token_hash("key"),
            open: &open,
            trust_tenants: false,
        };
        db.open_session(&new, now).await.expect("the store answers").expect("a session");
        let lead = db.take_lead("scheduler", random_id(), Duration::from_secs(600), now).await;
        Crew { session, lead: lead.expect("the store answers").expect("nobody leads") }
    }

    /// Admits, dispatches and claims the build's job.
    pub async fn start(&self, crew: &Crew, build: BuildId) -> AttemptRef {
        self.start_at(crew, build, self.state.clock.now()).await
    }

    /// The same at another time, for a job that waits until it is tried again.
    pub async fn start_at(&self, crew: &Crew, build: BuildId, now: DateTime<Utc>) -> AttemptRef {
        let db = &self.state.db;
        let job = db.jobs_of_build(build).await.expect("the store answers").remove(0).id;
        db.admit_job(&crew.lead, job, now).await.expect("admitted");
        let dispatch = random_id();
        assert!(db.dispatch_job(job, dispatch, now).await.expect("the store answers"));
        let claim = Claim {
            request: ClaimRequest { session: crew.session, job, dispatch, claim: new_id() },
            one_tenant_per_shared_engine: true,
            token_hash: &|attempt, _| token_hash(&attempt.to_string()),
        };
        db.claim_job(&claim, now).await.expect("the store answers").expect("a free claim").attempt
    }

    pub async fn report(&self, attempt: AttemptRef, phase: Phase, steps: Vec<StepReport>) {
        self.state.db.report(attempt, &Report { phase: Some(phase), steps }).await.expect("booked");
    }

    pub async fn finish(&self, attempt: AttemptRef, failure: Option<Failure>, images: Vec<PushedImage>) {
        self.finish_with(attempt, failure, (images, Vec::new(), Remarks::default())).await;
    }

    /// The same with what was built.
    pub async fn finish_with(
        &self,
        attempt: AttemptRef,
        failure: Option<Failure>,
        (images, built, remarks): (Vec<PushedImage>, Vec<BuiltImage>, Remarks),
    ) {
        let outcome = failure.as_ref().map_or(AttemptOutcome::Succeeded, |failure| failure.class.outcome());
        let finish = Finish { outcome, failure, images, built, remarks, log_end: 0, log_sha256: "00".repeat(32) };
        self.state.db.finish_attempt(attempt, &finish, self.state.clock.now()).await.expect("booked");
    }
}

/// A step that began then; what is over took 1.234 s.
pub fn step(number: i64, name: &str, state: StepState, begun: DateTime<Utc>) -> StepReport {
    let over = matches!(state, StepState::Succeeded | StepState::Failed);
    StepReport {
        digest: format!("sha256:{number:064x}"),
        number,
        name: name.to_owned(),
        state,
        cached: false,
        started_at: Some(begun),
        finished_at: if over { Some(begun + TimeDelta::milliseconds(1234)) } else { None },
        exit_code: if state == StepState::Failed { Some(2) } else { None },
        moved_bytes: None,
        total_bytes: None,
        inputs: Vec::new(),
        paused_ms: None,
    }
}
