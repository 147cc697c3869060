//! Groups of lines inside of a step, as programs mark them in what they write: `::group::title` and `::endgroup::` (GitHub
//! Actions), `--- title`, `+++ title` and `~~~ title` (Buildkite), `section_start:time:name[options]` and
//! `section_end:time:name` before a carriage return (GitLab). A mark is a line as all others; only where it stands is
//! kept, never its title.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::chunk::{Span, Stream};
use crate::outline::Outline;

/// Marks of one run that are kept; further ones are plain lines.
pub const MAX_RUN_MARKS: usize = 512;
/// Marks of one log that are kept; further ones are plain lines.
pub const MAX_LOG_MARKS: usize = 4_000;
/// Groups that may be inside of each other; deeper ones are plain lines.
pub const MAX_DEPTH: usize = 8;
/// Bytes of a line that are looked at: what makes it a mark is in front of its title.
pub const MAX_MARK_BYTES: usize = 192;
/// Longest name of a section, bytes.
const MAX_NAME_BYTES: usize = 64;

/// What GitLab's lines may have in front.
const ERASE: &str = "\x1b[0K";
const SECTION_START: &str = "section_start:";
const SECTION_END: &str = "section_end:";
const GROUP: &str = "::group::";
const GROUP_END: &str = "::endgroup::";
/// How marks begin.
const BEGINNINGS: [&str; 8] = ["--- ", "+++ ", "~~~ ", GROUP, GROUP_END, SECTION_START, SECTION_END, ERASE];
/// What Go's tests begin their results with: these are no titles.
const RESULTS: [&str; 4] = ["--- PASS: ", "--- FAIL: ", "--- SKIP: ", "--- BENCH: "];

/// A line that begins or ends a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Who wrote it.
    pub step: u32,
    /// Its number among the lines of its step: in an outline from 0 among those of the run, else from 1.
    pub line: i64,
    /// When it was written, or the time that it tells.
    pub at: DateTime<Utc>,
    /// What it does.
    pub sign: Sign,
}

/// What a mark does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sign {
    /// `--- title`: a closed group up to the next such mark.
    Closed,
    /// `+++ title`: an open one.
    Open,
    /// `~~~ title`: a closed one that matters little.
    Faint,
    /// `::group::title`.
    Group,
    /// `::endgroup::`.
    GroupEnd,
    /// `section_start:…`.
    Section {
        /// What its end repeats.
        name: Box<str>,
        /// It shall be closed at first.
        closed: bool,
    },
    /// `section_end:…`.
    SectionEnd {
        /// Whose end it is.
        name: Box<str>,
    },
}

/// The beginning of a line that a run ends in, if it may become a mark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// Who wrote it.
    pub step: u32,
    /// As in a [`Mark`].
    pub line: i64,
    /// When it was begun.
    pub at: DateTime<Utc>,
    /// At most [`MAX_MARK_BYTES`], what cannot stand in a mark as `?`.
    pub text: String,
}

/// The beginning of a run that may begin inside of a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// As in a [`Cut`].
    pub text: String,
    /// The line ends here.
    pub ended: bool,
}

/// A group of a step's lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Group {
    /// The line of its title, counted among those of the step from 1.
    pub line: i64,
    /// The last line that belongs to it; none while it may grow.
    pub last: Option<i64>,
    /// Groups around it.
    pub level: usize,
    /// It is meant to be open at first.
    pub open: bool,
    /// It matters little.
    pub faint: bool,
    /// How long it took, once it ended.
    pub took_ms: Option<i64>,
}

/// What makes groups of a log's runs, taken one after the other. Clones share what is known.
#[derive(Debug, Clone, Default)]
pub struct Marks {
    known: Arc<Vec<Mark>>,
    /// Its lines are counted as in a mark outside of an outline.
    pending: Option<Cut>,
}

