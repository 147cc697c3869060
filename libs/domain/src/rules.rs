//! A project's rules: which of what a forge tells of is built. Unset fields are the usual ones.

use globset::{GlobBuilder, GlobMatcher};
use serde::{Deserialize, Deserializer, Serialize};

use crate::git_ref::GitRef;
use crate::text_enum::text_enum;

/// Longest pattern, bytes.
const MAX_PATTERN_BYTES: usize = 256;
/// Most patterns of one kind.
const MAX_PATTERNS: usize = 50;

text_enum! {
    /// What becomes of pull requests that strangers wrote.
    Strangers {
        /// They wait until a member with write access approves them.
        Approve = "approve",
        /// They are built at once; they reach nothing all the same.
        Build = "build",
        /// They are not built.
        Ignore = "ignore",
    }
}

text_enum! {
    /// Which older builds of the same branch, tag or pull request a newer one stops.
    Supersede {
        /// None: every one is built to its end.
        Never = "never",
        /// Those that no builder has begun.
        Waiting = "waiting",
        /// Those that run, too, unless they are publishing already.
        Running = "running",
    }
}

/// The `rules` object of a project. Between releases unknown fields are passed over; where users write them,
/// [`as_written_if_any`] refuses them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rules {
    /// Branches whose pushes are built, as patterns; all unless set. `*` stays within a `/`, `**` does not, and `!` in
    /// front takes away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branches: Option<Vec<String>>,
    /// The same for tags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// Whether pull and merge requests are built; they are unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changes: Option<bool>,
    /// What becomes of those that strangers wrote; `approve` unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strangers: Option<Strangers>,
    /// Files, as patterns: a push of a branch and a pull request are built if they change one of them. All unless set.
    /// Tags and new branches are built whatever they change, and so is what nobody can say the files of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paths: Option<Vec<String>>,
    /// Whether drafts are built; they are unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drafts: Option<bool>,
    /// Which older builds a newer one stops; `never` unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub supersede: Option<Supersede>,
    /// Whether a commit that a branch's push builds is left out of the pull request from that branch; it is built
    /// there, too, unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub once_per_commit: Option<bool>,
}

/// The same fields as a user writes them: one that is not known is a mistake.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    branches: Option<Vec<String>>,
    tags: Option<Vec<String>>,
    changes: Option<bool>,
    strangers: Option<Strangers>,
    paths: Option<Vec<String>>,
    drafts: Option<bool>,
    supersede: Option<Supersede>,
    once_per_commit: Option<bool>,
}

impl From<Written> for Rules {
    fn from(written: Written) -> Self {
        let Written { branches, tags, changes, strangers, paths, drafts, supersede, once_per_commit } = written;
        Self { branches, tags, changes, strangers, paths, drafts, supersede, once_per_commit }
    }
}

/// For `deserialize_with`: rules from a user, in whom an unknown field is an error.
pub fn as_written<'de, D: Deserializer<'de>>(source: D) -> Result<Rules, D::Error> {
    Written::deserialize(source).map(Rules::from)
}

/// The same where none may be given.
pub fn as_written_if_any<'de, D: Deserializer<'de>>(source: D) -> Result<Option<Rules>, D::Error> {
    Ok(Option::<Written>::deserialize(source)?.map(Rules::from))
}

/// A pattern that nothing can be matched by.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct BadRules {
    /// `rules.branches`, `rules.tags` or `rules.paths`.
    pub field: &'static str,
    /// What is wrong and what would be right.
    pub problem: String,
}

impl Rules {
    /// Refuses patterns that mean nothing.
    pub fn check(&self) -> Result<(), BadRules> {
        let all = [("rules.branches", &self.branches), ("rules.tags", &self.tags), ("rules.paths", &self.paths)];
        for (field, patterns) in all {
            let patterns = patterns.as_deref().unwrap_or_default();
            if patterns.len() > MAX_PATTERNS {
                return Err(BadRules { field, problem: format!("at most {MAX_PATTERNS} patterns") });
            }
            if let Some(bad) = patterns.iter().find(|pattern| matcher(pattern).is_none()) {
                let shown: String = bad.chars().take(100).collect();
                let problem = format!("\"{shown}\" is no pattern; write for example main, release/* or !wip/**");
                return Err(BadRules { field, problem });
            }
        }
        Ok(())
    }

    /// True if a push of this branch or tag is built.
    pub fn builds(&self, git_ref: &GitRef) -> bool {
        let patterns = match (git_ref.branch(), git_ref.tag()) {
            (Some(name), _) => self.branches.as_deref().map(|patterns| (patterns, name)),
            (None, Some(name)) => self.tags.as_deref().map(|patterns| (patterns, name)),
            (None, None) => None,
        };
        patterns.is_none_or(|(patterns, name)| is_among(patterns, name))
    }

    /// True if pull and merge requests are built.
    pub fn builds_changes(&self) -> bool {
        self.changes.unwrap_or(true)
    }

    /// True if drafts are built.
    pub fn builds_drafts(&self) -> bool {
        self.drafts.unwrap_or(true)
    }

    /// True if it matters which files a push or a pull request changes.
    pub fn asks_for_files(&self) -> bool {
        self.paths.is_some()
    }

