//! What forges lose: GitHub never delivers twice, GitLab says nothing of a push of many refs, Bitbucket nothing of a large
//! one. A quiet loop looks at the branches and tags of each active project, and makes the builds that are owed.
//!
//! The first look of a project, and the first after a pause, only notes what is there. What is known is read before the
//! forge is asked, and a finding is made against that version of the ref's row: whatever a delivery moved meanwhile is
//! left to the next look.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use metrics::counter;
use slipway_domain::build::Trigger;
use slipway_domain::event::skip_marker;
use slipway_domain::failure::FailureClass;
use slipway_domain::git_ref::GitRef;
use slipway_domain::ids::ProcessId;
use slipway_domain::spec::BuildOptions;
use slipway_domain::tenant::ProjectState;
use slipway_domain::timing;
use slipway_git::{Remote, RemoteRef};
use slipway_runtime::ids::random_id;
use slipway_store::builds::RefOrder;
use slipway_store::projects::Project;
use slipway_store::reconciliations::{FoundRef, KnownRef, LeasedLook};
use slipway_store::{Scope, StoreError};
use tracing::{debug, error, info, warn};

use crate::forge;
use crate::intake::asking::{Asking, QUESTIONS};
use crate::intake::rules::RefMoved;
use crate::intake::work::make;
use crate::new_build::WantedBuild;
use crate::state::ApiState;

/// Projects that one process looks at at the same time.
const AT_ONCE: i64 = 4;
/// Longest time for the refs of one repository.
const PATIENCE: Duration = Duration::from_secs(20);
/// A look with all its builds takes no longer; another process takes it over then.
const LEASE: TimeDelta = TimeDelta::minutes(10);
/// Refs that one look asks about and builds; what more is owed comes with the next, at once.
const MAX_OWED: usize = 50;
/// Refs that are noted with one flush, so that the inbox never waits long.
const NOTED_AT_ONCE: usize = 500;
/// A repository that cannot be looked at is left alone for at most so long.
const LONGEST_PAUSE: TimeDelta = TimeDelta::hours(6);

/// Starts looking for as long as the process lives, unless the operator does not want it.
pub(super) fn start(state: &ApiState) {
    if let Some(every) = state.config.reconcile_every {
        state.life.spawn("reconcile", run(state.clone(), every));
    }
}

async fn run(state: ApiState, every: TimeDelta) -> anyhow::Result<()> {
    let owner: ProcessId = random_id();
    loop {
        let looked = match state.db.now(&state.clock).await {
            Ok(now) => reconcile_once(&state, (owner, every), now).await,
            Err(error) => Err(error.into()),
        };
        let full = match looked {
            Ok(count) => i64::try_from(count).is_ok_and(|count| count == AT_ONCE),
            Err(error) => {
                error!(error = format!("{error:#}"), "projects could not be looked at");
                false
            }
        };
        tokio::select! {
            () = state.life.stopping() => return Ok(()),
            () = state.clock.sleep(timing::POLL), if !full => {}
            () = std::future::ready(()), if full => {}
        }
    }
}

/// Looks at the projects that are due, at most [`AT_ONCE`]; returns how many there were.
pub(crate) async fn reconcile_once(
    state: &ApiState,
    (owner, every): (ProcessId, TimeDelta),
    now: DateTime<Utc>,
) -> anyhow::Result<usize> {
    let leased = state.db.lease_looks(owner, now, LEASE, AT_ONCE).await?;
    let looks = leased.iter().map(async |look| {
        let project = look.project_id;
        let (failed, pause) = match look_at(state, look, now).await {
            Ok(Looked::Whole) => (None, every),
            Ok(Looked::InPart) => (None, TimeDelta::zero()),
            Err(error) => {
                debug!(project.id = %project, error = format!("{error:#}"), "the repository's refs could not be looked at");
                (Some(words_of(&error)), pause_after(every, look.failures))
            }
        };
        match state.db.finish_look(owner, project, failed.as_deref(), (now, now + pause)).await {
            Ok(()) => {}
            Err(StoreError::Stale(_)) => info!(project.id = %project, "the look went elsewhere"),
            // The lease ends by itself.
            Err(error) => warn!(project.id = %project, %error, "the end of a look could not be stored"),
        }
    });
    join_all(looks).await;
    Ok(leased.len())
}

/// How far a look came.
enum Looked {
    Whole,
    /// There is more that is owed.
    InPart,
}

fn pause_after(every: TimeDelta, failures: i64) -> TimeDelta {
    let doublings = u32::try_from(failures.clamp(0, 16)).unwrap_or_default();
    every.checked_mul(1 << doublings).unwrap_or(LONGEST_PAUSE).min(LONGEST_PAUSE.max(every))
}

