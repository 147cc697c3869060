//! Lists: one page of items and the cursor of the next.

use serde::Serialize;
use utoipa::ToSchema;

/// Items of a page unless the caller says otherwise.
const DEFAULT_LIMIT: i64 = 20;
/// Most items of a page.
const MAX_LIMIT: i64 = 100;

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct PageOf<T> {
    /// The items.
    pub items: Vec<T>,
    /// Pass it as `cursor` for the next page; null on the last one.
    pub next_cursor: Option<String>,
}

impl<T> PageOf<T> {
    /// A list that is always whole.
    pub fn whole(items: Vec<T>) -> Self {
        Self { items, next_cursor: None }
    }

    /// A page of rows that were read with [`rows_for`]: one more than shown tells that there is a next page.
    pub fn cut<R>(mut rows: Vec<R>, limit: i64, cursor: impl Fn(&R) -> String, show: impl Fn(R) -> T) -> Self {
        let limit = usize::try_from(limit).unwrap_or(0);
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next_cursor = if more { rows.last().map(cursor) } else { None };
        Self { items: rows.into_iter().map(show).collect(), next_cursor }
    }
}

/// The number of items to show for what the caller asked.
pub fn limit(asked: Option<i64>) -> i64 {
    asked.unwrap_or(DEFAULT_LIMIT).clamp(1, MAX_LIMIT)
}

/// How many rows to read for a page.
pub fn rows_for(limit: i64) -> i64 {
    limit + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cursor_is_the_last_shown_row_and_only_there_when_more_follow() {
        let page = PageOf::cut(vec![3, 2, 1], 2, ToString::to_string, |row| row * 10);
        assert_eq!((page.items, page.next_cursor), (vec![30, 20], Some("2".to_owned())));
        let page = PageOf::cut(vec![3, 2], 2, ToString::to_string, |row| row);
        assert_eq!((page.items, page.next_cursor), (vec![3, 2], None));
        assert_eq!((limit(None), limit(Some(0)), limit(Some(9999)), rows_for(20)), (20, 1, 100, 21));
    }
}
