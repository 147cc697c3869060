//! Claims: one compare-and-set in the store decides; here only words are exchanged.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use slipway_domain::agent::{ClaimRefusal, ClaimRequest, Claimed, Offer};
use slipway_domain::attempt::AttemptRef;
use slipway_domain::ids::{ClaimId, DispatchId, SessionId};
use slipway_live::Topic;
use slipway_runtime::crash;
use slipway_runtime::ids::token_hash;
use slipway_runtime::problem::{ApiError, JsonBody, bearer};
use slipway_store::StoreError;
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
    let hash = token_hash(bearer(&headers).ok_or_else(refused)?);
    // A session of this process showed its token when its channel opened.
    if !dispatcher.fleet.is_session(request.session, &hash)
        && deps.db.session_by_token(request.session, &hash).await.map_err(store_error)?.is_none()
    {
        return Err(refused());
    }
    let decided = dispatcher.claims.ask(request).await?.map_err(store_error)?;
    settled(&dispatcher, request.session, request.dispatch, decided.is_ok()).await;
    let (won, spec) = match decided {
        Ok(won) => won,
        Err(refusal) => {
            debug!(job.id = %request.job, ?refusal, "claim refused");
            not_for(&dispatcher, request, refusal).await.map_err(store_error)?;
            // Its slot is free for the next offer.
            dispatcher.offers.ring();
            return Ok((StatusCode::CONFLICT, Json(Refusal { refusal })).into_response());
        }
    };
    info!(job.id = %won.attempt.job, epoch = won.attempt.epoch, session.id = %request.session, "job claimed");
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

/// A builder heard how its claim was decided, perhaps by another dispatcher.
pub async fn answered(dispatcher: &Dispatcher, session: SessionId, offer: Offer, refusal: Option<ClaimRefusal>) {
    settled(dispatcher, session, offer.dispatch, refusal.is_none()).await;
    if refusal == Some(ClaimRefusal::Tenant)
        && let Ok(job) = dispatcher.deps.db.job(offer.job).await
    {
        dispatcher.fleet.refuses(session, job.tenant_id);
    }
    if refusal.is_some() {
        dispatcher.offers.ring();
    }
}

/// Frees what the offer held here, if it was handed out here.
async fn settled(dispatcher: &Dispatcher, session: SessionId, dispatch: DispatchId, won: bool) {
    if let Some(delivery) = dispatcher.fleet.decided(session, dispatch, won) {
        crash::point("claim.before_ack");
        delivery.ack().await;
    }
}

/// The offer went to a builder that may not have the job: somebody else gets it at once, and not from the pool's queue,
/// where more of those may wait that no dispatcher knows of.
pub(crate) async fn not_for(
    dispatcher: &Dispatcher,
    request: ClaimRequest,
    refusal: ClaimRefusal,
) -> Result<(), StoreError> {
    let deps = &dispatcher.deps;
    match refusal {
        ClaimRefusal::Gone | ClaimRefusal::Session | ClaimRefusal::Other => return Ok(()),
        ClaimRefusal::Avoided => {}
        ClaimRefusal::Tenant => {
            let job = deps.db.job(request.job).await?;
            dispatcher.fleet.refuses(request.session, job.tenant_id);
        }
    }
    let now = deps.db.now(&deps.clock).await?;
    deps.db.refuse_job(request.job, request.dispatch, request.session, now).await.map(|_| ())
}

/// Can be made again for a repeated claim, so it is never stored.
pub fn attempt_token(key: &slipway_runtime::secret_key::SecretKey, attempt: AttemptRef, claim: ClaimId) -> String {
    key.derive_token("sla", &format!("attempt:{}:{}:{claim}", attempt.job, attempt.epoch))
}

#[cfg(test)]
mod tests;
