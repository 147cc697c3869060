//! A literal looked for in all of a sealed log, against ripgrep behind zstdcat on the same bytes; and how long somebody
//! waits for the first hits.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

use crate::bench::log_text::{COMMON, RARE};
use crate::bench::sealed_log::SealedLog;
use crate::bench::{Row, cpu_secs, stats};
use crate::env::cluster::Role;
use crate::env::host;

const ROUNDS: usize = 5;

/// Measures both.
pub async fn run(log: &SealedLog) -> Result<Vec<Row>> {
    host::need("rg", "ripgrep")?;
    let (mut ours, mut theirs, mut folded) = (Vec::new(), Vec::new(), Vec::new());
    let (mut common, mut first) = (Vec::new(), Vec::new());
    let mut cpu = 0.0;
    // The first round is not counted: files and objects come into memory.
    for round in 0..=ROUNDS {
        let (they, we) = if round % 2 == 0 {
            (ripgrep(log).await?, search(log, RARE, "&case=1&limit=500").await?)
        } else {
            let we = search(log, RARE, "&case=1&limit=500").await?;
            (ripgrep(log).await?, we)
        };
        ensure!(
            we.total == log.plants && they.total == log.plants,
            "{} lines have it; found were {} and {}",
            log.plants,
            we.total,
            they.total
        );
        // Without `case`, as people ask first: capitals and small letters are the same.
        let page = search(log, COMMON, "&limit=50&first=1").await?;
        ensure!(page.partial, "all of the log was looked through for a page of hits");
        let one = search(log, RARE, "&limit=1&first=1").await?;
        let any_case = search(log, RARE, "&limit=50").await?.secs;
        if round > 0 {
            cpu += we.cpu_secs;
            ours.push(we.secs);
            theirs.push(they.secs);
            common.push(page.secs);
            first.push(one.secs);
            folded.push(any_case);
        }
    }
    let size = log.megabytes();
    let ratios: Vec<f64> = theirs.iter().zip(&ours).map(|(theirs, ours)| theirs / ours).collect();
    let rate = |secs: &[f64]| size / stats::median(secs);
    let ms = |secs: &[f64]| stats::median(secs) * 1e3;
    Ok(vec![
        Row {
            figure: "literal search of a sealed log of 1 GB",
            baseline: format!("{:.0} MB/s (zstdcat of zstd -3, rg -c -F)", rate(&theirs)),
            ours: format!("{:.0} MB/s of {size:.0} MB; {:.0} MB/s in any case", rate(&ours), rate(&folded)),
            ratio: stats::shown(&ratios),
            cpu: format!("{:.2} s a search", cpu / ROUNDS as f64),
            target: "at least 0.5x",
            reached: stats::median(&ratios) >= 0.5,
        },
        Row {
            figure: "literal search of a sealed log of 1 GB -> first hits",
            baseline: "none".to_owned(),
            ours: format!(
                "the first 50 of a frequent literal {:.0} ms, the first one of a rare one {:.0} ms, all {} of it {:.0} ms; \
                 of {size:.0} MB",
                ms(&common),
                ms(&first),
                log.plants,
                ms(&folded),
            ),
            ratio: "-".to_owned(),
            cpu: "-".to_owned(),
            target: "under 200 ms",
            reached: ms(&common) < 200.0 && ms(&first) < 200.0,
        },
    ])
}

/// What one look at all of the log took.
struct Looked {
    /// Until all of the answer was here.
    secs: f64,
    /// Of the log service.
    cpu_secs: f64,
    /// Lines that have the literal, of those looked at.
    total: u64,
    /// It ended before the log did.
    partial: bool,
}

async fn search(log: &SealedLog, literal: &str, rest: &str) -> Result<Looked> {
    let words = literal.replace(' ', "%20").replace(':', "%3A");
    let logsvc = log.split.id(Role::Logsvc)?;
    let (began, cpu) = (Instant::now(), cpu_secs(logsvc)?);
    let body = log.body(&format!("/search?q={words}{rest}")).await?;
    let secs = began.elapsed().as_secs_f64();
    let answer: serde_json::Value = serde_json::from_slice(&body)?;
    let total = answer["total"].as_u64().context("a total")?;
    let partial = answer["partial"] == true;
    Ok(Looked { secs, cpu_secs: cpu_secs(logsvc)? - cpu, total, partial })
}

/// The same by ripgrep.
async fn ripgrep(log: &SealedLog) -> Result<Looked> {
    let began = Instant::now();
    let script = "zstdcat \"$1\" | rg --no-config -c --fixed-strings \"$2\"";
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script, "sh"]).arg(log.packed()).arg(RARE).env("PATH", host::PATH).kill_on_drop(true);
    let output = command.output().await.context("starting zstdcat and ripgrep")?;
    let secs = began.elapsed().as_secs_f64();
    ensure!(output.status.success(), "ripgrep: {}", String::from_utf8_lossy(&output.stderr));
    let total = String::from_utf8_lossy(&output.stdout).trim().parse().context("ripgrep tells a count")?;
    Ok(Looked { secs, cpu_secs: 0.0, total, partial: false })
}
