//! The context of 10,000 files, made by the builder's code and by `tar cf` of the same tree, with the files in the
//! page cache and without.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, anyhow, ensure};
use rustix::fs::{Advice, fadvise};
use slipway_builder::work::context::{ContextRequest, make_context};
use slipway_runtime::lifecycle::Life;

use crate::bench::{Row, cpu_secs, ended_children_cpu_secs, stats};

const FOLDERS: usize = 100;
const FILES_PER_FOLDER: usize = 100;
const WARM_ROUNDS: usize = 15;
const COLD_ROUNDS: usize = 6;

/// Time and CPU of one tar, seconds.
struct Took {
    wall: f64,
    cpu: f64,
}

/// Measures.
pub async fn run() -> Result<Row> {
    let dir = tempfile::tempdir()?;
    let tree = dir.path().join("tree");
    plant(&tree)?;
    let life = Life::new();
    // Both write their file for the first time here.
    ours(&life, dir.path(), &tree).await?;
    theirs(dir.path(), &tree)?;
    let (mut warm, mut cold, mut ours_warm, mut theirs_warm) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..WARM_ROUNDS + COLD_ROUNDS {
        let is_cold = round >= WARM_ROUNDS;
        let forget = || if is_cold { forget(&tree) } else { Ok(()) };
        forget()?;
        let (mine, other) = if round % 2 == 0 {
            let mine = ours(&life, dir.path(), &tree).await?;
            forget()?;
            (mine, theirs(dir.path(), &tree)?)
        } else {
            let other = theirs(dir.path(), &tree)?;
            forget()?;
            (ours(&life, dir.path(), &tree).await?, other)
        };
        if is_cold {
            cold.push(mine.wall / other.wall);
        } else {
            warm.push(mine.wall / other.wall);
            ours_warm.push(mine);
            theirs_warm.push(other);
        }
    }
    let wall = |took: &[Took]| stats::median(&took.iter().map(|took| took.wall).collect::<Vec<_>>()) * 1e3;
    // The kernel counts in hundredths of a second, so that only the mean says something.
    let cpu = |took: &[Took]| took.iter().map(|took| took.cpu).sum::<f64>() / took.len() as f64 * 1e3;
    Ok(Row {
        figure: "context tar of 10,000 files",
        baseline: format!("{:.0} ms (tar cf)", wall(&theirs_warm)),
        ours: format!("{:.0} ms", wall(&ours_warm)),
        ratio: format!("{}; cold {}", stats::shown(&warm), stats::shown(&cold)),
        cpu: format!("{:.0} ms (tar {:.0} ms)", cpu(&ours_warm), cpu(&theirs_warm)),
        target: "at most 1.2x tar",
        reached: stats::median(&warm) <= 1.2 && stats::median(&cold) <= 1.2,
    })
}

/// Files of 0 to 8 KB, as sources are.
fn plant(tree: &Path) -> Result<()> {
    for folder in 0..FOLDERS {
        let folder = tree.join(format!("module-{}", folder / 10)).join(format!("part-{folder}"));
        fs::create_dir_all(&folder)?;
        for file in 0..FILES_PER_FOLDER {
            let text = format!("line of file {file}\n").repeat((file * 37) % 420);
            fs::write(folder.join(format!("source-{file}.rs")), text)?;
        }
    }
    fs::write(tree.join("Dockerfile"), "FROM scratch\nCOPY . .\n")?;
    // What is not on the disk yet cannot leave the cache.
    rustix::fs::sync();
    Ok(())
}

/// Takes the files' bytes out of the page cache.
fn forget(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            forget(&path)?;
        } else {
            fadvise(&File::open(&path)?, 0, None, Advice::DontNeed)?;
        }
    }
    Ok(())
}

async fn ours(life: &Life, dir: &Path, tree: &Path) -> Result<Took> {
    let request = ContextRequest {
        checkout: tree.to_path_buf(),
        context: None,
        dockerfile: None,
        tar: dir.join("ours.tar"),
        max_bytes: 1 << 30,
        max_entries: 100_000,
        mtime: chrono::DateTime::from_timestamp(1_700_000_000, 0).context("a time")?,
    };
    let (began, cpu) = (Instant::now(), cpu_secs(std::process::id())?);
    let made = make_context(life, request).await.map_err(|refused| anyhow!("{}", refused.failure.message))?;
    let took = Took { wall: began.elapsed().as_secs_f64(), cpu: cpu_secs(std::process::id())? - cpu };
    ensure!(made.contents.entries > (FOLDERS * FILES_PER_FOLDER) as u64, "{:?}", made.contents);
    Ok(took)
}

fn theirs(dir: &Path, tree: &Path) -> Result<Took> {
    let target: PathBuf = dir.join("theirs.tar");
    let (began, cpu) = (Instant::now(), ended_children_cpu_secs(std::process::id())?);
    let mut command = Command::new("tar");
    let status = command.arg("cf").arg(&target).arg("-C").arg(tree).arg(".").stdin(Stdio::null()).status()?;
    let took = Took { wall: began.elapsed().as_secs_f64(), cpu: ended_children_cpu_secs(std::process::id())? - cpu };
    ensure!(status.success(), "tar ended with {status}");
    Ok(took)
}
