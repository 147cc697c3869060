//! What a build makes: the stages that are built, each as one image, and where each image goes.
//!
//! Where images may go is the project's to say, which its members set through the API. A pipeline file and a single
//! build choose among those, because whoever may push to a branch writes the first, and strangers write files, too.

use std::collections::HashMap;

use crate::spec::{BuildOptions, ImageOptions, ImageTarget, JobSpec};
use crate::tag_template::BadTemplate;

/// Most images of one build.
pub const MAX_IMAGES: usize = 10;

/// A stage that is built as one image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Variant {
    /// The stage; the last one unless set.
    pub target: Option<String>,
    /// Where its image goes; nowhere if empty.
    pub pushes: Vec<Push>,
}

/// A repository that takes an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Push {
    /// `host[:port]/path`, without a tag.
    pub repository: String,
    /// The tags in the order in which they are moved, each once.
    pub tags: Vec<String>,
}

/// Images that cannot be made like this.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadOutputs {
    /// A repository that the project has not.
    #[error(
        "build.images names {0}, which is none of the project's repositories; add it to the project's images, or correct it"
    )]
    Foreign(String),
    /// One tag for two images.
    #[error("{0} would be two images of different stages; give each image tags of its own")]
    Twice(String),
    /// Too many of them.
    #[error("build.images has {0} images; at most {MAX_IMAGES} are built at once")]
    TooMany(usize),
    /// A tag that is none.
    #[error("{0}; correct it in build.tags, build.images or the project's tags")]
    Tag(#[from] BadTemplate),
}

/// The registry's host with its port, and the path below it.
pub fn split_repository(repository: &str) -> (&str, &str) {
    repository.split_once('/').unwrap_or(("", repository))
}

impl JobSpec {
    /// The repositories that the project allows, with its own stages and tags.
    pub fn images(&self) -> impl Iterator<Item = &ImageTarget> {
        self.image.iter().chain(&self.more_images)
    }

    /// What these options make of the project's images: at least one variant, in the order in which they are built. An
    /// image's own stage wins over `build.target`; `build.tags` win over the project's tags, and those of `build.images`
    /// over both. Where nothing may be pushed the stages are built all the same.
    pub fn outputs(&self, options: &BuildOptions) -> Result<Vec<Variant>, BadOutputs> {
        let wanted = self.wanted(options)?;
        let mut variants: Vec<Variant> = Vec::new();
        let mut shown: HashMap<(String, String), Option<String>> = HashMap::new();
        for Wanted { target, repository, tags } in wanted {
            let place = variants.iter().position(|variant| variant.target == target).unwrap_or_else(|| {
                variants.push(Variant { target: target.clone(), pushes: Vec::new() });
                variants.len() - 1
            });
            let Some(repository) = repository else { continue };
            let tags = match tags {
                Some(tags) => self.tags_of(tags)?,
                None => self.default_tags(),
            };
            let mut new = Vec::new();
            for tag in tags {
                match shown.insert((repository.to_owned(), tag.clone()), target.clone()) {
                    None => new.push(tag),
                    Some(same) if same == target => {}
                    Some(_) => return Err(BadOutputs::Twice(format!("{repository}:{tag}"))),
                }
            }
            if let Some(variant) = variants.get_mut(place).filter(|_| !new.is_empty()) {
                match variant.pushes.iter_mut().find(|push| push.repository == repository) {
                    Some(push) => push.tags.append(&mut new),
                    None => variant.pushes.push(Push { repository: repository.to_owned(), tags: new }),
                }
            }
        }
        if variants.is_empty() {
            variants.push(Variant { target: options.target.clone(), pushes: Vec::new() });
        }
        Ok(variants)
    }

    fn wanted<'a>(&'a self, options: &'a BuildOptions) -> Result<Vec<Wanted<'a>>, BadOutputs> {
        let Some(chosen) = &options.images else {
            let project = self.images().map(|image| Wanted {
                target: image.target.clone().or_else(|| options.target.clone()),
                repository: Some(&image.repository),
                tags: options.tags.as_ref().or(image.own_tags()),
            });
            return Ok(project.collect());
        };
        if chosen.len() > MAX_IMAGES {
            return Err(BadOutputs::TooMany(chosen.len()));
        }
        chosen.iter().map(|image| self.chosen(image, options)).collect()
    }

