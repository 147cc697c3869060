//! Input that is wrong, strange or hostile: refused with what and where, or taken and made safe; nothing is
//! lost or half done.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use slipway_tests::api::Project;
use slipway_tests::env::base_image::BASE_IMAGE;
use slipway_tests::env::repo::{self, Move};
use slipway_tests::hooks::github;
use slipway_tests::world::{Database, Forge, World};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::builds::{BUILD, finished, image_path, new_project, start_dockerfile};
use super::together::Together;

/// Largest delivery, by the promise of the hooks.
const LARGEST: usize = 25 * 1024 * 1024;

/// What may be on its way when the service stops reading: the buffers of both sockets, which grow to 36 MiB.
const ON_THE_WAY: usize = 40 * 1024 * 1024;

/// How long the answer to an oversized body may take.
const ANSWER: Duration = Duration::from_secs(30);

/// A request with any body; the status and the problem, which must be one.
async fn refused(world: &World, path: &str, body: &str) -> Result<(StatusCode, String)> {
    let request = reqwest::Client::new().post(format!("{}{path}", world.slipway.base_url()));
    let request = request.bearer_auth(world.slipway.token()).header("content-type", "application/json");
    let answer = request.body(body.to_owned()).send().await?;
    let status = answer.status();
    let kind =
        answer.headers().get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let problem: Value = answer.json().await.with_context(|| format!("{path} answered {status} without JSON"))?;
    ensure!(kind == "application/problem+json", "{path} answered {status} as {kind}: {problem}");
    ensure!(problem["status"] == status.as_u16(), "{problem}");
    Ok((status, problem["detail"].as_str().context("a problem has a detail")?.to_owned()))
}

async fn malformed_json(world: Arc<World>) -> Result<()> {
    for path in ["/api/v1/projects", "/api/v1/registries", "/api/v1/connections"] {
        let (status, detail) = refused(&world, path, "{ not json").await?;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{detail}");
        assert!(detail.contains("line 1"), "{path}: {detail}");
    }
    Ok(())
}

