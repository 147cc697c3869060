//! The arrows between the rooms, read from the manifests: app -> services -> libs -> runtime -> domain, and
//! what must never be in the graph.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// The rooms by what they are. Whoever adds a crate says here what it is.
const ROOMS: [(&str, Room); 19] = [
    ("slipway", Room::App),
    ("slipway-api", Room::Service),
    ("slipway-scheduler", Room::Service),
    ("slipway-dispatcher", Room::Service),
    ("slipway-builder", Room::Service),
    ("slipway-logsvc", Room::Service),
    ("slipway-store", Room::Lib),
    ("slipway-forges", Room::Lib),
    ("slipway-git", Room::Lib),
    ("slipway-logfmt", Room::Lib),
    ("slipway-buildkit", Room::Lib),
    ("slipway-bus", Room::Lib),
    ("slipway-live", Room::Lib),
    ("slipway-blobs", Room::Lib),
    ("slipway-registry", Room::Lib),
    ("slipway-runtime", Room::Runtime),
    ("slipway-domain", Room::Domain),
    ("slipway-tests", Room::Tests),
    ("slipway-fuzz", Room::Tests),
];

/// What a builder must not even be able to hold: it runs strangers' code.
const NEVER_IN_BUILDER: [&str; 3] = ["slipway-store", "slipway-live", "slipway-blobs"];

/// What domain may stand on: nothing that does IO.
const DOMAIN_STANDS_ON: [&str; 8] =
    ["chrono", "globset", "regex", "serde", "serde_json", "serde-saphyr", "thiserror", "uuid"];

/// TLS is rustls with aws-lc-rs; a second implementation would be a second thing to trust.
const NEVER_IN_GRAPH: [&str; 4] = ["ring", "openssl", "openssl-sys", "native-tls"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    Tests,
    App,
    Service,
    Lib,
    Runtime,
    Domain,
}

impl Room {
    /// Whether a crate of this room may depend on one of that room.
    fn may_use(self, other: Room) -> bool {
        match self {
            Self::Tests => other != Self::Tests,
            Self::App => matches!(other, Self::Service | Self::Lib | Self::Runtime | Self::Domain),
            Self::Service => matches!(other, Self::Lib | Self::Runtime | Self::Domain),
            Self::Lib => matches!(other, Self::Runtime | Self::Domain),
            Self::Runtime => other == Self::Domain,
            Self::Domain => false,
        }
    }
}

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
    optional: bool,
    features: Vec<String>,
}

impl Dependency {
    fn is_dev(&self) -> bool {
        self.kind.as_deref() == Some("dev")
    }
}

fn cargo(arguments: &[&str]) -> Result<String> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo).current_dir(workspace).args(arguments).output().context("running cargo")?;
    ensure!(output.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

fn packages() -> Result<Vec<Package>> {
    let text = cargo(&["metadata", "--format-version", "1", "--no-deps", "--offline"])?;
    Ok(serde_json::from_str::<Metadata>(&text)?.packages)
}

fn room(name: &str) -> Option<Room> {
    ROOMS.iter().find(|(room, _)| *room == name).map(|(_, room)| *room)
}

#[test]
fn arrows_point_towards_domain() -> Result<()> {
    for package in packages()? {
        let from = room(&package.name).with_context(|| format!("{} has no room in this table", package.name))?;
        for dependency in package.dependencies {
            if let Some(to) = room(&dependency.name) {
                assert!(from.may_use(to), "{} ({from:?}) must not use {} ({to:?})", package.name, dependency.name);
            }
        }
    }
    Ok(())
}

#[test]
fn a_builder_cannot_reach_database_wakes_or_storage() -> Result<()> {
    let packages = packages()?;
    let uses: BTreeMap<&str, Vec<&str>> = packages
        .iter()
        .map(|package| (package.name.as_str(), package.dependencies.iter().map(|d| d.name.as_str()).collect()))
        .collect();
    let mut reached = BTreeSet::new();
    let mut open = vec!["slipway-builder"];
    while let Some(name) = open.pop() {
        if reached.insert(name) {
            open.extend(uses.get(name).into_iter().flatten());
        }
    }
    assert!(reached.contains("slipway-domain"), "the walk over the manifests found nothing");
    for never in NEVER_IN_BUILDER {
        assert!(!reached.contains(never), "builder reaches {never}");
    }
    Ok(())
}

#[test]
fn domain_does_no_io_and_only_store_speaks_sql() -> Result<()> {
    for package in packages()? {
        let shipped = package.dependencies.iter().filter(|dependency| !dependency.is_dev());
        for dependency in shipped {
            let name = dependency.name.as_str();
            if package.name == "slipway-domain" {
                let is_column_types = name == "sqlx" && dependency.optional;
                assert!(is_column_types || DOMAIN_STANDS_ON.contains(&name), "domain must not use {name}");
            } else if name == "sqlx" {
                assert!(
                    ["slipway-store", "slipway-tests"].contains(&package.name.as_str()),
                    "{} uses sqlx",
                    package.name
                );
            }
            let turns_on_sql = name == "slipway-domain" && dependency.features.iter().any(|feature| feature == "sqlx");
            assert!(!turns_on_sql || package.name == "slipway-store", "{} turns on domain's sqlx", package.name);
        }
    }
    Ok(())
}

#[test]
fn one_tls_in_the_whole_graph() -> Result<()> {
    // `cargo metadata` also lists what no feature turns on; the tree is what is compiled.
    let tree = cargo(&["tree", "--workspace", "--offline", "--edges", "all", "--prefix", "none", "--format", "{p}"])?;
    let names: BTreeSet<_> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(names.contains("aws-lc-rs"), "the tree looks wrong: {} names", names.len());
    for never in NEVER_IN_GRAPH {
        assert!(!names.contains(never), "{never} is in the graph; see `cargo tree -i {never}`");
    }
    Ok(())
}

#[test]
fn every_metric_stands_in_the_list_and_the_list_names_no_other() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let text = std::fs::read_to_string(root.join("ARCHITECTURE.md"))?;
    let section = text.split("\n## ").find(|section| section.starts_with("Metrics\n")).context("section Metrics")?;
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let listed: BTreeSet<String> = rows.map(str::to_owned).collect();
    let mut used = BTreeSet::new();
    for room in ["api", "app", "builder", "dispatcher", "libs", "logsvc", "scheduler"] {
        metrics_under(&root.join(room), &mut used)?;
    }
    assert!(used.len() > 3, "the walk over the sources found too little: {used:?}");
    assert_eq!(used, listed, "left: in the sources, right: in ARCHITECTURE.md");
    Ok(())
}

/// The names given to the macros that make metrics.
fn metrics_under(folder: &Path, names: &mut BTreeSet<String>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            metrics_under(&path, names)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path)?;
            for kind in ["counter!(", "gauge!(", "histogram!("] {
                let after = text.split(kind).skip(1).filter_map(|rest| rest.trim_start().strip_prefix('"'));
                names.extend(after.filter_map(|rest| rest.split('"').next()).map(str::to_owned));
            }
        }
    }
    Ok(())
}
