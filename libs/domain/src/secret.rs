//! Secrets of projects and tenants: their names, and which builds they reach. They come to a build as secret mounts
//! only, never as build arguments.

use serde::{Deserialize, Serialize};

use crate::rules::{BadRules, Rules};
use crate::spec::JobSpec;

/// Longest name, bytes.
pub const MAX_NAME_BYTES: usize = 100;
/// Longest value, bytes.
pub const MAX_VALUE_BYTES: usize = 64 * 1024;
/// Most secrets of one project, and of one tenant beside them.
pub const MAX_SECRETS: usize = 100;

/// Which builds get a secret. What strangers wrote gets none, whatever this says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reach {
    /// Branches, as patterns like those of a project's rules. All branches and tags, unless one of the two is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branches: Option<Vec<String>>,
    /// Tags, in the same way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// Whether pull and merge requests of the repository's own branches get it, those to one of the branches.
    pub changes: bool,
}

impl Reach {
    /// Refuses patterns that mean nothing.
    pub fn check(&self) -> Result<(), BadRules> {
        self.rules().check()
    }

    /// True if this build gets the secret. A commit that nobody says the ref of gets those for all branches and tags.
    pub fn covers(&self, spec: &JobSpec) -> bool {
        if !spec.is_trusted() {
            return false;
        }
        let git_ref = match &spec.change {
            Some(_) if !self.changes => return false,
            Some(change) => change.target.as_ref(),
            None => spec.git_ref.as_ref(),
        };
        match git_ref {
            Some(git_ref) => self.rules().builds(git_ref),
            None => self.branches.is_none() && self.tags.is_none(),
        }
    }

    fn rules(&self) -> Rules {
        let is_open = self.branches.is_none() && self.tags.is_none();
        let patterns = |set: &Option<Vec<String>>| (!is_open).then(|| set.clone().unwrap_or_default());
        Rules { branches: patterns(&self.branches), tags: patterns(&self.tags), ..Rules::default() }
    }
}

/// True for what a secret may be called: a word that fits behind `id=` of a mount and into the name of a file.
pub fn is_name(name: &str) -> bool {
    let begins = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.len() <= MAX_NAME_BYTES
        && name.starts_with(begins)
        && name.chars().all(|c| begins(c) || matches!(c, '.' | '-'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git_ref::GitRef;
    use crate::spec::ChangeSpec;

    fn spec() -> JobSpec {
        let id = "00000000-0000-0000-0000-000000000001";
        let text = serde_json::json!({
            "build": id, "project": id, "project_name": "app", "tenant": id, "trigger": "push", "forge": null,
            "clone_url": "https://example.com/a.git", "ref": null, "commit": "a".repeat(40), "asked": {},
            "project_options": {}, "image": null, "created_at": "2026-01-01T00:00:00Z", "context_max_bytes": 1,
            "context_max_entries": 1,
        });
        serde_json::from_value(text).expect("a spec")
    }

    fn of(git_ref: Option<&str>, change: Option<(Option<&str>, bool)>) -> JobSpec {
        let parse = |name: &str| GitRef::parse(name).expect("a ref");
        let change = change.map(|(target, trusted)| ChangeSpec { number: 5, target: target.map(parse), trusted });
        JobSpec { git_ref: git_ref.map(parse), change, ..spec() }
    }

    #[test]
    fn a_secret_reaches_the_builds_of_its_branches_and_tags_and_no_strangers() {
        let (main, wip, tag) = ("refs/heads/main", "refs/heads/wip", "refs/tags/v1");
        let change = "refs/pull/5/head";
        let all = Reach::default();
        let only_main = Reach { branches: Some(vec!["main".to_owned()]), tags: None, changes: false };
        let with_changes = Reach { changes: true, ..only_main.clone() };
        for (reach, git_ref, change, covered) in [
            (&all, Some(main), None, true),
            (&all, Some(tag), None, true),
            (&all, None, None, true),
            (&all, Some(change), Some((Some(main), true)), false),
            (&only_main, Some(main), None, true),
            (&only_main, Some(wip), None, false),
            (&only_main, Some(tag), None, false),
            (&only_main, None, None, false),
            (&only_main, Some(change), Some((Some(main), true)), false),
            (&with_changes, Some(change), Some((Some(main), true)), true),
            (&with_changes, Some(change), Some((Some(wip), true)), false),
            (&with_changes, Some(change), Some((None, true)), false),
            (&with_changes, Some(change), Some((Some(main), false)), false),
            (&Reach { changes: true, ..Reach::default() }, Some(change), Some((None, false)), false),
        ] {
            assert_eq!(reach.covers(&of(git_ref, change)), covered, "{reach:?} {git_ref:?} {change:?}");
        }
    }

    #[test]
    fn names_are_words() {
        for (name, good) in [
            ("npm", true),
            ("NPM_TOKEN", true),
            ("_a.b-c", true),
            ("1", true),
            ("", false),
            ("-a", false),
            (".a", false),
            ("a b", false),
            ("a,b", false),
            ("a/b", false),
            ("ä", false),
        ] {
            assert_eq!(is_name(name), good, "{name}");
        }
        assert!(is_name(&"a".repeat(MAX_NAME_BYTES)) && !is_name(&"a".repeat(MAX_NAME_BYTES + 1)));
    }
}
