//! GitHub Apps of tenants: kept with their key, or made from a manifest in two clicks; their installations become
//! connections.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use slipway_domain::event::ForgeKind;
use slipway_domain::ids::{ConnectionId, GithubAppId, TenantId};
use slipway_forges::github::app::{AppAccess, AppApi, AppConnect, Installation};
use slipway_runtime::ids::{new_id, new_token, random_id};
use slipway_runtime::problem::{ApiError, JsonBody, PathOf};
use slipway_store::connections::{AppInstallation, NewConnection};
use slipway_store::github_apps::{GithubApp, NewGithubApp};
use url::Url;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::addresses::check_url;
use crate::caller::Caller;
use crate::connections::{CreateConnection, InstallationRef};
use crate::forge;
use crate::openapi::ProblemDoc;
use crate::page_of::PageOf;
use crate::state::ApiState;
use crate::store_problem::OrProblem;
use crate::tenants::tenant_of;

/// Somebody waits for GitHub.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// An App that exists on GitHub.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateGithubApp {
    /// Id or name of the tenant; yours unless set.
    #[serde(default)]
    tenant: Option<String>,
    /// Where its GitHub is; github.com unless set.
    #[serde(default)]
    base_url: Option<String>,
    /// GitHub's number of it.
    app_id: u64,
    /// Its private key, as GitHub gave it (PEM).
    private_key: String,
}

/// An App without its secrets.
#[derive(Debug, Serialize, ToSchema)]
pub struct GithubAppJson {
    #[schema(value_type = uuid::Uuid)]
    id: GithubAppId,
    #[schema(value_type = uuid::Uuid)]
    tenant: TenantId,
    base_url: Option<String>,
    app_id: i64,
    /// Its name in addresses.
    slug: String,
    /// Where its one hook delivers to.
    hook_url: String,
    /// Where accounts install it.
    install_url: Option<String>,
    /// Why GitHub could not be asked lately for the deliveries that failed.
    error: Option<String>,
    created_at: DateTime<Utc>,
}

/// An account that installed an App.
#[derive(Debug, Serialize, ToSchema)]
pub struct InstallationJson {
    /// GitHub's number of it.
    id: u64,
    account: String,
    suspended: bool,
    all_repositories: bool,
    /// The connection that stands for it, if there is one.
    #[schema(value_type = Option<uuid::Uuid>)]
    connection: Option<ConnectionId>,
}

/// The routes of this noun.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(create, list)).routes(routes!(installations))
}

/// Keeps an App that exists, after GitHub took its key, and points its hook to us.
#[utoipa::path(post, path = "/api/v1/github-apps", tag = "connections", request_body = CreateGithubApp, responses(
    (status = 201, body = GithubAppJson),
    (status = 409, description = "GitHub refuses the App", body = ProblemDoc),
    (status = 422, description = "The key is none, or the address is not allowed", body = ProblemDoc),
    (status = 503, description = "GitHub does not answer", body = ProblemDoc),
))]
async fn create(
    State(state): State<ApiState>,
    caller: Caller,
    JsonBody(body): JsonBody<CreateGithubApp>,
) -> Result<(StatusCode, Json<GithubAppJson>), ApiError> {
    let tenant = tenant_of(&state, caller, body.tenant.as_deref()).await?;
    caller.may_admin(tenant.id)?;
    let base_url = match &body.base_url {
        Some(text) => Some(check_url(&state, "base_url", text).await?),
        None => None,
    };
    let app_id = i64::try_from(body.app_id).map_err(|_| ApiError::Invalid("app_id: no App has it.".to_owned()))?;
    let access = AppAccess { app_id: body.app_id, private_key_pem: body.private_key.clone() };
    let api = AppApi::new(connect(&state, base_url.as_deref(), access, PATIENCE)?)
        .map_err(|error| ApiError::Invalid(format!("private_key: {error}.")))?;
    let id: GithubAppId = random_id();
    let webhook_secret = new_token("slh");
    let upstream = forge::upstream(ForgeKind::Github, base_url.as_deref());
    let ask = || state.forges.ask(&upstream).map_err(|out| forge::problem_of(out.into()));
    let myself = forge::call(ask()?, api.myself()).await.map_err(forge::problem)?;
    if !myself.missing_permissions.is_empty() {
        let missing = myself.missing_permissions.join(", ");
        return Err(ApiError::Conflict(format!("The App lacks permissions: {missing}. Grant them on GitHub first.")));
    }
    let new = NewGithubApp {
        id,
        tenant: tenant.id,
        base_url,
        app_id,
        slug: myself.slug,
        private_key: body.private_key,
        webhook_secret,
        now: state.clock.now(),
    };
    state.db.create_github_app(&state.secret_key, &new).await.or_problem()?;
    // Now that its deliveries would be known.
    if let Err(error) = forge::call(ask()?, api.set_hook(&hook_url(&state, id), &new.webhook_secret)).await {
        state.db.delete_github_app(id).await.or_problem()?;
        return Err(forge::problem(error));
    }
    let app = state.db.github_app(&caller.scope, id).await.or_problem()?;
    Ok((StatusCode::CREATED, Json(shown(&state, app))))
}

