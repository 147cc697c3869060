//! From bytes on lines to whole instructions: directives, comments, continuations, heredocs.

use super::{Problem, ProblemClass};

/// One instruction as one line of text, with the lines it came from.
pub(super) struct LogicalLine {
    pub(super) text: String,
    pub(super) first: usize,
    pub(super) last: usize,
}

/// What a file consists of before instructions are understood.
pub(super) struct Lines {
    pub(super) syntax: Option<String>,
    pub(super) check: Option<String>,
    pub(super) escape: char,
    pub(super) lines: Vec<LogicalLine>,
    pub(super) problems: Vec<Problem>,
}

struct Heredoc {
    name: String,
    chomp: bool,
}

pub(super) fn logical_lines(text: &str) -> Lines {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let raw: Vec<&str> = text.lines().collect();
    let mut read = Lines { syntax: None, check: None, escape: '\\', lines: Vec::new(), problems: Vec::new() };
    let mut at = read_directives(&raw, &mut read);
    while at < raw.len() {
        let first = at + 1;
        let line = raw[at].trim_start();
        at += 1;
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut text = String::new();
        let mut open = push_part(&mut text, line, read.escape);
        while open && at < raw.len() {
            let part = raw[at];
            at += 1;
            // Comments and empty lines inside a continuation are skipped, as BuildKit does.
            if part.trim_start().starts_with('#') || part.trim().is_empty() {
                continue;
            }
            open = push_part(&mut text, part, read.escape);
        }
        let text = text.trim().to_owned();
        if text.is_empty() {
            continue;
        }
        for heredoc in heredocs(&text) {
            at = skip_heredoc(&raw, at, first, &heredoc, &mut read.problems);
        }
        read.lines.push(LogicalLine { text, first, last: at });
    }
    read
}

/// Reads the directives at the very top and returns the index of the first line that is none.
fn read_directives(raw: &[&str], read: &mut Lines) -> usize {
    let mut seen: Vec<String> = Vec::new();
    for (index, line) in raw.iter().enumerate() {
        let Some((key, value)) = directive(line) else { return index };
        let mut bad = |message: String| {
            read.problems.push(Problem { line: index + 1, class: ProblemClass::BadDirective, message });
        };
        if seen.contains(&key) {
            bad(format!("the directive {key} is given twice"));
            continue;
        }
        match (key.as_str(), value) {
            ("syntax", value) => read.syntax = Some(value.to_owned()),
            ("check", value) => read.check = Some(value.to_owned()),
            ("escape", "\\") => read.escape = '\\',
            ("escape", "`") => read.escape = '`',
            ("escape", _) => bad("the escape directive takes \\ or ` only".to_owned()),
            // Unknown keys are comments, but do not end the directives.
            _ => {}
        }
        seen.push(key);
    }
    raw.len()
}

fn directive(line: &str) -> Option<(String, &str)> {
    let (key, value) = line.trim_start().strip_prefix('#')?.split_once('=')?;
    let (key, value) = (key.trim(), value.trim());
    let is_key = key.starts_with(|c: char| c.is_ascii_alphabetic()) && key.chars().all(|c| c.is_ascii_alphanumeric());
    (is_key && !value.is_empty()).then(|| (key.to_lowercase(), value))
}

/// Appends one physical line; true if the instruction goes on. A doubled escape is no continuation.
fn push_part(text: &mut String, part: &str, escape: char) -> bool {
    let trimmed = part.trim_end_matches([' ', '\t']);
    match trimmed.strip_suffix(escape) {
        Some(rest) if !rest.ends_with(escape) => {
            text.push_str(rest);
            true
        }
        _ => {
            text.push_str(part);
            false
        }
    }
}

/// The heredocs that an ADD, COPY or RUN (also below ONBUILD) opens, in order.
fn heredocs(text: &str) -> Vec<Heredoc> {
    let mut words = text.split_whitespace();
    let mut keyword = words.next().unwrap_or("");
    if keyword.eq_ignore_ascii_case("ONBUILD") {
        keyword = words.next().unwrap_or("");
    }
    if !["ADD", "COPY", "RUN"].iter().any(|known| keyword.eq_ignore_ascii_case(known)) {
        return Vec::new();
    }
    shell_words(text).iter().filter_map(|word| heredoc(word)).collect()
}

/// `[digits]<<[-]NAME`, the name perhaps quoted; `<<<` is a here-string and none.
fn heredoc(word: &str) -> Option<Heredoc> {
    let rest = word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<")?;
    let (chomp, name) = match rest.strip_prefix('-') {
        Some(name) => (true, name),
        None => (false, rest),
    };
    let name: String = name.chars().filter(|c| !matches!(c, '"' | '\'')).collect();
    (!name.is_empty() && !name.contains('<')).then_some(Heredoc { name, chomp })
}

/// Splits at unquoted white space and keeps the quotes, so that a quoted `<<` opens nothing.
fn shell_words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut escaped = false;
    for c in text.chars() {
        if escaped {
            escaped = false;
        } else if c == '\\' && quote != Some('\'') {
            escaped = true;
        } else if quote == Some(c) {
            quote = None;
        } else if quote.is_none() && matches!(c, '"' | '\'') {
            quote = Some(c);
        } else if quote.is_none() && c.is_whitespace() {
            words.push(std::mem::take(&mut word));
            continue;
        }
        word.push(c);
    }
    words.push(word);
    words
}

fn skip_heredoc(raw: &[&str], from: usize, opened: usize, heredoc: &Heredoc, problems: &mut Vec<Problem>) -> usize {
    for (offset, line) in raw[from..].iter().enumerate() {
        let line = if heredoc.chomp { line.trim_start_matches('\t') } else { line };
        if line == heredoc.name {
            return from + offset + 1;
        }
    }
    let shown: String = heredoc.name.chars().take(40).collect();
    let message = format!("the heredoc is never closed; write {shown} alone on a line below");
    problems.push(Problem { line: opened, class: ProblemClass::OpenHeredoc, message });
    raw.len()
}
