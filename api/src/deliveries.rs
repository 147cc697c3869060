//! Deliveries: what the forges sent, and what became of it.

pub mod payload;

use std::collections::{BTreeMap, BTreeSet};

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
use crate::deliveries::payload::PayloadJson;
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
    /// What the project is called.
    project_name: Option<String>,
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
    /// How often it was tried since it came in or was replayed; 0 for what nobody had to work.
    attempts: i64,
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

impl DeliveryJson {
    fn new(view: DeliveryView, names: &BTreeMap<ProjectId, String>) -> Self {
        let DeliveryView { delivery, builds } = view;
        Self {
            id: delivery.id,
            hook: delivery.hook_id,
            project: delivery.project_id,
            project_name: names.get(&delivery.project_id).cloned(),
            delivery: delivery.delivery_key,
            event: delivery.event,
            auth: delivery.auth.to_string(),
            received_at: delivery.received_at,
            finished_at: delivery.finished_at,
            state: delivery.state,
            reason: delivery.reason,
            attempts: delivery.attempts,
            builds,
        }
    }
}

/// The routes of this noun.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(get)).routes(routes!(payload)).routes(routes!(replay))
}

/// Deliveries that the caller sees, newest first.
#[utoipa::path(get, path = "/api/v1/deliveries", tag = "deliveries", params(DeliveryQuery),
    responses((status = 200, body = PageOf<DeliveryJson>), (status = 404, body = ProblemDoc)))]
async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    QueryOf(query): QueryOf<DeliveryQuery>,
) -> Result<Json<PageOf<DeliveryJson>>, ApiError> {
    caller.signed_in()?;
    let limit = page_of::limit(query.limit);
    if let Some(project) = query.project {
        state.db.project(&caller.scope, project).await.or_problem()?;
    }
    let filter = DeliveryFilter {
        project: query.project,
        state: query.state,
        before: query.cursor,
        limit: page_of::rows_for(limit),
    };
    let rows = state.db.list_deliveries(&caller.scope, &filter).await.or_problem()?;
    let names = project_names(&state, caller, &rows).await;
    let show = |view| DeliveryJson::new(view, &names);
    Ok(Json(PageOf::cut(rows, limit, |view: &DeliveryView| view.delivery.id.to_string(), show)))
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
    shown(&state, caller, id).await
}

/// What came in with a delivery, secrets masked, and what it means. Its body is kept for a week after the work.
#[utoipa::path(get, path = "/api/v1/deliveries/{id}/payload", tag = "deliveries",
    params(("id" = uuid::Uuid, Path)), responses(
    (status = 200, body = PayloadJson),
    (status = 404, body = ProblemDoc),
    (status = 503, description = "The body lies in object storage, which does not answer", body = ProblemDoc),
))]
async fn payload(
    State(state): State<ApiState>,
    caller: Caller,
    PathOf(id): PathOf<DeliveryId>,
) -> Result<Json<PayloadJson>, ApiError> {
    caller.signed_in()?;
    let delivery = state.db.delivery(&caller.scope, id).await.or_problem()?.delivery;
    let forge = state.db.project(&caller.scope, delivery.project_id).await.or_problem()?.forge;
    Ok(Json(payload::stored(&state, caller, &delivery, forge).await?.into()))
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
    shown(&state, caller, id).await
}

async fn shown(state: &ApiState, caller: Caller, id: DeliveryId) -> Result<Json<DeliveryJson>, ApiError> {
    let view = state.db.delivery(&caller.scope, id).await.or_problem()?;
    let names = project_names(state, caller, std::slice::from_ref(&view)).await;
    Ok(Json(DeliveryJson::new(view, &names)))
}

/// What the projects of these deliveries are called, shared with the pages. A project that cannot be read has no name
/// here, and hides no delivery.
pub async fn project_names(state: &ApiState, caller: Caller, rows: &[DeliveryView]) -> BTreeMap<ProjectId, String> {
    let ids: BTreeSet<ProjectId> = rows.iter().map(|view| view.delivery.project_id).collect();
    let ids = Vec::from_iter(ids);
    if let Ok(projects) = state.db.projects(&caller.scope, &ids).await {
        return projects.into_iter().map(|(id, project)| (id, project.name)).collect();
    }
    let mut names = BTreeMap::new();
    for id in ids {
        if let Ok(project) = state.db.project(&caller.scope, id).await {
            names.insert(id, project.name);
        }
    }
    names
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
