//! Settings: each is a flag, a `SLIPWAY_*` variable (`*_FILE` for secrets and URLs with passwords) or a key of a
//! TOML file, in this order of precedence. A key that we do not know is an error that names the nearest one we do.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use slipway_domain::dockerfile::{RegistryMirrors, SyntaxAllow};
use slipway_domain::nearest::nearest;
use slipway_domain::plan::{Plans, WrittenPlan};
use url::Url;

use crate::client_address::TrustedProxies;
use crate::egress::FetchAllow;
use crate::secret_key::SecretKey;
use crate::trust::Trust;

/// One setting: its key in TOML; the flag is `--key-with-dashes`, the variable `SLIPWAY_KEY`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Lower case with underscores.
    pub key: &'static str,
    /// Never shown; may come from a file named by `SLIPWAY_<KEY>_FILE`.
    pub secret: bool,
    /// Used when nothing else is said; empty means unset.
    pub default: &'static str,
    /// One line for `--help` and the documentation.
    pub help: &'static str,
}

const fn setting(key: &'static str, default: &'static str, help: &'static str) -> Setting {
    Setting { key, secret: false, default, help }
}

const fn secret(key: &'static str, help: &'static str) -> Setting {
    Setting { key, secret: true, default: "", help }
}

impl Setting {
    /// Whether `SLIPWAY_<KEY>_FILE` may name a file that holds it.
    pub fn may_be_in_a_file(&self) -> bool {
        self.secret || WITH_PASSWORD.contains(&self.key)
    }
}

/// Every setting.
pub const SETTINGS: &[Setting] = &[
    setting("listen", "127.0.0.1:8080", "address of the API, the pages and the hooks"),
    setting("agent_listen", "", "address for builders; the same as listen unless set"),
    setting("public_url", "", "how browsers and forges reach this service; http://<listen> unless set"),
    setting("data_dir", "./slipway-data", "folder for the database, logs and keys"),
    setting("database_url", "", "sqlite://FILE or postgres://…; a file in the data folder unless set"),
    setting("bus_url", "memory:", "where offers lie: memory: (in this process) or amqp://user@host/vhost (RabbitMQ)"),
    setting("live_url", "memory:", "where wakes and log tails go: memory: (in this process) or redis://host"),
    setting(
        "blob_url",
        "",
        "where logs are kept: file:///FOLDER or s3://bucket/prefix; a folder in the data folder unless set",
    ),
    secret("secret_key", "base64 of 32 bytes; made in the data folder on the first serve"),
    secret("bootstrap_token", "token of the first operator; made and shown on the first serve"),
    setting("fetch_allow", "", "private networks and hosts that builds may reach: CIDRs and names, comma-separated"),
    setting(
        "syntax_allow",
        "docker/dockerfile:1",
        "builder: images that a Dockerfile may name by # syntax=, exactly so, comma-separated; empty means none",
    ),
    setting(
        "registry_mirrors",
        "",
        "builder: registries that keep copies of others' images: docker.io=mirror.example.org:5000, comma-separated",
    ),
    setting("ca_file", "", "PEM file of certificate authorities that are believed beside the system's"),
    setting(
        "trusted_proxies",
        "127.0.0.0/8,::1/128",
        "proxies whose X-Forwarded-For says who asks: CIDRs and addresses, comma-separated",
    ),
    setting("reconcile_secs", "600", "seconds between two looks at the refs of an active project; 0 means never"),
    setting("tenant_builds_per_minute", "600", "builds that a tenant's members may ask for; 0 means any number"),
    setting("tenant_writes_per_minute", "3000", "changes that a tenant's members may ask for; 0 means any number"),
    setting("plans_file", "", "TOML file with a table per plan, which changes or adds to free, pro and team"),
    setting("trust_tenants", "0", "1 lets several tenants share one engine"),
    setting("region", "local", "name of this region"),
    setting("slots", "2", "jobs that a builder runs at once; 0 in serve means no local builder"),
    setting(
        "cache_high",
        "80",
        "builder: percent of the engine's disk above which its cache is pruned; 100 means never",
    ),
    setting("cache_low", "70", "builder: percent of the engine's disk down to which its cache is pruned"),
    setting("engine_host", "shared", "shared: one Docker engine for all jobs of a builder"),
    setting("server_url", "", "builder: address of the control plane's agent listener"),
    secret("join_token", "builder: token to join a pool"),
    setting("builder_name", "", "builder: its name for people; the host name unless set"),
];

/// No secrets, but a password may stand in them: they may come from a file too, and are shown without it.
const WITH_PASSWORD: &[&str] = &["database_url", "bus_url", "live_url"];