async fn unknown_fields(world: Arc<World>) -> Result<()> {
    let repo = world.git.repo(&format!("{}/unknown", world.name))?;
    let mut body = world.project_body(Forge::Github, &repo);
    body["colour"] = json!("blue");
    let (status, detail) = refused(&world, "/api/v1/projects", &body.to_string()).await?;
    assert!(status == StatusCode::UNPROCESSABLE_ENTITY && detail.contains("colour"), "{status} {detail}");
    body.as_object_mut().context("an object")?.remove("colour");
    body["build"] = json!({ "docker_file": "x" });
    let (status, detail) = refused(&world, "/api/v1/projects", &body.to_string()).await?;
    assert!(status == StatusCode::UNPROCESSABLE_ENTITY && detail.contains("docker_file"), "{status} {detail}");
    // Nothing of it was kept: the name is still free.
    body.as_object_mut().context("an object")?.remove("build");
    let project = world.api().create_project(&body).await?;
    let path = format!("/api/v1/projects/{}/builds", project.id);
    let (status, detail) = refused(&world, &path, r#"{"branch": "main"}"#).await?;
    assert!(status == StatusCode::UNPROCESSABLE_ENTITY && detail.contains("branch"), "{status} {detail}");
    Ok(())
}

async fn bad_refs_by_hand(world: Arc<World>) -> Result<()> {
    let (_, project) = new_project(&world, "by-hand", json!({})).await?;
    let path = format!("/api/v1/projects/{}/builds", project.id);
    for bad in ["a b", "a..b", "refs/heads/", "a~1", "x.lock"] {
        let (status, detail) = refused(&world, &path, &json!({ "ref": bad }).to_string()).await?;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{bad}: {detail}");
        assert!(detail.starts_with("ref:") && detail.contains("not a ref that git accepts"), "{bad}: {detail}");
    }
    let (status, detail) = refused(&world, &path, &json!({ "commit": "--upload-pack=x" }).to_string()).await?;
    assert!(status == StatusCode::UNPROCESSABLE_ENTITY && detail.starts_with("commit:"), "{status} {detail}");
    assert_eq!(world.api().builds(&project.id).await?.len(), 0);
    Ok(())
}

async fn unknown_hook(world: Arc<World>) -> Result<()> {
    for hook in ["00000000-0000-4000-8000-000000000000", "nonsense"] {
        let (status, detail) = refused(&world, &format!("/hooks/{hook}"), "{}").await?;
        assert_eq!(status, StatusCode::NOT_FOUND, "{detail}");
    }
    Ok(())
}

async fn deliveries(world: &World, project: &Project) -> Result<Vec<Value>> {
    let path = format!("/api/v1/deliveries?project={}", project.id);
    let page: Value = world.api().expect(Method::GET, &path, None).await?;
    Ok(page["items"].as_array().context("a list has items")?.clone())
}

async fn bad_signature(world: Arc<World>) -> Result<()> {
    let (repo, project) = new_project(&world, "signature", json!({})).await?;
    let pushed = repo.commit("one", &[("Dockerfile", "FROM scratch\n")])?;
    let wrong = github::push(&repo, &pushed, "not the secret");
    let mut unsigned = wrong.clone();
    unsigned.headers.retain(|(name, _)| name != "x-hub-signature-256");
    for delivery in [&wrong, &unsigned] {
        let (status, answer) = world.api().deliver(&project.hook.url, delivery).await?;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{answer}");
    }
    assert_eq!(deliveries(&world, &project).await?, Vec::<Value>::new());
    // What was refused does not take the delivery's id.
    let id = wrong.headers.iter().find(|(name, _)| name == "x-github-delivery").context("an id")?.1.clone();
    let right = github::push(&repo, &pushed, &project.hook.secret).with_header("x-github-delivery", &id);
    let delivery = world.api().deliver_and_wait(&project.hook.url, &right).await?;
    assert_eq!(delivery.builds.len(), 1, "{delivery:?}");
    world.api().cancel(&delivery.builds[0]).await?;
    Ok(())
}

async fn authentic_but_malformed(world: Arc<World>) -> Result<()> {
    let (_, project) = new_project(&world, "malformed", json!({})).await?;
    let delivery = github::sign("push", b"{\"ref\": ".to_vec(), &project.hook.secret);
    let (status, answer) = world.api().deliver(&project.hook.url, &delivery).await?;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
    let kept = deliveries(&world, &project).await?;
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!((kept[0]["state"].as_str(), kept[0]["reason"].is_string()), (Some("failed"), true), "{kept:?}");
    assert_eq!(world.api().builds(&project.id).await?.len(), 0);
    Ok(())
}

/// Sends a request's head, then pieces of a body until an answer comes or `most` bytes are sent; the answer
/// and the bytes sent.
async fn send_until_answered(world: &World, head: &str, piece: &[u8], most: usize) -> Result<(String, usize)> {
    let address = world.slipway.base_url().replace("http://", "");
    let (mut reading, mut writing) = TcpStream::connect(&address).await?.into_split();
    writing.write_all(head.replace("HOST", &address).as_bytes()).await?;
    let answer = async move {
        let mut answer = vec![0; 64 * 1024];
        let length = reading.read(&mut answer).await.context("reading the answer")?;
        anyhow::Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
    };
    let mut answer = std::pin::pin!(tokio::time::timeout(ANSWER, answer));
    let mut sent = 0;
    loop {
        tokio::select! {
            biased;
            answer = &mut answer => return Ok((answer.context("no answer came")??, sent)),
            written = writing.write_all(piece), if sent < most => match written {
                Ok(()) => sent += piece.len(),
                // The other side stopped reading; its answer is there.
                Err(_) => return Ok((answer.await.context("no answer came")??, sent)),
            },
        }
    }
}

async fn oversized_body(world: Arc<World>) -> Result<()> {
    let (_, project) = new_project(&world, "oversized", json!({})).await?;
    let path = project.hook.url.replace(&world.slipway.base_url(), "");
    let head = format!("POST {path} HTTP/1.1\r\nHost: HOST\r\nX-GitHub-Event: push\r\n");
    // One that says so is refused before it is sent.
    let declared = format!("{head}Content-Length: {}\r\n\r\n", LARGEST + 1);
    let (answer, _) = send_until_answered(&world, &declared, b"{", 1).await?;
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("application/problem+json"), "{answer}");
    // One that does not is read up to the limit.
    let mut piece = b"100000\r\n".to_vec();
    piece.extend(std::iter::repeat_n(b'x', 1024 * 1024));
    piece.extend(b"\r\n");
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n");
    let (answer, sent) = send_until_answered(&world, &chunked, &piece, 4 * LARGEST).await?;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(sent < LARGEST + ON_THE_WAY, "{sent} bytes were sent");
    assert_eq!(deliveries(&world, &project).await?.len(), 0);
    Ok(())
}

