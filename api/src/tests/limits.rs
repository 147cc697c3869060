//! Who asks too often is told when to come again, and nobody else notices.

use http::{Method, StatusCode, header};
use serde_json::json;
use slipway_domain::tenant::Role;

use super::{App, COMMIT, form_request, project_body};

#[tokio::test]
async fn a_tenant_asks_for_so_many_builds_a_minute_and_no_more() {
    let app = App::with(|config| config.builds_per_minute = 3).await;
    let project = app.project("app", "private").await;
    let path = format!("/api/v1/projects/{}/builds", project["id"].as_str().expect("an id"));
    let [one, other] = [app.member(Role::Maintainer).await, app.member(Role::Owner).await];
    let ask = async |token: &str| app.call_as(Method::POST, token, &path, json!({"commit": COMMIT})).await;
    for token in [&one, &other, &one] {
        assert_eq!(ask(token).await.status, StatusCode::CREATED);
    }
    let refused = ask(&other).await;
    assert!(refused.problem(StatusCode::TOO_MANY_REQUESTS).contains("SLIPWAY_TENANT_BUILDS_PER_MINUTE"));
    let secs: u32 = refused.header(header::RETRY_AFTER).parse().expect("seconds");
    assert!((1..=20).contains(&secs), "{secs}");
    let viewer = app.member(Role::Viewer).await;
    assert_eq!(ask(&viewer).await.status, StatusCode::FORBIDDEN, "who may not is told so");
    assert_eq!(ask(&app.admin).await.status, StatusCode::CREATED, "operators are not counted");
    let listed = app.get_as(&one, "/api/v1/builds").await.json();
    let build = listed["items"][0]["id"].as_str().expect("a build").to_owned();
    assert_eq!(app.call_as(Method::POST, &one, &format!("/api/v1/builds/{build}/cancel"), json!({})).await.status, 200);
    let again = app.call_as(Method::POST, &one, &format!("/api/v1/builds/{build}/retry"), json!({})).await;
    again.problem(StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn a_tenant_makes_so_many_changes_a_minute_and_reads_as_it_likes() {
    let app = App::with(|config| config.writes_per_minute = 2).await;
    let owner = app.member(Role::Owner).await;
    for name in ["one", "two"] {
        let made = app.call_as(Method::POST, &owner, "/api/v1/projects", project_body(name)).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    }
    let refused = app.call_as(Method::POST, &owner, "/api/v1/projects", project_body("three")).await;
    assert!(refused.problem(StatusCode::TOO_MANY_REQUESTS).contains("SLIPWAY_TENANT_WRITES_PER_MINUTE"));
    for _ in 0..5 {
        assert_eq!(app.get_as(&owner, "/api/v1/projects").await.status, StatusCode::OK);
    }
    let elsewhere = app.post("/api/v1/tenants", json!({"name": "other"})).await;
    assert_eq!(elsewhere.status, StatusCode::CONFLICT, "an operator is not counted: {}", elsewhere.text);
    let form = form_request("/login", "http://127.0.0.1:8080", None, &format!("token={owner}&next=%2F"));
    assert_eq!(app.send(form).await.status, StatusCode::SEE_OTHER, "signing in changes nothing of the tenant's");
}
