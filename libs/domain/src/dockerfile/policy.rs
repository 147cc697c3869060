//! Which programs may build in place of the engine's own Dockerfile frontend: those that an operator names.

use std::collections::BTreeSet;
use std::str::FromStr;

use super::directives::{Frontend, frontends};
use super::reference::{full_name, is_image};

/// Build arguments whose names begin so steer the engine, and are not seen by the Dockerfile.
/// <https://docs.docker.com/reference/dockerfile/#buildkit-built-in-build-args>
const RESERVED: &str = "BUILDKIT_";
/// The one that names a frontend, before any `# syntax=`.
pub const SYNTAX_ARG: &str = "BUILDKIT_SYNTAX";

/// What `SLIPWAY_SYNTAX_ALLOW` says: comma-separated references of images, each of them exactly, by tag or digest.
/// Empty allows none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SyntaxAllow {
    images: BTreeSet<String>,
}

/// An entry of `SLIPWAY_SYNTAX_ALLOW` that names no image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no reference of an image (docker/dockerfile:1, reg.example.org/frontend@sha256:…)")]
pub struct BadSyntaxAllow(String);

impl FromStr for SyntaxAllow {
    type Err = BadSyntaxAllow;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        let images = entries.map(|entry| match is_image(entry) {
            true => Ok(full_name(entry)),
            false => Err(BadSyntaxAllow(entry.to_owned())),
        });
        Ok(Self { images: images.collect::<Result<_, _>>()? })
    }
}

impl SyntaxAllow {
    /// True for the images that are named, in whatever way their name is written.
    pub fn allows(&self, image: &str) -> bool {
        self.images.contains(&full_name(image))
    }

    /// The first frontend of a Dockerfile that is not allowed.
    pub fn refused(&self, dockerfile: &str) -> Option<Frontend> {
        frontends(dockerfile).into_iter().find(|frontend| !self.allows(&frontend.image))
    }

    /// The image that an argument [`SYNTAX_ARG`] names, unless it is allowed.
    pub fn refused_value<'a>(&self, value: &'a str) -> Option<&'a str> {
        let image = value.trim().split(' ').next().unwrap_or_default();
        (!self.allows(image)).then_some(image)
    }
}

/// True for build arguments that users may not set. [`SYNTAX_ARG`] they may, to a frontend that is allowed.
pub fn is_reserved_arg(name: &str) -> bool {
    name.starts_with(RESERVED) && name != SYNTAX_ARG
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_named_is_allowed() {
        let none: SyntaxAllow = " , ".parse().expect("nothing");
        assert_eq!(none, SyntaxAllow::default());
        assert!(!none.allows("docker/dockerfile:1"));
        let digest = format!("reg.example:5000/f@sha256:{}", "0".repeat(64));
        let some: SyntaxAllow = format!("docker/dockerfile:1, {digest}").parse().expect("two images");
        for (image, allowed) in [
            ("docker/dockerfile:1", true),
            ("docker.io/docker/dockerfile:1", true),
            ("docker/dockerfile", false),
            ("docker/dockerfile:1.4", false),
            ("evil/docker/dockerfile:1", false),
            (digest.as_str(), true),
            ("reg.example:5000/f", false),
            ("", false),
        ] {
            assert_eq!(some.allows(image), allowed, "{image}");
        }
        let bad = "docker/dockerfile:1,Not An Image".parse::<SyntaxAllow>();
        assert_eq!(bad, Err(BadSyntaxAllow("Not An Image".to_owned())));
    }

    #[test]
    fn what_is_not_allowed_is_named_with_its_line() {
        let allow: SyntaxAllow = "docker/dockerfile:1".parse().expect("an image");
        let refused = |text: &str| allow.refused(text).map(|frontend| (frontend.image, frontend.line));
        assert_eq!(refused("# syntax=docker/dockerfile:1\nFROM x\n"), None);
        assert_eq!(refused("FROM x\n# syntax=a/b\n"), None);
        assert_eq!(refused("# escape=`\n# syntax=a/b:2 more\nFROM x\n"), Some(("a/b:2".to_owned(), 2)));
        assert_eq!(refused("# syntax=docker/dockerfile:1\n# syntax=a/b\n"), Some(("a/b".to_owned(), 2)));
        assert_eq!(refused("{\"syntax\""), Some((String::new(), 1)));
        assert_eq!(allow.refused_value(" docker/dockerfile:1 words"), None);
        assert_eq!(allow.refused_value("a/b"), Some("a/b"));
        assert!(is_reserved_arg("BUILDKIT_CACHE_MOUNT_NS") && is_reserved_arg("BUILDKIT_INLINE_CACHE"));
        assert!(!is_reserved_arg("BUILDKIT_SYNTAX") && !is_reserved_arg("buildkit_x") && !is_reserved_arg("BUILDKIT"));
    }
}
