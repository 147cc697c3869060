//! A project's rules where the forge has a say in them.

use std::sync::Arc;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use slipway_tests::hooks::{Change, News, github};
use slipway_tests::world::{Forge, World};

use super::super::builds::BUILD;
use super::site::{ENDLESS, QUICK, Site, commit_of};

/// What a rule for files says.
const OTHER_FILES: &str = "the project's rules leave out the files that it changes";

pub async fn of_files(world: Arc<World>, kind: Forge) -> Result<()> {
    let site = Site::with_rules(&world, kind, "files", json!({ "paths": ["src/**", "Dockerfile"] })).await?;
    let first = site.build_of(&site.push(&site.commit(QUICK)?)).await?;
    site.succeeds(&first).await?;
    let docs =
        |n: u32| site.repo.commit("Write", &[("docs/a.md", &format!("{n}\n")), ("docs/b.md", &format!("{n}\n"))]);
    site.ignored(&site.push(&docs(1)?), OTHER_FILES).await?;
    let asked = site.forge.asked();
    let compares = ["compare", "diffstat", "/changes"];
    // CODING cannot be asked; git says it.
    let is_asked = asked.iter().any(|line| compares.iter().any(|word| line.contains(word)));
    ensure!(is_asked || kind == Forge::Coding, "{asked:?}");
    site.build_of(&site.push(&site.repo.commit("Code", &[("src/main.rs", "fn main() {}\n")])?)).await?;
    // A list that was cut short proves nothing, and git is asked.
    site.forge.cut_lists();
    site.ignored(&site.push(&docs(2)?), OTHER_FILES).await?;
    let both = site.repo.commit("Both", &[("docs/a.md", "3\n"), ("src/main.rs", "fn main() { }\n")])?;
    site.build_of(&site.push(&both)).await?;

    site.repo.switch("feature")?;
    let proposed = docs(4)?;
    site.show_head(13, commit_of(&proposed)?)?;
    let opened = site.change(&Change::new(13, News::Opened, commit_of(&proposed)?));
    site.ignored(&opened, OTHER_FILES).await?;
    assert_eq!(site.count().await?, 3);
    site.check()
}

pub async fn of_drafts(world: Arc<World>, kind: Forge) -> Result<()> {
    let site = Site::with_rules(&world, kind, "drafts", json!({ "drafts": false })).await?;
    site.commit(QUICK)?;
    site.repo.switch("feature")?;
    let head = site.commit("FROM base\nRUN make a draft\n")?;
    site.show_head(14, commit_of(&head)?)?;
    let draft = Change { draft: true, ..Change::new(14, News::Opened, commit_of(&head)?) };
    // CODING has no drafts.
    if kind != Forge::Coding {
        site.ignored(&site.change(&draft), "the project's rules leave out drafts").await?;
    }
    site.build_of(&site.change(&Change { draft: false, news: News::Updated, ..draft })).await?;
    assert_eq!(site.count().await?, 1);
    site.check()
}

pub async fn of_one_build_per_commit(world: Arc<World>, kind: Forge) -> Result<()> {
    let site = Site::with_rules(&world, kind, "once", json!({ "once_per_commit": true })).await?;
    site.commit(QUICK)?;
    site.repo.switch("feature")?;
    let head = site.commit("FROM base\nRUN make once\n")?;
    site.show_head(15, commit_of(&head)?)?;
    site.build_of(&site.push(&head)).await?;
    let opened = site.change(&Change::new(15, News::Opened, commit_of(&head)?));
    site.ignored(&opened, "the push of feature builds this commit").await?;
    assert_eq!(site.count().await?, 1);
    site.check()
}

pub async fn of_newer_builds(world: Arc<World>, kind: Forge) -> Result<()> {
    let site = Site::with_rules(&world, kind, "newer", json!({ "supersede": "running" })).await?;
    let old = site.build_of(&site.push(&site.commit(ENDLESS)?)).await?;
    site.runs(&old).await?;
    let new = site.build_of(&site.push(&site.commit(QUICK)?)).await?;
    assert_eq!(site.api().finished_build(&old.id, BUILD).await?.state, "superseded");
    site.succeeds(&new).await?;

    site.repo.switch("feature")?;
    let opened = site.commit(ENDLESS)?;
    site.show_head(16, commit_of(&opened)?)?;
    let old = site.build_of(&site.change(&Change::new(16, News::Opened, commit_of(&opened)?))).await?;
    site.runs(&old).await?;
    let updated = site.commit(QUICK)?;
    site.show_head(16, commit_of(&updated)?)?;
    let new = site.build_of(&site.change(&Change::new(16, News::Updated, commit_of(&updated)?))).await?;
    assert_eq!(site.api().finished_build(&old.id, BUILD).await?.state, "superseded");
    site.succeeds(&new).await?;
    site.check()
}

/// GitHub's button beside a check.
pub async fn runs_again(world: Arc<World>) -> Result<()> {
    let site = Site::new(&world, Forge::Github, "again").await?;
    let moved = site.commit(QUICK)?;
    let first = site.build_of(&site.push(&moved)).await?;
    let first = site.succeeds(&first).await?;
    let pressed = github::rerequested(&site.repo, commit_of(&moved)?, site.secret());
    let again = site.build_of(&pressed).await?;
    let shown: Value = site.api().expect(reqwest::Method::GET, &format!("/api/v1/builds/{}", again.id), None).await?;
    assert_eq!((shown["rerun_of"].as_str(), again.trigger.as_str()), (Some(first.id.as_str()), "rerun"));
    assert_eq!((again.commit.as_str(), again.git_ref.as_deref()), (first.commit.as_str(), first.git_ref.as_deref()));
    site.succeeds(&again).await?;
    let unknown = github::rerequested(&site.repo, &"8".repeat(40), site.secret());
    site.ignored(&unknown, "no build of").await?;
    assert_eq!(site.count().await?, 2);
    site.check()
}
