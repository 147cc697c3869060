//! Who asks: the same tokens and browser sessions as everywhere else.

use http::{HeaderMap, header};
use slipway_runtime::ids::token_hash;
use slipway_runtime::problem::{ApiError, bearer};
use slipway_runtime::web_session::web_session;
use slipway_store::Scope;

use crate::logs::Logs;
use crate::problem::store_problem;

/// What the caller may see. Without a credential: what is public.
pub(crate) async fn scope(logs: &Logs, headers: &HeaderMap) -> Result<Scope, ApiError> {
    let now = logs.clock().now();
    if let Some(token) = bearer(headers) {
        let known = logs.db().scope_for_token(&token_hash(token)).await.map_err(store_problem)?;
        return known.map(|(_, scope)| scope).ok_or_else(|| {
            ApiError::Unauthorized("This token is unknown or revoked. Make a new one, or log in again.".to_owned())
        });
    }
    if headers.contains_key(header::AUTHORIZATION) {
        return Err(ApiError::Unauthorized("Write the header as \"Authorization: Bearer <token>\".".to_owned()));
    }
    if let Some(session) = web_session(headers)
        && let Some((_, scope)) =
            logs.db().scope_for_web_session(&token_hash(session), now).await.map_err(store_problem)?
    {
        return Ok(scope);
    }
    Ok(Scope::Public)
}
