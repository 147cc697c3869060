//! The comments at the top of a file that mean something: `# syntax=`, `# escape=`, `# check=`.

use std::collections::BTreeMap;

/// The keys that are directives. Any other ends them. Older engines (BuildKit 0.8) do not know `check`.
const KEYS: [&str; 3] = ["syntax", "escape", "check"];

/// A program that the file wants to be built by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frontend {
    /// The image's reference; empty where the file is a document of which we cannot tell.
    pub image: String,
    /// The line that names it, from 1.
    pub line: usize,
}

impl Frontend {
    /// True for the images in which Docker gives out its own Dockerfile frontend, in whatever version.
    pub fn is_dockers_own(&self) -> bool {
        let name = self.image.split('@').next().unwrap_or_default();
        let name = name.strip_prefix("docker.io/").unwrap_or(name);
        matches!(name.split(':').next(), Some("docker/dockerfile" | "docker/dockerfile-upstream"))
    }
}

/// The images that some engine would fetch and run in place of its own Dockerfile frontend. The engine looks for them
/// by rules of its own (`parser.DetectSyntax`): behind a byte order mark and a shebang, after `#` or `//`, or in a
/// JSON document. BuildKit 0.8 goes on over unknown keys and lets the last one count, later ones stop there and take
/// the first; all that one of them may take are listed.
pub fn frontends(text: &str) -> Vec<Frontend> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (text, skipped) = match text.split_once('\n') {
        Some((shebang, rest)) if shebang.starts_with("#!") => (rest, 1),
        _ => (text, 0),
    };
    if text.trim_start().starts_with('{') {
        return json_frontend(text, skipped + 1).into_iter().collect();
    }
    let directives = text.lines().map_while(|line| {
        let line = line.trim_start();
        key_and_value(line.strip_prefix('#').or_else(|| line.strip_prefix("//"))?)
    });
    let syntax = directives.enumerate().filter(|(_, (key, _))| key == "syntax").map(|(index, (_, value))| Frontend {
        image: value.split(' ').next().unwrap_or_default().to_owned(),
        line: index + skipped + 1,
    });
    syntax.collect()
}

fn json_frontend(text: &str, line: usize) -> Option<Frontend> {
    match serde_json::from_str::<BTreeMap<String, serde_json::Value>>(text) {
        Ok(map) => map.get("syntax")?.as_str().map(|image| Frontend { image: image.to_owned(), line }),
        // Go reads more than we do; what begins so is no Dockerfile in any case.
        Err(_) => Some(Frontend { image: String::new(), line }),
    }
}

/// The directive in a line of the file, white space before it taken off.
pub(super) fn directive(line: &str) -> Option<(&'static str, &str)> {
    let (key, value) = key_and_value(line.strip_prefix('#')?)?;
    let key = KEYS.into_iter().find(|known| *known == key)?;
    Some((key, value))
}

fn key_and_value(comment: &str) -> Option<(String, &str)> {
    let (key, value) = comment.trim_start().split_once('=')?;
    let (key, bare) = (key.trim_end_matches(is_blank), value.trim_matches(is_blank));
    // Nothing but blanks is a value to the engine, the last of them.
    let value = if bare.is_empty() { value.get(value.len().saturating_sub(1)..).unwrap_or_default() } else { bare };
    let is_key = key.starts_with(|c: char| c.is_ascii_alphabetic()) && key.chars().all(|c| c.is_ascii_alphanumeric());
    (is_key && !value.is_empty()).then(|| (key.to_ascii_lowercase(), value))
}

/// White space of Go's regular expressions.
fn is_blank(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\u{c}' | '\r' | ' ')
}
