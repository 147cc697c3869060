//! Lists that come in pages, a bounded number of them. Only numbers of pages are taken from an answer, never an
//! address.

use http::header;
use serde::de::DeserializeOwned;
use url::Url;

use super::rest::{get, read};
use crate::transport::{Answer, ForgeError, Transport};

/// Entries of all pages that were read.
pub(crate) struct Listed<T> {
    pub(crate) items: Vec<T>,
    /// There are, or may be, more than were read.
    pub(crate) cut: bool,
}

/// How much of a list is read.
#[derive(Clone, Copy)]
pub(crate) struct Bound {
    /// Entries that are asked for at once.
    pub(crate) per_page: usize,
    /// Pages that are read.
    pub(crate) max_pages: usize,
}

/// Reads a list whose pages are JSON arrays, numbered from 1. `url` gives the address of a page.
pub(crate) async fn numbered<T: DeserializeOwned>(
    transport: &Transport,
    bound: Bound,
    url: impl Fn(&str) -> Result<Url, ForgeError>,
) -> Result<Listed<T>, ForgeError> {
    let mut items = Vec::new();
    for page in 1..=bound.max_pages {
        let answer = get(transport, url(&page.to_string())?).await?;
        let found: Vec<T> = read(&answer)?;
        let more = has_more(&answer, found.len(), bound.per_page);
        items.extend(found);
        if !more {
            return Ok(Listed { items, cut: false });
        }
    }
    Ok(Listed { items, cut: true })
}

/// Whether another page follows: as the `Link` header says (RFC 8288), which a forge that gives fewer entries than
/// were asked for must have; without one a full page tells.
pub(crate) fn has_more(answer: &Answer, found: usize, per_page: usize) -> bool {
    let mut links = answer.headers.get_all(header::LINK).iter().peekable();
    if links.peek().is_none() {
        return found >= per_page;
    }
    links.any(|link| link.to_str().is_ok_and(|link| link.contains("rel=\"next\"")))
}
