//! Builds, jobs, attempts and steps as the API shows them.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize, Serializer};
use slipway_domain::agent::PushedImage;
use slipway_domain::attempt::{AttemptOutcome, AttemptState, Phase, StepState};
use slipway_domain::build::{BuildState, Trigger};
use slipway_domain::failure::{ExcerptLine, Failure, FailureClass};
use slipway_domain::git_ref::GitRef;
use slipway_domain::ids::{BuildId, BuilderId, JobId, ProjectId};
use slipway_domain::job::{JobKind, JobState};
use slipway_domain::remarks::{Remarks, Warning};
use slipway_domain::spec::{BuildOptions, as_written};
use slipway_domain::status::StatusState;
use slipway_store::attempts::{Attempt, Step};
use slipway_store::builds::{BuildView, JobView};
use slipway_store::queues::{WaitReason, Waiting};
use slipway_store::statuses::StatusView;
use utoipa::ToSchema;

use crate::builds::outputs::{BuiltJson, Outputs};
use crate::openapi::BuildOptionsDoc;

/// What makes a build by hand: either `ref` or `commit`.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateBuild {
    /// A branch's name or a full ref, `refs/tags/v1`.
    #[serde(default, rename = "ref")]
    pub git_ref: Option<String>,
    /// A full commit id.
    #[serde(default)]
    pub commit: Option<String>,
    /// Options for this one build; they win over `slipway.yml` and the project.
    #[serde(default, deserialize_with = "as_written")]
    #[schema(value_type = BuildOptionsDoc)]
    pub build: BuildOptions,
}

/// A build.
#[derive(Debug, Serialize, ToSchema)]
pub struct BuildJson {
    #[schema(value_type = uuid::Uuid)]
    id: BuildId,
    #[schema(value_type = uuid::Uuid)]
    project: ProjectId,
    project_name: String,
    /// `pending`, `running`, `succeeded`, `failed`, `errored`, `cancelled`, `superseded` or `skipped`.
    #[schema(value_type = String)]
    state: BuildState,
    #[schema(value_type = String)]
    trigger: Trigger,
    #[serde(rename = "ref")]
    #[schema(value_type = Option<String>)]
    git_ref: Option<GitRef>,
    commit: String,
    title: Option<String>,
    actor: Option<String>,
    #[schema(value_type = Option<uuid::Uuid>)]
    rerun_of: Option<BuildId>,
    created_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
    waiting: Option<WaitingJson>,
    jobs: Vec<JobJson>,
    /// How its commit status on the forge stands; empty for the public, and where nobody is told.
    statuses: Vec<StatusJson>,
    /// The build's page.
    url: String,
}

/// What a caller is told of a build beside its row and its jobs.
pub struct Told {
    /// Whether the caller belongs to the build's tenant.
    pub is_member: bool,
    /// Why it waits.
    pub waiting: Option<WaitingJson>,
    /// How its commit status stands.
    pub statuses: Vec<StatusView>,
    /// Its page.
    pub url: String,
}

/// What the forge shall show for a build.
#[derive(Debug, Serialize, ToSchema)]
pub struct StatusJson {
    /// The name under which the forge shows it.
    context: String,
    /// The build's state that it shall show.
    #[schema(value_type = String)]
    shows: BuildState,
    /// `due`, `sent` or `given_up`.
    #[schema(value_type = String)]
    state: StatusState,
    /// Why it was not sent yet, or never will be.
    error: Option<String>,
}

/// Why a build waits.
#[derive(Debug, Serialize, ToSchema)]
pub struct WaitingJson {
    /// In words.
    #[serde(serialize_with = "in_words")]
    #[schema(value_type = String)]
    pub reason: WaitReason,
    /// Place in its pool's queue, from 1.
    pub position: Option<i64>,
    /// When it may begin; null while nobody can tell.
    pub eta: Option<DateTime<Utc>>,
}

/// A job.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobJson {
    #[schema(value_type = uuid::Uuid)]
    id: JobId,
    #[schema(value_type = uuid::Uuid)]
    build: BuildId,
    #[schema(value_type = String)]
    kind: JobKind,
    #[schema(value_type = String)]
    state: JobState,
    pool: String,
    attempts: Vec<AttemptJson>,
    /// Steps of the newest attempt.
    steps: Vec<StepJson>,
    /// What the newest attempt pushed.
    images: Vec<ImageJson>,
    /// What the newest attempt built, layer by layer; left out of lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    built: Option<Vec<BuiltJson>>,
    failure: Option<FailureJson>,
}