/// Variables that begin with `SLIPWAY_` and are no settings of a process.
const OTHER_VARIABLES: &[&str] = &[
    "SLIPWAY_CONFIG",
    "SLIPWAY_TOKEN",
    "SLIPWAY_TOKEN_FILE",
    "SLIPWAY_LOG",
    "SLIPWAY_LOG_FORMAT",
    "SLIPWAY_WEBHOOK_FIXTURES",
];
/// Tests set these; they are not documented.
const TEST_PREFIX: &str = "SLIPWAY_TEST_";

/// What is wrong with the configuration, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct ConfigError {
    place: String,
    problem: String,
}

/// A value and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sourced {
    /// The value as text.
    pub value: String,
    /// `--flag`, `SLIPWAY_VARIABLE`, the file's name, or `default`.
    pub source: String,
}

/// Every setting as text, with its source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RawConfig(BTreeMap<&'static str, Sourced>);

/// How engines are given to tenants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineHost {
    /// One engine for all jobs of a builder: one trusted tenant.
    Shared,
}

/// The settings, parsed.
#[derive(Debug, Clone)]
pub struct Config {
    /// Address of the API.
    pub listen: SocketAddr,
    /// Address for builders, if it is another one.
    pub agent_listen: Option<SocketAddr>,
    /// How browsers and forges reach us.
    pub public_url: Url,
    /// Folder for everything local.
    pub data_dir: PathBuf,
    /// The truth.
    pub database_url: String,
    /// Offers.
    pub bus_url: String,
    /// Fan-out.
    pub live_url: String,
    /// Object storage.
    pub blob_url: String,
    /// Encrypts secrets at rest.
    pub secret_key: Option<SecretKey>,
    /// The first operator's token.
    pub bootstrap_token: Option<String>,
    /// What builds may reach beside the public internet.
    pub fetch_allow: FetchAllow,
    /// Programs that may build in place of the engine's own Dockerfile frontend.
    pub syntax_allow: SyntaxAllow,
    /// Where base images are asked for first.
    pub registry_mirrors: RegistryMirrors,
    /// Who is believed beside the system's authorities.
    pub trust: Trust,
    /// Whose word about who asks is believed.
    pub trusted_proxies: TrustedProxies,
    /// Seconds between two looks at a project's refs; 0 means never.
    pub reconcile_secs: u32,
    /// Builds that a tenant's members may ask for; 0 means any number.
    pub tenant_builds_per_minute: u32,
    /// Changes that a tenant's members may ask for; 0 means any number.
    pub tenant_writes_per_minute: u32,
    /// What tenants may use.
    pub plans: Plans,
    /// Several tenants may share an engine.
    pub trust_tenants: bool,
    /// This region.
    pub region: String,
    /// Jobs at once.
    pub slots: i64,
    /// Percent of the engine's disk above which its cache is pruned.
    pub cache_high: u8,
    /// Percent of it down to which that is done.
    pub cache_low: u8,
    /// How engines are given to tenants.
    pub engine_host: EngineHost,
    /// Control plane, for builders.
    pub server_url: Option<Url>,
    /// Join token, for builders.
    pub join_token: Option<String>,
    /// Name for people, for builders.
    pub builder_name: Option<String>,
}

impl RawConfig {
    /// Collects flags, environment and file. `flags` and `environment` are (name, value) pairs; flags use
    /// the setting's key.
    pub fn collect(
        flags: &[(String, String)],
        environment: &[(String, String)],
        file: Option<&Path>,
    ) -> Result<Self, ConfigError> {
        let mut raw = Self::default();
        for setting in SETTINGS {
            if !setting.default.is_empty() {
                raw.put(setting, setting.default.to_owned(), "default".to_owned());
            }
        }
        if let Some(path) = file {
            raw.read_file(path)?;
        }
        raw.read_environment(environment)?;
        for (key, value) in flags {
            let setting = find(key).ok_or_else(|| unknown(&format!("--{key}"), key))?;
            raw.put(setting, value.clone(), format!("--{}", key.replace('_', "-")));
        }
        Ok(raw)
    }

