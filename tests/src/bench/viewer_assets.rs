//! What a browser loads of us for the pages that show a log: scripts and styles, as they are received.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use reqwest::Client;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_ENCODING};

use crate::bench::Row;
use crate::env::slipway::{Settings, Slipway};
use crate::scripted_engine::ScriptedEngine;

const LIMIT_BYTES: usize = 60_000;
/// What browsers ask for.
const BROWSERS: &str = "gzip, deflate, br, zstd";

/// Measures.
pub async fn run() -> Result<Row> {
    let engine = ScriptedEngine::start().await?;
    let slipway = Slipway::start(Settings { engine: engine.host(), ..Settings::default() }).await?.quiet();
    let client = Client::new();
    let page = client.get(format!("{}/login", slipway.base_url())).send().await?.text().await?;
    let (_, rest) = page.split_once("\"/assets/").context("the page names an asset")?;
    let (release, _) = rest.split_once('/').context("its address has a hash")?;
    let base = format!("{}/assets/{release}", slipway.base_url());
    let names = names()?;
    let (mut plain, mut received) = (0, 0);
    for name in &names {
        let url = format!("{base}/{name}");
        plain += client.get(&url).send().await?.error_for_status()?.bytes().await?.len();
        // The client does not unpack what it is asked to ask for.
        let answer = client.get(&url).header(ACCEPT_ENCODING, BROWSERS).send().await?.error_for_status()?;
        ensure!(answer.headers().get(CONTENT_ENCODING).is_some_and(|coding| coding == "gzip"), "{name} comes unpacked");
        received += answer.bytes().await?.len();
    }
    Ok(Row {
        figure: "viewer assets, scripts and styles",
        baseline: format!("{:.1} KB plain", plain as f64 / 1e3),
        ours: format!("{:.1} KB received as gzip, {} files", received as f64 / 1e3, names.len()),
        ratio: format!("{:.2}", received as f64 / plain as f64),
        cpu: "-".to_owned(),
        target: "under 60 KB",
        reached: received < LIMIT_BYTES,
    })
}

/// All scripts and styles, as they stand behind the hash of a release.
fn names() -> Result<Vec<String>> {
    let web = Path::new(env!("CARGO_MANIFEST_DIR")).join("../api/web");
    let mut names = vec!["css/slipway.css".to_owned()];
    for entry in fs::read_dir(web.join("js")).context("reading the scripts' folder")? {
        names.push(format!("js/{}", entry?.file_name().to_string_lossy()));
    }
    Ok(names)
}
