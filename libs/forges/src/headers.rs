//! Headers of a delivery: exactly one value or none, and the flat map form in which they are stored.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue};

/// A header stands there more than once, so that nobody can say which value counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Repeated;

/// The header's only value as text; `None` when it is missing. A value that is no text reads as empty.
pub(crate) fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Repeated> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(Repeated);
    }
    Ok(first.map(|value| value.to_str().unwrap_or_default().trim()))
}

/// True when `Content-Type` names this media type, whatever its parameters.
pub(crate) fn is_content_type(headers: &HeaderMap, media_type: &str) -> bool {
    let value = headers.get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().is_some_and(|found| found.trim().eq_ignore_ascii_case(media_type))
}

/// Reads the flat map (name to value) in which deliveries keep their headers. The error names the header
/// that HTTP does not allow.
pub fn from_map(map: &BTreeMap<String, String>) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::with_capacity(map.len());
    for (name, value) in map {
        let bad = || format!("\"{name}\" is not a header that HTTP allows");
        let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
        headers.append(parsed, HeaderValue::from_bytes(value.as_bytes()).map_err(|_| bad())?);
    }
    Ok(headers)
}
