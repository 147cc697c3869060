//! `.dockerignore` as docker's client reads it (docker/cli, moby/patternmatcher since Docker 23): the last rule that
//! matches wins, `!` takes back, and what matches a folder goes for everything below it. A folder that is left out is
//! only looked into when a rule that takes back begins with its path, so `!**/*.c` takes nothing back out of it.

mod pattern;

use pattern::Pattern;

/// The rules of one file, in order.
#[derive(Debug, Default)]
pub struct Dockerignore {
    rules: Vec<Rule>,
}

/// A rule that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(".dockerignore line {line}: \"{pattern}\" is no pattern")]
pub struct BadPattern {
    /// Line, from 1.
    pub line: usize,
    /// The pattern as written.
    pub pattern: String,
}

/// Which rules a folder has met: they go for what is in it.
#[derive(Debug, Clone)]
pub struct Met(Vec<bool>);

#[derive(Debug)]
struct Rule {
    line: usize,
    takes_back: bool,
    text: String,
    pattern: Pattern,
}

impl Dockerignore {
    /// Reads the file's text.
    pub fn parse(text: &str) -> Result<Self, BadPattern> {
        let mut rules = Vec::new();
        for (index, line) in text.strip_prefix('\u{feff}').unwrap_or(text).lines().enumerate() {
            // Only a # in the first column begins a comment.
            if line.starts_with('#') || line.trim().is_empty() {
                continue;
            }
            let bad = || BadPattern { line: index + 1, pattern: line.chars().take(200).collect() };
            rules.push(Rule::read(index + 1, line.trim()).ok_or_else(bad)?);
        }
        Ok(Self { rules })
    }

    /// Whether a path (with `/`, relative to the context) is left out, and the rules it has met, for what is in it.
    /// `folder` is what the folder around it has met; at the top there is none.
    pub fn decide(&self, path: &str, folder: Option<&Met>) -> (bool, Met) {
        let mut left_out = false;
        let mut met = vec![false; self.rules.len()];
        for (index, rule) in self.rules.iter().enumerate() {
            let by_folder = folder.is_some_and(|folder| folder.0.get(index) == Some(&true));
            // A rule that would change nothing is not asked, and then counts as not met further down, as in moby.
            if by_folder || (rule.takes_back == left_out && rule.pattern.matches(path)) {
                met[index] = true;
                left_out = !rule.takes_back;
            }
        }
        (left_out, Met(met))
    }

    /// The line of the rule by which a path is left out of a context, or a folder that it lies in; none if it is in it.
    pub fn line_against(&self, path: &str) -> Option<usize> {
        let mut folder: Option<Met> = None;
        for (at, _) in path.match_indices('/') {
            let (out, met) = self.decide(&path[..at], folder.as_ref());
            if out && !self.takes_back_in(&path[..at]) {
                return self.last_against(&met);
            }
            folder = Some(met);
        }
        let (out, met) = self.decide(path, folder.as_ref());
        if out { self.last_against(&met) } else { None }
    }

    fn last_against(&self, met: &Met) -> Option<usize> {
        let rules = self.rules.iter().zip(&met.0);
        rules.filter(|(rule, met)| **met && !rule.takes_back).map(|(rule, _)| rule.line).next_back()
    }

    /// True if a folder that is left out is looked into all the same.
    pub fn takes_back_in(&self, folder: &str) -> bool {
        let begins =
            |text: &str| text.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        self.rules.iter().any(|rule| rule.takes_back && begins(&rule.text))
    }
}

impl Rule {
    /// First as docker/cli reads a line, then as moby reads what that made of it.
    fn read(number: usize, line: &str) -> Option<Self> {
        let (sign, body) = line.strip_prefix('!').map_or(("", line), |body| ("!", body.trim()));
        let body = if body.is_empty() { String::new() } else { clean(body) };
        let body = if body.len() > 1 { body.strip_prefix('/').unwrap_or(&body) } else { &body };
        let text = clean(format!("{sign}{body}").trim());
        let (takes_back, text) = match text.strip_prefix('!') {
            Some("") => return None,
            Some(text) => (true, text.to_owned()),
            None => (false, text),
        };
        let pattern = Pattern::new(&text)?;
        Some(Self { line: number, takes_back, text, pattern })
    }
}

