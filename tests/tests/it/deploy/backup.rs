//! A backup of a running service, under load, becomes a service that shows the same builds and logs and goes on.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chrono::DateTime;
use reqwest::Method;
use serde_json::Value;
use slipway_logfmt::chunk::{Chunk, Span, Stream};
use slipway_logfmt::segment::{Frames, Segment};
use slipway_tests::api::{Api, Project};
use slipway_tests::env::base_image::BASE_IMAGE;
use slipway_tests::env::host;
use slipway_tests::env::postgres::fresh_database;
use slipway_tests::env::repo::Repo;
use slipway_tests::env::services::{POSTGRES, shared};
use slipway_tests::env::slipway::{Settings, Slipway};
use slipway_tests::hooks::github;
use slipway_tests::world::{Database, Forge, World};
use url::Url;

use super::{deploy, program, told};

/// How long a small build may take on a machine that does other things too, a lost builder included.
const BUILD: Duration = Duration::from_secs(180);
/// Pushes while the backup is made.
const PUSHES: usize = 8;

/// A service with builds, and a push that goes on.
struct Scene {
    world: World,
    repo: Repo,
    project: Project,
}

impl Scene {
    async fn start(database: Database) -> Result<Option<Self>> {
        let Some(world) = World::start(database).await? else { return Ok(None) };
        let repo = world.git.repo(&format!("team/{}", world.name))?;
        let project = world.project(Forge::Github, &repo).await?;
        Ok(Some(Self { world, repo, project }))
    }

    /// A client of either service, with the first one's token.
    fn operator(&self, slipway: &Slipway) -> Api {
        slipway.api().with_token(Some(self.world.slipway.token()))
    }

    fn commit(&self, number: usize) -> Result<slipway_tests::hooks::Delivery> {
        let dockerfile =
            format!("FROM {BASE_IMAGE}\nRUN echo {number} of {} && seq 1 3000 && sleep 1\n", self.world.name);
        let pushed = self.repo.commit(&format!("Change {number}"), &[("Dockerfile", &dockerfile)])?;
        Ok(github::push(&self.repo, &pushed, &self.project.hook.secret))
    }

    async fn push(&self, slipway: &Slipway, number: usize) -> Result<String> {
        // The hook's address is of the first service; its path stays.
        let path = Url::parse(&self.project.hook.url)?.path().to_owned();
        let api = self.operator(slipway);
        let delivery = api.deliver_and_wait(&format!("{}{path}", slipway.base_url()), &self.commit(number)?).await?;
        delivery.builds.first().cloned().context("a push makes a build")
    }

    /// Finished builds, then one that runs and pushes without end while `backup` works.
    async fn backed_up(&self, backup: Command) -> Result<Vec<String>> {
        let api = self.world.api();
        let mut ended = Vec::new();
        for number in 0..2 {
            let id = self.push(&self.world.slipway, number).await?;
            ensure!(api.finished_build(&id, BUILD).await?.state == "succeeded");
            ended.push(id);
        }
        let running = self.push(&self.world.slipway, 2).await?;
        api.build_when(&running, BUILD, |build| build.state == "running").await?;
        let done = AtomicBool::new(false);
        let load = async {
            for number in 3..3 + PUSHES {
                if !done.load(Ordering::Acquire) {
                    self.push(&self.world.slipway, number).await?;
                }
            }
            anyhow::Ok(())
        };
        let backup = async {
            let mut backup = backup;
            let told = tokio::task::spawn_blocking(move || told(&mut backup)).await?;
            done.store(true, Ordering::Release);
            told
        };
        let (load, backup) = tokio::join!(load, backup);
        load?;
        backup?;
        Ok(ended)
    }

