//! Builders and what they do, for tests of jobs, attempts, sessions and tags.

use std::time::Duration;

use chrono::{DateTime, Utc};
use slipway_domain::agent::{ClaimRefusal, ClaimRequest, Finish, OpenSession};
use slipway_domain::attempt::{AttemptOutcome, AttemptRef};
use slipway_domain::ids::{BuildId, BuilderId, ClaimId, DispatchId, JobId, SessionId};
use slipway_domain::placement::Pool;
use slipway_runtime::ids::{new_id, random_id, token_hash};
use slipway_store::attempt_ends::Ended;
use slipway_store::claims::{Claim, ClaimWon};
use slipway_store::jobs::{Admission, Job};
use slipway_store::leaders::Lead;
use slipway_store::sessions::{NewSession, Opened, SessionRefusal};

use crate::env::Env;

/// Where all of it happens.
pub fn pool() -> Pool {
    "local/standard/linux-amd64".parse().expect("a pool")
}

/// A builder with an open session.
pub struct Crew {
    pub builder: BuilderId,
    pub session: SessionId,
}

impl Env {
    /// A join token for the pool.
    pub async fn join_token(&self, token: &str, now: DateTime<Utc>) {
        self.db.create_join_token(new_id(), &token_hash(token), &pool(), now).await.expect("a join token");
    }

    pub async fn crew(&self, now: DateTime<Utc>) -> Crew {
        self.join_token("join", now).await;
        let builder = new_id();
        let (session, opened) = self.open(builder, "key", &[], now).await;
        opened.expect("a new builder");
        Crew { builder, session }
    }

    pub async fn open(
        &self,
        builder: BuilderId,
        key: &str,
        held: &[AttemptRef],
        now: DateTime<Utc>,
    ) -> (SessionId, Result<Opened, SessionRefusal>) {
        self.open_claiming(builder, key, (held, &[]), now).await
    }

    pub async fn open_claiming(
        &self,
        builder: BuilderId,
        key: &str,
        (held, claiming): (&[AttemptRef], &[ClaimId]),
        now: DateTime<Utc>,
    ) -> (SessionId, Result<Opened, SessionRefusal>) {
        let (held, claiming) = (held.to_vec(), claiming.to_vec());
        self.open_session(&OpenSession { held, claiming, ..greeting(builder, key) }, false, now).await
    }

    /// The builder's next session, held by nothing, on a server that trusts its tenants.
    pub async fn open_trusting(&self, builder: BuilderId, key: &str, now: DateTime<Utc>) {
        self.open_session(&greeting(builder, key), true, now).await.1.expect("may join");
    }

    async fn open_session(
        &self,
        open: &OpenSession,
        trust_tenants: bool,
        now: DateTime<Utc>,
    ) -> (SessionId, Result<Opened, SessionRefusal>) {
        let session = new_id();
        let new = NewSession {
            id: session,
            token_hash: &token_hash(&session.to_string()),
            join_hash: &token_hash("join"),
            key_hash: &token_hash(&open.builder_key),
            open,
            trust_tenants,
        };
        (session, self.db.open_session(&new, now).await.expect("the store answers"))
    }

    pub async fn lead(&self, now: DateTime<Utc>) -> Lead {
        let lead = self.db.take_lead("scheduler", random_id(), Duration::from_secs(600), now).await;
        lead.expect("the store answers").expect("nobody leads")
    }

    pub async fn job_of(&self, build: BuildId) -> Job {
        self.db.jobs_of_build(build).await.expect("the store answers").remove(0)
    }

    /// Admits and dispatches a job, without a claim.
    pub async fn dispatched(&self, lead: &Lead, job: JobId, now: DateTime<Utc>) -> DispatchId {
        let admitted = self.db.admit_job(lead, job, now).await.expect("the store answers");
        assert_eq!(admitted, Admission::Admitted);
        let dispatch = random_id();
        assert!(self.db.dispatch_job(job, dispatch, now).await.expect("the store answers"));
        dispatch
    }

    pub async fn claim(
        &self,
        session: SessionId,
        job: JobId,
        dispatch: DispatchId,
        claim: ClaimId,
        now: DateTime<Utc>,
    ) -> Result<ClaimWon, ClaimRefusal> {
        let claim = Claim {
            request: ClaimRequest { session, job, dispatch, claim },
            one_tenant_per_shared_engine: true,
            token_hash: &|attempt, claim| token_hash(&format!("{attempt}:{claim}")),
        };
        self.db.claim_job(&claim, now).await.expect("the store answers")
    }

    /// A job that this crew runs.
    pub async fn running(&self, crew: &Crew, lead: &Lead, job: JobId, now: DateTime<Utc>) -> AttemptRef {
        let dispatch = self.dispatched(lead, job, now).await;
        self.claim(crew.session, job, dispatch, new_id(), now).await.expect("a free claim").attempt
    }

    pub async fn finish(&self, attempt: AttemptRef, outcome: AttemptOutcome, now: DateTime<Utc>) -> Ended {
        let finish = Finish {
            outcome,
            failure: None,
            images: Vec::new(),
            built: Vec::new(),
            remarks: Default::default(),
            log_end: 0,
            log_sha256: "00".repeat(32),
        };
        self.db.finish_attempt(attempt, &finish, now).await.expect("the store answers")
    }

    /// What a session holds: the attempt, since when, and whether it is being cancelled.
    pub async fn held(&self, session: SessionId) -> Vec<(AttemptRef, DateTime<Utc>, bool)> {
        let held = self.db.held_attempts(&[session]).await.expect("the store answers");
        held.into_values().flatten().map(|held| (held.attempt, held.claimed_at, held.cancelling)).collect()
    }

    pub async fn running_count(&self, tenant: slipway_domain::ids::TenantId) -> i64 {
        self.db.tenant_running(tenant).await.expect("the tenant's row").running
    }
}

fn greeting(builder: BuilderId, key: &str) -> OpenSession {
    OpenSession {
        version: 1,
        builder,
        builder_key: key.to_owned(),
        name: "crew".to_owned(),
        platform: "linux-amd64".to_owned(),
        slots: 2,
        release: "0.1.0".to_owned(),
        shared_engine: true,
        held: Vec::new(),
        claiming: Vec::new(),
    }
}
