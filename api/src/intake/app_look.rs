//! Deliveries of GitHub Apps that nobody took: GitHub does not repeat them by itself, but keeps them for some days and sends
//! them again when asked. They come in like any other, and what made its builds already is a duplicate.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use slipway_domain::event::ForgeKind;
use slipway_domain::ids::{GithubAppId, ProcessId};
use slipway_forges::api::ForgeError;
use slipway_forges::github::app::deliveries::FailedDelivery;
use slipway_runtime::ids::random_id;
use slipway_store::Scope;
use tracing::{debug, info, warn};

use crate::forge;
use crate::github_apps;
use crate::state::ApiState;

/// Longest call to GitHub.
const PATIENCE: Duration = Duration::from_secs(20);
/// A look with all its calls takes no longer.
const LEASE: TimeDelta = TimeDelta::minutes(10);
/// GitHub keeps deliveries for three days.
const KEPT: TimeDelta = TimeDelta::days(3);
/// What failed a moment ago may still be on its way.
const SETTLED: TimeDelta = TimeDelta::minutes(1);
/// Deliveries that one look asks for, the oldest first: with [`PATIENCE`] for each, well inside the lease.
const MAX_ASKED: usize = 25;
/// What failed so often fails by itself, such as one that nobody can read.
const MAX_TRIES: usize = 4;
/// Apps that one process looks at at the same time.
const AT_ONCE: i64 = 2;
/// How often an App is looked for that is due.
const PAUSE: Duration = Duration::from_secs(30);

/// Looks for as long as the process lives, unless the operator does not want it.
pub(super) fn start(state: &ApiState) {
    if let Some(every) = state.config.reconcile_every {
        state.life.spawn("failed deliveries", run(state.clone(), every));
    }
}

async fn run(state: ApiState, every: TimeDelta) -> anyhow::Result<()> {
    let owner: ProcessId = random_id();
    let pause = PAUSE.min(every.to_std().unwrap_or(PAUSE));
    while !state.life.is_stopping() {
        if let Err(error) = look_once(&state, (owner, every)).await {
            warn!(error = format!("{error:#}"), "failed deliveries could not be looked for");
        }
        tokio::select! {
            () = state.life.stopping() => {}
            () = state.clock.sleep(pause) => {}
        }
    }
    Ok(())
}

async fn look_once(state: &ApiState, (owner, every): (ProcessId, TimeDelta)) -> anyhow::Result<()> {
    let now = state.db.now(&state.clock).await?;
    for app in state.db.lease_github_apps(owner, now, LEASE, AT_ONCE).await? {
        let failed = match ask_again(state, app, now).await {
            Ok(0) => None,
            Ok(asked) => {
                info!(github_app.id = %app, asked, "deliveries that failed are sent again");
                None
            }
            Err(error) => {
                debug!(github_app.id = %app, error = format!("{error:#}"), "GitHub was not asked");
                let words = error.downcast_ref::<ForgeError>().map(ToString::to_string);
                Some(words.unwrap_or_else(|| "a fault of the service; its log tells more".to_owned()))
            }
        };
        state.db.finish_github_app(owner, app, failed.as_deref(), now + every).await?;
    }
    Ok(())
}

async fn ask_again(state: &ApiState, id: GithubAppId, now: DateTime<Utc>) -> anyhow::Result<usize> {
    let app = state.db.github_app(&Scope::Operator, id).await?;
    let upstream = forge::upstream(ForgeKind::Github, app.base_url.as_deref());
    let api = github_apps::api(state, id, PATIENCE).await.map_err(|error| anyhow::anyhow!("{error:?}"))?;
    let failed = forge::call(state.forges.ask(&upstream)?, api.failed_deliveries(now - KEPT)).await?;
    let mut asked = 0;
    let worth = |delivery: &&FailedDelivery| delivery.delivered_at < now - SETTLED && delivery.tries < MAX_TRIES;
    for delivery in failed.iter().rev().filter(worth).take(MAX_ASKED) {
        forge::call(state.forges.ask(&upstream)?, api.redeliver(delivery.id)).await?;
        asked += 1;
    }
    Ok(asked)
}
