//! What strangers wrote is built beside everybody else's work and shares nothing with it: no layer, no cache mount, and
//! no program of theirs in place of the Dockerfile's own frontend.

use slipway_domain::dockerfile::frontends;
use slipway_domain::spec::{BuildOptions, JobSpec};

/// Names the space of cache mounts; an option of BuildKit's Dockerfile frontend that looks like a build argument.
/// <https://docs.docker.com/reference/dockerfile/#buildkit-built-in-build-args>
const CACHE_MOUNTS: &str = "BUILDKIT_CACHE_MOUNT_NS";

/// The options of a job, with what it may share taken away where strangers wrote it.
pub(super) fn confined(spec: &JobSpec, mut options: BuildOptions) -> BuildOptions {
    if spec.is_trusted() {
        return options;
    }
    // A layer may hold what only members may see.
    options.no_cache = Some(true);
    options.args.get_or_insert_default().insert(CACHE_MOUNTS.to_owned(), format!("untrusted-{}", spec.build));
    options
}

/// Why this Dockerfile is not built, in words for its author. Only Docker's own frontend keeps to [`CACHE_MOUNTS`].
pub(super) fn refusal(spec: &JobSpec, dockerfile: &str) -> Option<String> {
    if spec.is_trusted() {
        return None;
    }
    if frontends(dockerfile).iter().any(|frontend| !frontend.is_dockers_own()) {
        return Some(
            "A pull request from another repository may name no frontend by # syntax= but docker/dockerfile."
                .to_owned(),
        );
    }
    None
}

#[cfg(test)]
mod tests {
    use slipway_domain::spec::ChangeSpec;

    use super::*;

    fn spec(trusted: bool) -> JobSpec {
        let change = Some(ChangeSpec { number: 1, target: None, trusted });
        JobSpec { change, ..crate::tests::fake::spec("https://x/y.git") }
    }

    #[test]
    fn strangers_share_no_layer_and_no_cache_mount() {
        let asked = BuildOptions { no_cache: Some(false), ..BuildOptions::default() };
        let (own, theirs) = (confined(&spec(true), asked.clone()), confined(&spec(false), asked.clone()));
        assert_eq!(own, asked);
        assert_eq!(theirs.no_cache, Some(true));
        let other = confined(&spec(false), asked);
        let space = |options: &BuildOptions| options.args.as_ref().and_then(|args| args.get(CACHE_MOUNTS).cloned());
        assert!(space(&theirs).is_some() && space(&theirs) != space(&other), "each build has a space of its own");
    }

    #[test]
    fn strangers_bring_no_frontend() {
        let refused = |text: &str| refusal(&spec(false), text).is_some();
        for text in [
            "# syntax=evil/frontend\nFROM scratch\n",
            "#SYNTAX = evil/docker/dockerfile:1\nFROM scratch\n",
            "# syntax=docker/dockerfile.evil\nFROM scratch\n",
            "// syntax=evil/frontend\nFROM scratch\n",
            "{\"syntax\": \"evil/frontend\"}",
            "\u{feff}// syntax=evil/frontend\nFROM scratch\n",
            "#!/bin/sh\n// syntax=evil/frontend\nFROM scratch\n",
            "#!/bin/sh\n# syntax=evil/frontend\nFROM scratch\n",
            "#!/bin/sh\n {\"syntax\": \"evil/frontend\"}",
        ] {
            assert!(refused(text), "{text}");
            assert_eq!(refusal(&spec(true), text), None, "{text}");
        }
        for text in ["FROM scratch\n", "# syntax=docker/dockerfile:1\nFROM scratch\n", "# a comment\nFROM scratch\n"] {
            assert!(!refused(text), "{text}");
        }
    }
}
