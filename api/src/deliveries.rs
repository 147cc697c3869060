//! Deliveries: what the forges sent, and what became of it.

use axum::Json;
use axum::extract::State;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use slipway_domain::delivery::DeliveryState;
use slipway_domain::ids::{BuildId, DeliveryId, HookId, ProjectId};
use slipway_live::{Topic, WakeKind};
use slipway_runtime::problem::{ApiError, PathOf, QueryOf};
use slipway_store::deliveries::{DeliveryFilter, DeliveryView};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::caller::Caller;
use crate::openapi::ProblemDoc;
use crate::page_of::{self, PageOf};
use crate::state::ApiState;
use crate::store_problem::OrProblem;

/// A delivery, without its body.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeliveryJson {
    #[schema(value_type = uuid::Uuid)]
    id: DeliveryId,
    #[schema(value_type = uuid::Uuid)]
    hook: HookId,
    #[schema(value_type = uuid::Uuid)]
    project: ProjectId,
    /// The forge's own id of this delivery.
    delivery: String,
    /// The forge's word for what happened.
    event: String,
    /// How it proved where it comes from.
    auth: String,
    received_at: DateTime<Utc>,
    finished_at: Option<DateTime<Utc>>,
    /// `received`, `done`, `ignored` or `failed`.
    #[schema(value_type = String)]
    state: DeliveryState,
    reason: Option<String>,
    #[schema(value_type = Vec<uuid::Uuid>)]
    builds: Vec<BuildId>,
}

/// Which deliveries to list, newest first.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DeliveryQuery {
    /// Only of this project.
    #[param(value_type = Option<uuid::Uuid>)]
    project: Option<ProjectId>,
    /// Only in this state.
    #[param(value_type = Option<String>)]
    state: Option<DeliveryState>,
    /// `next_cursor` of the page before.
    #[param(value_type = Option<uuid::Uuid>)]
    cursor: Option<DeliveryId>,
    /// 1 to 100; 20 unless set.
    limit: Option<i64>,
}

impl From<DeliveryView> for DeliveryJson {
    fn from(view: DeliveryView) -> Self {
        let DeliveryView { delivery, builds } = view;
        Self {
            id: delivery.id,
            hook: delivery.hook_id,
            project: delivery.project_id,
            delivery: delivery.delivery_key,
            event: delivery.event,
            auth: delivery.auth.to_string(),
            received_at: delivery.received_at,
            finished_at: delivery.finished_at,
            state: delivery.state,
            reason: delivery.reason,
            builds,
        }
    }
}

/// The routes of this noun.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(get)).routes(routes!(replay))
}

/// Deliveries that the caller sees, newest first.
#[utoipa::path(get, path = "/api/v1/deliveries", tag = "deliveries", params(DeliveryQuery),
    responses((status = 200, body = PageOf<DeliveryJson>)))]
async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    QueryOf(query): QueryOf<DeliveryQuery>,
) -> Result<Json<PageOf<DeliveryJson>>, ApiError> {
    caller.signed_in()?;
    let limit = page_of::limit(query.limit);
    let filter = DeliveryFilter {
        project: query.project,
        state: query.state,
        before: query.cursor,
        limit: page_of::rows_for(limit),
    };
    let rows = state.db.list_deliveries(&caller.scope, &filter).await.or_problem()?;
    Ok(Json(PageOf::cut(rows, limit, |view: &DeliveryView| view.delivery.id.to_string(), DeliveryJson::from)))
}

/// One delivery.
#[utoipa::path(get, path = "/api/v1/deliveries/{id}", tag = "deliveries", params(("id" = uuid::Uuid, Path)), responses(
    (status = 200, body = DeliveryJson),
    (status = 404, body = ProblemDoc),
))]
async fn get(
    State(state): State<ApiState>,
    caller: Caller,
    PathOf(id): PathOf<DeliveryId>,
) -> Result<Json<DeliveryJson>, ApiError> {
    caller.signed_in()?;
    Ok(Json(state.db.delivery(&caller.scope, id).await.or_problem()?.into()))
}

/// Works a stored delivery once more. What it had already caused is not doubled.
#[utoipa::path(post, path = "/api/v1/deliveries/{id}/replay", tag = "deliveries", params(("id" = uuid::Uuid, Path)),
    responses(
    (status = 200, body = DeliveryJson),
    (status = 404, body = ProblemDoc),
    (status = 409, description = "It is still being worked, or its body is not kept any more", body = ProblemDoc),
))]
async fn replay(
    State(state): State<ApiState>,
    caller: Caller,
    PathOf(id): PathOf<DeliveryId>,
) -> Result<Json<DeliveryJson>, ApiError> {
    replay_delivery(&state, caller, id).await?;
    Ok(Json(state.db.delivery(&caller.scope, id).await.or_problem()?.into()))
}

/// Replays; shared with the pages.
pub async fn replay_delivery(state: &ApiState, caller: Caller, id: DeliveryId) -> Result<(), ApiError> {
    caller.signed_in()?;
    let view = state.db.delivery(&caller.scope, id).await.or_problem()?;
    caller.may_write(view.delivery.tenant_id)?;
    let now = state.db.now(&state.clock).await.or_problem()?;
    state.db.replay_delivery(&caller.scope, id, now).await.or_problem()?;
    state.live.publish(Topic::Wake(WakeKind::Deliveries), Bytes::new());
    Ok(())
}
