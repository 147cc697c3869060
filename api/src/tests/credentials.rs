//! Tenants, connections, registries and join tokens: credentials go in and never come back.

use http::{Method, StatusCode};
use serde_json::json;

use super::App;

#[tokio::test]
async fn a_second_tenant_needs_trust_or_an_engine_of_its_own() {
    let shared = App::new().await;
    let detail = shared.post("/api/v1/tenants", json!({"name": "b"})).await.problem(StatusCode::CONFLICT);
    assert!(detail.contains("SLIPWAY_TRUST_TENANTS"), "{detail}");
    for app in
        [App::with(|config| config.trust_tenants = true).await, App::with(|config| config.shared_engine = false).await]
    {
        let made = app.post("/api/v1/tenants", json!({"name": "b"})).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
        app.post("/api/v1/tenants", json!({"name": "b"})).await.problem(StatusCode::CONFLICT);
        let list = app.get("/api/v1/tenants").await.json();
        let names: Vec<_> = list["items"].as_array().expect("items").iter().map(|tenant| &tenant["name"]).collect();
        assert_eq!(names.len(), 2, "{names:?}");
        let other = app.post("/api/v1/connections", json!({"tenant": "b", "kind": "gitlab"})).await;
        assert_eq!(other.json()["tenant"], made.json()["id"]);
    }
}

#[tokio::test]
async fn a_plan_says_what_a_tenants_next_build_may_use() {
    let app = App::with(|config| config.trust_tenants = true).await;
    let made = app.post("/api/v1/tenants", json!({"name": "b", "plan": "free"})).await.json();
    assert_eq!(
        (&made["plan"], &made["running_limit"], &made["limits"]["pids"]),
        (&json!("free"), &json!(1), &json!(512))
    );
    let detail = app.post("/api/v1/tenants", json!({"name": "c", "plan": "gold"})).await;
    assert!(detail.problem(StatusCode::UNPROCESSABLE_ENTITY).contains("there are free, pro, team"));

    let change = async |body| app.call_as(Method::PATCH, &app.admin, "/api/v1/tenants/b", body).await;
    let pro = change(json!({"plan": "pro"})).await.json();
    assert_eq!((&pro["plan"], &pro["running_limit"], &pro["running"]), (&json!("pro"), &json!(3), &json!(0)));
    assert_eq!(change(json!({"running_limit": 7})).await.json()["running_limit"], 7);
    assert_eq!(change(json!({"plan": "free"})).await.json()["running_limit"], 7, "a number of its own");
    assert_eq!(change(json!({"running_limit": null})).await.json()["running_limit"], 1);
    change(json!({"running_limit": -1})).await.problem(StatusCode::UNPROCESSABLE_ENTITY);
    change(json!({"plan": "gold"})).await.problem(StatusCode::UNPROCESSABLE_ENTITY);
    let default = app.get("/api/v1/tenants").await.json()["items"][0].clone();
    assert_eq!((&default["plan"], &default["running_limit"]), (&json!("team"), &json!(10)));

    let call = app.call_as(Method::PATCH, &app.admin, "/api/v1/tenants/default", json!({"plan": "free"}));
    assert_eq!(call.await.status, StatusCode::OK);
    let build = app.build(&app.project("of-plans", "private").await).await;
    let job = build["jobs"][0]["id"].as_str().expect("a job").parse().expect("an id");
    let spec = app.state.db.job_spec(job).await.expect("a spec");
    assert_eq!((spec.limits.pids, spec.context_max_entries), (512, 50_000));
}

#[tokio::test]
async fn a_connection_keeps_its_token_to_itself() {
    let app = App::new().await;
    let body = json!({"kind": "gitlab", "base_url": "https://1.1.1.1", "token": "glpat-hidden"});
    let made = app.post("/api/v1/connections", body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    assert_eq!((&made.json()["has_token"], &made.json()["kind"]), (&json!(true), &json!("gitlab")));
    let list = app.get("/api/v1/connections").await;
    assert_eq!(list.json()["items"][0]["id"], made.json()["id"]);
    assert!(!made.text.contains("hidden") && !list.text.contains("hidden"));
    let mut project = super::project_body("on-connection");
    project.as_object_mut().expect("an object").remove("forge");
    project["connection"] = made.json()["id"].clone();
    let project = app.post("/api/v1/projects", project).await;
    assert_eq!(project.json()["connection"], made.json()["id"], "{}", project.text);
    assert_eq!(project.json()["forge"], "gitlab");
    let private = json!({"kind": "gitlab", "base_url": "https://192.168.0.1"});
    app.post("/api/v1/connections", private).await.problem(StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn a_registry_login_is_replaced_by_host_and_can_be_taken_away() {
    let app = App::with(|config| config.fetch_allow = "127.0.0.1".parse().expect("an address")).await;
    let body = |user: &str| json!({"host": "127.0.0.1:5000", "user": user, "password": "hidden"});
    let made = app.post("/api/v1/registries", body("one")).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    let replaced = app.post("/api/v1/registries", body("two")).await;
    assert_eq!(replaced.status, StatusCode::OK, "{}", replaced.text);
    let list = app.get("/api/v1/registries").await;
    assert_eq!(list.json()["items"].as_array().expect("items").len(), 1);
    assert_eq!(list.json()["items"][0]["user"], "two");
    assert!(!list.text.contains("hidden") && !replaced.text.contains("hidden"));
    let path = format!("/api/v1/registries/{}", list.json()["items"][0]["id"].as_str().expect("an id"));
    assert_eq!(app.call_as(Method::DELETE, &app.admin, &path, json!(null)).await.status, StatusCode::NO_CONTENT);
    app.call_as(Method::DELETE, &app.admin, &path, json!(null)).await.problem(StatusCode::NOT_FOUND);
    for host in ["registry", "https://r.example.org", "r.example.org/path", "10.0.0.1:5000"] {
        let body = json!({"host": host, "user": "u", "password": "p"});
        app.post("/api/v1/registries", body).await.problem(StatusCode::UNPROCESSABLE_ENTITY);
    }
}

#[tokio::test]
async fn join_tokens_belong_to_a_pool() {
    let app = App::new().await;
    let made = app.post("/api/v1/builders/tokens", json!({})).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    assert_eq!(made.json()["pool"], "local/standard/linux-amd64");
    assert!(made.json()["token"].as_str().expect("a token").starts_with("slj_"));
    let other = app.post("/api/v1/builders/tokens", json!({"pool": "eu/large/linux-arm64"})).await;
    assert_eq!(other.json()["pool"], "eu/large/linux-arm64");
    let detail =
        app.post("/api/v1/builders/tokens", json!({"pool": "eu"})).await.problem(StatusCode::UNPROCESSABLE_ENTITY);
    assert!(detail.contains("region/class/platform"), "{detail}");
    assert_eq!(app.get("/api/v1/builders").await.json(), json!({"items": [], "next_cursor": null}));
    let nobody = "/api/v1/builders/018f0000-0000-7000-8000-000000000000/drain";
    app.post(nobody, json!(null)).await.problem(StatusCode::NOT_FOUND);
}
