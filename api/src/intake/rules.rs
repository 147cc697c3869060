//! What a delivery leads to: pure decisions over the parsed event and what its project is.

use chrono::{DateTime, Utc};
use slipway_domain::build::Trigger;
use slipway_domain::event::{
    ChangeAction, ChangeDetails, ChangeEvent, Event, ForgeKind, Outcome, RefEvent, RefKind, RefOp,
};
use slipway_domain::git_ref::{GitRef, is_commit_id};
use slipway_domain::ids::{BuildId, ProjectId};
use slipway_domain::rules::{Rules, Strangers};
use slipway_domain::spec::ChangeSpec;
use slipway_domain::tenant::ProjectState;
use slipway_forges::change_ref::change_ref;
use slipway_forges::hook::{ParseError, Parsed};
use slipway_store::deliveries::Verdict;
use slipway_store::delivery_moves::Move;
use slipway_store::ref_heads::RefMove;

/// What one event leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    /// A build of this push.
    Push(Push),
    /// A build of this pull or merge request.
    Change(Proposed),
    /// No more builds of a pull or merge request; says what became of it.
    Close(u64, Option<DateTime<Utc>>, String),
    /// This build again, or the newest of this commit.
    Rerun(String, Option<BuildId>),
    /// Nothing; says why. A ref that moved nevertheless is noted.
    Ignore(String, Option<RefMoved>),
}

/// What of a project decides about its deliveries.
#[derive(Debug, Clone, Copy)]
pub(super) struct ProjectFacts<'a> {
    /// Its repository on the forge.
    pub(super) repo_path: &'a str,
    /// The delivery is about the repository that the project had by its id, whatever it is called now.
    pub(super) is_same_id: bool,
    pub(super) forge: ForgeKind,
    pub(super) state: ProjectState,
    pub(super) rules: &'a Rules,
}

impl Decision {
    /// True if builds are made or stopped.
    pub(super) fn acts(&self) -> bool {
        match self {
            Self::Push(_) | Self::Change(_) | Self::Close(..) | Self::Rerun(..) => true,
            Self::Ignore(..) => false,
        }
    }
}

/// A pull or merge request that shall be built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Proposed {
    pub(super) change: ChangeSpec,
    pub(super) needs_approval: bool,
    /// Only that it is no draft any more is new.
    pub(super) is_ready: bool,
    /// The branch of the base repository that it comes from, if it does.
    pub(super) own_branch: Option<GitRef>,
    pub(super) details: ChangeDetails,
    /// Where the base repository has its head.
    pub(super) git_ref: GitRef,
    /// Its id, or the beginning of it where the forge tells no more.
    pub(super) commit: String,
    /// Equal for equal words about it; together with its number it is the build's dedupe key.
    pub(super) told: Move,
}

/// A branch or tag that shall be built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Push {
    pub(super) trigger: Trigger,
    pub(super) moved: RefMoved,
    /// Equal for equal moves; together with its number it is the build's dedupe key.
    pub(super) told: Move,
    pub(super) commit: String,
    pub(super) after: String,
    pub(super) title: Option<String>,
    pub(super) actor: Option<String>,
}

/// A move of a ref, `None` meaning "did not exist".
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RefMoved {
    pub(super) git_ref: GitRef,
    pub(super) before: Option<String>,
    pub(super) after: Option<String>,
}

impl RefMoved {
    /// As it is noted for a project.
    pub(super) fn noted(&self, project: ProjectId, now: DateTime<Utc>) -> RefMove<'_> {
        let (before, after) = (self.before.as_deref(), self.after.as_deref());
        RefMove { project, git_ref: &self.git_ref, before, after, now }
    }
}

/// What intake can say of a delivery before its project is looked at.
pub(super) fn verdict(parsed: &Result<Parsed, ParseError>) -> Verdict {
    match parsed.as_ref().map(|parsed| &parsed.outcome) {
        Ok(Outcome::Events(events)) if events.is_empty() => {
            Verdict::Ignored("the delivery tells of no change".to_owned())
        }
        Ok(Outcome::Events(_)) => Verdict::Work,
        Ok(Outcome::Ping) => Verdict::Ignored("ping".to_owned()),
        Ok(Outcome::Lifecycle(reason) | Outcome::Ignored(reason)) => Verdict::Ignored(reason.clone()),
        Err(error) => Verdict::Failed(error.to_string()),
    }
}

