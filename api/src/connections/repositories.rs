//! The repositories that a connection reaches, to choose from when a project is made.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use slipway_domain::ids::ConnectionId;
use slipway_forges::api::ForgeError;
use slipway_forges::github::app::AppApi;
use slipway_forges::repos::{RemoteRepo, RepoPage};
use slipway_runtime::problem::{ApiError, PathOf, QueryOf};
use slipway_store::connections::Connection;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::caller::Caller;
use crate::forge::{self, About};
use crate::github_apps;
use crate::openapi::ProblemDoc;
use crate::page_of::PageOf;
use crate::state::ApiState;
use crate::store_problem::OrProblem;

/// Somebody waits for the list.
const PATIENCE: Duration = Duration::from_secs(15);
/// Longest text to search for.
const MAX_SEARCH: usize = 200;

/// Which repositories to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RepositoryQuery {
    /// Part of a name; forges that cannot search look through what they list.
    #[serde(default)]
    search: Option<String>,
    /// `next_cursor` of the page before.
    #[serde(default)]
    cursor: Option<String>,
}

/// A repository as its forge has it.
#[derive(Debug, Serialize, ToSchema)]
pub struct RepositoryJson {
    /// The forge's own id, which survives a rename.
    id: String,
    full_path: String,
    clone_url: String,
    web_url: Option<String>,
    default_branch: Option<String>,
    private: Option<bool>,
}

impl From<RemoteRepo> for RepositoryJson {
    fn from(repo: RemoteRepo) -> Self {
        let RemoteRepo { id, full_path, clone_url, web_url, default_branch, private } = repo;
        Self { id, full_path, clone_url, web_url, default_branch, private }
    }
}

/// The routes of this noun.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list))
}

/// The repositories that the connection's credential reaches. A page may be empty and still have a next one.
#[utoipa::path(get, path = "/api/v1/connections/{id}/repositories", tag = "connections",
    params(("id" = uuid::Uuid, Path), RepositoryQuery), responses(
    (status = 200, body = PageOf<RepositoryJson>),
    (status = 404, body = ProblemDoc),
    (status = 409, description = "The connection has no credential, or the forge refuses it", body = ProblemDoc),
    (status = 503, description = "The forge does not answer", body = ProblemDoc),
))]
async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    PathOf(id): PathOf<ConnectionId>,
    QueryOf(query): QueryOf<RepositoryQuery>,
) -> Result<Json<PageOf<RepositoryJson>>, ApiError> {
    let connection = state.db.connection(&caller.signed_in()?.scope, id).await.or_problem()?;
    // What a token reaches is more than its readers may see here.
    caller.may_write(connection.tenant_id)?;
    if query.search.as_ref().is_some_and(|search| search.len() > MAX_SEARCH) {
        return Err(ApiError::Invalid(format!("search: at most {MAX_SEARCH} bytes.")));
    }
    let page = match connection.github_app_id {
        Some(_) => of_installation(&state, &connection, &query).await?,
        None => of_token(&state, id, &query).await?,
    };
    let items = page.items.into_iter().map(RepositoryJson::from).collect();
    Ok(Json(PageOf { items, next_cursor: page.next }))
}

async fn of_token(state: &ApiState, id: ConnectionId, query: &RepositoryQuery) -> Result<RepoPage, ApiError> {
    let opened = forge::open(state, About { connection: id, repo: "" }, PATIENCE).await;
    let Some((api, permit)) = opened.map_err(forge::problem_of)? else {
        return Err(forge::no_credential());
    };
    let listed = forge::call(permit, api.list_repos(query.search.as_deref(), query.cursor.as_deref())).await;
    listed.map_err(forge::problem)
}

async fn of_installation(
    state: &ApiState,
    connection: &Connection,
    query: &RepositoryQuery,
) -> Result<RepoPage, ApiError> {
    let (Some(app), Some(installation)) = (connection.github_app_id, connection.installation_id) else {
        return Err(forge::no_credential());
    };
    let api: AppApi = github_apps::api(state, app, PATIENCE).await?;
    let installation = u64::try_from(installation).unwrap_or_default();
    let listed = async {
        let token = api.listing_token(installation).await?;
        api.installation_repos(&token, query.cursor.as_deref()).await
    };
    let mut page = listed.await.map_err(|error: ForgeError| forge::problem(error))?;
    if let Some(search) = query.search.as_deref().map(str::to_lowercase) {
        page.items.retain(|repo| repo.full_path.to_lowercase().contains(&search));
    }
    Ok(page)
}
