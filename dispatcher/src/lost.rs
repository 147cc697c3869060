//! Lost builders: silence or a closed channel ends a session, and its jobs are tried again elsewhere.
//!
//! Two guards against a loss that is ours: after a start or trouble with the database, two heartbeat periods
//! of committed renewals must pass first; and when many sessions would be lost at once, only a few are per
//! pass, and an alarm is raised. Fencing makes a wrong loss safe; the guards keep it rare.

use chrono::TimeDelta;
use slipway_domain::agent::ToBuilder;
use slipway_domain::attempt::AttemptOutcome;
use slipway_domain::timing;
use tracing::{error, warn};

use crate::{Dispatcher, tally};

/// Below this many losses the breaker never trips.
const BREAKER_MIN: usize = 10;
/// Above this share of the open sessions it trips.
const BREAKER_SHARE: f64 = 0.2;
/// Losses per pass while it is tripped.
const BREAKER_RATE: usize = 1;

/// Runs until the process stops.
pub async fn run(dispatcher: Dispatcher) -> anyhow::Result<()> {
    loop {
        tokio::select! {
            () = dispatcher.deps.life.stopping() => return Ok(()),
            () = dispatcher.deps.clock.sleep(timing::RENEWAL_BATCH) => {}
        }
        if let Err(error) = lose_once(&dispatcher).await {
            error!(error = format!("{error:#}"), "lost builders could not be worked");
        }
    }
}

async fn lose_once(dispatcher: &Dispatcher) -> anyhow::Result<()> {
    let deps = &dispatcher.deps;
    let now = deps.db.now(&deps.clock).await?;
    let Some(since) = dispatcher.renewals.healthy_since(now) else { return Ok(()) };
    if now - since < TimeDelta::from_std(timing::LOSS_GRACE)? {
        return Ok(());
    }
    let silent_before = now - TimeDelta::from_std(timing::LOST_AFTER_SILENCE)?;
    let closed_before = now - TimeDelta::from_std(timing::LOST_AFTER_CLOSE)?;
    let overdue = deps.db.overdue_sessions(silent_before, closed_before).await?;
    if overdue.is_empty() {
        return Ok(());
    }
    let open = deps.db.open_session_count().await?;
    let allowed = losses_allowed(overdue.len(), open);
    if allowed < overdue.len() {
        error!(overdue = overdue.len(), open, "many builders vanished at once; losing them slowly");
    }
    let mut left = allowed;
    for session in overdue {
        if left == 0 {
            break;
        }
        match deps.db.lose_session(session, now).await {
            Ok(Some(lost)) => {
                left -= 1;
                tally::builder_lost();
                tally::attempts_ended(AttemptOutcome::Lost, lost.attempts.len());
                warn!(session.id = %session, builder.id = %lost.builder, jobs = lost.attempts.len(), "builder lost");
                let reason = "this session was lost".to_owned();
                dispatcher.fleet.tell(session, ToBuilder::Closed { reason });
                dispatcher.jobs_changed();
            }
            Ok(None) => {}
            // It takes no place of those behind it.
            Err(error) => error!(session.id = %session, %error, "a lost builder could not be booked"),
        }
    }
    Ok(())
}

/// How many of the overdue sessions may be lost in this pass.
fn losses_allowed(overdue: usize, open: i64) -> usize {
    let share = (open as f64 * BREAKER_SHARE) as usize;
    if overdue > BREAKER_MIN.max(share) { BREAKER_RATE } else { overdue }
}

#[cfg(test)]
mod tests {
    use super::losses_allowed;

    #[test]
    fn a_mass_loss_is_slow_and_a_small_one_is_not() {
        assert_eq!(losses_allowed(10, 10), 10);
        assert_eq!(losses_allowed(11, 20), 1);
        assert_eq!(losses_allowed(150, 1000), 150);
        assert_eq!(losses_allowed(250, 1000), 1);
    }
}