    /// What the first service shows of its ended builds is what the second one does; then that one builds on.
    async fn check(&self, before: &[(Value, String)], restored: &Slipway) -> Result<()> {
        let api = &self.operator(restored);
        for (build, log) in before {
            let id = build["id"].as_str().context("a build has an id")?;
            assert_eq!(&shown(api, id).await?, &(build.clone(), log.clone()), "build {id}");
        }
        let builds = api.builds(&self.project.id).await?;
        ensure!(builds.len() > before.len(), "the build that ran is missing: {builds:?}");
        for build in builds {
            let ended = api.finished_build(&build.id, BUILD).await?;
            ensure!(ended.state == "succeeded", "{ended:?}");
            let log = api.log(&ended.jobs[0].id).await?;
            ensure!(!log.contains(LOST), "the log of {} is of another time: {log}", build.id);
            let numbers = log.lines().filter(|line| line.trim() == "3000").count();
            // The attempt that the database forgot may have come to its end: the engine then has it and says nothing.
            let is_cached = ended.jobs[0].steps.iter().any(|step| step.cached && step.name.contains("seq 1 3000"));
            ensure!(numbers == usize::from(!is_cached), "the log of {} has {numbers} ends", build.id);
            ensure!(!log.contains("[slipway] This log"), "the log of {} is not whole", build.id);
        }
        // The hook's secret is sealed with the installation's key.
        let id = self.push(restored, 100).await?;
        ensure!(api.finished_build(&id, BUILD).await?.state == "succeeded");
        Ok(())
    }
}

/// What attempts of a time that did not happen for the restored database stored for its next attempts.
const LOST: &str = "of a time that did not happen\n3000\n";

/// Puts a log in the place of every attempt that a job may have next.
async fn haunt(blobs: &Path, api: &Api, project: &Project) -> Result<()> {
    let at = DateTime::UNIX_EPOCH;
    let spans = vec![Span { len: u32::try_from(LOST.len())?, step: 1, stream: Stream::Stdout, at }];
    let lost = Segment(Chunk { offset: 0, bytes: LOST.into(), spans }).encode(&Frames::default(), 0xdead)?;
    for build in api.builds(&project.id).await? {
        let job = &api.build(&build.id).await?.jobs[0].id;
        for epoch in 1..=4 {
            let folder = blobs.join("logs").join(&job[job.len() - 2..]).join(job).join(epoch.to_string());
            std::fs::create_dir_all(&folder)?;
            let object = folder.join("0000000000000000.zst");
            if !object.exists() {
                std::fs::write(object, &lost)?;
            }
        }
    }
    Ok(())
}

/// A build as it is shown, and its log.
async fn shown(api: &Api, id: &str) -> Result<(Value, String)> {
    let mut build: Value = api.expect(Method::GET, &format!("/api/v1/builds/{id}"), None).await?;
    // Each service is somewhere else.
    build.as_object_mut().and_then(|build| build.remove("url")).context("a build has a url")?;
    let job = build["jobs"][0]["id"].as_str().context("a build has a job")?;
    let log = api.log(job).await?;
    ensure!(log.lines().any(|line| line.trim() == "3000"), "the log is not whole");
    Ok((build, log))
}

async fn all_shown(api: &Api, ids: &[String]) -> Result<Vec<(Value, String)>> {
    let mut all = Vec::new();
    for id in ids {
        all.push(shown(api, id).await?);
    }
    Ok(all)
}

fn script(name: &str) -> Command {
    let mut command = Command::new(deploy("backup").join(name));
    command.env_clear().env("PATH", host::PATH);
    command
}

/// The database by the variables of libpq.
fn at_database<'a>(command: &'a mut Command, url: &str) -> Result<&'a mut Command> {
    let url = Url::parse(url)?;
    command.env("PGHOST", url.host_str().context("a host")?).env("PGPORT", url.port().unwrap_or(5432).to_string());
    command.env("PGPASSWORD", url.password().unwrap_or_default());
    command.env("PGUSER", url.username()).env("PGDATABASE", url.path().trim_start_matches('/'));
    Ok(command)
}

/// An object of an attempt that the backup's database does not know.
fn plant(blobs: &Path, job: &str) -> Result<std::path::PathBuf> {
    let folder = blobs.join("logs").join(&job[job.len() - 2..]).join(job).join("77");
    std::fs::create_dir_all(&folder)?;
    let object = folder.join("0000000000000000.zst");
    std::fs::write(&object, "of a time that did not happen")?;
    Ok(object)
}

fn job(shown: &[(Value, String)]) -> Result<String> {
    shown[0].0["jobs"][0]["id"].as_str().map(str::to_owned).context("a build has a job")
}

