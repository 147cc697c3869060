//! What an image was built upon.

use serde::{Deserialize, Serialize};

/// An image that a FROM names, as the engine found it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// Its whole name, `docker.io/library/debian:12`.
    pub name: String,
    /// Digest of the manifest that the name showed then; `None` of an image that no registry has.
    #[serde(default)]
    pub digest: Option<String>,
}

impl Base {
    /// The base that a step of BuildKit is about: `[stage 1/3] FROM docker.io/library/debian:12@sha256:…`. It names one
    /// only where it asked a registry, and digests only there.
    pub fn of_step(step: &str) -> Option<Self> {
        let (place, rest) = step.strip_prefix('[')?.split_once("] FROM ")?;
        if place.starts_with("internal") || rest.is_empty() || rest.contains(char::is_whitespace) {
            return None;
        }
        Some(match rest.split_once('@') {
            Some((name, digest)) => Self { name: name.to_owned(), digest: Some(digest.to_owned()) },
            None => Self { name: rest.to_owned(), digest: None },
        })
    }

    /// For people: the name as Dockerfiles have it, and the digest.
    pub fn words(&self) -> String {
        let name = self.name.strip_prefix("docker.io/").unwrap_or(&self.name);
        let name = name.strip_prefix("library/").unwrap_or(name);
        match &self.digest {
            Some(digest) => format!("{name} ({digest})"),
            None => name.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engines_words_name_a_base() {
        for (step, wanted) in [
            ("[1/3] FROM docker.io/library/debian:12@sha256:ab", Some("debian:12 (sha256:ab)")),
            ("[build 1/2] FROM docker.io/slipway-test/base:1", Some("slipway-test/base:1")),
            ("[linux/amd64 build 1/2] FROM reg:5000/a@sha256:cd", Some("reg:5000/a (sha256:cd)")),
            ("[2/3] RUN echo FROM x", None),
            ("[2/3] RUN echo '] FROM x'; y", None),
            ("[internal] load metadata for docker.io/library/debian:12", None),
            ("FROM x", None),
            ("[1/1] FROM ", None),
        ] {
            assert_eq!(Base::of_step(step).map(|base| base.words()).as_deref(), wanted, "{step}");
        }
    }
}
