//! Offers that their builder does not want: the row goes back to `ready` at once, so that somebody else gets the
//! job without waiting for the dispatch's deadline. Who dies before that loses those seconds only.

use slipway_domain::agent::{Decline, Offer};
use slipway_store::sessions::Session;
use tracing::{debug, warn};

use crate::Dispatcher;

/// Takes an offer back from a session that does not want it.
pub async fn declined(dispatcher: &Dispatcher, session: &Session, offer: Offer, reason: Decline) {
    let delivery = dispatcher.fleet.declined(session.id, offer.dispatch);
    match take_back(dispatcher, offer).await {
        Ok(true) => {
            debug!(job.id = %offer.job, session.id = %session.id, ?reason, "offer declined");
            dispatcher.offers.ring();
        }
        Ok(false) => {}
        Err(error) => {
            let error = format!("{error:#}");
            warn!(job.id = %offer.job, error, "declined offer not taken back; its deadline brings it back");
        }
    }
    // The row is on its way again under another dispatch; this one is void.
    if let Some(delivery) = delivery {
        delivery.ack().await;
    }
}

/// Takes back what nobody waits for any more: its channel closed, or it was not decided in time.
pub async fn abandoned(dispatcher: &Dispatcher, offers: Vec<Offer>) {
    for offer in offers {
        match take_back(dispatcher, offer).await {
            Ok(true) => {
                debug!(job.id = %offer.job, "no word of an offer");
                dispatcher.offers.ring();
            }
            Ok(false) => {}
            Err(error) => {
                let error = format!("{error:#}");
                warn!(job.id = %offer.job, error, "offer not taken back; its deadline brings it back");
            }
        }
    }
}

/// Makes an undecided offer void and its job ready for the next one. False when it was decided after all: whoever
/// claims it now and whoever takes it back meet at its row, where the first one wins.
async fn take_back(dispatcher: &Dispatcher, offer: Offer) -> anyhow::Result<bool> {
    let deps = &dispatcher.deps;
    let now = deps.db.now(&deps.clock).await?;
    Ok(deps.db.decline_job(offer.job, offer.dispatch, now).await?)
}