impl Marks {
    /// Takes the next run, whose outline is as it was made; `continues` tells that it begins inside of a line, and `before`
    /// how many lines a step had begun before it.
    pub fn push(&mut self, outline: &Outline, continues: bool, before: impl Fn(u32) -> i64) {
        let first = outline.steps.first().filter(|_| continues).map(|(step, _)| *step);
        // The first line of the run is no new one where it only goes on.
        let place = |step: u32, line: i64| match first == Some(step) {
            true if line == 0 => None,
            true => Some(before(step) + line),
            false => Some(before(step) + line + 1),
        };
        if let Some(mut cut) = self.pending.take()
            && continues
            && let Some(head) = &outline.head
        {
            let room = MAX_MARK_BYTES.saturating_sub(cut.text.len());
            cut.text.push_str(head.text.get(..room).unwrap_or(&head.text));
            if head.ended || cut.text.len() >= MAX_MARK_BYTES {
                self.add(cut.mark());
            } else if may_be_mark(cut.text.as_bytes()) {
                self.pending = Some(cut);
            }
        }
        for mark in &outline.marks {
            self.add(place(mark.step, mark.line).map(|line| Mark { line, ..mark.clone() }));
        }
        if let Some(cut) = &outline.tail
            && let Some(line) = place(cut.step, cut.line)
        {
            self.pending = Some(Cut { line, ..cut.clone() });
        }
    }

    /// How many there are; it only grows.
    pub fn count(&self) -> usize {
        self.known.len()
    }

    /// The groups of each step that has some, in the order of their titles.
    pub fn groups(&self) -> Vec<(u32, Vec<Group>)> {
        let mut marks: Vec<&Mark> = self.known.iter().collect();
        marks.sort_by_key(|mark| (mark.step, mark.line));
        let of_step = |marks: &[&Mark]| Some((marks.first()?.step, nest(marks)));
        let steps = marks.chunk_by(|one, other| one.step == other.step).filter_map(of_step);
        steps.filter(|(_, groups)| !groups.is_empty()).collect()
    }

    fn add(&mut self, mark: Option<Mark>) {
        if let Some(mark) = mark
            && self.known.len() < MAX_LOG_MARKS
        {
            Arc::make_mut(&mut self.known).push(mark);
        }
    }
}

impl Cut {
    fn mark(&self) -> Option<Mark> {
        let (sign, at) = read(self.text.as_bytes())?;
        Some(Mark { step: self.step, line: self.line, at: at.unwrap_or(self.at), sign })
    }
}

/// What the beginning of a line says.
pub(crate) enum Begin {
    /// It is a mark.
    Mark(Mark),
    /// It may become one.
    Cut(Cut),
    /// It is a line.
    Line,
}

/// Looks at a line of a run: what there is of it, which is followed by its end or by the end of the run.
pub(crate) fn begin(rest: &[u8], span: &Span, line: i64) -> Begin {
    // Most lines are told by their first byte.
    if span.stream == Stream::Meta || !matches!(rest.first(), Some(b'-' | b'+' | b'~' | b':' | b's' | 0x1b)) {
        return Begin::Line;
    }
    let Head { text, ended } = head(rest);
    let cut = Cut { step: span.step, line, at: span.at, text };
    if ended || cut.text.len() >= MAX_MARK_BYTES {
        return cut.mark().map_or(Begin::Line, Begin::Mark);
    }
    if may_be_mark(cut.text.as_bytes()) { Begin::Cut(cut) } else { Begin::Line }
}

/// The beginning of a line up to its end.
pub(crate) fn head(rest: &[u8]) -> Head {
    let window = rest.get(..rest.len().min(MAX_MARK_BYTES)).unwrap_or_default();
    let end = memchr::memchr(b'\n', window);
    let ended = end.is_some() || rest.get(window.len()) == Some(&b'\n');
    let kept = window.get(..end.unwrap_or(window.len())).unwrap_or_default();
    let text = kept.iter().map(|byte| match byte {
        b' '..=b'~' | b'\r' | 0x1b => char::from(*byte),
        _ => '?',
    });
    Head { text: text.collect(), ended }
}

/// Whether more bytes may make it a mark.
fn may_be_mark(text: &[u8]) -> bool {
    BEGINNINGS.iter().any(|word| text.starts_with(word.as_bytes()) || word.as_bytes().starts_with(text))
}

