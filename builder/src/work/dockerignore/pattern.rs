//! One pattern of moby/patternmatcher: made into a regular expression as moby makes it, its quirks included, then
//! from Go's dialect into ours.

use regex::Regex;

#[derive(Debug)]
pub(super) enum Pattern {
    Exact(String),
    Prefix(String),
    Suffix(String),
    Regex(Regex),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Exact,
    Prefix,
    Suffix,
    Regex,
}

impl Pattern {
    /// `None` if it is none. `text` is clean in the sense of `filepath.Clean`.
    pub(super) fn new(text: &str) -> Option<Self> {
        if !is_well_formed(text) {
            return None;
        }
        let (kind, regex) = expression(text);
        Some(match kind {
            Kind::Exact => Self::Exact(text.to_owned()),
            Kind::Prefix => Self::Prefix(text.strip_suffix("**")?.to_owned()),
            Kind::Suffix => Self::Suffix(text.strip_prefix("**")?.to_owned()),
            Kind::Regex => Self::Regex(Regex::new(&translated(&regex)).ok()?),
        })
    }

    /// Whether it matches the whole path.
    pub(super) fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(text) => path == text,
            Self::Prefix(prefix) => path.starts_with(prefix.as_str()),
            // `**/foo` also matches `foo` at the top.
            Self::Suffix(suffix) => path.ends_with(suffix.as_str()) || suffix.strip_prefix('/') == Some(path),
            Self::Regex(regex) => regex.is_match(path),
        }
    }
}

/// `Pattern.compile` of moby: how the pattern is matched, and its expression as Go writes it. It knows of no
/// brackets, so that `*` and `?` have their meaning inside them, too.
fn expression(text: &str) -> (Kind, String) {
    let mut regex = String::from("^");
    let mut kind = Kind::Exact;
    let mut chars = text.chars().peekable();
    let mut at_start = true;
    while let Some(c) = chars.next() {
        match c {
            '*' if chars.next_if_eq(&'*').is_some() => {
                chars.next_if_eq(&'/');
                if chars.peek().is_some() {
                    regex.push_str("(.*/)?");
                    kind = Kind::Regex;
                } else if kind == Kind::Exact {
                    kind = Kind::Prefix;
                } else {
                    regex.push_str(".*");
                    kind = Kind::Regex;
                }
                if at_start {
                    kind = Kind::Suffix;
                }
            }
            '*' | '?' => {
                regex.push_str(if c == '*' { "[^/]*" } else { "[^/]" });
                kind = Kind::Regex;
            }
            '\\' => {
                regex.push(c);
                regex.extend(chars.next());
                kind = Kind::Regex;
            }
            '[' | ']' => {
                regex.push(c);
                kind = Kind::Regex;
            }
            '.' | '+' | '(' | ')' | '|' | '{' | '}' | '$' => regex.extend(['\\', c]),
            c => regex.push(c),
        }
        at_start = false;
    }
    regex.push('$');
    (kind, regex)
}

/// The same expression for our engine: its classes nest and have operators, Go's do neither.
fn translated(go: &str) -> String {
    let mut ours = String::new();
    let mut in_class = false;
    let mut chars = go.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let rest = &go[at + c.len_utf8()..];
        match c {
            '\\' => match chars.next() {
                Some((_, c)) if c.is_ascii() && !c.is_ascii_alphanumeric() => {
                    ours.push_str(&regex::escape(&c.to_string()))
                }
                next => {
                    ours.push('\\');
                    ours.extend(next.map(|(_, c)| c));
                }
            },
            '[' if !in_class => {
                in_class = true;
                ours.push('[');
                ours.extend(chars.next_if(|(_, c)| *c == '^').map(|(_, c)| c));
                if chars.next_if(|(_, c)| *c == ']').is_some() {
                    ours.push_str("\\]");
                }
            }
            // A named class such as [:alpha:] is the same in both.
            '[' if rest.starts_with(':') && rest.contains(":]") => {
                let end = rest.find(":]").map_or(0, |end| end + 2);
                ours.push_str(&go[at..=at + end]);
                while chars.next_if(|(next, _)| *next <= at + end).is_some() {}
            }
            '[' | '&' | '~' if in_class => ours.extend(['\\', c]),
            ']' if in_class => {
                in_class = false;
                ours.push(']');
            }
            c => ours.push(c),
        }
    }
    ours
}

/// What Go's `filepath.Match` takes for a pattern: brackets are closed and not empty, ranges have two ends, nothing
/// ends in a backslash.
fn is_well_formed(text: &str) -> bool {
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' if chars.next().is_none() => return false,
            '[' => {
                chars.next_if_eq(&'^');
                let mut is_empty = true;
                while is_empty || chars.next_if_eq(&']').is_none() {
                    is_empty = false;
                    if !is_range_end(&mut chars) || (chars.next_if_eq(&'-').is_some() && !is_range_end(&mut chars)) {
                        return false;
                    }
                }
            }
            _ => {}
        }
    }
    true
}

/// One end of a range: any character but those that end it, which a backslash takes the meaning from.
fn is_range_end(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> bool {
    let taken = match chars.next() {
        None | Some('-' | ']') => false,
        Some('\\') => chars.next().is_some(),
        Some(_) => true,
    };
    // The bracket must still be closed.
    taken && chars.peek().is_some()
}

#[cfg(test)]
mod tests {
    use crate::work::dockerignore::Dockerignore;
    use crate::work::dockerignore::tests::left_out;

    /// The table of moby/patternmatcher's own tests, as far as it concerns this platform, and a few more.
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
            ("**file", "xfile", true),
            ("[[:digit:]]", "7", true),
            ("[[a]", "[", true),
            ("[[a]", "b", false),
            ("[*]", "*", false),
            ("^*", "a", true),
            ("a\\<b", "a<b", true),
            ("a]", "a]", true),
            ("é?", "éü", true),
        ] {
            let rules = Dockerignore::parse(pattern).expect(pattern);
            assert_eq!(left_out(&rules, path), wanted, "{pattern} on {path}");
        }
    }

    #[test]
    fn what_go_does_not_take_is_no_pattern() {
        for pattern in ["[", "[a", "[]", "[]a]", "[^]", "[a-", "[a-]", "[-a]", "[a--]", "a\\", "[\\", "[z-a]", "\\8"] {
            assert!(Dockerignore::parse(pattern).is_err(), "{pattern}");
        }
        for pattern in ["[a\\]b]", "[\\-a]", "]", "[^^]", "[!a]", "[a\\--z]", "a[b]c[d]"] {
            assert!(Dockerignore::parse(pattern).is_ok(), "{pattern}");
        }
    }
}
