//! `.dockerignore` with the rules of moby/patternmatcher: the last matching pattern wins, `!` takes a
//! file back, `**` crosses folders, and a pattern that matches a folder matches everything below it.

use regex::Regex;

/// The parsed patterns of one file, in order.
#[derive(Debug, Default)]
pub struct Dockerignore {
    patterns: Vec<Pattern>,
}

/// A pattern that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(".dockerignore line {line}: \"{pattern}\" is no pattern")]
pub struct BadPattern {
    /// Line, from 1.
    pub line: usize,
    /// The pattern as written.
    pub pattern: String,
}

#[derive(Debug)]
struct Pattern {
    takes_back: bool,
    matcher: Matcher,
}

#[derive(Debug)]
enum Matcher {
    Exact(String),
    Prefix(String),
    Suffix(String),
    Pattern(Regex),
}

impl Dockerignore {
    /// Reads the file's text.
    pub fn parse(text: &str) -> Result<Self, BadPattern> {
        let mut patterns = Vec::new();
        for (index, line) in text.strip_prefix('\u{feff}').unwrap_or(text).lines().enumerate() {
            let bad = || BadPattern { line: index + 1, pattern: line.chars().take(200).collect() };
            // Only a # in the first column begins a comment.
            if line.starts_with('#') || line.trim().is_empty() {
                continue;
            }
            let (takes_back, body) = match line.trim().strip_prefix('!') {
                Some(rest) => (true, rest.trim()),
                None => (false, line.trim()),
            };
            if body.is_empty() {
                return Err(bad());
            }
            let body = clean(body);
            patterns.push(Pattern { takes_back, matcher: compile(&body).ok_or_else(bad)? });
        }
        Ok(Self { patterns })
    }

    /// True if nothing is ever excluded.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// True if a file in an excluded folder may still be taken back, so that the folder must be walked.
    pub fn takes_back(&self) -> bool {
        self.patterns.iter().any(|pattern| pattern.takes_back)
    }

    /// Whether a path (with `/`, relative to the context) is left out.
    pub fn excludes(&self, path: &str) -> bool {
        let mut excluded = false;
        for pattern in &self.patterns {
            if pattern.takes_back == excluded && matches_it_or_a_parent(&pattern.matcher, path) {
                excluded = !pattern.takes_back;
            }
        }
        excluded
    }
}

fn matches_it_or_a_parent(matcher: &Matcher, path: &str) -> bool {
    matches(matcher, path) || path.match_indices('/').any(|(at, _)| matches(matcher, &path[..at]))
}

fn matches(matcher: &Matcher, path: &str) -> bool {
    match matcher {
        Matcher::Exact(text) => path == text,
        Matcher::Prefix(prefix) => path.starts_with(prefix.as_str()),
        // `**/foo` also matches `foo` at the root.
        Matcher::Suffix(suffix) => path.ends_with(suffix.as_str()) || suffix.strip_prefix('/') == Some(path),
        Matcher::Pattern(regex) => regex.is_match(path),
    }
}

/// Go's `filepath.Clean`, then without the leading slash.
fn clean(pattern: &str) -> String {
    let rooted = pattern.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in pattern.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    if parts.is_empty() { ".".to_owned() } else { parts.join("/") }
}

/// `Pattern.compile` of moby/patternmatcher, its quirks included.
fn compile(pattern: &str) -> Option<Matcher> {
    let mut regex = String::from("^");
    let mut exact = true;
    let mut suffix_only = false;
    let mut in_class = false;
    let mut chars = pattern.chars().peekable();
    let mut at_start = true;
    while let Some(c) = chars.next() {
        match c {
            '*' if !in_class && chars.peek() == Some(&'*') => {
                chars.next();
                chars.next_if_eq(&'/');
                if chars.peek().is_none() {
                    if exact && !at_start {
                        return pattern.strip_suffix("**").or(pattern.strip_suffix("**/")).map(prefix);
                    }
                    regex.push_str(".*");
                    exact = false;
                    suffix_only = at_start;
                } else {
                    regex.push_str("(.*/)?");
                    suffix_only = at_start;
                    exact = false;
                }
            }
            '*' if !in_class => {
                regex.push_str("[^/]*");
                (exact, suffix_only) = (false, false);
            }
            '?' if !in_class => {
                regex.push_str("[^/]");
                (exact, suffix_only) = (false, false);
            }
            '\\' => {
                regex.push('\\');
                regex.push(chars.next()?);
                (exact, suffix_only) = (false, false);
            }
            '[' | ']' => {
                // Rust's classes nest where Go's do not.
                if c == '[' && in_class {
                    regex.push('\\');
                }
                regex.push(c);
                in_class = c == '[' || (in_class && c != ']');
                (exact, suffix_only) = (false, false);
            }
            '.' | '+' | '(' | ')' | '|' | '{' | '}' | '$' | '&' | '~' => regex.extend(['\\', c]),
            '^' if !in_class => regex.push_str("\\^"),
            c => regex.push(c),
        }
        at_start = false;
    }
    if in_class {
        return None;
    }
    if exact {
        return Some(Matcher::Exact(pattern.to_owned()));
    }
    if suffix_only {
        return pattern.strip_prefix("**").map(|suffix| Matcher::Suffix(suffix.to_owned()));
    }
    regex.push('$');
    Regex::new(&regex).ok().map(Matcher::Pattern)
}