/// The moves of the project's refs that a delivery tells of, to be numbered. A mirror's equal moves must
/// not count: a number more would be a build more.
pub(super) fn moves(outcome: &Outcome, repo_path: &str, is_own: bool) -> Vec<Move> {
    let own = events(outcome).iter().zip(0..).filter(|(event, _)| is_own || is_same_repo(event.repo(), repo_path));
    own.filter_map(|(event, index)| told(event, index)).collect()
}

/// The events of an outcome.
pub(super) fn events(outcome: &Outcome) -> &[Event] {
    match outcome {
        Outcome::Events(events) => events,
        Outcome::Ping | Outcome::Lifecycle(_) | Outcome::Ignored(_) => &[],
    }
}

/// What the event at `index` leads to in this project. A hook of a group or an organisation tells of many
/// repositories; only the project's own is built.
pub(super) fn decide(event: &Event, index: i64, project: &ProjectFacts<'_>) -> Decision {
    let ignore = |reason: &str| Decision::Ignore(reason.to_owned(), None);
    let (told_of, own) = (event.repo(), project.repo_path);
    if !project.is_same_id && !is_same_repo(told_of, own) {
        return ignore(&format!("the delivery is about {}, the project builds {}", shown(told_of), shown(own)));
    }
    match event {
        Event::Ref(moved) => decide_ref(moved, told(event, index), project),
        Event::Change(change) => {
            decide_change(change, told(event, index), project).unwrap_or_else(|reason| Decision::Ignore(reason, None))
        }
        Event::Release(_) => ignore("releases are not built; the push of their tag is"),
        Event::Rerun(_) if project.state == ProjectState::Paused => ignore("the project is paused"),
        Event::Rerun(again) => {
            Decision::Rerun(again.commit.clone(), again.ours.as_deref().and_then(|ours| ours.parse().ok()))
        }
    }
}

fn decide_ref(event: &RefEvent, told: Option<Move>, project: &ProjectFacts<'_>) -> Decision {
    let ignore = |reason: String| Decision::Ignore(reason, None);
    let trigger = match event.kind {
        RefKind::Branch => Trigger::Push,
        RefKind::Tag => Trigger::Tag,
        RefKind::Other => return ignore(format!("{} is neither a branch nor a tag", shown(&event.name))),
    };
    let git_ref = match full_ref(event) {
        Ok(git_ref) => git_ref,
        Err(reason) => return ignore(reason),
    };
    let moved = RefMoved { git_ref, before: event.before.clone(), after: event.after.clone() };
    let noted = |reason: String| Decision::Ignore(reason, Some(moved.clone()));
    if event.op == RefOp::Deleted {
        return noted(format!("{} {} was deleted", event.kind, shown(&event.name)));
    }
    if project.state == ProjectState::Paused {
        return noted("the project is paused".to_owned());
    }
    if !project.rules.builds(&moved.git_ref) {
        return noted(format!("the project's rules leave out {} {}", event.kind, shown(&event.name)));
    }
    if event.skip_ci {
        return noted(event.skip_marker.clone().unwrap_or_else(|| "the push asks not to be built".to_owned()));
    }
    let (Some(after), Some(told)) = (event.after.clone(), told) else {
        return ignore("the delivery does not say where the ref points to".to_owned());
    };
    let commit = event.commit.clone().unwrap_or_else(|| after.clone());
    if !is_commit_id(&commit) {
        return ignore("the delivery names no full commit id".to_owned());
    }
    Decision::Push(Push { trigger, moved, told, commit, after, title: event.title.clone(), actor: event.actor.clone() })
}

