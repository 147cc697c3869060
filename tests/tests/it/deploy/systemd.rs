//! The units as systemd's own checks see them, and their settings as `config check` does.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use slipway_tests::env::slipway::binary;
use tempfile::TempDir;

use super::{config_check, deploy, program, secret_file, told};

/// Where the units say that the binary lies.
const INSTALLED: &str = "/usr/local/bin/slipway";
/// The most exposure, in tenths as `systemd-analyze security` counts: 20 is 2.0, "OK".
const EXPOSURE: &str = "20";
/// Every unit; a template under the names that it is for.
const UNITS: [(&str, &str); 6] = [
    ("slipway.service", "slipway.service"),
    ("slipway-builder.service", "slipway-builder.service"),
    ("slipway@.service", "slipway@api.service"),
    ("slipway@.service", "slipway@scheduler.service"),
    ("slipway@.service", "slipway@dispatcher.service"),
    ("slipway@.service", "slipway@logsvc.service"),
];

/// The units in a folder of their own, with this run's binary.
fn units() -> Result<TempDir> {
    let folder = tempfile::tempdir()?;
    let binary = binary()?;
    for (source, name) in UNITS {
        let unit = fs::read_to_string(deploy("systemd").join(source))?;
        ensure!(unit.contains(&format!("ExecStart={INSTALLED} ")), "{source} starts something else");
        let unit = unit.replace(INSTALLED, binary.to_str().context("a path in UTF-8")?);
        fs::write(folder.path().join(name), unit)?;
        let parts = deploy("systemd").join(format!("{name}.d"));
        for part in fs::read_dir(&parts).into_iter().flatten() {
            let part = part?;
            fs::create_dir_all(folder.path().join(format!("{name}.d")))?;
            fs::copy(part.path(), folder.path().join(format!("{name}.d")).join(part.file_name()))?;
        }
    }
    Ok(folder)
}

/// A unit's lines, its parts' included, for this instance.
fn lines(folder: &Path, name: &str) -> Result<Vec<String>> {
    let mut text = fs::read_to_string(folder.join(name))?;
    for part in fs::read_dir(folder.join(format!("{name}.d"))).into_iter().flatten() {
        text.push_str(&fs::read_to_string(part?.path())?);
    }
    let instance = name.split_once('@').and_then(|(_, rest)| rest.split_once('.')).map_or("", |(instance, _)| instance);
    Ok(text.lines().map(|line| line.trim().replace("%i", instance)).collect())
}

#[test]
fn systemd_finds_nothing_wrong_and_little_exposed() -> Result<()> {
    let Some(analyze) = program("systemd-analyze", "systemd")? else { return Ok(()) };
    let folder = units()?;
    for (_, name) in UNITS {
        let path = folder.path().join(name);
        let found = told(Command::new(&analyze).args(["verify", "--man=no"]).arg(&path))?;
        // It also looks at units of this host.
        let ours: Vec<_> = found.lines().filter(|line| line.contains("slipway")).collect();
        ensure!(ours.is_empty(), "{name}: {ours:?}");
        told(Command::new(&analyze).args(["security", "--offline=yes", "--threshold", EXPOSURE]).arg(&path))?;
    }
    Ok(())
}

#[test]
fn units_give_each_role_settings_that_exist_and_no_more_secrets_than_it_needs() -> Result<()> {
    let folder = units()?;
    let expected = [
        ("slipway.service", vec![]),
        ("slipway-builder.service", vec!["join_token"]),
        ("slipway@api.service", vec!["bootstrap_token", "database_url", "live_url", "secret_key"]),
        ("slipway@scheduler.service", vec!["database_url", "live_url"]),
        ("slipway@dispatcher.service", vec!["bus_url", "database_url", "live_url", "secret_key"]),
        ("slipway@logsvc.service", vec!["database_url", "live_url"]),
    ];
    for (name, secrets) in expected {
        let lines = lines(folder.path(), name)?;
        let credentials: BTreeMap<&str, &str> =
            lines.iter().filter_map(|line| line.strip_prefix("LoadCredential=")?.split_once(':')).collect();
        assert_eq!(credentials.keys().copied().collect::<Vec<_>>(), secrets, "{name}");
        let files = tempfile::tempdir()?;
        let mut variables = BTreeMap::new();
        for line in lines.iter().filter_map(|line| line.strip_prefix("Environment=")) {
            let (variable, value) = line.split_once('=').context("a variable has a value")?;
            let value = match value.strip_prefix("%d/") {
                Some(key) => {
                    ensure!(credentials.contains_key(key), "{name}: {variable} names {key}, which is not loaded");
                    secret_file(files.path(), key)?.display().to_string()
                }
                None => value.to_owned(),
            };
            variables.insert(variable.to_owned(), value);
        }
        let checked = config_check(&variables)?;
        for secret in secrets {
            ensure!(checked[secret].contains("_FILE"), "{name}: {secret} is {}", checked[secret]);
        }
    }
    Ok(())
}

#[test]
fn a_drain_has_time_and_reaches_the_process_alone() -> Result<()> {
    let folder = units()?;
    for (_, name) in UNITS {
        let lines = lines(folder.path(), name)?;
        for line in ["Type=notify", "KillSignal=SIGTERM", "KillMode=mixed", "Restart=on-failure", "WatchdogSec=30"] {
            ensure!(lines.iter().any(|found| found == line), "{name} says nothing of {line}");
        }
        let builds = matches!(name, "slipway.service" | "slipway-builder.service");
        let stop = if builds { "TimeoutStopSec=2h" } else { "TimeoutStopSec=30" };
        ensure!(lines.iter().any(|found| found == stop), "{name} says nothing of {stop}");
    }
    Ok(())
}
