//! From a project and a wish to the rows of a build: one `image` job with everything a builder must know.

use chrono::{DateTime, Utc};
use slipway_domain::build::Trigger;
use slipway_domain::git_ref::GitRef;
use slipway_domain::ids::{BuildId, DeliveryId, JobId};
use slipway_domain::job::JobKind;
use slipway_domain::placement::{BadPool, PlacementInput, place};
use slipway_domain::plan::Limits;
use slipway_domain::spec::{BuildOptions, ChangeSpec, ImageTarget, JobSpec};
use slipway_domain::timing::{JOB_TIMEOUT, JOB_TIMEOUT_MAX};
use slipway_runtime::ids::new_id;
use slipway_store::builds::{NewBuild, NewJob, RefOrder};
use slipway_store::projects::{Project, ProjectImage};
use slipway_store::tenants::Tenant;

use crate::state::ApiConfig;

/// What shall be built, and why.
#[derive(Debug, Clone)]
pub struct WantedBuild {
    /// Why.
    pub trigger: Trigger,
    /// The ref it is for; `None` for a bare commit.
    pub git_ref: Option<GitRef>,
    /// Full commit id.
    pub commit: String,
    /// The commit that the ref pointed to before.
    pub before: Option<String>,
    /// Place within the ref.
    pub order: RefOrder,
    /// The same key makes no second build.
    pub dedupe_key: String,
    /// The older build that this one repeats.
    pub rerun_of: Option<BuildId>,
    /// First line of the commit's message.
    pub title: Option<String>,
    /// Who caused it.
    pub actor: Option<String>,
    /// The delivery that told of it.
    pub delivery: Option<DeliveryId>,
    /// The pull or merge request that is built.
    pub change: Option<ChangeSpec>,
    /// When the forge told of it, by its own clock.
    pub told_at: Option<DateTime<Utc>>,
    /// Nothing of it runs before somebody with write access approves it.
    pub needs_approval: bool,
    /// Options asked for with this one build.
    pub asked: BuildOptions,
    /// The region that `slipway.yml` asks for.
    pub region: Option<String>,
    /// The timeout that `slipway.yml` asks for.
    pub timeout_secs: Option<u64>,
    /// When it is made.
    pub now: DateTime<Utc>,
}

/// The rows of a build. Fails when a region is no valid name.
pub fn new_build(
    config: &ApiConfig,
    project: &Project,
    tenant: &Tenant,
    wanted: WantedBuild,
) -> Result<NewBuild, BadPool> {
    let pool = place(&PlacementInput {
        wanted_region: wanted.region.as_deref().or(project.region.as_deref()),
        default_region: &config.region,
        class: &tenant.class,
        wanted_platform: None,
        default_platform: &config.platform,
    })?;
    let id: BuildId = new_id();
    let limits = config.plans.limits(&tenant.plan);
    let timeout_secs = timeout(&wanted, &project.options.0, limits);
    let spec = spec(id, project, &wanted, limits);
    let blocked = wanted.needs_approval;
    let job = NewJob { id: new_id::<JobId>(), kind: JobKind::Image, pool, timeout_secs, blocked, spec };
    Ok(NewBuild {
        id,
        tenant: project.tenant_id,
        project: project.id,
        trigger: wanted.trigger,
        git_ref: wanted.git_ref,
        commit: wanted.commit,
        before: wanted.before,
        dedupe_key: wanted.dedupe_key,
        order: wanted.order,
        rerun_of: wanted.rerun_of,
        change_number: wanted.change.as_ref().and_then(|change| i64::try_from(change.number).ok()),
        told_at: wanted.told_at,
        title: wanted.title,
        actor: wanted.actor,
        now: wanted.now,
        jobs: vec![job],
        delivery: wanted.delivery,
    })
}

fn timeout(wanted: &WantedBuild, project: &BuildOptions, limits: Limits) -> i64 {
    let asked = wanted.asked.timeout_secs.or(wanted.timeout_secs).or(project.timeout_secs);
    let secs = asked.unwrap_or(JOB_TIMEOUT.as_secs()).clamp(1, JOB_TIMEOUT_MAX.as_secs().min(limits.wall_secs));
    i64::try_from(secs).unwrap_or(i64::MAX)
}

fn spec(build: BuildId, project: &Project, wanted: &WantedBuild, limits: Limits) -> JobSpec {
    // A change shows whether it builds; images come from the branches it goes to.
    let images = if wanted.change.is_none() { project.images() } else { Vec::new() };
    let mut images = images.into_iter().map(|ProjectImage { repository, tags, target }| ImageTarget {
        repository,
        tags: tags.unwrap_or_default(),
        target,
    });
    JobSpec {
        build,
        project: project.id,
        project_name: project.name.clone(),
        tenant: project.tenant_id,
        trigger: wanted.trigger,
        forge: Some(project.forge),
        clone_url: project.clone_url.clone(),
        git_ref: wanted.git_ref.clone(),
        commit: wanted.commit.clone(),
        change: wanted.change.clone(),
        asked: wanted.asked.clone(),
        project_options: project.options.0.clone(),
        image: images.next(),
        more_images: images.collect(),
        cache_repository: project.cache_repository.clone().filter(|_| wanted.change.is_none()),
        created_at: wanted.now,
        context_max_bytes: limits.context_bytes,
        context_max_entries: limits.context_entries,
        limits,
    }
}