    /// One value.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(|sourced| sourced.value.as_str()).filter(|value| !value.is_empty())
    }

    /// Every set value with its source, secrets masked, for `config check`.
    pub fn masked(&self) -> Vec<(&'static str, String, String)> {
        SETTINGS
            .iter()
            .filter_map(|setting| {
                let sourced = self.0.get(setting.key)?;
                let value =
                    if setting.secret { "(set, not shown)".to_owned() } else { without_password(&sourced.value) };
                Some((setting.key, value, sourced.source.clone()))
            })
            .collect()
    }

    fn put(&mut self, setting: &'static Setting, value: String, source: String) {
        self.0.insert(setting.key, Sourced { value, source });
    }

    fn read_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let place = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| at(&place, format!("cannot be read: {error}")))?;
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| at(&place, error.to_string()))?;
        for (key, value) in table {
            let setting = find(&key).ok_or_else(|| unknown(&place, &key))?;
            let value = match value {
                toml::Value::String(text) => text,
                toml::Value::Integer(number) => number.to_string(),
                toml::Value::Boolean(flag) => u8::from(flag).to_string(),
                toml::Value::Array(items) => joined(&place, &key, &items)?,
                toml::Value::Float(_) | toml::Value::Datetime(_) | toml::Value::Table(_) => {
                    return Err(at(&place, format!("{key} must be a text, a whole number or true/false")));
                }
            };
            self.put(setting, value, place.clone());
        }
        Ok(())
    }

    fn read_environment(&mut self, environment: &[(String, String)]) -> Result<(), ConfigError> {
        for (name, value) in environment {
            let Some(rest) = name.strip_prefix("SLIPWAY_") else { continue };
            if OTHER_VARIABLES.contains(&name.as_str()) || name.starts_with(TEST_PREFIX) {
                continue;
            }
            let key = rest.to_ascii_lowercase();
            if let Some(setting) = find(&key) {
                self.put(setting, value.clone(), name.clone());
                continue;
            }
            let setting = key.strip_suffix("_file").and_then(find).filter(|setting| setting.may_be_in_a_file());
            let setting = setting.ok_or_else(|| unknown(name, &key))?;
            let text = std::fs::read_to_string(value)
                .map_err(|error| at(name, format!("the file {value} cannot be read: {error}")))?;
            self.put(setting, text.trim().to_owned(), name.clone());
        }
        Ok(())
    }
}

impl Config {
    /// Parses every setting; the error names the setting and where it was set.
    pub fn parse(raw: &RawConfig) -> Result<Self, ConfigError> {
        let listen: SocketAddr = required(raw, "listen", "an address with a port, such as 127.0.0.1:8080")?;
        let data_dir = absolute(raw)?;
        let in_data_dir = |key: &str, default: String| raw.get(key).map_or(default, str::to_owned);
        let slots: i64 = required(raw, "slots", "a whole number")?;
        if !(0..=1000).contains(&slots) {
            return Err(wrong(raw, "slots", "a whole number from 0 to 1000"));
        }
        let [cache_high, cache_low]: [u8; 2] =
            [required(raw, "cache_high", "a percentage")?, required(raw, "cache_low", "a percentage")?];
        if cache_high > 100 {
            return Err(wrong(raw, "cache_high", "a percentage up to 100"));
        }
        if cache_low > cache_high {
            return Err(wrong(raw, "cache_low", "a percentage up to that of cache_high"));
        }
        Ok(Self {
            listen,
            agent_listen: optional(raw, "agent_listen", "an address with a port")?,
            public_url: match optional(raw, "public_url", "a URL")? {
                Some(url) => url,
                None => format!("http://{listen}").parse().map_err(|_| wrong(raw, "listen", "an address"))?,
            },
            database_url: in_data_dir("database_url", format!("sqlite://{}", data_dir.join("slipway.db").display())),
            blob_url: in_data_dir("blob_url", format!("file://{}", data_dir.join("blobs").display())),
            bus_url: in_data_dir("bus_url", "memory:".to_owned()),
            live_url: in_data_dir("live_url", "memory:".to_owned()),
            secret_key: raw
                .get("secret_key")
                .map(SecretKey::from_base64)
                .transpose()
                .map_err(|_| wrong(raw, "secret_key", "base64 of exactly 32 bytes"))?,
            bootstrap_token: raw.get("bootstrap_token").map(str::to_owned),
            fetch_allow: match raw.get("fetch_allow") {
                Some(text) => text.parse().map_err(|error| wrong(raw, "fetch_allow", &format!("{error}")))?,
                None => FetchAllow::default(),
            },
            syntax_allow: match raw.get("syntax_allow") {
                Some(text) => text.parse().map_err(|error| wrong(raw, "syntax_allow", &format!("{error}")))?,
                None => SyntaxAllow::default(),
            },
            registry_mirrors: match raw.get("registry_mirrors") {
                Some(text) => text.parse().map_err(|error| wrong(raw, "registry_mirrors", &format!("{error}")))?,
                None => RegistryMirrors::default(),
            },
            trust: match raw.get("ca_file") {
                Some(path) => {
                    Trust::read(Path::new(path)).map_err(|error| at(source(raw, "ca_file"), error.to_string()))?
                }
                None => Trust::default(),
            },
            trusted_proxies: match raw.get("trusted_proxies") {
                Some(text) => text.parse().map_err(|error| wrong(raw, "trusted_proxies", &format!("{error}")))?,
                None => TrustedProxies::default(),
            },
            reconcile_secs: required(raw, "reconcile_secs", "a whole number of seconds")?,
            tenant_builds_per_minute: required(raw, "tenant_builds_per_minute", "a whole number")?,
            tenant_writes_per_minute: required(raw, "tenant_writes_per_minute", "a whole number")?,
            plans: match raw.get("plans_file") {
                Some(path) => read_plans(path)?,
                None => Plans::default(),
            },
            trust_tenants: flag(raw, "trust_tenants")?,
            region: raw.get("region").unwrap_or("local").to_owned(),
            slots,
            cache_high,
            cache_low,
            engine_host: match raw.get("engine_host") {
                Some("shared") | None => EngineHost::Shared,
                Some(_) => return Err(wrong(raw, "engine_host", "shared (an engine per tenant is not there yet)")),
            },
            server_url: optional(raw, "server_url", "a URL such as https://slipway.example.com")?,
            join_token: raw.get("join_token").map(str::to_owned),
            builder_name: raw.get("builder_name").map(str::to_owned),
            data_dir,
        })
    }
}

