//! From an offer to an attempt. A slot is reserved before the claim is sent; a claim whose answer was lost
//! is repeated under the same id and gets the same answer; a refusal is nothing to talk about.

use std::sync::Arc;
use std::time::Duration;

use slipway_domain::agent::{ClaimRequest, Claimed, Offer, SessionOpened};
use slipway_domain::timing::LOST_AFTER_SILENCE;
use slipway_runtime::ids::random_id;
use slipway_runtime::{clock::Clock, crash};
use tracing::{debug, info};

use crate::agent::Agent;
use crate::attempt;
use crate::backoff::Backoff;
use crate::client::{AgentClient, CallError, ClaimAnswer};

/// A claim without an answer is repeated at least this often: heartbeats list its attempt only afterwards.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Takes an offer if there is room for it now; what is not taken is offered again elsewhere.
pub fn consider(agent: &Arc<Agent>, opened: &SessionOpened, offer: Offer) {
    if *agent.draining.borrow() || agent.readiness.borrow().not_taking.is_some() {
        return;
    }
    let claim = random_id();
    let Some(slot) = agent.slots.reserve(claim) else {
        debug!(job.id = %offer.job, "offer without a free slot");
        return;
    };
    let claim = ClaimRequest { session: opened.session, job: offer.job, dispatch: offer.dispatch, claim };
    let (agent, token) = (Arc::clone(agent), opened.token.clone());
    agent.clone().life.errand("attempt", async move {
        let claimed = tokio::select! {
            claimed = win(&agent.client, &agent.clock, &token, &claim) => claimed,
            () = agent.life.killed() => None,
        };
        if let Some(claimed) = claimed {
            crash::point("builder.claimed");
            attempt::conduct(agent, claimed, slot).await;
        }
    });
}

/// Claims until there is an answer. Beyond the time after which a silent session is lost, a won claim
/// would be lost as well.
async fn win(client: &AgentClient, clock: &Clock, token: &str, claim: &ClaimRequest) -> Option<Claimed> {
    let began = clock.monotonic();
    let mut backoff = Backoff::new(Duration::from_millis(100), ASK_AGAIN);
    while clock.monotonic().duration_since(began) < LOST_AFTER_SILENCE {
        match client.claim(token, claim).await {
            Ok(ClaimAnswer::Won(claimed)) => {
                info!(job.id = %claimed.attempt.job, epoch = claimed.attempt.epoch, "job claimed");
                return Some(*claimed);
            }
            Ok(ClaimAnswer::Refused(refusal)) => {
                debug!(job.id = %claim.job, ?refusal, "claim refused");
                return None;
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
