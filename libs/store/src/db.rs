//! The two databases behind one handle, and the only way to begin a write.

use std::fs::File;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use slipway_runtime::clock::Clock;
use slipway_runtime::health::{Health, Need};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection as _, PgPool, Postgres, Sqlite, SqlitePool, Transaction};

use crate::error::{Result, StoreError};
use crate::schema;
use crate::sole_owner;

/// How long a statement may wait for a connection or, on SQLite, for the writer.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
const SQLITE_READERS: u32 = 4;
const POSTGRES_CONNECTIONS: u32 = 16;

/// One database. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Db {
    /// A server that many processes share.
    Postgres(PgPool),
    /// A file that one process owns.
    Sqlite(SqliteDb),
}

/// SQLite with one writer, so that writes of this process queue up instead of failing as busy.
#[derive(Debug, Clone)]
pub struct SqliteDb {
    pub(crate) read: SqlitePool,
    write: SqlitePool,
    /// Keeps other processes out.
    _lock: Arc<File>,
}

/// An open write transaction. Dropped without [`Tx::commit`], it is rolled back.
pub(crate) enum Tx {
    Postgres(Transaction<'static, Postgres>),
    Sqlite(Transaction<'static, Sqlite>),
}

/// Runs one expression on a connection for reading; the body is type-checked for both databases.
macro_rules! on_db {
    ($db:expr, $conn:ident => $body:expr) => {
        match $db {
            $crate::db::Db::Postgres($conn) => $body,
            $crate::db::Db::Sqlite(sqlite) => {
                let $conn = &sqlite.read;
                $body
            }
        }
    };
}

/// Runs one expression inside a write transaction; the body is type-checked for both databases.
macro_rules! on_tx {
    ($tx:expr, $conn:ident => $body:expr) => {
        match $tx {
            $crate::db::Tx::Postgres(tx) => {
                let $conn = &mut **tx;
                $body
            }
            $crate::db::Tx::Sqlite(tx) => {
                let $conn = &mut **tx;
                $body
            }
        }
    };
}

/// Runs one statement inside a write transaction; gives the number of rows that it changed.
macro_rules! execute {
    ($tx:expr, $sql:expr $(, $bind:expr)* $(,)?) => {
        $crate::db::on_tx!($tx, conn => sqlx::query($sql)$(.bind($bind))*.execute(conn).await?.rows_affected())
    };
}

pub(crate) use {execute, on_db, on_tx};

impl Db {
    /// Connects by URL (`sqlite:///path/file.db`, `postgres://…`) and brings the schema up to date.
    pub async fn connect(url: &str) -> Result<Self> {
        Self::connect_sized(url, POSTGRES_CONNECTIONS).await
    }

    /// As [`Db::connect`], with at most so many connections to a server.
    pub async fn connect_sized(url: &str, connections: u32) -> Result<Self> {
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            Self::connect_postgres(url, connections).await
        } else if let Some(path) = url.strip_prefix("sqlite://") {
            Self::connect_sqlite(Path::new(path)).await
        } else {
            Err(StoreError::BadUrl("write sqlite:///path/to/file.db or postgres://user@host/database".to_owned()))
        }
    }

    /// A short word for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Postgres(_) => "postgres",
            Self::Sqlite(_) => "sqlite",
        }
    }

    /// The time that comparisons across processes use: the server's on PostgreSQL plus this clock's
    /// offset, the clock's own on SQLite. Read once per pass.
    pub async fn now(&self, clock: &Clock) -> Result<DateTime<Utc>> {
        const NOW: &str = "select clock_timestamp()";
        match self {
            Self::Postgres(pool) => {
                let now: DateTime<Utc> = sqlx::query_scalar(NOW).fetch_one(pool).await?;
                Ok(now + clock.offset())
            }
            Self::Sqlite(_) => Ok(clock.now()),
        }
    }

    /// Answers if the database answers; for readiness.
    pub async fn ping(&self) -> Result<()> {
        const PING: &str = "select 1";
        on_db!(self, conn => sqlx::query(PING).execute(conn).await.map(|_| ())?);
        Ok(())
    }

    /// Adds itself to what a process depends on.
    pub fn watch(&self, health: &Health) {
        let db = self.clone();
        health.watch("database", Need::Required, move || {
            let db = db.clone();
            async move { db.ping().await.map_err(|error| error.to_string()) }
        });
    }

    /// Closes all connections, writing what SQLite still holds in its log.
    pub async fn close(&self) {
        match self {
            Self::Postgres(pool) => pool.close().await,
            Self::Sqlite(sqlite) => {
                sqlite.read.close().await;
                sqlite.write.close().await;
            }
        }
    }

    /// The only way to begin a write: on SQLite `BEGIN IMMEDIATE`, so that reading first and writing
    /// later in one transaction never fails as busy.
    pub(crate) async fn begin_write(&self) -> Result<Tx> {
        match self {
            #[expect(clippy::disallowed_methods, reason = "this is begin_write")]
            Self::Postgres(pool) => Ok(Tx::Postgres(pool.begin().await?)),
            Self::Sqlite(sqlite) => Ok(Tx::Sqlite(sqlite.write.begin_with("BEGIN IMMEDIATE").await?)),
        }
    }

    async fn connect_postgres(url: &str, connections: u32) -> Result<Self> {
        let options = PgConnectOptions::from_str(url)
            .map_err(|error| StoreError::BadUrl(error.to_string()))?
            .application_name("slipway")
            .options([
                ("statement_timeout", "30s"),
                ("idle_in_transaction_session_timeout", "30s"),
                // What is hot lies in memory: rows of a batch are looked up by key, not by a scan of all live ones.
                ("random_page_cost", "1.1"),
            ]);
        // Not through the pool, which keeps to itself why it has no connection.
        let mut first = schema::first_connection(&options).await?;
        schema::bring_up(&mut first).await?;
        first.close().await?;
        let pool = PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_with(options)
            .await?;
        Ok(Self::Postgres(pool))
    }

    async fn connect_sqlite(path: &Path) -> Result<Self> {
        let lock = Arc::new(sole_owner::lock(path)?);
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // An accepted delivery must survive a power cut, so every commit is flushed.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            // What a statement of many rows keeps to undo itself goes into a file otherwise, made each time.
            .pragma("temp_store", "memory")
            .busy_timeout(ACQUIRE_TIMEOUT);
        // A connection to a file does not break, and each test is a way to its thread and back.
        let write = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .test_before_acquire(false)
            // SQLite ends a transaction by itself when the disk is full; sqlx does not notice, and would
            // refuse every later one on this connection.
            .before_acquire(|writer, _| Box::pin(async move { Ok(!writer.is_in_transaction()) }))
            .connect_with(options.clone())
            .await?;
        schema::bring_up_file(&write).await?;
        let read = SqlitePoolOptions::new()
            .max_connections(SQLITE_READERS)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .test_before_acquire(false)
            .connect_with(options.read_only(true))
            .await?;
        let db = Self::Sqlite(SqliteDb { read, write, _lock: lock });
        sole_owner::end_leases(&db).await?;
        Ok(db)
    }
}

