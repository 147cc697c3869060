//! Reading bodies leniently: only the fields we use, ids as number or text, and errors that name the
//! place without repeating the body.

use std::borrow::Cow;

use chrono::{DateTime, NaiveDateTime, Utc};
use http::HeaderMap;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::error::Category;
use slipway_domain::event::{ChangeDetails, is_zero_id};
use slipway_domain::git_ref::is_commit_id;

use crate::headers::{is_content_type, single};

/// Longest piece of a stranger's text in a title or reason.
const MAX_SHOWN_CHARS: usize = 200;

/// Why a delivery cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
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

/// A time that forges write as epoch seconds, epoch milliseconds, RFC 3339 or ISO 8601 with an offset without
/// colon, or `2026-01-02 03:04:05 UTC` (also with an offset); anything else reads as unknown.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct ForgeTime(pub(crate) Option<DateTime<Utc>>);

impl<'de> Deserialize<'de> for ForgeTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(match Value::deserialize(deserializer)? {
            Value::Number(number) => number.as_i64().and_then(epoch),
            Value::String(text) => DateTime::parse_from_rfc3339(&text)
                .or_else(|_| DateTime::parse_from_str(&text, "%Y-%m-%dT%H:%M:%S%.f%z"))
                .or_else(|_| DateTime::parse_from_str(&text, "%Y-%m-%d %H:%M:%S %z"))
                .map(|time| time.to_utc())
                .or_else(|_| NaiveDateTime::parse_from_str(&text, "%Y-%m-%d %H:%M:%S UTC").map(|time| time.and_utc()))
                .ok(),
            _ => None,
        }))
    }
}

fn epoch(number: i64) -> Option<DateTime<Utc>> {
    // As seconds, this is the year 5138; as milliseconds, 1973.
    const FIRST_MILLIS: i64 = 100_000_000_000;
    if number < FIRST_MILLIS { DateTime::from_timestamp(number, 0) } else { DateTime::from_timestamp_millis(number) }
}

/// The event's name, from the header that tells it.
pub(crate) fn event_name(headers: &HeaderMap, header: &str) -> Result<String, ParseError> {
    let place = format!("header {header}");
    let event = single(headers, header).map_err(|_| ParseError::at(&place, "is there more than once"))?;
    need_text(event.map(str::to_owned), &place)
}

/// True when the body is a form, by its content type.
pub(crate) fn is_form(headers: &HeaderMap) -> bool {
    is_content_type(headers, "application/x-www-form-urlencoded")
}

/// The JSON of a body that may be form-encoded, with the JSON in the field `payload`.
pub(crate) fn json_body<'a>(headers: &HeaderMap, raw: &'a [u8]) -> Result<Cow<'a, [u8]>, ParseError> {
    if !is_form(headers) {
        return Ok(Cow::Borrowed(raw));
    }
    url::form_urlencoded::parse(raw)
        .find(|(key, _)| key == "payload")
        .map(|(_, payload)| Cow::Owned(payload.into_owned().into_bytes()))
        .ok_or_else(|| ParseError::at("form field payload", "is missing"))
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

/// A commit id, or the beginning of one where the forge gives no more. May be missing.
pub(crate) fn id_prefix(value: Option<String>, place: &str) -> Result<Option<String>, ParseError> {
    const SHORTEST: usize = 7;
    let Some(id) = value.filter(|id| !id.is_empty()) else { return Ok(None) };
    let is_prefix = (SHORTEST..=64).contains(&id.len()) && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if !is_prefix {
        return Err(ParseError::at(place, "is not the beginning of an object id: 7 to 64 hexadecimal digits"));
    }
    Ok(Some(id).filter(|id| !is_zero_id(id)))
}

/// A full object id that may be missing; some forges write an empty text then.
pub(crate) fn told_id(value: Option<String>, place: &str) -> Result<Option<String>, ParseError> {
    optional_id(value.filter(|id| !id.is_empty()), place)
}

/// A full object id that may be missing.
pub(crate) fn optional_id(value: Option<String>, place: &str) -> Result<Option<String>, ParseError> {
    if value.is_none() { Ok(None) } else { object_id(value, place) }
}

/// A person as most forges name one: by what they sign in with, else by what else is unique.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Person {
    #[serde(default)]
    pub(crate) id: Id,
    #[serde(default)]
    login: Option<String>,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    slug: Option<String>,
    #[serde(default)]
    uuid: Option<String>,
    #[serde(default)]
    global_key: Option<String>,
    #[serde(default)]
    name: Option<String>,
}

impl Person {
    /// The name by which the forge's API finds them.
    pub(crate) fn login(&self) -> Option<String> {
        let Self { login, username, slug, uuid, global_key, name, .. } = self;
        let names = [login, username, slug, uuid, global_key, name].into_iter().flatten();
        names.map(String::as_str).find(|name| !name.trim().is_empty()).map(short)
    }
}

/// What a forge says about a change: title, who opened it, who caused the news.
pub(crate) fn details(title: Option<&str>, author: Option<&Person>, sender: Option<&Person>) -> ChangeDetails {
    ChangeDetails {
        title: title.and_then(first_line),
        author: author.and_then(Person::login),
        sender: sender.and_then(Person::login),
        ..ChangeDetails::default()
    }
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
