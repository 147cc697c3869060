//! Builders on other machines: how they join, build, die, drain, and whom they serve.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use slipway_tests::api::{Api, Build};
use slipway_tests::env::base_image::BASE_IMAGE;
use slipway_tests::env::host::free_port;
use slipway_tests::env::remote_builder::{Joining, RemoteBuilder};
use slipway_tests::wait::eventually;
use slipway_tests::world::{Database, World};

use super::gate::Gate;
use super::told::{Told, job, outcomes};

/// How long a build may take on a machine that does other things too, a loss of its builder included.
const BUILD: Duration = Duration::from_secs(120);

/// How long a builder may take to join, to leave, or to be missed.
const JOINS: Duration = Duration::from_secs(60);

/// A cancel is told at once; by heartbeats alone it would take up to 6 s.
const CANCEL_ARRIVES: Duration = Duration::from_secs(3);

/// A control plane without a builder, which listens for builders on an address of their own.
struct Site {
    world: World,
    agents: String,
}

impl Site {
    async fn start(database: Database) -> Result<Option<Self>> {
        let agents = format!("127.0.0.1:{}", free_port()?);
        let variables = [("SLIPWAY_SLOTS", "0"), ("SLIPWAY_AGENT_LISTEN", agents.as_str())];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let world = World::start_with(database, variables).await?;
        Ok(world.map(|world| Self { world, agents: format!("http://{agents}") }))
    }

