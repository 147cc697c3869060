//! Reads a Dockerfile as BuildKit's parser does (moby/buildkit frontend/dockerfile/parser), but only its
//! outline: directives, stages, instructions with their lines, and what is plainly wrong. It builds
//! nothing and expands nothing; it is there to say which line a step came from.

mod lines;
mod mounts;
mod vertex;

#[cfg(test)]
mod tests;

use lines::{LogicalLine, logical_lines};
pub use mounts::secret_mounts;
pub use vertex::line_of_vertex;

use crate::nearest::nearest;

/// Every instruction that BuildKit knows.
const KEYWORDS: &[&str] = &[
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// The outline of a Dockerfile.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outline {
    /// Value of `# syntax=`: a frontend image that the engine would fetch and run.
    pub syntax: Option<String>,
    /// Value of `# check=`.
    pub check: Option<String>,
    /// The line continuation character, a backslash unless `# escape=` says otherwise.
    pub escape: char,
    /// Stages in order.
    pub stages: Vec<Stage>,
    /// Instructions in order, FROM included.
    pub instructions: Vec<Instruction>,
    /// What is plainly wrong, in the order of lines.
    pub problems: Vec<Problem>,
}

/// One build stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// Its name in lower case, if `AS` gives one.
    pub name: Option<String>,
    /// What FROM names, unexpanded; empty if it names nothing.
    pub base: String,
    /// Line of its FROM, from 1.
    pub line: usize,
}

/// One instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instruction {
    /// First line, from 1.
    pub line: usize,
    /// Last line, heredocs included.
    pub end_line: usize,
    /// The keyword in upper case, known or not.
    pub keyword: String,
    /// The rest, continuations joined, heredocs left out.
    pub arguments: String,
    /// Index of its stage; `None` before the first FROM.
    pub stage: Option<usize>,
}

/// What kind of mistake a [`Problem`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProblemClass {
    /// No such instruction.
    UnknownInstruction,
    /// Only ARG may stand before the first FROM.
    BeforeFrom,
    /// There is no FROM at all.
    NoStage,
    /// FROM without an image, or with words that it does not take.
    BadFrom,
    /// Two stages of the same name.
    DuplicateStage,
    /// A heredoc without its end.
    OpenHeredoc,
    /// A directive that is repeated or has an impossible value.
    BadDirective,
    /// An instruction without anything after it.
    MissingArguments,
}

/// Something that is plainly wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The line, from 1.
    pub line: usize,
    /// The kind.
    pub class: ProblemClass,
    /// What is wrong and what would be right.
    pub message: String,
}

/// Reads the outline of a Dockerfile. Never fails: what it cannot read is a [`Problem`].
pub fn scan(text: &str) -> Outline {
    let read = logical_lines(text);
    let mut outline = Outline {
        syntax: read.syntax,
        check: read.check,
        escape: read.escape,
        problems: read.problems,
        ..Outline::default()
    };
    for line in read.lines {
        add_instruction(&mut outline, line);
    }
    if outline.stages.is_empty() {
        let message = "the file has no FROM, so there is nothing to build".to_owned();
        outline.problems.push(Problem { line: 1, class: ProblemClass::NoStage, message });
    }
    outline.problems.sort_by_key(|problem| problem.line);
    outline
}

impl Outline {
    fn problem(&mut self, line: usize, class: ProblemClass, message: impl Into<String>) {
        self.problems.push(Problem { line, class, message: message.into() });
    }
}

fn add_instruction(outline: &mut Outline, line: LogicalLine) {
    let (keyword, arguments) = match line.text.split_once(|c: char| c.is_whitespace()) {
        Some((keyword, rest)) => (keyword.to_uppercase(), rest.trim().to_owned()),
        None => (line.text.to_uppercase(), String::new()),
    };
    if !KEYWORDS.contains(&keyword.as_str()) {
        let shown: String = keyword.chars().take(40).collect();
        let meant = nearest(&keyword, KEYWORDS).map(|name| format!("; did you mean {name}?")).unwrap_or_default();
        outline.problem(line.first, ProblemClass::UnknownInstruction, format!("unknown instruction {shown}{meant}"));
    } else if arguments.is_empty() && keyword != "FROM" {
        outline.problem(line.first, ProblemClass::MissingArguments, format!("{keyword} needs at least one argument"));
    }
    if keyword == "FROM" {
        add_stage(outline, line.first, &arguments);
    } else if outline.stages.is_empty() && keyword != "ARG" && KEYWORDS.contains(&keyword.as_str()) {
        outline.problem(
            line.first,
            ProblemClass::BeforeFrom,
            format!("{keyword} stands before the first FROM; only ARG may"),
        );
    }
    let stage = outline.stages.len().checked_sub(1);
    outline.instructions.push(Instruction { line: line.first, end_line: line.last, keyword, arguments, stage });
}

fn add_stage(outline: &mut Outline, line: usize, arguments: &str) {
    let words: Vec<&str> = arguments.split_whitespace().filter(|word| !word.starts_with("--")).collect();
    let (base, name) = match words.as_slice() {
        [base] => (*base, None),
        [base, word, name] if word.eq_ignore_ascii_case("as") => (*base, Some(name.to_lowercase())),
        other => {
            outline.problem(line, ProblemClass::BadFrom, "FROM is written FROM image or FROM image AS name");
            (other.first().copied().unwrap_or(""), None)
        }
    };
    if let Some(name) = &name
        && outline.stages.iter().any(|stage| stage.name.as_ref() == Some(name))
    {
        outline.problem(line, ProblemClass::DuplicateStage, format!("there is already a stage {name}"));
    }
    outline.stages.push(Stage { name, base: base.to_owned(), line });
}
