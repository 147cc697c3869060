//! Submodules and files in LFS are in the image where the project wants them, and else the log says what is not.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use slipway_tests::api::Project;
use slipway_tests::env::base_image::BASE_IMAGE;
use slipway_tests::env::repo::{Repo, git};
use slipway_tests::world::{Database, World};

use super::builds::{finished, new_project, start};

/// Builds the head; its log.
async fn log_of(world: &World, (repo, project): &(Repo, Project), options: Value) -> Result<String> {
    let build = start(world, project, &repo.resolve("HEAD")?, &options).await?;
    let (build, job) = finished(world, &build).await?;
    let log = world.api().log(&job.id).await?;
    ensure!(build.state == "succeeded", "{job:?}\n{log}");
    Ok(log)
}

#[tokio::test]
async fn and_lfs_files_are_built_where_one_asks_for_them() -> Result<()> {
    let Some(world) = World::start(Database::Sqlite).await? else { return Ok(()) };
    let lib = world.git.repo(&format!("{}/lib", world.name))?;
    lib.commit("the commit that is wanted", &[("word", "of the submodule\n")])?;
    let wanted = lib.resolve("HEAD")?;
    lib.commit("a newer one", &[("word", "too new\n")])?;
    let app = new_project(&world, "app", json!({})).await?;
    let content = format!("content of {}\n", world.name);
    let dockerfile =
        format!("FROM {BASE_IMAGE}\nCOPY . /all\nRUN cd /all && ls -A lib && cat data.bin lib/word || true\n");
    let modules = "[submodule \"lib\"]\n\tpath = lib\n\turl = ../lib.git\n";
    std::fs::create_dir(app.0.work().join("lib"))?;
    git(app.0.work(), &["update-index", "--add", "--cacheinfo", &format!("160000,{wanted},lib")])?;
    app.0.commit(
        "a submodule and a file in LFS",
        &[
            ("Dockerfile", dockerfile.as_str()),
            (".gitmodules", modules),
            (".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n"),
            ("data.bin", &world.git.lfs(content.as_bytes())),
        ],
    )?;

    let log = log_of(&world, &app, json!({})).await?;
    ensure!(log.contains("version https://git-lfs.github.com/spec/v1") && !log.contains("of the submodule"), "{log}");
    ensure!(log.contains("1 file is a pointer to LFS") && log.contains("`lfs: true`"), "{log}");
    ensure!(log.contains("1 submodule is left empty; `submodules: true`"), "{log}");

    let log = log_of(&world, &app, json!({ "submodules": true, "lfs": true })).await?;
    ensure!(log.contains(&content) && log.contains("of the submodule\n") && !log.contains("too new"), "{log}");
    ensure!(!log.contains("pointer to LFS"), "{log}");
    ensure!(log.contains(&format!("Submodule lib: {} at {wanted}", lib.clone_url())), "{log}");

    // The repository may say it itself.
    app.0.commit("say so", &[("slipway.yml", "build:\n  submodules: true\n  lfs: true\n")])?;
    let log = log_of(&world, &app, json!({})).await?;
    ensure!(log.contains(&content) && log.contains("of the submodule\n"), "{log}");
    let log = log_of(&world, &app, json!({ "lfs": false })).await?;
    ensure!(log.contains("1 file is a pointer to LFS") && log.contains("of the submodule\n"), "{log}");
    Ok(())
}
