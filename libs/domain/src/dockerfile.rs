//! Reads a Dockerfile as BuildKit does, without building anything: directives, stages, instructions with their lines,
//! and what the engine would refuse, whatever arguments it is built with. The rule is the newest stable Dockerfile
//! syntax; where older engines differ, the code says so. What hangs on base images, files or arguments is not judged,
//! and nothing of a file that names another frontend than Docker's.

mod arguments;
mod bases;
mod directives;
mod excerpt;
mod flags;
mod heredoc;
mod inspect;
mod labels;
mod lines;
mod mirrors;
mod mounts;
mod policy;
mod reference;
mod rules;
mod shell;
mod stages;
mod statement;
mod vertex;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::text_enum::text_enum;
pub use bases::{BaseImage, bases, stages_beside, with_bases};
pub use directives::{Frontend, frontends};
pub use excerpt::excerpt;
pub use inspect::{Inspection, InstructionLine, ProblemLine, StageLine};
pub use labels::labels;
use lines::{LogicalLine, logical_lines};
pub use mirrors::{BadMirror, RegistryMirrors};
pub use mounts::secret_mounts;
pub use policy::{BadSyntaxAllow, SYNTAX_ARG, SyntaxAllow, is_reserved_arg};
use stages::Graph;
pub use vertex::line_of_vertex;

/// Longest Dockerfile that we read.
pub const MAX_BYTES: u64 = 1024 * 1024;
/// A hostile file may have a problem on each of its lines; so many are told.
const MAX_PROBLEMS: usize = 1000;

/// The outline of a Dockerfile.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outline {
    /// The directives that are given, by their key in small letters: `syntax`, `escape`, `check`.
    pub directives: BTreeMap<&'static str, String>,
    /// The line continuation character, a backslash unless `# escape=` says otherwise.
    pub escape: char,
    /// Stages in order.
    pub stages: Vec<Stage>,
    /// Instructions in order, FROM included.
    pub instructions: Vec<Instruction>,
    /// What the engine refuses, in the order of lines, at most one for each; the first thousand.
    pub problems: Vec<Problem>,
}

/// One build stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// Its name in lower case, if `AS` gives one. Several may have the same: the last one counts.
    pub name: Option<String>,
    /// What FROM names, unexpanded; empty if it names nothing.
    pub base: String,
    /// The stage that it stands upon, where `base` names one.
    pub parent: Option<usize>,
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

text_enum! {
    /// What kind of mistake a [`Problem`] is.
    ProblemClass {
        /// No such instruction.
        UnknownInstruction = "unknown_instruction",
        /// Only ARG may stand before the first FROM.
        BeforeFrom = "before_from",
        /// There is no FROM at all.
        NoStage = "no_stage",
        /// FROM without an image, with words that it does not take, or with a name that none can have.
        BadFrom = "bad_from",
        /// The wanted stage is not there.
        TargetMissing = "target_missing",
        /// COPY or a mount takes files from what is no stage above and cannot be an image.
        BadSource = "bad_source",
        /// Stages that take files from each other.
        StageCycle = "stage_cycle",
        /// A heredoc without its end.
        OpenHeredoc = "open_heredoc",
        /// A line that is longer than the engine reads.
        LineTooLong = "line_too_long",
        /// A directive that is repeated or has an impossible value.
        BadDirective = "bad_directive",
        /// An instruction with too little behind it.
        MissingArguments = "missing_arguments",
        /// An instruction with something behind it that it does not take.
        BadArguments = "bad_arguments",
        /// A flag that there is not, or with a value that it does not take.
        BadFlag = "bad_flag",
        /// Quotes, variables, JSON or pairs that cannot be read.
        BadSyntax = "bad_syntax",
    }
}

/// Something that the engine refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The line, from 1.
    pub line: usize,
    /// The kind.
    pub class: ProblemClass,
    /// What is wrong and what would be right.
    pub message: String,
}

/// A problem whose line its finder does not know.
#[derive(Debug)]
struct Fault {
    class: ProblemClass,
    message: String,
}

fn fault(class: ProblemClass, message: impl Into<String>) -> Fault {
    Fault { class, message: message.into() }
}

/// As much of somebody's text as a message can bear.
fn shown(text: &str) -> String {
    text.chars().take(40).collect()
}

/// Reads the outline of a Dockerfile of which the last stage is built. Never fails: what it cannot read is a
/// [`Problem`].
pub fn scan(text: &str) -> Outline {
    scan_for(text, None)
}

/// The same where another stage is built. What is wrong only in stages that it does not need is no problem.
pub fn scan_for(text: &str, target: Option<&str>) -> Outline {
    let read = logical_lines(text);
    let mut outline =
        Outline { directives: read.directives, escape: read.escape, problems: read.problems, ..Outline::default() };
    for line in &read.lines {
        outline.add(line);
    }
    if outline.stages.is_empty() {
        // The engine of Docker 20.10 not only refuses a file with nothing but ARG: it dies of it.
        outline.problem(1, fault(ProblemClass::NoStage, "the file has no FROM, so there is nothing to build"));
    } else {
        outline.check_build(&read.lines, target);
    }
    // Of each line the first is told: what is wrong with an instruction by itself, before what follows from that.
    outline.problems.sort_by_key(|problem| problem.line);
    outline.problems.dedup_by_key(|problem| problem.line);
    outline.problems.truncate(MAX_PROBLEMS);
    if frontends(text).iter().any(|frontend| !frontend.is_dockers_own()) {
        outline.problems.clear();
    }
    outline
}

impl Outline {
    fn problem(&mut self, line: usize, Fault { class, message }: Fault) {
        if self.problems.len() < 2 * MAX_PROBLEMS {
            self.problems.push(Problem { line, class, message });
        }
    }

    fn add(&mut self, line: &LogicalLine) {
        let (keyword, arguments) = statement::split_keyword(&line.text);
        let arguments = arguments.trim().to_owned();
        if let Some(Err(fault)) = line.statement.as_ref().map(rules::check) {
            self.problem(line.first, fault);
        }
        if keyword == "FROM" {
            self.add_stage(line);
        } else if self.stages.is_empty() && keyword != "ARG" && statement::KEYWORDS.contains(&keyword.as_str()) {
            let message = format!("{keyword} stands before the first FROM; only ARG may");
            self.problem(line.first, fault(ProblemClass::BeforeFrom, message));
        }
        let stage = self.stages.len().checked_sub(1);
        self.instructions.push(Instruction { line: line.first, end_line: line.last, keyword, arguments, stage });
    }

    fn add_stage(&mut self, line: &LogicalLine) {
        let words = line.statement.as_ref().map(|statement| statement.form.arguments()).unwrap_or_default();
        let name = match words {
            [_, word, name] if word.eq_ignore_ascii_case("as") => Some(name.to_lowercase()),
            _ => None,
        };
        let base = words.first().cloned().unwrap_or_default();
        self.stages.push(Stage { name, base, parent: None, line: line.first });
    }

    /// What the engine finds once it has all instructions.
    fn check_build(&mut self, lines: &[LogicalLine], target: Option<&str>) {
        let graph = Graph::of(self, lines, target);
        for (index, line) in lines.iter().enumerate() {
            let checked = match self.instructions[index].stage {
                Some(stage) if graph.built.contains(&stage) => arguments::check(line, self.escape),
                None => arguments::check(line, self.escape),
                Some(_) => Ok(()),
            };
            if let Err(fault) = checked {
                self.problem(line.first, fault);
            }
        }
        for Problem { line, class, message } in graph.problems {
            self.problem(line, Fault { class, message });
        }
    }
}
