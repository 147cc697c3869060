//! Ref names come from strangers. This is where they become safe image tags and safe arguments.

use serde::{Deserialize, Serialize};

/// Branches that count as a repository's main one where nobody says which it is.
pub const MAIN_BRANCHES: [&str; 2] = ["refs/heads/main", "refs/heads/master"];

/// A full ref name such as `refs/heads/main`, checked by git's own rules (git-check-ref-format(1)).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "sqlx", derive(sqlx::Type), sqlx(transparent))]
#[serde(try_from = "String", into = "String")]
pub struct GitRef(String);

/// Why a text is no ref.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a ref that git accepts; write for example refs/heads/main")]
pub struct BadRef(String);

/// Longest ref name that we take, in bytes; git itself is limited by the file system.
const MAX_REF_BYTES: usize = 1024;
/// Longest image tag, by the distribution specification.
const MAX_TAG_BYTES: usize = 128;

impl GitRef {
    /// Parses a full ref name.
    pub fn parse(text: &str) -> Result<Self, BadRef> {
        let bad = || BadRef(text.chars().take(200).collect());
        let forbidden = |c: char| c.is_ascii_control() || matches!(c, ' ' | '~' | '^' | ':' | '?' | '*' | '[' | '\\');
        let ok = text.len() <= MAX_REF_BYTES
            && text.starts_with("refs/")
            && text.split('/').count() >= 3
            && !text.contains("..")
            && !text.contains("@{")
            && !text.ends_with('.')
            && !text.chars().any(forbidden)
            && text.split('/').all(|part| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock"));
        if ok { Ok(Self(text.to_owned())) } else { Err(bad()) }
    }

    /// Takes what a person types: a full ref, or the name of a branch.
    pub fn parse_short(text: &str) -> Result<Self, BadRef> {
        if text.starts_with("refs/") { Self::parse(text) } else { Self::parse(&format!("refs/heads/{text}")) }
    }

    /// The full name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The branch's name, if it is one.
    pub fn branch(&self) -> Option<&str> {
        self.0.strip_prefix("refs/heads/")
    }

    /// The tag's name, if it is one.
    pub fn tag(&self) -> Option<&str> {
        self.0.strip_prefix("refs/tags/")
    }

    /// The branch's or tag's name, else the full name.
    pub fn short(&self) -> &str {
        self.branch().or_else(|| self.tag()).unwrap_or(&self.0)
    }
}

impl std::fmt::Display for GitRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for GitRef {
    type Error = BadRef;

    fn try_from(text: String) -> Result<Self, BadRef> {
        Self::parse(&text)
    }
}

impl From<GitRef> for String {
    fn from(git_ref: GitRef) -> Self {
        git_ref.0
    }
}

/// True for a full object id: 40 or 64 lower-case hexadecimal digits.
pub fn is_commit_id(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// A name as an image tag: `[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}`. What had to be changed is told apart by
/// a short hash, so that two different branches never share a tag by accident.
pub fn tag_slug(name: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let mut slug: String = name.chars().map(|c| if safe(c) { c } else { '-' }).collect();
    if slug.starts_with(['.', '-']) {
        slug.insert(0, '_');
    }
    if slug == name && slug.len() <= MAX_TAG_BYTES && !slug.is_empty() {
        return slug;
    }
    let suffix = format!("-{:08x}", fnv1a(name.as_bytes()));
    slug.truncate(MAX_TAG_BYTES - suffix.len());
    if slug.is_empty() {
        slug.push('_');
    }
    slug + &suffix
}

/// True for what a registry accepts as a tag.
pub fn is_image_tag(text: &str) -> bool {
    let mut chars = text.chars();
    text.len() <= MAX_TAG_BYTES
        && chars.next().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

/// FNV-1a, 32 bits: stable over releases, and only there to tell names apart.
fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn refs_follow_git() {
        for good in [
            "refs/heads/main",
            "refs/heads/a/b",
            "refs/tags/v1.0",
            "refs/heads/-x",
            "refs/heads/ü'\"$(x)",
            "refs/pull/1/head",
        ] {
            assert!(GitRef::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "main",
            "refs/heads/",
            "refs/heads/a..b",
            "refs/heads/a b",
            "refs/heads/.a",
            "refs/heads/a.lock",
            "refs/heads/a\n",
            "refs/heads/a~1",
            "refs//x",
            "refs/heads/a@{1}",
            "refs/heads/x.",
        ] {
            assert!(GitRef::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn short_names() {
        let branch = GitRef::parse_short("feature/x").expect("valid");
        assert_eq!((branch.as_str(), branch.short()), ("refs/heads/feature/x", "feature/x"));
        assert_eq!(GitRef::parse("refs/tags/v1").expect("valid").tag(), Some("v1"));
    }

    #[test]
    fn plain_names_stay_and_changed_ones_are_told_apart() {
        assert_eq!(tag_slug("main"), "main");
        assert_eq!(tag_slug("v1.2.3"), "v1.2.3");
        assert!(tag_slug("feature/x").starts_with("feature-x-"));
        assert_ne!(tag_slug("feature/x"), tag_slug("feature x"));
        assert!(is_image_tag(&tag_slug("-x")) && is_image_tag(&tag_slug("…")));
    }

    proptest! {
        #[test]
        fn every_slug_is_a_tag(name in ".{0,300}") {
            prop_assert!(is_image_tag(&tag_slug(&name)));
        }

        #[test]
        fn a_parsed_ref_keeps_its_text(text in "\\PC{0,80}") {
            if let Ok(git_ref) = GitRef::parse(&text) {
                prop_assert_eq!(git_ref.as_str(), text);
            }
        }
    }
}
