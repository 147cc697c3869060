//! What pages and lists say beyond the rows themselves: filters, what a build was made of, pools over time.

use http::{Method, StatusCode};
use serde_json::{Value, json};
use slipway_domain::tenant::Role;

use super::App;

/// The project's page, or another path below it.
fn path(project: &Value, rest: &str) -> String {
    format!("/projects/{}{rest}", project["id"].as_str().expect("an id"))
}

#[tokio::test]
async fn projects_are_found_by_what_stands_in_the_address() {
    let app = App::new().await;
    let harbour = app.project("team/harbour", "private").await;
    app.project("team/Quay & Co", "public").await;
    app.build(&harbour).await;
    for (query, names) in [
        ("", ["harbour", "Quay"].as_slice()),
        ("?q=HARB&build=&forge=&visibility=&state=&cursor=", &["harbour"]),
        ("?q=quay+%26", &["Quay"]),
        ("?q=acme", &["harbour", "Quay"]),
        ("?build=pending", &["harbour"]),
        ("?build=failed", &[]),
        ("?visibility=public&forge=github", &["Quay"]),
        ("?forge=gitlab", &[]),
        ("?state=paused", &[]),
    ] {
        let page = app.get(&format!("/{query}")).await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.text);
        for name in ["harbour", "Quay"] {
            assert_eq!(page.text.contains(&format!(">team/{name}")), names.contains(&name), "{query}: {name}");
        }
        assert_eq!(page.text.contains("No project fits."), names.is_empty(), "{query}");
    }
    let page = app.get("/?q=%22%3E%3Cb%3E&build=failed").await.text;
    assert!(!page.contains("<b>") && page.contains(r#"<option value="failed" selected>"#), "{page}");
    assert_eq!(app.get("/?q=%00").await.status, StatusCode::UNPROCESSABLE_ENTITY);
    let listed = app.get("/api/v1/projects?q=harb&build=pending").await.json();
    assert_eq!(
        (listed["items"].as_array().map(Vec::len), &listed["items"][0]["name"]),
        (Some(1), &json!("team/harbour"))
    );
    let none = app.get("/api/v1/projects?visibility=public&state=paused").await.json();
    assert_eq!(none["items"], json!([]));
}

#[tokio::test]
async fn builds_of_a_project_are_found_by_ref_and_state() {
    let app = App::new().await;
    let project = app.project("app", "private").await;
    let build = app.build(&project).await;
    let link = format!("href=\"/builds/{}\"", build["id"].as_str().expect("an id"));
    for (query, there) in [("", true), ("?state=pending&ref=", true), ("?state=failed", false), ("?ref=main", false)] {
        let page = app.get(&path(&project, query)).await.text;
        assert_eq!((page.contains(&link), page.contains("No build fits.")), (there, !there), "{query}: {page}");
    }
    let builds = app.get("/api/v1/builds?ref=main").await.json();
    assert_eq!(builds["items"], json!([]));
    assert_eq!(app.get(&path(&project, "?ref=%00")).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    app.build(&project).await;
    let page = app.get(&path(&project, "")).await.text;
    assert!(page.contains("Duration and success") && page.contains("0 of the last 2 builds succeeded"), "{page}");
}

#[tokio::test]
async fn a_build_tells_its_members_what_it_was_made_of_and_the_public_only_where() {
    let app = App::new().await;
    let project = app.project("app", "public").await;
    let api = |rest: &str| format!("/api/v1{}", path(&project, rest));
    let args = json!({"build": {"args": {"GREETING": "<i>hello</i>"}}});
    assert_eq!(app.call_as(Method::PATCH, &app.admin, &api(""), args).await.status, StatusCode::OK);
    for (path, body) in [
        (api("/secrets/npm"), json!({"value": "canary-of-the-project"})),
        (api("/secrets/only-main"), json!({"value": "canary-of-main", "branches": ["main"]})),
        ("/api/v1/secrets/shared".to_owned(), json!({"value": "canary-of-the-tenant"})),
    ] {
        let put = app.call_as(Method::PUT, &app.admin, &path, body).await;
        assert_eq!(put.status, StatusCode::CREATED, "{}", put.text);
    }
    let build = app.build(&project).await;
    let page = format!("/builds/{}", build["id"].as_str().expect("an id"));
    let viewer = app.member(Role::Viewer).await;
    for token in [&app.admin, &viewer] {
        let text = app.get_as(token, &page).await.text;
        assert!(text.contains("GREETING=&#60;i&#62;hello&#60;/i&#62;"), "{text}");
        assert!(text.contains("<code>npm</code>") && text.contains("<code>shared</code>"), "{text}");
        let command = "docker build --build-arg &#39;GREETING=&#60;i&#62;hello&#60;/i&#62;&#39; ";
        assert!(text.contains(command), "{text}");
        assert!(!text.contains("only-main"), "a bare commit is of no branch");
        assert!(text.contains("<code>linux-amd64</code>") && text.contains("No delivery told of it"), "{text}");
        assert!(!text.contains("canary"), "values are never shown");
    }
    let text = app.get_public(&page).await.text;
    assert!(text.contains("<code>linux-amd64</code>"), "{text}");
    for hidden in ["GREETING", "docker build", "<code>npm</code>", "shared</code>", "Commit statuses", "canary"] {
        assert!(!text.contains(hidden), "{hidden} is shown to the public");
    }
}

#[tokio::test]
async fn pools_have_a_past_that_is_drawn() {
    let app = App::new().await;
    assert!(!app.get("/builders").await.text.contains("Slots against demand"), "nothing is known yet");
    let project = app.project("app", "private").await;
    app.build(&project).await;
    let now = app.state.clock.now();
    app.state.db.sample_fleet(now).await.expect("a sample");
    let page = app.get("/builders?hours=24").await.text;
    assert!(
        page.contains("Slots against demand") && page.contains("local/standard/linux-amd64: At most 1 job"),
        "{page}"
    );
    assert!(page.contains(r##"href="/builders?hours=24#over-time" aria-current="true""##), "{page}");
    let history = app.get("/api/v1/pools/history?hours=1&pool=local/standard/linux-amd64").await.json();
    let point = &history["items"][0]["points"][0];
    assert_eq!((&point["slots"], &point["wanted"], &point["running"]), (&json!(0), &json!(1), &json!(0)));
    assert_eq!(app.get("/api/v1/pools/history?pool=eu/large/linux-arm64").await.json()["items"], json!([]));
    app.get("/api/v1/pools/history?hours=169").await.problem(StatusCode::UNPROCESSABLE_ENTITY);
    app.get("/api/v1/pools/history?hours=0").await.problem(StatusCode::UNPROCESSABLE_ENTITY);
    app.get("/api/v1/pools/history?pool=x").await.problem(StatusCode::UNPROCESSABLE_ENTITY);
    app.get_public("/api/v1/pools/history").await.problem(StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn an_empty_installation_walks_to_the_first_build() {
    let app = App::new().await;
    let page = app.get("/").await.text;
    for step in
        ["slipway projects create", "href=\"/builders\"", "href=\"/github-apps\"", "href=\"/deliveries\"", "A push"]
    {
        assert!(page.contains(step), "{step} is missing in {page}");
    }
    assert!(!page.contains("name=\"q\""), "there is nothing to look for");
    let empty = app.project("app", "private").await;
    let page = app.get(&path(&empty, "")).await.text;
    assert!(
        page.contains("No build yet") && page.contains("href=\"#webhook\"") && page.contains("id=\"webhook\""),
        "{page}"
    );
}
