//! A scheduler that starts before a backlog of a million jobs: how soon its first decision is there.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::bench::split::Split;
use crate::bench::{Row, stats};
use crate::env::cluster::Role;
use crate::env::git_server::GitServer;

const JOBS: i32 = 1_000_000;
const STARTS: usize = 5;
const SLOTS: usize = 4;
const PATIENCE: Duration = Duration::from_secs(60);

/// Measures. `None` when a backend is missing.
pub async fn run() -> Result<Option<Row>> {
    let Some(mut split) = Split::start(1).await? else { return Ok(None) };
    let git = GitServer::start().await?;
    let repo = git.repo("bench/backlog")?;
    let body = json!({
        "name": repo.full_path(),
        "forge": { "kind": "github" },
        "repo": { "full_path": repo.full_path(), "clone_url": repo.clone_url() },
    });
    let project = split.api().create_project(&body).await?;
    let at = *split.cluster.of(Role::Scheduler).first().context("a scheduler")?;
    split.cluster.members[at].kill9();
    let load = split.join(1, SLOTS, false).await?;
    fill(&split, &project.id).await?;
    let mut waits = Vec::new();
    for _ in 0..STARTS {
        let before = decided(&split).await?;
        let began = Instant::now();
        split.cluster.start_again(at)?;
        while decided(&split).await? == before {
            ensure!(began.elapsed() < PATIENCE, "no decision after {PATIENCE:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        waits.push(began.elapsed().as_secs_f64());
        split.cluster.members[at].kill9();
        // The lease of the one that died.
        sqlx::query("update leaders set expires_at = now()").execute(&split.pool).await?;
    }
    drop(load);
    let (p50, max) = (stats::median(&waits), stats::percentile(&waits, 1.0));
    Ok(Some(Row {
        figure: "scheduler started before 1,000,000 queued jobs -> first decision",
        baseline: "none".to_owned(),
        ours: format!("p50 {p50:.2} s, max {max:.2} s, its start included"),
        ratio: "-".to_owned(),
        cpu: "-".to_owned(),
        target: "within 5 s",
        reached: max < 5.0,
    }))
}

/// Jobs that were ever claimed, which is the end of a decision.
async fn decided(split: &Split) -> Result<i64> {
    let sql = "select count(*) from attempts";
    Ok(sqlx::query_scalar(sql).fetch_one(&split.pool).await?)
}

/// Builds with one job each, as intake makes them.
async fn fill(split: &Split, project: &str) -> Result<()> {
    let pool: String =
        sqlx::query_scalar("select pool from sessions where state = 'open'").fetch_one(&split.pool).await?;
    let project: uuid::Uuid = project.parse()?;
    const BUILDS: &str = "insert into builds (id, tenant_id, project_id, state, trigger, commit_id, dedupe_key, \
        created_at) select ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, p.tenant_id, p.id, \
        'pending', 'push', repeat('a', 40), 'bench-' || n, now() from projects p, generate_series(1, $2) as n \
        where p.id = $1";
    const QUEUED: &str = "insert into jobs (id, build_id, tenant_id, project_id, kind, state, pool, version, epoch, \
        infra_retries, timeout_secs, queued_at, not_before, deadline_at) select \
        ('00000000-0000-7000-9000-' || lpad(to_hex(n), 12, '0'))::uuid, \
        ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, p.tenant_id, p.id, 'image', 'queued', $3, 0, 0, \
        0, 3600, now(), now(), now() + interval '1 day' from projects p, generate_series(1, $2) as n where p.id = $1";
    sqlx::query(BUILDS).bind(project).bind(JOBS).execute(&split.pool).await?;
    sqlx::query(QUEUED).bind(project).bind(JOBS).bind(pool).execute(&split.pool).await?;
    sqlx::query("update builds set reported = state").execute(&split.pool).await?;
    Ok(())
}
