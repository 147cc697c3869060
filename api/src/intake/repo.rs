//! What deliveries tell of the repository itself: its stable id, and its new path where it was renamed or transferred.

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use slipway_domain::event::Event;
use slipway_forges::api::ForgeError;
use slipway_forges::hook::Parsed;
use slipway_store::Scope;
use slipway_store::projects::Project;
use tracing::{info, warn};
use url::Url;

use crate::forge;
use crate::intake::rules::{events, is_same_repo};
use crate::intake::work::FORGE_PATIENCE;
use crate::projects::checks::check_repo_path;
use crate::state::ApiState;

/// What is new about a project's repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RepoNews {
    /// Nothing.
    Known,
    /// Its id on the forge.
    Id(String),
    /// Its path; the id is the same.
    Path(String),
}

impl RepoNews {
    /// What a verified delivery of the project's own hook says.
    pub(super) fn of(parsed: &Parsed, project: &Project) -> Self {
        let (Some(id), Some(path)) = (&parsed.repo_id, events(&parsed.outcome).first().map(Event::repo)) else {
            return Self::Known;
        };
        match &project.repo_id {
            Some(known) if known == id && !is_same_repo(path, &project.repo_path) => Self::Path(path.to_owned()),
            Some(known) if known == id => Self::Known,
            // What stands at the project's path is the project's, also after it was made anew.
            Some(_) | None if is_same_repo(path, &project.repo_path) => Self::Id(id.clone()),
            Some(_) | None => Self::Known,
        }
    }
}

/// Keeps the project's row to its repository; gives the row where it changed.
pub(super) async fn follow(
    state: &ApiState,
    project: &Project,
    news: &RepoNews,
    now: DateTime<Utc>,
) -> anyhow::Result<Option<Project>> {
    match news {
        RepoNews::Known => return Ok(None),
        RepoNews::Id(id) => {
            state.db.note_repo_id(project.id, &project.repo_path, id).await.context("note the repository's id")?;
            return Ok(None);
        }
        RepoNews::Path(path) if check_repo_path(path).is_err() => return Ok(None),
        RepoNews::Path(path) => {
            let Some(moved) = moved_to(state, project, path).await? else { return Ok(None) };
            let renamed = (project.repo_path.as_str(), moved.path.as_str());
            let followed = state.db.follow_repo(project.id, renamed, moved.clone_url.as_deref(), now).await;
            if followed.context("follow the repository")? {
                info!(project.id = %project.id, from = project.repo_path, to = moved.path, "the repository has a new path");
            }
        }
    }
    Ok(Some(state.db.project(&Scope::Operator, project.id).await.context("read the project again")?))
}

/// Where a repository is now.
struct Moved {
    path: String,
    clone_url: Option<String>,
}

/// Where the repository is by its forge's own word, if that can be asked: a delivery may be old, or tell of what is not
/// its sender's. Without a credential there is nothing that a wrong path could reach, and the delivery's word is taken for
/// the path; the clone URL stays as it is then, which forges redirect. `None` where nothing is to be followed; an error
/// means "try again later".
async fn moved_to(state: &ApiState, project: &Project, told: &str) -> anyhow::Result<Option<Moved>> {
    let Some(id) = &project.repo_id else { return Ok(None) };
    let Some((api, permit)) = forge::open(state, project, FORGE_PATIENCE).await? else {
        return Ok(Some(Moved { path: told.to_owned(), clone_url: None }));
    };
    let asked = match forge::call(permit, api.repo_by_id(id)).await {
        // It finds none by id; then whether it is at the new path.
        Err(ForgeError::Invalid(_)) => match forge::open(state, project, FORGE_PATIENCE).await? {
            Some((api, permit)) => forge::call(permit, api.repo(told)).await,
            None => return Ok(None),
        },
        other => other,
    };
    let found = match asked {
        Ok(found) if found.id != *id => return Ok(None),
        Ok(found) => found,
        Err(error @ (ForgeError::Transient(_) | ForgeError::RetryAfter(_))) => return Err(error.into()),
        Err(error) => {
            warn!(project.id = %project.id, %error, "the forge does not say where the repository is");
            return Ok(None);
        }
    };
    if found.full_path == project.repo_path || check_repo_path(&found.full_path).is_err() {
        return Ok(None);
    }
    let clone_url = new_clone_url(project, &found.full_path, &found.clone_url);
    Ok(Some(Moved { path: found.full_path, clone_url }))
}

/// The forge's own address of the repository if it is at the origin that the project has, else the project's with the new
/// path in it.
fn new_clone_url(project: &Project, path: &str, by_forge: &str) -> Option<String> {
    let old = Url::parse(&project.clone_url).ok()?;
    match Url::parse(by_forge) {
        Ok(new) if new.origin() == old.origin() && new.origin().is_tuple() => Some(new.to_string()),
        Ok(_) | Err(_) => with_path(&old, &project.repo_path, path),
    }
}

fn with_path(url: &Url, old: &str, new: &str) -> Option<String> {
    let rest = url.path().trim_start_matches('/');
    let (before, after) = rest.rsplit_once(old).filter(|(_, after)| matches!(*after, "" | ".git"))?;
    let mut url = url.clone();
    url.set_path(&format!("/{before}{new}{after}"));
    Some(url.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_path_stays_at_the_projects_own_address() {
        let url = |text: &str| Url::parse(text).expect("a URL");
        let with = |text: &str| with_path(&url(text), "acme/app", "team/service");
        assert_eq!(with("https://git.example/acme/app.git").as_deref(), Some("https://git.example/team/service.git"));
        assert_eq!(with("https://git.example/x/acme/app").as_deref(), Some("https://git.example/x/team/service"));
        assert_eq!(with("https://git.example/elsewhere.git"), None);
        assert_eq!(with("https://git.example/acme/apple.git"), None);
        let hostile = with_path(&url("https://git.example/acme/app.git"), "acme/app", "@evil.example/x?y#z");
        assert_eq!(hostile.as_deref(), Some("https://git.example/@evil.example/x%3Fy%23z.git"));
    }
}
