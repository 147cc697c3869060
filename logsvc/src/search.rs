//! Looks for text in a log, line by line, as people see it: without the escape sequences of terminals. The search itself
//! is ripgrep's; here its input is made of chunks, and what it finds gets the step and the output that wrote it.

mod plain;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::ops::Range;
use std::rc::Rc;

use chrono::{DateTime, Utc};
use grep_matcher::{LineTerminator, Matcher as _};
use grep_regex::{RegexMatcher, RegexMatcherBuilder};
use grep_searcher::{BinaryDetection, Searcher, SearcherBuilder, Sink, SinkContext, SinkContextKind, SinkMatch};
use serde::Serialize;
use slipway_logfmt::chunk::{Chunk, Span, Stream};

use self::plain::Plain;

/// Most bytes of what is looked for.
const TEXT_MAX_BYTES: usize = 1000;
/// Most hits that are told at once.
const LIMIT_MAX: usize = 500;
/// Most lines shown on each side of a hit.
const CONTEXT_MAX: usize = 10;
/// Most memory of a compiled expression, bytes. Larger ones are refused: time is linear in the log, but also in this.
const COMPILED_MAX_BYTES: usize = 512 << 10;
/// Memory for what makes one fast, bytes.
const FAST_MAX_BYTES: usize = 1 << 20;
/// Bytes of a line that are looked at, and the most that the searcher holds of one. Of a longer one the end is passed by.
const LINE_MAX_BYTES: usize = 1 << 20;
/// Bytes of a line that are shown.
const SHOWN_MAX_BYTES: usize = 4 * 1024;
/// Places of a line that are marked.
const PLACES_MAX: usize = 100;
/// Bytes of lines that are told. Beyond it hits are only counted.
const TOLD_MAX_BYTES: usize = 2 << 20;

/// What to look for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Query {
    /// Text, or an expression in the syntax of the `regex` crate.
    pub(crate) text: String,
    /// It is an expression.
    pub(crate) regex: bool,
    /// Capitals and small letters differ.
    pub(crate) case: bool,
    /// Only whole words.
    pub(crate) word: bool,
    /// Only lines of this step.
    pub(crate) step: Option<u32>,
    /// Only lines of this output.
    pub(crate) stream: Option<Stream>,
    /// Lines up to this one are passed by.
    pub(crate) after: i64,
    /// Most hits that are told.
    pub(crate) limit: usize,
    /// Lines told on each side of a hit.
    pub(crate) context: usize,
    /// Ends with the last hit that is told; what is behind it is not counted.
    pub(crate) first: bool,
}

/// Where in a log a search begins.
#[derive(Debug, Default)]
pub(crate) struct Start {
    /// Line breaks before it.
    pub(crate) breaks: i64,
    /// It lies inside of a line.
    pub(crate) continues: bool,
    /// Lines that each step has begun before it.
    pub(crate) of_steps: HashMap<u32, i64>,
}

/// A query that can be run.
#[derive(Debug)]
pub(crate) struct Search {
    query: Query,
    matcher: RegexMatcher,
}

/// What was found.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Found {
    /// Lines that have what was looked for, of all that were looked at.
    pub(crate) total: i64,
    /// Those of this page, in order.
    pub(crate) hits: Vec<Hit>,
    /// Lines so long that their end was not looked at.
    pub(crate) cut_lines: i64,
    /// Not all was looked through, because enough was found or the time was over: there may be more.
    pub(crate) partial: bool,
    /// The last line that was looked at, where not all were.
    #[serde(skip)]
    pub(crate) looked: i64,
    /// Hits behind these were left out: there were as many as are told at once.
    #[serde(skip)]
    pub(crate) more: bool,
}

/// Why nothing was found out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SearchError {
    /// It cannot be looked for; in words for whoever asked.
    #[error("{0}")]
    Refused(String),
    /// The searcher gave up.
    #[error("the search failed: {0}")]
    Failed(io::Error),
}

/// A line with what was looked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Hit {
    /// Counted from 1.
    pub(crate) line: i64,
    step: u32,
    /// Counted among the lines of its step.
    step_line: i64,
    stream: Stream,
    at: DateTime<Utc>,
    /// The line in order, or its part around the first place.
    pub(crate) parts: Vec<Part>,
    /// The lines above it.
    pub(crate) before: Vec<String>,
    /// The lines below it.
    pub(crate) after: Vec<String>,
}

/// A piece of a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Part {
    pub(crate) text: String,
    /// It is what was looked for.
    pub(crate) hit: bool,
}

/// Who wrote the lines from one on, in order of lines.
type Writers = Rc<RefCell<VecDeque<Writer>>>;

/// Who wrote the lines from one on.
#[derive(Debug, Clone, Copy)]
struct Writer {
    line: i64,
    span: Span,
    /// Lines that the step had begun before.
    before: i64,
}

