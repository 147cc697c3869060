//! What is not believed, not understood, or of no use: each is answered as its forge needs it, and nothing is built.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use slipway_tests::hooks::{self, ZERO};
use slipway_tests::world::{Forge, World};

use super::site::{QUICK, Site, commit_of};

/// Where a push names its ref, and how an error calls that place.
fn place_of_ref(kind: Forge) -> (&'static str, &'static str) {
    match kind {
        Forge::Github | Forge::Gitlab | Forge::Gitea | Forge::Gitee | Forge::Coding => ("/ref", "ref"),
        Forge::Bitbucket => ("/push/changes/0/new/name", "push.changes[0].new.name"),
        Forge::BitbucketDc => ("/changes/0/ref/id", "changes[0].ref.id"),
    }
}

pub async fn is_refused(world: Arc<World>, kind: Forge) -> Result<()> {
    let site = Site::new(&world, kind, "bad-input").await?;
    let moved = site.commit(QUICK)?;
    let (api, url) = (site.api(), &site.project.hook.url);

    let forged = hooks::push(kind, &site.repo, &moved, "not the hook's secret");
    let mut unsigned = site.push(&moved);
    let proofs = ["signature", "token"];
    unsigned.headers.retain(|(name, _)| !proofs.iter().any(|proof| name.contains(proof)));
    for delivery in [&forged, &unsigned] {
        let (status, answer) = api.deliver(url, delivery).await?;
        ensure!(status == StatusCode::UNAUTHORIZED, "{status}: {answer}");
    }
    let list = format!("/api/v1/deliveries?project={}", site.project.id);
    let stored: Value = api.expect(Method::GET, &list, None).await?;
    assert_eq!(stored["items"], json!([]), "what is not believed is not stored");

    let (pointer, place) = place_of_ref(kind);
    let good = site.push(&moved);
    let wrong_type = hooks::altered(kind, &good, site.secret(), |body| {
        if let Some(named) = body.pointer_mut(pointer) {
            *named = json!(["a list"]);
        }
    });
    let cut_off = hooks::with_body(kind, &good, good.body[..good.body.len() / 2].to_vec(), site.secret());
    for (delivery, words) in [(&wrong_type, place), (&cut_off, "not complete JSON")] {
        let (status, answer) = api.deliver(url, delivery).await?;
        ensure!(status == StatusCode::BAD_REQUEST, "{status}: {answer}");
        let detail = answer["detail"].as_str().context("a detail")?;
        ensure!(detail.contains(words) && detail.contains("authentic"), "{words}: {detail}");
        ensure!(!detail.contains("a list"), "the stranger's own words: {detail}");
    }

    let unwanted = hooks::unwanted(kind, &site.repo, site.secret());
    let stored = site.tell(&unwanted, StatusCode::OK).await?;
    let reason = stored.reason.unwrap_or_default();
    ensure!(stored.state == "ignored" && reason.contains("not an event that starts builds"), "{reason}");
    if let Some(ping) = hooks::ping(kind, &site.repo, site.secret()) {
        let stored = site.tell(&ping, StatusCode::OK).await?;
        assert_eq!((stored.state.as_str(), stored.reason.as_deref()), ("ignored", Some("ping")));
    }
    assert_eq!(site.count().await?, 0);
    // None of it stood in the way of the real one.
    site.build_of(&good).await?;
    site.check()
}

pub async fn long_ids(world: Arc<World>, kind: Forge) -> Result<()> {
    let site = Site::new(&world, kind, "long-ids").await?;
    site.commit(QUICK)?;
    site.repo.switch("long")?;
    let made = site.commit("FROM base\n")?;
    let commit = commit_of(&made)?.to_owned();
    let long = format!("{commit}{}", &commit[..24]);
    let with_long_ids = |delivery: &hooks::Delivery| {
        let body = String::from_utf8_lossy(&delivery.body).replace(ZERO, &ZERO.repeat(2)[..64]).replace(&commit, &long);
        hooks::with_body(kind, delivery, body.into_bytes(), site.secret())
    };
    let build = site.build_of(&with_long_ids(&site.push(&made))).await?;
    assert_eq!((build.commit.as_str(), build.git_ref.as_deref()), (long.as_str(), Some("refs/heads/long")));
    // There is no such commit here.
    site.api().cancel(&build.id).await?;
    let deleted = site.repo.delete("refs/heads/long")?;
    site.ignored(&with_long_ids(&site.push(&deleted)), "branch \"long\" was deleted").await?;
    assert_eq!(site.count().await?, 1);
    Ok(())
}