/// The Apps that the caller sees.
#[utoipa::path(get, path = "/api/v1/github-apps", tag = "connections",
    responses((status = 200, body = PageOf<GithubAppJson>)))]
async fn list(State(state): State<ApiState>, caller: Caller) -> Result<Json<PageOf<GithubAppJson>>, ApiError> {
    let apps = state.db.list_github_apps(&caller.signed_in()?.scope).await.or_problem()?;
    Ok(Json(PageOf::whole(apps.into_iter().map(|app| shown(&state, app)).collect())))
}

/// The accounts that installed an App. Make a connection of one with `POST /api/v1/connections`.
#[utoipa::path(get, path = "/api/v1/github-apps/{id}/installations", tag = "connections",
    params(("id" = uuid::Uuid, Path)), responses(
    (status = 200, body = PageOf<InstallationJson>),
    (status = 404, body = ProblemDoc),
    (status = 409, description = "GitHub refuses the App", body = ProblemDoc),
    (status = 503, description = "GitHub does not answer", body = ProblemDoc),
))]
async fn installations(
    State(state): State<ApiState>,
    caller: Caller,
    PathOf(id): PathOf<GithubAppId>,
) -> Result<Json<PageOf<InstallationJson>>, ApiError> {
    let app = state.db.github_app(&caller.signed_in()?.scope, id).await.or_problem()?;
    caller.may_write(app.tenant_id)?;
    let mut items = Vec::new();
    for installation in installations_of(&state, &app).await? {
        let known = i64::try_from(installation.id).unwrap_or_default();
        let connection =
            state.db.connection_of_installation(AppInstallation { app: id, id: known }).await.or_problem()?;
        let Installation { id, account, suspended, all_repositories } = installation;
        items.push(InstallationJson { id, account, suspended, all_repositories, connection });
    }
    Ok(Json(PageOf::whole(items)))
}

/// Makes the connection of an installation, or gives the one that there is. Whose App it is, may use its installations:
/// Apps that we make are for one account's own.
pub async fn connect_installation(
    state: &ApiState,
    caller: Caller,
    (app, installation): (GithubAppId, u64),
) -> Result<ConnectionId, ApiError> {
    let app = state.db.github_app(&caller.signed_in()?.scope, app).await.or_problem()?;
    caller.may_write(app.tenant_id)?;
    let id = i64::try_from(installation).map_err(|_| unknown_installation())?;
    let of = AppInstallation { app: app.id, id };
    if let Some(known) = state.db.connection_of_installation(of).await.or_problem()? {
        return Ok(known);
    }
    if !installations_of(state, &app).await?.iter().any(|known| known.id == installation) {
        return Err(unknown_installation());
    }
    let connection: ConnectionId = new_id();
    let new = NewConnection {
        id: connection,
        tenant: app.tenant_id,
        kind: ForgeKind::Github,
        base_url: app.base_url,
        token: None,
        installation: Some(of),
        now: state.clock.now(),
    };
    state.db.create_connection(&state.secret_key, &new).await.or_problem()?;
    Ok(connection)
}

