//! The way of fuzz targets to what is private here and needs no log service around it: the search and the index.

use slipway_logfmt::chunk::{Chunk, Stream};
use slipway_logfmt::outline::Outline;
use slipway_logfmt::text::count_lines;

use crate::index::Index;
use crate::search::{Query, Search, SearchError, Start};

/// What to look for.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// Text or an expression.
    pub text: String,
    /// It is an expression.
    pub regex: bool,
    /// Capitals and small letters differ.
    pub case: bool,
    /// Only whole words.
    pub word: bool,
    /// Only lines of this step.
    pub step: Option<u32>,
    /// Only lines of this output.
    pub stream: Option<Stream>,
    /// Only lines behind this one are told.
    pub after: i64,
    /// Lines on each side of a hit.
    pub context: usize,
}

/// A line that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Counted from 1.
    pub line: i64,
    /// Its text.
    pub text: String,
    /// Its parts that are marked.
    pub marked: Vec<String>,
    /// The lines above it that are told with it.
    pub before: Vec<String>,
    /// The lines below it.
    pub after: Vec<String>,
}

/// Looks through chunks: how many lines have it, and the first 500 of them. `None` where it cannot be looked for.
pub fn search(asked: Asked, chunks: Vec<Chunk>) -> Option<(i64, Vec<Told>)> {
    let Asked { text, regex, case, word, step, stream, after, context } = asked;
    let query = Query { text, regex, case, word, step, stream, after, limit: 500, context, first: false };
    let search = match Search::new(query) {
        Ok(search) => search,
        Err(SearchError::Refused(_) | SearchError::Failed(_)) => return None,
    };
    let found = search.run(chunks.into_iter(), Start::default(), || true).ok()?;
    let told = found.hits.into_iter().map(|hit| Told {
        line: hit.line,
        marked: hit.parts.iter().filter(|part| part.hit).map(|part| part.text.clone()).collect(),
        text: hit.parts.into_iter().map(|part| part.text).collect(),
        before: hit.before,
        after: hit.after,
    });
    Some((found.total, told.collect()))
}

/// The index of runs of a log that follow each other from its first byte on.
#[derive(Debug)]
pub struct Runs(Index);

impl Runs {
    /// Indexes them as if each had its outline in its row. `None` where they do not follow each other.
    pub fn of(runs: &[Chunk]) -> Option<Self> {
        let mut index = Index::default();
        for run in runs {
            let row = serde_json::to_value(Outline::of(run)?).ok()?;
            let outline = serde_json::from_value(row).ok()?;
            if !index.push(run.offset, run.end(), count_lines(&run.bytes), outline) {
                return None;
            }
        }
        Some(Self(index))
    }

    /// Lines that have begun.
    pub fn lines(&self) -> i64 {
        self.0.lines()
    }

    /// The steps in the order of their first bytes, with their lines.
    pub fn steps(&self) -> Vec<(u32, i64)> {
        self.0.steps().iter().map(|step| (step.step, step.lines)).collect()
    }

    /// The first byte of the run in which a step's line begins, and the step's lines before that run.
    pub fn run_of_step_line(&self, step: u32, line: i64) -> Option<(i64, i64)> {
        self.0.run_of_step_line(step, line).map(|(run, before)| (run.start, before))
    }

    /// The first byte of the run that holds a byte, the line breaks before it, and whether it begins inside of a line.
    pub fn run_at(&self, offset: i64) -> Option<(i64, i64, bool)> {
        self.0.run_at(offset).map(|run| (run.start, run.breaks, run.continues))
    }

    /// The first byte of the next run behind a byte in which a step wrote something.
    pub fn next_of_step(&self, offset: i64, step: u32) -> Option<i64> {
        self.0.next_of_step(offset, step).map(|run| run.start)
    }
}