impl Found {
    /// Behind which line the next page begins, where this one began behind `after`; `None` for the last one, and where no
    /// line ended in all of the time: none would the next time.
    pub(crate) fn next(&self, after: i64) -> Option<i64> {
        match self.hits.last() {
            Some(hit) if self.more => Some(hit.line),
            _ => Some(self.looked).filter(|looked| self.partial && *looked > after),
        }
    }
}

impl Query {
    /// Refuses in words what needs no further look.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.text.is_empty() {
            return Err("There is nothing to look for; \"q\" is empty.".to_owned());
        }
        if self.text.len() > TEXT_MAX_BYTES {
            return Err(format!("What to look for is longer than {TEXT_MAX_BYTES} bytes."));
        }
        if self.text.contains(['\n', '\r']) {
            return Err("A line never holds a line break; look for one of the lines.".to_owned());
        }
        if self.limit > LIMIT_MAX {
            return Err(format!("\"limit\" is at most {LIMIT_MAX}."));
        }
        if self.context > CONTEXT_MAX {
            return Err(format!("\"context\" is at most {CONTEXT_MAX} lines."));
        }
        Ok(())
    }
}

impl Search {
    /// Reads a query, which takes memory and time.
    pub(crate) fn new(query: Query) -> Result<Self, SearchError> {
        query.check().map_err(SearchError::Refused)?;
        let matcher = RegexMatcherBuilder::new()
            .fixed_strings(!query.regex)
            .case_insensitive(!query.case)
            .word(query.word)
            .multi_line(true)
            .crlf(true)
            .size_limit(COMPILED_MAX_BYTES)
            .dfa_size_limit(FAST_MAX_BYTES)
            .build(&query.text)
            .map_err(|error| {
                // The last line says what is wrong, those above draw it in the pattern that was made of the text.
                let text = error.to_string();
                let reason = text.lines().last().unwrap_or_default();
                let reason = reason.trim_start_matches("error: ");
                SearchError::Refused(format!("This is no expression that can be looked for: {reason}"))
            })?;
        Ok(Self { query, matcher })
    }

    /// Looks through chunks that follow each other from `start` on. Blocks while it waits for them. `go_on` is asked
    /// between pieces of at most [`LINE_MAX_BYTES`] or so; once it says no, what was found so far is all.
    pub(crate) fn run(
        &self,
        chunks: impl Iterator<Item = Chunk>,
        start: Start,
        go_on: impl Fn() -> bool,
    ) -> Result<Found, SearchError> {
        let (writers, breaks) = (Writers::default(), start.breaks);
        let mut plain = Plain::new(chunks, Rc::clone(&writers), (start, self.query.after), &go_on);
        let mut finder = Finder {
            search: self,
            go_on: &go_on,
            writers,
            breaks,
            found: Found::default(),
            told_bytes: 0,
            above: VecDeque::new(),
            open: false,
        };
        match self.searcher().search_reader(&self.matcher, &mut plain, &mut finder) {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                // The searcher is through with every whole line that it has got, unless it was stopped at a hit.
                let looked = if finder.found.partial { finder.found.looked } else { plain.passed() };
                (finder.found.partial, finder.found.looked) = (true, looked);
            }
            searched => searched.map_err(SearchError::Failed)?,
        }
        Ok(Found { cut_lines: plain.cut_lines(), ..finder.found })
    }

    fn searcher(&self) -> Searcher {
        SearcherBuilder::new()
            .line_terminator(LineTerminator::crlf())
            .line_number(true)
            .binary_detection(BinaryDetection::none())
            .bom_sniffing(false)
            // The lines above a hit are held with it; its buffer grows by doubling.
            .heap_limit(Some((self.query.context + 4) * 2 * LINE_MAX_BYTES))
            .before_context(self.query.context)
            .after_context(self.query.context)
            .build()
    }

    /// The line with its places marked. Bytes that are no UTF-8 are shown as U+FFFD.
    fn parts(&self, line: &[u8]) -> Vec<Part> {
        let mut places = Vec::new();
        let looked = self.matcher.find_iter(line, |place| {
            // An expression may also find nothing, between any two bytes: no part of a line ends inside of a letter.
            if place.start() < place.end() {
                places.push(place.start()..place.end());
            }
            let first = places.first().map_or(0, |place: &Range<usize>| place.start);
            places.len() < PLACES_MAX && place.start() < first + SHOWN_MAX_BYTES
        });
        if looked.is_err() {
            places.clear();
        }
        let first = places.first().map_or(0, |place| place.start);
        let from = if line.len() <= SHOWN_MAX_BYTES { 0 } else { first.saturating_sub(SHOWN_MAX_BYTES / 4) };
        let to = line.len().min(from + SHOWN_MAX_BYTES);
        let mut parts = Vec::new();
        let mut add = |from: usize, to: usize, hit| {
            if let Some(bytes) = line.get(from..to).filter(|bytes| !bytes.is_empty()) {
                parts.push(Part { text: String::from_utf8_lossy(bytes).into_owned(), hit });
            }
        };
        let mut at = from;
        for place in places {
            add(at, place.start.min(to), false);
            add(place.start.clamp(at, to), place.end.min(to), true);
            at = place.end.clamp(at, to);
        }
        add(at, to, false);
        parts
    }
}

