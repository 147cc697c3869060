//! What a forge is told about a build, and what becomes of it when the forge does not listen.

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use slipway_domain::ids::{BuildId, ProcessId};
use slipway_domain::status::StatusState;
use slipway_runtime::ids::new_id;
use slipway_store::statuses::StatusView;

use super::fake_forge::FakeForge;
use super::{App, COMMIT, project_body};
use crate::reporter::send::take;
use crate::reporter::want_statuses_once;

struct Reported {
    app: App,
    forge: FakeForge,
    project: Value,
}

impl Reported {
    async fn new() -> Self {
        let app = App::with(|config| config.fetch_allow = "127.0.0.1".parse().expect("an address")).await;
        let forge = FakeForge::start(&app.state.life).await;
        let connection = json!({"kind": "github", "base_url": forge.base_url, "token": "ghp-hidden"});
        let connection = app.post("/api/v1/connections", connection).await;
        assert_eq!(connection.status, StatusCode::CREATED, "{}", connection.text);
        let mut body = project_body("reported");
        body.as_object_mut().expect("an object").remove("forge");
        body["connection"] = connection.json()["id"].clone();
        let project = app.post("/api/v1/projects", body).await;
        assert_eq!(project.status, StatusCode::CREATED, "{}", project.text);
        Self { project: project.json(), app, forge }
    }

    async fn build(&self) -> BuildId {
        self.app.build(&self.project).await["id"].as_str().expect("an id").parse().expect("an id")
    }

    async fn cancel(&self, build: BuildId) {
        let answer = self.app.post(&format!("/api/v1/builds/{build}/cancel"), json!({})).await;
        assert!(answer.status.is_success(), "{}", answer.text);
    }

    fn now(&self) -> DateTime<Utc> {
        self.app.state.clock.now()
    }

    async fn report(&self) -> (usize, usize) {
        self.report_at(self.now()).await
    }

    async fn report_at(&self, now: DateTime<Utc>) -> (usize, usize) {
        let owner: ProcessId = new_id();
        let wanted = want_statuses_once(&self.app.state, now).await.expect("a pass");
        let taken = take(&self.app.state, owner, now, 32).await.expect("a pass");
        let sent = taken.len();
        join_all(taken.into_iter().map(|sending| sending.send(&self.app.state))).await;
        (wanted, sent)
    }

    /// What the API shows whom as the build's statuses, alone and in the list.
    async fn shown(&self, token: Option<&str>, build: BuildId) -> [Value; 2] {
        let (one, list) = (format!("/api/v1/builds/{build}"), format!("/api/v1/builds?project={}", self.project_id()));
        let read = async |path: &str| match token {
            Some(token) => self.app.get_as(token, path).await.json(),
            None => self.app.get_public(path).await.json(),
        };
        let items = read(&list).await["items"].as_array().expect("items").clone();
        let listed = items.into_iter().find(|item| item["id"] == build.to_string()).expect("it is listed");
        [read(&one).await["statuses"].clone(), listed["statuses"].clone()]
    }

    fn project_id(&self) -> &str {
        self.project["id"].as_str().expect("an id")
    }

    async fn view(&self, build: BuildId) -> StatusView {
        self.app.state.db.statuses_of_build(build).await.expect("statuses").remove(0)
    }
}

fn said(states: &[&str]) -> Vec<(String, String)> {
    states.iter().map(|state| (COMMIT.to_owned(), (*state).to_owned())).collect()
}

#[tokio::test]
async fn a_forge_is_told_once_that_a_build_waits_and_once_how_it_ended() {
    let reported = Reported::new().await;
    let build = reported.build().await;
    assert_eq!(reported.report().await, (1, 1));
    assert_eq!(reported.report().await, (0, 0));
    reported.cancel(build).await;
    assert_eq!(reported.report().await, (1, 1));
    assert_eq!(reported.report().await, (0, 0));
    assert_eq!(reported.forge.told(), said(&["pending", "error"]));
    let seen = reported.forge.seen.lock().expect("not poisoned");
    let (_, body, authorization) = &seen.statuses[0];
    assert_eq!(authorization, "Bearer ghp-hidden");
    assert_eq!(body["context"], "slipway/reported");
    assert_eq!(body["target_url"], format!("http://127.0.0.1:8080/builds/{build}"));
}

#[tokio::test]
async fn a_page_of_a_build_that_is_over_is_read_again_until_the_forge_knows() {
    let reported = Reported::new().await;
    let build = reported.build().await;
    reported.report().await;
    reported.cancel(build).await;
    let page = async || reported.app.get(&format!("/builds/{build}")).await.text;
    assert!(page().await.contains("data-refresh-ms=\"5000\""), "nobody wanted the status yet");
    want_statuses_once(&reported.app.state, reported.now()).await.expect("a pass");
    assert!(page().await.contains("data-refresh-ms=\"5000\""), "it is due");
    assert_eq!(reported.report().await, (0, 1));
    assert!(!page().await.contains("data-refresh-ms"), "the forge knows");
}

#[tokio::test]
async fn what_was_not_looked_at_in_time_is_told_only_in_its_newest_state() {
    let reported = Reported::new().await;
    let build = reported.build().await;
    want_statuses_once(&reported.app.state, reported.now()).await.expect("a pass");
    reported.cancel(build).await;
    assert_eq!(reported.report().await, (1, 1));
    assert_eq!(reported.forge.told(), said(&["error"]));
}