    /// A token by which builders join, as an operator gets it.
    fn token(&self) -> Result<String> {
        let output = self.world.slipway.client(&["builders", "token"])?.output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    fn joining(&self, name: &str, token: &str) -> Joining {
        let (server_url, engine) = (self.agents.clone(), self.world.engine.clone());
        Joining { server_url, token: token.to_owned(), engine, name: name.to_owned(), variables: Vec::new() }
    }

    /// A builder that has joined.
    async fn builder(&self, name: &str) -> Result<RemoteBuilder> {
        let builder = RemoteBuilder::start(&self.joining(name, &self.token()?))?;
        self.builder_is(name, "online").await?;
        Ok(builder)
    }

    /// Waits until the builder of this name is shown in a state; its id.
    async fn builder_is(&self, name: &str, state: &str) -> Result<String> {
        let api = self.world.api();
        let shown = eventually("a builder's state", JOINS, || async {
            let list: Value = api.expect(Method::GET, "/api/v1/builders", None).await?;
            let mut items = list["items"].as_array().into_iter().flatten();
            let found = items.find(|builder| builder["name"] == name && builder["state"] == state);
            Ok(found.and_then(|builder| builder["id"].as_str()).map(str::to_owned))
        });
        shown.await.with_context(|| format!("builder {name} is not {state}"))
    }
}

/// The name of the builder that has a build's newest attempt.
fn builder_of(build: &Build) -> Result<String> {
    let attempt = job(build)?.attempts.last().context("an attempt")?;
    attempt.builder.clone().context("an attempt has a builder")
}

async fn joins_builds_and_drains(database: Database) -> Result<()> {
    let Some(site) = Site::start(database).await? else { return Ok(()) };
    listeners_are_apart(&site).await?;
    let mut builder = site.builder("far-away").await?;
    let told = Told::new(&site.world, "remote").await?;
    let gate = Gate::new();
    let build = told.push(&site.world, &gate.dockerfile(1)).await?;
    gate.reached().await?;

    let id = site.builder_is("far-away", "online").await?;
    let (status, answer) = site.world.api().call(Method::POST, &format!("/api/v1/builders/{id}/drain"), None).await?;
    assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
    site.builder_is("far-away", "draining").await?;
    let later = told.push(&site.world, &format!("FROM {BASE_IMAGE}\nLABEL later=1\n")).await?;
    gate.open().await?;

    assert_eq!(builder.stopped().await?.code(), Some(0));
    let build = site.world.api().build(&build).await?;
    assert_eq!((outcomes(&build)?, builder_of(&build)?), (vec!["succeeded"], "far-away".to_owned()));
    assert!(site.world.api().log(&job(&build)?.id).await?.contains(&gate.last_line()));
    told.check_tag(&site.world, &build, &build.commit).await?;
    site.builder_is("far-away", "offline").await?;
    let later = site.world.api().build(&later).await?;
    assert_eq!((later.state.as_str(), outcomes(&later)?.len()), ("pending", 0), "{later:?}");
    Ok(())
}

#[tokio::test]
async fn a_remote_builder_builds_and_drains_on_sqlite() -> Result<()> {
    joins_builds_and_drains(Database::Sqlite).await
}

#[tokio::test]
async fn a_remote_builder_builds_and_drains_on_postgres() -> Result<()> {
    joins_builds_and_drains(Database::Postgres).await
}

#[tokio::test]
async fn a_project_is_built_again_where_it_was_built() -> Result<()> {
    let Some(site) = Site::start(Database::Sqlite).await? else { return Ok(()) };
    let api = site.world.api();
    let _small = site.builder("small").await?;
    let told = Told::new(&site.world, "warm").await?;
    build_on(&site, &told, 0, ("small", "Cold")).await?;
    // Without a warm cache it would get everything: it has the most room.
    let slots = vec![("SLIPWAY_SLOTS".to_owned(), "4".to_owned())];
    let joining = Joining { variables: slots, ..site.joining("large", &site.token()?) };
    let _large = RemoteBuilder::start(&joining)?;
    site.builder_is("large", "online").await?;
    for round in 1..4 {
        build_on(&site, &told, round, ("small", "Warm")).await?;
    }
    let id = site.builder_is("small", "online").await?;
    let (status, answer) = api.call(Method::POST, &format!("/api/v1/builders/{id}/drain"), None).await?;
    assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
    build_on(&site, &told, 4, ("large", "Cold")).await
}

/// Builds a change on the builder of this name, whose cache says in the log what it is like; waits until that has told
/// that it is idle and what its cache knows.
async fn build_on(site: &Site, told: &Told, round: u32, (name, cache): (&str, &str)) -> Result<()> {
    let api = site.world.api();
    let build = told.push(&site.world, &format!("FROM {BASE_IMAGE}\nCOPY Dockerfile /\nLABEL round={round}\n")).await?;
    let build = api.finished_build(&build, BUILD).await?;
    ensure!((build.state.as_str(), builder_of(&build)?.as_str()) == ("succeeded", name), "{build:?}");
    let log = api.log(&job(&build)?.id).await?;
    ensure!(log.contains(&format!("{cache} cache: ")) && !log.contains(&format!("on {name}")), "{log}");
    let idle = eventually("a word of the cache", JOINS, || async {
        let list: Value = api.expect(Method::GET, "/api/v1/builders", None).await?;
        let found = list["items"].as_array().into_iter().flatten().find(|builder| builder["name"] == name);
        let load =
            found.map(|builder| &builder["load"]).filter(|load| load["busy"] == 0 && load["cached_projects"] == 1);
        Ok(load.cloned())
    });
    idle.await.map(drop)
}

/// What is for builders is not on the public address, and the other way round.
async fn listeners_are_apart(site: &Site) -> Result<()> {
    let (public, agents) = (site.world.api(), Api::new(&site.agents, Some(site.world.slipway.token())));
    let open = json!({});
    for (api, method, path, expected) in [
        (&public, Method::POST, "/agent/v1/sessions", StatusCode::NOT_FOUND),
        (&public, Method::POST, "/agent/v1/claims", StatusCode::NOT_FOUND),
        (&public, Method::GET, "/api/v1/projects", StatusCode::OK),
        (&agents, Method::GET, "/api/v1/projects", StatusCode::NOT_FOUND),
        (&agents, Method::GET, "/", StatusCode::NOT_FOUND),
        (&agents, Method::POST, "/hooks/00000000-0000-0000-0000-000000000000", StatusCode::NOT_FOUND),
    ] {
        let body = (method == Method::POST).then_some(&open);
        let (status, answer) = api.call(method, path, body).await?;
        ensure!(status == expected, "{path} answered {status}: {answer}");
    }
    let (status, _) = agents.call(Method::POST, "/agent/v1/sessions", Some(&open)).await?;
    ensure!(status.is_client_error() && status != StatusCode::NOT_FOUND, "the agents' own route answered {status}");
    Ok(())
}

#[tokio::test]
async fn a_wrong_join_token_is_refused_in_words() -> Result<()> {
    let Some(site) = Site::start(Database::Sqlite).await? else { return Ok(()) };
    let mut builder = RemoteBuilder::start(&site.joining("stranger", "slj_not-a-token"))?;
    let status = builder.stopped().await?;
    let said = builder.log_tail();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("The join token is unknown or revoked") && said.contains("SLIPWAY_JOIN_TOKEN"), "{said}");
    let list: Value = site.world.api().expect(Method::GET, "/api/v1/builders", None).await?;
    assert_eq!(list["items"].as_array().map(Vec::len), Some(0), "{list}");
    Ok(())
}

