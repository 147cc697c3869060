//! A repository on a forge, and its project with us.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use slipway_tests::api::{Api, Build, Project, StoredDelivery};
use slipway_tests::env::repo::{Move, Repo, git};
use slipway_tests::fake_forge::{FakeForge, TOKEN};
use slipway_tests::hooks::{self, Change, Delivery};
use slipway_tests::world::{Forge, World};

use super::super::builds::{BUILD, image_path, new_project};

/// How long intake may take; a forge may be asked several questions.
const WORKED: Duration = Duration::from_secs(40);

/// Built at once.
pub const QUICK: &str = "FROM base\nRUN make\n";

/// Goes on until it is stopped.
pub const ENDLESS: &str = "FROM base\n# script: sleep 3600s\nRUN make\n";

/// Both ends, and the story's world.
pub struct Site {
    pub world: Arc<World>,
    pub kind: Forge,
    pub forge: FakeForge,
    pub repo: Repo,
    pub project: Project,
    name: String,
}

impl Site {
    /// An empty repository, a connection with a token, and a project.
    pub async fn new(world: &Arc<World>, kind: Forge, name: &str) -> Result<Self> {
        Self::with_rules(world, kind, name, json!({})).await
    }

    /// The same with rules.
    pub async fn with_rules(world: &Arc<World>, kind: Forge, name: &str, rules: Value) -> Result<Self> {
        // A path on CODING has three parts.
        let name = if kind == Forge::Coding { format!("tools/{name}") } else { name.to_owned() };
        let forge = FakeForge::start(kind, &format!("{}/{name}", world.name)).await?;
        let connection = json!({ "kind": kind.kind(), "base_url": forge.base_url(), "token": TOKEN });
        let made: Value = world.api().expect(Method::POST, "/api/v1/connections", Some(&connection)).await?;
        let changes = json!({ "connection": made["id"], "forge": null, "rules": rules });
        let (repo, project) = new_project(world, &name, changes).await?;
        forge.holds(&repo);
        Ok(Self { world: Arc::clone(world), kind, forge, repo, project, name })
    }

    pub fn api(&self) -> Api {
        self.world.api()
    }

    pub fn secret(&self) -> &str {
        &self.project.hook.secret
    }

    /// The delivery of a move.
    pub fn push(&self, moved: &Move) -> Delivery {
        hooks::push(self.kind, &self.repo, moved, self.secret())
    }

    /// The delivery of news of a change.
    pub fn change(&self, change: &Change<'_>) -> Delivery {
        hooks::change(self.kind, &self.repo, change, self.secret())
    }

    /// Commits a Dockerfile on the current branch.
    pub fn commit(&self, dockerfile: &str) -> Result<Move> {
        self.repo.commit("Change the image", &[("Dockerfile", dockerfile)])
    }

    /// Sends a delivery that is answered with this status; what is stored of it, worked.
    pub async fn tell(&self, delivery: &Delivery, expected: StatusCode) -> Result<StoredDelivery> {
        let (status, answer) = self.api().deliver(&self.project.hook.url, delivery).await?;
        ensure!(status == expected, "{status}: {answer}");
        let id = answer["delivery"].as_str().context("the delivery's id")?;
        self.api().worked_delivery(id, WORKED).await
    }

    /// Tells of what must make a build, and one only.
    pub async fn build_of(&self, delivery: &Delivery) -> Result<Build> {
        let stored = self.tell(delivery, StatusCode::ACCEPTED).await?;
        ensure!((stored.state.as_str(), stored.builds.len()) == ("done", 1), "{stored:?}");
        self.api().build(&stored.builds[0]).await
    }

    /// Tells of what must make none, for a reason in these words.
    pub async fn ignored(&self, delivery: &Delivery, words: &str) -> Result<()> {
        let stored = self.tell(delivery, StatusCode::ACCEPTED).await?;
        ensure!((stored.state.as_str(), stored.builds.len()) == ("ignored", 0), "{words}: {stored:?}");
        ensure!(stored.reason.as_deref().is_some_and(|reason| reason.contains(words)), "{words}: {stored:?}");
        Ok(())
    }

    /// The build's end, which must be a success.
    pub async fn succeeds(&self, build: &Build) -> Result<Build> {
        let build = self.api().finished_build(&build.id, BUILD).await?;
        ensure!(build.state == "succeeded", "{build:?}");
        Ok(build)
    }

    /// Waits until a build runs.
    pub async fn runs(&self, build: &Build) -> Result<()> {
        self.api().build_when(&build.id, BUILD, |build| build.state == "running").await.map(drop)
    }

    /// How many builds the project has.
    pub async fn count(&self) -> Result<usize> {
        Ok(self.api().builds(&self.project.id).await?.len())
    }

    /// The digest under a tag of the project's image.
    pub async fn digest(&self, tag: &str) -> Result<Option<String>> {
        self.world.registry().digest(&image_path(&self.world, &self.name), tag).await
    }

    /// What the images of the project are tagged with.
    pub async fn tags(&self) -> Result<Vec<String>> {
        self.world.registry().tags(&image_path(&self.world, &self.name)).await
    }

    /// Puts a commit of these files where the forge keeps the head of a change, and nowhere else; the commit.
    pub fn propose(&self, number: u64, files: &[(&str, &str)]) -> Result<String> {
        let work = self.repo.work();
        git(work, &["checkout", "--quiet", "--detach"])?;
        for (path, text) in files {
            std::fs::write(work.join(path), text)?;
        }
        git(work, &["add", "--all"])?;
        git(work, &["commit", "--quiet", "--allow-empty", "--message", "Propose it"])?;
        let head = self.repo.resolve("HEAD")?;
        // Where a forge keeps no such ref, the commit is in the stranger's repository alone.
        self.show_head(number, &head)?;
        Ok(head)
    }

    /// The forge notes the head of a change.
    pub fn show_head(&self, number: u64, head: &str) -> Result<()> {
        let Some(kept) = self.kind.change_ref(number) else { return Ok(()) };
        git(self.repo.work(), &["push", "--quiet", "--force", "origin", &format!("{head}:{kept}")]).map(drop)
    }

    /// A page as a member sees it.
    pub async fn page(&self, path: &str) -> Result<String> {
        let (status, page) = self.api().call(Method::GET, path, None).await?;
        ensure!(status == StatusCode::OK, "{status}: {page}");
        Ok(page.as_str().context("a page")?.to_owned())
    }

    /// The forge was asked and told nothing that it does not know.
    pub fn check(&self) -> Result<()> {
        ensure!(self.forge.wrong().is_empty(), "{:?}", self.forge.wrong());
        Ok(())
    }
}

/// The only commit of a move that has one.
pub fn commit_of(moved: &Move) -> Result<&str> {
    moved.commit.as_deref().context("a commit")
}