    /// True if a change of one of these files is built.
    pub fn builds_files<'a>(&self, mut files: impl Iterator<Item = &'a str>) -> bool {
        let Some(patterns) = &self.paths else { return true };
        files.any(|file| is_among(patterns, file))
    }

    /// Which older builds a newer one stops.
    pub fn supersede(&self) -> Supersede {
        self.supersede.unwrap_or(Supersede::Never)
    }

    /// True if a commit that a push builds is not built again for the pull request from its branch.
    pub fn builds_once_per_commit(&self) -> bool {
        self.once_per_commit.unwrap_or(false)
    }

    /// What becomes of strangers' pull requests.
    pub fn strangers(&self) -> Strangers {
        self.strangers.unwrap_or(Strangers::Approve)
    }
}

/// True if a pattern takes the name in, or there are only such that take away, and none takes it away.
fn is_among(patterns: &[String], name: &str) -> bool {
    let fits = |pattern: &str| matcher(pattern).is_some_and(|glob| glob.is_match(name));
    let (mut any_taken_in, mut taken_in) = (false, false);
    for pattern in patterns {
        match pattern.strip_prefix('!') {
            Some(pattern) if fits(pattern) => return false,
            Some(_) => {}
            None => {
                any_taken_in = true;
                taken_in |= fits(pattern);
            }
        }
    }
    taken_in || !any_taken_in && !patterns.is_empty()
}

fn matcher(pattern: &str) -> Option<GlobMatcher> {
    let pattern = pattern.strip_prefix('!').unwrap_or(pattern);
    if pattern.is_empty() || pattern.len() > MAX_PATTERN_BYTES || pattern.contains(char::is_control) {
        return None;
    }
    let glob = GlobBuilder::new(pattern).literal_separator(true).backslash_escape(true).build();
    glob.ok().map(|glob| glob.compile_matcher())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(branches: &[&str], tags: &[&str]) -> Rules {
        let list = |patterns: &[&str]| Some(patterns.iter().map(|pattern| (*pattern).to_owned()).collect());
        Rules { branches: list(branches), tags: list(tags), ..Rules::default() }
    }

    #[test]
    fn patterns_take_in_and_away() {
        for (patterns, name, built) in [
            (&["main"][..], "main", true),
            (&["main"], "mainly", false),
            (&["main"], "x/main", false),
            (&["release/*"], "release/1", true),
            (&["release/*"], "release/1/hot", false),
            (&["release/**"], "release/1/hot", true),
            (&["**", "!wip/**"], "wip/a", false),
            (&["!wip/**"], "main", true),
            (&["!wip/**"], "wip/a", false),
            (&["v{1,2}.*"], "v2.0", true),
            (&[], "main", false),
            (&["日本/*"], "日本/語", true),
        ] {
            let git_ref = GitRef::parse(&format!("refs/heads/{name}")).expect("a ref");
            assert_eq!(rules(patterns, &[]).builds(&git_ref), built, "{patterns:?} {name}");
        }
        let tag = GitRef::parse("refs/tags/v1").expect("a ref");
        assert!(rules(&[], &["v*"]).builds(&tag) && !rules(&["**"], &["x*"]).builds(&tag));
        assert!(Rules::default().builds(&tag), "everything unless set");
    }

    #[test]
    fn a_change_of_one_of_the_files_is_built() {
        let of = |patterns: &[&str]| Rules {
            paths: Some(patterns.iter().map(|pattern| (*pattern).to_owned()).collect()),
            ..Rules::default()
        };
        for (patterns, files, built) in [
            (&["src/**"][..], &["docs/a.md", "src/a/b.rs"][..], true),
            (&["src/**"], &["docs/a.md"], false),
            (&["!docs/**"], &["docs/a.md"], false),
            (&["!docs/**"], &["docs/a.md", "Makefile"], true),
            (&["**", "!**/*.md"], &["docs/a.md", "README.md"], false),
            (&["*"], &["a/b"], false),
            (&["src/**"], &[], false),
        ] {
            assert_eq!(of(patterns).builds_files(files.iter().copied()), built, "{patterns:?} {files:?}");
        }
        assert!(!Rules::default().asks_for_files() && Rules::default().builds_files(std::iter::empty()));
        assert_eq!(of(&["["]).check().map_err(|error| error.field), Err("rules.paths"));
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for bad in ["", "!", "[", "a\nb", "{a"] {
            let error = rules(&["main", bad], &[]).check().expect_err(bad);
            assert_eq!(error.field, "rules.branches");
        }
        assert_eq!(rules(&[], &["["]).check().map_err(|error| error.field), Err("rules.tags"));
        let many: Vec<&str> = vec!["a"; MAX_PATTERNS + 1];
        assert!(rules(&many, &[]).check().is_err());
        assert_eq!(rules(&["main", "!wip/**"], &["v*"]).check(), Ok(()));
    }

    #[test]
    fn the_usual_rules() {
        let usual: Rules = serde_json::from_str("{\"of a newer release\": 1}").expect("passed over");
        assert_eq!(usual, Rules::default());
        assert!(usual.builds_changes());
        assert_eq!((usual.strangers(), usual.supersede()), (Strangers::Approve, Supersede::Never));
        assert!(usual.builds_drafts() && !usual.builds_once_per_commit());
        assert!(as_written(&mut serde_json::Deserializer::from_str("{\"branch\": []}")).is_err(), "a mistake");
    }
}
