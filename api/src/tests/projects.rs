//! Making and changing projects.

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Method, Request, StatusCode, header};
use serde_json::{Value, json};
use slipway_domain::tenant::Role;

use super::{App, project_body};

#[tokio::test]
async fn a_project_comes_with_its_hook_and_shows_the_secret_once() {
    let app = App::new().await;
    let project = app.project("team/app", "private").await;
    let id = project["id"].as_str().expect("an id");
    let url = project["hook"]["url"].as_str().expect("a URL");
    assert!(url.starts_with("http://127.0.0.1:8080/hooks/"), "{url}");
    assert!(project["hook"]["secret"].as_str().expect("a secret").len() > 40);
    assert_eq!(
        (&project["name"], &project["visibility"], &project["image"]),
        (&json!("team/app"), &json!("private"), &Value::Null)
    );
    assert_eq!(project["repo"], json!({"full_path": "acme/app", "clone_url": "https://1.1.1.1/acme/app.git"}));
    let again = app.get(&format!("/api/v1/projects/{id}")).await.json();
    assert_eq!(again["hook"]["url"], url);
    assert_eq!(again["hook"]["secret"], Value::Null);
    app.post("/api/v1/projects", project_body("team/app")).await.problem(StatusCode::CONFLICT);
}

#[tokio::test]
async fn a_hook_has_a_secret_of_the_form_that_its_forge_signs_with() {
    let app = App::new().await;
    let connection = app.post("/api/v1/connections", json!({"kind": "gitlab"})).await.json();
    let cases = [
        ("by-kind", json!({"kind": "gitlab"}), Value::Null, true),
        ("by-connection", Value::Null, connection["id"].clone(), true),
        ("github", json!({"kind": "github"}), Value::Null, false),
    ];
    for (name, forge, connection, is_signing_key) in cases {
        let mut body = project_body(name);
        (body["forge"], body["connection"]) = (forge, connection);
        let made = app.post("/api/v1/projects", body).await;
        assert_eq!(made.status, StatusCode::CREATED, "{name}: {}", made.text);
        let project = made.json();
        let secret = project["hook"]["secret"].as_str().expect("a secret");
        let key = secret.strip_prefix("whsec_").map(|key| STANDARD.decode(key).expect("base64").len());
        assert_eq!(key, is_signing_key.then_some(32), "{name}");
    }
}

