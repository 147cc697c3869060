//! What a build was made of and where it ran: arguments, names of secrets, platform and builder, the deliveries that told of
//! it and what the forge was told. Of these the public sees no more than the place.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use slipway_domain::ids::{DeliveryId, JobId};
use slipway_domain::spec::{BuildOptions, JobSpec};
use slipway_domain::status::StatusState;
use slipway_runtime::problem::ApiError;
use slipway_store::attempts::Attempt;
use slipway_store::builds::{BuildView, JobView};
use slipway_store::deliveries::Delivery;
use slipway_store::secrets::{Secret, SecretOwner};
use slipway_store::statuses::StatusView;
use tracing::debug;

use crate::builds::json::newest;
use crate::caller::Caller;
use crate::pages::view::{Badge, Moment, build_badge, delivery_badge, moment};
use crate::state::ApiState;
use crate::store_problem::OrProblem;
use crate::texts::Texts;
use crate::words::span;

/// Of more arguments or secrets the list is folded.
const MANY: usize = 8;

/// The section at the end of a build's page.
pub(super) struct About {
    pub(super) jobs: Vec<AboutJob>,
    pub(super) deliveries: Vec<DeliveryRow>,
    pub(super) statuses: Vec<StatusRow>,
    /// The caller belongs to the build's tenant.
    pub(super) is_member: bool,
}

/// Where a job ran, and with what.
pub(super) struct AboutJob {
    pub(super) kind: &'static str,
    pub(super) platform: String,
    pub(super) region: String,
    pub(super) class: String,
    /// The one of the newest attempt.
    pub(super) builder: Option<String>,
    /// Attempts, and how long nothing of the job ran before each.
    waited: Vec<(i64, TimeDelta)>,
    pub(super) args: Args,
    /// Names of those that it may mount.
    pub(super) secrets: Vec<SecretName>,
    pub(super) many_secrets: bool,
    /// What builds the same with another engine.
    pub(super) command: Option<String>,
}

/// Build arguments, as they are declared.
#[derive(Default)]
pub(super) struct Args {
    pub(super) args: Vec<(String, String)>,
    /// The key of who declared them.
    pub(super) of: &'static str,
    pub(super) many: bool,
}

pub(super) struct SecretName {
    pub(super) name: String,
    /// All projects of the tenant have it.
    pub(super) of_tenant: bool,
}

pub(super) struct DeliveryRow {
    pub(super) id: DeliveryId,
    pub(super) event: String,
    pub(super) badge: Badge,
    pub(super) received: Option<Moment>,
}

/// What the forge shows for the build, or should.
pub(super) struct StatusRow {
    pub(super) context: String,
    pub(super) shows: Badge,
    pub(super) badge: Badge,
    pub(super) sent: Option<Moment>,
    /// When it is tried next, after it failed.
    pub(super) again: Option<String>,
    pub(super) attempts: i64,
    pub(super) error: Option<String>,
}

/// Everything of a build that the caller may see.
pub(super) async fn about(
    state: &ApiState,
    caller: Caller,
    view: &BuildView,
    statuses: &[StatusView],
) -> Result<About, ApiError> {
    let now = state.clock.now();
    let is_member = caller.scope.covers(view.build.tenant_id);
    if !is_member {
        let jobs = view.jobs.iter().map(|job| AboutJob::place(view, job)).collect();
        return Ok(About { jobs, deliveries: Vec::new(), statuses: Vec::new(), is_member });
    }
    let secrets = secrets(state, caller, view).await?;
    let mut jobs = Vec::with_capacity(view.jobs.len());
    for job in &view.jobs {
        let builder = newest(job).map(|attempt| attempt.builder_name.clone());
        let about = AboutJob { builder, ..AboutJob::place(view, job) };
        jobs.push(match spec(state, job.job.id).await {
            Some(spec) => about.with(&spec, &secrets),
            None => about,
        });
    }
    let deliveries = state.db.deliveries_of_build(&caller.scope, view.build.id).await.or_problem()?;
    Ok(About {
        jobs,
        deliveries: deliveries.into_iter().map(|delivery| DeliveryRow::new(delivery, now)).collect(),
        statuses: statuses.iter().map(|status| StatusRow::new(status, now)).collect(),
        is_member,
    })
}

/// A spec that does not read takes nothing else from the page.
async fn spec(state: &ApiState, job: JobId) -> Option<JobSpec> {
    match state.db.job_spec(job).await {
        Ok(spec) => Some(spec),
        Err(error) => {
            debug!(job.id = %job, %error, "the spec of a job does not read");
            None
        }
    }
}

/// The secrets of the project and of its tenant by name; a project's goes before its tenant's.
async fn secrets(state: &ApiState, caller: Caller, view: &BuildView) -> Result<BTreeMap<String, Secret>, ApiError> {
    let (tenant, project) = (view.build.tenant_id, view.build.project_id);
    let mut names = BTreeMap::new();
    for project in [None, Some(project)] {
        let found = state.db.list_secrets(&caller.scope, SecretOwner { tenant, project }).await.or_problem()?;
        names.extend(found.into_iter().map(|secret| (secret.name.clone(), secret)));
    }
    Ok(names)
}