/// The same as `POST /api/v1/connections` asks for it.
pub async fn connect_asked(
    state: &ApiState,
    caller: Caller,
    (body, named, tenant): (&CreateConnection, &InstallationRef, TenantId),
) -> Result<ConnectionId, ApiError> {
    if body.kind != ForgeKind::Github || body.token.is_some() {
        return Err(ApiError::Invalid("github_app: only for kind github, and instead of a token.".to_owned()));
    }
    let app = state.db.github_app(&caller.scope, named.id).await.or_problem()?;
    if app.tenant_id != tenant {
        return Err(ApiError::Invalid("github_app belongs to another tenant than the one named.".to_owned()));
    }
    connect_installation(state, caller, (named.id, named.installation)).await
}

/// What speaks as an App of ours.
pub async fn api(state: &ApiState, id: GithubAppId, timeout: Duration) -> Result<AppApi, ApiError> {
    let kept = state.db.github_app_access(&state.secret_key, id).await.or_problem()?;
    let access =
        AppAccess { app_id: u64::try_from(kept.app_id).unwrap_or_default(), private_key_pem: kept.private_key };
    AppApi::new(connect(state, kept.base_url.as_deref(), access, timeout)?).map_err(forge::problem)
}

/// Where an App's hook delivers to.
pub fn hook_url(state: &ApiState, id: GithubAppId) -> String {
    state.config.url(&format!("hooks/{id}"))
}

async fn installations_of(state: &ApiState, app: &GithubApp) -> Result<Vec<Installation>, ApiError> {
    let api = api(state, app.id, PATIENCE).await?;
    let permit = state.forges.ask(&forge::upstream(ForgeKind::Github, app.base_url.as_deref()));
    let permit = permit.map_err(|out| forge::problem_of(out.into()))?;
    forge::call(permit, api.installations()).await.map_err(forge::problem)
}

fn connect(
    state: &ApiState,
    base_url: Option<&str>,
    access: AppAccess,
    timeout: Duration,
) -> Result<AppConnect, ApiError> {
    let base_url = base_url.map(Url::parse).transpose().map_err(ApiError::internal)?;
    Ok(AppConnect { base_url, access, egress: state.egress.clone(), clock: state.clock.clone(), timeout })
}

fn unknown_installation() -> ApiError {
    ApiError::Invalid("installation: GitHub knows no such installation of this App; install it first.".to_owned())
}

fn shown(state: &ApiState, app: GithubApp) -> GithubAppJson {
    GithubAppJson {
        install_url: install_url(&app),
        hook_url: hook_url(state, app.id),
        id: app.id,
        tenant: app.tenant_id,
        base_url: app.base_url,
        app_id: app.app_id,
        slug: app.slug,
        error: app.last_error,
        created_at: app.created_at,
    }
}

/// Where accounts install an App: on an own server below `github-apps`, on github.com below `apps`.
pub fn install_url(app: &GithubApp) -> Option<String> {
    let own = app.base_url.as_deref().and_then(|base| Url::parse(base).ok());
    let own = own.filter(|base| !matches!(base.host_str(), Some("github.com" | "www.github.com" | "api.github.com")));
    let (mut url, folder) = match own {
        Some(mut base) => {
            base.set_path(base.path().trim_end_matches('/').trim_end_matches("/api/v3").to_owned().as_str());
            (base, "github-apps")
        }
        None => (Url::parse("https://github.com").ok()?, "apps"),
    };
    url.path_segments_mut().ok()?.pop_if_empty().extend([folder, app.slug.as_str(), "installations", "new"]);
    Some(url.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_install_an_app_on_its_own_github() {
        let at = |base_url: Option<&str>| {
            let app = GithubApp {
                id: random_id(),
                tenant_id: new_id(),
                base_url: base_url.map(str::to_owned),
                app_id: 1,
                slug: "a/b".to_owned(),
                created_at: DateTime::UNIX_EPOCH,
                last_error: None,
            };
            install_url(&app).expect("an address")
        };
        assert_eq!(at(None), "https://github.com/apps/a%2Fb/installations/new");
        assert_eq!(at(Some("https://github.com")), "https://github.com/apps/a%2Fb/installations/new");
        let own = "https://git.example/sub/github-apps/a%2Fb/installations/new";
        assert_eq!(at(Some("https://git.example/sub")), own);
        assert_eq!(at(Some("https://git.example/sub/api/v3/")), own);
    }
}
