//! Words, quotes and variables as BuildKit's frontend/dockerfile/shell reads them. No variable has a value here: what
//! is asked is whether a text can be read at all, which words it has, and which variables it names.

use std::iter::Peekable;
use std::str::Chars;

/// `${a:-${b:-…}}` is followed so deep. What is deeper is not judged.
const MAX_DEPTH: usize = 100;

/// What a variable becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unset {
    /// It stays as it is written.
    Kept,
    /// It has no value and never will.
    Empty,
    /// It may have a value that is not known here.
    Unknown,
}

/// How a text is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shell {
    escape: char,
    keep_quotes: bool,
    keep_escapes: bool,
    heed_quotes: bool,
    unset: Unset,
}

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Read {
    /// The whole text, variables replaced.
    pub(super) text: String,
    /// The same as words.
    pub(super) words: Vec<String>,
    /// The variables that it names.
    pub(super) names: Vec<String>,
}

/// Why nothing was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// The engine cannot read it either.
    Wrong(String),
    /// We do not follow it so deep.
    TooDeep,
}

impl Shell {
    /// For an argument of an instruction.
    pub(super) fn argument(escape: char, unset: Unset) -> Self {
        Self { escape, keep_quotes: false, keep_escapes: false, heed_quotes: true, unset }
    }

    /// For a line that may open heredocs: all is kept, only words are found.
    pub(super) fn line() -> Self {
        Self { escape: '\\', keep_quotes: true, keep_escapes: true, heed_quotes: true, unset: Unset::Kept }
    }

    /// For the word behind `<<`.
    pub(super) fn heredoc_name(keep_quotes: bool) -> Self {
        Self { escape: '\\', keep_quotes, keep_escapes: false, heed_quotes: true, unset: Unset::Kept }
    }

    /// For the lines of a heredoc.
    pub(super) fn heredoc_body() -> Self {
        Self { heed_quotes: false, ..Self::argument('\\', Unset::Unknown) }
    }

    pub(super) fn read(self, text: &str) -> Result<Read, Unread> {
        let keep_escapes = self.keep_escapes;
        let mut reading =
            Reading { shell: self, chars: text.chars().peekable(), keep_escapes, names: Vec::new(), depth: 0 };
        let (text, words) = reading.until(None, keep_escapes)?;
        Ok(Read { text, words, names: reading.names })
    }
}

#[derive(Default)]
struct Words {
    done: Vec<String>,
    word: String,
    inside: bool,
}

impl Words {
    fn add(&mut self, c: char) {
        if !c.is_whitespace() {
            self.add_raw(c);
        } else if self.inside && !self.word.is_empty() {
            self.done.push(std::mem::take(&mut self.word));
            self.inside = false;
        }
    }

    fn add_raw(&mut self, c: char) {
        self.word.push(c);
        self.inside = true;
    }

    fn end(mut self) -> Vec<String> {
        if !self.word.is_empty() {
            self.done.push(self.word);
        }
        self.done
    }
}

struct Reading<'a> {
    shell: Shell,
    chars: Peekable<Chars<'a>>,
    keep_escapes: bool,
    names: Vec<String>,
    depth: usize,
}