async fn bad_utf8_in_a_log(world: Arc<World>) -> Result<()> {
    let project = new_project(&world, "utf8", json!({})).await?;
    let dockerfile = format!("FROM {BASE_IMAGE}\nRUN echo {} && printf 'bytes:\\377\\376:end\\n'\n", world.name);
    let build = start_dockerfile(&world, &project, &dockerfile).await?;
    let (build, job) = finished(&world, &build).await?;
    assert_eq!(build.state, "succeeded", "{job:?}");
    let text = world.api().log_bytes(&job.id, "").await?;
    assert!(String::from_utf8_lossy(&text).contains("bytes:\u{fffd}\u{fffd}:end\n"), "not shown");
    let events = world.api().log_stream(&job.id, BUILD).await?;
    assert!(events.iter().any(|event| event.data.contains("bytes:\u{fffd}\u{fffd}:end")), "{events:?}");
    Ok(())
}

/// Refs that git accepts.
const STRANGE_REFS: &[&str] = &[
    "refs/heads/-x",
    "refs/heads/--upload-pack=x",
    "refs/heads/ü'\"$(x)",
    "refs/heads/a;b&c|d<e>`f`",
    "refs/heads/feature/%2e%2e/#1",
    "refs/tags/v1.0+meta",
    "refs/tags/発売",
];

async fn strange_refs(world: Arc<World>) -> Result<()> {
    let (repo, project) = new_project(&world, "refs", json!({})).await?;
    let pushed = repo.commit("one", &[("Dockerfile", &format!("FROM {BASE_IMAGE}\nRUN echo {}\n", world.name))])?;
    let commit = pushed.after.clone().context("a push has a commit")?;
    let mut builds = Vec::new();
    for name in STRANGE_REFS {
        repo::git(repo.work(), &["push", "--quiet", "origin", &format!("HEAD:{name}")])?;
        let git_ref = (*name).to_owned();
        let moved = Move { git_ref, before: None, ..pushed.clone() };
        let delivery = github::push(&repo, &moved, &project.hook.secret);
        let delivery = world.api().deliver_and_wait(&project.hook.url, &delivery).await?;
        assert_eq!(delivery.builds.len(), 1, "{name}: {delivery:?}");
        builds.push((*name, delivery.builds[0].clone()));
    }
    let mut tags = vec![commit.clone()];
    for (name, id) in builds {
        let build = world.api().finished_build(&id, BUILD).await?;
        assert_eq!((build.state.as_str(), build.git_ref.as_deref()), ("succeeded", Some(name)), "{build:?}");
        assert_eq!(build.commit, commit);
        let images = &build.jobs[0].images;
        let tag = images.iter().filter_map(|image| image.image_ref.rsplit(':').next()).find(|tag| *tag != commit);
        let tag = tag.with_context(|| format!("{name} moved no tag of its own: {images:?}"))?;
        assert!(is_tag(tag), "{name} became {tag}");
        tags.push(tag.to_owned());
    }
    tags.sort();
    let there: Vec<_> = world.registry().tags(&image_path(&world, "refs")).await?;
    let there: Vec<_> = there.into_iter().filter(|tag| !is_carrier(tag)).collect();
    assert_eq!(there, tags, "each ref has a tag of its own");
    Ok(())
}