/// Takes what the searcher finds.
struct Finder<'a, G> {
    search: &'a Search,
    go_on: &'a G,
    writers: Writers,
    /// Line breaks before the first line of the searcher.
    breaks: i64,
    found: Found,
    told_bytes: usize,
    /// Lines above the next hit.
    above: VecDeque<String>,
    /// The last hit that is told still gets the lines below it.
    open: bool,
}

impl<G: Fn() -> bool> Finder<'_, G> {
    /// Who wrote a line. Lines are asked for in their order.
    fn writer(&self, line: i64) -> Option<Writer> {
        let mut writers = self.writers.borrow_mut();
        while writers.get(1).is_some_and(|next| next.line <= line) {
            writers.pop_front();
        }
        writers.front().copied()
    }

    /// Only hits that are told are wanted.
    fn is_brief(&self) -> bool {
        self.search.query.first && self.search.query.limit > 0
    }

    /// Whether the last hit that is told, or a line below it, is still to come.
    fn goes_on(&mut self) -> bool {
        let Query { limit, context, .. } = self.search.query;
        let last = self.found.hits.last().filter(|_| self.is_brief() && self.found.hits.len() >= limit);
        let Some(last) = last.filter(|hit| hit.after.len() >= context) else { return true };
        let looked = last.line + last.after.len() as i64;
        self.found.more = true;
        self.ends_at(looked)
    }

    /// Nothing behind this line is looked at: the answer to whether it goes on.
    fn ends_at(&mut self, line: i64) -> bool {
        (self.found.partial, self.found.looked) = (true, line);
        false
    }

    /// A line that is no hit: below the last one that is told, or else perhaps above the next one. Told once.
    fn beside(&mut self, bytes: &[u8], is_below: bool) {
        let context = self.search.query.context;
        if context == 0 {
            return;
        }
        let line = without_break(bytes);
        let shown = line.get(..line.len().min(SHOWN_MAX_BYTES)).unwrap_or_default();
        let text = String::from_utf8_lossy(shown).into_owned();
        match self.found.hits.last_mut().filter(|hit| is_below && self.open && hit.after.len() < context) {
            Some(hit) => {
                self.told_bytes += text.len();
                hit.after.push(text);
            }
            None => {
                self.above.push_back(text);
                let over = self.above.len().saturating_sub(context);
                self.above.drain(..over);
            }
        }
    }
}

impl<G: Fn() -> bool> Sink for Finder<'_, G> {
    type Error = io::Error;

    fn matched(&mut self, _: &Searcher, found: &SinkMatch<'_>) -> io::Result<bool> {
        let query = &self.search.query;
        let line = self.breaks + found.line_number().and_then(|line| i64::try_from(line).ok()).unwrap_or_default();
        if !(self.go_on)() {
            self.ends_at(line - 1);
            return Err(late());
        }
        if line <= query.after {
            self.beside(found.bytes(), true);
            return Ok(true);
        }
        let Some(Writer { line: first, span, before: of_step }) = self.writer(line) else { return Ok(true) };
        if query.step.is_some_and(|step| step != span.step) || query.stream.is_some_and(|stream| stream != span.stream)
        {
            self.beside(found.bytes(), true);
            return Ok(true);
        }
        self.open = self.found.hits.len() < query.limit && self.told_bytes < TOLD_MAX_BYTES && !self.found.more;
        self.found.more |= !self.open;
        if !self.open && self.is_brief() {
            return Ok(self.ends_at(line - 1));
        }
        self.found.total += 1;
        let before = Vec::from(std::mem::take(&mut self.above));
        if self.open {
            let parts = self.search.parts(without_break(found.bytes()));
            let told = parts.iter().map(|part| part.text.len()).chain(before.iter().map(String::len));
            self.told_bytes += told.sum::<usize>();
            let Span { step, stream, at, .. } = span;
            let step_line = of_step + line - first + 1;
            self.found.hits.push(Hit { line, step, step_line, stream, at, parts, before, after: Vec::new() });
        }
        Ok(self.goes_on())
    }

    fn context(&mut self, _: &Searcher, context: &SinkContext<'_>) -> io::Result<bool> {
        self.beside(context.bytes(), matches!(context.kind(), SinkContextKind::After));
        Ok(self.goes_on())
    }
}

/// Ends the search from within.
fn late() -> io::Error {
    io::ErrorKind::TimedOut.into()
}

fn without_break(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}
