//! Projects as the API shows and takes them.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize};
use slipway_domain::event::ForgeKind;
use slipway_domain::ids::{ConnectionId, HookId, ProjectId, TenantId};
use slipway_domain::rules::{self, Rules};
use slipway_domain::spec::{BuildOptions, as_written, as_written_if_any};
use slipway_domain::tenant::{ProjectState, Visibility};
use slipway_store::projects::{Project, ProjectImage};
use slipway_store::reconciliations::LookView;
use utoipa::ToSchema;

use crate::openapi::{BuildOptionsDoc, RulesDoc};

/// What makes a project.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateProject {
    /// 1 to 100 characters, unique within the tenant; `/` is allowed.
    pub name: String,
    /// Id or name of the tenant; yours unless set.
    #[serde(default)]
    pub tenant: Option<String>,
    /// A connection of the tenant. Either this or `forge`.
    #[serde(default)]
    #[schema(value_type = Option<uuid::Uuid>)]
    pub connection: Option<ConnectionId>,
    /// The forge of a public repository, without a credential. Either this or `connection`.
    #[serde(default)]
    pub forge: Option<ForgeRef>,
    /// The repository.
    pub repo: RepoJson,
    /// Where the image goes; without it nothing is pushed.
    #[serde(default)]
    pub image: Option<ImageJson>,
    /// Where images go, if there are several: the same one to several repositories, or several stages.
    #[serde(default)]
    pub images: Option<Vec<ImageJson>>,
    /// `host[:port]/path` that keeps the layers of all stages, for builders that have none of them. They hold what the
    /// image leaves out, such as sources: name a repository that is as private as those. None are kept unless set, and
    /// only where the builder's engine can.
    #[serde(default)]
    pub cache_repository: Option<String>,
    /// `private` (unless set) or `public`: everybody sees builds, logs and badge.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub visibility: Option<Visibility>,
    /// How to build.
    #[serde(default, deserialize_with = "as_written")]
    #[schema(value_type = BuildOptionsDoc)]
    pub build: BuildOptions,
    /// What of it is built; everything unless set.
    #[serde(default, deserialize_with = "rules::as_written")]
    #[schema(value_type = RulesDoc)]
    pub rules: Rules,
    /// The region that shall build it; the installation's own unless set.
    #[serde(default)]
    pub region: Option<String>,
}

/// What may change. Fields that are not given stay; `null` takes `image`, `cache_repository`
/// and `region` away.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PatchProject {
    /// Replaces all build options.
    #[serde(default, deserialize_with = "as_written_if_any")]
    #[schema(value_type = Option<BuildOptionsDoc>)]
    pub build: Option<BuildOptions>,
    /// Replaces all rules.
    #[serde(default, deserialize_with = "rules::as_written_if_any")]
    #[schema(value_type = Option<RulesDoc>)]
    pub rules: Option<Rules>,
    /// `private` or `public`.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub visibility: Option<Visibility>,
    /// Where the image goes.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<ImageJson>)]
    pub image: Option<Option<ImageJson>>,
    /// Where images go, if there are several; replaces all of them.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Vec<ImageJson>>)]
    pub images: Option<Option<Vec<ImageJson>>>,
    /// `host[:port]/path` that keeps the layers of all stages.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    pub cache_repository: Option<Option<String>>,
    /// The region that shall build it.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    pub region: Option<Option<String>>,
}

/// A forge, without a credential.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ForgeRef {
    /// `github`, `gitlab`, …
    #[schema(value_type = String)]
    pub kind: ForgeKind,
    /// The forge's address; its public one unless set.
    #[serde(default)]
    pub base_url: Option<String>,
}

/// A repository.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RepoJson {
    /// Its path on the forge, `team/app`.
    pub full_path: String,
    /// Where builders fetch it: https or ssh, never with a password in it.
    pub clone_url: String,
}