fn find(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

fn at(place: &str, problem: String) -> ConfigError {
    ConfigError { place: place.to_owned(), problem }
}

fn unknown(place: &str, key: &str) -> ConfigError {
    let meant = nearest(key, &SETTINGS.iter().map(|setting| setting.key).collect::<Vec<_>>());
    let hint = meant.map_or_else(String::new, |near| format!("; did you mean {near}?"));
    at(place, format!("there is no setting {key}{hint}"))
}

/// Where a value was set.
fn source<'a>(raw: &'a RawConfig, key: &str) -> &'a str {
    raw.0.get(key).map_or("default", |sourced| sourced.source.as_str())
}

fn wrong(raw: &RawConfig, key: &'static str, wanted: &str) -> ConfigError {
    let value = match raw.0.get(key) {
        Some(_) if find(key).is_some_and(|setting| setting.secret) => "the value",
        Some(sourced) => sourced.value.as_str(),
        None => "nothing",
    };
    at(source(raw, key), format!("{key} is {value}, but must be {wanted}"))
}

fn optional<T: std::str::FromStr>(raw: &RawConfig, key: &'static str, wanted: &str) -> Result<Option<T>, ConfigError> {
    raw.get(key).map(|text| text.parse().map_err(|_| wrong(raw, key, wanted))).transpose()
}

fn required<T: std::str::FromStr>(raw: &RawConfig, key: &'static str, wanted: &str) -> Result<T, ConfigError> {
    optional(raw, key, wanted)?.ok_or_else(|| wrong(raw, key, wanted))
}

fn flag(raw: &RawConfig, key: &'static str) -> Result<bool, ConfigError> {
    match raw.get(key) {
        Some("1" | "true" | "yes") => Ok(true),
        Some("0" | "false" | "no") | None => Ok(false),
        Some(_) => Err(wrong(raw, key, "0 or 1")),
    }
}

fn read_plans(path: &str) -> Result<Plans, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|error| at(path, format!("cannot be read: {error}")))?;
    let written: BTreeMap<String, WrittenPlan> = toml::from_str(&text).map_err(|error| at(path, error.to_string()))?;
    Plans::with(written).map_err(|error| at(path, error.to_string()))
}

fn absolute(raw: &RawConfig) -> Result<PathBuf, ConfigError> {
    let text = raw.get("data_dir").unwrap_or("./slipway-data");
    std::path::absolute(text).map_err(|_| wrong(raw, "data_dir", "a folder"))
}

fn joined(place: &str, key: &str, items: &[toml::Value]) -> Result<String, ConfigError> {
    let texts: Option<Vec<&str>> = items.iter().map(toml::Value::as_str).collect();
    texts.map(|texts| texts.join(",")).ok_or_else(|| at(place, format!("{key} must be a list of texts")))
}

fn without_password(value: &str) -> String {
    match Url::parse(value) {
        Ok(mut url) if url.password().is_some() => {
            if url.set_password(Some("***")).is_err() {
                return "(set, not shown)".to_owned();
            }
            url.to_string()
        }
        Ok(_) | Err(_) => value.to_owned(),
    }
}

#[cfg(test)]
mod tests;
