//! Tags of leaves that were never returned: the holder vanished between the PUT and its word, or its PUT
//! never got an answer. The registry alone knows what the tag shows, so it is asked, with the credential of
//! the holder's tenant, and the row is made to say it. When the tag shows neither what the holder was
//! putting there nor what it showed before, a PUT of somebody who died even earlier came late; then the tag
//! is put back.

use std::time::Duration;

use anyhow::Context as _;
use chrono::TimeDelta;
use futures_util::{StreamExt as _, stream};
use slipway_domain::agent::Login;
use slipway_domain::failure::{Failure, FailureClass};
use slipway_domain::timing;
use slipway_registry::Registry;
use slipway_store::unreturned_leaves::{Found, UnreturnedLeave};
use tracing::{error, info, warn};

use crate::{Deps, Dispatcher};

#[cfg(test)]
mod tests;

/// How often unreturned leaves are looked for.
const PAUSE: Duration = Duration::from_secs(5);
/// Leaves of one pass; all are looked into at the same time, so that each has its whole lease for it.
const BATCH: i64 = 16;
/// A registry is asked for this long. What was sent by then has arrived when the lease ends.
const LOOK: Duration = Duration::from_secs(timing::LEAVE_LEASE.as_secs() / 2);
/// A registry that does not answer is asked again until the holder's job ended so long ago.
const GIVE_UP_AFTER: TimeDelta = TimeDelta::hours(24);

/// What is to be done about a tag.
#[derive(Debug, PartialEq, Eq)]
enum Verdict<'a> {
    /// Book that it shows the holder's build.
    Book,
    /// The row says what it shows, or nothing does.
    LetGo,
    /// Put this digest back.
    Restore(&'a str),
}

/// Runs until the process stops.
pub async fn run(dispatcher: Dispatcher) -> anyhow::Result<()> {
    let deps = &dispatcher.deps;
    loop {
        tokio::select! {
            () = deps.life.stopping() => return Ok(()),
            () = deps.clock.sleep(PAUSE) => {}
        }
        tokio::select! {
            // Rows that are dropped here are due again when their leases are over.
            () = deps.life.stopping() => return Ok(()),
            swept = sweep_once(deps) => if let Err(error) = swept {
                error!(error = format!("{error:#}"), "unreturned leaves could not be looked for");
            }
        }
    }
}

/// Looks into the leaves that are due, at most one batch.
async fn sweep_once(deps: &Deps) -> anyhow::Result<()> {
    let now = deps.db.now(&deps.clock).await?;
    let leaves = deps.db.take_unreturned_leaves(now, BATCH).await?;
    let all = leaves.len().max(1);
    stream::iter(leaves)
        .for_each_concurrent(all, async |leave| {
            if let Err(error) = settle(deps, &leave).await {
                // The row is due again when its lease is over.
                error!(job.id = %leave.job, tag = leave.tag, error = format!("{error:#}"), "a tag was not settled");
            }
        })
        .await;
    Ok(())
}

async fn settle(deps: &Deps, leave: &UnreturnedLeave) -> anyhow::Result<()> {
    let found = match look(deps, leave).await? {
        Ok(found) => found,
        Err(failure) => {
            // The registry's own words stay out of our log.
            warn!(job.id = %leave.job, registry = leave.registry, tag = leave.tag, class = %failure.class,
                "a registry does not say what a tag shows");
            if !is_final(failure.class) && !gave_up(deps, leave).await? {
                return Ok(());
            }
            Found::NotMoved
        }
    };
    if deps.db.settle_unreturned_leave(leave, found).await? {
        info!(job.id = %leave.job, registry = leave.registry, repository = leave.repository, tag = leave.tag,
            ?found, "unreturned leave settled");
    }
    Ok(())
}

/// Asks the registry and, where needed, puts the tag back. The outer error is ours, the inner one the
/// registry's.
async fn look(deps: &Deps, leave: &UnreturnedLeave) -> anyhow::Result<Result<Found, Failure>> {
    let logins = deps.db.registry_credentials(&deps.secret_key, leave.tenant).await.context("read the credential")?;
    let login = logins
        .into_iter()
        .find(|known| known.host == leave.registry)
        .map(|known| Login { user: known.username, password: known.password });
    let asked = tokio::time::timeout(LOOK, ask(deps, leave, login.as_ref())).await;
    Ok(asked.unwrap_or_else(|_| {
        Err(Failure::new(FailureClass::RegistryUnreachable, format!("no answer within {} s", LOOK.as_secs())))
    }))
}

async fn ask(deps: &Deps, leave: &UnreturnedLeave, login: Option<&Login>) -> Result<Found, Failure> {
    let repository = format!("{}/{}", leave.registry, leave.repository);
    let registry = Registry::connect(&deps.egress, &repository, login).await?;
    let shows = registry.digest(&leave.tag).await?;
    let before = (leave.shown_digest.as_deref(), leave.shown_is_newer);
    match verdict(&leave.holder_digest, before, shows.as_deref()) {
        Verdict::Book => Ok(Found::Moved),
        Verdict::LetGo => Ok(Found::NotMoved),
        Verdict::Restore(digest) => {
            let manifest = registry.manifest(digest).await?;
            registry.put_tag(&leave.tag, &manifest, LOOK).await?;
            warn!(job.id = %leave.job, repository, tag = leave.tag, digest, "tag put back to the newest build");
            Ok(Found::NotMoved)
        }
    }
}

/// From the holder's digest, the one shown before with whether it is of a newer build, and the one shown now.
fn verdict<'a>(holders: &str, (before, newer): (Option<&'a str>, bool), shows: Option<&str>) -> Verdict<'a> {
    // A tag that is gone was deleted by somebody who may; it is not made again.
    let Some(shows) = shows else { return Verdict::LetGo };
    if holders == shows && !newer {
        return Verdict::Book;
    }
    match before {
        Some(before) if before != shows => Verdict::Restore(before),
        Some(_) | None => Verdict::LetGo,
    }
}

/// True when asking again changes nothing.
fn is_final(class: FailureClass) -> bool {
    matches!(class, FailureClass::RegistryAuth | FailureClass::RegistryDenied)
}

async fn gave_up(deps: &Deps, leave: &UnreturnedLeave) -> anyhow::Result<bool> {
    let now = deps.db.now(&deps.clock).await?;
    Ok(leave.job_finished_at.is_some_and(|ended| now - ended > GIVE_UP_AFTER))
}
