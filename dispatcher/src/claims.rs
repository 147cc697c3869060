//! Claims: one compare-and-set in the store decides; here only words are exchanged.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use slipway_domain::agent::{ClaimRefusal, ClaimRequest, Claimed};
use slipway_domain::attempt::AttemptRef;
use slipway_domain::ids::ClaimId;
use slipway_live::Topic;
use slipway_runtime::ids::token_hash;
use slipway_runtime::problem::{ApiError, JsonBody, bearer};
use slipway_store::attempts::Claim;
use tracing::{debug, info};

use crate::Dispatcher;
use crate::auth::{refused, store_error};

#[derive(Serialize)]
struct Refusal {
    refusal: ClaimRefusal,
}

/// `POST /agent/v1/claims`
pub async fn claim(
    State(dispatcher): State<Dispatcher>,
    headers: HeaderMap,
    JsonBody(request): JsonBody<ClaimRequest>,
) -> Result<Response, ApiError> {
    let deps = &dispatcher.deps;
    let token = bearer(&headers).ok_or_else(refused)?;
    let session = deps.db.session_by_token(request.session, &token_hash(token)).await.map_err(store_error)?;
    if session.is_none() {
        return Err(refused());
    }
    let now = deps.db.now(&deps.clock).await.map_err(store_error)?;
    let key = deps.secret_key.clone();
    let claim = Claim {
        request,
        one_tenant_per_shared_engine: !deps.trust_tenants,
        token_hash: &move |attempt, claim| token_hash(&attempt_token(&key, attempt, claim)),
    };
    let decided = deps.db.claim_job(&claim, now).await.map_err(store_error)?;
    dispatcher.fleet.decided(request.session, request.dispatch, decided.is_ok());
    let won = match decided {
        Ok(won) => won,
        Err(refusal) => {
            debug!(job.id = %request.job, ?refusal, "claim refused");
            if refusal == ClaimRefusal::Tenant {
                let job = deps.db.job(request.job).await.map_err(store_error)?;
                dispatcher.fleet.refuses(request.session, job.tenant_id);
            }
            // Its slot is free for the next offer.
            dispatcher.offers.ring();
            return Ok((StatusCode::CONFLICT, Json(Refusal { refusal })).into_response());
        }
    };
    info!(job.id = %won.attempt.job, epoch = won.attempt.epoch, session.id = %request.session, "job claimed");
    let spec = deps.db.job_spec(won.attempt.job).await.map_err(store_error)?;
    deps.live.publish(Topic::Build(spec.build), Default::default());
    dispatcher.jobs_changed();
    let claimed = Claimed {
        attempt: won.attempt,
        token: attempt_token(&deps.secret_key, won.attempt, request.claim),
        spec,
        timeout_secs: u64::try_from(won.timeout_secs).unwrap_or(0),
    };
    Ok(Json(claimed).into_response())
}

/// Can be made again for a repeated claim, so it is never stored.
fn attempt_token(key: &slipway_runtime::secret_key::SecretKey, attempt: AttemptRef, claim: ClaimId) -> String {
    key.derive_token("sla", &format!("attempt:{}:{}:{claim}", attempt.job, attempt.epoch))
}
