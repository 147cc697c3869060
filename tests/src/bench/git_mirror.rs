//! One new commit of a repository of 200 MB, fetched and checked out by the builder that has kept the repository, and
//! by a fresh clone of depth 1; the server counts the bytes.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use slipway_builder::work::mirror::{Keep, Mirrors, Owner};
use slipway_builder::work::source::{SourceRequest, fetch};
use slipway_runtime::clock::Clock;
use slipway_runtime::egress::{Egress, FetchAllow};
use slipway_runtime::ids::new_id;
use slipway_runtime::lifecycle::Life;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use crate::bench::{Row, stats};
use crate::env::git_server::GitServer;
use crate::env::repo::Repo;

const FILES: usize = 1000;
const FILE_BYTES: usize = 200_000;
const ROUNDS: usize = 6;
const LONGEST: Duration = Duration::from_secs(300);

/// One of the two ways.
struct Took {
    secs: f64,
    bytes: u64,
}

struct Bench {
    server: GitServer,
    repo: Repo,
    mirrors: Mirrors,
    owner: Owner,
    egress: Egress,
}

/// Measures.
pub async fn run() -> Result<Row> {
    let dir = tempfile::tempdir()?;
    let server = GitServer::start().await?;
    let repo = server.repo("bench/large")?;
    plant(repo.work())?;
    repo.commit("200 MB", &[])?;
    let keep = Keep { unused: LONGEST, max_bytes: u64::MAX, min_free_bytes: 0 };
    let mirrors = Mirrors::new(Life::new(), Clock::system(), dir.path().join("mirrors"), keep);
    let egress = Egress::new("127.0.0.0/8".parse::<FetchAllow>().map_err(|error| anyhow!("{error}"))?);
    let bench = Bench { server, repo, mirrors, owner: Owner { tenant: new_id(), trusted: true }, egress };

    // The first fetch takes everything, as a clone does.
    bench.ours(dir.path()).await?;
    let (mut ours, mut theirs): (Vec<Took>, Vec<Took>) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let text = format!("round {round}\n");
        bench.repo.commit(&text, &[("folder-1/changed.txt", &text), ("folder-2/changed.txt", &text)])?;
        if round % 2 == 0 {
            ours.push(bench.ours(dir.path()).await?);
            theirs.push(bench.theirs(dir.path()).await?);
        } else {
            theirs.push(bench.theirs(dir.path()).await?);
            ours.push(bench.ours(dir.path()).await?);
        }
    }
    let faster: Vec<f64> = theirs.iter().zip(&ours).map(|(theirs, ours)| theirs.secs / ours.secs).collect();
    let fewer: Vec<f64> =
        theirs.iter().zip(&ours).map(|(theirs, ours)| theirs.bytes as f64 / ours.bytes as f64).collect();
    let secs = |took: &[Took]| stats::median(&took.iter().map(|took| took.secs).collect::<Vec<_>>());
    let kilobytes = |took: &[Took]| stats::median(&took.iter().map(|took| took.bytes as f64).collect::<Vec<_>>()) / 1e3;
    Ok(Row {
        figure: "git fetch of one new commit, warm mirror",
        baseline: format!("{:.2} s, {:.0} KB (git clone --depth=1)", secs(&theirs), kilobytes(&theirs)),
        ours: format!("{:.2} s, {:.1} KB", secs(&ours), kilobytes(&ours)),
        ratio: format!("{} times faster, {:.0} times fewer bytes", stats::shown(&faster), stats::median(&fewer)),
        cpu: "-".to_owned(),
        target: "5 times faster, 10 times fewer bytes",
        reached: stats::median(&faster) >= 5.0 && stats::median(&fewer) >= 10.0,
    })
}

/// Text that hardly repeats, in lines.
fn plant(work: &Path) -> Result<()> {
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    for number in 0..FILES {
        let mut text = Vec::with_capacity(FILE_BYTES);
        while text.len() < FILE_BYTES {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            text.extend(hex::encode((state >> 16).to_be_bytes()).into_bytes());
            text.push(if text.len() % 4 == 0 { b'\n' } else { b' ' });
        }
        let folder = work.join(format!("folder-{}", number % 20));
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(format!("file-{number}.txt")), text)?;
    }
    Ok(())
}

impl Bench {
    /// The builder's step: fetch, and check out.
    async fn ours(&self, dir: &Path) -> Result<Took> {
        let folder = tempfile::tempdir_in(dir)?;
        let commit = self.repo.resolve("HEAD")?;
        let (log, mut lines) = tokio::sync::mpsc::channel(64);
        let request = SourceRequest {
            clone_url: self.repo.clone_url(),
            commit: &commit,
            git_ref: None,
            rules_from: None,
            login: None,
            dir: folder.path(),
            timeout: LONGEST,
            silence: LONGEST,
            max_bytes: 1 << 30,
            mirrors: Some((&self.mirrors, self.owner)),
        };
        let stop = CancellationToken::new();
        let (began, sent) = (Instant::now(), self.server.sent_bytes());
        let fetching = async {
            let fetched = fetch(&self.egress, request, &log, &stop).await;
            drop(log);
            fetched
        };
        let (fetched, ()) = tokio::join!(fetching, async { while lines.recv().await.is_some() {} });
        let took = Took { secs: began.elapsed().as_secs_f64(), bytes: self.server.sent_bytes() - sent };
        let root = fetched.map_err(|failure| anyhow!("{}", failure.message))?.root;
        ensure!(root.join(format!("folder-{}/file-{}.txt", (FILES - 1) % 20, FILES - 1)).exists(), "files are missing");
        Ok(took)
    }

    async fn theirs(&self, dir: &Path) -> Result<Took> {
        let folder = tempfile::tempdir_in(dir)?;
        let mut command = Command::new("git");
        command.args(["clone", "--quiet", "--depth=1", self.repo.clone_url()]).arg(folder.path().join("clone"));
        command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null").stdin(Stdio::null());
        let (began, sent) = (Instant::now(), self.server.sent_bytes());
        let output = command.kill_on_drop(true).output().await.context("running git clone")?;
        let took = Took { secs: began.elapsed().as_secs_f64(), bytes: self.server.sent_bytes() - sent };
        ensure!(output.status.success(), "git clone: {}", String::from_utf8_lossy(&output.stderr));
        Ok(took)
    }
}
