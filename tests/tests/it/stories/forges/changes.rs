//! Pull and merge requests: of the repository's own branches, of strangers, and of people who may push.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::Value;
use slipway_tests::api::Build;
use slipway_tests::hooks::{Change, News};
use slipway_tests::world::{Forge, World};

use super::super::builds::BUILD;
use super::site::{ENDLESS, QUICK, Site, commit_of};

pub async fn of_a_branch(world: Arc<World>, kind: Forge) -> Result<()> {
    let site = Site::new(&world, kind, "change").await?;
    site.commit(QUICK)?;
    site.repo.switch("feature")?;
    let opened = site.commit("FROM base\nRUN make a feature\n")?;
    site.show_head(7, commit_of(&opened)?)?;
    let delivery = site.change(&Change::new(7, News::Opened, commit_of(&opened)?));
    let build = site.build_of(&delivery).await?;
    assert_eq!((build.trigger.as_str(), build.commit.as_str()), ("change", commit_of(&opened)?));
    reaches_nothing(&site, &build).await?;

    let updated = site.commit("FROM base\nRUN make it better\n")?;
    site.show_head(7, commit_of(&updated)?)?;
    let build = site.build_of(&site.change(&Change::new(7, News::Updated, commit_of(&updated)?))).await?;
    assert_eq!(build.commit, commit_of(&updated)?);
    reaches_nothing(&site, &build).await?;
    site.ignored(&site.change(&Change::new(7, News::Merged, commit_of(&updated)?)), "7 was merged").await?;
    assert_eq!(site.count().await?, 2);
    site.check()
}

/// A build that succeeds and pushes no image.
async fn reaches_nothing(site: &Site, build: &Build) -> Result<()> {
    let build = site.succeeds(build).await?;
    let job = build.jobs.first().context("a job")?;
    let log = site.api().log(&job.id).await?;
    ensure!(job.images.is_empty() && log.contains("so nothing is pushed"), "{job:?}\n{log}");
    assert_eq!(site.tags().await?, Vec::<String>::new());
    Ok(())
}

pub async fn of_a_stranger(world: Arc<World>, kind: Forge) -> Result<()> {
    let site = Site::new(&world, kind, "stranger").await?;
    site.commit(QUICK)?;
    let head = site.propose(8, &[("Dockerfile", "FROM base\nRUN make trouble\n")])?;
    let opened = site.change(&Change::new(8, News::Opened, &head).of_fork());
    if kind.change_ref(8).is_none() {
        return nobody_keeps_it(&site, &opened).await;
    }
    let build = site.build_of(&opened).await?;
    assert_eq!((build.state.as_str(), build.jobs[0].state.as_str()), ("pending", "blocked"));
    let asked_for_rights = ["permission", "users", "members"];
    let asked = site.forge.asked();
    ensure!(asked.iter().any(|line| asked_for_rights.iter().any(|part| line.contains(part))), "{asked:?}");

    let path = format!("/api/v1/builds/{}/approve", build.id);
    let _: Value = site.api().expect(Method::POST, &path, None).await?;
    reaches_nothing(&site, &build).await?;
    assert_eq!(site.count().await?, 1);
    site.check()
}

/// On a forge that keeps no ref of changes, a stranger's commit cannot be had from the repository itself.
async fn nobody_keeps_it(site: &Site, opened: &slipway_tests::hooks::Delivery) -> Result<()> {
    site.ignored(opened, "keeps no ref of pull request 8, which comes from another repository").await?;
    assert_eq!(site.count().await?, 0);
    site.check()
}

pub async fn of_a_writer(world: Arc<World>, kind: Forge) -> Result<()> {
    // The others show no rights of a person, or only a name that anybody can take, or keep no ref.
    if kind.change_ref(9).is_none() {
        return Ok(());
    }
    let site = Site::new(&world, kind, "writer").await?;
    site.forge.add_writer("grace");
    site.commit(QUICK)?;
    let head = site.propose(9, &[("Dockerfile", "FROM base\nRUN make sense\n")])?;
    let by = |author| Change { author, ..Change::new(9, News::Opened, &head).of_fork() };
    let build = site.build_of(&site.change(&by("grace"))).await?;
    reaches_nothing(&site, &build).await?;
    // Whose name only looks like it may not.
    let build = site.build_of(&site.change(&Change { news: News::Updated, ..by("grac") })).await?;
    assert_eq!(build.jobs[0].state, "blocked");
    site.check()
}

pub async fn that_is_closed(world: Arc<World>, kind: Forge) -> Result<()> {
    let site = Site::new(&world, kind, "closed").await?;
    site.commit(QUICK)?;
    if kind.change_ref(10).is_some() {
        let head = site.propose(10, &[("Dockerfile", QUICK)])?;
        let news = |news| site.change(&Change::new(10, news, &head).of_fork());
        let waiting = site.build_of(&news(News::Opened)).await?;
        assert_eq!(waiting.jobs[0].state, "blocked");
        site.ignored(&news(News::Closed), "pull request 10 was closed; its build was stopped").await?;
        assert_eq!(site.api().build(&waiting.id).await?.state, "cancelled");
        let path = format!("/api/v1/builds/{}/approve", waiting.id);
        let (late, _) = site.api().call(Method::POST, &path, None).await?;
        assert_eq!(late.as_u16(), 409, "it is over");
    }
    site.repo.switch("feature")?;
    let opened = site.commit(ENDLESS)?;
    site.show_head(11, commit_of(&opened)?)?;
    let news = |news| site.change(&Change::new(11, news, commit_of(&opened).unwrap_or_default()));
    let running = site.build_of(&news(News::Opened)).await?;
    site.runs(&running).await?;
    site.ignored(&news(News::Closed), "pull request 11 was closed; its build was stopped").await?;
    assert_eq!(site.api().finished_build(&running.id, BUILD).await?.state, "cancelled");
    site.ignored(&news(News::Merged), "pull request 11 was merged; the push of its target is built").await?;
    site.check()
}
