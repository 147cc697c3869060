//! Who may see and do what; cookies, origins and headers.

use axum::body::Body;
use http::{Method, Request, StatusCode, header};
use serde_json::{Value, json};
use slipway_domain::builder::Load;
use slipway_domain::tenant::Role;
use slipway_store::sessions::Renewal;

use super::{App, form_request};

#[tokio::test]
async fn without_a_token_the_api_answers_401_as_a_problem() {
    let app = App::new().await;
    for path in ["/api/v1/projects", "/api/v1/builds", "/api/v1/builders", "/api/v1/pools", "/api/v1/deliveries"] {
        let answer = app.get_public(path).await;
        answer.problem(StatusCode::UNAUTHORIZED);
        assert_eq!(answer.header(header::WWW_AUTHENTICATE), "Bearer", "{path}");
    }
    app.get_as("slw_wrong", "/api/v1/projects").await.problem(StatusCode::UNAUTHORIZED);
    let basic = Request::get("/api/v1/projects").header(header::AUTHORIZATION, "Basic x").body(Body::empty());
    app.send(basic.expect("a request")).await.problem(StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn roles_decide_what_a_member_may_change() {
    let app = App::new().await;
    let project = app.project("app", "private").await;
    let pause = format!("/api/v1/projects/{}/pause", project["id"].as_str().expect("an id"));
    let viewer = app.member(Role::Viewer).await;
    let maintainer = app.member(Role::Maintainer).await;
    assert_eq!(app.get_as(&viewer, "/api/v1/projects").await.status, StatusCode::OK);
    app.call_as(Method::POST, &viewer, &pause, json!(null)).await.problem(StatusCode::FORBIDDEN);
    assert_eq!(app.call_as(Method::POST, &maintainer, &pause, json!(null)).await.status, StatusCode::OK);
    for (path, body) in [
        ("/api/v1/tenants", json!({"name": "x"})),
        ("/api/v1/builders/tokens", json!({})),
        ("/api/v1/tokens", json!({"name": "x", "role": "owner"})),
    ] {
        app.call_as(Method::POST, &maintainer, path, body).await.problem(StatusCode::FORBIDDEN);
    }
    let owner = app.member(Role::Owner).await;
    let made = app.call_as(Method::POST, &owner, "/api/v1/tokens", json!({"name": "ci", "role": "viewer"})).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    let token = made.json()["token"].as_str().expect("a token").to_owned();
    assert_eq!(app.get_as(&token, "/api/v1/projects").await.status, StatusCode::OK);
    let path = format!("/api/v1/tokens/{}", made.json()["id"].as_str().expect("an id"));
    assert_eq!(app.call_as(Method::DELETE, &owner, &path, json!(null)).await.status, StatusCode::NO_CONTENT);
    app.get_as(&token, "/api/v1/projects").await.problem(StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn why_a_public_build_waits_names_its_builder_to_members_only() {
    let app = App::new().await;
    let project = app.project("open", "public").await;
    let build = app.build(&project).await;
    let crew = app.crew("host-7.internal").await;
    let load = Load { not_taking: Some("its disk /var/lib is full".to_owned()), ..Load::default() };
    let renewal = Renewal { session: crew.session, free: 0, load, draining: false };
    app.state.db.renew_sessions(&[renewal], app.state.clock.now()).await.expect("renewed");
    let other = app.other_tenant().await;
    let (member, stranger) = (app.member(Role::Viewer).await, app.member_of(other, Role::Owner).await);
    let id = build["id"].as_str().expect("an id");
    let list = format!("/api/v1/builds?project={}", project["id"].as_str().expect("an id"));
    for path in [format!("/api/v1/builds/{id}"), list, format!("/builds/{id}")] {
        let told = app.get_as(&member, &path).await;
        assert!(told.text.contains("host-7.internal") && told.text.contains("is full"), "{path}: {}", told.text);
        for public in [app.get_public(&path).await, app.get_as(&stranger, &path).await] {
            assert_eq!(public.status, StatusCode::OK, "{path}: {}", public.text);
            assert!(!public.text.contains("host-7") && !public.text.contains("is full"), "{path}: {}", public.text);
            assert!(public.text.contains("takes it at the moment"), "{path}: {}", public.text);
        }
    }
}

#[tokio::test]
async fn who_built_a_public_build_is_told_to_members_only() {
    let app = App::new().await;
    let (project, crew) = (app.project("open", "public").await, app.crew("host-7.internal").await);
    let build = app.build(&project).await;
    let id = build["id"].as_str().expect("an id");
    app.start(&crew, id.parse().expect("an id")).await;
    let other = app.other_tenant().await;
    let (member, stranger) = (app.member(Role::Viewer).await, app.member_of(other, Role::Owner).await);
    let list = format!("/api/v1/builds?project={}", project["id"].as_str().expect("an id"));
    let job = format!("/api/v1/jobs/{}", build["jobs"][0]["id"].as_str().expect("an id"));
    let first = |told: &Value, at: &str| told.pointer(at).cloned().expect("an attempt");
    for (path, at) in [
        (format!("/api/v1/builds/{id}"), "/jobs/0/attempts/0"),
        (list, "/items/0/jobs/0/attempts/0"),
        (job, "/attempts/0"),
    ] {
        for token in [&member, &app.admin] {
            let attempt = first(&app.get_as(token, &path).await.json(), at);
            assert_eq!(attempt["builder"], "host-7.internal", "{path}");
            assert!(attempt["builder_id"].is_string(), "{path}: {attempt}");
        }
        for public in [app.get_public(&path).await, app.get_as(&stranger, &path).await] {
            let attempt = first(&public.json(), at);
            let told = (attempt.get("builder"), attempt.get("builder_id"));
            assert_eq!(told, (Some(&Value::Null), Some(&Value::Null)), "{path}");
            assert!(!public.text.contains("host-7"), "{path}: {}", public.text);
        }
    }
    let page = format!("/builds/{id}");
    assert!(app.get_as(&member, &page).await.text.contains("host-7"));
    for public in [app.get_public(&page).await, app.get_as(&stranger, &page).await] {
        assert!(public.status == StatusCode::OK && !public.text.contains("host-7"), "{}", public.text);
    }
}

#[tokio::test]
async fn what_is_private_is_404_for_strangers_and_other_tenants() {
    let app = App::new().await;
    let project = app.project("secret", "private").await;
    let build = app.build(&project).await;
    let other = app.other_tenant().await;
    let stranger = app.member_of(other, Role::Owner).await;
    let (project, job) = (project["id"].as_str().expect("an id"), build["jobs"][0]["id"].as_str().expect("an id"));
    let build = build["id"].as_str().expect("an id");
    for path in [
        format!("/api/v1/projects/{project}"),
        format!("/api/v1/builds/{build}"),
        format!("/api/v1/builds?project={project}"),
        format!("/api/v1/jobs/{job}"),
        format!("/badge/{project}.svg"),
        format!("/badge/{project}.json"),
        format!("/builds/{build}"),
        format!("/projects/{project}"),
    ] {
        assert_eq!(app.get(&path).await.status, StatusCode::OK, "{path}");
        assert_eq!(app.get_as(&stranger, &path).await.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(app.get_public(&path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    for action in ["cancel", "retry"] {
        let path = format!("/api/v1/builds/{build}/{action}");
        app.call_as(Method::POST, &stranger, &path, json!(null)).await.problem(StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn members_see_builders_that_build_for_them_without_their_hosts() {
    let app = App::new().await;
    let (project, crew) = (app.project("app", "private").await, app.crew("alpha").await);
    let now = app.state.clock.now();
    let own = app.state.db.ensure_default_tenant(now).await.expect("a tenant");
    let other = app.other_tenant().await;
    let (member, stranger) = (app.member_of(own, Role::Viewer).await, app.member_of(other, Role::Owner).await);
    let seen = async |token: &str| app.get_as(token, "/api/v1/builders").await.json()["items"].clone();
    assert_eq!(seen(&stranger).await[0]["name"], "alpha", "it is shared as long as it serves nobody");
    let build = app.build(&project).await;
    app.start(&crew, build["id"].as_str().expect("an id").parse().expect("an id")).await;
    assert_eq!(seen(&stranger).await, json!([]));
    let shown = seen(&member).await;
    assert_eq!(
        (&shown[0]["state"], &shown[0]["load"], &shown[0]["release"]),
        (&json!("online"), &json!(null), &json!(null))
    );
    let whole = app.get("/api/v1/builders").await.json();
    assert!(whole["items"][0]["load"].is_object() && whole["items"][0]["release"].is_string(), "{whole}");
    for (token, sees) in [(&app.admin, true), (&stranger, false)] {
        assert_eq!(app.get_as(token, "/builders").await.text.contains("alpha"), sees);
    }
}

#[tokio::test]
async fn what_is_public_shows_builds_and_badge_but_no_hook_and_no_arguments() {
    let app = App::new().await;
    let project = app.project("open", "public").await;
    let id = project["id"].as_str().expect("an id");
    let options = json!({"build": {"args": {"TOKEN_NAME": "hidden-value"}}});
    let path = format!("/api/v1/projects/{id}");
    assert_eq!(app.call_as(Method::PATCH, &app.admin, &path, options).await.status, StatusCode::OK);
    let build = app.build(&project).await;
    let build = build["id"].as_str().expect("an id");
    for path in [
        path.clone(),
        format!("/api/v1/builds/{build}"),
        format!("/api/v1/builds?project={id}"),
        format!("/builds/{build}"),
        format!("/projects/{id}"),
        format!("/badge/{id}.svg"),
        format!("/badge/{id}.json"),
    ] {
        let answer = app.get_public(&path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        assert!(!answer.text.contains("hidden-value") && !answer.text.contains("/hooks/"), "{path}: {}", answer.text);
        assert!(!answer.text.contains("<form method=\"post\" action=\"/builds"), "{path}");
    }
    assert!(app.get(&path).await.text.contains("hidden-value"));
    let cancel = format!("/api/v1/builds/{build}/cancel");
    app.send(Request::post(&cancel).body(Body::empty()).expect("a request")).await.problem(StatusCode::UNAUTHORIZED);
    let badge = app.get_public(&format!("/badge/{id}.svg")).await;
    assert_eq!(badge.header(header::CONTENT_TYPE), "image/svg+xml");
    assert!(badge.text.contains("unknown"));
    assert_eq!(app.get_public(&format!("/badge/{id}.json")).await.json()["message"], "unknown");
    app.get_public(&format!("/badge/{id}.png")).await.problem(StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_browser_logs_in_with_a_token_and_out_again() {
    let app = App::new().await;
    let away = app.get_public("/queues").await;
    assert_eq!((away.status, away.header(header::LOCATION)), (StatusCode::SEE_OTHER, "/login?next=%2Fqueues"));
    let wrong = app.send(form_request("/login", "http://127.0.0.1:8080", None, "token=slw_no")).await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    assert!(wrong.text.contains("unknown or revoked"));

    let cookie = app.log_in().await;
    assert!(cookie.starts_with("__Host-"), "{cookie}");
    let page = Request::get("/queues").header(header::COOKIE, &cookie).body(Body::empty());
    assert_eq!(app.send(page.expect("a request")).await.status, StatusCode::OK);

    let out = app.send(form_request("/logout", "http://127.0.0.1:8080", Some(&cookie), "")).await;
    assert_eq!(out.status, StatusCode::SEE_OTHER);
    let page = Request::get("/queues").header(header::COOKIE, &cookie).body(Body::empty());
    assert_eq!(app.send(page.expect("a request")).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn another_site_changes_nothing_with_a_browsers_session() {
    let app = App::new().await;
    let project = app.project("app", "private").await;
    let cookie = app.log_in().await;
    let path = format!("/projects/{}/pause", project["id"].as_str().expect("an id"));
    let evil = app.send(form_request(&path, "https://evil.example", Some(&cookie), "")).await;
    assert_eq!(evil.status, StatusCode::FORBIDDEN);
    let api = format!("/api/v1{path}");
    let evil = app.send(form_request(&api, "https://evil.example", Some(&cookie), "")).await;
    evil.problem(StatusCode::FORBIDDEN);
    let silent = Request::post(&api).header(header::COOKIE, &cookie).body(Body::empty()).expect("a request");
    app.send(silent).await.problem(StatusCode::FORBIDDEN);
    let login = app.send(form_request("/login", "https://evil.example", None, "token=x")).await;
    assert_eq!(login.status, StatusCode::FORBIDDEN);
    let own = app.send(form_request(&path, "http://127.0.0.1:8080", Some(&cookie), "")).await;
    assert_eq!(own.status, StatusCode::SEE_OTHER);
    let id = project["id"].as_str().expect("an id");
    assert_eq!(app.get(&format!("/api/v1/projects/{id}")).await.json()["state"], "paused");
}

#[tokio::test]
async fn cookies_are_as_strong_as_the_connection_allows() {
    let app = App::with(|config| config.public_url = "http://ci.example.org/".parse().expect("a URL")).await;
    let login = |host: &'static str| {
        Request::post("/login")
            .header(header::HOST, host)
            .header(header::ORIGIN, format!("http://{host}"))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(format!("token={}", app.admin)))
            .expect("a request")
    };
    let plain = app.send(login("ci.example.org")).await;
    let cookie = plain.header(header::SET_COOKIE);
    assert!(cookie.contains("HttpOnly; SameSite=Strict") && !cookie.contains("Secure") && !cookie.contains("__Host-"));
    let loopback = app.send(login("127.0.0.1:8080")).await;
    let strong = loopback.header(header::SET_COOKIE);
    assert!(
        strong.starts_with("__Host-")
            && strong.contains("HttpOnly; Secure; SameSite=Lax")
            && strong.contains("Path=/;")
    );

    let name = cookie.split(';').next().expect("a cookie");
    let warned =
        Request::get("/").header(header::HOST, "ci.example.org").header(header::COOKIE, name).body(Body::empty());
    assert!(app.send(warned.expect("a request")).await.text.contains("not encrypted"));
    let page = Request::get("/login").header(header::HOST, "127.0.0.1:8080").body(Body::empty());
    assert!(!app.send(page.expect("a request")).await.text.contains("not encrypted"));
}

#[tokio::test]
async fn every_answer_carries_the_security_headers() {
    let app = App::new().await;
    for path in ["/login", "/livez", "/api/v1/projects", "/nowhere", "/api/openapi.json", "/api/docs/"] {
        let answer = app.get_public(path).await;
        let policy = answer.header(header::CONTENT_SECURITY_POLICY);
        assert!(policy.starts_with("default-src 'self';"), "{path}: {policy}");
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(answer.header(header::X_CONTENT_TYPE_OPTIONS), "nosniff", "{path}");
    }
    app.get_public("/nowhere").await.problem(StatusCode::NOT_FOUND);
}