async fn lost_builder_is_replaced(database: Database) -> Result<()> {
    let Some(site) = Site::start(database).await? else { return Ok(()) };
    let (one, two) = tokio::join!(site.builder("one"), site.builder("two"));
    let mut builders = [("one", one?), ("two", two?)];
    let told = Told::new(&site.world, "lost").await?;
    let gate = Gate::new();
    let build = told.push(&site.world, &gate.dockerfile(1)).await?;
    gate.reached().await?;
    let first = builder_of(&site.world.api().build(&build).await?)?;
    for (name, builder) in &mut builders {
        if *name == first {
            builder.kill9();
        }
    }
    gate.left(Duration::from_secs(5)).await?;
    gate.open().await?;
    let build = site.world.api().finished_build(&build, BUILD).await?;
    assert_eq!(outcomes(&build)?, ["lost", "succeeded"]);
    assert_ne!(builder_of(&build)?, first);
    told.check_tag(&site.world, &build, "main").await?;
    site.builder_is(&first, "lost").await?;
    cancel_reaches_a_remote_builder(&site, &told).await
}

#[tokio::test]
async fn a_lost_builder_is_replaced_on_sqlite() -> Result<()> {
    lost_builder_is_replaced(Database::Sqlite).await
}

#[tokio::test]
async fn a_lost_builder_is_replaced_on_postgres() -> Result<()> {
    lost_builder_is_replaced(Database::Postgres).await
}

async fn cancel_reaches_a_remote_builder(site: &Site, told: &Told) -> Result<()> {
    let gate = Gate::new();
    let build = told.push(&site.world, &gate.dockerfile(1)).await?;
    gate.reached().await?;
    let (status, answer) = site.world.api().cancel(&build).await?;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let asked = Instant::now();
    gate.left(CANCEL_ARRIVES).await?;
    let took = asked.elapsed();
    let build = site.world.api().finished_build(&build, BUILD).await?;
    assert_eq!((build.state.as_str(), outcomes(&build)?), ("cancelled", vec!["cancelled"]), "after {took:?}");
    Ok(())
}

#[tokio::test]
async fn a_shared_engine_serves_one_tenant() -> Result<()> {
    let trust = |value: &str| vec![("SLIPWAY_TRUST_TENANTS".to_owned(), value.to_owned())];
    let Some(mut world) = World::start_with(Database::Sqlite, trust("1")).await? else { return Ok(()) };
    let second = json!({ "name": "second" });
    let (status, answer) = world.api().call(Method::POST, "/api/v1/tenants", Some(&second)).await?;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    let (ours, theirs) =
        (Told::new(&world, "ours").await?, Told::with(&world, "theirs", json!({ "tenant": "second" })).await?);
    let dockerfile = |n: u32| format!("FROM {BASE_IMAGE}\nRUN echo {n} for {}\n", world.name);
    // With trust, both are served.
    for (told, n) in [(&ours, 1), (&theirs, 2)] {
        let build = told.push(&world, &dockerfile(n)).await?;
        assert_eq!(world.api().finished_build(&build, BUILD).await?.state, "succeeded");
    }
    let (third, fourth) = (dockerfile(3), dockerfile(4));

    world.slipway.restart_with(trust("0")).await?;
    let third_tenant = json!({ "name": "third" });
    let (status, answer) = world.api().call(Method::POST, "/api/v1/tenants", Some(&third_tenant)).await?;
    assert_eq!(status, StatusCode::CONFLICT, "{answer}");
    assert!(answer["detail"].as_str().is_some_and(|text| text.contains("SLIPWAY_TRUST_TENANTS")), "{answer}");
    let build = ours.push(&world, &third).await?;
    assert_eq!(world.api().finished_build(&build, BUILD).await?.state, "succeeded");
    let refused = theirs.push(&world, &fourth).await?;
    let reason = waits_because(&world, &refused, "another tenant").await?;
    assert!(reason.contains("SLIPWAY_TRUST_TENANTS"), "{reason}");
    // It holds nobody up.
    let build = ours.push(&world, &dockerfile(5)).await?;
    assert_eq!(world.api().finished_build(&build, BUILD).await?.state, "succeeded");
    let refused = world.api().build(&refused).await?;
    assert_eq!((refused.state.as_str(), outcomes(&refused)?.len()), ("pending", 0));
    Ok(())
}

/// Waits until a build says that it waits for this; the whole reason.
async fn waits_because(world: &World, build: &str, words: &str) -> Result<String> {
    let api = world.api();
    let path = format!("/api/v1/builds/{build}");
    let told = eventually("a reason to wait", Duration::from_secs(20), || async {
        let build: Value = api.expect(Method::GET, &path, None).await?;
        let reason = build["waiting"]["reason"].as_str().filter(|reason| reason.contains(words));
        Ok(reason.map(str::to_owned))
    });
    let last = async || api.call(Method::GET, &path, None).await;
    match told.await {
        Ok(reason) => Ok(reason),
        Err(error) => Err(error.context(format!("{:?}", last().await))),
    }
}
