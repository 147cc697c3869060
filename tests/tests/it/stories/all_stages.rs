//! A project may keep the layers of all stages at a registry, for builders that have none of them. The engine is scripted:
//! it keeps them as those do whose images containerd keeps.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use slipway_runtime::ids::random_bytes;
use slipway_tests::api::Project;
use slipway_tests::env::git_server::GitServer;
use slipway_tests::env::registry::{Access, Registry};
use slipway_tests::env::repo::Repo;
use slipway_tests::env::services::is_required;
use slipway_tests::env::slipway::{Settings, Slipway};
use slipway_tests::scripted_engine::ScriptedEngine;
use slipway_tests::world::World;

use super::builds::{finished, image_path, new_project, start_dockerfile};

const STAGES: &str = "FROM base AS made\nRUN make\nFROM base\nCOPY --from=made /x /\n";

/// What came of a build that succeeded.
struct Built {
    /// The images that it began with.
    from: Vec<String>,
    /// The tag that it may keep its layers under.
    tag: String,
    log: String,
}

async fn built(world: &World, engine: &ScriptedEngine, project: &(Repo, Project), dockerfile: &str) -> Result<Built> {
    let (build, job) = finished(world, &start_dockerfile(world, project, dockerfile).await?).await?;
    ensure!(build.state == "succeeded", "{job:?}");
    let from = engine.state().await?.caches_from.remove(&format!("slipway-build/{}:1", job.id));
    let tag = format!("b{}.1.cache", build.id.replace('-', ""));
    Ok(Built { from: from.unwrap_or_default(), tag, log: world.api().log(&job.id).await? })
}

#[tokio::test]
async fn layers_of_all_stages_serve_where_a_project_keeps_them() -> Result<()> {
    if let Some(missing) = Registry::missing() {
        ensure!(!is_required(), "{missing}");
        eprintln!("SKIPPED: {missing}");
        return Ok(());
    }
    let registry = Registry::start(Access::Open).await?;
    let (engine, another) = (ScriptedEngine::start().await?, ScriptedEngine::start().await?);
    let slipway = Slipway::start(Settings { engine: engine.host(), ..Settings::default() }).await?;
    let (git, name) = (GitServer::start().await?, hex::encode(random_bytes::<5>()));
    let mut world = World { slipway, git, registry: registry.address(), engine: engine.host(), name };

    let none = new_project(&world, "keeps-none", json!({})).await?;
    let plain = built(&world, &engine, &none, STAGES).await?;
    ensure!(!plain.log.contains("of all stages"), "{}", plain.log);
    assert_eq!(engine.state().await?.caches_to, [""; 0], "nobody named a place for them");

    let path = image_path(&world, "stages-of");
    let cache = format!("{}/{path}", world.registry);
    let project = new_project(&world, "keeps", json!({ "cache_repository": cache })).await?;
    built(&world, &engine, &project, "FROM base\nRUN make\n").await?;
    assert_eq!(engine.state().await?.caches_to, [""; 0], "all that it made is in its image");
    let kept = built(&world, &engine, &project, STAGES).await?;
    let digest = world.registry().digest(&path, &kept.tag).await?.context("it is there")?;
    ensure!(kept.log.contains("Layers of all stages are kept") && !kept.log.contains(&cache), "{}", kept.log);
    let again = built(&world, &engine, &project, &format!("{STAGES}RUN more\n")).await?;
    assert_eq!((again.from.len(), again.log.contains("of all stages")), (0, false), "{}", again.log);
    assert_eq!(engine.state().await?.caches_to, [format!("{cache}:{}", kept.tag)], "once is enough for a while");

    // A registry that takes nothing fails no job, and is not tried at every build.
    let out = new_project(&world, "keeps-nowhere", json!({ "cache_repository": "127.0.0.1:1/nobody/there" })).await?;
    for words in ["Layers of all stages were not kept: ", "none lately, so it is left alone"] {
        let tried = built(&world, &engine, &out, STAGES).await?;
        ensure!(tried.log.contains(words), "{}", tried.log);
    }

    // Another engine, which has nothing of the project: what is kept comes first, then its last image.
    world.slipway.restart_with(vec![("DOCKER_HOST".to_owned(), another.host())]).await?;
    let moved = built(&world, &another, &project, &format!("{STAGES}RUN last\n")).await?;
    assert_eq!((moved.from.len(), moved.from.first()), (2, Some(&format!("{cache}@{digest}"))), "{}", moved.log);
    // Who takes the place away is not helped by what is there.
    let path = format!("/api/v1/projects/{}", project.1.id);
    let changed: Value =
        world.api().expect(http::Method::PATCH, &path, Some(&json!({ "cache_repository": null }))).await?;
    ensure!(changed.get("cache_repository").is_none_or(Value::is_null), "{changed}");
    world.slipway.restart_with(vec![("DOCKER_HOST".to_owned(), engine.host())]).await?;
    let alone = built(&world, &engine, &project, &format!("{STAGES}RUN alone\n")).await?;
    assert!(alone.from.iter().all(|image| !image.starts_with(&cache)), "{:?}", alone.from);
    // A place that the builders may not reach is refused before anybody is asked.
    let bad = json!({ "cache_repository": "no-repository" });
    let refused = world.api().call(http::Method::PATCH, &path, Some(&bad)).await?;
    assert_eq!(refused.0, http::StatusCode::UNPROCESSABLE_ENTITY, "{}", refused.1);
    Ok(())
}
