//! `/builds/{id}`: state, failure, images, steps, the live log, attempts.

use askama::Template;
use axum::Form;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use chrono::{DateTime, TimeDelta, Utc};
use http::HeaderMap;
use serde::Deserialize;
use slipway_domain::attempt::StepState;
use slipway_domain::build::BuildState;
use slipway_domain::ids::{BuildId, JobId, ProjectId};
use slipway_domain::job::JobState;
use slipway_domain::size::bytes;
use slipway_domain::status::StatusState;
use slipway_runtime::problem::{ApiError, PathOf, QueryOf};
use slipway_store::builds::{BuildView, JobView};
use slipway_store::statuses::StatusView;

use crate::builds::json::{FailureJson, WaitingJson, failure_of, newest};
use crate::builds::outputs::{Output, earlier, outputs_against};
use crate::builds::{make, statuses, waiting};
use crate::caller::Caller;
use crate::pages::about::{About, about};
use crate::pages::comparison::differences;
use crate::pages::failure_words::{class_title, hint_words};
use crate::pages::layers::BuiltFacts;
use crate::pages::log_frame::{LogFrame, Shown, turn_to};
use crate::pages::remarks::{RemarkFacts, place};
use crate::pages::timeline::Timeline;
use crate::pages::view::{
    Badge, Moment, attempt_badge, build_badge, build_title, cancelling_badge, moment, ref_word, step_badge, trigger_key,
};
use crate::pages::waiting_words::waiting_words;
use crate::pages::{Chrome, LIST_MS, LIVE_MS, render};
use crate::state::ApiState;
use crate::store_problem::OrProblem;
use crate::texts::Texts;
use crate::words::{span, took};

/// For so long after its end a build's page waits for what the forge is still to be told.
const TELLING: TimeDelta = TimeDelta::minutes(10);

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
    /// Where in the Dockerfile it happened, if the file is known.
    place: Option<String>,
    /// What builds the same elsewhere, to look into the failure.
    command: Option<String>,
    remarks: RemarkFacts,
    images: Vec<ImageRow>,
    built: Vec<BuiltFacts>,
    steps: Vec<StepRow>,
    /// The first one that failed, in the log.
    failed_step: Option<i64>,
    timeline: Option<Timeline>,
    /// How its steps differ from those of that build.
    differences: Option<(BuildId, Vec<String>)>,
    attempts: Vec<AttemptRow>,
    /// The attempt that the page is of, if it is not the newest.
    older: Option<OlderAttempt>,
    frame: LogFrame,
}

/// What a job's facts are made of beside its row.
struct Beside<'a> {
    outputs: Vec<Output>,
    /// The last good build, to compare with.
    good: Option<&'a BuildView>,
    frame: LogFrame,
    command: Option<&'a str>,
}

struct OlderAttempt {
    epoch: i64,
    newest: i64,
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
    QueryOf(shown): QueryOf<Shown>,
) -> Result<Response, ApiError> {
    let mut view = state.db.build_view(&caller.scope, id).await.or_problem()?;
    if let Some(epoch) = shown.attempt {
        turn_to(&state, &mut view, epoch).await?;
    }
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
    let chrome = chrome.refreshed(refresh_ms((view.build.state, view.build.finished_at), &statuses, now));
    let mut jobs = Vec::with_capacity(view.jobs.len());
    for (job, about) in view.jobs.iter().zip(&about.jobs) {
        let outputs = outputs.remove(&job.job.id).unwrap_or_default();
        let frame = LogFrame::of(&state, job, shown).await?;
        let beside = Beside { outputs, good: good.as_ref(), frame, command: about.command.as_deref() };
        jobs.push(JobFacts::new(job, beside, (now, texts)));
    }
    render(&BuildPage {
        chrome,
        about,
        untold: statuses.into_iter().filter_map(|status| status.last_error).collect(),
        may_build: caller.scope.may_write(view.build.tenant_id),
        build: BuildFacts::new(&view, waiting, (now, texts)),
        jobs,
    })
}

