//! The Compose file against the code: its settings, its health checks, its secrets, its proxy.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use regex::Regex;
use serde_json::{Map, Value};
use slipway_tests::env::host;
use slipway_tests::env::slipway::{Settings, Slipway, binary};

use super::{config_check, deploy, text, told};

/// What every process answers without a token.
const HEALTH: [&str; 3] = ["/livez", "/readyz", "/version"];
/// The commands of our image, and what each needs beside its defaults.
const ROLES: [(&str, &[&str]); 5] = [
    ("api", &["blob_url", "bootstrap_token", "database_url", "live_url", "public_url", "secret_key"]),
    ("scheduler", &["database_url", "live_url"]),
    ("dispatcher", &["bus_url", "database_url", "live_url", "secret_key"]),
    ("logsvc", &["blob_url", "database_url", "live_url"]),
    ("builder", &["builder_name", "join_token", "server_url", "slots"]),
];

fn compose() -> Result<Value> {
    Ok(serde_saphyr::from_str(&text("compose/compose.yaml")?)?)
}

fn map<'a>(value: &'a Value, key: &str) -> Result<&'a Map<String, Value>> {
    value[key].as_object().with_context(|| format!("{key} is a map"))
}

fn words(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// The folder with its secrets made, as `secrets.sh` makes them.
fn prepared() -> Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    for name in ["compose.yaml", ".env.example", "secrets.sh"] {
        fs::copy(deploy("compose").join(name), folder.path().join(name))?;
    }
    fs::copy(folder.path().join(".env.example"), folder.path().join(".env"))?;
    told(Command::new(folder.path().join("secrets.sh")).env_clear().env("PATH", host::PATH))?;
    Ok(folder)
}

/// Values as Compose puts them in: from `.env`, else the default.
fn filled(value: &str, env: &BTreeMap<String, String>) -> Result<String> {
    let variable = Regex::new(r"\$\{([A-Z_]+)(?::-([^}]*)|:\?[^}]+)?\}")?;
    let filled = variable.replace_all(value, |found: &regex::Captures<'_>| {
        env.get(&found[1]).cloned().unwrap_or_else(|| found.get(2).map_or("UNSET", |part| part.as_str()).to_owned())
    });
    ensure!(!filled.contains("UNSET"), "{value} is neither in .env.example nor has it a default");
    Ok(filled.into_owned())
}

fn env_example() -> Result<BTreeMap<String, String>> {
    let pair = |line: &str| line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    Ok(text("compose/.env.example")?.lines().filter(|line| !line.starts_with('#')).filter_map(pair).collect())
}

#[test]
fn every_variable_of_a_role_is_a_setting_that_it_needs() -> Result<()> {
    let (compose, env, folder) = (compose()?, env_example()?, prepared()?);
    let mut seen = BTreeSet::new();
    for (name, service) in map(&compose, "services")? {
        let Some(role) = words(&service["command"]).first().copied() else { continue };
        let Some((_, needed)) = ROLES.iter().find(|(known, _)| *known == role) else { continue };
        seen.insert(role);
        let mut variables = BTreeMap::new();
        let mounted = words(&service["secrets"]);
        for (variable, value) in map(service, "environment")? {
            let value = filled(value.as_str().context("a variable is text")?, &env)?;
            let value = match value.strip_prefix("/run/secrets/") {
                Some(secret) => {
                    ensure!(mounted.contains(&secret), "{name}: {variable} names {secret}, which is not mounted");
                    folder.path().join("secrets").join(secret).display().to_string()
                }
                None => value,
            };
            variables.insert(variable.clone(), value);
        }
        let checked = config_check(&variables)?;
        let set: BTreeSet<&str> =
            checked.iter().filter(|(_, value)| value.contains("SLIPWAY_")).map(|(key, _)| key.as_str()).collect();
        let expected: BTreeSet<&str> = needed.iter().copied().collect();
        let optional = BTreeSet::from(["fetch_allow", "registry_mirrors", "syntax_allow", "trusted_proxies"]);
        assert_eq!(set.difference(&optional).copied().collect::<BTreeSet<_>>(), expected, "{name}");
        for mounted in mounted {
            ensure!(set.contains(mounted), "{name} mounts {mounted} and does not use it");
        }
    }
    assert_eq!(seen, ROLES.iter().map(|(role, _)| *role).collect());
    Ok(())
}

