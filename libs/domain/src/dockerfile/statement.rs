//! One instruction taken apart: keyword, flags and arguments, as moby/buildkit frontend/dockerfile/parser does
//! (split_command.go and line_parsers.go). What fails here fails in the engine before any instruction is looked at.

use serde_json::value::RawValue;

use super::{Fault, ProblemClass, fault, shown};

/// Every instruction that BuildKit knows.
pub(super) const KEYWORDS: &[&str] = &[
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

/// The white space that parts an instruction's words; others belong to a word.
const BLANKS: [char; 5] = ['\t', '\u{b}', '\u{c}', '\r', ' '];

/// An instruction.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Statement {
    /// In capitals, known or not.
    pub(super) keyword: String,
    /// `--name` or `--name=value`, quotes taken off.
    pub(super) flags: Vec<String>,
    /// What follows the keyword and the flags.
    pub(super) form: Form,
}

/// The arguments, in the way that the keyword has them.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// None at all.
    Nothing,
    /// Words between white space.
    Words(Vec<String>),
    /// All in one.
    Text(String),
    /// A JSON array of strings.
    Json(Vec<String>),
    /// ENV and LABEL.
    Pairs(Vec<(String, String)>),
    /// HEALTHCHECK: its kind and what it runs.
    Probe(String, Box<Form>),
    /// ONBUILD.
    Trigger(Box<Statement>),
}

impl Form {
    /// Arguments that are told apart; none for those that have a shape of their own.
    pub(super) fn arguments(&self) -> &[String] {
        match self {
            Self::Words(words) | Self::Json(words) => words,
            Self::Text(text) => std::slice::from_ref(text),
            Self::Nothing | Self::Pairs(_) | Self::Probe(..) | Self::Trigger(_) => &[],
        }
    }
}

impl Statement {
    /// True if lines below it may belong to it.
    pub(super) fn may_hold_heredocs(&self) -> bool {
        let inner = match &self.form {
            Form::Trigger(inner) => inner,
            _ => self,
        };
        matches!(inner.keyword.as_str(), "ADD" | "COPY" | "RUN") && !matches!(inner.form, Form::Json(_))
    }
}

/// The keyword of a line in capitals, and the rest of it.
pub(super) fn split_keyword(line: &str) -> (String, &str) {
    let line = line.trim();
    let (word, rest) = match line.split_once(BLANKS) {
        Some((word, rest)) => (word, rest.trim_start_matches(BLANKS)),
        None => (line, ""),
    };
    // One letter for one, as Go does; there are letters outside ASCII whose small form lies inside.
    let small: String = word.chars().map(|c| if c == '\u{130}' { 'i' } else { lower(c) }).collect();
    let known = KEYWORDS.iter().find(|known| known.eq_ignore_ascii_case(&small));
    (known.map_or_else(|| word.to_uppercase(), |known| (*known).to_owned()), rest)
}

fn lower(c: char) -> char {
    let mut small = c.to_lowercase();
    match (small.next(), small.next()) {
        (Some(small), None) => small,
        _ => c,
    }
}

/// Takes an instruction apart.
pub(super) fn parse(line: &str, escape: char) -> Result<Statement, Fault> {
    let (keyword, rest) = split_keyword(line);
    let (flags, rest) = split_flags(rest);
    let rest = rest.trim();
    let form = match keyword.as_str() {
        "ADD" | "COPY" | "VOLUME" => match json(rest)? {
            Some(strings) => Form::Json(strings),
            None => words(rest),
        },
        "EXPOSE" | "FROM" => words(rest),
        "CMD" | "ENTRYPOINT" | "RUN" | "SHELL" => command(rest)?,
        "ENV" | "LABEL" => Form::Pairs(pairs(&keyword, rest, escape)?),
        "ARG" => Form::Words(quoted_words(rest, escape)),
        "HEALTHCHECK" => {
            let (kind, run) = rest.split_once(|c: char| c.is_ascii_whitespace() || c == '\u{b}').unwrap_or((rest, ""));
            if kind.is_empty() {
                Form::Nothing
            } else {
                Form::Probe(kind.to_owned(), Box::new(command(run.trim_start())?))
            }
        }
        "ONBUILD" if rest.is_empty() => Form::Nothing,
        "ONBUILD" => Form::Trigger(Box::new(trigger(rest, escape)?)),
        "MAINTAINER" | "STOPSIGNAL" | "USER" | "WORKDIR" if !rest.is_empty() => Form::Text(rest.to_owned()),
        _ => Form::Nothing,
    };
    Ok(Statement { keyword, flags, form })
}

/// What ONBUILD holds. A second ONBUILD in it is not allowed anyway, so that nothing is nested deeper.
fn trigger(rest: &str, escape: char) -> Result<Statement, Fault> {
    let (keyword, _) = split_keyword(rest);
    if keyword == "ONBUILD" {
        return Ok(Statement { keyword, flags: Vec::new(), form: Form::Nothing });
    }
    parse(rest, escape)
}

