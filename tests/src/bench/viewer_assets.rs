//! What a browser loads of us for the pages that show a log: scripts and styles, packed as a proxy does.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::bench::Row;
use crate::env::host;

const LIMIT_BYTES: usize = 60_000;

/// Measures.
pub fn run() -> Result<Row> {
    let web = Path::new(env!("CARGO_MANIFEST_DIR")).join("../api/web");
    let mut files = vec![web.join("css/slipway.css")];
    for entry in fs::read_dir(web.join("js")).context("reading the scripts' folder")? {
        files.push(entry?.path());
    }
    files.retain(|file| file.extension().is_some_and(|extension| extension == "js" || extension == "css"));
    let (mut plain, mut packed) = (0, 0);
    for file in &files {
        plain += fs::metadata(file)?.len();
        packed += gzipped(file)?;
    }
    Ok(Row {
        figure: "viewer assets, scripts and styles",
        baseline: format!("{:.1} KB plain", plain as f64 / 1e3),
        ours: format!("{:.1} KB by gzip -9, {} files", packed as f64 / 1e3, files.len()),
        ratio: format!("{:.2}", packed as f64 / plain as f64),
        cpu: "-".to_owned(),
        target: "under 60 KB",
        reached: packed < LIMIT_BYTES,
    })
}

fn gzipped(file: &PathBuf) -> Result<usize> {
    let output = Command::new(host::need("gzip", "gzip")?).args(["-9", "-n", "-c"]).arg(file).output()?;
    ensure!(output.status.success(), "gzip: {}", String::from_utf8_lossy(&output.stderr));
    Ok(output.stdout.len())
}