#[test]
fn what_services_name_is_there() -> Result<()> {
    let (compose, folder) = (compose()?, prepared()?);
    let services = map(&compose, "services")?;
    let (networks, volumes) = (map(&compose, "networks")?, map(&compose, "volumes")?);
    for (name, secret) in map(&compose, "secrets")? {
        let file = secret["file"].as_str().context("a secret is a file")?;
        ensure!(folder.path().join(file).is_file(), "secrets.sh makes no {file} for {name}");
    }
    for (name, service) in services {
        for secret in words(&service["secrets"]) {
            ensure!(compose["secrets"].get(secret).is_some(), "{name}: no secret {secret}");
        }
        for file in words(&service["env_file"]) {
            ensure!(folder.path().join(file).is_file(), "{name}: secrets.sh makes no {file}");
        }
        for network in words(&service["networks"]) {
            ensure!(networks.contains_key(network), "{name}: no network {network}");
        }
        for volume in words(&service["volumes"]) {
            let source = volume.split(':').next().unwrap_or_default();
            let there = match source.strip_prefix("./") {
                Some(file) => folder.path().join(file).is_file(),
                None if source.starts_with("../") => deploy("compose").join(source).is_file(),
                None => volumes.contains_key(source),
            };
            ensure!(there, "{name}: no {source}");
        }
        let depends = service["depends_on"].as_object().into_iter().flatten();
        for (other, condition) in depends {
            let other = services.get(other).with_context(|| format!("{name} depends on {other}"))?;
            let healthy = condition["condition"] == "service_healthy";
            ensure!(!healthy || other["healthcheck"].is_object(), "{name} waits for the health of what has none");
        }
        let check = words(&service["healthcheck"]["test"]).join(" ");
        ensure!(!check.is_empty() || service["healthcheck"]["disable"] == true, "{name} has no health check");
        if let Some((_, path)) = check.split_once("127.0.0.1:8080") {
            ensure!(HEALTH.contains(&path), "{name} asks for {path}");
        }
    }
    Ok(())
}

#[test]
fn the_proxys_upstreams_are_services_and_builders_see_nothing_else() -> Result<()> {
    let compose = compose()?;
    let services = map(&compose, "services")?;
    let sample = text("proxy/nginx.conf")?;
    let upstreams: Vec<&str> = sample
        .lines()
        .filter_map(|line| line.trim().strip_prefix("server ")?.split_once(":8080").map(|(name, _)| name))
        .collect();
    ensure!(upstreams.len() == 6, "{upstreams:?}");
    for upstream in upstreams {
        let role = upstream.split('-').next().unwrap_or_default();
        assert_eq!(words(&services[upstream]["command"]), [role]);
    }
    assert_eq!(words(&services["builder"]["networks"]), ["builders"]);
    let near: BTreeSet<&str> = services
        .iter()
        .filter(|(_, service)| words(&service["networks"]).contains(&"builders"))
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(near, BTreeSet::from(["builder", "engine", "proxy"]));
    Ok(())
}

#[test]
fn secrets_are_made_once_and_are_private() -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = prepared()?;
    let read = |name: &str| fs::read_to_string(folder.path().join("secrets").join(name));
    let before = (read("secret_key")?, read("database_url")?, read("s3.env")?);
    told(Command::new(folder.path().join("secrets.sh")).env_clear().env("PATH", host::PATH))?;
    assert_eq!(before, (read("secret_key")?, read("database_url")?, read("s3.env")?));
    let mode = fs::metadata(folder.path().join("secrets"))?.permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let password = read("bus_password")?;
    ensure!(password.trim().len() == 48 && read("rabbitmq.conf")?.contains(password.trim()));
    ensure!(before.0.trim().len() == 44 && before.1.contains("@postgres/slipway"));
    Ok(())
}

