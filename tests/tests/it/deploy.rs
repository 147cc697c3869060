//! What lies in `deploy/` against the code: names, ports, paths and settings that do not exist are found here, and
//! what can run on one machine runs.

mod backup;
mod chart;
mod compose;
mod image;
mod maintenance;
mod notify;
mod proxy;
mod systemd;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use slipway_tests::env::process::{guarded, run};
use slipway_tests::env::services::is_required;
use slipway_tests::env::{host, slipway};

/// A path below `deploy/`.
fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(path)
}

fn text(path: &str) -> Result<String> {
    std::fs::read_to_string(deploy(path)).with_context(|| format!("reading deploy/{path}"))
}

/// A program that this host may lack: said loudly then, and an error where the run requires everything.
fn program(name: &str, package: &str) -> Result<Option<PathBuf>> {
    match host::need(name, package) {
        Ok(path) => Ok(Some(path)),
        Err(error) if is_required() => Err(error),
        Err(error) => {
            eprintln!("SKIPPED: {error}");
            Ok(None)
        }
    }
}

/// What `slipway config check` says of these variables: every setting with its value.
fn config_check(variables: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>> {
    let folder = tempfile::tempdir()?;
    let mut command = guarded(&slipway::binary()?);
    command.current_dir(folder.path()).args(["--json", "config", "check"]).envs(variables);
    let answer: Value = serde_json::from_slice(&run(&mut command)?)?;
    let settings = answer["settings"].as_array().context("a list of settings")?;
    let pair = |setting: &Value| {
        Some((setting["key"].as_str()?.to_owned(), format!("{} from {}", setting["value"], setting["source"])))
    };
    settings.iter().map(|setting| pair(setting).context("a setting has key, value and source")).collect()
}

/// Runs a program that must succeed; everything that it said.
fn told(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("running {command:?}"))?;
    let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{command:?} ended with {}: {told}", output.status);
    Ok(told)
}

/// A role's secrets as files, each with something that reads as what it is.
fn secret_file(folder: &Path, key: &str) -> Result<PathBuf> {
    let content = match key {
        "database_url" => "postgres://slipway:hush@postgres/slipway",
        "bus_url" => "amqp://slipway:hush@rabbitmq/slipway",
        "live_url" => "redis://:hush@redis",
        "secret_key" => "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
        "bootstrap_token" => "slw_hush",
        "join_token" => "slj_hush",
        other => bail!("{other} is no secret of a role"),
    };
    let path = folder.join(key);
    std::fs::write(&path, content)?;
    Ok(path)
}
