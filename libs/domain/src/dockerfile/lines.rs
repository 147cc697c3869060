//! From the lines of a file to whole instructions: directives, comments, continuations, heredocs. The rules are those
//! of `Parse` in moby/buildkit frontend/dockerfile/parser/parser.go.

use std::collections::BTreeMap;

use super::directives::directive;
use super::heredoc::{Heredoc, opened_by};
use super::statement::{self, Statement};
use super::{Fault, Problem, ProblemClass, fault, shown};

/// Longest line that the engine reads, without its end.
const MAX_LINE_BYTES: usize = 65535;

/// One instruction with the lines it came from.
pub(super) struct LogicalLine {
    /// Continuations joined.
    pub(super) text: String,
    pub(super) first: usize,
    pub(super) last: usize,
    /// Nothing if it could not be taken apart.
    pub(super) statement: Option<Statement>,
    /// Its heredocs with their bodies.
    pub(super) heredocs: Vec<(Heredoc, String)>,
}

/// What a file consists of before instructions are understood.
pub(super) struct Lines {
    pub(super) directives: BTreeMap<&'static str, String>,
    pub(super) escape: char,
    pub(super) lines: Vec<LogicalLine>,
    pub(super) problems: Vec<Problem>,
}

pub(super) fn logical_lines(text: &str) -> Lines {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let read = Lines { directives: BTreeMap::new(), escape: '\\', lines: Vec::new(), problems: Vec::new() };
    let mut reader = Reader { rest: text, at: 0, read };
    reader.read_all();
    reader.read
}

struct Reader<'a> {
    rest: &'a str,
    /// Lines taken so far.
    at: usize,
    read: Lines,
}

impl<'a> Reader<'a> {
    fn read_all(&mut self) {
        let mut among_directives = true;
        while let Some(line) = self.next_line() {
            let line = line.trim_end_matches(['\r', '\n']).trim_start();
            among_directives = among_directives && self.take_directive(line);
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let first = self.at;
            let text = self.join(line);
            self.take_instruction(text, first);
        }
    }

    /// The next line with its end. One that is too long ends the file for the engine.
    fn next_line(&mut self) -> Option<&'a str> {
        let end = self.rest.find('\n').map_or(self.rest.len(), |index| index + 1);
        if end == 0 {
            return None;
        }
        let (line, rest) = self.rest.split_at(end);
        self.at += 1;
        if line.strip_suffix('\n').unwrap_or(line).len() > MAX_LINE_BYTES {
            let message = format!("a line may have at most {MAX_LINE_BYTES} bytes; continue it on the next one");
            self.problem(self.at, fault(ProblemClass::LineTooLong, message));
            self.rest = "";
            // What was read so far of an instruction ends here.
            self.at -= 1;
            return None;
        }
        self.rest = rest;
        Some(line)
    }

    /// True while directives may follow.
    fn take_directive(&mut self, line: &str) -> bool {
        let Some((key, value)) = directive(line) else { return false };
        if self.read.directives.contains_key(key) {
            let message = format!("the directive {key} is given twice");
            self.problem(self.at, fault(ProblemClass::BadDirective, message));
            return true;
        }
        match (key, value) {
            ("escape", "\\") => self.read.escape = '\\',
            ("escape", "`") => self.read.escape = '`',
            ("escape", _) => {
                let message = "the escape directive takes \\ or ` only";
                self.problem(self.at, fault(ProblemClass::BadDirective, message));
            }
            _ => {}
        }
        self.read.directives.insert(key, value.to_owned());
        true
    }

    /// The line with those that continue it. Comments and empty lines between them do not count.
    fn join(&mut self, line: &str) -> String {
        let (start, mut open) = continued(line, self.read.escape);
        let mut text = start.to_owned();
        while open {
            let Some(part) = self.next_line() else { break };
            let part = part.trim_end_matches(['\r', '\n']);
            let bare = part.trim_start();
            if bare.is_empty() || bare.starts_with('#') {
                continue;
            }
            let (part, goes_on) = continued(part, self.read.escape);
            text.push_str(part);
            open = goes_on;
        }
        text
    }

    fn take_instruction(&mut self, text: String, first: usize) {
        let statement = statement::parse(&text, self.read.escape);
        let mut heredocs = Vec::new();
        if let Ok(statement) = &statement
            && statement.may_hold_heredocs()
        {
            match opened_by(&text) {
                Ok(opened) => heredocs = self.bodies(opened, first),
                Err(fault) => self.problem(first, fault),
            }
        }
        let statement = statement.map_err(|fault| self.problem(first, fault)).ok();
        self.read.lines.push(LogicalLine { text, first, last: self.at.max(first), statement, heredocs });
    }

    fn bodies(&mut self, opened: Vec<Heredoc>, first: usize) -> Vec<(Heredoc, String)> {
        let mut heredocs = Vec::new();
        for heredoc in opened {
            let mut body = String::new();
            let closed = loop {
                let Some(line) = self.next_line() else { break false };
                let bare = line.trim_end_matches(['\r', '\n']);
                let bare = if heredoc.chomp { bare.trim_start_matches('\t') } else { bare };
                if bare == heredoc.name {
                    break true;
                }
                body.push_str(line);
            };
            if !closed {
                let message =
                    format!("the heredoc is never closed; write {} alone on a line below", shown(&heredoc.name));
                self.problem(first, fault(ProblemClass::OpenHeredoc, message));
                return heredocs;
            }
            heredocs.push((heredoc, body));
        }
        heredocs
    }

    fn problem(&mut self, line: usize, Fault { class, message }: Fault) {
        self.read.problems.push(Problem { line, class, message });
    }
}

/// A line without the escape at its end, and whether it had one. A doubled escape is no continuation.
fn continued(line: &str, escape: char) -> (&str, bool) {
    match line.trim_end_matches([' ', '\t']).strip_suffix(escape) {
        Some(rest) if !rest.ends_with(escape) => (rest, true),
        _ => (line, false),
    }
}
