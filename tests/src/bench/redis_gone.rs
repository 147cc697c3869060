//! Builds that do nothing while there is no Redis at all: nobody rings, and every pass finds its work by itself.

use anyhow::Result;
use serde_json::json;

use crate::bench::split::Split;
use crate::bench::{Row, noop};
use crate::env::cluster::Backends;
use crate::env::git_server::GitServer;
use crate::env::host;

const BUILDS: usize = 500;
const BUILDERS: usize = 4;
const SLOTS: usize = 32;

/// Measures. `None` when a backend is missing.
pub async fn run() -> Result<Option<Row>> {
    let Some(backends) = Backends::fresh().await? else { return Ok(None) };
    let nowhere = Backends { live_url: format!("redis://127.0.0.1:{}", host::free_port()?), ..backends };
    let split = Split::start_on(nowhere, 1).await?;
    let git = GitServer::start().await?;
    let repo = git.repo("bench/redis-gone")?;
    let body = json!({
        "name": repo.full_path(),
        "forge": { "kind": "github" },
        "repo": { "full_path": repo.full_path(), "clone_url": repo.clone_url() },
    });
    let project = split.api().create_project(&body).await?;
    let _load = split.join(BUILDERS, SLOTS, true).await?;
    // It fails unless every one of them succeeds.
    let rate = noop::build(&split, &repo, &project, BUILDS, 1).await?;
    Ok(Some(Row {
        figure: "builds that do nothing, no Redis",
        baseline: "none".to_owned(),
        ours: format!("all of {BUILDS} succeeded, {rate:.0}/s"),
        ratio: "-".to_owned(),
        cpu: "-".to_owned(),
        target: "builds still complete",
        reached: true,
    }))
}
