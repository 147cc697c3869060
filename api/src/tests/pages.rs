//! The pages as a signed-in user gets them.

use axum::body::Body;
use chrono::TimeDelta;
use http::{Request, StatusCode, header};
use slipway_domain::build::BuildState;
use slipway_store::Scope;
use slipway_store::builds::Build;

use super::{App, form_request};
use crate::pages::chart::Chart;
use crate::texts::ENGLISH;

#[tokio::test]
async fn an_empty_installation_says_what_to_do_next() {
    let app = App::new().await;
    let home = app.get("/").await;
    assert!(home.text.contains("No project yet") && home.text.contains("slipway projects create"), "{}", home.text);
    assert!(app.get("/builders").await.text.contains("No builder yet"));
    assert!(app.get("/deliveries").await.text.contains("Nothing has come in yet"));
    let queues = app.get("/queues").await.text;
    for part in [
        "No pool yet: nothing waits, and no builder has joined. <a href=\"/builders\">",
        "Nothing waits. A push makes a build, and so does the button on the page of one of <a href=\"/\">the projects</a>.",
    ] {
        assert!(queues.contains(part), "{part} is missing in {queues}");
    }
}

#[tokio::test]
async fn a_build_page_has_its_log_and_its_buttons() {
    let app = App::new().await;
    let project = app.project("team/<b>app</b>", "private").await;
    let build = app.build(&project).await;
    let (id, job) = (build["id"].as_str().expect("an id"), build["jobs"][0]["id"].as_str().expect("an id"));
    let page = app.get(&format!("/builds/{id}")).await;
    assert!(page.header(header::CONTENT_TYPE).starts_with("text/html"));
    assert!(!page.text.contains("<b>app"), "names are escaped");
    for part in [
        format!("data-log=\"/api/v1/jobs/{job}/log\""),
        format!("href=\"/api/v1/jobs/{job}/log\""),
        format!("action=\"/builds/{id}/cancel\""),
        "data-refresh-ms=\"1500\"".to_owned(),
        "Waiting".to_owned(),
    ] {
        assert!(page.text.contains(&part), "{part} is missing in {}", page.text);
    }
    assert!(!page.text.contains("style=\"") && !page.text.contains("onclick"), "nothing inline");

    let cookie = app.log_in().await;
    let cancel =
        app.send(form_request(&format!("/builds/{id}/cancel"), "http://127.0.0.1:8080", Some(&cookie), "")).await;
    assert_eq!(
        (cancel.status, cancel.header(header::LOCATION)),
        (StatusCode::SEE_OTHER, format!("/builds/{id}").as_str())
    );
    let page = app.get(&format!("/builds/{id}")).await.text;
    assert!(page.contains("Cancelled") && page.contains(&format!("action=\"/builds/{id}/retry\"")), "{page}");
    assert!(!page.contains("data-refresh-ms"), "what is over does not refresh");
    assert!(app.get("/").await.text.contains("Cancelled"));
}

#[tokio::test]
async fn a_project_page_tells_how_to_set_up_the_webhook() {
    let app = App::new().await;
    let project = app.project("app", "private").await;
    let id = project["id"].as_str().expect("an id");
    let page = app.get(&format!("/projects/{id}")).await.text;
    let url = project["hook"]["url"].as_str().expect("a URL");
    let secret = project["hook"]["secret"].as_str().expect("a secret");
    assert!(page.contains(url) && page.contains("On GitHub open") && !page.contains(secret), "{page}");

    let cookie = app.log_in().await;
    let build = format!("/projects/{id}/build");
    let form = format!("what={}", super::COMMIT);
    let made = app.send(form_request(&build, "http://127.0.0.1:8080", Some(&cookie), &form)).await;
    assert!(made.header(header::LOCATION).starts_with("/builds/"), "{}", made.text);
    let unknown = app.send(form_request(&build, "http://127.0.0.1:8080", Some(&cookie), "what=main")).await;
    assert_eq!(unknown.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(unknown.text.contains("<html") && unknown.text.contains("full commit id"), "{}", unknown.text);
}

#[tokio::test]
async fn a_missing_page_is_a_page() {
    let app = App::new().await;
    let path = "/builds/018f0000-0000-7000-8000-000000000000";
    let request = Request::get(path).body(Body::empty()).expect("a request");
    let page = app.send(request).await;
    assert_eq!(page.status, StatusCode::NOT_FOUND);
    assert!(page.text.contains("<h1>Not Found</h1>") && page.text.contains("/login?next="), "{}", page.text);
}

#[tokio::test]
async fn bars_are_as_high_as_builds_are_long() {
    let app = App::new().await;
    let project = app.project("app", "private").await;
    let made = app.build(&project).await;
    let id = made["id"].as_str().expect("an id").parse().expect("a build");
    let build = app.state.db.build(&Scope::Operator, id).await.expect("a build");
    let at = |secs: i64| Some(build.created_at + TimeDelta::seconds(secs));
    let of = |state, started_at, finished_at| Build { state, started_at, finished_at, ..build.clone() };
    let builds = [
        of(BuildState::Pending, None, None),
        of(BuildState::Running, at(0), None),
        of(BuildState::Failed, at(0), at(5)),
        of(BuildState::Succeeded, at(0), at(10)),
    ];
    let chart = Chart::new(&builds, build.created_at + TimeDelta::seconds(2), ENGLISH);
    let bars: Vec<(&str, i64, usize)> = chart.bars.iter().map(|bar| (bar.tone, bar.height, bar.x)).collect();
    assert_eq!(bars, [("good", 26, 0), ("bad", 13, 8), ("busy", 5, 16), ("wait", 3, 24)]);
    assert_eq!((chart.words.as_str(), chart.width), ("1 of the last 4 builds succeeded, half of them within 10 s", 32));
    assert!(chart.bars[1].label.starts_with("Failed, 5.0 s"), "{}", chart.bars[1].label);
    assert!(Chart::new(&[] as &[Build], build.created_at, ENGLISH).bars.is_empty());
}
