//! Claims and last words of many builders at once: what comes in while one transaction runs shares the next one.

use std::collections::HashMap;

use futures_util::future::join_all;
use slipway_domain::agent::{ClaimRefusal, ClaimRequest, Finish};
use slipway_domain::attempt::AttemptRef;
use slipway_domain::spec::JobSpec;
use slipway_runtime::batch::Batched;
use slipway_runtime::ids::token_hash;
use slipway_store::StoreError;
use slipway_store::attempt_ends::Ended;
use slipway_store::claims::{Claim, ClaimWon};
use tracing::debug;

use crate::Deps;
use crate::claims::attempt_token;

/// Decides claims.
#[derive(Clone)]
pub struct Claims(pub Deps);

/// How a claim was decided; what it won comes with what is to be done.
pub type Decided = Result<Result<(ClaimWon, JobSpec), ClaimRefusal>, StoreError>;

impl Batched for Claims {
    const NAME: &'static str = "claims";
    type Ask = ClaimRequest;
    type Answer = Decided;

    fn size_bytes(_: &ClaimRequest) -> usize {
        size_of::<ClaimRequest>()
    }

    async fn answer(&self, requests: Vec<ClaimRequest>) -> Vec<Decided> {
        match self.decide(&requests).await {
            Ok(decided) => return decided.into_iter().map(Ok).collect(),
            Err(error) if requests.len() == 1 => return vec![Err(error)],
            Err(error) => debug!(%error, claims = requests.len(), "claims not decided together"),
        }
        let first = |all: Vec<_>| all.into_iter().next().unwrap_or(Err(ClaimRefusal::Gone));
        join_all(requests.iter().map(async |request| self.decide(std::slice::from_ref(request)).await.map(first))).await
    }
}

impl Claims {
    async fn decide(
        &self,
        requests: &[ClaimRequest],
    ) -> Result<Vec<Result<(ClaimWon, JobSpec), ClaimRefusal>>, StoreError> {
        let Deps { db, clock, secret_key, trust_tenants, .. } = &self.0;
        let now = db.now(clock).await?;
        let hash = |attempt, claim| token_hash(&attempt_token(secret_key, attempt, claim));
        let claims: Vec<Claim<'_>> = requests
            .iter()
            .map(|request| Claim { request: *request, one_tenant_per_shared_engine: !trust_tenants, token_hash: &hash })
            .collect();
        let decided = db.claim_jobs(&claims, now).await?;
        let won: Vec<_> = decided.iter().flatten().map(|won| won.attempt.job).collect();
        let specs = if won.is_empty() { HashMap::new() } else { db.job_specs(&won).await? };
        decided
            .into_iter()
            .map(|decision| match decision {
                Err(refusal) => Ok(Err(refusal)),
                Ok(won) => match specs.get(&won.attempt.job).cloned() {
                    Some(spec) => Ok(Ok((won, spec))),
                    None => Err(StoreError::NotFound("job")),
                },
            })
            .collect()
    }
}

/// Books last words.
#[derive(Clone)]
pub struct Finishes(pub Deps);

impl Batched for Finishes {
    const NAME: &'static str = "finishes";
    type Ask = (AttemptRef, Finish);
    type Answer = Result<Ended, StoreError>;

    fn size_bytes((_, finish): &Self::Ask) -> usize {
        size_of::<Finish>() + finish.failure.as_ref().map_or(0, |failure| failure.message.len())
    }

    async fn answer(&self, told: Vec<Self::Ask>) -> Vec<Self::Answer> {
        let finishes: Vec<_> = told.iter().map(|(attempt, finish)| (*attempt, finish)).collect();
        match self.book(&finishes).await {
            Ok(ended) => return ended.into_iter().map(Ok).collect(),
            Err(error) if told.len() == 1 => return vec![Err(error)],
            Err(error) => debug!(%error, finishes = told.len(), "finishes not booked together"),
        }
        let first = |all: Vec<_>| all.into_iter().next().unwrap_or(Ended::Stale);
        join_all(finishes.iter().map(async |finish| self.book(std::slice::from_ref(finish)).await.map(first))).await
    }
}

impl Finishes {
    async fn book(&self, finishes: &[(AttemptRef, &Finish)]) -> Result<Vec<Ended>, StoreError> {
        let now = self.0.db.now(&self.0.clock).await?;
        self.0.db.finish_attempts(finishes, now).await
    }
}
