//! What a builder is told to do. Stored with the job when it is made; never holds a secret.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize};

use crate::build::Trigger;
use crate::event::ForgeKind;
use crate::git_ref::GitRef;
use crate::ids::{BuildId, ProjectId, TenantId};
use crate::plan::Limits;
use crate::tag_template::{BadTemplate, Facts, expand};

/// Ends the tags under which caches are pushed.
pub const CACHE_SUFFIX: &str = ".cache";

/// How a project is built: the `build` object of a project, of `POST …/builds` and of `slipway.yml`.
/// Unset fields fall back to the next source. Between releases unknown fields are passed over; where users write
/// them, [`as_written`] refuses them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BuildOptions {
    /// Path of the Dockerfile inside the context; `Dockerfile` unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dockerfile: Option<String>,
    /// Folder of the repository that is sent to the engine; the root unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// Stage to build; the last one unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Build arguments. They end up in the image's history: never a secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub args: Option<BTreeMap<String, String>>,
    /// Image tags, instead of the project's; templates, see [`crate::tag_template`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// Which of the project's images are made, and how; all of them unless set. See [`crate::outputs`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images: Option<Vec<ImageOptions>>,
    /// Ignore the layer cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_cache: Option<bool>,
    /// Ask registries for newer base images, instead of taking what the builder has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pull: Option<bool>,
    /// Fetch the repository's submodules, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub submodules: Option<bool>,
    /// Fetch the content of files that lie in LFS, instead of building their pointers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lfs: Option<bool>,
    /// Network of RUN steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkMode>,
    /// Seconds that the job may run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_secs: Option<u64>,
}

/// The same fields as a user writes them: one that is not known is a mistake.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    dockerfile: Option<String>,
    context: Option<String>,
    target: Option<String>,
    args: Option<BTreeMap<String, String>>,
    tags: Option<Vec<String>>,
    images: Option<Vec<WrittenImage>>,
    no_cache: Option<bool>,
    pull: Option<bool>,
    submodules: Option<bool>,
    lfs: Option<bool>,
    network: Option<NetworkMode>,
    timeout_secs: Option<u64>,
}

/// One of the project's images, as a build makes it. What is unset is as the project has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageOptions {
    /// One of the project's repositories, `host[:port]/path`.
    pub repository: String,
    /// The stage that is built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Its tags; templates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenImage {
    repository: String,
    #[serde(default)]
    target: Option<String>,
    #[serde(default)]
    tags: Option<Vec<String>>,
}

impl From<WrittenImage> for ImageOptions {
    fn from(WrittenImage { repository, target, tags }: WrittenImage) -> Self {
        Self { repository, target, tags }
    }
}

impl From<Written> for BuildOptions {
    fn from(written: Written) -> Self {
        let Written {
            dockerfile,
            context,
            target,
            args,
            tags,
            images,
            no_cache,
            pull,
            submodules,
            lfs,
            network,
            timeout_secs,
        } = written;
        let images = images.map(|images| images.into_iter().map(ImageOptions::from).collect());
        Self { dockerfile, context, target, args, tags, images, no_cache, pull, submodules, lfs, network, timeout_secs }
    }
}

/// For `deserialize_with`: options from a user, in whom an unknown field is an error.
pub fn as_written<'de, D: Deserializer<'de>>(source: D) -> Result<BuildOptions, D::Error> {
    Written::deserialize(source).map(BuildOptions::from)
}

/// The same where none may be given.
pub fn as_written_if_any<'de, D: Deserializer<'de>>(source: D) -> Result<Option<BuildOptions>, D::Error> {
    Ok(Option::<Written>::deserialize(source)?.map(BuildOptions::from))
}

/// Network of RUN steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkMode {
    /// The engine's default.
    Default,
    /// No network at all.
    None,
}

impl BuildOptions {
    /// These options, with what they leave open taken from `fallback`.
    pub fn or(self, fallback: BuildOptions) -> BuildOptions {
        BuildOptions {
            dockerfile: self.dockerfile.or(fallback.dockerfile),
            context: self.context.or(fallback.context),
            target: self.target.or(fallback.target),
            args: self.args.or(fallback.args),
            tags: self.tags.or(fallback.tags),
            images: self.images.or(fallback.images),
            no_cache: self.no_cache.or(fallback.no_cache),
            pull: self.pull.or(fallback.pull),
            submodules: self.submodules.or(fallback.submodules),
            lfs: self.lfs.or(fallback.lfs),
            network: self.network.or(fallback.network),
            timeout_secs: self.timeout_secs.or(fallback.timeout_secs),
        }
    }
}

/// Where the image goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageTarget {
    /// `host[:port]/path`, without a tag.
    pub repository: String,
    /// Tags that users see, as templates; none means the default ones.
    pub tags: Vec<String>,
    /// The stage that is built for it; what the build says unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

impl ImageTarget {
    /// Its tags, where it has some of its own.
    pub fn own_tags(&self) -> Option<&Vec<String>> {
        Some(&self.tags).filter(|tags| !tags.is_empty())
    }
}

/// A pull or merge request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeSpec {
    /// Its number on the forge.
    pub number: u64,
    /// The branch it goes to, where the forge says it. Its `slipway.yml` counts for a change that is not trusted.
    pub target: Option<GitRef>,
    /// False when it comes from another repository, or nobody knows: strangers wrote it.
    pub trusted: bool,
}

impl ChangeSpec {
    /// What is built of a ref that is neither a branch nor a tag, such as `refs/pull/5/head`: forges let anybody write
    /// there. `None` for branches and tags.
    pub fn of_foreign_ref(git_ref: &GitRef) -> Option<Self> {
        if git_ref.branch().is_some() || git_ref.tag().is_some() {
            return None;
        }
        let number = git_ref.as_str().split('/').find_map(|part| part.parse().ok()).unwrap_or_default();
        Some(Self { number, target: None, trusted: false })
    }
}

