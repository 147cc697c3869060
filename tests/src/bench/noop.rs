//! Builds that do nothing, from the webhook to the end of their rows, over the real backends, against the least that
//! a queue in the same database does for one: insert, claim, finish.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures_util::stream::{self, StreamExt as _};
use http::StatusCode;
use serde_json::json;
use slipway_runtime::ids::random_bytes;
use sqlx::PgPool;
use tokio::task::JoinSet;

use crate::api::Project;
use crate::bench::split::Split;
use crate::bench::{Row, stats};
use crate::env::git_server::GitServer;
use crate::env::repo::{Move, Repo};
use crate::hooks::{Delivery, github};

const ROUNDS: usize = 3;
const PER_ROUND: usize = 2000;
/// Deliveries on their way at once.
const AT_ONCE: usize = 16;
const BUILDERS: usize = 4;
const SLOTS: usize = 32;
/// Connections of the baseline: what gave it most.
const CLIENTS: usize = 8;
const PATIENCE: Duration = Duration::from_secs(120);

/// Measures. `None` when a backend is missing.
pub async fn run() -> Result<Option<Row>> {
    let Some(split) = Split::start(1).await? else { return Ok(None) };
    let git = GitServer::start().await?;
    let repo = git.repo("bench/noop")?;
    let body = json!({
        "name": repo.full_path(),
        "forge": { "kind": "github" },
        "repo": { "full_path": repo.full_path(), "clone_url": repo.clone_url() },
    });
    let project: Project = split.api().create_project(&body).await?;
    let _load = split.join(BUILDERS, SLOTS, true).await?;
    build(&split, &repo, &project, PER_ROUND / 4, 0).await?;
    table(&split.pool).await?;
    let (mut ours, mut theirs, mut cpu) = (Vec::new(), Vec::new(), 0.0);
    for round in 0..ROUNDS {
        theirs.push(baseline(&split.pool).await?);
        let before = split.cpu_secs()?;
        ours.push(build(&split, &repo, &project, PER_ROUND, round + 1).await?);
        cpu += split.cpu_secs()? - before;
    }
    let ratios: Vec<f64> = ours.iter().zip(&theirs).map(|(ours, theirs)| ours / theirs).collect();
    let cpu_ms = cpu / (ROUNDS * PER_ROUND) as f64 * 1e3;
    let fsync_ms = fsync_p50()? * 1e3;
    let (rate, ratio) = (stats::median(&ours), stats::median(&ratios));
    let fast_enough = rate > 350.0 || fsync_ms >= 0.5;
    Ok(Some(Row {
        figure: "builds that do nothing, webhook -> finished, split roles",
        baseline: format!("{:.0}/s (insert, claim, finish)", stats::median(&theirs)),
        ours: format!("{rate:.0}/s, fsync p50 {fsync_ms:.2} ms"),
        ratio: stats::shown(&ratios),
        cpu: format!("{cpu_ms:.1} ms over the roles"),
        target: "at least 0.08x, at most 4 ms CPU, over 350/s where fsync p50 is under 0.5 ms",
        reached: ratio >= 0.08 && cpu_ms <= 4.0 && fast_enough,
    }))
}

/// Pushes so many new branches and waits until their builds have ended; builds a second.
pub async fn build(split: &Split, repo: &Repo, project: &Project, count: usize, round: usize) -> Result<f64> {
    let deliveries: Vec<Delivery> =
        (0..count).map(|n| delivery(repo, project, &format!("refs/heads/r{round}-{n}"))).collect();
    let ended = "select count(*) from builds where state = 'succeeded'";
    let before: i64 = sqlx::query_scalar(ended).fetch_one(&split.pool).await?;
    let wanted = before + i64::try_from(count)?;
    let api = split.api();
    let began = Instant::now();
    let sent = stream::iter(&deliveries)
        .map(|delivery| api.deliver(&project.hook.url, delivery))
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<_>>()
        .await;
    for answer in sent {
        ensure!(answer?.0 == StatusCode::ACCEPTED, "a delivery was not accepted");
    }
    while sqlx::query_scalar::<_, i64>(ended).fetch_one(&split.pool).await? < wanted {
        ensure!(began.elapsed() < PATIENCE, "not all builds have ended after {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(count as f64 / began.elapsed().as_secs_f64())
}

/// Pushes a new branch, whose build does nothing.
pub async fn push(split: &Split, repo: &Repo, project: &Project, git_ref: &str) -> Result<()> {
    let answer = split.api().deliver(&project.hook.url, &delivery(repo, project, git_ref)).await?;
    ensure!(answer.0 == StatusCode::ACCEPTED, "the delivery was answered {}", answer.0);
    Ok(())
}

fn delivery(repo: &Repo, project: &Project, git_ref: &str) -> Delivery {
    let commit = hex::encode(random_bytes::<20>());
    let moved = Move {
        git_ref: git_ref.to_owned(),
        before: None,
        after: Some(commit.clone()),
        commit: Some(commit),
        forced: false,
        message: "Nothing".to_owned(),
    };
    github::push(repo, &moved, &project.hook.secret)
}

async fn table(pool: &PgPool) -> Result<()> {
    for sql in [
        "create table bench_queue (id bigserial primary key, state text not null, owner bigint, spec text)",
        "create index bench_queue_ready on bench_queue (id) where state = 'ready'",
    ] {
        sqlx::query(sql).execute(pool).await?;
    }
    Ok(())
}

/// Jobs that went through a queue of one table, a second.
async fn baseline(pool: &PgPool) -> Result<f64> {
    let began = Instant::now();
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        clients.spawn(queue_client(pool.clone(), i64::try_from(client)?));
    }
    while let Some(ended) = clients.join_next().await {
        ended??;
    }
    Ok(PER_ROUND as f64 / began.elapsed().as_secs_f64())
}

async fn queue_client(pool: PgPool, client: i64) -> Result<()> {
    const INSERT: &str = "insert into bench_queue (state, spec) values ('ready', $1)";
    const CLAIM: &str = "update bench_queue set state = 'running', owner = $1 where id = (select id from bench_queue \
        where state = 'ready' order by id limit 1 for update skip locked) returning id";
    const FINISH: &str = "update bench_queue set state = 'succeeded' where id = $1 and owner = $2";
    let spec = "x".repeat(300);
    for _ in 0..PER_ROUND / CLIENTS {
        sqlx::query(INSERT).bind(&spec).execute(&pool).await?;
        let id: i64 = loop {
            // Nothing, when the one that was chosen was taken meanwhile.
            if let Some(id) = sqlx::query_scalar(CLAIM).bind(client).fetch_optional(&pool).await? {
                break id;
            }
        };
        sqlx::query(FINISH).bind(id).bind(client).execute(&pool).await?;
    }
    Ok(())
}

/// How long the disk takes to keep a page, median seconds.
fn fsync_p50() -> Result<f64> {
    use std::io::Write as _;
    let folder = tempfile::tempdir()?;
    let mut file = std::fs::File::create(folder.path().join("fsync")).context("a file to sync")?;
    let mut times = Vec::new();
    for _ in 0..200 {
        file.write_all(&[0; 8192])?;
        let began = Instant::now();
        file.sync_data()?;
        times.push(began.elapsed().as_secs_f64());
    }
    Ok(stats::median(&times))
}
