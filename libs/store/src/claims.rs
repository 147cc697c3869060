//! Claims: the compare-and-set on (state, dispatch id) that opens an attempt, for many at once.

use std::collections::{BTreeSet, HashMap, HashSet};

use chrono::{DateTime, Utc};
use slipway_domain::agent::{ClaimRefusal, ClaimRequest};
use slipway_domain::attempt::AttemptRef;
use slipway_domain::ids::{BuilderId, ClaimId, JobId, TenantId};
use slipway_domain::job::{JobEvent, JobState};

use crate::Db;
use crate::avoidance::avoids;
use crate::batches;
use crate::batches::attempts::NewAttempt;
use crate::batches::jobs::Change;
use crate::db::{Tx, execute};
use crate::error::Result;
use crate::jobs::{Job, save_all};
use crate::sessions::Session;

/// A claim as the dispatcher makes it.
pub struct Claim<'a> {
    /// What the builder asked.
    pub request: ClaimRequest,
    /// Refuse a second tenant on a shared engine.
    pub one_tenant_per_shared_engine: bool,
    /// Makes the token of (job, epoch, claim); only its hash is stored.
    pub token_hash: &'a (dyn Fn(AttemptRef, ClaimId) -> Vec<u8> + Send + Sync),
}

/// A claim that won, or a repeated one that had won.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimWon {
    /// The attempt.
    pub attempt: AttemptRef,
    /// Seconds that it may take.
    pub timeout_secs: i64,
}

/// What a claim was answered.
pub type Decision = std::result::Result<ClaimWon, ClaimRefusal>;

/// A claim that may win.
struct Contender {
    place: usize,
    builder: BuilderId,
    token_hash: Vec<u8>,
    claim: ClaimRequest,
    timeout_secs: i64,
    change: Change,
}

impl Db {
    /// Opens the attempt of a claim: one compare-and-set on (state, dispatch id). The same claim id gets
    /// the same answer again while its attempt is open, so that a lost answer loses nothing.
    pub async fn claim_job(&self, claim: &Claim<'_>, now: DateTime<Utc>) -> Result<Decision> {
        let decided = self.claim_jobs(std::slice::from_ref(claim), now).await?;
        Ok(decided.into_iter().next().unwrap_or(Err(ClaimRefusal::Gone)))
    }

