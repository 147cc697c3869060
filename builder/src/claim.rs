//! From an offer to an attempt. A slot is reserved before the claim is sent; a claim whose answer was lost
//! is repeated under the same id and gets the same answer; a refusal is nothing to talk about.

use std::sync::Arc;
use std::time::Duration;

use slipway_bus::Delivery;
use slipway_domain::agent::{ClaimRefusal, ClaimRequest, Claimed, Offer};
use slipway_domain::ids::SessionId;
use slipway_domain::timing::LOST_AFTER_SILENCE;
use slipway_runtime::backoff::Backoff;
use slipway_runtime::ids::random_id;
use slipway_runtime::{clock::Clock, crash};
use tokio::sync::mpsc;
use tracing::{debug, info};

use crate::agent::Agent;
use crate::attempt;
use crate::client::{AgentClient, CallError, ClaimAnswer};

/// A claim without an answer is repeated at least this often: heartbeats list its attempt only afterwards.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// How claims were decided, on the way to the dispatcher that keeps our session.
pub type Answers = mpsc::UnboundedSender<(Offer, Option<ClaimRefusal>)>;

/// Where claims of a session's offers go.
#[derive(Clone)]
pub struct Claims {
    /// The session.
    pub session: SessionId,
    /// Its token.
    pub token: String,
    /// Told of every decision.
    pub answers: Answers,
}

/// Takes an offer if there is room for it now. A delivery from the pool's queue is acked once the claim is decided;
/// without room it goes back.
pub fn consider(agent: &Arc<Agent>, claims: &Claims, offer: Offer, delivery: Option<Delivery>) {
    let claim = random_id();
    let Some(slot) = agent.slots.reserve(claim) else {
        debug!(job.id = %offer.job, "offer without a free slot");
        return;
    };
    let claim = ClaimRequest { session: claims.session, job: offer.job, dispatch: offer.dispatch, claim };
    let (agent, claims) = (Arc::clone(agent), claims.clone());
    agent.clone().life.errand("attempt", async move {
        let decided = tokio::select! {
            decided = decide(&agent.client, &agent.clock, &claims.token, &claim) => decided,
            () = agent.life.killed() => None,
        };
        if let Some(decided) = &decided {
            // The session may be over; then nobody waits for it.
            let _ = claims.answers.send((offer, decided.as_ref().err().copied()));
        }
        if let Some(Ok(claimed)) = decided {
            crash::point("builder.claimed");
            if let Some(delivery) = delivery {
                delivery.ack().await;
            }
            crash::point("builder.acked");
            attempt::conduct(agent, *claimed, slot).await;
        } else if let Some(delivery) = delivery {
            // Refused, it is void for everybody: whoever may have the job gets another dispatch.
            delivery.ack().await;
        }
    });
}

/// Claims until there is an answer. Beyond the time after which a silent session is lost, a won claim
/// would be lost as well.
async fn decide(
    client: &AgentClient,
    clock: &Clock,
    token: &str,
    claim: &ClaimRequest,
) -> Option<Result<Box<Claimed>, ClaimRefusal>> {
    let began = clock.monotonic();
    let mut backoff = Backoff::new(Duration::from_millis(100), ASK_AGAIN);
    while clock.monotonic().duration_since(began) < LOST_AFTER_SILENCE {
        match client.claim(token, claim).await {
            Ok(ClaimAnswer::Won(claimed)) => {
                info!(job.id = %claimed.attempt.job, epoch = claimed.attempt.epoch, "job claimed");
                return Some(Ok(claimed));
            }
            Ok(ClaimAnswer::Refused(refusal)) => {
                debug!(job.id = %claim.job, ?refusal, "claim refused");
                // A newer dispatcher may have more reasons; the offer is over all the same.
                return Some(Err(refusal.unwrap_or(ClaimRefusal::Gone)));
            }
            Err(CallError::Refused { .. }) => return None,
            Err(CallError::Unavailable(reason)) => {
                debug!(job.id = %claim.job, reason, "claim without an answer");
                clock.sleep(backoff.pause()).await;
            }
        }
    }
    None
}
