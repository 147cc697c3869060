//! `/github-apps`: making a GitHub App in two clicks, and what it is installed on. The form with the manifest goes to
//! GitHub, which sends the browser back with a code; what goes with it is sealed, so that nobody else's code is taken.

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue, header};
use serde::{Deserialize, Serialize};
use slipway_domain::event::ForgeKind;
use slipway_domain::ids::{GithubAppId, TenantId, TokenId};
use slipway_forges::github::app_manifest::{Manifest, ManifestCode, convert_manifest, manifest, manifest_page};
use slipway_runtime::ids::random_id;
use slipway_runtime::problem::{ApiError, QueryOf};
use slipway_store::github_apps::NewGithubApp;
use url::Url;

use crate::addresses::check_url;
use crate::caller::Caller;
use crate::forge;
use crate::github_apps::{PATIENCE, connect_installation, hook_url, install_url};
use crate::pages::{Chrome, render};
use crate::state::ApiState;
use crate::store_problem::OrProblem;
use crate::tenants::tenant_of;

/// How long the way over GitHub may take; its code is good for an hour.
const GOOD_FOR_SECS: i64 = 3600;
/// Binds what is sealed to its use.
const CONTEXT: &str = "github-app-manifest";

#[derive(Template)]
#[template(path = "github_apps.html")]
struct AppsPage {
    chrome: Chrome,
    apps: Vec<AppRow>,
    may_make: bool,
}

struct AppRow {
    slug: String,
    github: String,
    install_url: Option<String>,
    error: Option<String>,
}

#[derive(Template)]
#[template(path = "github_app_new.html")]
struct NewPage {
    chrome: Chrome,
    action: String,
    manifest: String,
    github: String,
}

/// Where the App is made.
#[derive(Deserialize)]
pub struct NewQuery {
    #[serde(default)]
    tenant: Option<String>,
    #[serde(default)]
    organisation: Option<String>,
    #[serde(default)]
    base_url: Option<String>,
}

/// What goes to GitHub and comes back, sealed.
#[derive(Serialize, Deserialize)]
struct Way {
    app: GithubAppId,
    tenant: TenantId,
    base_url: Option<String>,
    token: Option<TokenId>,
    until: i64,
}

/// What GitHub sends the browser back with.
#[derive(Deserialize)]
pub struct MadeQuery {
    code: String,
    state: String,
}

/// What GitHub sends the browser with after an installation.
#[derive(Deserialize)]
pub struct InstalledQuery {
    installation_id: u64,
}

/// `GET /github-apps`.
pub async fn page(State(state): State<ApiState>, caller: Caller, headers: HeaderMap) -> Result<Response, ApiError> {
    let apps = state.db.list_github_apps(&caller.signed_in()?.scope).await.or_problem()?;
    let tenant = tenant_of(&state, caller, None).await.ok();
    render(&AppsPage {
        chrome: Chrome::new(&state, caller, &headers, "/github-apps"),
        may_make: tenant.is_some_and(|tenant| caller.scope.may_admin(tenant.id)),
        apps: apps
            .into_iter()
            .map(|app| AppRow {
                install_url: install_url(&app),
                github: app.base_url.unwrap_or_else(|| "github.com".to_owned()),
                slug: app.slug,
                error: app.last_error,
            })
            .collect(),
    })
}

