//! A request in its parts.

use std::collections::BTreeMap;

use axum::http::{HeaderMap, Method, Uri, header};
use serde_json::Value;

/// A request as the forges' own files read it.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: Method,
    /// Unescaped one by one: an escaped slash separates nothing.
    pub(super) segments: Vec<String>,
    pub(super) query: BTreeMap<String, String>,
    /// JSON, or a form in the body or the query.
    pub(super) fields: Value,
}

impl Request {
    pub(super) fn new(method: Method, uri: &Uri, headers: &HeaderMap, body: &[u8]) -> Self {
        let query: BTreeMap<String, String> =
            url::form_urlencoded::parse(uri.query().unwrap_or("").as_bytes()).into_owned().collect();
        let is_json =
            headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
        let json = is_json.then(|| serde_json::from_slice(body).ok()).flatten();
        let form = || {
            let form = url::form_urlencoded::parse(body).into_owned().chain(query.clone());
            Value::Object(form.map(|(name, value)| (name, Value::String(value))).collect())
        };
        let segments = uri.path().trim_start_matches('/').split('/').map(unescaped).collect();
        Self { method, segments, fields: json.unwrap_or_else(form), query }
    }

    pub(super) fn is_get(&self) -> bool {
        self.method == Method::GET
    }

    /// The segments as text.
    pub(super) fn path(&self) -> Vec<&str> {
        self.segments.iter().map(String::as_str).collect()
    }

    pub(super) fn query(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }

    /// A text among the fields; empty when it is not there.
    pub(super) fn text(&self, name: &str) -> String {
        self.fields[name].as_str().unwrap_or_default().to_owned()
    }
}

fn unescaped(segment: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = segment.as_bytes();
    while let [first, tail @ ..] = rest {
        let digits = tail.get(..2).filter(|_| *first == b'%').and_then(|digits| hex::decode(digits).ok());
        rest = match digits {
            Some(byte) => {
                bytes.extend(byte);
                &tail[2..]
            }
            None => {
                bytes.push(*first);
                tail
            }
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