/// Go's `filepath.Clean`.
fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    match (rooted, parts.is_empty()) {
        (true, _) => format!("/{}", parts.join("/")),
        (false, true) => ".".to_owned(),
        (false, false) => parts.join("/"),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Whether the walk that a context is made by leaves a path out.
    pub(in crate::work) fn left_out(rules: &Dockerignore, path: &str) -> bool {
        rules.line_against(path).is_some()
    }

    impl Dockerignore {
        /// What Docker did before 23: of the folders around a path it only asked the one that is as deep as the
        /// pattern. Lets the test with a client of that age name the paths in which it differs, and no others.
        pub(in crate::work) fn left_out_before_23(&self, path: &str) -> bool {
            let decide = |path: &str| {
                let mut left_out = false;
                for rule in &self.rules {
                    let depth = rule.text.split('/').count();
                    let above = path.match_indices('/').nth(depth - 1).map(|(at, _)| &path[..at]);
                    if rule.pattern.matches(path) || above.is_some_and(|above| rule.pattern.matches(above)) {
                        left_out = !rule.takes_back;
                    }
                }
                left_out
            };
            let looked_into = |folder: &str| {
                let inside = format!("{folder}/");
                self.rules.iter().any(|rule| rule.takes_back && format!("{}/", rule.text).starts_with(&inside))
            };
            let mut folders = path.match_indices('/').map(|(at, _)| &path[..at]);
            folders.any(|folder| decide(folder) && !looked_into(folder)) || decide(path)
        }
    }

    fn excluded(patterns: &str, path: &str) -> bool {
        left_out(&Dockerignore::parse(patterns).expect("good patterns"), path)
    }

    #[test]
    fn the_last_match_wins() {
        let rules = "# comment\n*\n!src\n src/*.log \n!src/keep.log\n\n  # no comment, a pattern\n";
        for (path, wanted) in [
            ("README", true),
            ("src", false),
            ("src/main.c", false),
            ("src/a.log", true),
            ("src/keep.log", false),
            ("other/src", true),
        ] {
            assert_eq!(excluded(rules, path), wanted, "{path}");
        }
        assert!(excluded("!x\nx", "x"));
        assert!(!excluded("x\n!**/x", "x"));
    }

    #[test]
    fn what_is_left_out_is_looked_into_only_by_name() {
        for (rules, path, wanted) in [
            ("*\n!a/b/c", "a/b/c", false),
            ("*\n!a/b/c", "a/b/d", true),
            ("*\n!a/**", "a/b/c", false),
            ("*\n!a/**/*.c", "a/x.c", false),
            ("*\n!a/**/*.c", "a/b/x.c", true),
            ("*\n!**/*.c", "x.c", false),
            ("*\n!**/*.c", "a/x.c", true),
            ("*\n!ab", "a/x", true),
            // A rule that was not asked about the folder does not go for what is in it.
            ("a\n!a/b\na", "a/b", false),
            ("a\n!a/b\na", "a/c", true),
        ] {
            assert_eq!(excluded(rules, path), wanted, "{rules:?} on {path}");
        }
    }

    #[test]
    fn lines_are_read_as_by_docker() {
        for (rules, path, wanted) in [
            ("\u{feff}a\r\n/b\r\n", "a", true),
            ("\u{feff}a\r\n/b\r\n", "b", true),
            ("a/ ", "a", true),
            ("a /", "a", true),
            ("../a", "a", false),
            ("/../a", "a", true),
            (".", "a", false),
            ("/", "a", false),
            ("a\n./!a", "a", false),
            ("!!a", "!a", false),
            ("*\n!!a", "!a", false),
        ] {
            assert_eq!(excluded(rules, path), wanted, "{rules:?} on {path}");
        }
    }

    #[test]
    fn the_rule_that_leaves_a_path_out_is_named() {
        for (text, path, line) in [
            ("# all\n*\n!src\nsrc/*.log\n", "src/a.log", Some(4)),
            ("# all\n*\n!src\nsrc/*.log\n", "src/a.c", None),
            ("# all\n*\n!src\nsrc/*.log\n", "lib/a.c", Some(2)),
            ("a\n\na/b\n", "a/b", Some(1)),
            ("x\n!x\nx\n", "x", Some(3)),
        ] {
            assert_eq!(
                Dockerignore::parse(text).expect("good patterns").line_against(path),
                line,
                "{text:?} on {path}"
            );
        }
    }

    #[test]
    fn bad_patterns_name_their_line() {
        let bad = [("ok\n[", 2), ("!", 1), ("a\n\n! ", 3), ("a\\", 1), ("[]", 1), ("!/", 1), ("[a-]", 1), ("[-a]", 1)];
        for (text, line) in bad {
            assert_eq!(Dockerignore::parse(text).expect_err(text).line, line, "{text}");
        }
    }
}
