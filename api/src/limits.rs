//! How much a tenant's members may ask for in a minute. Operators are not counted, and neither are forges: a
//! delivery that is refused may be lost for good.

use std::time::Duration;

use slipway_live::limit::{Counted, Limit};
use slipway_runtime::problem::ApiError;
use slipway_store::scope::Scope;

use crate::state::ApiState;

const MINUTE: Duration = Duration::from_secs(60);

/// Counts a change; 429 where the tenant's members ask for too many.
pub async fn write(state: &ApiState, scope: &Scope) -> Result<(), ApiError> {
    let Scope::Member { tenant, .. } = scope else { return Ok(()) };
    let setting = Setting { name: "SLIPWAY_TENANT_WRITES_PER_MINUTE", of: "changes" };
    count(state, Counted::Write(*tenant), state.config.writes_per_minute, setting).await
}

/// Counts a build; 429 where the tenant's members ask for too many.
pub async fn build(state: &ApiState, scope: &Scope) -> Result<(), ApiError> {
    let Scope::Member { tenant, .. } = scope else { return Ok(()) };
    let setting = Setting { name: "SLIPWAY_TENANT_BUILDS_PER_MINUTE", of: "builds" };
    count(state, Counted::Build(*tenant), state.config.builds_per_minute, setting).await
}

struct Setting {
    name: &'static str,
    of: &'static str,
}

async fn count(state: &ApiState, counted: Counted, per_minute: u32, setting: Setting) -> Result<(), ApiError> {
    if per_minute == 0 {
        return Ok(());
    }
    state.live.allow(counted, Limit::new(per_minute, MINUTE)).await.map_err(|exceeded| {
        let Setting { name, of } = setting;
        let detail = format!(
            "Your tenant asks for more than {per_minute} {of} a minute. Try again later; an operator can raise {name}."
        );
        ApiError::TooMany(detail, exceeded.retry_after_secs())
    })
}
