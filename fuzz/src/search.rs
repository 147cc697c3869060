//! The search against a look at every line by itself.

use arbitrary::{Result, Unstructured};
use regex::bytes::{Regex, RegexBuilder};
use slipway_logfmt::ansi::strip_ansi;
use slipway_logfmt::chunk::{Chunk, Stream};
use slipway_logsvc::fuzzing::{Asked, Told, search};

use crate::input;

/// Parts of expressions.
const ATOMS: [&str; 19] = [
    "a", "B", "b", "é", "漢", ".", "\\w", "\\s", "\\d", "[^a]", "[ab]", "^", "$", "\\b", "\\S", "\\[", "m", " ",
    "(?i:A)",
];
const REPEATS: [&str; 7] = ["", "", "", "*", "+", "?", "{2,3}"];
/// Hits that are told at once.
const TOLD: usize = 500;

/// Runs the target.
pub fn run(input: &[u8]) {
    // What a stranger looks for.
    if let Ok(text) = std::str::from_utf8(input) {
        let asked = Asked { text: text.to_owned(), regex: true, ..Asked::default() };
        let log = Chunk { offset: 0, bytes: bytes::Bytes::new(), spans: Vec::new() };
        search(asked, vec![log]);
    }
    let _ = found(&mut Unstructured::new(input));
}

fn found(input: &mut Unstructured<'_>) -> Result<()> {
    let regex = input.arbitrary()?;
    let asked = Asked {
        text: if regex { expression(input, 2)? } else { words(input)? },
        regex,
        case: input.arbitrary()?,
        word: input.arbitrary()?,
        step: if input.ratio(1, 3)? { Some(input.int_in_range(0..=3)?) } else { None },
        stream: if input.ratio(1, 3)? { Some(input::stream(input)?) } else { None },
        after: input.int_in_range(0..=5)?,
        context: input.int_in_range(0..=2)?,
    };
    let bytes = input::text(input, 100)?;
    if asked.word && std::str::from_utf8(&bytes).is_err() {
        // Engines differ in whether a word ends at a byte that is no letter of anything.
        return Ok(());
    }
    let log = input::chunk(input, 0, bytes)?;
    let parts = input::parts(input, &log)?;
    let Some((total, hits)) = search(asked.clone(), parts) else { return Ok(()) };
    let Some(simple) = simple(&asked) else { return Ok(()) };
    let lines = lines(&log);
    let has = |line: &&Line| {
        line.number > asked.after
            && asked.step.is_none_or(|step| step == line.step)
            && asked.stream.is_none_or(|stream| stream == line.stream)
            && simple.is_match(&line.text)
    };
    let wanted: Vec<&Line> = lines.iter().filter(has).collect();
    let told: Vec<i64> = hits.iter().map(|hit| hit.line).collect();
    let numbers: Vec<i64> = wanted.iter().map(|line| line.number).take(TOLD).collect();
    let shown = || log.bytes.escape_ascii().to_string();
    assert_eq!((told, total), (numbers, wanted.len() as i64), "{asked:?} in {}", shown());
    for hit in &hits {
        let line = &lines[hit.line as usize - 1];
        assert_eq!(hit.text, line.shown, "{asked:?} in {}", shown());
        beside(hit, &lines, asked.context);
        for part in hit.marked.iter().filter(|_| !regex && line.text.is_ascii()) {
            assert!(part.eq_ignore_ascii_case(&asked.text), "{part:?} is marked for {asked:?}");
        }
    }
    Ok(())
}

/// The lines told with a hit are those beside it, as many of them as no other hit has.
fn beside(hit: &Told, lines: &[Line], context: usize) {
    let at = hit.line as usize - 1;
    let above: Vec<String> = lines[..at].iter().map(|line| line.shown.clone()).collect();
    let below: Vec<String> = lines[at + 1..].iter().map(|line| line.shown.clone()).collect();
    assert!(hit.before.len() <= context && above.ends_with(&hit.before), "above {}: {:?}", hit.line, hit.before);
    assert!(hit.after.len() <= context && below.starts_with(&hit.after), "below {}: {:?}", hit.line, hit.after);
}

/// A line as people see it.
struct Line {
    number: i64,
    step: u32,
    stream: Stream,
    text: Vec<u8>,
    /// As it is told.
    shown: String,
}

/// Every line, without its break, with whoever wrote its first byte.
fn lines(log: &Chunk) -> Vec<Line> {
    let mut ends = 0;
    let borders: Vec<_> = log
        .spans
        .iter()
        .map(|span| {
            ends += span.len as usize;
            (ends, span)
        })
        .collect();
    let (mut lines, mut at) = (Vec::new(), 0);
    for raw in log.bytes.split_inclusive(|byte| *byte == b'\n') {
        let (_, span) = borders.iter().find(|(end, _)| at < *end).expect("spans cover the bytes");
        let text = strip_ansi(raw);
        let text = match text.strip_suffix(b"\n") {
            Some(line) => line.strip_suffix(b"\r").unwrap_or(line),
            // Nothing to see, and no end of a line: nothing to find.
            None if text.is_empty() => continue,
            None => text.as_slice(),
        };
        // Of one that has not ended, a break may have come in half.
        let shown = if raw.ends_with(b"\n") { text } else { text.strip_suffix(b"\r").unwrap_or(text) };
        let shown = String::from_utf8_lossy(shown).into_owned();
        let (number, text) = (lines.len() as i64 + 1, text.to_vec());
        lines.push(Line { number, step: span.step, stream: span.stream, text, shown });
        at += raw.len();
    }
    lines
}

/// What looks at one line.
fn simple(asked: &Asked) -> Option<Regex> {
    // What may end a line is in no class, as in other searches line by line.
    let own = |text: &str| text.replace("\\s", "[\\s--[\\r\\n]]").replace("[^a]", "[^a\\r\\n]");
    let pattern = if asked.regex { own(&asked.text) } else { regex::escape(&asked.text) };
    let pattern =
        if asked.word { format!(r"\b{{start-half}}(?:{pattern})\b{{end-half}}") } else { format!("(?:{pattern})") };
    RegexBuilder::new(&pattern).case_insensitive(!asked.case).multi_line(true).crlf(true).build().ok()
}

fn words(input: &mut Unstructured<'_>) -> Result<String> {
    let count = input.int_in_range(1..=4)?;
    (0..count).map(|_| input.choose(&["a", "b", "B", "ab", " ", "é", "漢", "[", "m", "."]).copied()).collect()
}

fn expression(input: &mut Unstructured<'_>, depth: u32) -> Result<String> {
    let mut text = String::new();
    for _ in 0..input.int_in_range(1..=4)? {
        if depth > 0 && input.ratio(1, 4)? {
            let (left, right) = (expression(input, depth - 1)?, expression(input, depth - 1)?);
            text.push_str(&format!("({left}|{right})"));
        } else {
            text.push_str(input.choose(&ATOMS)?);
        }
        text.push_str(input.choose(&REPEATS)?);
    }
    Ok(text)
}
