//! GitLab's ways to say that a delivery is its own: the plain token, and the signature of version 19.0.

use std::sync::Arc;

use anyhow::Result;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use slipway_tests::hooks::{delivery_id, gitlab};
use slipway_tests::world::World;

use super::builds::BUILD;
use super::deliveries::{answered, count, dockerfile};
use super::told::Told;

pub async fn by_token(world: Arc<World>) -> Result<()> {
    let told = Told::with(&world, "gitlab", json!({ "forge": { "kind": "gitlab" } })).await?;
    let secret = &told.project.hook.secret;
    let moved = told.commit(&dockerfile(1))?;
    let tag = told.repo.tag("v1.0")?;
    let refused = gitlab::push(&told.repo, &moved, "not it");
    let (status, answer) = world.api().deliver(&told.project.hook.url, &refused).await?;
    assert_eq!(status, StatusCode::UNAUTHORIZED, "{answer}");
    let push = gitlab::push(&told.repo, &moved, secret);
    let stored = answered(&world, &told, &push, StatusCode::ACCEPTED).await?;
    assert_eq!((stored.event.as_str(), stored.builds.len()), ("Push Hook", 1), "{stored:?}");
    answered(&world, &told, &push, StatusCode::OK).await?;
    let stored = answered(&world, &told, &gitlab::push(&told.repo, &tag, secret), StatusCode::ACCEPTED).await?;
    assert_eq!((stored.event.as_str(), stored.builds.len()), ("Tag Push Hook", 1), "{stored:?}");
    let build = world.api().finished_build(&stored.builds[0], BUILD).await?;
    assert_eq!((build.trigger.as_str(), build.git_ref.as_deref()), ("tag", Some("refs/tags/v1.0")));
    assert_eq!(Some(&build.commit), moved.commit.as_ref(), "the commit, not the tag's own object");
    told.check_tag(&world, &build, "v1.0").await?;
    assert_eq!(count(&world, &told).await?, 2);
    Ok(())
}

pub async fn by_signature(world: Arc<World>) -> Result<()> {
    let told = Told::with(&world, "gitlab-signed", json!({ "forge": { "kind": "gitlab" } })).await?;
    let secret = &told.project.hook.secret;
    let moved = told.commit(&dockerfile(1))?;
    let now = i64::try_from(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs())?;
    let good = gitlab::push_signed(&told.repo, &moved, secret, now);
    // A signature that is there must hold: neither a token nor an old time helps.
    let wrong_but_with_token =
        good.clone().with_header("webhook-id", &delivery_id()).with_header("x-gitlab-token", secret);
    let too_old = gitlab::push_signed(&told.repo, &moved, secret, now - 3600);
    for delivery in [&wrong_but_with_token, &too_old] {
        let (status, answer) = world.api().deliver(&told.project.hook.url, delivery).await?;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{answer}");
    }
    let stored = answered(&world, &told, &good, StatusCode::ACCEPTED).await?;
    assert_eq!((stored.state.as_str(), stored.builds.len()), ("done", 1), "{stored:?}");
    let path = format!("/api/v1/deliveries/{}", stored.id);
    let whole: Value = world.api().expect(Method::GET, &path, None).await?;
    assert_eq!(whole["auth"], "standard_webhooks_v1", "{whole}");
    assert_eq!(count(&world, &told).await?, 1);
    Ok(())
}
