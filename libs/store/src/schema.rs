//! The schema: brought up to date by whoever starts first, and looked at before anything is done with it.
//!
//! A release works on its own schema and on newer ones, so that old and new processes run side by side during an
//! upgrade: migrations expand before they contract. One that contracts has the word `contract` in its name, and a
//! binary that does not know it refuses to start.

use std::sync::LazyLock;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection, SqlitePool};
use tokio::time::timeout;

use crate::error::{Result, StoreError};

/// Longest time to the first connection.
const CONNECT: Duration = Duration::from_secs(5);
/// `server_version_num` of the oldest PostgreSQL that is supported.
const OLDEST_POSTGRES: i32 = 130_000;
/// In the name of a migration that older binaries cannot work with.
const CONTRACTS: &str = "contract";

static POSTGRES: LazyLock<Migrator> = LazyLock::new(|| beside_newer(sqlx::migrate!("../../migrations/postgres")));
static SQLITE: LazyLock<Migrator> = LazyLock::new(|| beside_newer(sqlx::migrate!("../../migrations/sqlite")));

/// What a newer release has applied is none of our business, unless it contracts.
fn beside_newer(mut migrator: Migrator) -> Migrator {
    migrator.set_ignore_missing(true);
    migrator
}

/// Connects once, with words for what can go wrong.
pub(crate) async fn first_connection(options: &PgConnectOptions) -> Result<PgConnection> {
    let (host, port) = (options.get_host(), options.get_port());
    let place = format!("PostgreSQL at {host}:{port}");
    let mut connection = match timeout(CONNECT, PgConnection::connect_with(options)).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(sqlx::Error::Database(refusal))) => {
            return Err(StoreError::Unusable(format!("{place} refuses us: {}", refusal.message())));
        }
        Ok(Err(error)) => return Err(StoreError::Unusable(format!("{place} cannot be reached: {error}"))),
        Err(_) => return Err(StoreError::Unusable(format!("{place} does not answer within {} s", CONNECT.as_secs()))),
    };
    let version: i32 =
        sqlx::query_scalar("select current_setting('server_version_num')::int").fetch_one(&mut connection).await?;
    if version < OLDEST_POSTGRES {
        let (is, needs) = (version / 10_000, OLDEST_POSTGRES / 10_000);
        return Err(StoreError::Unusable(format!("{place} is release {is}; {needs} or newer is needed")));
    }
    Ok(connection)
}

/// Applies what is missing.
pub(crate) async fn bring_up(connection: &mut PgConnection) -> Result<()> {
    const APPLIED: &str = "select version, description from _sqlx_migrations where version > $1";
    let there: bool =
        sqlx::query_scalar("select to_regclass('_sqlx_migrations') is not null").fetch_one(&mut *connection).await?;
    if there {
        let newer = sqlx::query_as(APPLIED).bind(newest(&POSTGRES)).fetch_all(&mut *connection).await?;
        check_newer(&newer)?;
    }
    POSTGRES.run(connection).await?;
    Ok(())
}

/// The same for a file.
pub(crate) async fn bring_up_file(pool: &SqlitePool) -> Result<()> {
    const THERE: &str = "select count(*) from sqlite_master where name = '_sqlx_migrations'";
    const APPLIED: &str = "select version, description from _sqlx_migrations where version > $1";
    let there: i64 = sqlx::query_scalar(THERE).fetch_one(pool).await?;
    if there > 0 {
        check_newer(&sqlx::query_as(APPLIED).bind(newest(&SQLITE)).fetch_all(pool).await?)?;
    }
    SQLITE.run(pool).await?;
    Ok(())
}

fn newest(migrator: &Migrator) -> i64 {
    migrator.iter().map(|migration| migration.version).max().unwrap_or(0)
}

/// Refuses a schema from which something that we need is gone.
fn check_newer(newer: &[(i64, String)]) -> Result<()> {
    match newer.iter().find(|(_, description)| description.split(' ').any(|word| word == CONTRACTS)) {
        Some((version, _)) => Err(StoreError::Unusable(format!(
            "the database's schema is of a newer release (migration {version}) that this one cannot work with; \
             start the newer release, or restore the backup of before the upgrade"
        ))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Db;

    #[test]
    fn newer_schemas_are_fine_until_they_contract() {
        let newer = |description: &str| check_newer(&[(7, "add pools".to_owned()), (8, description.to_owned())]);
        assert!(newer("contracts of builders").is_ok());
        let error = newer("contract jobs").expect_err("refused").to_string();
        assert!(error.contains("migration 8"), "{error}");
    }

    #[tokio::test]
    async fn a_file_of_a_newer_release_opens_and_one_that_contracted_does_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("slipway.db");
        let url = format!("sqlite://{}", path.display());
        Db::connect(&url).await.expect("a new file").close().await;
        for (version, description, opens) in [(8000, "expand more", true), (9000, "contract less", false)] {
            let pool = SqlitePool::connect(&url).await.expect("the file");
            let applied = "insert into _sqlx_migrations (version, description, success, checksum, execution_time) \
                values ($1, $2, true, x'00', 0)";
            sqlx::query(applied).bind(version).bind(description).execute(&pool).await.expect("a row");
            pool.close().await;
            let opened = Db::connect(&url).await;
            assert_eq!(opened.is_ok(), opens, "{description}: {opened:?}");
            if let Ok(db) = opened {
                db.close().await;
            }
        }
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_named_without_the_password() {
        let error = Db::connect("postgres://u:hush@127.0.0.1:1/db").await.expect_err("nobody listens").to_string();
        assert!(error.starts_with("PostgreSQL at 127.0.0.1:1 cannot be reached") && !error.contains("hush"), "{error}");
    }
}
