//! Lists that the server gives page by page, newest first.

use serde::de::DeserializeOwned;

use crate::client::api::Api;
use crate::client::exit::{Exit, Failed};
use crate::client::names::project_id;
use crate::client::screen::Screen;
use crate::client::shapes::{Page, read};
use crate::client::table::{Cell, table};

/// How many, and from where.
#[derive(Debug, Default, clap::Args)]
pub struct PageArgs {
    /// How many, 1 to 100; 20 unless given
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=100))]
    limit: Option<u8>,
    /// Go on where the list before ended
    #[arg(long)]
    cursor: Option<String>,
}

/// A list as it is shown.
pub struct Listing<'a, T> {
    /// What the API calls it.
    pub path: &'a str,
    /// What is said where there is nothing.
    pub empty: &'a str,
    /// The table's head.
    pub head: &'a [&'a str],
    /// A row of the table.
    pub row: &'a dyn Fn(&T) -> Vec<Cell>,
}

/// Shows one page, of one project (by name or id) and one state if those are given.
pub async fn show_page<T: DeserializeOwned>(
    listing: Listing<'_, T>,
    (project, state): (Option<&str>, Option<String>),
    page: PageArgs,
    (api, screen): (&Api, &mut Screen),
) -> Result<Exit, Failed> {
    let project = match project {
        Some(named) => Some(project_id(api, named).await?),
        None => None,
    };
    let limit = page.limit.map(|limit| limit.to_string());
    let filter = [("project", project), ("state", state), ("limit", limit), ("cursor", page.cursor)];
    let query: Vec<_> = filter.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    let answer = api.get(&[listing.path], &query).await?;
    if screen.wants_json() {
        screen.object(&answer)?;
        return Ok(Exit::Fine);
    }
    let page: Page = read(&answer)?;
    if page.items.is_empty() {
        screen.say(listing.empty);
        return Ok(Exit::Fine);
    }
    let mut rows = Vec::with_capacity(page.items.len());
    for item in &page.items {
        rows.push((listing.row)(&read(item)?));
    }
    screen.bytes(table(listing.head, &rows, screen.shows_colour()).as_bytes())?;
    if let Some(cursor) = page.next_cursor {
        screen.say(&format!("Older ones: --cursor {cursor}"));
    }
    Ok(Exit::Fine)
}
