//! Where the secrets stand in a JSON text. The text is walked once and nothing is made of it, so that keys told
//! twice, long numbers and deep nesting hide nothing and every other byte stays as it was sent.

use std::ops::Range;

use super::SECRET_KEYS;

/// What the key before a value says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Says {
    Nothing,
    Secret,
    /// GitLab's pipeline events list the pipeline's variables as `{"key", "value"}`.
    Variables,
}

/// An object or array that is still open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    Object,
    Array,
    VariableList,
    Variable,
}

/// The places of all secrets in `json`, from front to back, none within another. `json` must be JSON.
pub(super) fn secrets(json: &[u8]) -> Vec<Range<usize>> {
    Walk { json, at: 0, open: Vec::new(), key: None, says: Says::Nothing, hidden: None, found: Vec::new() }.run()
}

struct Walk<'a> {
    json: &'a [u8],
    at: usize,
    open: Vec<Open>,
    /// The key that a colon would end.
    key: Option<Range<usize>>,
    says: Says,
    /// Start of the secret object or array that is being passed over, and how much was open before it.
    hidden: Option<(usize, usize)>,
    found: Vec<Range<usize>>,
}

impl Walk<'_> {
    fn run(mut self) -> Vec<Range<usize>> {
        while let Some(byte) = self.json.get(self.at) {
            let start = self.at;
            self.at += 1;
            match byte {
                b'{' | b'[' => self.enter(*byte == b'{', start),
                b'}' | b']' => self.leave(),
                b':' => self.says = self.key.take().map_or(Says::Nothing, |key| self.say(key)),
                b',' | b' ' | b'\t' | b'\n' | b'\r' => {}
                b'"' => {
                    self.at = after_string(self.json, self.at);
                    self.text_or_key(start);
                }
                _ => {
                    let more = self.json[self.at..].iter().position(|byte| b",]} \t\n\r".contains(byte));
                    self.at = more.map_or(self.json.len(), |more| self.at + more);
                    self.scalar(start);
                }
            }
        }
        self.found
    }

    fn enter(&mut self, is_object: bool, start: usize) {
        let says = std::mem::replace(&mut self.says, Says::Nothing);
        if says == Says::Secret && self.hidden.is_none() {
            self.hidden = Some((start, self.open.len()));
        }
        self.key = None;
        self.open.push(match (is_object, says, self.open.last()) {
            (false, Says::Variables, _) => Open::VariableList,
            (true, _, Some(Open::VariableList)) => Open::Variable,
            (true, ..) => Open::Object,
            (false, ..) => Open::Array,
        });
    }

    fn leave(&mut self) {
        self.open.pop();
        (self.key, self.says) = (None, Says::Nothing);
        if let Some((start, depth)) = self.hidden
            && depth == self.open.len()
        {
            self.hidden = None;
            self.found.push(start..self.at);
        }
    }

    /// A text in an object is a key unless a colon stands before it.
    fn text_or_key(&mut self, start: usize) {
        let in_object = matches!(self.open.last(), Some(Open::Object | Open::Variable));
        if in_object && !self.after_colon(start) { self.key = Some(start..self.at) } else { self.scalar(start) }
    }

    fn after_colon(&self, start: usize) -> bool {
        self.json[..start].trim_ascii_end().ends_with(b":")
    }

    fn scalar(&mut self, start: usize) {
        let says = std::mem::replace(&mut self.says, Says::Nothing);
        let says_nothing = matches!(&self.json[start..self.at], b"null" | b"true" | b"false" | b"\"\"");
        if says == Says::Secret && self.hidden.is_none() && !says_nothing {
            self.found.push(start..self.at);
        }
    }

    fn say(&self, key: Range<usize>) -> Says {
        // A key that holds half a character is nobody's.
        let Ok(key) = serde_json::from_slice::<String>(&self.json[key]) else { return Says::Nothing };
        let is_value = self.open.last() == Some(&Open::Variable) && key == "value";
        match key.as_str() {
            "variables" => Says::Variables,
            _ if is_value || SECRET_KEYS.iter().any(|secret| key.eq_ignore_ascii_case(secret)) => Says::Secret,
            _ => Says::Nothing,
        }
    }
}

/// Just behind the quote that ends the text whose first byte is at `at`.
fn after_string(json: &[u8], mut at: usize) -> usize {
    while let Some(byte) = json.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    json.len()
}
