//! What the forge shows beside a commit.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::Value;
use slipway_tests::api::Build;
use slipway_tests::fake_forge::{Answer, Told};
use slipway_tests::wait::eventually;
use slipway_tests::world::{Forge, World};

use super::super::builds::BUILD;
use super::site::{ENDLESS, QUICK, Site};

/// How long the forge may wait for what it is due.
const TELLS: Duration = Duration::from_secs(40);

/// A forge's words for a build's states.
struct Words {
    pending: &'static str,
    /// Where that is another word.
    running: Option<&'static str>,
    succeeded: &'static str,
    failed: &'static str,
    cancelled: &'static str,
}

impl Words {
    fn of(kind: Forge) -> Self {
        let (pending, running, succeeded, failed, cancelled) = match kind {
            Forge::Github => ("pending", None, "success", "failure", "error"),
            Forge::Gitlab => ("pending", Some("running"), "success", "failed", "canceled"),
            Forge::Bitbucket => ("INPROGRESS", None, "SUCCESSFUL", "FAILED", "STOPPED"),
            Forge::BitbucketDc => ("INPROGRESS", None, "SUCCESSFUL", "FAILED", "FAILED"),
            Forge::Gitea => ("pending", None, "success", "failure", "failure"),
            Forge::Gitee => ("queued", Some("in_progress"), "success", "failure", "cancelled"),
            Forge::Coding => {
                ("COMMIT_STATE_PENDING", None, "COMMIT_STATE_SUCCESS", "COMMIT_STATE_ERROR", "COMMIT_STATE_ERROR")
            }
        };
        Self { pending, running, succeeded, failed, cancelled }
    }

    /// Later states have higher numbers.
    fn rank(&self, state: &str) -> u8 {
        if state == self.pending { 0 } else { 1 + u8::from(Some(state) != self.running) }
    }
}

/// What was told of a commit.
fn of(told: &[Told], build: &Build) -> Vec<Told> {
    told.iter().filter(|told| told.commit == build.commit).cloned().collect()
}

/// Waits until the forge shows that a build succeeded.
pub async fn show_success(site: &Site, build: &Build) -> Result<()> {
    until(site, build, Words::of(site.kind).succeeded).await.map(drop)
}

/// Waits until this is the last word beside the build's commit; all of them, in order.
async fn until(site: &Site, build: &Build, word: &str) -> Result<Vec<Told>> {
    let is_last = |told: &[Told]| of(told, build).last().is_some_and(|told| told.state == word);
    Ok(of(&site.forge.told_when(TELLS, is_last).await?, build))
}

pub async fn are_shown(world: Arc<World>, kind: Forge) -> Result<()> {
    let site = Site::new(&world, kind, "shown").await?;
    let words = Words::of(kind);
    for (dockerfile, last) in [
        (QUICK, words.succeeded),
        ("FROM base\n# script: fail exit 3\nRUN make\n", words.failed),
        (ENDLESS, words.cancelled),
    ] {
        let build = site.build_of(&site.push(&site.commit(dockerfile)?)).await?;
        if dockerfile == ENDLESS {
            until(&site, &build, words.running.unwrap_or(words.pending)).await?;
            site.runs(&build).await?;
            site.api().cancel(&build.id).await?;
        }
        site.api().finished_build(&build.id, BUILD).await?;
        let told = until(&site, &build, last).await?;
        let ranks: Vec<u8> = told.iter().map(|told| words.rank(&told.state)).collect();
        ensure!(ranks.is_sorted_by(|one, two| one < two), "an older state after a newer one, or twice: {told:?}");
        if dockerfile == ENDLESS {
            ensure!(ranks.ends_with(if words.running.is_some() { &[1, 2] } else { &[0, 2] }), "{told:?}");
        }
        for told in &told {
            assert_eq!(told.context, format!("slipway/{}", site.project.name));
            assert_eq!(told.url, format!("{}/builds/{}", site.world.slipway.base_url(), build.id));
        }
        stands(&site, &build, "sent").await?;
    }
    site.check()
}

/// How a build's status stands, as its members see it.
async fn stands(site: &Site, build: &Build, wanted: &str) -> Result<Value> {
    let path = format!("/api/v1/builds/{}", build.id);
    let found = eventually("a status to stand so", TELLS, || async {
        let build: Value = site.api().expect(Method::GET, &path, None).await?;
        let status = build["statuses"][0].clone();
        Ok((status["state"] == wanted).then_some(status))
    });
    found.await.with_context(|| format!("the status never was {wanted}"))
}

pub async fn survive_a_lost_answer(world: Arc<World>, kind: Forge) -> Result<()> {
    let site = Site::new(&world, kind, "lost").await?;
    let words = Words::of(kind);
    site.forge.answer_next(&[Answer::Lose]);
    let build = site.build_of(&site.push(&site.commit(ENDLESS)?)).await?;
    let running = words.running.unwrap_or(words.pending);
    let is_told_again = |told: &[Told]| told.len() > 1 && told.last().is_some_and(|told| told.state == running);
    let told = site.forge.told_when(TELLS, is_told_again).await?;
    assert_eq!(told[0].answer, Answer::Lose);
    // GitLab does not take the same state twice. That it has it is as good.
    let refused = told.iter().any(|told| told.answer == Answer::Repeated);
    ensure!(kind == Forge::Gitlab || !refused, "{told:?}");
    stands(&site, &build, "sent").await?;
    site.api().cancel(&build.id).await?;
    until(&site, &build, words.cancelled).await?;
    stands(&site, &build, "sent").await?;
    site.check()
}

pub async fn are_given_up(world: Arc<World>, kind: Forge) -> Result<()> {
    let site = Site::new(&world, kind, "revoked").await?;
    site.forge.revoke_token();
    let build = site.build_of(&site.push(&site.commit(QUICK)?)).await?;
    site.succeeds(&build).await?;
    let status = stands(&site, &build, "given_up").await?;
    ensure!(status["error"].as_str().is_some_and(|error| error.contains("refuses the connection's token")), "{status}");
    let page = site.page(&format!("/builds/{}", build.id)).await?;
    ensure!(page.contains("does not show this build as it is"), "the page is silent");
    assert_eq!(site.forge.told().len(), 0);
    site.check()
}
