//! Tells builders to stop what was cancelled, and whether an operator wants them to drain. Repeated until the rows
//! say that it happened, so a lost message costs a moment only.

use std::time::Duration;

use slipway_domain::agent::ToBuilder;

use crate::Dispatcher;

/// A cancel whose wake was lost is found by then.
const POLL: Duration = Duration::from_millis(500);

/// Runs until the process ends, also while it drains.
pub async fn run(dispatcher: Dispatcher) -> anyhow::Result<()> {
    loop {
        tokio::select! {
            () = dispatcher.deps.life.stopping() => return Ok(()),
            () = dispatcher.cancels.wait(POLL) => {}
        }
        if let Err(error) = tell_once(&dispatcher).await {
            tracing::error!(error = format!("{error:#}"), "cancels could not be passed on");
        }
    }
}

async fn tell_once(dispatcher: &Dispatcher) -> anyhow::Result<()> {
    let db = &dispatcher.deps.db;
    for (session, attempt) in db.cancelling_attempts().await? {
        dispatcher.fleet.tell(session, ToBuilder::Cancel { attempt });
    }
    for (session, drained) in db.untold_drains().await? {
        dispatcher.fleet.tell(session, if drained { ToBuilder::Drain } else { ToBuilder::Resume });
    }
    Ok(())
}
