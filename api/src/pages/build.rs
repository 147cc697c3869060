//! `/builds/{id}`: state, failure, images, steps, the live log, attempts.

use askama::Template;
use axum::Form;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use chrono::{DateTime, Utc};
use http::HeaderMap;
use serde::Deserialize;
use slipway_domain::ids::{BuildId, JobId, ProjectId};
use slipway_domain::job::JobState;
use slipway_domain::size::bytes;
use slipway_runtime::problem::{ApiError, PathOf};
use slipway_store::builds::{BuildView, JobView};

use crate::builds::json::{FailureJson, WaitingJson, failure_of, newest};
use crate::builds::outputs::{Output, earlier, outputs};
use crate::builds::{make, statuses, waiting};
use crate::caller::Caller;
use crate::pages::comparison::differences;
use crate::pages::layers::BuiltFacts;
use crate::pages::timeline::Timeline;
use crate::pages::view::{
    Badge, Moment, attempt_badge, build_badge, build_title, cancelling_badge, moment, ref_word, step_badge,
    trigger_word,
};
use crate::pages::{Chrome, LIVE_MS, render};
use crate::state::ApiState;
use crate::store_problem::OrProblem;
use crate::words::took;

#[derive(Template)]
#[template(path = "build.html")]
struct BuildPage {
    chrome: Chrome,
    build: BuildFacts,
    jobs: Vec<JobFacts>,
    /// Why the forge does not show what it should.
    untold: Vec<String>,
    may_build: bool,
}

struct BuildFacts {
    id: BuildId,
    badge: Badge,
    live: bool,
    blocked: bool,
    stopping: bool,
    title: String,
    project: ProjectId,
    project_name: String,
    git_ref: String,
    commit: String,
    trigger: &'static str,
    actor: Option<String>,
    rerun_of: Option<BuildId>,
    created: Option<Moment>,
    took: String,
    took_words: String,
    waiting: Option<String>,
}

struct JobFacts {
    id: JobId,
    kind: &'static str,
    pool: String,
    failure: Option<FailureJson>,
    images: Vec<ImageRow>,
    built: Vec<BuiltFacts>,
    steps: Vec<StepRow>,
    timeline: Option<Timeline>,
    /// How its steps differ from those of that build.
    differences: Option<(BuildId, Vec<String>)>,
    attempts: Vec<AttemptRow>,
}

struct ImageRow {
    reference: String,
    digest: String,
    size: String,
    moved: bool,
}

struct StepRow {
    number: i64,
    name: String,
    badge: Badge,
    took: String,
    exit_code: String,
}

struct AttemptRow {
    epoch: i64,
    badge: Badge,
    builder: String,
    started: Option<Moment>,
    took: String,
    reason: String,
}

/// `GET /builds/{id}`.
pub async fn page(
    State(state): State<ApiState>,
    caller: Caller,
    headers: HeaderMap,
    PathOf(id): PathOf<BuildId>,
) -> Result<Response, ApiError> {
    let view = state.db.build_view(&caller.scope, id).await.or_problem()?;
    let waiting = waiting(&state, caller, &view).await?;
    let statuses = statuses(&state, caller, &view).await?;
    let mut outputs = outputs(&state, caller, &view).await?;
    let good = match earlier(&state, &view).await? {
        Some(build) => Some(state.db.build_view(&caller.scope, build).await.or_problem()?),
        None => None,
    };
    let now = state.clock.now();
    let chrome = Chrome::new(&state, caller, &headers, "");
    let chrome = if view.build.state.is_terminal() { chrome } else { chrome.refreshed(LIVE_MS) };
    render(&BuildPage {
        chrome,
        untold: statuses.into_iter().filter_map(|status| status.last_error).collect(),
        may_build: caller.scope.may_write(view.build.tenant_id),
        build: BuildFacts::new(&view, waiting, now),
        jobs: view
            .jobs
            .iter()
            .map(|job| {
                let outputs = outputs.remove(&job.job.id).unwrap_or_default();
                JobFacts::new(job, outputs, good.as_ref(), now)
            })
            .collect(),
    })
}

/// `POST /builds/{id}/cancel`.
pub async fn cancel(
    State(state): State<ApiState>,
    caller: Caller,
    PathOf(id): PathOf<BuildId>,
) -> Result<Response, ApiError> {
    make::cancel(&state, caller, id).await?;
    Ok(Redirect::to(&format!("/builds/{id}")).into_response())
}

