//! `POST /hooks/{hook}`: verified over the raw bytes, stored with its verdict, then answered. What does not
//! verify leaves a counted reason and nothing else.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Json, Router};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::{HeaderMap, StatusCode};
use metrics::counter;
use serde::Serialize;
use slipway_domain::event::{ForgeKind, HookAuth};
use slipway_domain::ids::{DeliveryId, GithubAppId, HookId, Id as _};
use slipway_forges::hook::{ParseError, Parsed, Received, delivery_id, parse, verify};
use slipway_forges::redact::{redact_body, redact_headers};
use slipway_live::{Topic, WakeKind};
use slipway_runtime::ids::new_id;
use slipway_runtime::problem::{ApiError, PathOf};
use slipway_store::StoreError;
use slipway_store::deliveries::{Accepted, NewDelivery, Verdict};
use slipway_store::delivery_moves::Move;
use slipway_store::hooks::Hook;
use tracing::{info, warn};

use crate::intake::app_hook;
use crate::intake::body::{self, Memory};
use crate::intake::handover::Place;
use crate::intake::hook_rows::{HookRows, Read};
use crate::intake::inbox::{Arrived, Inbox};
use crate::intake::rules::{moves, verdict};
use crate::state::ApiState;
use crate::store_problem::OrProblem as _;
use slipway_runtime::batch::Batcher;

/// Where a forge gives no delivery id, equal bodies within this many seconds are one delivery.
const WINDOW_SECS: i64 = 300;
/// Larger bodies lie in object storage.
const ROW_BYTES: usize = 256 * 1024;
/// The forge waits for its answer, ten seconds at most.
const SPOOL_TIMEOUT: Duration = Duration::from_secs(3);

#[derive(Clone)]
pub(super) struct Intake {
    pub(super) api: ApiState,
    pub(super) hooks: Batcher<HookRows>,
    inbox: Batcher<Inbox>,
    pub(super) memory: Memory,
}