/// `GET /github-apps/new`: the form whose one button goes to GitHub.
pub async fn new(
    State(state): State<ApiState>,
    caller: Caller,
    headers: HeaderMap,
    QueryOf(query): QueryOf<NewQuery>,
) -> Result<Response, ApiError> {
    let filled = |text: Option<String>| text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    let tenant = tenant_of(&state, caller, filled(query.tenant).as_deref()).await?;
    caller.may_admin(tenant.id)?;
    let base_url = match filled(query.base_url) {
        Some(text) => Some(check_url(&state, "base_url", &text).await?),
        None => None,
    };
    let base = base_url.as_deref().map(Url::parse).transpose().map_err(ApiError::internal)?;
    let until = state.clock.now().timestamp() + GOOD_FOR_SECS;
    let way = Way { app: random_id(), tenant: tenant.id, base_url, token: caller.token, until };
    let sealed = state.secret_key.seal(CONTEXT, &serde_json::to_string(&way).map_err(ApiError::internal)?);
    let action = manifest_page(base.as_ref(), filled(query.organisation).as_deref(), &URL_SAFE_NO_PAD.encode(sealed))
        .map_err(|error| ApiError::Invalid(format!("{error}.")))?;
    let host = action.host_str().unwrap_or_default();
    let wanted = Manifest {
        name: &format!("Slipway {}", state.config.public_url.host_str().unwrap_or_default()),
        our_url: state.config.public_url.as_str(),
        hook_url: &hook_url(&state, way.app),
        redirect_url: &state.config.url("github-apps/made"),
        setup_url: Some(&state.config.url(&format!("github-apps/installed/{}", way.app))),
    };
    let mut answer = render(&NewPage {
        chrome: Chrome::new(&state, caller, &headers, "/github-apps"),
        manifest: manifest(&wanted).to_string(),
        github: host.to_owned(),
        action: action.to_string(),
    })?;
    // Only here a form may go elsewhere, and only to this GitHub.
    let policy = format!(
        "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self' {}; frame-ancestors 'none'",
        action.origin().ascii_serialization()
    );
    let policy = HeaderValue::from_str(&policy).map_err(ApiError::internal)?;
    answer.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    Ok(answer)
}

/// `GET /github-apps/made`: GitHub made the App; its key and secret are fetched with the code, once.
pub async fn made(
    State(state): State<ApiState>,
    caller: Caller,
    QueryOf(query): QueryOf<MadeQuery>,
) -> Result<Response, ApiError> {
    let way = open(&state, &query.state)?;
    caller.may_admin(way.tenant)?;
    let now = state.clock.now();
    if way.token != caller.token || way.until < now.timestamp() {
        return Err(stale());
    }
    let base = way.base_url.as_deref().map(Url::parse).transpose().map_err(ApiError::internal)?;
    let code = ManifestCode {
        base_url: base.as_ref(),
        code: &query.code,
        egress: state.egress.clone(),
        clock: state.clock.clone(),
        timeout: PATIENCE,
    };
    let permit = state.forges.ask(&forge::upstream(ForgeKind::Github, way.base_url.as_deref()));
    let permit = permit.map_err(|out| forge::problem_of(out.into()))?;
    let app = forge::call(permit, convert_manifest(code)).await.map_err(forge::problem)?;
    let new = NewGithubApp {
        id: way.app,
        tenant: way.tenant,
        base_url: way.base_url,
        app_id: i64::try_from(app.app_id).map_err(ApiError::internal)?,
        slug: app.slug,
        private_key: app.private_key_pem,
        webhook_secret: app.webhook_secret,
        now,
    };
    state.db.create_github_app(&state.secret_key, &new).await.or_problem()?;
    Ok(Redirect::to("/github-apps").into_response())
}

/// `GET /github-apps/installed/{id}`: an account installed the App; a connection stands for that from now on.
pub async fn installed(
    State(state): State<ApiState>,
    caller: Caller,
    slipway_runtime::problem::PathOf(id): slipway_runtime::problem::PathOf<GithubAppId>,
    QueryOf(query): QueryOf<InstalledQuery>,
) -> Result<Response, ApiError> {
    connect_installation(&state, caller, (id, query.installation_id)).await?;
    Ok(Redirect::to("/github-apps").into_response())
}

fn open(state: &ApiState, sealed: &str) -> Result<Way, ApiError> {
    let bytes = URL_SAFE_NO_PAD.decode(sealed).map_err(|_| stale())?;
    let text = state.secret_key.open(CONTEXT, &bytes).map_err(|_| stale())?;
    serde_json::from_str(&text).map_err(|_| stale())
}

fn stale() -> ApiError {
    ApiError::BadRequest(
        "This way over GitHub was not begun here, or is too old; begin again at /github-apps.".to_owned(),
    )
}
