//! Reading bodies leniently: only the fields we use, ids as number or text, and errors that name the
//! place without repeating the body.

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::error::Category;
use slipway_domain::event::{ForgeKind, RefEvent, RefKind, RefOp, is_zero_id};
use slipway_domain::git_ref::is_commit_id;

/// Longest ref that we take; git itself stops earlier.
const MAX_REF_BYTES: usize = 4096;
/// Longest piece of a stranger's text in a title or reason.
const MAX_SHOWN_CHARS: usize = 200;

/// Why a delivery cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// We cannot read this forge yet.
    #[error("{0} is not supported yet")]
    NotSupported(ForgeKind),
    /// The delivery is not what this forge sends.
    #[error("{place} {problem}")]
    Malformed {
        /// Field or header at fault.
        place: String,
        /// What is wrong there.
        problem: String,
    },
}

impl ParseError {
    pub(crate) fn at(place: &str, problem: &str) -> Self {
        Self::Malformed { place: place.to_owned(), problem: problem.to_owned() }
    }
}

/// An id that forges write as a number or as text.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Id(pub(crate) Option<String>);

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(match Value::deserialize(deserializer)? {
            Value::Number(number) => Some(number.to_string()),
            Value::String(text) if !text.is_empty() => Some(text),
            _ => None,
        }))
    }
}

impl Id {
    /// The number, where it is one.
    pub(crate) fn number(&self) -> Option<u64> {
        self.0.as_deref()?.parse().ok()
    }
}

/// A time that forges write as epoch seconds or as RFC 3339; anything else reads as unknown.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct ForgeTime(pub(crate) Option<DateTime<Utc>>);

impl<'de> Deserialize<'de> for ForgeTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(match Value::deserialize(deserializer)? {
            Value::Number(secs) => secs.as_i64().and_then(|secs| DateTime::from_timestamp(secs, 0)),
            Value::String(text) => DateTime::parse_from_rfc3339(&text).ok().map(|time| time.to_utc()),
            _ => None,
        }))
    }
}

/// Reads a JSON object; the error names field, line and column.
pub(crate) fn read_json<T: DeserializeOwned>(json: &[u8]) -> Result<T, ParseError> {
    // serde would also take an array for a struct, field by field.
    if json.trim_ascii_start().first().is_some_and(|first| *first == b'[') {
        return Err(ParseError::at("body", "is a JSON array, not an object"));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|e| {
        // Where the JSON itself breaks off there is no field to name.
        let place = match (e.inner().classify(), e.path().to_string()) {
            (Category::Data, path) if path != "." => path,
            _ => "body".to_owned(),
        };
        malformed_json(place, e.inner())
    })?;
    deserializer.end().map_err(|e| malformed_json("body".to_owned(), &e))?;
    Ok(value)
}

/// The value, or an error that names the field.
pub(crate) fn need<T>(value: Option<T>, place: &str) -> Result<T, ParseError> {
    value.ok_or_else(|| ParseError::at(place, "is missing"))
}

/// A text with something in it.
pub(crate) fn need_text(value: Option<String>, place: &str) -> Result<String, ParseError> {
    need(value.filter(|text| !text.trim().is_empty()), place)
}

/// A full object id; all zeros mean "none".
pub(crate) fn object_id(value: Option<String>, place: &str) -> Result<Option<String>, ParseError> {
    let id = need(value, place)?;
    if !is_commit_id(&id) {
        return Err(ParseError::at(place, "is not an object id of 40 or 64 hexadecimal digits"));
    }
    Ok(Some(id).filter(|id| !is_zero_id(id)))
}

/// A full object id that may be missing.
pub(crate) fn optional_id(value: Option<String>, place: &str) -> Result<Option<String>, ParseError> {
    if value.is_none() { Ok(None) } else { object_id(value, place) }
}

/// The ref part of a push, as GitHub and GitLab both tell it. Fills what the ref and its two ids say;
/// the caller adds the commit and who it was.
pub(crate) fn ref_event(
    repo: String,
    full_ref: Option<String>,
    before: Option<String>,
    after: Option<String>,
) -> Result<RefEvent, ParseError> {
    let full_ref = need_text(full_ref, "ref")?;
    if full_ref.len() > MAX_REF_BYTES {
        return Err(ParseError::at("ref", "is longer than any ref that git can keep"));
    }
    let (kind, name) = if let Some(branch) = full_ref.strip_prefix("refs/heads/") {
        (RefKind::Branch, branch)
    } else if let Some(tag) = full_ref.strip_prefix("refs/tags/") {
        (RefKind::Tag, tag)
    } else if full_ref.starts_with("refs/") {
        (RefKind::Other, full_ref.as_str())
    } else {
        return Err(ParseError::at("ref", "is not a full ref name such as refs/heads/main"));
    };
    if name.is_empty() {
        return Err(ParseError::at("ref", "has no name after its prefix"));
    }
    let before = object_id(before, "before")?;
    let after = object_id(after, "after")?;
    let op = match (&before, &after) {
        (_, None) => RefOp::Deleted,
        (None, Some(_)) => RefOp::Created,
        (Some(_), Some(_)) => RefOp::Updated,
    };
    Ok(RefEvent {
        repo,
        kind,
        name: name.to_owned(),
        op,
        commit: None,
        forced: None,
        skip_ci: false,
        before,
        after,
        skip_marker: None,
        title: None,
        actor: None,
    })
}

/// First line of a commit message, if it says anything.
pub(crate) fn first_line(message: &str) -> Option<String> {
    message.lines().next().map(str::trim).filter(|line| !line.is_empty()).map(short)
}

/// A stranger's text as part of what we keep and show.
pub(crate) fn short(text: &str) -> String {
    text.chars().take(MAX_SHOWN_CHARS).collect()
}

fn malformed_json(place: String, e: &serde_json::Error) -> ParseError {
    // serde's own text repeats the value, which is the stranger's.
    let problem = match e.classify() {
        Category::Data => "is not of the expected type",
        Category::Eof => "is not complete JSON",
        Category::Syntax | Category::Io => "is not JSON",
    };
    ParseError::Malformed { place, problem: format!("{problem} (line {}, column {})", e.line(), e.column()) }
}
