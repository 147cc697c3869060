//! Words, tones and moments as the templates take them.

use chrono::{DateTime, SecondsFormat, Utc};
use slipway_domain::attempt::{AttemptOutcome, Phase, StepState};
use slipway_domain::build::{BuildState, Trigger};
use slipway_domain::builder::BuilderState;
use slipway_domain::delivery::DeliveryState;
use slipway_domain::event::ForgeKind;
use slipway_domain::git_ref::GitRef;
use slipway_domain::ids::BuildId;
use slipway_store::attempts::{Attempt, Step};
use slipway_store::builds::Build;

use crate::words::{ago, took};

/// Digits of a commit id that tell commits apart at a glance.
const SHORT_COMMIT: usize = 10;

/// A state: a word, and a tone that gives it a mark and a colour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Badge {
    pub word: String,
    pub tone: &'static str,
}

/// A point in time.
#[derive(Debug, Clone)]
pub struct Moment {
    pub iso: String,
    pub ago: String,
}

/// A build in a list.
#[derive(Debug, Clone)]
pub struct BuildRow {
    pub id: BuildId,
    pub badge: Badge,
    pub project_name: String,
    pub title: String,
    pub git_ref: String,
    pub commit_short: String,
    pub trigger: &'static str,
    pub created: Option<Moment>,
    pub took: String,
}

/// `at` for people.
pub fn moment(at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Option<Moment> {
    at.map(|at| Moment { iso: at.to_rfc3339_opts(SecondsFormat::Secs, true), ago: ago(at, now) })
}

/// A build's state.
pub fn build_badge(state: BuildState) -> Badge {
    let (word, tone) = match state {
        BuildState::Pending => ("Waiting", "wait"),
        BuildState::Running => ("Running", "busy"),
        BuildState::Succeeded => ("Succeeded", "good"),
        BuildState::Failed => ("Failed", "bad"),
        BuildState::Errored => ("Errored", "ours"),
        BuildState::Cancelled => ("Cancelled", "still"),
        BuildState::Superseded => ("Superseded", "still"),
        BuildState::Skipped => ("Skipped", "still"),
    };
    Badge { word: word.to_owned(), tone }
}

/// A build that was cancelled and whose builder has not said its last word.
pub fn cancelling_badge() -> Badge {
    Badge { word: "Cancelling".to_owned(), tone: "still" }
}

/// A step's state.
pub fn step_badge(step: &Step) -> Badge {
    let (word, tone) = match step.state {
        StepState::Succeeded if step.cached => ("Cached", "still"),
        StepState::Pending => ("Waiting", "wait"),
        StepState::Running => ("Running", "busy"),
        StepState::Succeeded => ("Done", "good"),
        StepState::Failed => ("Failed", "bad"),
        StepState::Cancelled => ("Cancelled", "still"),
    };
    Badge { word: word.to_owned(), tone }
}

/// How an attempt stands, or ended.
pub fn attempt_badge(attempt: &Attempt) -> Badge {
    let (word, tone) = match attempt.outcome {
        None => (phase_word(attempt.phase), "busy"),
        Some(AttemptOutcome::Succeeded) => ("Succeeded", "good"),
        Some(AttemptOutcome::Failed) => ("Failed", "bad"),
        Some(AttemptOutcome::TimedOut) => ("Timed out", "bad"),
        Some(AttemptOutcome::Infra) => ("Fault of the service", "ours"),
        Some(AttemptOutcome::Lost) => ("Builder lost", "ours"),
        Some(AttemptOutcome::HandedBack) => ("Handed back", "still"),
        Some(AttemptOutcome::Cancelled) => ("Cancelled", "still"),
    };
    Badge { word: word.to_owned(), tone }
}

fn phase_word(phase: Phase) -> &'static str {
    match phase {
        Phase::Preparing => "Preparing",
        Phase::Fetching => "Fetching the source",
        Phase::Building => "Building",
        Phase::Testing => "Testing",
        Phase::Pushing => "Pushing",
    }
}

/// A builder's state.
pub fn builder_badge(state: BuilderState) -> Badge {
    let (word, tone) = match state {
        BuilderState::Online => ("Online", "good"),
        BuilderState::Draining => ("Draining", "busy"),
        BuilderState::Suspect => ("Suspect", "ours"),
        BuilderState::Lost => ("Lost", "bad"),
        BuilderState::Offline => ("Offline", "still"),
    };
    Badge { word: word.to_owned(), tone }
}

/// A delivery's state.
pub fn delivery_badge(state: DeliveryState) -> Badge {
    let (word, tone) = match state {
        DeliveryState::Received => ("Received", "busy"),
        DeliveryState::Done => ("Done", "good"),
        DeliveryState::Ignored => ("Ignored", "still"),
        DeliveryState::Failed => ("Failed", "bad"),
    };
    Badge { word: word.to_owned(), tone }
}

/// A forge as people call it.
pub fn forge_word(forge: ForgeKind) -> &'static str {
    match forge {
        ForgeKind::Github => "GitHub",
        ForgeKind::Gitlab => "GitLab",
        ForgeKind::Bitbucket => "Bitbucket",
        ForgeKind::BitbucketDc => "Bitbucket Data Center",
        ForgeKind::Gitea => "Gitea",
        ForgeKind::Gitee => "Gitee",
        ForgeKind::Coding => "Coding",
    }
}

/// Why a build exists, in words.
pub fn trigger_word(trigger: Trigger) -> &'static str {
    match trigger {
        Trigger::Push => "push",
        Trigger::Tag => "tag",
        Trigger::Change => "change request",
        Trigger::Schedule => "schedule",
        Trigger::Manual => "by hand",
        Trigger::Upload => "upload",
        Trigger::Rerun => "retry",
    }
}

/// The first digits of a commit id.
pub fn short_commit(commit: &str) -> String {
    commit.chars().take(SHORT_COMMIT).collect()
}

/// A branch or tag as people call it.
pub fn ref_word(git_ref: Option<&GitRef>) -> String {
    match git_ref {
        Some(git_ref) if git_ref.tag().is_some() => format!("tag {}", git_ref.short()),
        Some(git_ref) => git_ref.short().to_owned(),
        None => String::new(),
    }
}

/// What a build is called: the commit's first line, else the commit.
pub fn build_title(build: &Build) -> String {
    match &build.title {
        Some(title) if !title.trim().is_empty() => title.clone(),
        Some(_) | None => format!("Commit {}", short_commit(&build.commit_id)),
    }
}

/// A build as a row.
pub fn build_row(build: &Build, project_name: &str, now: DateTime<Utc>) -> BuildRow {
    BuildRow {
        id: build.id,
        badge: build_badge(build.state),
        project_name: project_name.to_owned(),
        title: build_title(build),
        git_ref: ref_word(build.git_ref.as_ref()),
        commit_short: short_commit(&build.commit_id),
        trigger: trigger_word(build.trigger),
        created: moment(Some(build.created_at), now),
        took: took(build.started_at, build.finished_at, now),
    }
}