    /// The same for many claims, in their order: of two for one job the first may win. All or nothing is
    /// decided; after an error each may be tried alone.
    pub async fn claim_jobs(&self, claims: &[Claim<'_>], now: DateTime<Utc>) -> Result<Vec<Decision>> {
        let mut decided = vec![Err(ClaimRefusal::Gone); claims.len()];
        let mut waiting: Vec<usize> = (0..claims.len()).collect();
        while !waiting.is_empty() {
            let mut jobs = HashSet::new();
            let (first, again): (Vec<_>, Vec<_>) =
                waiting.into_iter().partition(|place| jobs.insert(claims[*place].request.job));
            self.claim_distinct(claims, &first, &mut decided, now).await?;
            waiting = again;
        }
        Ok(decided)
    }

    /// Decides the claims at these places, which are for different jobs.
    async fn claim_distinct(
        &self,
        claims: &[Claim<'_>],
        places: &[usize],
        decided: &mut [Decision],
        now: DateTime<Utc>,
    ) -> Result<()> {
        let requests = || places.iter().map(|place| &claims[*place].request);
        let mut tx = self.begin_write().await?;
        let ids: Vec<ClaimId> = requests().map(|request| request.claim).collect();
        let mut before = batches::attempts::opened_before(&mut tx, &ids).await?;
        before.retain(|claim, row| requests().any(|request| request.claim == *claim && request.job == row.job_id));
        let sessions: BTreeSet<_> = requests().map(|request| request.session).collect();
        let sessions = batches::attempts::sessions(&mut tx, &sessions).await?;
        let ids: Vec<JobId> = requests().map(|request| request.job).collect();
        let jobs = batches::jobs::jobs(&mut tx, &ids).await?;
        let mut contenders = Vec::new();
        for &place in places {
            let claim = &claims[place];
            if let Some(row) = before.get(&claim.request.claim) {
                let attempt = AttemptRef { job: row.job_id, epoch: row.epoch };
                decided[place] = Ok(ClaimWon { attempt, timeout_secs: row.timeout_secs });
                continue;
            }
            let session = sessions.get(&claim.request.session);
            match contend(&mut tx, place, claim, session, jobs.get(&claim.request.job), now).await? {
                Ok(contender) => contenders.push(contender),
                Err(refusal) => decided[place] = Err(refusal),
            }
        }
        if contenders.is_empty() {
            // Nothing was written.
            return Ok(());
        }
        for (place, decision) in open_attempts(&mut tx, contenders, now).await? {
            decided[place] = decision;
        }
        slipway_runtime::crash::point("claim.before_commit");
        tx.commit().await?;
        slipway_runtime::crash::point("claim.after_commit");
        Ok(())
    }
}

/// Whether a claim may win, as far as can be seen before anything is locked.
async fn contend(
    tx: &mut Tx,
    place: usize,
    claim: &Claim<'_>,
    session: Option<&(Session, Option<TenantId>)>,
    job: Option<&Job>,
    now: DateTime<Utc>,
) -> Result<std::result::Result<Contender, ClaimRefusal>> {
    let Some((session, serves)) = session else { return Ok(Err(ClaimRefusal::Session)) };
    let Some(job) = job else { return Ok(Err(ClaimRefusal::Gone)) };
    if let Some(refusal) = refusal(job, session, &claim.request) {
        return Ok(Err(refusal));
    }
    if avoids(tx, job, session.builder_id, now).await? {
        return Ok(Err(ClaimRefusal::Avoided));
    }
    // Rows are locked in the order builder, session, attempt, job, tenant, build: everywhere the same.
    if claim.one_tenant_per_shared_engine
        && session.shared_engine
        && *serves != Some(job.tenant_id)
        && !binds_tenant(tx, session.builder_id, job.tenant_id).await?
    {
        return Ok(Err(ClaimRefusal::Tenant));
    }
    let new = Job { epoch: job.epoch + 1, dispatch_id: None, ..job.after(JobEvent::Claimed, now)? };
    let attempt = AttemptRef { job: job.id, epoch: new.epoch };
    Ok(Ok(Contender {
        place,
        builder: session.builder_id,
        token_hash: (claim.token_hash)(attempt, claim.request.claim),
        claim: claim.request,
        timeout_secs: job.timeout_secs,
        change: Change { old: job.clone(), new },
    }))
}

/// Opens the attempts of those whose session and job still stand.
async fn open_attempts(
    tx: &mut Tx,
    contenders: Vec<Contender>,
    now: DateTime<Utc>,
) -> Result<HashMap<usize, Decision>> {
    let sessions = contenders.iter().map(|contender| contender.claim.session).collect();
    let open = batches::attempts::lock_sessions(tx, &sessions).await?;
    let (held, closed): (Vec<_>, Vec<_>) =
        contenders.into_iter().partition(|contender| open.contains(&contender.claim.session));
    let mut decided: HashMap<usize, Decision> =
        closed.into_iter().map(|contender| (contender.place, Err(ClaimRefusal::Session))).collect();
    let (kept, changes): (Vec<_>, Vec<_>) = held
        .into_iter()
        .map(|Contender { place, builder, token_hash, claim, timeout_secs, change }| {
            let attempt = AttemptRef { job: change.new.id, epoch: change.new.epoch };
            ((place, timeout_secs, NewAttempt { attempt, claim, builder, token_hash }), change)
        })
        .unzip();
    let saved = save_all(tx, &changes, now).await?;
    let mut new = Vec::new();
    for (place, timeout_secs, attempt) in kept {
        let won = saved.contains(&attempt.attempt.job);
        let decision =
            if won { Ok(ClaimWon { attempt: attempt.attempt, timeout_secs }) } else { Err(ClaimRefusal::Gone) };
        decided.insert(place, decision);
        if won {
            new.push(attempt);
        }
    }
    batches::attempts::insert_attempts(tx, &new, now).await?;
    Ok(decided)
}

fn refusal(job: &Job, session: &Session, request: &ClaimRequest) -> Option<ClaimRefusal> {
    if !session.open || session.pool != job.pool {
        return Some(ClaimRefusal::Session);
    }
    let offered = job.state == JobState::Dispatched && job.dispatch_id == Some(request.dispatch);
    (!offered).then_some(ClaimRefusal::Gone)
}

/// The first claim binds a shared engine to its tenant, for good.
async fn binds_tenant(tx: &mut Tx, builder: BuilderId, tenant: TenantId) -> Result<bool> {
    const BIND: &str = "update builders set serves_tenant = $2 \
        where id = $1 and (serves_tenant is null or serves_tenant = $2)";
    Ok(execute!(tx, BIND, builder, tenant) == 1)
}