/// Where an image goes.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageJson {
    /// `host[:port]/path`, without a tag.
    pub repository: String,
    /// Tags, in which `{{branch}}`, `{{tag}}`, `{{ref}}`, `{{sha}}`, `{{sha7}}` and `{{build}}` are filled in; one with a word
    /// that a build has nothing for is left out. The commit id and the branch or tag unless set.
    #[serde(default)]
    pub tags: Option<Vec<String>>,
    /// The stage that is built for it; wins over `build.target`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

/// A hook.
#[derive(Serialize, ToSchema)]
pub struct HookJson {
    /// Its id, the opaque part of the URL.
    #[schema(value_type = uuid::Uuid)]
    pub id: HookId,
    /// Set this as the webhook's address at the forge.
    pub url: String,
    /// Set this as the webhook's secret; shown once, when the project is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

/// The service looks at the repository's refs now and then, for pushes that the forge told nobody of.
#[derive(Serialize, ToSchema)]
pub struct LookJson {
    /// The last look that succeeded.
    looked_at: Option<DateTime<Utc>>,
    /// Why the last one failed.
    error: Option<String>,
}

impl From<LookView> for LookJson {
    fn from(view: LookView) -> Self {
        Self { looked_at: view.looked_at, error: view.last_error }
    }
}

/// A project. What the public does not see is left out for it.
#[derive(Serialize, ToSchema)]
pub struct ProjectJson {
    #[schema(value_type = uuid::Uuid)]
    id: ProjectId,
    name: String,
    #[schema(value_type = uuid::Uuid)]
    tenant: TenantId,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<uuid::Uuid>)]
    connection: Option<ConnectionId>,
    #[schema(value_type = String)]
    forge: ForgeKind,
    repo: RepoJson,
    /// The first of `images`.
    image: Option<ImageJson>,
    images: Vec<ImageJson>,
    /// Keeps the layers of all stages.
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_repository: Option<String>,
    #[schema(value_type = String)]
    visibility: Visibility,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<BuildOptionsDoc>)]
    build: Option<BuildOptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<RulesDoc>)]
    rules: Option<Rules>,
    region: Option<String>,
    #[schema(value_type = String)]
    state: ProjectState,
    /// Why the service paused it by itself; null where a person did.
    paused_reason: Option<String>,
    /// How the looks at the repository's refs go; left out for the public, null before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    refs: Option<LookJson>,
    /// The first hook.
    #[serde(skip_serializing_if = "Option::is_none")]
    hook: Option<HookJson>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl ProjectJson {
    /// For members of its tenant.
    pub fn whole(project: Project, hooks: Vec<HookJson>, look: Option<LookView>) -> Self {
        let connection = project.connection_id;
        let (build, rules) = (project.options.0.clone(), project.rules.0.clone());
        Self {
            cache_repository: project.cache_repository.clone(),
            connection: Some(connection),
            build: Some(build),
            rules: Some(rules),
            hook: hooks.into_iter().next(),
            refs: look.map(LookJson::from),
            ..Self::public(project)
        }
    }

    /// For everybody: no hook, no arguments, no connection.
    pub fn public(project: Project) -> Self {
        let images: Vec<ImageJson> = project.images().into_iter().map(ImageJson::from).collect();
        Self {
            id: project.id,
            name: project.name,
            tenant: project.tenant_id,
            connection: None,
            forge: project.forge,
            repo: RepoJson { full_path: project.repo_path, clone_url: project.clone_url },
            image: images.first().cloned(),
            images,
            cache_repository: None,
            visibility: project.visibility,
            build: None,
            rules: None,
            region: project.region,
            state: project.state,
            paused_reason: project.paused_reason,
            refs: None,
            hook: None,
            created_at: project.created_at,
            updated_at: project.updated_at,
        }
    }
}

impl From<ImageJson> for ProjectImage {
    fn from(image: ImageJson) -> Self {
        Self { repository: image.repository, tags: image.tags, target: image.target }
    }
}

impl From<ProjectImage> for ImageJson {
    fn from(image: ProjectImage) -> Self {
        Self { repository: image.repository, tags: image.tags, target: image.target }
    }
}

/// Tells a field that is null from one that is not there.
fn given<'de, D, T>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::<T>::deserialize(deserializer).map(Some)
}
