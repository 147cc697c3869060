//! A wrong setting stops the start with its name, its place and the nearest name that exists; `config check`
//! tells what is in force.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result};
use serde_json::Value;
use slipway_tests::env::{process, slipway};

/// The exit code of a wrong call or configuration.
const USAGE: Option<i32> = Some(2);

fn run(folder: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> Result<Output> {
    let mut command: Command = process::guarded(&slipway::binary()?);
    command.env("HOME", folder).current_dir(folder).args(arguments).envs(variables.iter().copied());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().context("running slipway")
}

/// The call fails as a wrong one, says all of `words`, and has touched nothing.
fn refused(folder: &Path, variables: &[(&str, &str)], arguments: &[&str], words: &[&str]) -> Result<()> {
    let output = run(folder, variables, arguments)?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), USAGE, "{arguments:?}: {told}");
    for word in words {
        assert!(told.contains(word), "{arguments:?} does not say {word:?}: {told}");
    }
    assert!(!folder.join("slipway-data").exists(), "{arguments:?} made a data folder");
    Ok(())
}

#[test]
fn a_wrong_setting_is_named_with_the_nearest_one() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    fs::write(folder.join("slipway.toml"), "slots = 2\nfetch_alow = [\"10.0.0.0/8\"]\n")?;
    for command in [&["serve"][..], &["config", "check"]] {
        let with = |more: &[&'static str]| [command, more].concat();
        refused(folder, &[("SLIPWAY_LISTNE", "x")], command, &["SLIPWAY_LISTNE", "did you mean listen?"])?;
        refused(folder, &[], &with(&["--config", "slipway.toml"]), &["slipway.toml", "did you mean fetch_allow?"])?;
        refused(folder, &[], &with(&["--slot", "3"]), &["--slot", "--slots"])?;
        refused(folder, &[("SLIPWAY_SLOTS", "many")], command, &["SLIPWAY_SLOTS", "slots is many", "whole number"])?;
        let key = ("SLIPWAY_SECRET_KEY", "c2hvcnQ-and-secret");
        refused(folder, &[key], command, &["SLIPWAY_SECRET_KEY", "base64 of exactly 32 bytes"])?;
        let told = run(folder, &[key], command)?.stderr;
        assert!(!String::from_utf8_lossy(&told).contains(key.1), "the secret is shown");
    }
    Ok(())
}

#[test]
fn config_check_tells_what_is_in_force_and_hides_secrets() -> Result<()> {
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("slipway.toml"), "slots = 3\nregion = \"eu\"\n")?;
    let variables = [("SLIPWAY_REGION", "us"), ("SLIPWAY_BOOTSTRAP_TOKEN", "a-token-to-hide")];
    let arguments = ["config", "check", "--config", "slipway.toml", "--listen", "127.0.0.1:1"];
    let output = run(folder.path(), &variables, &arguments)?;
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    for line in
        ["listen = \"127.0.0.1:1\"  # --listen", "region = \"us\"  # SLIPWAY_REGION", "slots = \"3\"  # slipway.toml"]
    {
        assert!(told.lines().any(|shown| shown == line), "no {line:?} in:\n{told}");
    }
    assert!(told.contains("bootstrap_token") && !told.contains("a-token-to-hide"), "{told}");
    let output = run(folder.path(), &variables, &[&arguments[..], &["--json"]].concat())?;
    let told: Value = serde_json::from_slice(&output.stdout).context("config check --json prints JSON")?;
    let settings = told["settings"].as_array().context("settings are a list")?;
    let slots = settings.iter().find(|setting| setting["key"] == "slots").context("slots are told")?;
    assert_eq!((slots["value"].as_str(), slots["source"].as_str()), (Some("3"), Some("slipway.toml")));
    Ok(())
}
