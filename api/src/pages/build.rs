//! `/builds/{id}`: state, failure, images, steps, the live log, attempts.

use askama::Template;
use axum::Form;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use chrono::{DateTime, Utc};
use http::HeaderMap;
use serde::Deserialize;
use slipway_domain::attempt::StepState;
use slipway_domain::ids::{BuildId, JobId, ProjectId};
use slipway_domain::job::JobState;
use slipway_domain::size::bytes;
use slipway_runtime::problem::{ApiError, PathOf};
use slipway_store::builds::{BuildView, JobView};

use crate::builds::json::{FailureJson, WaitingJson, failure_of, newest};
use crate::builds::outputs::{Output, earlier, outputs_against};
use crate::builds::{make, statuses, waiting};
use crate::caller::Caller;
use crate::pages::about::{About, about};
use crate::pages::comparison::differences;
use crate::pages::failure_words::{class_title, hint_words};
use crate::pages::layers::BuiltFacts;
use crate::pages::timeline::Timeline;
use crate::pages::view::{
    Badge, Moment, attempt_badge, build_badge, build_title, cancelling_badge, moment, ref_word, step_badge, trigger_key,
};
use crate::pages::waiting_words::waiting_words;
use crate::pages::{Chrome, LIVE_MS, render};
use crate::state::ApiState;
use crate::store_problem::OrProblem;
use crate::texts::Texts;
use crate::words::took;

#[derive(Template)]
#[template(path = "build.html")]
struct BuildPage {
    chrome: Chrome,
    build: BuildFacts,
    jobs: Vec<JobFacts>,
    about: About,
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
    /// The key of what says it.
    took_key: &'static str,
    waiting: Option<String>,
}

struct JobFacts {
    id: JobId,
    kind: &'static str,
    pool: String,
    failure: Option<FailureJson>,
    /// What such failures have in common.
    class_title: String,
    /// What to do about it.
    hint: String,
    images: Vec<ImageRow>,
    built: Vec<BuiltFacts>,
    steps: Vec<StepRow>,
    /// The first one that failed, in the log.
    failed_step: Option<i64>,
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
    /// Bytes that it has moved, and of how many.
    moved: Option<i64>,
    total: Option<i64>,
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
    let earlier = earlier(&state, &view).await?;
    let mut outputs = outputs_against(&state, caller, &view, earlier).await?;
    // A page of a build that runs is read again all the time, and half of its steps say nothing yet.
    let good = match earlier.filter(|_| view.build.state.is_terminal()) {
        Some(build) => Some(state.db.build_view(&caller.scope, build).await.or_problem()?),
        None => None,
    };
    let about = about(&state, caller, &view, &statuses).await?;
    let now = state.clock.now();
    let chrome = Chrome::new(&state, caller, &headers, "");
    let texts = chrome.texts;
    let chrome = if view.build.state.is_terminal() { chrome } else { chrome.refreshed(LIVE_MS) };
    render(&BuildPage {
        chrome,
        about,
        untold: statuses.into_iter().filter_map(|status| status.last_error).collect(),
        may_build: caller.scope.may_write(view.build.tenant_id),
        build: BuildFacts::new(&view, waiting, (now, texts)),
        jobs: view
            .jobs
            .iter()
            .map(|job| {
                let outputs = outputs.remove(&job.job.id).unwrap_or_default();
                JobFacts::new(job, outputs, good.as_ref(), (now, texts))
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
    fn new(view: &BuildView, waiting: Option<WaitingJson>, (now, texts): (DateTime<Utc>, Texts)) -> Self {
        let build = &view.build;
        let took = took(build.started_at, build.finished_at, (now, texts));
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
            title: build_title(build, texts),
            project: build.project_id,
            project_name: view.project_name.clone(),
            git_ref: ref_word(build.git_ref.as_ref(), texts),
            commit: build.commit_id.clone(),
            trigger: trigger_key(build.trigger),
            actor: build.actor.clone(),
            rerun_of: build.rerun_of,
            created: moment(Some(build.created_at), now),
            took_key: if live { "build-took-so-far" } else { "build-took" },
            took,
            waiting: waiting.map(|waiting| {
                let why = waiting_words(&waiting.reason, texts);
                match waiting.position {
                    Some(place) => texts.t("waiting-place").with("why", why).with("place", place).to_string(),
                    None => why,
                }
            }),
        }
    }
}

impl JobFacts {
    fn new(
        view: &JobView,
        outputs: Vec<Output>,
        good: Option<&BuildView>,
        (now, texts): (DateTime<Utc>, Texts),
    ) -> Self {
        let same =
            good.and_then(|good| Some((good.build.id, good.jobs.iter().find(|job| job.job.kind == view.job.kind)?)));
        let differences = same.map(|(build, earlier)| (build, differences(&view.steps, &earlier.steps, texts)));
        let failure = failure_of(view);
        let images = newest(view).map(|attempt| attempt.images.0.as_slice()).unwrap_or_default();
        Self {
            id: view.job.id,
            kind: view.job.kind.as_str(),
            pool: view.job.pool.to_string(),
            class_title: failure.as_ref().map(|failure| class_title(failure.class, texts)).unwrap_or_default(),
            hint: failure.as_ref().map(|failure| hint_words(failure, texts)).unwrap_or_default(),
            failure,
            images: images
                .iter()
                .map(|image| ImageRow {
                    reference: image.reference.clone(),
                    digest: image.digest.clone(),
                    size: bytes(image.size_bytes),
                    moved: image.moved,
                })
                .collect(),
            built: outputs.iter().map(|output| BuiltFacts::new(output, texts)).collect(),
            failed_step: view.steps.iter().find(|step| step.state == StepState::Failed).map(|step| step.number),
            steps: view
                .steps
                .iter()
                .map(|step| StepRow {
                    number: step.number,
                    name: step.name.clone(),
                    badge: step_badge(step),
                    took: if step.cached {
                        String::new()
                    } else {
                        took(step.started_at, step.finished_at, (now, texts))
                    },
                    exit_code: step.exit_code.map(|code| code.to_string()).unwrap_or_default(),
                    moved: step.moved_bytes,
                    total: step.total_bytes,
                })
                .collect(),
            timeline: Timeline::new(&view.steps, now, texts),
            differences: differences.filter(|(_, words)| !words.is_empty()),
            attempts: view
                .attempts
                .iter()
                .map(|attempt| AttemptRow {
                    epoch: attempt.epoch,
                    badge: attempt_badge(attempt),
                    builder: attempt.builder_name.clone(),
                    started: moment(Some(attempt.started_at), now),
                    took: took(Some(attempt.started_at), attempt.finished_at, (now, texts)),
                    reason: attempt.failure.as_ref().map(|failure| failure.0.message.clone()).unwrap_or_default(),
                })
                .collect(),
        }
    }
}
