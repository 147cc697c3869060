//! Batches of rows for passes, read past those that do not decode: somebody changed them by hand, or a newer release
//! that runs beside this one wrote them. They are counted and told, never changed, and take no place from the rows
//! behind them: a batch that is short because of them is read again, larger.

use sqlx::{ColumnIndex, Decode, FromRow, Row, Type};
use uuid::Uuid;

/// One reading of a batch.
pub(crate) struct Rows<T> {
    good: Vec<T>,
    /// What is wrong with each of the others.
    bad: Vec<String>,
}

/// Reads a batch. Each of `limits` is bound behind the other values, enlarged by the same number of rows while
/// undecodable ones use the room up.
macro_rules! readable {
    ($db:expr, $table:literal, $sql:expr, [$($bind:expr),*], limits [$($limit:expr),+]) => {{
        let mut spare: i64 = 0;
        loop {
            let rows = $crate::db::on_db!($db, conn => $crate::readable::split(
                &sqlx::query($sql)$(.bind($bind))*$(.bind($limit + spare))+.fetch_all(conn).await?));
            match rows.lacks(spare) {
                Some(more) => spare = more,
                None => break rows.tell($table),
            }
        }
    }};
}

pub(crate) use readable;

/// Decodes each row for itself.
pub(crate) fn split<R, T>(rows: &[R]) -> Rows<T>
where
    R: Row,
    T: for<'r> FromRow<'r, R>,
    usize: ColumnIndex<R>,
    for<'r> Uuid: Decode<'r, R::Database> + Type<R::Database>,
    for<'r> String: Decode<'r, R::Database> + Type<R::Database>,
{
    let mut split = Rows { good: Vec::with_capacity(rows.len()), bad: Vec::new() };
    for row in rows {
        match T::from_row(row) {
            Ok(value) => split.good.push(value),
            Err(error) => split.bad.push(format!("{}: {}", first_column(row), in_words(&error))),
        }
    }
    split
}

impl<T> Rows<T> {
    /// How many rows more than the limit to read where undecodable ones took the place of others.
    pub(crate) fn lacks(&self, spare: i64) -> Option<i64> {
        let bad = i64::try_from(self.bad.len()).unwrap_or(i64::MAX);
        (bad > spare).then(|| bad.saturating_mul(2))
    }

    /// The good ones; what is to be said of the others is said.
    pub(crate) fn tell(self, table: &'static str) -> Vec<T> {
        if let Some(first) = self.bad.first() {
            let rows = self.bad.len();
            metrics::counter!("slipway_rows_unreadable_total", "table" => table).increment(rows as u64);
            tracing::error!(table, rows, first, "rows do not read and are passed over");
        }
        self.good
    }
}

/// What is wrong. Errors of JSON repeat what stands there, which may be a build's argument.
fn in_words(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::ColumnDecode { index, source } if source.is::<serde_json::Error>() => {
            format!("column {index} is not the JSON that it should be")
        }
        error => error.to_string(),
    }
}

/// Where to look: the beginning of every key here is an id or a name.
fn first_column<R>(row: &R) -> String
where
    R: Row,
    usize: ColumnIndex<R>,
    for<'r> Uuid: Decode<'r, <R as Row>::Database> + Type<<R as Row>::Database>,
    for<'r> String: Decode<'r, <R as Row>::Database> + Type<<R as Row>::Database>,
{
    let id = row.try_get::<Uuid, usize>(0).map(|id| id.to_string());
    id.or_else(|_| row.try_get::<String, usize>(0)).unwrap_or_else(|_| "a row".to_owned())
}