    fn chosen<'a>(&'a self, image: &'a ImageOptions, options: &'a BuildOptions) -> Result<Wanted<'a>, BadOutputs> {
        let pushes = self.image.is_some();
        let of_project = || self.images().filter(|known| known.repository == image.repository);
        let known = of_project().find(|known| known.target == image.target).or_else(|| of_project().next());
        if pushes && known.is_none() {
            return Err(BadOutputs::Foreign(image.repository.chars().take(200).collect()));
        }
        let target = image.target.clone().or_else(|| known.and_then(|known| known.target.clone()));
        Ok(Wanted {
            target: target.or_else(|| options.target.clone()),
            repository: pushes.then_some(image.repository.as_str()),
            tags: image.tags.as_ref().or(options.tags.as_ref()).or(known.and_then(ImageTarget::own_tags)),
        })
    }

    /// Whether this build was asked for with this tag of a repository, or with none in particular, so that `slipway.yml`
    /// may name any.
    pub fn may_show(&self, repository: &str, tag: &str) -> bool {
        let is_asked = |tags: Option<&Vec<String>>| {
            tags.is_none_or(|tags| self.tags_of(tags).is_ok_and(|tags| tags.iter().any(|asked| asked == tag)))
        };
        let own = self.images().any(|image| image.repository == repository);
        own && match &self.asked.images {
            None => is_asked(self.asked.tags.as_ref()),
            Some(images) => images
                .iter()
                .filter(|image| image.repository == repository)
                .any(|image| is_asked(image.tags.as_ref().or(self.asked.tags.as_ref()))),
        }
    }
}

