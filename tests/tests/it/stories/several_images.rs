//! One build makes several images, and only where the project says.

use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::{Value, json};
use slipway_tests::api::{Build, Project};
use slipway_tests::env::base_image::BASE_IMAGE;
use slipway_tests::env::repo::Repo;
use slipway_tests::hooks;
use slipway_tests::world::{Database, Forge, World};

use super::builds::BUILD;

async fn built(world: &World, (repo, project): (&Repo, &Project), files: &[(&str, &str)]) -> Result<Build> {
    let pushed = repo.commit("several images", files)?;
    let delivery = hooks::push(Forge::Github, repo, &pushed, &project.hook.secret);
    let delivery = world.api().deliver_and_wait(&project.hook.url, &delivery).await?;
    world.api().finished_build(delivery.builds.first().context("a build")?, BUILD).await
}

/// What a build built, as the API tells it.
async fn layers(world: &World, build: &Build) -> Result<Value> {
    let build: Value = world.api().expect(Method::GET, &format!("/api/v1/builds/{}", build.id), None).await?;
    Ok(build["jobs"][0]["built"].clone())
}

fn dockerfile(name: &str, word: &str) -> String {
    format!(
        "FROM {BASE_IMAGE} AS common\n\
         RUN echo shared by the stages of {name}\n\
         FROM common AS debug\n\
         RUN seq 1 20000 > /debug && echo {name}\n\
         FROM common\n\
         LABEL org.opencontainers.image.title=mine\n\
         RUN echo {word} of {name} > /word\n"
    )
}

#[tokio::test]
async fn go_where_the_project_says_and_are_told_layer_by_layer() -> Result<()> {
    let Some(world) = World::start(Database::Sqlite).await? else { return Ok(()) };
    let repo = world.git.repo(&format!("team/{}", world.name))?;
    let (copy, debug) = (format!("{}-copy", world.image()), format!("{}-debug", world.image()));
    let mut body = world.project_body(Forge::Github, &repo);
    body.as_object_mut().context("an object")?.remove("image");
    body["images"] = json!([
        { "repository": world.image() },
        { "repository": copy, "tags": ["{{branch}}"] },
        { "repository": debug, "tags": ["{{branch}}"], "target": "debug" },
    ]);
    let project = world.api().create_project(&body).await?;

    let first = built(&world, (&repo, &project), &[("Dockerfile", &dockerfile(&world.name, "one"))]).await?;
    let job = &first.jobs[0];
    assert_eq!(first.state, "succeeded", "{job:?}");
    let digest = |reference: String| {
        job.images.iter().find(|image| image.image_ref == reference).map(|image| image.digest.clone())
    };
    let shown = digest(format!("{}:main", world.image())).context("the image")?;
    assert_eq!(digest(format!("{}:{}", world.image(), first.commit)), Some(shown.clone()));
    assert_eq!(digest(format!("{copy}:main")), Some(shown.clone()), "one image in two repositories");
    let other = digest(format!("{debug}:main")).context("the stage")?;
    assert_ne!(other, shown);
    let registry = world.registry();
    for (path, wanted) in [("", &shown), ("-copy", &shown), ("-debug", &other)] {
        let there = registry.digest(&format!("{}{path}", world.image_path()), "main").await?;
        assert_eq!(there.as_ref(), Some(wanted), "{path}");
    }
    let (_, config) = registry.image(&world.image_path(), "main").await?;
    let labels = &config["config"]["Labels"];
    assert_eq!(
        (&labels["org.opencontainers.image.title"], &labels["org.opencontainers.image.version"]),
        (&json!("mine"), &json!("main"))
    );
    let told = layers(&world, &first).await?;
    assert_eq!((&told[0]["target"], &told[0]["digest"]), (&Value::Null, &json!(shown)));
    assert_eq!((&told[1]["target"], &told[1]["digest"]), (&json!("debug"), &json!(other)));
    let newest = told[1]["layers"].as_array().and_then(|layers| layers.last()).context("layers")?;
    assert_eq!(newest["instruction"], format!("RUN seq 1 20000 > /debug && echo {}", world.name));
    assert!(newest["size_bytes"].as_i64() > newest["compressed_bytes"].as_i64(), "{newest}");
    let steps: Vec<&str> =
        job.steps.iter().map(|step| step.name.as_str()).filter(|name| name.contains("echo shared")).collect();
    assert_eq!(steps.len(), 2, "each stage tells its own steps: {steps:?}");

    // A pipeline file chooses among the project's images, and compares with the build before.
    let chosen = format!("build:\n  images:\n  - repository: {}\n    tags: [chosen]\n", world.image());
    let files = [("Dockerfile", &*dockerfile(&world.name, "two")), ("slipway.yml", &*chosen)];
    let second = built(&world, (&repo, &project), &files).await?;
    let refs: Vec<&str> = second.jobs[0].images.iter().map(|image| image.image_ref.as_str()).collect();
    assert_eq!(refs, [format!("{}:chosen", world.image())], "{second:?}");
    let difference = &layers(&world, &second).await?[0]["difference"];
    assert_eq!(
        (&difference["build"], &difference["new_layers"], &difference["gone_layers"]),
        (&json!(first.id), &json!(1), &json!(1))
    );

    // And never another one.
    let foreign = format!("build:\n  images:\n  - repository: {}-foreign\n", world.image());
    let third = built(&world, (&repo, &project), &[("slipway.yml", &foreign)]).await?;
    let failure = third.jobs[0].failure.as_ref().context("a reason")?;
    assert_eq!((third.state.as_str(), failure.class.as_str()), ("failed", "pipeline_invalid"));
    assert!(registry.tags(&format!("{}-foreign", world.image_path())).await?.is_empty());
    Ok(())
}