/// `[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}`, as the distribution specification has it.
fn is_tag(text: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.len() <= 128 && text.starts_with(word) && text.chars().all(|c| word(c) || c == '.' || c == '-')
}

fn is_carrier(tag: &str) -> bool {
    tag.len() > 34 && tag.starts_with('b') && tag.contains('.')
}

async fn private_addresses(world: Arc<World>) -> Result<()> {
    let repo = world.git.repo(&format!("{}/private", world.name))?;
    let mut body = world.project_body(Forge::Github, &repo);
    for (url, names_setting) in [
        ("http://10.0.0.1/team/app.git", true),
        ("https://169.254.169.254/latest/meta-data", true),
        ("https://[::1]/team/app.git", true),
        ("ssh://git@192.168.1.1/team/app.git", true),
        ("file:///etc", false),
        ("ext::sh -c true", false),
        ("--upload-pack=true", false),
    ] {
        body["repo"]["clone_url"] = json!(url);
        let (status, detail) = refused(&world, "/api/v1/projects", &body.to_string()).await?;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{url}: {detail}");
        assert!(detail.starts_with("repo.clone_url:"), "{url}: {detail}");
        assert_eq!(detail.contains("SLIPWAY_FETCH_ALLOW"), names_setting, "{url}: {detail}");
    }
    body["repo"]["clone_url"] = json!(repo.clone_url());
    body["image"] = json!({ "repository": "10.0.0.1:5000/team/app" });
    let (status, detail) = refused(&world, "/api/v1/projects", &body.to_string()).await?;
    assert!(status == StatusCode::UNPROCESSABLE_ENTITY && detail.starts_with("image.repository:"), "{status} {detail}");
    Ok(())
}

#[tokio::test]
async fn each_bad_input_is_told_or_made_safe() -> Result<()> {
    let variables = vec![("SLIPWAY_SLOTS".to_owned(), "8".to_owned())];
    let Some(world) = World::start_with(Database::Sqlite, variables).await? else { return Ok(()) };
    let mut stories = Together::new(world);
    stories.story("malformed JSON", malformed_json);
    stories.story("unknown fields", unknown_fields);
    stories.story("bad refs by hand", bad_refs_by_hand);
    stories.story("unknown hook", unknown_hook);
    stories.story("bad signature", bad_signature);
    stories.story("authentic but malformed", authentic_but_malformed);
    stories.story("oversized body", oversized_body);
    stories.story("bad UTF-8 in a log", bad_utf8_in_a_log);
    stories.story("strange refs", strange_refs);
    stories.story("private addresses", private_addresses);
    stories.end().await
}

#[tokio::test]
async fn a_private_address_is_refused_at_fetch_too() -> Result<()> {
    let Some(mut world) = World::start(Database::Sqlite).await? else { return Ok(()) };
    let project = new_project(&world, "narrowed", json!({})).await?;
    project.0.commit("one", &[("Dockerfile", "FROM scratch\n")])?;
    // As if the name led elsewhere by now: what was allowed when the project was made is not any more.
    world.slipway.restart_with(vec![("SLIPWAY_FETCH_ALLOW".to_owned(), "192.0.2.0/24".to_owned())]).await?;
    let asked = world.git.requests();
    let build = start_dockerfile(&world, &project, "FROM scratch\nCOPY . /\n").await?;
    let (build, job) = finished(&world, &build).await?;
    assert_eq!(build.state, "failed", "{job:?}");
    let failure = job.failure.context("a failed job says why")?;
    assert_eq!(failure.class, "source_forbidden", "{failure:?}");
    assert!(failure.hint.is_some_and(|hint| hint.contains("SLIPWAY_FETCH_ALLOW")));
    assert_eq!(world.git.requests(), asked, "the server was spoken to");
    Ok(())
}
