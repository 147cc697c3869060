//! Heredocs: which ones a line opens, as `heredocsFromLine` of moby/buildkit frontend/dockerfile/parser finds them.
//! Engines before BuildKit 0.9 do not know them (20.10 has 0.8): they take the lines below for instructions.

use super::shell::{Shell, Unread};
use super::{Fault, ProblemClass, fault, shown};

/// A heredoc.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Heredoc {
    /// The line that ends it, quotes taken off.
    pub(super) name: String,
    /// `<<-`: tabs in front of each line do not count.
    pub(super) chomp: bool,
    /// No part of the name was quoted, so variables in the body are replaced where the instruction does that.
    pub(super) expand: bool,
}

/// The heredocs that a line opens, in order. A line that cannot be read as words opens none.
pub(super) fn opened_by(line: &str) -> Result<Vec<Heredoc>, Fault> {
    if !line.contains("<<") {
        return Ok(Vec::new());
    }
    let words = Shell::line().read(line).map(|read| read.words).unwrap_or_default();
    words.iter().filter_map(|word| parse(word).transpose()).collect()
}

/// `[digits]<<[-]NAME` without another `<`.
pub(super) fn parse(word: &str) -> Result<Option<Heredoc>, Fault> {
    let Some(rest) = word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<") else { return Ok(None) };
    let (chomp, rest) = rest.strip_prefix('-').map_or((false, rest), |rest| (true, rest));
    if rest.is_empty() || rest.contains('<') {
        return Ok(None);
    }
    let read = |keep_quotes: bool| match Shell::heredoc_name(keep_quotes).read(rest) {
        Ok(read) => Ok(Some(read.words)),
        Err(Unread::TooDeep) => Ok(None),
        Err(Unread::Wrong(why)) => {
            Err(fault(ProblemClass::BadSyntax, format!("the heredoc {} cannot be read: {why}", shown(word))))
        }
    };
    let (Some(bare), Some(raw)) = (read(false)?, read(true)?) else { return Ok(None) };
    let ([name], [raw]) = (bare.as_slice(), raw.as_slice()) else { return Ok(None) };
    let quotes = |text: &str| text.matches(['\'', '"']).count();
    Ok(Some(Heredoc { name: name.clone(), chomp, expand: quotes(name) == quotes(raw) }))
}