#[tokio::test]
async fn a_data_folder_is_backed_up_under_load_and_comes_back() -> Result<()> {
    if program("sqlite3", "sqlite3")?.is_none() {
        return Ok(());
    }
    let Some(mut scene) = Scene::start(Database::Sqlite).await? else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let target = folder.path().join("it's a backup");
    let mut backup = script("backup.sh");
    backup.arg("sqlite").arg(scene.world.slipway.data_dir()).arg(&target);
    let ended = scene.backed_up(backup).await?;
    let before = all_shown(&scene.world.api(), &ended).await?;
    scene.world.slipway.kill9();

    // Damage is seen.
    let mut restore = script("restore.sh");
    restore.arg("sqlite").arg(&target).arg(folder.path().join("data"));
    let key = std::fs::read(target.join("secret.key"))?;
    std::fs::write(target.join("secret.key"), "damaged")?;
    ensure!(told(&mut restore).is_err(), "a damaged backup was restored");
    std::fs::write(target.join("secret.key"), key)?;

    let settings = Settings { engine: scene.world.engine.clone(), ..Settings::default() };
    let mut restored = Slipway::start(settings).await?;
    restored.kill9();
    let data = restored.data_dir();
    std::fs::remove_dir_all(&data)?;
    let planted = plant(&target.join("blobs"), &job(&before)?)?;
    let planted = data.join(planted.strip_prefix(&target)?);
    let mut restore = script("restore.sh");
    restore.arg("sqlite").arg(&target).arg(&data);
    told(&mut restore)?;
    ensure!(data.join("blobs/logs").is_dir() && !planted.exists(), "a log of no attempt came along");
    ensure!(told(&mut restore).is_err(), "a database was overwritten");
    let token = scene.world.slipway.token().to_owned();
    restored.restart_with(vec![("SLIPWAY_BOOTSTRAP_TOKEN".to_owned(), token)]).await?;
    scene.check(&before, &restored).await
}

#[tokio::test]
async fn a_database_is_backed_up_under_load_and_comes_back() -> Result<()> {
    if program("pg_dump", "postgresql-client")?.is_none() {
        return Ok(());
    }
    let Some(mut scene) = Scene::start(Database::Postgres).await? else { return Ok(()) };
    let Some(server) = shared(POSTGRES)? else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let target = folder.path().join("backup");
    let mut backup = script("backup.sh");
    let first = scene.world.slipway.database_url().context("it is on PostgreSQL")?.to_owned();
    at_database(backup.arg("postgres").arg(&target), &first)?;
    let ended = scene.backed_up(backup).await?;
    let before = all_shown(&scene.world.api(), &ended).await?;
    haunt(&scene.world.slipway.data_dir().join("blobs"), &scene.world.api(), &scene.project).await?;
    scene.world.slipway.kill9();

    let second = fresh_database(&server).await?;
    told(at_database(script("restore.sh").arg("postgres").arg(&target), &second)?)?;
    let again = told(at_database(script("restore.sh").arg("postgres").arg(&target), &second)?);
    ensure!(again.is_err(), "a database was overwritten");

    // The object store stays as it is, with logs that the restored database does not know.
    let data = scene.world.slipway.data_dir();
    let token = scene.world.slipway.token().to_owned();
    let secret_key = std::fs::read_to_string(data.join("secret.key"))?.trim().to_owned();
    let settings = Settings {
        database_url: Some(second.clone()),
        engine: scene.world.engine.clone(),
        variables: vec![
            ("SLIPWAY_BLOB_URL".to_owned(), format!("file://{}", data.join("blobs").display())),
            ("SLIPWAY_SECRET_KEY".to_owned(), secret_key),
            ("SLIPWAY_BOOTSTRAP_TOKEN".to_owned(), token),
        ],
        ..Settings::default()
    };
    let restored = Slipway::start(settings).await?;
    scene.check(&before, &restored).await?;

    // Nobody reads them, and they may go.
    let planted = plant(&data.join("blobs"), &job(&before)?)?;
    let mut unknown = Command::new("/bin/sh");
    unknown.current_dir(data.join("blobs")).env_clear().env("PATH", host::PATH);
    unknown.args(["-euc", "find logs -type f | \"$0\" postgres | xargs -r rm --"]);
    told(at_database(unknown.arg(deploy("backup").join("unknown-logs.sh")), &second)?)?;
    ensure!(!planted.exists(), "a log of no attempt stayed");
    assert_eq!(all_shown(&scene.operator(&restored), &ended).await?, before, "what is known stays");
    Ok(())
}