impl Tx {
    /// Makes everything visible at once. An error leaves it open whether the commit happened: callers
    /// repeat idempotent work.
    pub(crate) async fn commit(self) -> Result<()> {
        match self {
            Self::Postgres(tx) => tx.commit().await?,
            Self::Sqlite(tx) => tx.commit().await?,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn insert(db: &Db, bytes: usize) -> Result<()> {
        let mut tx = db.begin_write().await?;
        execute!(
            &mut tx,
            "insert into scratch (bytes) values (zeroblob($1))",
            i64::try_from(bytes).unwrap_or(i64::MAX)
        );
        tx.commit().await
    }

    #[tokio::test]
    async fn a_full_database_takes_writes_again_once_there_is_room() {
        let folder = tempfile::tempdir().expect("a folder");
        let url = format!("sqlite://{}", folder.path().join("slipway.db").display());
        let db = Db::connect(&url).await.expect("a database");
        let Db::Sqlite(sqlite) = &db else { panic!("it is SQLite") };
        sqlx::query("create table scratch (bytes blob)").execute(&sqlite.write).await.expect("a table");
        // A limit of this one connection, which SQLite treats as it treats a full disk.
        sqlx::query("pragma max_page_count = 1").execute(&sqlite.write).await.expect("a limit");
        let full = insert(&db, 1 << 20).await.expect_err("there is no room");
        assert!(full.is_out_of_space(), "{full}");
        insert(&db, 1 << 20).await.expect("there is room again");
        let rows: i64 = sqlx::query_scalar("select count(*) from scratch").fetch_one(&sqlite.read).await.expect("rows");
        assert_eq!(rows, 1);
    }
}
