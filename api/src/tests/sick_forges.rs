//! A forge that hangs or fails delays what is told to it, and nothing else.

use std::time::Duration;

use futures_util::future::join_all;
use http::StatusCode;
use serde_json::{Value, json};
use slipway_domain::ids::BuildId;
use slipway_runtime::ids::new_id;
use slipway_runtime::lifecycle::Task;

use super::fake_forge::FakeForge;
use super::{App, project_body};
use crate::reporter::send::{Sending, take};
use crate::reporter::want_statuses_once;

/// A forge is out after so many failures, and looked at again after this time at the latest.
const FAILURES: usize = 5;
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

struct Site {
    app: App,
}

/// A project on a forge of its own.
struct Place {
    forge: FakeForge,
    project: Value,
}

impl Site {
    async fn new() -> Self {
        Self { app: App::with(|config| config.fetch_allow = "127.0.0.1".parse().expect("an address")).await }
    }

    async fn place(&self, name: &str) -> Place {
        let forge = FakeForge::start(&self.app.state.life).await;
        forge.seen.lock().expect("not poisoned").file = Some(String::new());
        let connection = json!({"kind": "github", "base_url": forge.base_url, "token": "ghp-hidden"});
        let connection = self.app.post("/api/v1/connections", connection).await.json();
        let mut body = project_body(name);
        body.as_object_mut().expect("an object").remove("forge");
        body["connection"] = connection["id"].clone();
        let project = self.app.post("/api/v1/projects", body).await;
        assert_eq!(project.status, StatusCode::CREATED, "{}", project.text);
        Place { forge, project: project.json() }
    }

    /// A build of each of so many commits, each with its status.
    async fn builds(&self, place: &Place, count: usize) -> Vec<BuildId> {
        let path = format!("/api/v1/projects/{}/builds", place.project["id"].as_str().expect("an id"));
        let mut builds = Vec::new();
        for n in 0..count {
            let answer = self.app.post(&path, json!({"commit": format!("{n:040x}")})).await;
            assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
            builds.push(answer.json()["id"].as_str().expect("an id").parse().expect("an id"));
        }
        want_statuses_once(&self.app.state, self.app.state.clock.now()).await.expect("a pass");
        builds
    }

    async fn take(&self) -> Vec<Sending> {
        let state = &self.app.state;
        take(state, new_id(), state.clock.now(), 32).await.expect("a pass")
    }

    /// Begins to send; the end is not waited for.
    fn begin(&self, sending: Vec<Sending>) -> Vec<Task<()>> {
        let state = &self.app.state;
        let begin = |sending: Sending| {
            let state = state.clone();
            state.life.clone().task("status", async move { sending.send(&state).await })
        };
        sending.into_iter().map(begin).collect()
    }

    /// Sends what is due and has a place, to its end; how many there were.
    async fn send(&self) -> usize {
        let taken = self.take().await;
        let count = taken.len();
        join_all(taken.into_iter().map(|sending| sending.send(&self.app.state))).await;
        count
    }

    /// How often statuses of these builds were tried, by their due rows.
    async fn tries(&self, builds: &[BuildId]) -> usize {
        let mut tried = 0;
        for build in builds {
            let views = self.app.state.db.statuses_of_build(*build).await.expect("statuses");
            tried += views.iter().filter(|view| view.last_error.is_some()).count();
        }
        tried
    }

    /// Lets retries and looks come due.
    fn later(&self) {
        self.app.state.clock.advance(LONGEST_PAUSE);
    }

    async fn open_forges(&self) -> Vec<String> {
        let answer = self.app.get_public("/readyz?verbose").await;
        assert_eq!(answer.status, StatusCode::OK, "a sick forge makes nobody unready");
        assert!(!answer.text.contains("127.0.0.1"), "anybody may read this: {}", answer.text);
        answer.text.lines().filter(|line| line.starts_with("upstream forge ")).map(str::to_owned).collect()
    }
}

#[tokio::test]
async fn a_hanging_forge_takes_few_places_and_the_others_are_told() {
    let site = Site::new().await;
    let (sick, well) = (site.place("sick").await, site.place("well").await);
    sick.forge.seen.lock().expect("not poisoned").silent = true;
    site.builds(&sick, 20).await;
    site.builds(&well, 6).await;
    // The older statuses of the sick forge fill the front of the queue, and the calls to it never end.
    let mut hanging = Vec::new();
    for _ in 0..20 {
        if well.forge.told().len() == 6 {
            break;
        }
        let (mine, others): (Vec<_>, Vec<_>) =
            site.take().await.into_iter().partition(|sending| sending.status.key.context == "slipway/sick");
        hanging.extend(site.begin(mine));
        join_all(others.into_iter().map(|sending| sending.send(&site.app.state))).await;
    }
    assert_eq!(well.forge.told().len(), 6);
    assert_eq!((hanging.len(), sick.forge.told().len()), (2, 0), "a forge that never answered gets two places");
}

#[tokio::test]
async fn what_waits_for_a_broken_forge_costs_no_tries_and_is_told_once_it_is_well() {
    let site = Site::new().await;
    let (sick, well) = (site.place("sick").await, site.place("well").await);
    sick.forge.refuse(Some((StatusCode::BAD_GATEWAY, None)));
    let builds = site.builds(&sick, 12).await;
    let mut tried = 0;
    while site.open_forges().await.is_empty() {
        tried += site.send().await;
        assert!(tried <= FAILURES + 1, "it is left alone after {FAILURES} failures");
    }
    assert_eq!(site.open_forges().await.len(), 1);
    assert_eq!(site.send().await, 0, "nothing is taken while it is out");
    assert_eq!(site.tries(&builds).await, tried, "and nothing counts as a try");

    site.builds(&well, 3).await;
    while well.forge.told().len() < 3 {
        assert!(site.send().await > 0);
    }
    site.later();
    assert_eq!(site.send().await, 1, "one call looks whether it is back");
    assert_eq!(site.send().await, 0, "it is not");
    assert_eq!(site.open_forges().await.len(), 1);

    sick.forge.refuse(None);
    site.later();
    assert_eq!(site.send().await, 1);
    assert_eq!(site.open_forges().await, [""; 0]);
    site.later();
    while site.send().await > 0 {}
    assert_eq!(sick.forge.told().len(), 12, "each once, without an operator");
}

#[tokio::test]
async fn builds_are_made_without_asking_a_forge_that_is_out() {
    let site = Site::new().await;
    let sick = site.place("sick").await;
    let asked = || sick.forge.seen.lock().expect("not poisoned").asked;
    sick.forge.seen.lock().expect("not poisoned").file = None;
    site.builds(&sick, FAILURES).await;
    assert_eq!(asked(), FAILURES);
    assert_eq!(site.open_forges().await.len(), 1);
    site.builds(&sick, 3).await;
    assert_eq!(asked(), FAILURES, "its pipeline file is unknown at once");

    sick.forge.seen.lock().expect("not poisoned").file = Some("region: eu\n".to_owned());
    site.later();
    let build = site.builds(&sick, 1).await.remove(0);
    assert_eq!((asked(), site.open_forges().await), (FAILURES + 1, Vec::new()));
    let build = site.app.get(&format!("/api/v1/builds/{build}")).await.json();
    assert_eq!(build["jobs"][0]["pool"], "eu/standard/linux-amd64");
}
