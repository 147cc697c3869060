//! What strangers wrote is built by no program of theirs in place of the Dockerfile's own frontend, which keeps it from
//! what is everybody else's (see [`super::sharing`]).

use slipway_domain::dockerfile::frontends;
use slipway_domain::spec::JobSpec;

/// Why this Dockerfile is not built, in words for its author. Only Docker's own frontend keeps to the space of its
/// cache mounts.
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