/// What is built of a change, or why nothing is.
fn decide_change(event: &ChangeEvent, told: Option<Move>, project: &ProjectFacts<'_>) -> Result<Decision, String> {
    let number = event.number;
    match event.action {
        ChangeAction::Opened
        | ChangeAction::Reopened
        | ChangeAction::HeadUpdated
        | ChangeAction::Retargeted
        | ChangeAction::ReadyForReview => {}
        ChangeAction::Closed => {
            return Ok(Decision::Close(number, event.details.told_at, format!("pull request {number} was closed")));
        }
        ChangeAction::Merged => {
            let reason = format!("pull request {number} was merged; the push of its target is built");
            return Ok(Decision::Close(number, event.details.told_at, reason));
        }
        ChangeAction::Metadata => return Err(format!("nothing that is built of pull request {number} has changed")),
        ChangeAction::Other => return Err(format!("nothing is built for this news of pull request {number}")),
    }
    if project.state == ProjectState::Paused {
        return Err("the project is paused".to_owned());
    }
    if !project.rules.builds_changes() {
        return Err("the project's rules leave out pull requests".to_owned());
    }
    if event.details.draft && !project.rules.builds_drafts() {
        return Err("the project's rules leave out drafts".to_owned());
    }
    if let Some(marker) = &event.details.skip_marker {
        return Err(marker.clone());
    }
    if event.from_fork && project.rules.strangers() == Strangers::Ignore {
        return Err("the project's rules leave out pull requests from other repositories".to_owned());
    }
    // Bitbucket Cloud names only its first twelve digits; the work on the delivery asks for the rest.
    let names_one = |head: &String| is_commit_id(head) || project.forge == ForgeKind::Bitbucket && is_prefix(head);
    let (Some(commit), Some(told)) = (event.head.clone().filter(names_one), told) else {
        return Err(format!("the delivery names no full commit id of pull request {number}"));
    };
    let branch = |name: &Option<String>| {
        let full = format!("refs/heads/{}", name.as_deref()?);
        GitRef::parse(&full).ok()
    };
    // A branch of the repository itself can be fetched by its own name as well.
    let own = if event.from_fork { None } else { branch(&event.source_branch) };
    let git_ref = change_ref(project.forge, number).or_else(|| own.clone()).ok_or_else(|| {
        format!("{} keeps no ref of pull request {number}, which comes from another repository", project.forge)
    })?;
    let change = ChangeSpec { number, target: branch(&event.target_branch), trusted: !event.from_fork };
    let needs_approval = !change.trusted && project.rules.strangers() == Strangers::Approve;
    Ok(Decision::Change(Proposed {
        change,
        needs_approval,
        is_ready: event.action == ChangeAction::ReadyForReview,
        own_branch: own,
        details: event.details.clone(),
        git_ref,
        commit,
        told,
    }))
}

/// True for the beginning of a commit's id, as short as forges write it.
fn is_prefix(head: &str) -> bool {
    (7..40).contains(&head.len()) && head.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// Forges find a repository whatever the case of its path.
pub(super) fn is_same_repo(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

/// The key and place of a ref's move, or of news of a change; other events are not numbered.
fn told(event: &Event, event_index: i64) -> Option<Move> {
    let id = |id: &Option<String>| id.clone().unwrap_or_else(|| "none".to_owned());
    let key = match event {
        Event::Ref(moved) => {
            let git_ref = full_ref(moved).ok()?;
            format!("push:{git_ref}:{}:{}", id(&moved.before), id(&moved.after))
        }
        Event::Change(change) => {
            let ChangeEvent { number, action, head, target_branch, .. } = change;
            let target = target_branch.as_ref().and_then(|name| GitRef::parse(&format!("refs/heads/{name}")).ok());
            let target = target.map_or_else(|| "none".to_owned(), |target| target.to_string());
            format!("change:{number}:{action}:{}:{target}", id(head))
        }
        Event::Release(_) | Event::Rerun(_) => return None,
    };
    Some(Move { event_index, key })
}

fn full_ref(event: &RefEvent) -> Result<GitRef, String> {
    let full = match event.kind {
        RefKind::Branch => format!("refs/heads/{}", event.name),
        RefKind::Tag => format!("refs/tags/{}", event.name),
        RefKind::Other => event.name.clone(),
    };
    GitRef::parse(&full).map_err(|error| error.to_string())
}

/// A stranger's name, short enough for a sentence.
fn shown(name: &str) -> String {
    format!("\"{}\"", name.chars().take(200).collect::<String>())
}

#[cfg(test)]
mod tests;
