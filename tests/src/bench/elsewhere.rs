//! A builder that vanishes: how long until its job runs elsewhere. Killed, its channel closes at once; stopped, it only
//! falls silent.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use sqlx::PgPool;

use crate::bench::noop::push;
use crate::bench::split::Split;
use crate::bench::{Row, stats};
use crate::env::git_server::GitServer;

const KILLS: usize = 12;
const STOPS: usize = 4;
const PATIENCE: Duration = Duration::from_secs(60);

/// Measures both. Empty when a backend is missing.
pub async fn run() -> Result<Vec<Row>> {
    let Some(mut split) = Split::start(1).await? else { return Ok(Vec::new()) };
    let measured = measure(&split).await;
    split.cluster.shows_log = measured.is_err();
    let (killed, stopped) = measured?;
    Ok(vec![row("kill -9", &killed, 10.0, "p99 under 10 s"), row("SIGSTOP", &stopped, 25.0, "under 25 s")])
}

/// Seconds after each kill, and after each stop.
async fn measure(split: &Split) -> Result<(Vec<f64>, Vec<f64>)> {
    let git = GitServer::start().await?;
    let repo = git.repo("bench/elsewhere")?;
    let body = json!({
        "name": repo.full_path(),
        "forge": { "kind": "github" },
        "repo": { "full_path": repo.full_path(), "clone_url": repo.clone_url() },
    });
    let project = split.api().create_project(&body).await?;
    let (mut killed, mut stopped) = (Vec::new(), Vec::new());
    // The first one is not counted: for 10 s after its own start a dispatcher calls nobody lost.
    for round in 0..=KILLS + STOPS {
        // It takes the job and holds it.
        let victim = split.join_holding(1).await?;
        let git_ref = format!("refs/heads/r{round}");
        push(split, &repo, &project, &git_ref).await?;
        wait_for_epoch(&split.pool, &git_ref, 1).await?;
        let other = split.join_holding(1).await?;
        let signal = if round <= KILLS { Signal::KILL } else { Signal::STOP };
        let pid = Pid::from_raw(i32::try_from(victim.id())?).context("a process id")?;
        let began = Instant::now();
        kill_process(pid, signal)?;
        wait_for_epoch(&split.pool, &git_ref, 2).await.with_context(|| format!("round {round}"))?;
        let waits = if round <= KILLS { &mut killed } else { &mut stopped };
        if round > 0 {
            waits.push(began.elapsed().as_secs_f64());
        }
        drop((victim, other));
        sqlx::query("update jobs set state = 'succeeded', deadline_at = null").execute(&split.pool).await?;
        sqlx::query("update attempts set state = 'closed', outcome = 'lost' where state = 'open'")
            .execute(&split.pool)
            .await?;
        sqlx::query("update sessions set state = 'closed' where state = 'open'").execute(&split.pool).await?;
        sqlx::query("update tenant_running set running = 0").execute(&split.pool).await?;
    }
    Ok((killed, stopped))
}

fn row(how: &str, waits: &[f64], limit: f64, target: &'static str) -> Row {
    let (p50, max) = (stats::median(waits), stats::percentile(waits, 1.0));
    Row {
        figure: if how == "SIGSTOP" {
            "SIGSTOP of a builder -> its job runs elsewhere"
        } else {
            "kill -9 of a builder -> its job runs elsewhere"
        },
        baseline: "none".to_owned(),
        ours: format!("p50 {p50:.1} s, max {max:.1} s of {}", waits.len()),
        ratio: "-".to_owned(),
        cpu: "-".to_owned(),
        target,
        reached: max < limit,
    }
}

/// Waits until the ref's job was claimed for the `epoch`th time.
async fn wait_for_epoch(pool: &PgPool, git_ref: &str, epoch: i64) -> Result<()> {
    let began = Instant::now();
    let sql = "select j.epoch from jobs j join builds b on b.id = j.build_id where b.ref = $1";
    while sqlx::query_scalar::<_, i64>(sql).bind(git_ref).fetch_optional(pool).await?.unwrap_or(0) < epoch {
        ensure!(began.elapsed() < PATIENCE, "the job was not claimed {epoch} times after {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
