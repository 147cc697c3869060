//! What a builder says about an attempt it holds: reports, leave, the last word.

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use slipway_domain::agent::{Finish, Leave, LeaveRequest, LeaveReturn, Report, ReportAck};
use slipway_domain::attempt::AttemptOutcome;
use slipway_live::{Topic, WakeKind};
use slipway_runtime::problem::{ApiError, JsonBody};
use slipway_store::attempts::Ended;
use tracing::info;

use crate::Dispatcher;
use crate::auth::{Caller, store_error};
use crate::tally;

/// `POST …/report`
pub async fn report(
    State(dispatcher): State<Dispatcher>,
    caller: Caller,
    JsonBody(report): JsonBody<Report>,
) -> Result<Json<ReportAck>, ApiError> {
    let ack = dispatcher.deps.db.report(caller.attempt, &report).await.map_err(store_error)?;
    tell_pages(&dispatcher, caller).await;
    Ok(Json(ack))
}

/// `POST …/leave`
pub async fn leave(
    State(dispatcher): State<Dispatcher>,
    caller: Caller,
    JsonBody(request): JsonBody<LeaveRequest>,
) -> Result<Json<Leave>, ApiError> {
    let deps = &dispatcher.deps;
    let now = deps.db.now(&deps.clock).await.map_err(store_error)?;
    let leave = deps.db.request_leave(caller.attempt, &request, now).await.map_err(store_error)?;
    info!(job.id = %caller.attempt.job, epoch = caller.attempt.epoch, tag = request.tag, ?leave, "leave asked");
    Ok(Json(leave))
}

/// `POST …/leave/return`
pub async fn leave_return(
    State(dispatcher): State<Dispatcher>,
    caller: Caller,
    JsonBody(back): JsonBody<LeaveReturn>,
) -> Result<StatusCode, ApiError> {
    dispatcher.deps.db.return_leave(caller.attempt, &back).await.map_err(store_error)?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST …/finish`
pub async fn finish(
    State(dispatcher): State<Dispatcher>,
    caller: Caller,
    JsonBody(finish): JsonBody<Finish>,
) -> Result<StatusCode, ApiError> {
    if finish.outcome == AttemptOutcome::Lost {
        return Err(ApiError::Invalid("outcome: only the dispatcher finds an attempt lost".to_owned()));
    }
    let deps = &dispatcher.deps;
    let now = deps.db.now(&deps.clock).await.map_err(store_error)?;
    match deps.db.finish_attempt(caller.attempt, &finish, now).await.map_err(store_error)? {
        Ended::Now(state) => {
            tally::attempts_ended(finish.outcome, 1);
            info!(job.id = %caller.attempt.job, epoch = caller.attempt.epoch, outcome = %finish.outcome,
                state = %state, "attempt finished");
            dispatcher.jobs_changed();
            deps.live.publish(Topic::Wake(WakeKind::Statuses), Default::default());
            tell_pages(&dispatcher, caller).await;
            Ok(StatusCode::NO_CONTENT)
        }
        Ended::Before => Ok(StatusCode::NO_CONTENT),
        Ended::Stale => Err(ApiError::Conflict("This attempt ended in another way before.".to_owned())),
    }
}

/// Pages are only hinted at; what they show they read again.
async fn tell_pages(dispatcher: &Dispatcher, caller: Caller) {
    if let Ok(job) = dispatcher.deps.db.job(caller.attempt.job).await {
        dispatcher.deps.live.publish(Topic::Build(job.build_id), Default::default());
    }
}
