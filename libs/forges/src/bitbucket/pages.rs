//! Bitbucket Cloud's lists: `values`, and a `next` address of which only the page's number is used.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use crate::api::pages::Listed;
use crate::api::rest::{address, get, read};
use crate::transport::{ForgeError, Transport};

/// Entries that are asked for at once, which every list allows.
pub(crate) const PER_PAGE: &str = "100";

#[derive(Deserialize)]
pub(crate) struct Page<T> {
    #[serde(default = "Vec::new")]
    pub(crate) values: Vec<T>,
    next: Option<String>,
    /// Which one it is, where it is numbered.
    page: Option<u64>,
}

impl<T> Page<T> {
    /// What names the next page: a number, or on some lists another text.
    pub(crate) fn next(&self) -> Option<String> {
        let next = Url::parse(self.next.as_deref()?).ok()?;
        next.query_pairs().find(|(name, _)| name == "page").map(|(_, page)| page.into_owned())
    }

    fn has_more(&self) -> bool {
        self.next.is_some()
    }
}

/// Reads a list, at most so many pages of it.
pub(crate) async fn pages<T: DeserializeOwned>(
    transport: &Transport,
    max_pages: usize,
    segments: &[&str],
    query: &[(&str, &str)],
) -> Result<Listed<T>, ForgeError> {
    let mut items = Vec::new();
    let mut at: Option<String> = None;
    for _ in 0..max_pages {
        let place = at.as_deref().map(|page| ("page", page));
        let query: Vec<(&str, &str)> = query.iter().copied().chain([("pagelen", PER_PAGE)]).chain(place).collect();
        let answer = get(transport, address(transport, segments.iter().copied(), &query)?).await?;
        let found: Page<T> = read(&answer)?;
        // A list that is reached by a redirect may lose the number on its way: then this is the first page again.
        if let (Some(asked), Some(page)) = (&at, found.page)
            && *asked != page.to_string()
        {
            break;
        }
        let (next, more) = (found.next(), found.has_more());
        items.extend(found.values);
        match (next, more) {
            (Some(next), _) => at = Some(next),
            (None, more) => return Ok(Listed { items, cut: more }),
        }
    }
    Ok(Listed { items, cut: true })
}
