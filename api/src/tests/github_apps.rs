//! A GitHub App from its key to a check run: kept, installed, connected, told by its one hook, and telling back. What the
//! App's own tokens must look like is tested where they are made.

use std::sync::{Arc, LazyLock, Mutex};

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{Method, StatusCode, header};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use sha2::Sha256;
use slipway_domain::ids::ProcessId;
use slipway_domain::tenant::Role;
use slipway_runtime::ids::new_id;
use slipway_runtime::lifecycle::Task;

use super::App;
use crate::intake::work_deliveries_once;
use crate::reporter::send::take;
use crate::reporter::want_statuses_once;

/// Made once: it takes a while.
static PEM: LazyLock<String> = LazyLock::new(|| {
    let key = KeyPair::generate(KeySize::Rsa2048).expect("a key");
    let der: Pkcs8V1Der<'_> = key.as_der().expect("a form");
    let digits = STANDARD.encode(der.as_ref());
    let lines: Vec<&str> = digits.as_bytes().chunks(64).map(|line| str::from_utf8(line).expect("ASCII")).collect();
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"))
});

/// A GitHub with one App, which account 7 installed on acme/app.
#[derive(Default)]
struct GitHub {
    hook: Value,
    tokens: usize,
    runs: Vec<Value>,
    asked: Vec<String>,
    conversions: usize,
}

struct Fake {
    base_url: String,
    seen: Arc<Mutex<GitHub>>,
    _server: Task<()>,
}