fn words(rest: &str) -> Form {
    if rest.is_empty() {
        return Form::Nothing;
    }
    Form::Words(rest.split(BLANKS).filter(|word| !word.is_empty()).map(str::to_owned).collect())
}

fn command(rest: &str) -> Result<Form, Fault> {
    if rest.is_empty() {
        return Ok(Form::Nothing);
    }
    Ok(json(rest)?.map_or_else(|| Form::Text(rest.to_owned()), Form::Json))
}

/// A JSON array of strings. What is no JSON is a command for the shell; an array of something else is a mistake.
fn json(rest: &str) -> Result<Option<Vec<String>>, Fault> {
    if !rest.starts_with('[') {
        return Ok(None);
    }
    // Raw values: half surrogates and deep nesting are JSON for Go.
    let Ok(values) = serde_json::from_str::<Vec<&RawValue>>(rest) else { return Ok(None) };
    let mut strings = Vec::with_capacity(values.len());
    for value in values {
        let text = value.get();
        match text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
            Some(inner) => strings.push(serde_json::from_str(text).unwrap_or_else(|_| inner.to_owned())),
            // To Go a number that no float can hold is no JSON.
            None if text.parse::<f64>().is_ok_and(f64::is_infinite) => return Ok(None),
            None => {
                let message = "an array in JSON form may hold only strings in double quotes";
                return Err(fault(ProblemClass::BadSyntax, message));
            }
        }
    }
    Ok(Some(strings))
}

/// `name=value …`, or the old `name value`.
fn pairs(keyword: &str, rest: &str, escape: char) -> Result<Vec<(String, String)>, Fault> {
    let words = quoted_words(rest, escape);
    let Some(first) = words.first() else { return Ok(Vec::new()) };
    if !first.contains('=') {
        let Some((name, value)) = rest.split_once(BLANKS) else {
            return Err(fault(ProblemClass::BadSyntax, format!("{keyword} needs a value: write {keyword} name=value")));
        };
        return Ok(vec![(name.to_owned(), value.trim_start_matches(BLANKS).to_owned())]);
    }
    let pair = |word: String| match word.split_once('=') {
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => {
            let message = format!("\"{}\" is not of the form name=value; quote values that hold blanks", shown(&word));
            Err(fault(ProblemClass::BadSyntax, message))
        }
    };
    words.into_iter().map(pair).collect()
}

/// Words between white space, where quotes and the escape hold a word together. Both stay in the words.
fn quoted_words(rest: &str, escape: char) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut quote, mut was_quoted) = (String::new(), None, false);
    let mut chars = rest.chars();
    while let Some(c) = chars.next() {
        if quote.is_none() && c.is_whitespace() {
            if was_quoted || !word.is_empty() {
                words.push(std::mem::take(&mut word));
            }
            was_quoted = false;
            continue;
        }
        if quote == Some(c) {
            quote = None;
        } else if quote.is_none() && matches!(c, '"' | '\'') {
            (quote, was_quoted) = (Some(c), true);
        }
        if c == escape && quote != Some('\'') {
            let Some(escaped) = chars.next() else { break };
            word.push(c);
            word.push(escaped);
        } else {
            word.push(c);
        }
    }
    if was_quoted || !word.is_empty() {
        words.push(word);
    }
    words
}

/// The flags at the front, and what follows them. Only `\` escapes in them, whatever the file's escape is.
fn split_flags(line: &str) -> (Vec<String>, &str) {
    let mut flags = Vec::new();
    // Byte by byte, as the engine does: to it two bytes that occur inside letters are white space.
    let bytes = line.as_bytes();
    let is_space = |byte: u8| char::from(byte).is_whitespace();
    let mut at = 0;
    loop {
        while bytes.get(at).is_some_and(|byte| is_space(*byte)) {
            at += 1;
        }
        if !bytes[at..].starts_with(b"--") {
            break;
        }
        let (mut word, mut quote) = (Vec::new(), None);
        while let Some(&byte) = bytes.get(at) {
            if quote.is_none() && is_space(byte) {
                break;
            }
            at += 1;
            if quote == Some(byte) {
                quote = None;
            } else if quote.is_none() && matches!(byte, b'"' | b'\'') {
                quote = Some(byte);
            } else if byte == b'\\' {
                word.extend(bytes.get(at));
                at += 1;
            } else {
                word.push(byte);
            }
        }
        at = at.min(bytes.len());
        if word == b"--" {
            break;
        }
        flags.push(String::from_utf8_lossy(&word).into_owned());
    }
    while !line.is_char_boundary(at) {
        at += 1;
    }
    (flags, &line[at..])
}
