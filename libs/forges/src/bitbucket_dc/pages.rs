//! Data Center's lists: `values`, and where the next page starts.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::api::pages::Listed;
use crate::api::rest::{address, get, read};
use crate::transport::{ForgeError, Transport};

/// Entries that are asked for at once; a server may give fewer.
pub(crate) const LIMIT: &str = "100";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Page<T> {
    #[serde(default = "Vec::new")]
    pub(crate) values: Vec<T>,
    #[serde(default)]
    is_last_page: bool,
    next_page_start: Option<u64>,
}

impl<T> Page<T> {
    /// Where the next page starts.
    pub(crate) fn next(&self) -> Option<String> {
        self.next_page_start.filter(|_| !self.is_last_page).map(|start| start.to_string())
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
    let mut start = "0".to_owned();
    for _ in 0..max_pages {
        let place = [("limit", LIMIT), ("start", start.as_str())];
        let query: Vec<(&str, &str)> = query.iter().copied().chain(place).collect();
        let answer = get(transport, address(transport, segments.iter().copied(), &query)?).await?;
        let found: Page<T> = read(&answer)?;
        let next = found.next();
        // A list that is bounded by the server ends without telling where it would go on.
        let ended = found.is_last_page;
        items.extend(found.values);
        match next {
            Some(next) => start = next,
            None => return Ok(Listed { items, cut: !ended }),
        }
    }
    Ok(Listed { items, cut: true })
}
