//! What `slipway dockerfile inspect` prints: one object with every key always there.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Outline, ProblemClass};

/// An outline as JSON: `{"directives", "stages", "instructions", "problems"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inspection {
    /// Those that are given, by their key in small letters.
    pub directives: BTreeMap<&'static str, String>,
    /// In order.
    pub stages: Vec<StageLine>,
    /// In order, FROM included.
    pub instructions: Vec<InstructionLine>,
    /// By line.
    pub problems: Vec<ProblemLine>,
}

/// A stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StageLine {
    /// From 0.
    pub index: usize,
    /// In small letters; null if it has none.
    pub name: Option<String>,
    /// As it is written.
    pub base: String,
    /// Line of its FROM, from 1.
    pub line: usize,
}

/// An instruction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InstructionLine {
    /// First line, from 1.
    pub line: usize,
    /// Last line, heredocs included.
    pub end_line: usize,
    /// In capitals.
    pub keyword: String,
    /// Index of its stage; null before the first FROM.
    pub stage: Option<usize>,
}

/// A problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProblemLine {
    /// From 1.
    pub line: usize,
    /// What kind it is.
    pub class: ProblemClass,
    /// What is wrong and what would be right.
    pub message: String,
}

impl From<Outline> for Inspection {
    fn from(outline: Outline) -> Self {
        let stages = outline.stages.into_iter().enumerate();
        let instructions = outline.instructions.into_iter();
        let problems = outline.problems.into_iter();
        Self {
            directives: outline.directives,
            stages: stages
                .map(|(index, it)| StageLine { index, name: it.name, base: it.base, line: it.line })
                .collect(),
            instructions: instructions
                .map(|it| InstructionLine {
                    line: it.line,
                    end_line: it.end_line,
                    keyword: it.keyword,
                    stage: it.stage,
                })
                .collect(),
            problems: problems.map(|it| ProblemLine { line: it.line, class: it.class, message: it.message }).collect(),
        }
    }
}
