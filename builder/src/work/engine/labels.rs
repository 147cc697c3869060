//! The labels of an attempt's image: whose it is, and by OCI's annotations where it comes from
//! (<https://github.com/opencontainers/image-spec/blob/main/annotations.md>). They stand in the image's configuration
//! only, so that no step is built anew because of them.

use std::collections::BTreeMap;

use chrono::SecondsFormat;
use slipway_domain::attempt::AttemptRef;
use slipway_domain::dockerfile;
use slipway_domain::git_ref::GitRef;
use slipway_domain::ids::BuilderId;
use slipway_domain::image::Base;
use slipway_domain::spec::JobSpec;
use url::Url;

use super::{LABEL_BUILDER, LABEL_EPOCH, LABEL_JOB};

/// What OCI's names begin with.
const OCI: &str = "org.opencontainers.image.";

/// All of them. BuildKit lets what we give win over the Dockerfile, so what its LABEL sets by one of OCI's names is not
/// given: the author knows better. What only the base image says of itself is not true of this one, and is replaced.
pub fn labels(
    (builder, attempt): (BuilderId, AttemptRef),
    spec: &JobSpec,
    dockerfile: (&str, Option<&str>),
    base: Option<&Base>,
) -> BTreeMap<String, String> {
    let own = [
        (LABEL_BUILDER, builder.to_string()),
        (LABEL_JOB, attempt.job.to_string()),
        (LABEL_EPOCH, attempt.epoch.to_string()),
    ];
    let written = dockerfile::labels(dockerfile.0, dockerfile.1);
    let base = base.and_then(|base| Some([("base.name", base.name.clone()), ("base.digest", base.digest.clone()?)]));
    let oci =
        origin(spec).into_iter().chain(base.into_iter().flatten()).map(|(name, value)| (format!("{OCI}{name}"), value));
    let oci = oci.filter(|(name, _)| !written.contains(name));
    own.into_iter().map(|(name, value)| (name.to_owned(), value)).chain(oci).collect()
}

/// By the last part of their names.
fn origin(spec: &JobSpec) -> Vec<(&'static str, String)> {
    let git_ref = spec.git_ref.as_ref();
    let version = git_ref.map_or(spec.commit.as_str(), GitRef::short);
    let source = public(&spec.clone_url);
    // Forges show a repository where it is cloned from.
    let page = source.as_ref().filter(|source| spec.forge.is_some() && source.scheme() == "https");
    let page = page.map(|source| source.as_str().trim_end_matches(".git").to_owned());
    let known = [
        ("created", Some(spec.created_at.to_rfc3339_opts(SecondsFormat::Secs, true))),
        ("ref.name", git_ref.map(|git_ref| git_ref.short().to_owned())),
        ("revision", Some(spec.commit.clone())),
        ("source", source.map(String::from)),
        ("title", Some(spec.project_name.clone())),
        ("url", page),
        ("version", Some(version.to_owned())),
    ];
    known.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// An address without what opens it; the user of ssh is a part of it.
fn public(clone_url: &str) -> Option<Url> {
    let mut url = Url::parse(clone_url).ok()?;
    url.set_query(None);
    url.set_fragment(None);
    url.set_password(None).ok()?;
    if url.scheme() != "ssh" {
        url.set_username("").ok()?;
    }
    Some(url)
}

#[cfg(test)]
mod tests {
    use slipway_domain::event::ForgeKind;
    use slipway_domain::ids::JobId;
    use slipway_runtime::ids::new_id;

    use super::*;

    fn told(spec: &JobSpec, dockerfile: (&str, Option<&str>)) -> BTreeMap<String, String> {
        let attempt = AttemptRef { job: new_id::<JobId>(), epoch: 1 };
        let labels = labels((new_id(), attempt), spec, dockerfile, None);
        labels.into_iter().filter_map(|(name, value)| Some((name.strip_prefix(OCI)?.to_owned(), value))).collect()
    }

    fn spec(clone_url: &str, git_ref: Option<&str>) -> JobSpec {
        JobSpec {
            forge: Some(ForgeKind::Github),
            git_ref: git_ref.map(|name| GitRef::parse(name).expect("a ref")),
            ..crate::tests::fake::spec(clone_url)
        }
    }

    #[test]
    fn an_image_says_where_it_comes_from() {
        let spec = spec("https://user:hunter2@example.org/team/app.git?token=x#y", Some("refs/tags/v1.2"));
        let told = told(&spec, ("FROM scratch\n", None));
        for (name, value) in [
            ("source", "https://example.org/team/app.git"),
            ("url", "https://example.org/team/app"),
            ("revision", spec.commit.as_str()),
            ("version", "v1.2"),
            ("ref.name", "v1.2"),
            ("title", "story"),
        ] {
            assert_eq!(told.get(name).map(String::as_str), Some(value), "{name}");
        }
        assert!(told["created"].ends_with('Z') && !format!("{told:?}").contains("hunter2"), "{told:?}");
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let bare = told(&spec("ssh://git:pw@example.org/a.git", None), ("FROM scratch\n", None));
        assert_eq!(bare["source"], "ssh://git@example.org/a.git");
        assert_eq!((bare.get("url"), bare.get("ref.name")), (None, None));
        assert_eq!(bare["version"], bare["revision"]);
        assert_eq!(told(&spec("no address", None), ("", None)).get("source"), None);
        let nowhere = JobSpec { forge: None, ..spec("https://example.org/a.git", None) };
        assert_eq!(told(&nowhere, ("", None)).get("url"), None);
    }

    #[test]
    fn the_base_is_named_where_it_was_looked_up() {
        let attempt = AttemptRef { job: new_id::<JobId>(), epoch: 1 };
        let spec = spec("https://example.org/a.git", None);
        let base = |digest: Option<&str>| Base { name: "r.example/b:1".to_owned(), digest: digest.map(str::to_owned) };
        let told = |text, base: Base| labels((new_id(), attempt), &spec, (text, None), Some(&base));
        let named = told("FROM r.example/b:1\n", base(Some("sha256:1")));
        assert_eq!(named["org.opencontainers.image.base.name"], "r.example/b:1");
        assert_eq!(named["org.opencontainers.image.base.digest"], "sha256:1");
        let unknown = told("FROM r.example/b:1\n", base(None));
        assert!(!unknown.keys().any(|name| name.contains(".base.")), "{unknown:?}");
    }

    #[test]
    fn the_dockerfiles_own_labels_win_in_the_stage_that_is_built() {
        let text = "FROM scratch AS a\nLABEL org.opencontainers.image.version=mine slipway.job=x\nFROM scratch\n";
        let spec = spec("https://example.org/a.git", Some("refs/heads/main"));
        assert_eq!(told(&spec, (text, Some("a"))).get("version"), None);
        assert_eq!(told(&spec, (text, None))["version"], "main");
        let attempt = AttemptRef { job: new_id::<JobId>(), epoch: 1 };
        let whose = labels((new_id(), attempt), &spec, (text, Some("a")), None);
        assert_eq!(whose[LABEL_JOB], attempt.job.to_string(), "by which the builder finds it again");
    }
}
