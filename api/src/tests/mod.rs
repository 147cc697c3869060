//! The router over SQLite in a temporary folder: what users and strangers get to see.

mod access;
mod attempts;
mod badges;
mod builds;
mod credentials;
mod crew;
mod fake_forge;
mod github_apps;
mod intake;
mod languages;
mod limits;
mod page_data;
mod pages;
mod projects;
mod reporter;
mod routes;
mod secrets;
mod setting_up;
mod sick_forges;
mod themes;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::{Value, json};
use slipway_domain::ids::TenantId;
use slipway_domain::tenant::Role;
use slipway_live::Live;
use slipway_runtime::clock::Clock;
use slipway_runtime::egress::{Egress, FetchAllow};
use slipway_runtime::health::Health;
use slipway_runtime::ids::{new_id, new_token, token_hash};
use slipway_runtime::lifecycle::Life;
use slipway_runtime::secret_key::SecretKey;
use slipway_store::Db;
use slipway_store::tenants::NewTenant;
use slipway_store::tokens::{NewToken, TokenOwner};
use tempfile::TempDir;
use tower::ServiceExt;

use crate::{ApiConfig, ApiState};

/// A commit that nobody has.
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

struct App {
    dir: TempDir,
    state: ApiState,
    router: Router,
    admin: String,
    tenant: TenantId,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    fn header(&self, name: header::HeaderName) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Asserts a problem and returns its detail.
    fn problem(&self, status: StatusCode) -> String {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.header(header::CONTENT_TYPE), "application/problem+json");
        let json = self.json();
        assert_eq!(json["status"], status.as_u16());
        json["detail"].as_str().expect("a detail").to_owned()
    }
}

/// The folder of its object storage.
const BLOBS: &str = "blobs";

impl App {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut ApiConfig)) -> Self {
        let dir = TempDir::new().expect("a folder");
        let db =
            Db::connect(&format!("sqlite://{}", dir.path().join("slipway.db").display())).await.expect("a database");
        let folder = url::Url::from_file_path(dir.path().join(BLOBS)).expect("a URL");
        let blobs = slipway_blobs::Blobs::from_url(folder.as_str()).expect("a folder");
        let clock = Clock::system();
        let tenant = db.ensure_default_tenant(clock.now()).await.expect("a tenant");
        let admin = new_token("slw");
        db.ensure_bootstrap_token(&token_hash(&admin), clock.now()).await.expect("a token");
        let mut config = ApiConfig {
            public_url: "http://127.0.0.1:8080/".parse().expect("a URL"),
            trust_tenants: false,
            shared_engine: true,
            fetch_allow: FetchAllow::default(),
            region: "local".to_owned(),
            class: "standard".to_owned(),
            platform: "linux-amd64".to_owned(),
            plans: slipway_domain::plan::Plans::default(),
            builds_per_minute: 0,
            writes_per_minute: 0,
            reconcile_every: None,
        };
        change(&mut config);
        let health = Health::default();
        db.watch(&health);
        let forges = crate::forge::breakers(clock.clone());
        forges.watch(&health);
        let state = ApiState {
            forges,
            app_tokens: slipway_forges::access::AppTokens::default(),
            db,
            live: Live::memory(),
            secret_key: SecretKey::generate(),
            blobs: Some(blobs),
            clock,
            life: Life::new(),
            egress: Egress::new(config.fetch_allow.clone()),
            handover: crate::Handover::default(),
            health,
            metrics: PrometheusBuilder::new().build_recorder().handle(),
            config: Arc::new(config),
        };
        let router = crate::router(state.clone()).expect("a router");
        Self { dir, state, router, admin, tenant }
    }

    /// Where large bodies lie.
    fn blobs_folder(&self) -> std::path::PathBuf {
        self.dir.path().join(BLOBS)
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.expect("an answer");
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.expect("a body").to_bytes();
        Answer { status: parts.status, headers: parts.headers, text: String::from_utf8_lossy(&bytes).into_owned() }
    }

    async fn get(&self, path: &str) -> Answer {
        self.get_as(&self.admin, path).await
    }

    async fn get_as(&self, token: &str, path: &str) -> Answer {
        let request = Request::get(path).header(header::AUTHORIZATION, format!("Bearer {token}"));
        self.send(request.body(Body::empty()).expect("a request")).await
    }

    async fn get_public(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).expect("a request")).await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.call_as(Method::POST, &self.admin, path, body).await
    }

    async fn call_as(&self, method: Method, token: &str, path: &str, body: Value) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_string()));
        self.send(request.expect("a request")).await
    }

    /// A token of a member of the first tenant.
    async fn member(&self, role: Role) -> String {
        self.member_of(self.tenant, role).await
    }

    async fn member_of(&self, tenant: TenantId, role: Role) -> String {
        let token = new_token("slw");
        let new = NewToken {
            id: new_id(),
            owner: TokenOwner::Member { tenant, role },
            name: role.to_string(),
            hash: token_hash(&token),
            now: self.state.clock.now(),
        };
        self.state.db.create_token(&new).await.expect("a token");
        token
    }

    /// A tenant beside the first.
    async fn other_tenant(&self) -> TenantId {
        let other = NewTenant {
            id: new_id(),
            name: "other".to_owned(),
            class: "standard".to_owned(),
            running_limit: 1,
            plan: "team".to_owned(),
            own_limit: true,
            now: self.state.clock.now(),
        };
        self.state.db.create_tenant(&other).await.expect("a tenant");
        other.id
    }

    /// The session cookie of a browser that logged in, as `name=value`.
    async fn log_in(&self) -> String {
        let form = format!("token={}&next=%2F", self.admin);
        let answer = self.send(form_request("/login", "http://127.0.0.1:8080", None, &form)).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text);
        answer.header(header::SET_COOKIE).split(';').next().expect("a cookie").to_owned()
    }

    async fn project(&self, name: &str, visibility: &str) -> Value {
        let mut body = project_body(name);
        body["visibility"] = json!(visibility);
        let answer = self.post("/api/v1/projects", body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
        answer.json()
    }

    async fn build(&self, project: &Value) -> Value {
        let path = format!("/api/v1/projects/{}/builds", project["id"].as_str().expect("an id"));
        let answer = self.post(&path, json!({"commit": COMMIT})).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
        answer.json()
    }
}

/// A project on an address that needs no resolver.
fn project_body(name: &str) -> Value {
    json!({
        "name": name,
        "forge": {"kind": "github"},
        "repo": {"full_path": "acme/app", "clone_url": "https://1.1.1.1/acme/app.git"},
    })
}

fn form_request(path: &str, origin: &str, cookie: Option<&str>, form: &str) -> Request<Body> {
    let mut request = Request::post(path)
        .header(header::HOST, "127.0.0.1:8080")
        .header(header::ORIGIN, origin)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    if let Some(cookie) = cookie {
        request = request.header(header::COOKIE, cookie);
    }
    request.body(Body::from(form.to_owned())).expect("a request")
}
