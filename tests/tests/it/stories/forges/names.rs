//! Names that others choose: they are text wherever they stand, and repositories are known by their ids.

use std::fs;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use reqwest::{Method, StatusCode, Url};
use serde_json::Value;
use slipway_tests::env::repo::Move;
use slipway_tests::hooks::{self, Change, News};
use slipway_tests::world::{Forge, World};

use super::site::{QUICK, Site, commit_of};
use super::statuses;

/// Branches that git allows.
const BRANCHES: [&str; 6] =
    ["wip/ünïcode-分支-🦀", "a;reboot", "$(touch${IFS}pwned)", "-rf", "<b>bold</b>", "'quoted\"&amp;"];

/// Branches that git does not allow; nobody says that a forge's word is git's.
const NO_BRANCHES: [&str; 4] = ["with spaces", "up/../up", "line\nbreak", "ends.lock"];

/// Dangerous as HTML.
const HTML: &str = "<img src=x onerror=alert(1)>";

/// The page shows the text and has no such element.
fn is_text(page: &str, dangerous: &str) -> Result<()> {
    ensure!(!page.contains(dangerous), "{dangerous} is HTML on the page");
    let inner: String = dangerous.trim_start_matches('<').chars().take_while(|c| *c != '>').collect();
    let escaped = ["&lt;", "&#60;", "&#x3c;"].iter().any(|less| page.contains(&format!("{less}{inner}")));
    ensure!(escaped, "{dangerous} is not on the page:\n{page}");
    Ok(())
}

pub async fn of_branches(world: Arc<World>, kind: Forge) -> Result<()> {
    let site = Site::new(&world, kind, "branches").await?;
    let first = site.commit(QUICK)?;
    for branch in BRANCHES {
        let moved = Move { message: HTML.to_owned(), ..site.repo.force_push(branch, commit_of(&first)?)? };
        let build = site.build_of(&site.push(&moved)).await.context(branch)?;
        assert_eq!(build.git_ref.as_deref(), Some(moved.git_ref.as_str()));
        site.succeeds(&build).await.context(branch)?;
        let page = site.page(&format!("/builds/{}", build.id)).await?;
        is_text(&page, HTML)?;
        if branch.starts_with('<') {
            is_text(&page, branch)?;
            let deleted = site.repo.delete(&moved.git_ref)?;
            site.ignored(&site.push(&deleted), &format!("branch \"{branch}\" was deleted")).await?;
            is_text(&site.page("/deliveries").await?, branch)?;
        }
    }
    for branch in NO_BRANCHES {
        let moved = Move { git_ref: format!("refs/heads/{branch}"), ..first.clone() };
        let stored = site.tell(&site.push(&moved), StatusCode::ACCEPTED).await?;
        ensure!(stored.state == "ignored" && stored.reason.is_some() && stored.builds.is_empty(), "{stored:?}");
    }
    let tags = site.tags().await?;
    let safe = |tag: &String| tag.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    ensure!(tags.len() > BRANCHES.len() && tags.iter().all(safe), "{tags:?}");
    site.check()
}

pub async fn of_changes(world: Arc<World>, kind: Forge) -> Result<()> {
    let site = Site::new(&world, kind, "words").await?;
    site.commit(QUICK)?;
    let source = "<u>me</u>;$(id)";
    let made = site.commit(QUICK)?;
    site.repo.force_push(source, commit_of(&made)?)?;
    site.show_head(12, commit_of(&made)?)?;
    let author = "<script>steal()</script>";
    let change = Change { source, title: HTML, author, ..Change::new(12, News::Opened, commit_of(&made)?) };
    let build = site.build_of(&site.change(&change)).await?;
    site.succeeds(&build).await?;
    let page = site.page(&format!("/builds/{}", build.id)).await?;
    is_text(&page, HTML)?;
    is_text(&page, author)?;
    ensure!(!page.contains("<u>me"), "the branch is HTML on the page");
    site.check()
}

pub async fn of_a_renamed_repository(world: Arc<World>, kind: Forge) -> Result<()> {
    let site = Site::new(&world, kind, "before-the-move").await?;
    let before = site.build_of(&site.push(&site.commit(QUICK)?)).await?;
    site.succeeds(&before).await?;
    statuses::show_success(&site, &before).await?;
    let moved = site.commit("FROM base\nRUN make somewhere else\n")?;

    let new_path = site.repo.full_path().replace("before-the-move", "after-it");
    let bare = site.repo.bare().with_file_name("after-it.git");
    fs::rename(site.repo.bare(), &bare)?;
    site.forge.rename(&new_path, bare);
    let told = String::from_utf8(site.push(&moved).body)?.replace("before-the-move", "after-it");
    let delivery = hooks::with_body(kind, &site.push(&moved), told.into_bytes(), site.secret());
    let build = site.build_of(&delivery).await?;
    // Only the new place has it.
    let build = site.succeeds(&build).await?;
    assert_eq!(build.commit, commit_of(&moved)?);

    let path = format!("/api/v1/projects/{}", site.project.id);
    let project: Value = site.api().expect(Method::GET, &path, None).await?;
    assert_eq!(project["repo"]["full_path"], new_path);
    let clone_url: Url = project["repo"]["clone_url"].as_str().context("a clone URL")?.parse()?;
    let old: Url = site.repo.clone_url().parse()?;
    assert_eq!((clone_url.origin(), clone_url.path()), (old.origin(), format!("/{new_path}.git").as_str()));
    statuses::show_success(&site, &build).await?;
    site.check()
}