/// What a line does, and the time that it tells. The text is its beginning.
fn read(text: &[u8]) -> Option<(Sign, Option<DateTime<Utc>>)> {
    let text = std::str::from_utf8(text).ok()?;
    let plain = match text.get(..4)? {
        "--- " if RESULTS.iter().any(|result| text.starts_with(result)) => return None,
        "--- " => Some(Sign::Closed),
        "+++ " => Some(Sign::Open),
        "~~~ " => Some(Sign::Faint),
        _ if text.starts_with(GROUP) => Some(Sign::Group),
        _ if text.starts_with(GROUP_END) => Some(Sign::GroupEnd),
        _ => None,
    };
    if let Some(sign) = plain {
        return Some((sign, None));
    }
    let text = text.trim_start_matches(ERASE);
    let (rest, begins) = match text.strip_prefix(SECTION_START) {
        Some(rest) => (rest, true),
        None => (text.strip_prefix(SECTION_END)?, false),
    };
    let (time, rest) = rest.split_once(':')?;
    let is_number = !time.is_empty() && time.bytes().all(|byte| byte.is_ascii_digit());
    let at = time.parse().ok().filter(|_| is_number).and_then(|secs| DateTime::from_timestamp(secs, 0))?;
    // What the terminal shows begins behind the carriage return.
    let (rest, _) = rest.split_once(['\r', '\x1b']).unwrap_or((rest, ""));
    let (name, options) = match rest.strip_suffix(']') {
        Some(inner) => inner.split_once('[')?,
        None => (rest, ""),
    };
    let is_name = (1..=MAX_NAME_BYTES).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
    if !is_name {
        return None;
    }
    let (name, closed) = (Box::from(name), options.split(',').any(|option| option.trim() == "collapsed=true"));
    Some((if begins { Sign::Section { name, closed } } else { Sign::SectionEnd { name } }, Some(at)))
}

/// Who ends a group.
#[derive(PartialEq, Eq)]
enum Ender<'a> {
    /// The next one of its kind.
    Next,
    GroupEnd,
    SectionEnd(&'a str),
}

/// A group without its end.
struct Unended<'a> {
    ender: Ender<'a>,
    begun_at: DateTime<Utc>,
    /// Its place among the groups.
    place: usize,
}

/// The groups that a step's marks make, which are in their order.
fn nest(marks: &[&Mark]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut stack: Vec<Unended<'_>> = Vec::new();
    // Groups of GitHub's that were too deep: their ends end no other.
    let mut too_deep = 0usize;
    let mut rest = marks.iter().peekable();
    while let Some(mark) = rest.next() {
        let (ender, open, faint) = match &mark.sign {
            Sign::Closed => {
                // The two lines above each file of a patch are no titles.
                let is_patch = |next: &&&Mark| next.sign == Sign::Open && next.line == mark.line + 1;
                if rest.next_if(|next| is_patch(next)).is_some() {
                    continue;
                }
                (Ender::Next, false, false)
            }
            Sign::Open => (Ender::Next, true, false),
            Sign::Faint => (Ender::Next, false, true),
            Sign::Group => (Ender::GroupEnd, false, false),
            Sign::Section { name, closed } => (Ender::SectionEnd(name), !closed, false),
            Sign::GroupEnd if too_deep > 0 => {
                too_deep -= 1;
                continue;
            }
            Sign::GroupEnd => {
                end(&mut stack, &mut groups, &Ender::GroupEnd, mark);
                continue;
            }
            Sign::SectionEnd { name } => {
                if end(&mut stack, &mut groups, &Ender::SectionEnd(name), mark) {
                    too_deep = 0;
                }
                continue;
            }
        };
        if ender == Ender::Next && end(&mut stack, &mut groups, &ender, mark) {
            too_deep = 0;
        }
        if stack.len() >= MAX_DEPTH {
            too_deep += usize::from(ender == Ender::GroupEnd);
            continue;
        }
        groups.push(Group { line: mark.line, last: None, level: stack.len(), open, faint, took_ms: None });
        stack.push(Unended { ender, begun_at: mark.at, place: groups.len() - 1 });
    }
    groups
}

/// Ends the innermost group that waits for this, and all inside of it. False where none does.
fn end(stack: &mut Vec<Unended<'_>>, groups: &mut [Group], ender: &Ender<'_>, mark: &Mark) -> bool {
    let Some(ended) = stack.iter().rposition(|unended| unended.ender == *ender) else { return false };
    for (inside, unended) in stack.drain(ended..).enumerate() {
        let Some(group) = groups.get_mut(unended.place) else { continue };
        // The line of an end of its own belongs to a group.
        let has_own_end = inside == 0 && unended.ender != Ender::Next;
        group.last = Some(if has_own_end { mark.line } else { mark.line - 1 });
        group.took_ms = Some((mark.at - unended.begun_at).num_milliseconds().max(0));
    }
    true
}

#[cfg(test)]
mod tests;