struct Wanted<'a> {
    target: Option<String>,
    repository: Option<&'a str>,
    /// Templates; the default tags unless set.
    tags: Option<&'a Vec<String>>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::Trigger;
    use crate::git_ref::GitRef;
    use crate::ids::{BuildId, ProjectId, TenantId};

    fn spec(images: &[(&str, Option<&str>, &[&str])]) -> JobSpec {
        let image = |(repository, target, tags): &(&str, Option<&str>, &[&str])| ImageTarget {
            repository: (*repository).to_owned(),
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            target: target.map(str::to_owned),
        };
        let mut images = images.iter().map(image);
        let id = uuid::Uuid::nil();
        JobSpec {
            build: BuildId::from(id),
            project: ProjectId::from(id),
            project_name: "app".to_owned(),
            tenant: TenantId::from(id),
            trigger: Trigger::Push,
            forge: None,
            clone_url: "https://example.org/app.git".to_owned(),
            git_ref: GitRef::parse("refs/heads/main").ok(),
            commit: "a".repeat(40),
            change: None,
            asked: BuildOptions::default(),
            project_options: BuildOptions::default(),
            image: images.next(),
            more_images: images.collect(),
            cache_repository: None,
            created_at: chrono::DateTime::UNIX_EPOCH,
            context_max_bytes: 1,
            context_max_entries: 1,
            limits: crate::plan::Limits::default(),
        }
    }

    fn options(json: &str) -> BuildOptions {
        serde_json::from_str(json).expect("options")
    }

    /// `target: repository:tag,tag repository:tag`
    fn made(spec: &JobSpec, json: &str) -> Result<Vec<String>, String> {
        let variants = spec.outputs(&options(json)).map_err(|bad| bad.to_string())?;
        let shown = |variant: Variant| {
            let pushes = variant.pushes.iter().map(|push| format!(" {}:{}", push.repository, push.tags.join(",")));
            format!("{}:{}", variant.target.unwrap_or_default(), pushes.collect::<String>())
        };
        Ok(variants.into_iter().map(shown).collect())
    }

    #[test]
    fn a_build_makes_each_stage_once_and_pushes_it_where_the_project_says() {
        let commit = "a".repeat(40);
        let (none, one) = (spec(&[]), spec(&[("r/app", None, &[])]));
        let two = spec(&[("r/app", None, &["{{sha7}}", "main"]), ("s/copy", None, &["main"])]);
        let stages = spec(&[("r/app", Some("run"), &["main"]), ("r/debug", Some("debug"), &["main"])]);
        let side = spec(&[("r/app", None, &["main"]), ("r/app", Some("debug"), &["main-debug"])]);
        for (what, spec, json, wanted) in [
            ("nothing to push", &none, "{}", vec![":"]),
            ("only a stage", &none, r#"{"target":"t"}"#, vec!["t:"]),
            ("stages without a place", &none, r#"{"images":[{"repository":"x/y","target":"t"}]}"#, vec!["t:"]),
            ("default tags", &one, "{}", vec![&*format!(": r/app:{commit},main")]),
            ("the build's tags", &one, r#"{"tags":["a","a","b"]}"#, vec![": r/app:a,b"]),
            ("no tag for this build", &one, r#"{"tags":["{{tag}}"]}"#, vec![":"]),
            ("two places", &two, "{}", vec![": r/app:aaaaaaa,main s/copy:main"]),
            ("its tags for all", &two, r#"{"tags":["x"]}"#, vec![": r/app:x s/copy:x"]),
            ("two stages", &stages, r#"{"target":"t"}"#, vec!["run: r/app:main", "debug: r/debug:main"]),
            ("one repository", &side, r#"{"target":"t"}"#, vec!["t: r/app:main", "debug: r/app:main-debug"]),
            ("chosen", &stages, r#"{"images":[{"repository":"r/debug"}]}"#, vec!["debug: r/debug:main"]),
            (
                "chosen by stage",
                &side,
                r#"{"images":[{"repository":"r/app","target":"debug"}]}"#,
                vec!["debug: r/app:main-debug"],
            ),
            (
                "with stage and tags",
                &stages,
                r#"{"tags":["no"],"images":[{"repository":"r/app","target":"x","tags":["y"]}]}"#,
                vec!["x: r/app:y"],
            ),
            (
                "twice the same",
                &one,
                r#"{"images":[{"repository":"r/app","tags":["a"]},{"repository":"r/app","tags":["a","b"]}]}"#,
                vec![": r/app:a,b"],
            ),
            ("none", &one, r#"{"images":[]}"#, vec![":"]),
        ] {
            let wanted: Vec<String> = wanted.into_iter().map(str::to_owned).collect();
            assert_eq!(made(spec, json), Ok(wanted), "{what}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_reason() {
        let one = spec(&[("r/app", None, &[])]);
        let side = spec(&[("r/app", None, &[]), ("r/app", Some("debug"), &[])]);
        let many = [r#"{"repository":"r/app"}"#; MAX_IMAGES + 1].join(",");
        for (spec, json, words) in [
            (&one, r#"{"images":[{"repository":"r/other"}]}"#, "r/other, which is none of the project's"),
            (&one, r#"{"images":[{"repository":"r/app","tags":["a b"]}]}"#, "\"a b\" is no tag"),
            (&one, &*format!(r#"{{"images":[{many}]}}"#), "11 images"),
            (&side, "{}", "two images of different stages"),
        ] {
            let refused = made(spec, json).expect_err(json);
            assert!(refused.contains(words), "{refused}");
        }
    }

    #[test]
    fn tags_of_the_projects_own_repositories_may_be_shown() {
        let mut spec = spec(&[("r/app", None, &[]), ("s/copy", None, &[])]);
        assert!(spec.may_show("r/app", "any") && spec.may_show("s/copy", "any") && !spec.may_show("r/x", "any"));
        spec.asked = options(r#"{"tags":["v-{{sha7}}"]}"#);
        assert!(spec.may_show("s/copy", "v-aaaaaaa") && !spec.may_show("r/app", "any"));
        spec.asked = options(r#"{"tags":["t"],"images":[{"repository":"r/app","tags":["u"]},{"repository":"r/x"}]}"#);
        assert!(spec.may_show("r/app", "u") && !spec.may_show("r/app", "t"), "its own tags count");
        assert!(!spec.may_show("s/copy", "t"), "it was not asked for");
        assert!(!spec.may_show("r/x", "t"), "asking makes it no repository of the project");
    }
}