async fn look_at(state: &ApiState, look: &LeasedLook, now: DateTime<Utc>) -> anyhow::Result<Looked> {
    let project = state.db.project(&Scope::Operator, look.project_id).await.context("read the project")?;
    if project.state == ProjectState::Paused {
        return Ok(Looked::Whole);
    }
    let known = state.db.known_refs(project.id).await.context("read what is known")?;
    let remote = list(state, &project).await?;
    let project = state.db.project(&Scope::Operator, project.id).await.context("read the project again")?;
    if project.state == ProjectState::Paused {
        return Ok(Looked::Whole);
    }
    let different = differences(&known, remote);
    // What only is to be noted asks nobody, however many refs there are.
    let (owed, noted): (Vec<_>, Vec<_>) = different
        .iter()
        .partition(|moved| look.noted_at.is_some() && moved.now.is_some() && project.rules.builds(&moved.git_ref));
    for noted in noted.chunks(NOTED_AT_ONCE) {
        note(state, &project, noted, now).await?;
    }
    for moved in owed.iter().take(MAX_OWED) {
        if !build(state, &project, moved, now).await? {
            note(state, &project, std::slice::from_ref(moved), now).await?;
        }
    }
    Ok(if owed.len() > MAX_OWED { Looked::InPart } else { Looked::Whole })
}

async fn note(state: &ApiState, project: &Project, moved: &[&Difference], now: DateTime<Utc>) -> anyhow::Result<()> {
    let found: Vec<FoundRef<'_>> = moved
        .iter()
        .map(|moved| FoundRef {
            git_ref: &moved.git_ref,
            version: moved.known.as_ref().map(|known| known.version),
            head: moved.now.as_ref().map(|now| now.target.as_str()),
        })
        .collect();
    state.db.note_found(project.id, &found, now).await.context("note refs").map(drop)
}

/// Why a look failed, in words for whoever owns the project.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct CannotLook(String);

fn words_of(error: &anyhow::Error) -> String {
    match error.downcast_ref::<CannotLook>() {
        Some(words) => words.to_string(),
        None => "a fault of the service; its log tells more".to_owned(),
    }
}

/// The branches and tags of the repository, through the breaker of its host.
async fn list(state: &ApiState, project: &Project) -> anyhow::Result<Vec<RemoteRef>> {
    let login = forge::clone_login(state, project).await.context("the connection's credential")?;
    let host = slipway_git::parse_clone_url(&project.clone_url).map(|url| {
        let (host, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default());
        format!("{}://{host}:{port}", url.scheme())
    });
    let permit = host.map(|host| state.forges.ask(&host)).map_err(|failure| CannotLook(failure.message))?;
    let permit = permit.map_err(|_| CannotLook("the repository's host did not answer lately".to_owned()))?;
    let remote = Remote { clone_url: &project.clone_url, login: login.as_ref(), timeout: PATIENCE };
    match slipway_git::ls_remote(&state.egress, &remote).await {
        Ok(refs) => {
            permit.answered();
            Ok(refs)
        }
        Err(failure) => {
            match failure.class {
                FailureClass::SourceUnreachable => permit.failed(),
                _ => permit.answered(),
            }
            Err(CannotLook(failure.message).into())
        }
    }
}

/// A ref that points elsewhere than we were told.
#[derive(Debug, PartialEq, Eq)]
struct Difference {
    git_ref: GitRef,
    known: Option<KnownRef>,
    /// `None` if it is gone.
    now: Option<RemoteRef>,
}

/// What is different now, branches and tags only, in the order of their names.
fn differences(known: &[KnownRef], remote: Vec<RemoteRef>) -> Vec<Difference> {
    let built = |name: &str| GitRef::parse(name).ok().filter(|name| name.branch().is_some() || name.tag().is_some());
    let mut known: BTreeMap<&str, &KnownRef> = known.iter().map(|known| (known.git_ref.as_str(), known)).collect();
    let mut different = Vec::new();
    for now in remote {
        let before = known.remove(now.name.as_str());
        // Some forges tell of an annotated tag by its commit.
        let is_known = |head: &String| *head == now.target || *head == now.commit;
        if before.and_then(|known| known.head.as_ref()).is_some_and(is_known) {
            continue;
        }
        let Some(git_ref) = built(&now.name) else { continue };
        different.push(Difference { git_ref, known: before.cloned(), now: Some(now) });
    }
    for gone in known.into_values().filter(|known| known.head.is_some()) {
        let Some(git_ref) = built(&gone.git_ref) else { continue };
        different.push(Difference { git_ref, known: Some(gone.clone()), now: None });
    }
    different
}