impl AboutJob {
    fn place(view: &BuildView, job: &JobView) -> Self {
        Self {
            kind: job.job.kind.as_str(),
            platform: job.job.pool.platform.clone(),
            region: job.job.pool.region.clone(),
            class: job.job.pool.class.clone(),
            builder: None,
            waited: waited(view.build.created_at, &job.attempts),
            args: Args::default(),
            secrets: Vec::new(),
            many_secrets: false,
            command: None,
        }
    }

    /// How long each attempt was waited for, in words.
    pub(super) fn waited(&self, texts: &Texts) -> Vec<String> {
        let words = |(attempt, waited): &(i64, TimeDelta)| {
            let took = span(*waited, *texts);
            texts.t("about-waited-before").with("took", took).with("attempt", attempt).to_string()
        };
        self.waited.iter().map(words).collect()
    }

    fn with(self, spec: &JobSpec, secrets: &BTreeMap<String, Secret>) -> Self {
        let reached = secrets.values().filter(|secret| secret.reach.covers(spec));
        let name = |secret: &Secret| SecretName { name: secret.name.clone(), of_tenant: secret.project_id.is_none() };
        let secrets: Vec<SecretName> = reached.map(name).collect();
        Self { args: Args::of(spec), many_secrets: secrets.len() > MANY, secrets, command: command(spec), ..self }
    }
}

/// What lies before each attempt: since the build was made, or since the attempt before it ended.
fn waited(created_at: DateTime<Utc>, attempts: &[Attempt]) -> Vec<(i64, TimeDelta)> {
    let mut attempts: Vec<_> = attempts.iter().collect();
    attempts.sort_by_key(|attempt| attempt.epoch);
    let free = std::iter::once(Some(created_at)).chain(attempts.iter().map(|attempt| attempt.finished_at));
    let spans = attempts.iter().zip(free).map(|(attempt, free)| Some((attempt.epoch, attempt.started_at - free?)));
    // One that was lost may be closed after the next one has begun.
    spans.flatten().filter(|(_, span)| *span >= TimeDelta::zero()).collect()
}

/// `docker build` of the commit, for a shell; `None` where a value cannot stand in one.
fn command(spec: &JobSpec) -> Option<String> {
    let of = |pick: fn(&BuildOptions) -> Option<&String>| pick(&spec.asked).or_else(|| pick(&spec.project_options));
    let mut words = vec!["docker".to_owned(), "build".to_owned()];
    let mut add = |option: &str, value: &str| words.extend([option.to_owned(), value.to_owned()]);
    if let Some(dockerfile) = of(|options| options.dockerfile.as_ref()) {
        add("--file", dockerfile);
    }
    if let Some(target) = of(|options| options.target.as_ref()) {
        add("--target", target);
    }
    for (name, value) in Args::of(spec).args {
        add("--build-arg", &format!("{name}={value}"));
    }
    let folder = of(|options| options.context.as_ref()).map_or_else(String::new, |folder| format!(":{folder}"));
    words.push(format!("{}#{}{folder}", spec.clone_url, spec.commit));
    shlex::try_join(words.iter().map(String::as_str)).ok()
}

impl Args {
    /// Those that were asked for with the build, or else the project's, which `slipway.yml` may replace.
    fn of(spec: &JobSpec) -> Self {
        let (args, of) = match (&spec.asked.args, &spec.project_options.args) {
            (Some(asked), _) => (asked.clone(), "about-args-asked"),
            (None, Some(project)) => (project.clone(), "about-args-project"),
            (None, None) => return Self::default(),
        };
        Self { many: args.len() > MANY, args: args.into_iter().collect(), of }
    }
}

impl DeliveryRow {
    fn new(delivery: Delivery, now: DateTime<Utc>) -> Self {
        Self {
            id: delivery.id,
            badge: delivery_badge(delivery.state),
            received: moment(Some(delivery.received_at), now),
            event: delivery.event,
        }
    }
}

impl StatusRow {
    fn new(status: &StatusView, now: DateTime<Utc>) -> Self {
        let (key, tone) = match status.state {
            StatusState::Due => ("about-status-due", "busy"),
            StatusState::Sent => ("about-status-sent", "good"),
            StatusState::GivenUp => ("about-status-given-up", "bad"),
        };
        let fails = status.state == StatusState::Due && status.last_error.is_some();
        Self {
            context: status.context.clone(),
            shows: build_badge(status.wanted),
            badge: Badge { key, tone },
            sent: moment(status.sent_at.filter(|_| status.state == StatusState::Sent), now),
            again: fails.then(|| status.next_at.to_rfc3339_opts(SecondsFormat::Secs, true)),
            attempts: status.attempts,
            error: status.last_error.clone(),
        }
    }
}