/// Everything a builder needs to know before it starts, except credentials.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSpec {
    /// The build.
    pub build: BuildId,
    /// The project.
    pub project: ProjectId,
    /// The project's name, for the log.
    pub project_name: String,
    /// The tenant; a shared engine serves only one.
    pub tenant: TenantId,
    /// Why it is built.
    pub trigger: Trigger,
    /// The forge, if the project has a connection.
    pub forge: Option<ForgeKind>,
    /// The project's own clone URL, never a payload's.
    pub clone_url: String,
    /// The ref it is built for; `None` for a bare commit.
    #[serde(rename = "ref")]
    pub git_ref: Option<GitRef>,
    /// The full commit id.
    pub commit: String,
    /// The pull or merge request that is built, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<ChangeSpec>,
    /// Options asked for with this one build; they win over `slipway.yml`.
    pub asked: BuildOptions,
    /// The project's options; `slipway.yml` wins over them.
    pub project_options: BuildOptions,
    /// Where to push, if anywhere.
    pub image: Option<ImageTarget>,
    /// Further images, where there is a first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub more_images: Vec<ImageTarget>,
    /// A repository, `host[:port]/path`, that keeps the layers of all stages for builders that have none of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_repository: Option<String>,
    /// When the build was made; for labels.
    pub created_at: DateTime<Utc>,
    /// Largest context, bytes.
    pub context_max_bytes: u64,
    /// Most entries of a context.
    pub context_max_entries: u64,
    /// What the tenant's plan allows; a release that knows no plans says nothing.
    #[serde(default)]
    pub limits: Limits,
}

impl JobSpec {
    /// False for what strangers wrote. It gets no secret, pushes nothing and shares no cache.
    pub fn is_trusted(&self) -> bool {
        self.change.as_ref().is_none_or(|change| change.trusted)
    }

    /// The immutable tag that the engine pushes first: `b<build>.<epoch>`; that of the second stage that is built is
    /// `b<build>.<epoch>.1`, and so on.
    pub fn carrier_tag(&self, epoch: i64, variant: usize) -> String {
        let first = format!("b{}.{epoch}", self.build.to_string().replace('-', ""));
        if variant == 0 { first } else { format!("{first}.{variant}") }
    }

    /// Where this attempt keeps the layers of all stages, `host/path:tag`, if its project does: under a tag that only it
    /// uses. What strangers wrote keeps nothing.
    pub fn cache_place(&self, epoch: i64) -> Option<String> {
        let repository = self.cache_repository.as_ref().filter(|_| self.is_trusted())?;
        Some(format!("{repository}:{}{CACHE_SUFFIX}", self.carrier_tag(epoch, 0)))
    }

    /// The tags that these templates give for this build, in the order in which they are moved.
    pub fn tags_of(&self, templates: &[String]) -> Result<Vec<String>, BadTemplate> {
        let facts = Facts { build: self.build, commit: &self.commit, git_ref: self.git_ref.as_ref() };
        expand(templates, &facts)
    }

    /// The default tags: the full commit id, then a slug of the branch or tag.
    pub fn default_tags(&self) -> Vec<String> {
        let mut tags = vec![self.commit.clone()];
        if let Some(git_ref) = &self.git_ref {
            tags.push(crate::git_ref::tag_slug(git_ref.short()));
        }
        tags
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_branch_and_no_tag_is_strangers_work() {
        let of = |name: &str| GitRef::parse(name).ok().as_ref().and_then(ChangeSpec::of_foreign_ref);
        assert_eq!((of("refs/heads/5"), of("refs/tags/v1")), (None, None));
        for (name, number) in [("refs/pull/5/head", 5), ("refs/merge-requests/7/head", 7), ("refs/notes/x", 0)] {
            assert_eq!(of(name), Some(ChangeSpec { number, target: None, trusted: false }), "{name}");
        }
    }

    #[derive(Deserialize)]
    struct Asked {
        #[serde(deserialize_with = "as_written")]
        build: BuildOptions,
        #[serde(default, deserialize_with = "as_written_if_any")]
        instead: Option<BuildOptions>,
    }

    #[test]
    fn unknown_options_are_refused_from_users_and_passed_over_between_releases() {
        let newer = r#"{"target":"run","x_newer":true}"#;
        let read: BuildOptions = serde_json::from_str(newer).expect("another release wrote it");
        assert_eq!(read, BuildOptions { target: Some("run".to_owned()), ..BuildOptions::default() });
        let asked = |build: &str, instead: &str| {
            serde_json::from_str::<Asked>(&format!(r#"{{"build":{build},"instead":{instead}}}"#))
        };
        let image = r#"{"images":[{"repository":"r/a","x_newer":true}]}"#;
        for refused in [asked(newer, "null"), asked("{}", newer), asked(image, "null")] {
            let error = refused.err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains("unknown field `x_newer`"), "{error}");
        }
        let known = r#"{"dockerfile":"D","context":"c","target":"t","args":{"A":"1"},"tags":["x"],"no_cache":true,"pull":true,
            "submodules":true,"lfs":false,
            "images":[{"repository":"r/a","target":"t","tags":["x"]},{"repository":"r/b"}],
            "network":"none","timeout_secs":9}"#;
        let asked = asked(known, known).expect("all of them are known");
        assert_eq!(serde_json::from_str::<BuildOptions>(known).ok().as_ref(), Some(&asked.build));
        assert_eq!(asked.instead, Some(asked.build));
    }
}