#[tokio::test]
async fn a_newer_build_of_the_commit_wins_over_an_older_one_that_ends_later() {
    let reported = Reported::new().await;
    let (old, new) = (reported.build().await, reported.build().await);
    assert_eq!(reported.report().await, (2, 1));
    reported.cancel(new).await;
    assert_eq!(reported.report().await, (1, 1));
    reported.cancel(old).await;
    assert_eq!(reported.report().await, (1, 0), "the older build has no word any more");
    assert_eq!(reported.forge.told(), said(&["pending", "error"]));
}

#[tokio::test]
async fn a_limit_is_honoured_and_the_status_sent_afterwards() {
    let reported = Reported::new().await;
    let build = reported.build().await;
    reported.forge.refuse(Some((StatusCode::TOO_MANY_REQUESTS, Some("120"))));
    let now = reported.now();
    assert_eq!(reported.report_at(now).await, (1, 1));
    reported.forge.refuse(None);
    assert_eq!(reported.report_at(now + TimeDelta::seconds(100)).await, (0, 0), "not before the forge said");
    let view = reported.view(build).await;
    assert_eq!(view.state, StatusState::Due);
    assert!(view.last_error.expect("why").contains("limits"));
    assert_eq!(reported.report_at(now + TimeDelta::seconds(121)).await, (0, 1));
    assert_eq!(reported.forge.told(), said(&["pending"]));
}

#[tokio::test]
async fn a_refusal_is_final_for_this_status_but_not_for_the_next() {
    for code in [StatusCode::UNAUTHORIZED, StatusCode::NOT_FOUND, StatusCode::UNPROCESSABLE_ENTITY] {
        let reported = Reported::new().await;
        let build = reported.build().await;
        reported.forge.refuse(Some((code, None)));
        assert_eq!(reported.report().await, (1, 1));
        assert_eq!(reported.view(build).await.state, StatusState::GivenUp, "{code}");
        assert_eq!(reported.report_at(reported.now() + TimeDelta::days(1)).await, (0, 0));
        reported.forge.refuse(None);
        reported.cancel(build).await;
        assert_eq!(reported.report().await, (1, 1));
        assert_eq!(reported.forge.told(), said(&["error"]));
    }
}

#[tokio::test]
async fn a_forge_that_fails_is_asked_again() {
    let reported = Reported::new().await;
    reported.build().await;
    reported.forge.refuse(Some((StatusCode::BAD_GATEWAY, None)));
    let now = reported.now();
    assert_eq!(reported.report_at(now).await, (1, 1));
    reported.forge.refuse(None);
    assert_eq!(reported.report_at(now + TimeDelta::seconds(3)).await, (0, 1));
    assert_eq!(reported.forge.told(), said(&["pending"]));
}

#[tokio::test]
async fn without_a_credential_nobody_is_told() {
    let app = App::new().await;
    let project = app.project("silent", "private").await;
    app.build(&project).await;
    let now = app.state.clock.now();
    assert_eq!(want_statuses_once(&app.state, now).await.expect("a pass"), 1);
    assert_eq!(want_statuses_once(&app.state, now).await.expect("a pass"), 0, "it is not looked at again");
    assert!(take(&app.state, new_id(), now, 32).await.expect("a pass").is_empty());
}

#[tokio::test]
async fn a_build_and_its_page_say_how_its_status_stands() {
    const UNTOLD: &str = "The forge does not show this build as it is";
    let reported = Reported::new().await;
    let app = &reported.app;
    let build = reported.build().await;
    assert_eq!(reported.shown(Some(&app.admin), build).await, [json!([]), json!([])], "not looked at yet");

    reported.forge.refuse(Some((StatusCode::UNAUTHORIZED, None)));
    reported.report().await;
    let error = reported.view(build).await.last_error.expect("why");
    let status = |shows: &str, state: &str, error: Value| json!([{"context": "slipway/reported", "shows": shows, "state": state, "error": error}]);
    let given_up = status("pending", "given_up", json!(error));
    assert_eq!(reported.shown(Some(&app.admin), build).await, [given_up.clone(), given_up]);
    let page = app.get(&format!("/builds/{build}")).await.text;
    assert!(page.contains(UNTOLD) && page.contains("(status 401); renew it"), "{error}: {page}");

    reported.forge.refuse(None);
    reported.cancel(build).await;
    reported.report().await;
    let sent = status("cancelled", "sent", Value::Null);
    assert_eq!(reported.shown(Some(&app.admin), build).await, [sent.clone(), sent]);
    assert!(!app.get(&format!("/builds/{build}")).await.text.contains(UNTOLD));
}

#[tokio::test]
async fn the_public_is_not_told_how_statuses_stand() {
    let reported = Reported::new().await;
    let (app, path) = (&reported.app, format!("/api/v1/projects/{}", reported.project_id()));
    let public = app.call_as(Method::PATCH, &app.admin, &path, json!({"visibility": "public"})).await;
    assert_eq!(public.status, StatusCode::OK, "{}", public.text);
    let build = reported.build().await;
    reported.forge.refuse(Some((StatusCode::UNAUTHORIZED, None)));
    reported.report().await;
    assert_eq!(reported.shown(None, build).await, [json!([]), json!([])]);
    assert_ne!(reported.shown(Some(&app.admin), build).await[0], json!([]), "a member is");
    let page = app.get_public(&format!("/builds/{build}")).await;
    assert!(page.status == StatusCode::OK && !page.text.contains("status 401"), "{}", page.text);
}
