//! The two schemas have the same tables and columns, and every migration goes over the data of the one
//! before it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use slipway_store::Db;
use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, SqliteConnection};
use uuid::Uuid;

use crate::env::{Database, postgres_server};
use crate::samples::read_everything;

/// Table to column to (type as SQLite says it, may be null).
type Schema = BTreeMap<String, BTreeMap<String, (String, bool)>>;

fn folder(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../migrations").join(kind)
}

fn file_names(kind: &str) -> Vec<String> {
    let files = std::fs::read_dir(folder(kind)).expect("the folder is there");
    let mut names: Vec<String> =
        files.map(|file| file.expect("readable").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn both_folders_hold_the_same_numbers() {
    assert_eq!(file_names("postgres"), file_names("sqlite"));
}

#[tokio::test]
async fn the_two_schemas_are_the_same() {
    let Some(server) = postgres_server() else { return };
    let database = Database::create(&server).await;
    let sqlite_folder = tempfile::tempdir().expect("a temporary folder");
    let sqlite_url = format!("sqlite://{}", sqlite_folder.path().join("slipway.db").display());
    for url in [&database.url, &sqlite_url] {
        Db::connect(url).await.expect("migrates").close().await;
    }
    let (postgres, sqlite) = (postgres_schema(&database.url).await, sqlite_schema(&sqlite_url).await);
    database.drop().await;
    assert!(postgres.len() > 20);
    assert_eq!(postgres, sqlite);
}

#[tokio::test]
async fn migrations_go_over_sample_data_on_sqlite() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let url = format!("sqlite://{}", folder.path().join("slipway.db").display());
    let mut connection = SqliteConnection::connect(&format!("{url}?mode=rwc")).await.expect("opens");
    let migrator = Migrator::new(self::folder("sqlite")).await.expect("reads");
    for migration in migrator.iter() {
        migrator.run_to(migration.version, &mut connection).await.expect("goes over the data so far");
        if let Some(sample) = sample(migration.version) {
            connection.execute(AssertSqlSafe(for_sqlite(&sample))).await.expect("the sample fits its schema");
        }
    }
    connection.close().await.expect("a clean goodbye");
    check_sample(&url).await;
}

#[tokio::test]
async fn migrations_go_over_sample_data_on_postgres() {
    let Some(server) = postgres_server() else { return };
    let database = Database::create(&server).await;
    let mut connection = PgConnection::connect(&database.url).await.expect("opens");
    let migrator = Migrator::new(folder("postgres")).await.expect("reads");
    for migration in migrator.iter() {
        migrator.run_to(migration.version, &mut connection).await.expect("goes over the data so far");
        if let Some(sample) = sample(migration.version) {
            let sample = sqlx::raw_sql(AssertSqlSafe(for_postgres(&sample))).execute(&mut connection).await;
            sample.expect("the sample fits its schema");
        }
    }
    connection.close().await.expect("a clean goodbye");
    check_sample(&database.url).await;
    database.drop().await;
}

/// What was written in the first release still reads in this one, in every table.
async fn check_sample(url: &str) {
    let db = Db::connect(url).await.expect("nothing is left to migrate");
    read_everything(&db).await;
    db.close().await;
    for table in schema_of(url).await.into_keys() {
        assert!(rows_of(url, &table).await > 0, "no sample has a row in {table}");
    }
}

async fn schema_of(url: &str) -> Schema {
    if url.starts_with("sqlite") { sqlite_schema(url).await } else { postgres_schema(url).await }
}

async fn rows_of(url: &str, table: &str) -> i64 {
    let count = sqlx::AssertSqlSafe(format!("select count(*) from {table}"));
    let counted = if url.starts_with("sqlite") {
        sqlx::query_scalar(count).fetch_one(&mut SqliteConnection::connect(url).await.expect("opens")).await
    } else {
        sqlx::query_scalar(count).fetch_one(&mut PgConnection::connect(url).await.expect("opens")).await
    };
    counted.expect("a number")
}

/// The rows that a release of this schema version could have left behind.
fn sample(version: i64) -> Option<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/it/samples/{version:04}.sql"));
    std::fs::read_to_string(path).ok()
}

/// Samples write `{id 7}`, `{bytes c0ffee}`, `{json "key":"value"}` and, for JSON that is longer, `{file name}`; times
/// are texts that both read.
fn for_postgres(sample: &str) -> String {
    fill(sample, |hex| format!("'\\x{hex}'"), |id| format!("'{}'", Uuid::from_u128(id)))
}

fn for_sqlite(sample: &str) -> String {
    fill(sample, |hex| format!("x'{hex}'"), |id| format!("x'{}'", Uuid::from_u128(id).simple()))
}

fn fill(sample: &str, bytes: impl Fn(&str) -> String, id: impl Fn(u128) -> String) -> String {
    let mut filled = String::new();
    for part in sample.split('{') {
        let (word, rest) = part.split_once('}').unwrap_or(("", part));
        match word.split_once(' ') {
            Some(("id", number)) => filled.push_str(&id(number.parse().expect("a number"))),
            Some(("bytes", hex)) => filled.push_str(&bytes(hex)),
            Some(("file", name)) => {
                let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/it/samples/0001/{name}.json"));
                filled.push_str(&format!(
                    "'{}'",
                    std::fs::read_to_string(path).expect("it is there").replace('\'', "''")
                ));
            }
            Some(("json", fields)) => filled.push_str(&format!("'{{{fields}}}'")),
            _ => {}
        }
        filled.push_str(rest);
    }
    filled
}

async fn postgres_schema(url: &str) -> Schema {
    const COLUMNS: &str = "select table_name::text, column_name::text, data_type::text, is_nullable = 'YES' \
        from information_schema.columns where table_schema = 'public' and table_name not like '\\_sqlx%'";
    let mut connection = PgConnection::connect(url).await.expect("opens");
    let rows: Vec<(String, String, String, bool)> =
        sqlx::query_as(COLUMNS).fetch_all(&mut connection).await.expect("reads");
    let as_sqlite = |kind: &str| match kind {
        "uuid" | "bytea" => "BLOB".to_owned(),
        "jsonb" | "timestamp with time zone" | "text" => "TEXT".to_owned(),
        "bigint" | "boolean" => "INTEGER".to_owned(),
        other => panic!("no SQLite type for {other}"),
    };
    let mut schema = Schema::new();
    for (table, column, kind, nullable) in rows {
        schema.entry(table).or_default().insert(column, (as_sqlite(&kind), nullable));
    }
    schema
}

async fn sqlite_schema(url: &str) -> Schema {
    const COLUMNS: &str = "select m.name, c.name, upper(c.type), c.\"notnull\" = 0 from sqlite_master m \
        join pragma_table_info(m.name) c where m.type = 'table' and m.name not like '\\_sqlx%' escape '\\' \
        and m.name not like 'sqlite%'";
    let mut connection = SqliteConnection::connect(url).await.expect("opens");
    let rows: Vec<(String, String, String, bool)> =
        sqlx::query_as(COLUMNS).fetch_all(&mut connection).await.expect("reads");
    let mut schema = Schema::new();
    for (table, column, kind, nullable) in rows {
        schema.entry(table).or_default().insert(column, (kind, nullable));
    }
    schema
}
