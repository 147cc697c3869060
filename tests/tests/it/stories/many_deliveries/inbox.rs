//! What is in the database when everything was worked, held against what was sent.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use slipway_tests::wait::eventually;
use slipway_tests::world::World;
use sqlx::{Connection as _, FromRow, PgConnection, SqliteConnection};
use uuid::Uuid;

use super::stock::{Fate, Sent};

/// One delivery with one of its builds.
#[derive(Debug, Clone, FromRow)]
struct Row {
    hook_id: Uuid,
    delivery_key: String,
    state: String,
    reason: Option<String>,
    build: Option<Uuid>,
    git_ref: Option<String>,
    before_id: Option<String>,
    commit_id: Option<String>,
    ref_order: Option<i64>,
}

const ROWS: &str = "select d.hook_id, d.delivery_key, d.state, d.reason, b.id as build, b.ref as git_ref, b.before_id, \
    b.commit_id, b.ref_order from deliveries d left join delivery_builds x on x.delivery_id = d.id \
    left join builds b on b.id = x.build_id";

const LEFT: &str = "select count(*) from deliveries where state = 'received'";

const BUILDS: &str = "select count(*) from builds";

/// Builds that tell the same move of a project.
const DOUBLED: &str = "select count(*) from (select 1 from builds group by project_id, ref, before_id, commit_id \
    having count(*) > 1) doubled";

/// The service's database, read beside it.
enum Inbox {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Inbox {
    async fn open(world: &World) -> Result<Self> {
        Ok(match world.slipway.database_url() {
            Some(url) => Self::Postgres(PgConnection::connect(url).await?),
            None => {
                let file = world.slipway.data_dir().join("slipway.db");
                Self::Sqlite(SqliteConnection::connect(&format!("sqlite://{}?mode=ro", file.display())).await?)
            }
        })
    }

    async fn count(&mut self, query: &'static str) -> Result<i64> {
        Ok(match self {
            Self::Sqlite(connection) => sqlx::query_scalar(query).fetch_one(connection).await?,
            Self::Postgres(connection) => sqlx::query_scalar(query).fetch_one(connection).await?,
        })
    }

    async fn rows(&mut self) -> Result<Vec<Row>> {
        Ok(match self {
            Self::Sqlite(connection) => sqlx::query_as(ROWS).fetch_all(connection).await?,
            Self::Postgres(connection) => sqlx::query_as(ROWS).fetch_all(connection).await?,
        })
    }
}

/// Waits until no delivery is left to be worked.
pub async fn all_worked(world: &World, deadline: Duration) -> Result<()> {
    eventually("all deliveries to be worked", deadline, || async {
        let left = Inbox::open(world).await?.count(LEFT).await?;
        if left > 0 {
            // Each look reads the whole table.
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok((left == 0).then_some(()))
    })
    .await
}

/// Every delivery that was answered is there once, and became what it had to; nothing else is there.
pub async fn check(world: &World, sent: &[Sent]) -> Result<()> {
    let mut inbox = Inbox::open(world).await?;
    let rows = inbox.rows().await?;
    let mut stored: HashMap<(Uuid, &str), Vec<&Row>> = HashMap::new();
    for row in &rows {
        stored.entry((row.hook_id, row.delivery_key.as_str())).or_default().push(row);
    }
    ensure!(rows.len() == sent.len(), "{} rows of {} deliveries", rows.len(), sent.len());
    let mut orders: BTreeMap<(Uuid, &str), Vec<(usize, i64)>> = BTreeMap::new();
    for sent in sent {
        let own = stored.get(&(sent.hook, sent.key.as_str())).map(Vec::as_slice).unwrap_or_default();
        let [row] = own else { anyhow::bail!("{} rows of {sent:?}", own.len()) };
        is_fate(row, &sent.fate).with_context(|| format!("{row:?} of {sent:?}"))?;
        if let (Some((git_ref, place)), Some(order)) = (&sent.place, row.ref_order) {
            orders.entry((sent.hook, git_ref)).or_default().push((*place, order));
        }
    }
    for (of, mut order) in orders {
        order.sort_unstable();
        ensure!(order.is_sorted_by(|one, two| one.1 < two.1), "the moves of {of:?} stand in another order: {order:?}");
    }
    let built = sent.iter().filter(|sent| matches!(sent.fate, Fate::Built { .. })).count();
    ensure!(inbox.count(BUILDS).await? == i64::try_from(built)?, "builds that nobody was told of");
    ensure!(inbox.count(DOUBLED).await? == 0, "a move was built twice");
    Ok(())
}

fn is_fate(row: &Row, fate: &Fate) -> Result<()> {
    match fate {
        Fate::Built { git_ref, before, commit } => {
            ensure!(row.state == "done" && row.build.is_some(), "it made no build");
            let built = (row.git_ref.as_ref(), row.before_id.as_ref(), row.commit_id.as_ref());
            ensure!(built == (Some(git_ref), before.as_ref(), Some(commit)), "another build");
        }
        Fate::Ignored => ensure!(row.state == "ignored" && row.build.is_none() && row.reason.is_some(), "not ignored"),
        Fate::Unreadable => ensure!(row.state == "failed" && row.reason.is_some(), "not failed"),
    }
    Ok(())
}