/// One try of a job.
#[derive(Debug, Serialize, ToSchema)]
pub struct AttemptJson {
    epoch: i64,
    /// The builder's name; null for whoever does not belong to the build's tenant.
    builder: Option<String>,
    /// The builder; null for whoever does not belong to the build's tenant.
    #[schema(value_type = Option<uuid::Uuid>)]
    builder_id: Option<BuilderId>,
    #[schema(value_type = String)]
    state: AttemptState,
    #[schema(value_type = String)]
    phase: Phase,
    #[schema(value_type = Option<String>)]
    outcome: Option<AttemptOutcome>,
    started_at: DateTime<Utc>,
    finished_at: Option<DateTime<Utc>>,
    failure: Option<FailureJson>,
    /// What is to be known beside that, once it is over.
    remarks: RemarksJson,
}

/// What the engine warned of, and what the log does not hold.
#[derive(Debug, Serialize, ToSchema)]
pub struct RemarksJson {
    /// How many warnings there were.
    warning_count: i64,
    /// The first of them.
    warnings: Vec<WarningJson>,
    /// Bytes that are left out of the log, because the plan allows no longer one.
    log_left_out_bytes: i64,
    /// Numbers of the steps whose output the engine itself cut.
    cut_steps: Vec<i64>,
}

/// Something that may be wrong.
#[derive(Debug, Serialize, ToSchema)]
pub struct WarningJson {
    text: String,
    /// The number of the step whose log has it.
    step: Option<i64>,
    /// Path of the Dockerfile that it is about.
    dockerfile: Option<String>,
    /// The line there, from 1.
    line: Option<i64>,
}

/// One step of an attempt.
#[derive(Debug, Serialize, ToSchema)]
pub struct StepJson {
    number: i64,
    digest: String,
    name: String,
    #[schema(value_type = String)]
    state: StepState,
    cached: bool,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
    exit_code: Option<i64>,
    /// Bytes of layers and files that it has moved so far, where it moves some.
    moved_bytes: Option<i64>,
    /// Bytes that it will have moved, where that is known.
    total_bytes: Option<i64>,
    /// Numbers of the steps whose results it takes; empty where that is not known.
    inputs: Vec<i64>,
    /// Milliseconds between its first begin and its last end in which it did not run, where it ran more than once.
    paused_ms: Option<i64>,
}

/// A pushed image.
#[derive(Debug, Serialize, ToSchema)]
pub struct ImageJson {
    /// `host/path:tag`.
    #[serde(rename = "ref")]
    reference: String,
    digest: String,
    size_bytes: i64,
    /// False when the tag already showed a newer build.
    moved: bool,
}

/// Why it did not succeed.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct FailureJson {
    #[schema(value_type = String)]
    pub class: FailureClass,
    /// What happened and where.
    pub message: String,
    pub step: Option<String>,
    pub exit_code: Option<i64>,
    /// Path of the Dockerfile from the repository's root, where a line of it is told.
    pub dockerfile: Option<String>,
    pub dockerfile_line: Option<i64>,
    /// What to do next.
    pub hint: String,
    /// The Dockerfile around the instruction that failed; may leave out the middle of a long one.
    pub excerpt: Vec<ExcerptLineJson>,
    /// The last lines that the step wrote, without colours.
    pub last_lines: Vec<String>,
}

/// One line of a Dockerfile.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ExcerptLineJson {
    /// Its number, from 1.
    pub line: i64,
    pub text: String,
    /// True if it belongs to the instruction that failed.
    pub failing: bool,
}

impl WaitingJson {
    /// As a member of the build's tenant is told, or somebody else.
    pub fn new(waiting: Waiting, is_member: bool) -> Self {
        let Waiting { reason, public_reason, position } = waiting;
        Self { reason: if is_member { reason } else { public_reason }, position, eta: None }
    }
}

fn in_words<S: Serializer>(reason: &WaitReason, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(reason)
}

impl BuildJson {
    /// The whole build, as this caller may see it.
    pub fn new(view: BuildView, told: Told) -> Self {
        let BuildView { build, project_name, jobs, public: _ } = view;
        let Told { is_member, waiting, statuses, url } = told;
        Self {
            id: build.id,
            project: build.project_id,
            project_name,
            state: build.state,
            trigger: build.trigger,
            git_ref: build.git_ref,
            commit: build.commit_id,
            title: build.title,
            actor: build.actor,
            rerun_of: build.rerun_of,
            created_at: build.created_at,
            started_at: build.started_at,
            finished_at: build.finished_at,
            waiting,
            jobs: jobs.into_iter().map(|job| JobJson::new(job, is_member)).collect(),
            statuses: statuses.into_iter().map(StatusJson::from).collect(),
            url,
        }
    }

    /// With what its jobs built.
    pub fn with(mut self, mut outputs: Outputs) -> Self {
        for job in &mut self.jobs {
            let built = outputs.remove(&job.id).unwrap_or_default();
            job.built = Some(built.into_iter().map(BuiltJson::from).collect());
        }
        self
    }
}