#[tokio::test]
async fn addresses_are_looked_at_only_for_who_may_make_projects() {
    let app = App::new().await;
    let mut body = project_body("x");
    body["repo"]["clone_url"] = json!("https://127.0.0.1/x.git");
    let viewer = app.member(Role::Viewer).await;
    let refused = app.call_as(Method::POST, &viewer, "/api/v1/projects", body.clone()).await;
    refused.problem(StatusCode::FORBIDDEN);
    let public = Request::post("/api/v1/projects")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body.to_string()))
        .expect("a request");
    app.send(public).await.problem(StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn wrong_fields_are_named() {
    let app = App::with(|config| config.fetch_allow = "10.1.2.3".parse().expect("an address")).await;
    let change = |pointer: &str, value: Value| {
        let mut body = project_body("x");
        *body.pointer_mut(pointer).expect("a field") = value;
        body
    };
    let with = |key: &str, value: Value| {
        let mut body = project_body("x");
        body[key] = value;
        body
    };
    let cases = [
        ("colour", with("colour", json!("red"))),
        ("name", change("/name", json!(""))),
        ("name", change("/name", json!("x".repeat(101)))),
        ("repo.full_path", change("/repo/full_path", json!("../x"))),
        ("repo.clone_url", change("/repo/clone_url", json!("not a url"))),
        ("repo.clone_url", change("/repo/clone_url", json!("file:///etc/passwd"))),
        ("repo.clone_url", change("/repo/clone_url", json!("git://1.1.1.1/x.git"))),
        ("repo.clone_url", change("/repo/clone_url", json!("http://1.1.1.1/x.git"))),
        ("repo.clone_url", change("/repo/clone_url", json!("https://user:password@1.1.1.1/x.git"))),
        ("SLIPWAY_FETCH_ALLOW", change("/repo/clone_url", json!("https://127.0.0.1/x.git"))),
        ("SLIPWAY_FETCH_ALLOW", change("/repo/clone_url", json!("https://[::1]/x.git"))),
        ("forge.base_url", with("forge", json!({"kind": "github", "base_url": "https://10.0.0.1"}))),
        ("kind", with("forge", json!({"kind": "cvs"}))),
        ("visibility", with("visibility", json!("secret"))),
        ("image.repository", with("image", json!({"repository": "app"}))),
        ("image.repository", with("image", json!({"repository": "10.1.2.3:5000/App"}))),
        ("image.tags", with("image", json!({"repository": "10.1.2.3:5000/app", "tags": ["a b"]}))),
        ("build.dockerfile", with("build", json!({"dockerfile": "/etc/passwd"}))),
        ("connection", with("connection", json!("018f0000-0000-7000-8000-000000000000"))),
    ];
    for (named, body) in cases {
        let detail = app.post("/api/v1/projects", body.clone()).await.problem(StatusCode::UNPROCESSABLE_ENTITY);
        assert!(detail.contains(named) || detail.contains("unknown variant"), "{named}: {detail} for {body}");
        assert!(!detail.contains("password@"), "{detail}");
    }
    assert_eq!(app.get("/api/v1/projects").await.json()["items"], json!([]));
    let fine = with("image", json!({"repository": "10.1.2.3:5000/app", "tags": ["{{sha}}", "latest"]}));
    assert_eq!(app.post("/api/v1/projects", fine).await.status, StatusCode::CREATED);
    let plain_http = change("/repo/clone_url", json!("http://10.1.2.3/x.git"));
    let mut plain_http = plain_http;
    plain_http["name"] = json!("y");
    assert_eq!(app.post("/api/v1/projects", plain_http).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn malformed_and_oversized_bodies_are_refused() {
    let app = App::new().await;
    let raw = |body: Vec<u8>, kind: &'static str| {
        Request::post("/api/v1/projects")
            .header(header::AUTHORIZATION, format!("Bearer {}", app.admin))
            .header(header::CONTENT_TYPE, kind)
            .body(Body::from(body))
            .expect("a request")
    };
    app.send(raw(b"{\"name\": ".to_vec(), "application/json")).await.problem(StatusCode::BAD_REQUEST);
    app.send(raw(b"{}".to_vec(), "text/plain")).await.problem(StatusCode::BAD_REQUEST);
    app.send(raw(vec![b' '; 2 * 1024 * 1024], "application/json")).await.problem(StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn patch_changes_what_is_given_and_null_takes_away() {
    let app = App::with(|config| config.fetch_allow = "10.1.2.3".parse().expect("an address")).await;
    let project = app.project("app", "private").await;
    let path = format!("/api/v1/projects/{}", project["id"].as_str().expect("an id"));
    let patch = |body: Value| app.call_as(Method::PATCH, &app.admin, &path, body);
    let image = json!({"image": {"repository": "10.1.2.3:5000/app"}, "build": {"target": "run"}});
    let changed = patch(image).await.json();
    assert_eq!(changed["image"]["repository"], "10.1.2.3:5000/app");
    assert_eq!(changed["build"], json!({"target": "run"}));
    let changed = patch(json!({"visibility": "public"})).await.json();
    assert_eq!((&changed["visibility"], &changed["build"]["target"]), (&json!("public"), &json!("run")));
    let rules = json!({"branches": ["main", "!wip/**"], "strangers": "ignore"});
    let changed = patch(json!({"rules": rules})).await.json();
    assert_eq!(changed["rules"], rules);
    for (bad, words) in [(json!({"branches": ["["]}), "rules.branches"), (json!({"branch": ["a"]}), "branch")] {
        let detail = patch(json!({"rules": bad})).await.problem(StatusCode::UNPROCESSABLE_ENTITY);
        assert!(detail.contains(words), "{detail}");
    }
    let changed = patch(json!({"image": null, "build": {}})).await.json();
    assert_eq!((&changed["image"], &changed["build"]), (&Value::Null, &json!({})));
    let detail = patch(json!({"secret": 1})).await.problem(StatusCode::UNPROCESSABLE_ENTITY);
    assert!(detail.contains("secret"), "{detail}");
}

#[tokio::test]
async fn several_images_go_where_the_project_says_and_a_build_chooses_among_them() {
    let app = App::with(|config| config.fetch_allow = "10.1.2.3".parse().expect("an address")).await;
    let project = app.project("app", "private").await;
    let path = format!("/api/v1/projects/{}", project["id"].as_str().expect("an id"));
    let patch = |body: Value| app.call_as(Method::PATCH, &app.admin, &path, body);
    let (run, debug) = (json!("10.1.2.3:5000/app"), json!("10.1.2.3:5000/debug"));
    let images = json!([
        {"repository": run, "tags": ["{{sha}}"]},
        {"repository": debug, "tags": null, "target": "debug"},
    ]);
    let changed = patch(json!({"images": images})).await.json();
    assert_eq!((&changed["images"], &changed["image"]), (&images, &images[0]));
    let page = app.get(&format!("/projects/{}", project["id"].as_str().expect("an id"))).await.text;
    assert!(page.contains("10.1.2.3:5000/debug") && page.contains("of the stage <code>debug</code>"), "{page}");
    let twice = json!([{"repository": run}, {"repository": run, "target": "debug"}]);
    let many = json!(vec![json!({"repository": run}); 11]);
    for (bad, words) in [
        (json!({"images": twice}), "images: 10.1.2.3:5000/app stands there twice"),
        (json!({"images": many}), "images: at most 10"),
        (json!({"images": [{"repository": "no"}]}), "images.repository"),
        (json!({"images": images, "image": images[0]}), "either image"),
        (
            json!({"build": {"images": [{"repository": "10.1.2.3:5000/other"}]}}),
            "build.images: 10.1.2.3:5000/other is none",
        ),
    ] {
        let detail = patch(bad).await.problem(StatusCode::UNPROCESSABLE_ENTITY);
        assert!(detail.contains(words), "{detail}");
    }
    let commit = "a".repeat(40);
    let wish = |repository: &Value| json!({"commit": commit, "build": {"images": [{"repository": repository}]}});
    let refused = app.post(&format!("{path}/builds"), wish(&json!("10.1.2.3:5000/other"))).await;
    assert!(refused.problem(StatusCode::UNPROCESSABLE_ENTITY).contains("none of the project's repositories"));
    assert_eq!(app.post(&format!("{path}/builds"), wish(&debug)).await.status, StatusCode::CREATED);
    let one = patch(json!({"image": {"repository": debug}})).await.json();
    assert_eq!((one["images"].as_array().map(Vec::len), &one["image"]["repository"]), (Some(1), &debug));
    assert_eq!(patch(json!({"images": null})).await.json()["images"], json!([]));
}

#[tokio::test]
async fn pause_and_resume() {
    let app = App::new().await;
    let project = app.project("app", "private").await;
    let path = format!("/api/v1/projects/{}", project["id"].as_str().expect("an id"));
    assert_eq!(app.post(&format!("{path}/pause"), json!(null)).await.json()["state"], "paused");
    assert_eq!(app.post(&format!("{path}/resume"), json!(null)).await.json()["state"], "active");
}

#[tokio::test]
async fn lists_are_paged_by_cursor() {
    let app = App::new().await;
    for name in ["a", "b", "c"] {
        app.project(name, "private").await;
    }
    let mut names = Vec::new();
    let mut path = "/api/v1/projects?limit=2".to_owned();
    loop {
        let page = app.get(&path).await.json();
        names.extend(page["items"].as_array().expect("items").iter().map(|item| item["name"].clone()));
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("/api/v1/projects?limit=2&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(names, ["a", "b", "c"]);
    app.get("/api/v1/projects?colour=red").await.problem(StatusCode::BAD_REQUEST);
    app.get("/api/v1/projects/not-an-id").await.problem(StatusCode::NOT_FOUND);
}