#[test]
fn the_proxy_of_compose_speaks_without_tls() -> Result<()> {
    let compose = compose()?;
    let command = words(&compose["services"]["proxy"]["command"]).pop().context("a command")?.to_owned();
    let (edit, _) = command.split_once('>').context("it writes a file")?;
    let edit = edit.replace("/etc/slipway/nginx.conf", &deploy("proxy/nginx.conf").display().to_string());
    let written = told(Command::new("/bin/sh").args(["-c", &edit]))?;
    let listens: Vec<&str> = written.lines().filter_map(|line| line.trim().strip_prefix("listen ")).collect();
    assert_eq!(listens, ["8080;", "8443;"]);
    ensure!(!written.contains("ssl_"), "a certificate is asked for");
    let ports: Vec<&str> = words(&compose["services"]["proxy"]["ports"]);
    ensure!(ports.len() == 2 && ports[0].ends_with(":8080") && ports[1].ends_with(":8443"), "{ports:?}");
    assert_eq!(compose["services"]["builder"]["environment"]["SLIPWAY_SERVER_URL"], "http://proxy:8443");
    Ok(())
}

/// The script against the real client and service; only `docker compose exec` is played.
#[tokio::test]
async fn the_builders_token_is_made_by_its_script() -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let variables = vec![("SLIPWAY_SLOTS".to_owned(), "0".to_owned())];
    let engine = "unix:///nonexistent/docker.sock".to_owned();
    let slipway = Slipway::start(Settings { engine, variables, ..Settings::default() }).await?;
    let folder = prepared()?;
    fs::copy(deploy("compose/join-token.sh"), folder.path().join("join-token.sh"))?;
    let docker = folder.path().join("docker");
    let exec = format!(
        "#!/bin/sh\n[ \"$1 $2 $3 $4 $5\" = 'compose exec -T api-1 slipway' ] || exit 1\nshift 5\nexec {} \"$@\"\n",
        binary()?.display()
    );
    fs::write(&docker, exec)?;
    fs::set_permissions(&docker, fs::Permissions::from_mode(0o755))?;
    let mut script = Command::new(folder.path().join("join-token.sh"));
    script.env_clear().env("PATH", format!("{}:{}", folder.path().display(), host::PATH));
    // As in the container of an api.
    let token = folder.path().join("secrets/bootstrap_token");
    fs::remove_file(&token)?;
    fs::write(&token, slipway.token())?;
    script.env("SLIPWAY_SERVER_URL", slipway.base_url()).env("SLIPWAY_TOKEN_FILE", &token).env("HOME", folder.path());
    told(&mut script)?;
    let made = fs::read_to_string(folder.path().join("secrets/join_token"))?;
    ensure!(made.starts_with("slj") && made.trim().len() > 20 && made.lines().count() == 1, "{made}");
    Ok(())
}

#[test]
fn compose_itself_reads_it_where_it_is_installed() -> Result<()> {
    let folder = prepared()?;
    let config = |program: &Path, first: &[&str]| {
        let mut command = Command::new(program);
        command.current_dir(folder.path()).env_clear().env("PATH", host::PATH).env("HOME", folder.path());
        told(command.args(first).args(["--profile", "builder", "config", "-q"]))
    };
    let docker = host::find("docker").filter(|docker| {
        Command::new(docker).args(["compose", "version"]).output().is_ok_and(|output| output.status.success())
    });
    match (docker, host::find("docker-compose")) {
        (Some(docker), _) => config(&docker, &["compose"]).map(|_| ()),
        (None, Some(compose)) => config(&compose, &[]).map(|_| ()),
        (None, None) => {
            eprintln!("SKIPPED: neither docker compose nor docker-compose is installed");
            Ok(())
        }
    }
}
