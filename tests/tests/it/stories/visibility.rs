//! Who may see what: a private project does not exist for those without rights, a public one is read by
//! everybody, and deliveries are for members only.

use anyhow::{Context, Result, ensure};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use slipway_tests::api::{Api, Build};
use slipway_tests::env::base_image::BASE_IMAGE;
use slipway_tests::hooks::github;
use slipway_tests::world::{Database, World};

use super::builds::BUILD;
use super::told::{Told, job};

/// A build argument's value that only members may read.
const ARGUMENT: &str = "an-argument-for-members";

/// A project with one finished build.
struct Built {
    told: Told,
    build: Build,
    delivery: String,
}

impl Built {
    async fn new(world: &World, visibility: &str) -> Result<Self> {
        let told = Told::with(
            world,
            visibility,
            json!({ "visibility": visibility, "build": { "args": { "word": ARGUMENT } } }),
        )
        .await?;
        let moved = told.commit(&format!(
            "FROM {BASE_IMAGE}\nARG word=unsaid\nRUN echo said in {visibility} of {}\n",
            world.name
        ))?;
        let delivery = github::push(&told.repo, &moved, &told.project.hook.secret);
        let delivery = world.api().deliver_and_wait(&told.project.hook.url, &delivery).await?;
        let build = delivery.builds.first().context("a push makes a build")?;
        let build = world.api().finished_build(build, BUILD).await?;
        assert_eq!(build.state, "succeeded");
        Ok(Self { told, build, delivery: delivery.id })
    }

    /// What everybody may read of a public project.
    fn open_to_all(&self) -> Result<Vec<String>> {
        let (project, build, job) = (&self.told.project.id, &self.build.id, &job(&self.build)?.id);
        Ok(vec![
            format!("/projects/{project}"),
            format!("/builds/{build}"),
            format!("/badge/{project}.svg"),
            format!("/badge/{project}.json"),
            format!("/api/v1/projects/{project}"),
            format!("/api/v1/builds?project={project}"),
            format!("/api/v1/builds/{build}"),
            format!("/api/v1/jobs/{job}"),
            format!("/api/v1/jobs/{job}/log"),
            format!("/api/v1/jobs/{job}/log/stream"),
            format!("/api/v1/jobs/{job}/log/lines?from=1&count=10"),
        ])
    }

    /// What only members read; and what only they do.
    fn for_members(&self) -> Vec<(Method, String)> {
        let (project, build) = (&self.told.project.id, &self.build.id);
        vec![
            (Method::GET, format!("/api/v1/deliveries/{}", self.delivery)),
            (Method::GET, format!("/api/v1/deliveries?project={project}")),
            (Method::GET, "/deliveries".to_owned()),
            (Method::POST, format!("/api/v1/deliveries/{}/replay", self.delivery)),
            (Method::POST, format!("/api/v1/projects/{project}/pause")),
            (Method::POST, format!("/api/v1/builds/{build}/retry")),
        ]
    }
}

async fn who_sees_what(database: Database) -> Result<()> {
    let trust = vec![("SLIPWAY_TRUST_TENANTS".to_owned(), "1".to_owned())];
    let Some(world) = World::start_with(database, trust).await? else { return Ok(()) };
    let (private, public) = tokio::join!(Built::new(&world, "private"), Built::new(&world, "public"));
    let (private, public) = (private?, public?);
    let nobody = world.api().with_token(None);
    let stranger = member(&world, Some("elsewhere"), "owner").await?;
    let viewer = member(&world, None, "viewer").await?;

    for path in private.open_to_all()? {
        is_answered(&nobody, &Method::GET, &path, &[StatusCode::NOT_FOUND]).await?;
        is_answered(&stranger, &Method::GET, &path, &[StatusCode::NOT_FOUND]).await?;
        is_answered(&viewer, &Method::GET, &path, &[StatusCode::OK]).await?;
    }
    for path in public.open_to_all()? {
        for api in [&nobody, &stranger, &viewer] {
            is_answered(api, &Method::GET, &path, &[StatusCode::OK]).await?;
        }
    }
    let log = nobody.log(&job(&public.build)?.id).await?;
    ensure!(log.contains("said in public"), "{log}");
    check_members(&nobody, &stranger, &viewer, [&private, &public]).await?;
    public_face(&nobody, &viewer, &public).await
}

