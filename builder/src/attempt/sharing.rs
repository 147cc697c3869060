//! What a build shares on an engine: the builds of one project their cache mounts, with each other and with nobody
//! else; what strangers wrote nothing at all.

use slipway_domain::spec::{BuildOptions, JobSpec};

/// Names the space of cache mounts; an option of BuildKit's Dockerfile frontend that looks like a build argument. It is
/// part of the cache's keys of those steps that have such a mount, and of no other.
/// <https://docs.docker.com/reference/dockerfile/#buildkit-built-in-build-args>
const CACHE_MOUNTS: &str = "BUILDKIT_CACHE_MOUNT_NS";

/// The options of a job, with its own space for cache mounts and, where strangers wrote it, no layer of others.
pub(crate) fn confined(spec: &JobSpec, mut options: BuildOptions) -> BuildOptions {
    if !spec.is_trusted() {
        // A layer may hold what only members may see.
        options.no_cache = Some(true);
    }
    options.args.get_or_insert_default().insert(CACHE_MOUNTS.to_owned(), space(spec));
    options
}

/// A name that nobody else's steps have in their `/etc/hosts`, for what strangers wrote. It is a part of the cache's keys:
/// what such a build made, without secrets and with what mounts it had, is never found by the project's own builds, which
/// would run the same command with them.
pub(crate) fn apart(spec: &JobSpec) -> Option<String> {
    (!spec.is_trusted()).then(|| format!("{}.invalid", space(spec)))
}

/// A member's pull request shares with the project: who may push its branch would be built there as well.
fn space(spec: &JobSpec) -> String {
    if spec.is_trusted() { format!("project-{}", spec.project) } else { format!("untrusted-{}", spec.build) }
}

#[cfg(test)]
mod tests {
    use slipway_domain::spec::ChangeSpec;
    use slipway_runtime::ids::new_id;

    use super::*;

    fn own_spec() -> JobSpec {
        crate::tests::fake::spec("https://x/y.git")
    }

    fn change(spec: &JobSpec, trusted: bool) -> JobSpec {
        JobSpec { build: new_id(), change: Some(ChangeSpec { number: 1, target: None, trusted }), ..spec.clone() }
    }

    fn space_of(spec: &JobSpec) -> String {
        confined(spec, BuildOptions::default()).args.expect("some")[CACHE_MOUNTS].clone()
    }

    #[test]
    fn strangers_share_no_layer_and_no_cache_mount() {
        let (own, asked) = (own_spec(), BuildOptions { no_cache: Some(false), ..BuildOptions::default() });
        assert_eq!(confined(&change(&own, false), asked.clone()).no_cache, Some(true));
        assert_eq!(confined(&change(&own, true), asked).no_cache, Some(false));
        let (theirs, others) = (space_of(&change(&own, false)), space_of(&change(&own, false)));
        assert!(theirs != others && theirs != space_of(&own), "each build has a space of its own");
    }

    #[test]
    fn a_project_shares_its_cache_mounts_with_its_own_builds_alone() {
        let own = own_spec();
        let again = JobSpec { build: new_id(), ..own.clone() };
        assert_eq!(space_of(&own), space_of(&again));
        assert_eq!(space_of(&own), space_of(&change(&own, true)), "its members' changes are its own");
        assert_ne!(space_of(&own), space_of(&own_spec()), "another project");
        let args = Some([("A".to_owned(), "1".to_owned())].into());
        let kept = confined(&own, BuildOptions { args, ..BuildOptions::default() });
        assert_eq!((kept.args.expect("some")["A"].as_str(), kept.no_cache), ("1", None));
    }
}
