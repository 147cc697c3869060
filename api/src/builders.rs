//! Builders, and the tokens by which they join.

use axum::Json;
use axum::extract::State;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use slipway_domain::builder::{BuilderState, Load};
use slipway_domain::ids::{BuilderId, JoinTokenId};
use slipway_domain::placement::Pool;
use slipway_live::Topic;
use slipway_runtime::ids::{new_id, new_token, token_hash};
use slipway_runtime::problem::{ApiError, JsonBody, PathOf};
use slipway_store::builders::BuilderView;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::caller::Caller;
use crate::openapi::ProblemDoc;
use crate::page_of::PageOf;
use crate::state::{ApiConfig, ApiState};
use crate::store_problem::OrProblem;

/// Marks join tokens for secret scanners.
const PREFIX: &str = "slj";

/// What makes a join token.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateJoinToken {
    /// `region/class/platform`; the installation's own pool unless set.
    #[serde(default)]
    pool: Option<String>,
}

/// A new join token; the only answer that shows it.
#[derive(Serialize, ToSchema)]
pub struct JoinTokenJson {
    #[schema(value_type = uuid::Uuid)]
    id: JoinTokenId,
    /// Start the builder with it as `SLIPWAY_JOIN_TOKEN`.
    token: String,
    pool: String,
}

/// A builder.
#[derive(Debug, Serialize, ToSchema)]
pub struct BuilderJson {
    #[schema(value_type = uuid::Uuid)]
    id: BuilderId,
    name: String,
    region: String,
    class: String,
    platform: String,
    slots: i64,
    busy: i64,
    /// `online`, `draining`, `suspect`, `lost` or `offline`.
    #[schema(value_type = String)]
    state: BuilderState,
    /// How busy its host is; null for everybody but operators.
    #[schema(value_type = Option<Object>)]
    load: Option<Load>,
    last_seen_at: Option<DateTime<Utc>>,
    /// Null for everybody but operators.
    release: Option<String>,
    /// An operator drained it; it takes nothing until it is resumed, also after a restart.
    drained: bool,
}

impl BuilderJson {
    fn new(view: BuilderView, to_operator: bool) -> Self {
        Self {
            id: view.id,
            name: view.name,
            region: view.pool.region,
            class: view.pool.class,
            platform: view.pool.platform,
            slots: view.slots,
            busy: view.busy,
            state: view.state,
            load: to_operator.then_some(view.load),
            last_seen_at: view.last_seen_at,
            release: to_operator.then_some(view.release),
            drained: view.drained,
        }
    }
}

/// The routes of this noun.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(create_token))
        .routes(routes!(list))
        .routes(routes!(drain))
        .routes(routes!(resume))
}

/// The pool of who asks for none.
pub fn default_pool(config: &ApiConfig) -> Pool {
    Pool { region: config.region.clone(), class: config.class.clone(), platform: config.platform.clone() }
}

/// Makes a token by which builders join one pool.
#[utoipa::path(post, path = "/api/v1/builders/tokens", tag = "builders", request_body = CreateJoinToken, responses(
    (status = 201, body = JoinTokenJson),
    (status = 403, body = ProblemDoc),
))]
async fn create_token(
    State(state): State<ApiState>,
    caller: Caller,
    JsonBody(body): JsonBody<CreateJoinToken>,
) -> Result<(StatusCode, Json<JoinTokenJson>), ApiError> {
    caller.operator()?;
    let pool = match &body.pool {
        Some(text) => text.parse::<Pool>().map_err(|error| ApiError::Invalid(format!("pool: {error}.")))?,
        None => default_pool(&state.config),
    };
    let (id, token) = (new_id(), new_token(PREFIX));
    state.db.create_join_token(id, &token_hash(&token), &pool, state.clock.now()).await.or_problem()?;
    Ok((StatusCode::CREATED, Json(JoinTokenJson { id, token, pool: pool.to_string() })))
}

/// Operators see every builder of the installation. Members see those that build for them, without their hosts.
#[utoipa::path(get, path = "/api/v1/builders", tag = "builders", responses((status = 200, body = PageOf<BuilderJson>)))]
async fn list(State(state): State<ApiState>, caller: Caller) -> Result<Json<PageOf<BuilderJson>>, ApiError> {
    let builders = visible_builders(&state, caller).await?;
    let show = |view| BuilderJson::new(view, caller.scope.is_operator());
    Ok(Json(PageOf::whole(builders.into_iter().map(show).collect())))
}

/// The builders that the caller may know of: not those that serve another tenant. Shared with the pages.
pub async fn visible_builders(state: &ApiState, caller: Caller) -> Result<Vec<BuilderView>, ApiError> {
    caller.signed_in()?;
    let now = state.db.now(&state.clock).await.or_problem()?;
    let mut builders = state.db.list_builders(now).await.or_problem()?;
    builders.retain(|view| view.serves_tenant.is_none_or(|tenant| caller.scope.covers(tenant)));
    Ok(builders)
}

/// Lets a builder finish what it has and leave. It takes nothing new until it is resumed, also after a restart.
#[utoipa::path(post, path = "/api/v1/builders/{id}/drain", tag = "builders", params(("id" = uuid::Uuid, Path)),
    responses((status = 202, description = "It was told"), (status = 404, body = ProblemDoc)))]
async fn drain(
    State(state): State<ApiState>,
    caller: Caller,
    PathOf(id): PathOf<BuilderId>,
) -> Result<StatusCode, ApiError> {
    drain_builder(&state, caller, id, true).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Takes a drain back. A builder that has left already takes jobs again once it is started.
#[utoipa::path(post, path = "/api/v1/builders/{id}/resume", tag = "builders", params(("id" = uuid::Uuid, Path)),
    responses((status = 202, description = "It was told"), (status = 404, body = ProblemDoc)))]
async fn resume(
    State(state): State<ApiState>,
    caller: Caller,
    PathOf(id): PathOf<BuilderId>,
) -> Result<StatusCode, ApiError> {
    drain_builder(&state, caller, id, false).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Drains or takes that back; shared with the pages.
pub async fn drain_builder(state: &ApiState, caller: Caller, id: BuilderId, drained: bool) -> Result<(), ApiError> {
    caller.operator()?;
    if let Some(session) = state.db.drain_builder(id, drained).await.or_problem()? {
        state.live.publish(Topic::Session(session), Bytes::new());
    }
    Ok(())
}