impl Fake {
    async fn start(app: &App) -> Self {
        let seen = Arc::new(Mutex::new(GitHub::default()));
        let router = Router::new().fallback(serve).with_state(seen.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let base_url = format!("http://{}", listener.local_addr().expect("an address"));
        let server = app.state.life.task("fake GitHub", async move {
            axum::serve(listener, router).await.expect("serves");
        });
        Self { base_url, seen, _server: server }
    }

    fn with<T>(&self, look: impl FnOnce(&mut GitHub) -> T) -> T {
        look(&mut self.seen.lock().expect("not poisoned"))
    }
}

async fn serve(State(seen): State<Arc<Mutex<GitHub>>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let bytes = body.collect().await.expect("a body").to_bytes();
    let sent: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let bearer = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let path = parts.uri.path().trim_start_matches("/api/v3").to_owned();
    let mut github = seen.lock().expect("not poisoned");
    github.asked.push(format!("{} {path}", parts.method));
    let as_app = bearer.starts_with("Bearer ey");
    let as_repo = bearer.starts_with("Bearer ghs_");
    let repo = json!({"id": 42, "full_name": "acme/app", "clone_url": "https://1.1.1.1/acme/app.git", "private": true});
    let answer = match (&parts.method, path.as_str()) {
        (&Method::GET, "/app") if as_app => json!({
            "id": 9, "slug": "our-slipway", "html_url": "https://github.example/apps/our-slipway", "name": "x",
            "node_id": "x", "external_url": "https://x.example", "owner": {}, "events": [],
            "permissions": {
                "contents": "read", "metadata": "read", "pull_requests": "read", "statuses": "write", "checks": "write",
            },
        }),
        (&Method::PATCH, "/app/hook/config") if as_app => {
            github.hook = sent;
            json!({"url": "x"})
        }
        (&Method::GET, "/app/installations") if as_app => json!([{"id": 7, "account": {"login": "acme"}}]),
        (&Method::POST, "/app/installations/7/access_tokens") if as_app => {
            github.tokens += 1;
            let token = format!("ghs_{}", github.tokens);
            return (
                StatusCode::CREATED,
                axum::Json(json!({"token": token, "expires_at": "2999-01-01T00:00:00Z", "repositories": [repo]})),
            )
                .into_response();
        }
        (&Method::GET, "/installation/repositories") if as_repo => json!({"total_count": 1, "repositories": [repo]}),
        (&Method::GET, check) if as_repo && check.ends_with("/check-runs") => {
            json!({"total_count": 0, "check_runs": []})
        }
        (&Method::POST, "/repos/acme/app/check-runs") if as_repo => {
            github.runs.push(sent);
            return (StatusCode::CREATED, axum::Json(json!({"id": 100}))).into_response();
        }
        (&Method::PATCH, "/repos/acme/app/check-runs/100") if as_repo => {
            github.runs.push(sent);
            json!({"id": 100})
        }
        (&Method::POST, "/app-manifests/good/conversions") if bearer.is_empty() => {
            github.conversions += 1;
            json!({
                "id": 10, "slug": "made", "name": "made", "html_url": "https://github.example/apps/made", "pem": *PEM,
                "webhook_secret": "hook-secret", "client_id": "c", "client_secret": "s",
            })
        }
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    axum::Json(answer).into_response()
}

struct Setup {
    app: App,
    fake: Fake,
}

impl Setup {
    async fn new() -> Self {
        let app = App::with(|config| config.fetch_allow = "127.0.0.1".parse().expect("an address")).await;
        let fake = Fake::start(&app).await;
        Self { app, fake }
    }

    async fn kept(&self) -> Value {
        let body = json!({"base_url": self.fake.base_url, "app_id": 9, "private_key": *PEM});
        let answer = self.app.post("/api/v1/github-apps", body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
        answer.json()
    }

    async fn connected(&self, app: &Value) -> Value {
        let body = json!({"kind": "github", "github_app": {"id": app["id"], "installation": 7}});
        let answer = self.app.post("/api/v1/connections", body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
        answer.json()
    }

    async fn deliver(&self, app: &Value, secret: &str, (event, guid): (&str, &str), body: &Value) -> super::Answer {
        let body = body.to_string();
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length");
        mac.update(body.as_bytes());
        let hook = app["hook_url"].as_str().expect("a URL").rsplit('/').next().expect("an id");
        let request = Request::post(format!("/hooks/{hook}"))
            .header("content-type", "application/json")
            .header("x-github-event", event)
            .header("x-github-delivery", guid)
            .header("x-hub-signature-256", format!("sha256={}", hex::encode(mac.finalize().into_bytes())))
            .body(Body::from(body));
        self.app.send(request.expect("a request")).await
    }

    async fn report(&self) {
        let (now, owner) = (self.app.state.clock.now(), new_id::<ProcessId>());
        want_statuses_once(&self.app.state, now).await.expect("a pass");
        for sending in take(&self.app.state, owner, now, 32).await.expect("a pass") {
            sending.send(&self.app.state).await;
        }
    }
}

fn push(repo: &str, id: u64, installation: u64, after: &str) -> Value {
    json!({
        "ref": "refs/heads/main", "before": "0".repeat(40), "after": after, "created": true, "deleted": false,
        "repository": {"id": id, "full_name": repo}, "installation": {"id": installation},
        "head_commit": {"id": after, "message": "a title"}, "sender": {"login": "anna"},
    })
}

#[tokio::test]
async fn an_app_is_kept_installed_told_and_tells_back() {
    let setup = Setup::new().await;
    let kept = setup.kept().await;
    assert_eq!((kept["slug"].as_str(), kept["app_id"].as_i64()), (Some("our-slipway"), Some(9)));
    assert!(!kept.to_string().contains("PRIVATE"), "the key never comes back");
    let again = json!({"base_url": setup.fake.base_url, "app_id": 9, "private_key": *PEM});
    setup.app.post("/api/v1/github-apps", again).await.problem(StatusCode::CONFLICT);
    let secret = setup.fake.with(|github| github.hook["secret"].as_str().expect("a secret").to_owned());
    assert_eq!(setup.fake.with(|github| github.hook["url"].clone()), kept["hook_url"]);

    let path = format!("/api/v1/github-apps/{}/installations", kept["id"].as_str().expect("an id"));
    let installations = setup.app.get(&path).await.json();
    assert_eq!(
        (installations["items"][0]["id"].as_u64(), &installations["items"][0]["connection"]),
        (Some(7), &Value::Null)
    );
    let connection = setup.connected(&kept).await;
    assert_eq!(setup.connected(&kept).await["id"], connection["id"], "asked twice, one connection");
    let unknown = json!({"kind": "github", "github_app": {"id": kept["id"], "installation": 8}});
    setup.app.post("/api/v1/connections", unknown).await.problem(StatusCode::UNPROCESSABLE_ENTITY);
    let repositories = format!("/api/v1/connections/{}/repositories", connection["id"].as_str().expect("an id"));
    assert_eq!(setup.app.get(&repositories).await.json()["items"][0]["full_path"], "acme/app");

    let body = json!({
        "name": "app", "connection": connection["id"],
        "repo": {"full_path": "acme/app", "clone_url": "https://1.1.1.1/acme/app.git"},
    });
    let project = setup.app.post("/api/v1/projects", body).await;
    assert_eq!(project.status, StatusCode::CREATED, "{}", project.text);
    let webhook = format!("/api/v1/projects/{}/webhook", project.json()["id"].as_str().expect("an id"));
    let refused = setup.app.call_as(Method::PUT, &setup.app.admin, &webhook, json!({})).await;
    assert!(refused.problem(StatusCode::CONFLICT).contains("own webhook"));

    let news = push("acme/app", 42, 7, &"a".repeat(40));
    setup.deliver(&kept, "wrong", ("push", "1"), &news).await.problem(StatusCode::UNAUTHORIZED);
    for (repo, id, installation) in [("acme/other", 43, 7), ("acme/app", 42, 8)] {
        let answer = setup.deliver(&kept, &secret, ("push", "0"), &push(repo, id, installation, &"b".repeat(40))).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert!(
            answer.json()["reason"].as_str().is_some_and(|reason| reason.contains("no project")),
            "{}",
            answer.text
        );
    }
    let ping = setup.deliver(&kept, &secret, ("ping", "p"), &json!({"zen": "x"})).await;
    assert_eq!((ping.status, ping.json()["reason"].as_str()), (StatusCode::OK, Some("ping")));
    let taken = setup.deliver(&kept, &secret, ("push", "1"), &news).await;
    assert_eq!(taken.status, StatusCode::ACCEPTED, "{}", taken.text);
    assert_eq!(setup.deliver(&kept, &secret, ("push", "1"), &news).await.status, StatusCode::OK, "told twice");
    let (now, owner) = (setup.app.state.clock.now(), new_id::<ProcessId>());
    assert_eq!(work_deliveries_once(&setup.app.state, owner, now).await.expect("a pass"), 1);
    let builds = setup.app.get("/api/v1/builds").await.json()["items"].clone();
    assert_eq!(
        (builds.as_array().map(Vec::len), builds[0]["commit"].as_str()),
        (Some(1), Some("a".repeat(40).as_str()))
    );

    // The build is shown as one check run, from its beginning to its end.
    let build = builds[0]["id"].as_str().expect("an id");
    setup.report().await;
    let cancel = setup.app.post(&format!("/api/v1/builds/{build}/cancel"), json!({})).await;
    assert!(cancel.status.is_success(), "{}", cancel.text);
    setup.report().await;
    let runs = setup.fake.with(|github| github.runs.clone());
    assert_eq!(runs.len(), 2, "{runs:?}");
    assert_eq!((runs[0]["status"].as_str(), runs[0]["external_id"].as_str()), (Some("queued"), Some(build)));
    assert_eq!(
        (runs[0]["name"].as_str(), runs[0]["head_sha"].as_str()),
        (Some("slipway/app"), Some("a".repeat(40).as_str()))
    );
    assert_eq!((runs[1]["status"].as_str(), runs[1]["conclusion"].as_str()), (Some("completed"), Some("cancelled")));
    let asked = setup.fake.with(|github| github.asked.clone());
    assert_eq!(asked.iter().filter(|line| line.contains("PATCH /repos")).count(), 1, "{asked:?}");

    // GitHub's button asks for it again.
    let again = json!({
        "action": "rerequested", "check_run": {"head_sha": "a".repeat(40), "external_id": build}, "installation": {"id": 7},
        "repository": {"id": 42, "full_name": "acme/app"}, "sender": {"login": "anna"},
    });
    let taken = setup.deliver(&kept, &secret, ("check_run", "2"), &again).await;
    assert_eq!(taken.status, StatusCode::ACCEPTED, "{}", taken.text);
    work_deliveries_once(&setup.app.state, owner, setup.app.state.clock.now()).await.expect("a pass");
    let builds = setup.app.get("/api/v1/builds").await.json()["items"].clone();
    assert_eq!((builds.as_array().map(Vec::len), builds[0]["rerun_of"].as_str()), (Some(2), Some(build)));
}

#[tokio::test]
async fn an_app_is_made_from_a_manifest_by_whoever_began() {
    let setup = Setup::new().await;
    let page = |path: &str, cookie: &str| {
        let request = Request::get(path).header(header::COOKIE, cookie);
        setup.app.send(request.body(Body::empty()).expect("a request"))
    };
    let cookie = setup.app.log_in().await;
    let form = page(&format!("/github-apps/new?base_url={}&organisation=acme", setup.fake.base_url), &cookie).await;
    assert_eq!(form.status, StatusCode::OK, "{}", form.text);
    let policy = form.header(header::CONTENT_SECURITY_POLICY);
    assert!(policy.contains(&format!("form-action 'self' {};", setup.fake.base_url)), "{policy}");
    let wanted = format!("action=\"{}/organizations/acme/settings/apps/new?state=", setup.fake.base_url);
    let state = form.text.split_once(wanted.as_str()).and_then(|(_, rest)| rest.split_once('"')).expect("a form").0;
    assert!(form.text.contains("hook_attributes") && form.text.contains("/github-apps/made"), "{}", form.text);

    for (path, what) in [
        ("/github-apps/made?code=good&state=made-up".to_owned(), "a state that is none of ours"),
        (format!("/github-apps/made?code=good&state={state}x"), "one that was changed"),
    ] {
        assert_eq!(page(&path, &cookie).await.status, StatusCode::BAD_REQUEST, "{what}");
    }
    let other = setup.app.member(Role::Owner).await;
    let stolen = setup.app.get_as(&other, &format!("/github-apps/made?code=good&state={state}")).await;
    assert_eq!(stolen.status, StatusCode::BAD_REQUEST, "somebody else began it");
    assert_eq!(setup.fake.with(|github| github.conversions), 0, "nobody's code was taken");
    let made = page(&format!("/github-apps/made?code=good&state={state}"), &cookie).await;
    assert_eq!(made.status, StatusCode::SEE_OTHER, "{}", made.text);
    let shown = page("/github-apps", &cookie).await;
    assert!(
        shown.text.contains("made") && shown.text.contains("/github-apps/made/installations/new"),
        "{}",
        shown.text
    );

    let apps = setup.app.get("/api/v1/github-apps").await.json();
    let id = apps["items"][0]["id"].as_str().expect("an id").to_owned();
    let installed = page(&format!("/github-apps/installed/{id}?installation_id=7&setup_action=install"), &cookie).await;
    assert_eq!(installed.status, StatusCode::SEE_OTHER, "{}", installed.text);
    assert_eq!(setup.app.get("/api/v1/connections").await.json()["items"][0]["installation"], 7);
    let claimed = page(&format!("/github-apps/installed/{id}?installation_id=8"), &cookie).await;
    assert_eq!(claimed.status, StatusCode::UNPROCESSABLE_ENTITY, "nobody installed it there");
}
