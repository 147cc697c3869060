//! Setting a project up through its connection: repositories to choose from, the webhook on the forge, a deploy key, and a
//! new token for one that was refused.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::{Method, StatusCode, header};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use slipway_domain::tenant::Role;
use slipway_runtime::lifecycle::Task;

use super::App;

/// A Gitea with one repository, whose token is `good`.
#[derive(Default)]
struct Gitea {
    hooks: Vec<Value>,
    keys: Vec<Value>,
    secrets: Vec<String>,
}

struct Fake {
    base_url: String,
    seen: Arc<Mutex<Gitea>>,
    _server: Task<()>,
}

async fn serve(State(seen): State<Arc<Mutex<Gitea>>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let bytes = body.collect().await.expect("a body").to_bytes();
    let mut sent: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    if parts.headers.get(header::AUTHORIZATION).is_none_or(|value| value != "token good") {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let mut gitea = seen.lock().expect("not poisoned");
    let path = parts.uri.path().trim_start_matches("/api/v1");
    let answer = match (&parts.method, path) {
        (&Method::GET, "/user") => json!({"id": 3, "login": "anna"}),
        (&Method::GET, "/repos/search") => {
            let repo = json!({"id": 5, "full_name": "acme/app", "clone_url": "https://1.1.1.1/acme/app.git"});
            json!({"ok": true, "data": [repo]})
        }
        (&Method::GET, "/repos/acme/app/hooks") => json!(gitea.hooks),
        (&Method::POST, "/repos/acme/app/hooks") => {
            let secret = sent["config"]["secret"].as_str().unwrap_or_default().to_owned();
            gitea.secrets.push(secret);
            sent["id"] = json!(1);
            gitea.hooks.push(sent.clone());
            return (StatusCode::CREATED, axum::Json(sent)).into_response();
        }
        (&Method::PATCH, "/repos/acme/app/hooks/1") => {
            let hook = gitea.hooks.first_mut().expect("there");
            hook["active"] = json!(true);
            hook.clone()
        }
        (&Method::DELETE, "/repos/acme/app/hooks/1") => {
            gitea.hooks.clear();
            return StatusCode::NO_CONTENT.into_response();
        }
        (&Method::GET, "/repos/acme/app/keys") => json!(gitea.keys),
        (&Method::POST, "/repos/acme/app/keys") => {
            sent["id"] = json!(2);
            gitea.keys.push(sent.clone());
            return (StatusCode::CREATED, axum::Json(sent)).into_response();
        }
        (&Method::DELETE, "/repos/acme/app/keys/2") => {
            gitea.keys.clear();
            return StatusCode::NO_CONTENT.into_response();
        }
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    axum::Json(answer).into_response()
}

struct Setup {
    app: App,
    fake: Fake,
    connection: Value,
    project: Value,
}

impl Setup {
    async fn new(token: &str) -> Self {
        let app = App::with(|config| config.fetch_allow = "127.0.0.1".parse().expect("an address")).await;
        let seen = Arc::new(Mutex::new(Gitea::default()));
        let router = Router::new().fallback(serve).with_state(seen.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let base_url = format!("http://{}", listener.local_addr().expect("an address"));
        let server = app.state.life.task("fake Gitea", async move {
            axum::serve(listener, router).await.expect("serves");
        });
        let fake = Fake { base_url, seen, _server: server };
        let body = json!({"kind": "gitea", "base_url": fake.base_url, "token": token});
        let connection = app.post("/api/v1/connections", body).await.json();
        let body = json!({
            "name": "app", "connection": connection["id"],
            "repo": {"full_path": "acme/app", "clone_url": "https://1.1.1.1/acme/app.git"},
        });
        let project = app.post("/api/v1/projects", body).await.json();
        Self { app, fake, connection, project }
    }

    fn of_project(&self, rest: &str) -> String {
        format!("/api/v1/projects/{}/{rest}", self.project["id"].as_str().expect("an id"))
    }

    fn of_connection(&self, rest: &str) -> String {
        format!("/api/v1/connections/{}{rest}", self.connection["id"].as_str().expect("an id"))
    }

    async fn call(&self, method: Method, path: &str, body: Value) -> super::Answer {
        self.app.call_as(method, &self.app.admin, path, body).await
    }

    fn with<T>(&self, look: impl FnOnce(&mut Gitea) -> T) -> T {
        look(&mut self.fake.seen.lock().expect("not poisoned"))
    }
}

#[tokio::test]
async fn the_webhook_is_made_once_looked_at_mended_and_removed() {
    let setup = Setup::new("good").await;
    let webhook = setup.of_project("webhook");
    setup.app.get(&webhook).await.problem(StatusCode::NOT_FOUND);
    for _ in 0..2 {
        let made = setup.call(Method::PUT, &webhook, json!({})).await;
        assert_eq!(made.status, StatusCode::OK, "{}", made.text);
        assert_eq!(
            (made.json()["url"].clone(), made.json()["active"].clone()),
            (setup.project["hook"]["url"].clone(), json!(true))
        );
        assert!(!made.text.contains(setup.project["hook"]["secret"].as_str().expect("a secret")));
    }
    assert_eq!(
        setup.with(|gitea| (gitea.hooks.len(), gitea.secrets.clone())),
        (1, vec![setup.project["hook"]["secret"].as_str().expect("a secret").to_owned()])
    );
    setup.with(|gitea| gitea.hooks[0]["active"] = json!(false));
    assert_eq!(setup.app.get(&webhook).await.json()["active"], false);
    assert_eq!(setup.call(Method::PUT, &webhook, json!({})).await.json()["active"], true);
    for _ in 0..2 {
        assert_eq!(setup.call(Method::DELETE, &webhook, json!({})).await.status, StatusCode::NO_CONTENT);
    }
    assert_eq!(setup.with(|gitea| gitea.hooks.len()), 0);
    let viewer = setup.app.member(Role::Viewer).await;
    setup.app.call_as(Method::PUT, &viewer, &webhook, json!({})).await.problem(StatusCode::FORBIDDEN);
    setup.app.get_public(&webhook).await.problem(StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_project_has_one_deploy_key_which_the_forge_gets() {
    let setup = Setup::new("good").await;
    let path = setup.of_project("deploy-key");
    let first = setup.call(Method::PUT, &path, json!({})).await;
    assert_eq!((first.status, first.json()["registered"].as_bool()), (StatusCode::OK, Some(true)), "{}", first.text);
    let again = setup.call(Method::PUT, &path, json!({})).await;
    assert_eq!(again.json()["public_key"], first.json()["public_key"]);
    assert!(!first.text.contains("PRIVATE"));
    assert_eq!(setup.with(|gitea| (gitea.keys.len(), gitea.keys[0]["read_only"].clone())), (1, json!(true)));
    let id = setup.project["id"].as_str().expect("an id").parse().expect("an id");
    let private = setup.app.state.db.deploy_key(&setup.app.state.secret_key, id).await.expect("a row");
    assert!(private.is_some_and(|key| key.contains("OPENSSH PRIVATE KEY")));
    assert_eq!(setup.call(Method::DELETE, &path, json!({})).await.status, StatusCode::NO_CONTENT);
    assert_eq!(setup.with(|gitea| gitea.keys.len()), 0);
    let other = setup.call(Method::PUT, &path, json!({})).await;
    assert_ne!(other.json()["public_key"], first.json()["public_key"], "a key that was taken away stays away");
}

#[tokio::test]
async fn a_refused_token_is_said_and_can_be_renewed() {
    let setup = Setup::new("revoked").await;
    let repositories = setup.of_connection("/repositories?search=app");
    let refused = setup.app.get(&repositories).await.problem(StatusCode::CONFLICT);
    assert!(refused.contains("401") && refused.contains("renew it") && !refused.contains("revoked"), "{refused}");
    let key = setup.call(Method::PUT, &setup.of_project("deploy-key"), json!({})).await;
    assert_eq!((key.status, key.json()["registered"].as_bool()), (StatusCode::OK, Some(false)), "it is added by hand");
    let renewed = setup.call(Method::PATCH, &setup.of_connection(""), json!({"token": "good"})).await;
    assert_eq!(renewed.status, StatusCode::OK, "{}", renewed.text);
    assert!(!renewed.text.contains("good"));
    assert_eq!(setup.app.get(&repositories).await.json()["items"][0]["full_path"], "acme/app");
    setup
        .call(Method::PATCH, &setup.of_connection(""), json!({"token": " "}))
        .await
        .problem(StatusCode::UNPROCESSABLE_ENTITY);
    let viewer = setup.app.member(Role::Viewer).await;
    setup.app.get_as(&viewer, &repositories).await.problem(StatusCode::FORBIDDEN);
    let body = json!({"token": "x"});
    setup.app.call_as(Method::PATCH, &viewer, &setup.of_connection(""), body).await.problem(StatusCode::FORBIDDEN);
}