fn prefix(text: &str) -> Matcher {
    Matcher::Prefix(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excluded(patterns: &str, path: &str) -> bool {
        Dockerignore::parse(patterns).expect("good patterns").excludes(path)
    }

    /// The table of moby/patternmatcher's own tests, as far as it concerns this platform.
    #[test]
    fn patterns_match_as_in_moby() {
        for (pattern, path, wanted) in [
            ("**", "file", true),
            ("**", "file/", true),
            ("**/", "file", true),
            ("**", "dir/file", true),
            ("**/", "dir/file", true),
            ("**/**", "dir/file", true),
            ("dir/**", "dir/file", true),
            ("dir/**", "dir/dir2/file", true),
            ("**/dir", "dir", true),
            ("**/dir", "dir/file", true),
            ("**/dir2/*", "dir/dir2/file", true),
            ("**/dir2/*", "dir/dir2/dir2/file", true),
            ("**/dir2/**", "dir/dir2/dir2/file", true),
            ("**file", "file", true),
            ("**file", "dir/file", true),
            ("**/file", "dir/dir/file", true),
            ("**/file*", "dir/dir/file.txt", true),
            ("**/file*txt", "dir/dir/file.txt", true),
            ("**/file*.txt*", "dir/dir/file.txt", true),
            ("**/**/*.txt", "dir/dir/file.txt", true),
            ("**/**/*.txt2", "dir/dir/file.txt", false),
            ("**/*.txt", "file.txt", true),
            ("a**/*.txt", "a/file.txt", true),
            ("a**/*.txt", "a/dir/dir/file.txt", true),
            ("a/*.txt", "a/dir/file.txt", false),
            ("a/*.txt", "a/file.txt", true),
            ("a[b-d]e", "ae", false),
            ("a[b-d]e", "ace", true),
            ("a[b-d]e", "aae", false),
            ("a[^b-d]e", "aze", true),
            (".*", ".foo", true),
            (".*", "foo", false),
            ("abc.def", "abcdef", false),
            ("abc.def", "abc.def", true),
            ("abc?def", "abcZdef", true),
            ("abc?def", "abcdef", false),
            ("a\\*b", "a*b", true),
            ("a\\*b", "ab", false),
            ("**/foo/bar", "foo/bar", true),
            ("**/foo/bar", "dir/dir2/foo/bar", true),
            ("abc/**", "abc", false),
            ("abc/**", "abc/def", true),
            ("**/.foo", "test.foo", false),
            ("**/.foo", "bar/.foo", true),
            ("a(b)c/def", "a(b)c/def", true),
            ("a(b)c/def", "a(b)c/xyz", false),
            ("a.|)$(}+{bc", "a.|)$(}+{bc", true),
            (
                "dist/proxy.py-2.4.0rc3.dev36+g08acad9-py3-none-any.whl",
                "dist/proxy.py-2.4.0rc3.dev36+g08acad9-py3-none-any.whl",
                true,
            ),
            ("dist/*.whl", "dist/proxy.py-2.4.0rc3.dev36+g08acad9-py3-none-any.whl", true),
            ("/docs", "docs/a", true),
            ("./docs/", "docs", true),
            ("docs", "src/docs", false),
            ("a/../docs", "docs/x", true),
            ("x&&y", "x&&y", true),
            ("[x&&y]", "&", true),
        ] {
            assert_eq!(excluded(pattern, path), wanted, "{pattern} on {path}");
        }
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
        assert!(Dockerignore::parse(rules).expect("good").takes_back());
        assert!(excluded("!x\nx", "x"));
        assert!(!excluded("x\n!**/x", "x"));
    }

    #[test]
    fn bad_patterns_name_their_line() {
        for (text, line) in [("ok\n[", 2), ("!", 1), ("a\n\n! ", 3), ("a\\", 1), ("[]", 1)] {
            assert_eq!(Dockerignore::parse(text).expect_err(text).line, line, "{text}");
        }
    }
}