/// `POST /builds/{id}/approve`.
pub async fn approve(
    State(state): State<ApiState>,
    caller: Caller,
    PathOf(id): PathOf<BuildId>,
) -> Result<Response, ApiError> {
    make::approve(&state, caller, id).await?;
    Ok(Redirect::to(&format!("/builds/{id}")).into_response())
}

/// The buttons below a build that is over.
#[derive(Debug, Deserialize)]
pub struct RetryForm {
    #[serde(default)]
    no_cache: bool,
}

/// `POST /builds/{id}/retry`.
pub async fn retry(
    State(state): State<ApiState>,
    caller: Caller,
    PathOf(id): PathOf<BuildId>,
    Form(form): Form<RetryForm>,
) -> Result<Response, ApiError> {
    let build = make::rerun(&state, caller, id, (None, form.no_cache)).await?;
    Ok(Redirect::to(&format!("/builds/{build}")).into_response())
}

impl BuildFacts {
    fn new(view: &BuildView, waiting: Option<WaitingJson>, now: DateTime<Utc>) -> Self {
        let build = &view.build;
        let took = took(build.started_at, build.finished_at, now);
        let live = !build.state.is_terminal();
        let blocked = view.jobs.iter().any(|job| job.job.state == JobState::Blocked);
        let stopping = view.jobs.iter().any(|job| job.job.state == JobState::Cancelling);
        let badge = if stopping { cancelling_badge() } else { build_badge(build.state) };
        Self {
            id: build.id,
            badge,
            live,
            blocked,
            stopping,
            title: build_title(build),
            project: build.project_id,
            project_name: view.project_name.clone(),
            git_ref: ref_word(build.git_ref.as_ref()),
            commit: build.commit_id.clone(),
            trigger: trigger_word(build.trigger),
            actor: build.actor.clone(),
            rerun_of: build.rerun_of,
            created: moment(Some(build.created_at), now),
            took_words: if live { format!("for {took}") } else { format!("after {took}") },
            took,
            waiting: waiting.map(|waiting| match waiting.position {
                Some(position) => format!("{} Place {position} in the queue.", sentence(&waiting.reason)),
                None => sentence(&waiting.reason),
            }),
        }
    }
}

/// A reason as a sentence of its own.
fn sentence(reason: &str) -> String {
    let mut chars = reason.chars();
    let first: String = chars.next().map(|c| c.to_uppercase().collect()).unwrap_or_default();
    let rest = chars.as_str().trim_end_matches('.');
    format!("{first}{rest}.")
}

impl JobFacts {
    fn new(view: &JobView, outputs: Vec<Output>, good: Option<&BuildView>, now: DateTime<Utc>) -> Self {
        let same =
            good.and_then(|good| Some((good.build.id, good.jobs.iter().find(|job| job.job.kind == view.job.kind)?)));
        let differences = same.map(|(build, earlier)| (build, differences(&view.steps, &earlier.steps)));
        let images = newest(view).map(|attempt| attempt.images.0.as_slice()).unwrap_or_default();
        Self {
            id: view.job.id,
            kind: view.job.kind.as_str(),
            pool: view.job.pool.to_string(),
            failure: failure_of(view),
            images: images
                .iter()
                .map(|image| ImageRow {
                    reference: image.reference.clone(),
                    digest: image.digest.clone(),
                    size: bytes(image.size_bytes),
                    moved: image.moved,
                })
                .collect(),
            built: outputs.iter().map(BuiltFacts::new).collect(),
            steps: view
                .steps
                .iter()
                .map(|step| StepRow {
                    number: step.number,
                    name: step.name.clone(),
                    badge: step_badge(step),
                    took: if step.cached { String::new() } else { took(step.started_at, step.finished_at, now) },
                    exit_code: step.exit_code.map(|code| code.to_string()).unwrap_or_default(),
                })
                .collect(),
            timeline: Timeline::new(&view.steps, now),
            differences: differences.filter(|(_, words)| !words.is_empty()),
            attempts: view
                .attempts
                .iter()
                .map(|attempt| AttemptRow {
                    epoch: attempt.epoch,
                    badge: attempt_badge(attempt),
                    builder: attempt.builder_name.clone(),
                    started: moment(Some(attempt.started_at), now),
                    took: took(Some(attempt.started_at), attempt.finished_at, now),
                    reason: attempt.failure.as_ref().map(|failure| failure.0.message.clone()).unwrap_or_default(),
                })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_become_sentences() {
        assert_eq!(sentence("waits for a free builder"), "Waits for a free builder.");
        assert_eq!(sentence("Done."), "Done.");
        assert_eq!(sentence(""), ".");
    }
}
