//! API tokens of people and programs. The token itself is shown once, when it is made.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use slipway_domain::ids::{TenantId, TokenId};
use slipway_domain::tenant::Role;
use slipway_runtime::ids::{new_id, new_token, token_hash};
use slipway_runtime::problem::{ApiError, JsonBody, PathOf};
use slipway_store::tokens::{NewToken, Token, TokenOwner};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::caller::Caller;
use crate::openapi::ProblemDoc;
use crate::page_of::PageOf;
use crate::state::ApiState;
use crate::store_problem::OrProblem;
use crate::tenants::tenant_of;
use crate::words::check_name;

/// Marks our tokens for secret scanners.
const PREFIX: &str = "slw";

/// What makes a token.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateToken {
    /// Whose it is and what for; shown in lists.
    name: String,
    /// Id or name of the tenant; yours unless set.
    #[serde(default)]
    tenant: Option<String>,
    /// `owner`, `maintainer` or `viewer`.
    #[schema(value_type = String)]
    role: Role,
}

/// A token without its secret part.
#[derive(Debug, Serialize, ToSchema)]
pub struct TokenJson {
    #[schema(value_type = uuid::Uuid)]
    id: TokenId,
    name: String,
    #[schema(value_type = Option<uuid::Uuid>)]
    tenant: Option<TenantId>,
    #[schema(value_type = Option<String>)]
    role: Option<Role>,
    created_at: DateTime<Utc>,
    revoked_at: Option<DateTime<Utc>>,
}

/// A new token; the only answer that shows it.
#[derive(Serialize, ToSchema)]
pub struct NewTokenJson {
    #[schema(value_type = uuid::Uuid)]
    id: TokenId,
    /// Send it as `Authorization: Bearer`.
    token: String,
}

impl From<Token> for TokenJson {
    fn from(token: Token) -> Self {
        Self {
            id: token.id,
            name: token.name,
            tenant: token.tenant_id,
            role: token.role,
            created_at: token.created_at,
            revoked_at: token.revoked_at,
        }
    }
}

/// The routes of this noun.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(create, list)).routes(routes!(revoke))
}

/// Makes a token for a member of a tenant.
#[utoipa::path(post, path = "/api/v1/tokens", tag = "tokens", request_body = CreateToken, responses(
    (status = 201, body = NewTokenJson),
    (status = 403, body = ProblemDoc),
))]
async fn create(
    State(state): State<ApiState>,
    caller: Caller,
    JsonBody(body): JsonBody<CreateToken>,
) -> Result<(StatusCode, Json<NewTokenJson>), ApiError> {
    let tenant = tenant_of(&state, caller, body.tenant.as_deref()).await?;
    caller.may_admin(tenant.id)?;
    check_name("name", &body.name)?;
    let token = new_token(PREFIX);
    let id: TokenId = new_id();
    let new = NewToken {
        id,
        owner: TokenOwner::Member { tenant: tenant.id, role: body.role },
        name: body.name,
        hash: token_hash(&token),
        now: state.clock.now(),
    };
    state.db.create_token(&new).await.or_problem()?;
    Ok((StatusCode::CREATED, Json(NewTokenJson { id, token })))
}

/// The tokens that the caller may see, without their secret parts.
#[utoipa::path(get, path = "/api/v1/tokens", tag = "tokens", responses((status = 200, body = PageOf<TokenJson>)))]
async fn list(State(state): State<ApiState>, caller: Caller) -> Result<Json<PageOf<TokenJson>>, ApiError> {
    caller.signed_in()?;
    let tokens = state.db.list_tokens(&caller.scope).await.or_problem()?;
    Ok(Json(PageOf::whole(tokens.into_iter().map(TokenJson::from).collect())))
}

/// Revokes a token and the browser sessions that were opened with it.
#[utoipa::path(delete, path = "/api/v1/tokens/{id}", tag = "tokens", params(("id" = uuid::Uuid, Path)), responses(
    (status = 204, description = "It no longer works"),
    (status = 404, body = ProblemDoc),
))]
async fn revoke(
    State(state): State<ApiState>,
    caller: Caller,
    PathOf(id): PathOf<TokenId>,
) -> Result<StatusCode, ApiError> {
    caller.signed_in()?;
    let tokens = state.db.list_tokens(&caller.scope).await.or_problem()?;
    match tokens.iter().find(|token| token.id == id).map(|token| token.tenant_id) {
        Some(Some(tenant)) => caller.may_admin(tenant)?,
        // An operator's token, or one that the store knows better than this list: the store decides.
        Some(None) | None => caller.operator()?,
    };
    state.db.revoke_token(&caller.scope, id, state.clock.now()).await.or_problem()?;
    Ok(StatusCode::NO_CONTENT)
}