/// Deliveries and changes are for members, of public projects as well.
async fn check_members(nobody: &Api, stranger: &Api, viewer: &Api, built: [&Built; 2]) -> Result<()> {
    // Who is not known is asked to log in; pages send them there.
    let unknown = [StatusCode::UNAUTHORIZED, StatusCode::NOT_FOUND];
    let denied = [StatusCode::NOT_FOUND, StatusCode::FORBIDDEN];
    for built in built {
        for (method, path) in built.for_members() {
            if path == "/deliveries" {
                let (_, page) = nobody.call(method.clone(), &path, None).await?;
                let page = page.as_str().unwrap_or_default();
                ensure!(page.contains("<title>Log in") && !page.contains(&built.delivery), "{page}");
            } else {
                is_answered(nobody, &method, &path, &unknown).await?;
            }
            let is_list = path.contains("/deliveries?") || path == "/deliveries";
            if method == Method::POST || !is_list {
                is_answered(stranger, &method, &path, &denied).await?;
            } else {
                let (status, list) = stranger.call(method.clone(), &path, None).await?;
                ensure!(status != StatusCode::OK || !list.to_string().contains(&built.delivery), "{path}: {list}");
            }
            let expected = if method == Method::GET { StatusCode::OK } else { StatusCode::FORBIDDEN };
            is_answered(viewer, &method, &path, &[expected]).await?;
        }
    }
    Ok(())
}

/// The public sees how a build went, not how it is set up.
async fn public_face(nobody: &Api, viewer: &Api, public: &Built) -> Result<()> {
    let path = format!("/api/v1/projects/{}", public.told.project.id);
    let (whole, project): (Value, Value) =
        (viewer.expect(Method::GET, &path, None).await?, nobody.expect(Method::GET, &path, None).await?);
    for hidden in ["hook", "build", "connection"] {
        ensure!(whole.get(hidden).is_some(), "members see {hidden}: {whole}");
        ensure!(project.get(hidden).is_none(), "{hidden}: {project}");
    }
    let connection = whole["connection"].as_str().context("a connection")?;
    ensure!(whole["build"]["args"]["word"] == ARGUMENT, "{whole}");
    for path in public.open_to_all()? {
        let (_, answer) = nobody.call(Method::GET, &path, None).await?;
        let answer = answer.to_string();
        for hidden in [ARGUMENT, "/hooks/", connection, &public.delivery] {
            ensure!(!answer.contains(hidden), "{path} shows {hidden}: {answer}");
        }
    }
    Ok(())
}

/// A client with a token of a tenant.
async fn member(world: &World, tenant: Option<&str>, role: &str) -> Result<Api> {
    if let Some(name) = tenant {
        let _: Value = world.api().expect(Method::POST, "/api/v1/tenants", Some(&json!({ "name": name }))).await?;
    }
    let body = json!({ "name": format!("a {role}"), "tenant": tenant, "role": role });
    let made: Value = world.api().expect(Method::POST, "/api/v1/tokens", Some(&body)).await?;
    Ok(world.api().with_token(Some(made["token"].as_str().context("a token")?)))
}

async fn is_answered(api: &Api, method: &Method, path: &str, expected: &[StatusCode]) -> Result<()> {
    let (status, answer) = api.call(method.clone(), path, None).await?;
    ensure!(expected.contains(&status), "{method} {path} answered {status}, not one of {expected:?}: {answer}");
    Ok(())
}

#[tokio::test]
async fn on_sqlite() -> Result<()> {
    who_sees_what(Database::Sqlite).await
}

#[tokio::test]
async fn on_postgres() -> Result<()> {
    who_sees_what(Database::Postgres).await
}