/// Makes the build that is owed for a ref. False if the project's rules or the commit itself do not want it.
async fn build(state: &ApiState, project: &Project, moved: &Difference, now: DateTime<Utc>) -> anyhow::Result<bool> {
    let Some(RemoteRef { target, commit, .. }) = &moved.now else { return Ok(false) };
    let known = moved.known.as_ref().and_then(|known| known.head.clone());
    let until = state.clock.monotonic() + QUESTIONS;
    let asking = Asking { state, project, commit, until };
    let told = RefMoved { git_ref: moved.git_ref.clone(), before: known.clone(), after: Some(commit.clone()) };
    let message = asking.message().await;
    if message.as_deref().and_then(skip_marker).is_some() || asking.leaves_out_push(&told).await.is_some() {
        return Ok(false);
    }
    let version = moved.known.as_ref().map_or(0, |known| known.version);
    let is_tag = moved.git_ref.tag().is_some();
    let wanted = WantedBuild {
        trigger: if is_tag { Trigger::Tag } else { Trigger::Push },
        git_ref: Some(moved.git_ref.clone()),
        commit: commit.clone(),
        before: known.clone(),
        dedupe_key: format!("found:{}:{target}:{version}", moved.git_ref),
        order: RefOrder::Found { known, after: target.clone(), version },
        rerun_of: None,
        title: message
            .as_deref()
            .and_then(|message| message.lines().next())
            .map(|line| line.chars().take(200).collect()),
        actor: None,
        delivery: None,
        needs_approval: false,
        told_at: None,
        change: None,
        asked: BuildOptions::default(),
        region: None,
        timeout_secs: None,
        now,
    };
    match make(state, project, wanted).await {
        Ok(Ok(created)) => {
            counter!("slipway_owed_builds_total").increment(1);
            info!(project.id = %project.id, build.id = %created.build, "a push that nobody told of is built");
            Ok(true)
        }
        Ok(Err(reason)) => {
            warn!(project.id = %project.id, reason, "what is owed cannot be built");
            Ok(false)
        }
        // A delivery came meanwhile; it tells the rest.
        Err(error) if matches!(error.downcast_ref(), Some(StoreError::Stale(_))) => Ok(true),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_branches_and_tags_that_point_elsewhere_are_different() {
        let known = |name: &str, head: Option<&str>| KnownRef {
            git_ref: name.to_owned(),
            head: head.map(str::to_owned),
            version: 7,
        };
        // Told by its commit, as some forges do.
        let tag = RemoteRef { name: "refs/tags/told".to_owned(), target: "t".to_owned(), commit: "c".to_owned() };
        let at = |name: &str, target: &str| RemoteRef {
            name: name.to_owned(),
            target: target.to_owned(),
            commit: target.to_owned(),
        };
        let rows = [
            known("refs/heads/main", Some("a")),
            known("refs/heads/moved", Some("a")),
            known("refs/heads/gone", Some("a")),
            known("refs/heads/long-gone", None),
            known("refs/heads/back", None),
            known("refs/tags/told", Some("c")),
        ];
        let remote = vec![
            at("refs/heads/main", "a"),
            at("refs/heads/moved", "b"),
            at("refs/heads/back", "a"),
            at("refs/tags/new", "c"),
            at("refs/pull/5/head", "d"),
            at("refs/heads/a..b", "d"),
            tag,
        ];
        let found = differences(&rows, remote);
        let found: Vec<_> = found
            .iter()
            .map(|it| {
                let head = |known: &KnownRef| known.head.clone().unwrap_or_default();
                (it.git_ref.short(), it.known.as_ref().map(head), it.now.as_ref().map(|now| now.target.as_str()))
            })
            .collect();
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            found,
            [
                ("moved", text("a"), Some("b")),
                ("back", text(""), Some("a")),
                ("new", None, Some("c")),
                ("gone", text("a"), None)
            ]
        );
    }

    #[test]
    fn what_cannot_be_looked_at_is_asked_ever_more_seldom() {
        let every = TimeDelta::minutes(10);
        let minutes = |failures| pause_after(every, failures).num_minutes();
        assert_eq!([minutes(0), minutes(1), minutes(2), minutes(9), minutes(1000)], [10, 20, 40, 360, 360]);
        assert_eq!(pause_after(TimeDelta::hours(12), 3), TimeDelta::hours(12));
    }
}