impl Reading<'_> {
    /// Reads up to `stop`, which is taken too, or to the end.
    fn until(&mut self, stop: Option<char>, keep_escapes: bool) -> Result<(String, Vec<String>), Unread> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Unread::TooDeep);
        }
        let before = std::mem::replace(&mut self.keep_escapes, keep_escapes);
        let read = self.text_until(stop);
        self.keep_escapes = before;
        self.depth -= 1;
        read
    }

    fn text_until(&mut self, stop: Option<char>) -> Result<(String, Vec<String>), Unread> {
        let mut text = String::new();
        let mut words = Words::default();
        while let Some(&c) = self.chars.peek() {
            if stop == Some(c) {
                self.chars.next();
                return Ok((text, words.end()));
            }
            match c {
                '$' => {
                    let value = self.dollar()?;
                    value.chars().for_each(|c| words.add(c));
                    text.push_str(&value);
                }
                '\'' | '"' if self.shell.heed_quotes => {
                    let quoted = if c == '"' { self.double_quoted()? } else { self.single_quoted()? };
                    words.word.push_str(&quoted);
                    words.inside = true;
                    text.push_str(&quoted);
                }
                _ => {
                    self.chars.next();
                    if !self.plain(c, &mut text, &mut words) {
                        break;
                    }
                }
            }
        }
        match stop {
            Some(stop) => Err(Unread::Wrong(format!("{stop} is missing"))),
            None => Ok((text, words.end())),
        }
    }

    /// Takes a character without a meaning of its own, or an escaped one; false at the end.
    fn plain(&mut self, c: char, text: &mut String, words: &mut Words) -> bool {
        if c != self.shell.escape {
            text.push(c);
            words.add(c);
            return true;
        }
        if self.keep_escapes {
            text.push(c);
            words.add_raw(c);
        }
        let Some(escaped) = self.chars.next() else { return false };
        text.push(escaped);
        words.add_raw(escaped);
        true
    }

    fn single_quoted(&mut self) -> Result<String, Unread> {
        let mut text = String::new();
        self.quote(&mut text);
        loop {
            match self.chars.peek() {
                None => return Err(Unread::Wrong("a ' has no partner".to_owned())),
                Some('\'') => {
                    self.quote(&mut text);
                    return Ok(text);
                }
                Some(&c) => {
                    self.chars.next();
                    text.push(c);
                }
            }
        }
    }

    fn double_quoted(&mut self) -> Result<String, Unread> {
        let mut text = String::new();
        self.quote(&mut text);
        loop {
            match self.chars.peek().copied() {
                None => return Err(Unread::Wrong("a \" has no partner".to_owned())),
                Some('"') => {
                    self.quote(&mut text);
                    return Ok(text);
                }
                Some('$') => text.push_str(&self.dollar()?),
                Some(c) => {
                    self.chars.next();
                    if c == self.shell.escape {
                        self.escaped_in_quotes(c, &mut text);
                    } else {
                        text.push(c);
                    }
                }
            }
        }
    }

    /// Between double quotes only the quote, the dollar and the escape itself can be escaped.
    fn escaped_in_quotes(&mut self, escape: char, text: &mut String) {
        if self.keep_escapes {
            text.push(escape);
        }
        match self.chars.peek().copied() {
            None => {}
            Some(c) if c == '"' || c == '$' || c == escape => {
                self.chars.next();
                text.push(c);
            }
            Some(_) => text.push(escape),
        }
    }

    fn quote(&mut self, text: &mut String) {
        if let Some(c) = self.chars.next()
            && self.shell.keep_quotes
        {
            text.push(c);
        }
    }

    fn dollar(&mut self) -> Result<String, Unread> {
        self.chars.next();
        if self.chars.peek() != Some(&'{') {
            let name = self.name();
            return Ok(match (name.is_empty(), self.shell.unset) {
                (true, _) => "$".to_owned(),
                (false, Unset::Kept) => format!("${name}"),
                (false, Unset::Empty | Unset::Unknown) => self.named(name),
            });
        }
        self.chars.next();
        match self.chars.peek() {
            None => return Err(Unread::Wrong("} is missing".to_owned())),
            Some('{' | '}' | ':') => return Err(Unread::Wrong("${ has no name behind it".to_owned())),
            Some(_) => {}
        }
        let name = self.name();
        match self.chars.next() {
            Some('}') if self.shell.unset == Unset::Kept => Ok(format!("${{{name}}}")),
            Some('}') => Ok(self.named(name)),
            Some('/') => self.replacement(name),
            Some(c @ (':' | '+' | '-' | '?' | '#' | '%')) => self.modified(name, c),
            Some(c) => Err(Unread::Wrong(format!("${{{}{c}…}} is no way to use a variable", shown(&name)))),
            None => Err(Unread::Wrong("} is missing".to_owned())),
        }
    }

    fn named(&mut self, name: String) -> String {
        self.names.push(name);
        String::new()
    }

    fn modified(&mut self, name: String, first: char) -> Result<String, Unread> {
        let kind = if first == ':' { self.chars.next().unwrap_or(first) } else { first };
        let (word, _) = self.until(Some('}'), matches!(kind, '#' | '%'))?;
        if self.shell.unset == Unset::Kept {
            let colon = if first == ':' { ":" } else { "" };
            return Ok(format!("${{{name}{colon}{kind}{word}}}"));
        }
        let value = match kind {
            '-' => word,
            '?' if self.shell.unset == Unset::Empty => {
                return Err(Unread::Wrong(format!("{} has no value", shown(&name))));
            }
            '+' | '?' | '#' | '%' => String::new(),
            _ => return Err(Unread::Wrong(format!("${{{}:{kind}…}} is no way to use a variable", shown(&name)))),
        };
        self.names.push(name);
        Ok(value)
    }

    fn replacement(&mut self, name: String) -> Result<String, Unread> {
        if self.chars.peek() == Some(&'/') {
            self.chars.next();
        }
        let (pattern, _) = self.until(Some('/'), true)?;
        let (with, _) = self.until(Some('}'), true)?;
        Ok(match self.shell.unset {
            Unset::Kept => format!("${{{name}/{pattern}/{with}}}"),
            Unset::Empty | Unset::Unknown => self.named(name),
        })
    }

    /// Letters, digits and _; or only digits; or one of the shell's special parameters.
    fn name(&mut self) -> String {
        let mut name = String::new();
        let Some(&first) = self.chars.peek() else { return name };
        if matches!(first, '@' | '*' | '#' | '?' | '-' | '$' | '!') {
            self.chars.next();
            name.push(first);
            return name;
        }
        let only_digits = first.is_numeric();
        while let Some(&c) = self.chars.peek() {
            let fits = if only_digits { c.is_numeric() } else { c.is_alphanumeric() || c == '_' };
            if !fits {
                break;
            }
            self.chars.next();
            name.push(c);
        }
        name
    }
}

fn shown(name: &str) -> String {
    name.chars().take(40).collect()
}
