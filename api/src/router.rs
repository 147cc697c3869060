//! All routes of this service, merged: who they are for decides what is layered around them.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
use slipway_runtime::problem::ApiError;
use utoipa_axum::router::OpenApiRouter;

use crate::state::ApiState;
use crate::{
    assets, badge, builders, builds, caller, connections, deliveries, github_apps, headers, idempotency, intake, jobs,
    openapi, ops, pages, pool_history, pools, projects, registries, secrets, tenants, tokens,
};

/// The routes, ready to be merged with those of other roles. Fails only when the OpenAPI document cannot be
/// written, which a test rules out.
pub fn router(state: ApiState) -> anyhow::Result<Router> {
    let (api, document) = api().split_for_parts();
    let (operations, operations_document) = ops::routes().split_for_parts();
    let mut whole = document;
    whole.merge(operations_document);
    let api = api
        .layer(from_fn_with_state(state.clone(), idempotency::once))
        .layer(from_fn_with_state(state.clone(), caller::identify))
        .layer(DefaultBodyLimit::max(idempotency::MAX_BODY));
    Ok(Router::new()
        .merge(api)
        .merge(operations)
        .merge(pages::routes(&state))
        .route("/assets/{hash}/{*path}", get(assets::get))
        .merge(openapi::routes(&whole)?)
        .with_state(state.clone())
        .merge(intake::router(state))
        .fallback(nowhere)
        .layer(from_fn(headers::secure)))
}

/// What answers when no route of any role in this process fits.
async fn nowhere() -> ApiError {
    ApiError::NotFound("There is nothing at this address; /api/docs/ lists what there is.".to_owned())
}

fn api() -> OpenApiRouter<ApiState> {
    OpenApiRouter::with_openapi(openapi::frame())
        .merge(tenants::routes())
        .merge(tokens::routes())
        .merge(connections::routes())
        .merge(github_apps::routes())
        .merge(registries::routes())
        .merge(secrets::routes())
        .merge(projects::routes())
        .merge(builds::routes())
        .merge(jobs::routes())
        .merge(deliveries::routes())
        .merge(builders::routes())
        .merge(pools::routes())
        .merge(pool_history::routes())
        .merge(badge::routes())
}
