//! Tags of leaves that were never returned: the holder vanished between the PUT and its word, or its PUT
//! never got an answer. The registry alone knows what the tag shows, so it is asked, with the credential of
//! the holder's tenant, and the row is made to say it. A registry that hangs keeps only its own leaves waiting. When the tag shows neither what the holder was
//! putting there nor what it showed before, a PUT of somebody who died even earlier came late; then the tag
//! is put back.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use slipway_domain::agent::Login;
use slipway_domain::failure::{Failure, FailureClass};
use slipway_domain::timing;
use slipway_registry::Registry;
use slipway_runtime::breaker::Rules;
use slipway_runtime::breakers::{Breakers, Kind, Limits, Permit};
use slipway_runtime::clock::Clock;
use slipway_store::unreturned_leaves::{Found, UnreturnedLeave};
use tracing::{error, info, warn};

use crate::{Deps, Dispatcher};

#[cfg(test)]
mod tests;

/// How often unreturned leaves are looked for.
const PAUSE: Duration = Duration::from_secs(5);
/// Leaves that are looked into at the same time, in all registries; each has its whole lease for it.
const AT_ONCE: usize = 16;
/// A registry is asked for this long. What was sent by then has arrived when the lease ends.
const LOOK: Duration = Duration::from_secs(timing::LEAVE_LEASE.as_secs() / 2);
/// A registry that does not answer is asked again until the holder's job ended so long ago.
const GIVE_UP_AFTER: TimeDelta = TimeDelta::hours(24);
/// One registry that hangs takes two places, any number of them half of all.
const LIMITS: Limits = Limits {
    rules: Rules { failures: 5, first_pause: Duration::from_secs(5), longest_pause: Duration::from_secs(60) },
    trusted_places: 4,
    doubtful_places: 2,
    all_doubtful_places: AT_ONCE / 2,
    remembered: 1024,
};

/// A leave that this process has taken over.
struct Look {
    leave: UnreturnedLeave,
    /// To ask the registry; `None` when it is out and was for so long that nobody waits any more.
    permit: Option<Permit>,
}

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

/// The breakers of all registries.
pub fn breakers(clock: Clock) -> Breakers {
    Breakers::new(Kind::Registry, LIMITS, clock)
}

/// Runs until the process stops. Rows that are let go of then are due again when their leases are over.
pub async fn run(dispatcher: Dispatcher) -> anyhow::Result<()> {
    let Dispatcher { deps, registries, .. } = dispatcher;
    let mut under_way = FuturesUnordered::new();
    loop {
        tokio::select! {
            () = deps.life.stopping() => return Ok(()),
            () = deps.clock.sleep(PAUSE) => {}
            Some(ended) = under_way.next() => if let Err(error) = ended {
                error!(%error, "a tag was not settled");
            }
        }
        match take(&deps, &registries, AT_ONCE.saturating_sub(under_way.len())).await {
            Ok(looks) => under_way.extend(looks.into_iter().map(|look| {
                let deps = deps.clone();
                deps.life.clone().task("unreturned leave", async move { look.settle(&deps).await }).join()
            })),
            Err(error) => error!(error = format!("{error:#}"), "unreturned leaves could not be looked for"),
        }
    }
}

/// Takes over the leaves that are due and have a place at their registry, at most `room`.
async fn take(deps: &Deps, registries: &Breakers, room: usize) -> anyhow::Result<Vec<Look>> {
    if room == 0 {
        return Ok(Vec::new());
    }
    let now = deps.db.now(&deps.clock).await?;
    let mut places = HashMap::new();
    let mut due = deps.db.due_leaves(now).await?;
    due.retain(|leave| {
        if places.len() == room {
            return false;
        }
        let permit = registries.reserve(&leave.registry);
        if permit.is_none() && !(registries.is_out(&leave.registry) && is_forgotten(leave.job_finished_at, now)) {
            return false;
        }
        places.insert((leave.registry.clone(), leave.repository.clone(), leave.tag.clone()), permit);
        true
    });
    let taken = deps.db.take_leaves(now, due).await?;
    // Places of what somebody else has taken meanwhile are free again.
    let looks = taken.into_iter().map(|leave| {
        let place = (leave.registry.clone(), leave.repository.clone(), leave.tag.clone());
        Look { permit: places.remove(&place).flatten(), leave }
    });
    Ok(looks.collect())
}

impl Look {
    async fn settle(self, deps: &Deps) {
        let Self { leave, permit } = self;
        if let Err(error) = settle(deps, &leave, permit).await {
            // The row is due again when its lease is over.
            error!(job.id = %leave.job, tag = leave.tag, error = format!("{error:#}"), "a tag was not settled");
        }
    }
}

async fn settle(deps: &Deps, leave: &UnreturnedLeave, permit: Option<Permit>) -> anyhow::Result<()> {
    let found = match permit {
        None => Found::NotMoved,
        Some(permit) => match look(deps, leave, permit).await? {
            Ok(found) => found,
            Err(failure) => {
                // The registry's own words stay out of our log.
                warn!(job.id = %leave.job, registry = leave.registry, tag = leave.tag, class = %failure.class,
                    "a registry does not say what a tag shows");
                let now = deps.db.now(&deps.clock).await?;
                if !failure.class.is_registry_refusal() && !is_forgotten(leave.job_finished_at, now) {
                    return Ok(());
                }
                Found::NotMoved
            }
        },
    };
    if deps.db.settle_unreturned_leave(leave, found).await? {
        info!(job.id = %leave.job, registry = leave.registry, repository = leave.repository, tag = leave.tag,
            ?found, "unreturned leave settled");
    }
    Ok(())
}

/// Asks the registry and, where needed, puts the tag back. The outer error is ours, the inner one the
/// registry's.
async fn look(deps: &Deps, leave: &UnreturnedLeave, permit: Permit) -> anyhow::Result<Result<Found, Failure>> {
    let logins = deps.db.registry_credentials(&deps.secret_key, leave.tenant).await.context("read the credential")?;
    let login = logins
        .into_iter()
        .find(|known| known.host == leave.registry)
        .map(|known| Login { user: known.username, password: known.password });
    let asked = tokio::time::timeout(LOOK, ask(deps, leave, login.as_ref())).await;
    let asked = asked.unwrap_or_else(|_| {
        Err(Failure::new(FailureClass::RegistryUnreachable, format!("no answer within {} s", LOOK.as_secs())))
    });
    match &asked {
        Err(failure) if failure.class == FailureClass::RegistryUnreachable => permit.failed(),
        Ok(_) | Err(_) => permit.answered(),
    }
    Ok(asked)
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

/// True when the holder's job ended so long ago that nobody waits any more.
fn is_forgotten(job_finished_at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> bool {
    job_finished_at.is_some_and(|ended| now - ended > GIVE_UP_AFTER)
}