/// What a forge gets as an answer.
#[derive(Debug, Serialize)]
struct Answer {
    delivery: DeliveryId,
    /// Why nothing will be built, if that is so already.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// The route that forges post to. It has no body limit of axum's: it reads by its own rules.
pub fn router(state: ApiState) -> Router {
    let hooks = HookRows { db: state.db.clone(), key: state.secret_key.clone(), clock: state.clock.clone() };
    let hooks = Batcher::new(hooks, state.life.clone());
    let inbox = Batcher::new(Inbox(state.db.clone()), state.life.clone());
    let intake = Intake { api: state, hooks, inbox, memory: Memory::default() };
    Router::new().route("/hooks/{hook}", post(receive)).with_state(intake)
}

async fn receive(
    State(intake): State<Intake>,
    PathOf(hook): PathOf<HookId>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let headers = parts.headers;
    body::check_declared(&headers)?;
    let Some(read) = find_hook(&intake.hooks, hook).await? else {
        return app_hook::receive(&intake, GithubAppId::from(hook.uuid()), &headers, body).await;
    };
    let hook = &read.hook;
    let mut room = intake.memory.room(hook.tenant_id);
    let body = body::read(body, &mut room).await?;
    let now = read.now(&intake.api.clock);
    let received = Received { kind: hook.forge, headers: &headers, body: &body };
    let auth = authenticate(&received, &hook.secrets, now)?;
    let parsed = parse(&received);
    let (verdict, accepted) = take_in(&intake, hook, (&received, auth, now), &parsed).await?;
    answer(verdict, accepted)
}

/// Stores a delivery on a hook, with its verdict.
pub(super) async fn take_in(
    intake: &Intake,
    hook: &Hook,
    (received, auth, now): (&Received<'_>, HookAuth, DateTime<Utc>),
    parsed: &Result<Parsed, ParseError>,
) -> Result<(Verdict, Accepted), ApiError> {
    let mut new = spool(&intake.api, new_delivery(hook, received, auth, parsed, now)).await;
    let verdict = new.verdict.clone();
    let place = place(&intake.api, &new, parsed);
    new.held_by = place.as_ref().map(|place| place.owner);
    let is_held = place.is_some();
    let accepted = intake.inbox.ask(Arrived { new, place }).await?.or_problem()?;
    count(hook, &verdict, &accepted);
    let is_left_to_anybody = match &accepted {
        Accepted::New(_) => !is_held,
        Accepted::Reopened(_) => true,
        Accepted::Duplicate { .. } => false,
    };
    if verdict == Verdict::Work && is_left_to_anybody {
        intake.api.live.publish(Topic::Wake(WakeKind::Deliveries), Bytes::new());
    }
    Ok((verdict, accepted))
}

/// Where this process will work a delivery itself. A large one is worked from its row, one at a time.
fn place(state: &ApiState, new: &NewDelivery, parsed: &Result<Parsed, ParseError>) -> Option<Place> {
    let is_small = new.body_blob.is_none() && new.body.len() <= ROW_BYTES;
    let parsed = parsed.as_ref().ok().filter(|_| is_small && new.verdict == Verdict::Work)?;
    state.handover.place(parsed, &state.clock)
}

async fn find_hook(hooks: &Batcher<HookRows>, hook: HookId) -> Result<Option<Read>, ApiError> {
    match hooks.ask(hook).await? {
        Err(StoreError::NotFound(_)) => Ok(None),
        other => other.or_problem().map(Some),
    }
}

/// Nobody has a hook of this name.
pub(super) fn unknown_hook() -> ApiError {
    counter!("slipway_hook_refused_total", "forge" => "unknown", "reason" => "unknown_hook").increment(1);
    ApiError::NotFound("There is no such hook; copy its URL from the project's page.".to_owned())
}

pub(super) fn authenticate(
    received: &Received<'_>,
    secrets: &[String],
    now: DateTime<Utc>,
) -> Result<HookAuth, ApiError> {
    verify(received, secrets, now).map_err(|error| {
        let forge = received.kind.as_str();
        counter!("slipway_hook_refused_total", "forge" => forge, "reason" => error.reason()).increment(1);
        ApiError::Unauthorized(format!("The delivery is not verified: {error}."))
    })
}

fn new_delivery(
    hook: &Hook,
    received: &Received<'_>,
    auth: HookAuth,
    parsed: &Result<Parsed, ParseError>,
    now: DateTime<Utc>,
) -> NewDelivery {
    let event = match parsed {
        Ok(parsed) => parsed.event_name.clone(),
        Err(_) => event_header(received.kind, received.headers),
    };
    NewDelivery {
        id: new_id(),
        hook: hook.id,
        project: hook.project_id,
        tenant: hook.tenant_id,
        delivery_key: windowed(delivery_id(received), now),
        event,
        auth,
        verdict: verdict(parsed),
        headers: redact_headers(received.headers),
        body: redact_body(received.headers, received.body).into_owned(),
        body_blob: None,
        moves: parsed.as_ref().map(|parsed| own_moves(parsed, hook)).unwrap_or_default(),
        held_by: None,
        now,
    }
}

/// Puts a large body into object storage, which is made for it. While that is out the row takes it: no delivery is lost.
async fn spool(state: &ApiState, mut new: NewDelivery) -> NewDelivery {
    let Some(blobs) = state.blobs.as_ref().filter(|_| new.body.len() > ROW_BYTES) else { return new };
    let body = Bytes::from(std::mem::take(&mut new.body));
    let put = tokio::time::timeout(SPOOL_TIMEOUT, blobs.put_body(new.id, body.clone())).await;
    match put.map_err(anyhow::Error::from).and_then(|put| put.map_err(anyhow::Error::from)) {
        Ok(()) => new.body_blob = Some(new.id),
        // Should it have been stored all the same, nobody refers to it, and it is swept.
        Err(error) => {
            warn!(error = format!("{error:#}"), "a large delivery is kept in the database");
            new.body = body.into();
        }
    }
    new
}

fn own_moves(parsed: &Parsed, hook: &Hook) -> Vec<Move> {
    let is_own = hook.repo_id.is_some() && hook.repo_id == parsed.repo_id;
    moves(&parsed.outcome, &hook.repo_path, is_own)
}

/// Two equal events have equal bodies, so a body's hash names a delivery only for a while.
fn windowed(delivery_id: String, now: DateTime<Utc>) -> String {
    if delivery_id.starts_with("sha256:") {
        format!("{delivery_id}:{}", now.timestamp().div_euclid(WINDOW_SECS))
    } else {
        delivery_id
    }
}

/// The event's name where the delivery could not be read.
fn event_header(kind: ForgeKind, headers: &HeaderMap) -> String {
    let names: &[&str] = match kind {
        ForgeKind::Github => &["x-github-event"],
        ForgeKind::Gitlab => &["x-gitlab-event"],
        ForgeKind::Gitea => &["x-gitea-event"],
        ForgeKind::Gitee => &["x-gitee-event"],
        ForgeKind::Coding => &["x-coding-service-hook-event", "x-coding-event"],
        ForgeKind::Bitbucket | ForgeKind::BitbucketDc => &["x-event-key"],
    };
    let value = names.iter().find_map(|name| headers.get(*name)?.to_str().ok()).unwrap_or("unknown");
    value.chars().take(100).collect()
}

fn count(hook: &Hook, verdict: &Verdict, accepted: &Accepted) {
    let (id, outcome) = match accepted {
        Accepted::New(id) => (id, "new"),
        Accepted::Reopened(id) => (id, "reopened"),
        Accepted::Duplicate { id, .. } => (id, "duplicate"),
    };
    counter!("slipway_deliveries_total", "forge" => hook.forge.as_str(), "outcome" => outcome, "verdict" => verdict.as_str())
        .increment(1);
    info!(delivery.id = %id, hook.id = %hook.id, outcome, "delivery stored");
}

pub(super) fn answer(verdict: Verdict, accepted: Accepted) -> Result<Response, ApiError> {
    let (delivery, duplicate) = match accepted {
        Accepted::New(id) | Accepted::Reopened(id) => (id, None),
        Accepted::Duplicate { id, state, .. } => {
            (id, Some(format!("This delivery came in before and is {state}; nothing is done twice.")))
        }
    };
    let (status, reason) = match (verdict, duplicate) {
        (Verdict::Failed(reason), _) => {
            return Err(ApiError::BadRequest(format!(
                "The delivery is authentic but cannot be read: {reason}. It is kept as {delivery}."
            )));
        }
        (Verdict::Work, None) => (StatusCode::ACCEPTED, None),
        (Verdict::Work | Verdict::Ignored(_), Some(duplicate)) => (StatusCode::OK, Some(duplicate)),
        (Verdict::Ignored(reason), None) => (StatusCode::OK, Some(reason)),
    };
    Ok((status, Json(Answer { delivery, reason })).into_response())
}
