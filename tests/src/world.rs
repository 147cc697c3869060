//! The world of one story: a Slipway of its own, a forge's repositories, and the run's shared engine and
//! registries.

use std::path::Path;

use anyhow::{Result, bail};
use serde_json::{Value, json};
use slipway_runtime::ids::random_bytes;

use crate::api::{Api, Project};
use crate::env::disk::Disk;
use crate::env::engine::Engine;
use crate::env::git_server::GitServer;
use crate::env::postgres::fresh_database;
use crate::env::registry::RegistryClient;
use crate::env::repo::Repo;
use crate::env::services::{ENGINE, POSTGRES, REGISTRY, is_required, shared};
use crate::env::slipway::{Settings, Slipway};
use crate::scripted_engine::ScriptedEngine;

/// Where a story's Slipway keeps its truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Database {
    /// A file in its data folder.
    Sqlite,
    /// A fresh database of the run's server.
    Postgres,
}

/// Which forge a story's project lives on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forge {
    Github,
    Gitlab,
    Bitbucket,
    BitbucketDc,
    Gitea,
    Gitee,
    Coding,
}

impl Forge {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Github, Self::Gitlab, Self::Bitbucket, Self::BitbucketDc, Self::Gitea, Self::Gitee, Self::Coding];

    /// Its word in requests.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Github => "github",
            Self::Gitlab => "gitlab",
            Self::Bitbucket => "bitbucket",
            Self::BitbucketDc => "bitbucket_dc",
            Self::Gitea => "gitea",
            Self::Gitee => "gitee",
            Self::Coding => "coding",
        }
    }

    /// Where the repository that a change goes to keeps its head, if the forge has such a ref.
    pub fn change_ref(self, number: u64) -> Option<String> {
        match self {
            Self::Github | Self::Gitea | Self::Gitee => Some(format!("refs/pull/{number}/head")),
            Self::Gitlab => Some(format!("refs/merge-requests/{number}/head")),
            Self::BitbucketDc => Some(format!("refs/pull-requests/{number}/from")),
            Self::Bitbucket | Self::Coding => None,
        }
    }
}

/// Everything a story needs, started.
#[derive(Debug)]
pub struct World {
    pub slipway: Slipway,
    pub git: GitServer,
    /// `host:port` of the open registry.
    pub registry: String,
    /// Address of the engine.
    pub engine: String,
    /// Ten random digits, so that stories do not meet in the shared registry.
    pub name: String,
}

impl World {
    /// Starts a story's world. `None`, said loudly, when a component is missing and the run allows it.
    pub async fn start(database: Database) -> Result<Option<Self>> {
        Self::start_with(database, Vec::new()).await
    }

    /// The same with more variables for `slipway serve`.
    pub async fn start_with(database: Database, variables: Vec<(String, String)>) -> Result<Option<Self>> {
        Self::start_as(database, Settings { variables, ..Settings::default() }).await
    }

    /// On SQLite, with a folder of the data folder (or all of it: an empty path) on a disk that can be full.
    pub async fn start_on_small_disk(folder: &str) -> Result<Option<Self>> {
        if let Some(missing) = Disk::missing() {
            if is_required() {
                bail!(missing);
            }
            eprintln!("SKIPPED: {missing}");
            return Ok(None);
        }
        let small_disk = Some(Path::new(folder).to_owned());
        Self::start_as(Database::Sqlite, Settings { small_disk, ..Settings::default() }).await
    }

    /// On SQLite, with another engine than the run's.
    pub async fn start_on(engine: &Engine) -> Result<Option<Self>> {
        Self::start_as(Database::Sqlite, Settings { engine: engine.host(), ..Settings::default() }).await
    }

    /// On a scripted engine, which makes images at once; with more variables for `slipway serve`.
    pub async fn start_scripted(
        engine: &ScriptedEngine,
        database: Database,
        variables: Vec<(String, String)>,
    ) -> Result<Option<Self>> {
        Self::start_as(database, Settings { engine: engine.host(), variables, ..Settings::default() }).await
    }

    async fn start_as(database: Database, settings: Settings) -> Result<Option<Self>> {
        let engine = if settings.engine.is_empty() { shared(ENGINE)? } else { Some(settings.engine.clone()) };
        let (Some(engine), Some(registry)) = (engine, shared(REGISTRY)?) else { return Ok(None) };
        let database_url = match database {
            Database::Sqlite => None,
            Database::Postgres => match shared(POSTGRES)? {
                Some(url) => Some(fresh_database(&url).await?),
                None => return Ok(None),
            },
        };
        let git = GitServer::start().await?;
        let slipway = Slipway::start(Settings { database_url, engine: engine.clone(), ..settings }).await?;
        Ok(Some(Self { slipway, git, registry, engine, name: hex::encode(random_bytes::<5>()) }))
    }

    /// A client with the bootstrap token.
    pub fn api(&self) -> Api {
        self.slipway.api()
    }

    /// A client of the open registry.
    pub fn registry(&self) -> RegistryClient {
        RegistryClient::new(&self.registry, None)
    }

    /// The image path of this story in every registry.
    pub fn image_path(&self) -> String {
        format!("stories/{}", self.name)
    }

    /// The image of this story in the open registry, without a tag.
    pub fn image(&self) -> String {
        format!("{}/{}", self.registry, self.image_path())
    }

    /// The request that makes this repository a project that pushes to [`World::image`].
    pub fn project_body(&self, forge: Forge, repo: &Repo) -> Value {
        json!({
            "name": repo.full_path(),
            "forge": { "kind": forge.kind() },
            "repo": { "full_path": repo.full_path(), "clone_url": repo.clone_url() },
            "image": { "repository": self.image() },
        })
    }

    /// Makes this repository a project that pushes to [`World::image`].
    pub async fn project(&self, forge: Forge, repo: &Repo) -> Result<Project> {
        self.api().create_project(&self.project_body(forge, repo)).await
    }
}