/// Milliseconds until the page is read again: while the build runs, and while the forge is soon told how it ended; else 0.
fn refresh_ms(
    (state, finished_at): (BuildState, Option<DateTime<Utc>>),
    statuses: &[StatusView],
    now: DateTime<Utc>,
) -> u32 {
    if !state.is_terminal() {
        return LIVE_MS;
    }
    // What ended just now is wanted a moment later.
    let is_due = statuses.iter().any(|status| status.state == StatusState::Due || status.wanted != state);
    let is_recent = finished_at.is_some_and(|finished_at| now - finished_at < TELLING);
    if is_due && is_recent { LIST_MS } else { 0 }
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
    fn new(view: &JobView, beside: Beside<'_>, (now, texts): (DateTime<Utc>, Texts)) -> Self {
        let Beside { outputs, good, frame, command } = beside;
        let newest = newest(view);
        let attempt = frame.attempt().and_then(|epoch| view.attempts.iter().find(|attempt| attempt.epoch == epoch));
        let attempt = attempt.or(newest);
        let older = attempt.zip(newest).filter(|(attempt, newest)| attempt.epoch < newest.epoch);
        let older = older.map(|(attempt, newest)| OlderAttempt { epoch: attempt.epoch, newest: newest.epoch });
        // Of an attempt that was retried there is only what it did itself.
        let (outputs, good) = if older.is_some() { (Vec::new(), None) } else { (outputs, good) };
        let same =
            good.and_then(|good| Some((good.build.id, good.jobs.iter().find(|job| job.job.kind == view.job.kind)?)));
        let differences = same.map(|(build, earlier)| (build, differences(&view.steps, &earlier.steps, texts)));
        let failure = failure_of(view).filter(|_| older.is_none());
        let images = attempt.map(|attempt| attempt.images.0.as_slice()).unwrap_or_default();
        Self {
            id: view.job.id,
            kind: view.job.kind.as_str(),
            pool: view.job.pool.to_string(),
            class_title: failure.as_ref().map(|failure| class_title(failure.class, texts)).unwrap_or_default(),
            hint: failure.as_ref().map(|failure| hint_words(failure, texts)).unwrap_or_default(),
            place: failure.as_ref().and_then(|it| place(it.dockerfile.as_deref(), it.dockerfile_line)),
            command: command.filter(|_| failure.is_some()).map(str::to_owned),
            remarks: attempt.map(|attempt| RemarkFacts::new(&attempt.remarks, texts)).unwrap_or_default(),
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
                        step.ran(now).map(|ran| span(ran, texts)).unwrap_or_default()
                    },
                    exit_code: step.exit_code.map(|code| code.to_string()).unwrap_or_default(),
                    moved: step.moved_bytes,
                    total: step.total_bytes,
                })
                .collect(),
            timeline: Timeline::new(&view.steps, now, texts),
            older,
            frame,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_waits_for_the_forge_but_not_for_ever() {
        let finished_at = DateTime::UNIX_EPOCH;
        let status = |state, wanted| StatusView {
            context: "slipway".to_owned(),
            wanted,
            state,
            last_error: None,
            attempts: 0,
            next_at: finished_at,
            sent_at: None,
        };
        for (status, mins, wanted) in [
            (status(StatusState::Due, BuildState::Failed), 0, LIST_MS),
            (status(StatusState::Due, BuildState::Failed), 9, LIST_MS),
            (status(StatusState::Due, BuildState::Failed), 10, 0),
            (status(StatusState::Sent, BuildState::Running), 0, LIST_MS),
            (status(StatusState::Sent, BuildState::Failed), 0, 0),
            (status(StatusState::GivenUp, BuildState::Failed), 0, 0),
        ] {
            let now = finished_at + TimeDelta::minutes(mins);
            assert_eq!(
                refresh_ms((BuildState::Failed, Some(finished_at)), std::slice::from_ref(&status), now),
                wanted,
                "{status:?}"
            );
        }
        assert_eq!(refresh_ms((BuildState::Failed, Some(finished_at)), &[], finished_at), 0);
        assert_eq!(refresh_ms((BuildState::Running, None), &[], finished_at), LIVE_MS);
    }
}