impl From<StatusView> for StatusJson {
    fn from(view: StatusView) -> Self {
        Self { context: view.context, shows: view.wanted, state: view.state, error: view.last_error }
    }
}

impl JobJson {
    /// As a member of the build's tenant is told, or somebody else.
    pub fn new(view: JobView, is_member: bool) -> Self {
        let failure = failure_of(&view);
        let newest = newest(&view);
        let images = newest.map(|attempt| attempt.images.0.clone()).unwrap_or_default();
        Self {
            id: view.job.id,
            build: view.job.build_id,
            kind: view.job.kind,
            state: view.job.state,
            pool: view.job.pool.to_string(),
            images: images.into_iter().map(ImageJson::from).collect(),
            built: None,
            failure,
            steps: view.steps.into_iter().map(StepJson::from).collect(),
            attempts: view.attempts.into_iter().map(|attempt| AttemptJson::new(attempt, is_member)).collect(),
        }
    }
}

impl AttemptJson {
    fn new(attempt: Attempt, is_member: bool) -> Self {
        Self {
            epoch: attempt.epoch,
            builder: is_member.then_some(attempt.builder_name),
            builder_id: is_member.then_some(attempt.builder_id),
            state: attempt.state,
            phase: attempt.phase,
            outcome: attempt.outcome,
            started_at: attempt.started_at,
            finished_at: attempt.finished_at,
            failure: attempt.failure.map(|failure| FailureJson::from(failure.0)),
            remarks: RemarksJson::from(attempt.remarks.0),
        }
    }
}

impl From<Step> for StepJson {
    fn from(step: Step) -> Self {
        Self {
            number: step.number,
            digest: step.digest,
            name: step.name,
            state: step.state,
            cached: step.cached,
            started_at: step.started_at,
            finished_at: step.finished_at,
            exit_code: step.exit_code,
            moved_bytes: step.moved_bytes,
            total_bytes: step.total_bytes,
            inputs: step.inputs.0,
            paused_ms: step.paused_ms,
        }
    }
}

impl From<PushedImage> for ImageJson {
    fn from(image: PushedImage) -> Self {
        Self { reference: image.reference, digest: image.digest, size_bytes: image.size_bytes, moved: image.moved }
    }
}

impl From<Remarks> for RemarksJson {
    fn from(remarks: Remarks) -> Self {
        Self {
            warning_count: remarks.warning_count,
            warnings: remarks.warnings.into_iter().map(WarningJson::from).collect(),
            log_left_out_bytes: remarks.log_left_out_bytes,
            cut_steps: remarks.cut_steps,
        }
    }
}

impl From<Warning> for WarningJson {
    fn from(warning: Warning) -> Self {
        Self { text: warning.text, step: warning.step, dockerfile: warning.dockerfile, line: warning.line }
    }
}

impl From<ExcerptLine> for ExcerptLineJson {
    fn from(line: ExcerptLine) -> Self {
        Self { line: line.line, text: line.text, failing: line.failing }
    }
}

impl From<Failure> for FailureJson {
    fn from(failure: Failure) -> Self {
        Self {
            class: failure.class,
            hint: failure.advice().to_owned(),
            message: failure.message,
            step: failure.step,
            exit_code: failure.exit_code,
            dockerfile: failure.detail.dockerfile,
            dockerfile_line: failure.dockerfile_line,
            excerpt: failure.detail.excerpt.into_iter().map(ExcerptLineJson::from).collect(),
            last_lines: failure.detail.last_lines,
        }
    }
}

/// The attempt with the highest epoch.
pub fn newest(view: &JobView) -> Option<&Attempt> {
    view.attempts.iter().max_by_key(|attempt| attempt.epoch)
}

/// Why a job is where it is, once it is over; an attempt's own failure may have been retried away.
pub fn failure_of(view: &JobView) -> Option<FailureJson> {
    let (class, untold) = match view.job.state {
        JobState::Failed => (FailureClass::Internal, "The builder gave no reason."),
        JobState::Errored if view.attempts.is_empty() => (FailureClass::NoBuilder, "No builder took the job in time."),
        JobState::Errored => (FailureClass::BuilderLost, "The builder vanished, also when the job was tried again."),
        JobState::TimedOut => (FailureClass::TimedOut, "The job ran longer than it may."),
        JobState::Blocked
        | JobState::Queued
        | JobState::Ready
        | JobState::Dispatched
        | JobState::Running
        | JobState::Cancelling
        | JobState::Succeeded
        | JobState::Cancelled
        | JobState::Skipped => return None,
    };
    let told = newest(view).and_then(|attempt| attempt.failure.as_ref()).map(|failure| failure.0.clone());
    Some(told.unwrap_or_else(|| Failure::new(class, untold)).into())
}
