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

use crate::texts::Texts;
use crate::words::{Ago, took};

/// Digits of a commit id that tell commits apart at a glance.
const SHORT_COMMIT: usize = 10;

/// A state: the key of its text, and a tone that gives it a mark and a colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Badge {
    pub key: &'static str,
    pub tone: &'static str,
}

/// A point in time.
#[derive(Debug, Clone)]
pub struct Moment {
    pub iso: String,
    pub ago: Ago,
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
    /// The key of its text.
    pub trigger: &'static str,
    pub created: Option<Moment>,
    pub took: String,
}

/// `at` for people.
pub fn moment(at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Option<Moment> {
    at.map(|at| Moment { iso: at.to_rfc3339_opts(SecondsFormat::Secs, true), ago: Ago::new(at, now) })
}

/// A build's state.
pub fn build_badge(state: BuildState) -> Badge {
    let (key, tone) = match state {
        BuildState::Pending => ("state-waiting", "wait"),
        BuildState::Running => ("state-running", "busy"),
        BuildState::Succeeded => ("state-succeeded", "good"),
        BuildState::Failed => ("state-failed", "bad"),
        BuildState::Errored => ("state-errored", "ours"),
        BuildState::Cancelled => ("state-cancelled", "still"),
        BuildState::Superseded => ("state-superseded", "still"),
        BuildState::Skipped => ("state-skipped", "still"),
    };
    Badge { key, tone }
}

/// A build that was cancelled and whose builder has not said its last word.
pub fn cancelling_badge() -> Badge {
    Badge { key: "state-cancelling", tone: "still" }
}

/// A step's state.
pub fn step_badge(step: &Step) -> Badge {
    let (key, tone) = match step.state {
        StepState::Succeeded if step.cached => ("state-cached", "still"),
        StepState::Pending => ("state-waiting", "wait"),
        StepState::Running => ("state-running", "busy"),
        StepState::Succeeded => ("state-done", "good"),
        StepState::Failed => ("state-failed", "bad"),
        StepState::Cancelled => ("state-cancelled", "still"),
    };
    Badge { key, tone }
}

/// How an attempt stands, or ended.
pub fn attempt_badge(attempt: &Attempt) -> Badge {
    let (key, tone) = match attempt.outcome {
        None => (phase_key(attempt.phase), "busy"),
        Some(AttemptOutcome::Succeeded) => ("state-succeeded", "good"),
        Some(AttemptOutcome::Failed) => ("state-failed", "bad"),
        Some(AttemptOutcome::TimedOut) => ("state-timed-out", "bad"),
        Some(AttemptOutcome::Infra) => ("state-our-fault", "ours"),
        Some(AttemptOutcome::Lost) => ("state-builder-lost", "ours"),
        Some(AttemptOutcome::HandedBack) => ("state-handed-back", "still"),
        Some(AttemptOutcome::Cancelled) => ("state-cancelled", "still"),
    };
    Badge { key, tone }
}

fn phase_key(phase: Phase) -> &'static str {
    match phase {
        Phase::Preparing => "state-preparing",
        Phase::Fetching => "state-fetching",
        Phase::Building => "state-building",
        Phase::Testing => "state-testing",
        Phase::Pushing => "state-pushing",
    }
}

/// A builder's state.
pub fn builder_badge(state: BuilderState) -> Badge {
    let (key, tone) = match state {
        BuilderState::Online => ("state-online", "good"),
        BuilderState::Draining => ("state-draining", "busy"),
        BuilderState::Suspect => ("state-suspect", "ours"),
        BuilderState::Lost => ("state-lost", "bad"),
        BuilderState::Offline => ("state-offline", "still"),
    };
    Badge { key, tone }
}

/// A delivery's state.
pub fn delivery_badge(state: DeliveryState) -> Badge {
    let (key, tone) = match state {
        DeliveryState::Received => ("state-received", "busy"),
        DeliveryState::Done => ("state-done", "good"),
        DeliveryState::Ignored => ("state-ignored", "still"),
        DeliveryState::Failed => ("state-failed", "bad"),
    };
    Badge { key, tone }
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

/// Why a build exists: the key of its text.
pub fn trigger_key(trigger: Trigger) -> &'static str {
    match trigger {
        Trigger::Push => "state-trigger-push",
        Trigger::Tag => "state-trigger-tag",
        Trigger::Change => "state-trigger-change",
        Trigger::Schedule => "state-trigger-schedule",
        Trigger::Manual => "state-trigger-manual",
        Trigger::Upload => "state-trigger-upload",
        Trigger::Rerun => "state-trigger-retry",
    }
}

/// The first digits of a commit id.
pub fn short_commit(commit: &str) -> String {
    commit.chars().take(SHORT_COMMIT).collect()
}

/// A branch or tag as people call it.
pub fn ref_word(git_ref: Option<&GitRef>, texts: Texts) -> String {
    match git_ref {
        Some(git_ref) if git_ref.tag().is_some() => texts.t("state-ref-tag").with("tag", git_ref.short()).to_string(),
        Some(git_ref) => git_ref.short().to_owned(),
        None => String::new(),
    }
}

/// What a build is called: the commit's first line, else the commit.
pub fn build_title(build: &Build, texts: Texts) -> String {
    match &build.title {
        Some(title) if !title.trim().is_empty() => title.clone(),
        Some(_) | None => texts.t("state-commit").with("commit", short_commit(&build.commit_id)).to_string(),
    }
}

/// A build as a row.
pub fn build_row(build: &Build, project_name: &str, now: DateTime<Utc>, texts: Texts) -> BuildRow {
    BuildRow {
        id: build.id,
        badge: build_badge(build.state),
        project_name: project_name.to_owned(),
        title: build_title(build, texts),
        git_ref: ref_word(build.git_ref.as_ref(), texts),
        commit_short: short_commit(&build.commit_id),
        trigger: trigger_key(build.trigger),
        created: moment(Some(build.created_at), now),
        took: took(build.started_at, build.finished_at, (now, texts)),
    }
}
