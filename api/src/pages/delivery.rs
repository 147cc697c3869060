//! `/deliveries/{id}`: what came in, what it means, and what became of it.

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use http::HeaderMap;
use slipway_domain::delivery::DeliveryState;
use slipway_domain::event::HookAuth;
use slipway_domain::ids::{BuildId, DeliveryId, ProjectId};
use slipway_domain::size::bytes;
use slipway_forges::inspect::Inspection;
use slipway_runtime::problem::{ApiError, PathOf};
use slipway_store::deliveries::DeliveryView;
use slipway_store::projects::Project;

use crate::caller::Caller;
use crate::deliveries::payload::{self, Payload};
use crate::deliveries::replay_delivery;
use crate::pages::event_words::Telling;
use crate::pages::view::{Badge, Moment, delivery_badge, forge_word, moment};
use crate::pages::{Chrome, LIST_MS, render};
use crate::state::ApiState;
use crate::store_problem::OrProblem;
use crate::texts::Texts;

/// Of a longer text the page shows the beginning, in bytes; the API gives all of it.
const MAX_SHOWN: usize = 64 * 1024;
/// So many events are told in words; the JSON has the others.
const MAX_EVENTS: usize = 50;

#[derive(Template)]
#[template(path = "delivery.html")]
struct DeliveryPage {
    chrome: Chrome,
    delivery: Facts,
    /// What came in, or why it cannot be shown.
    payload: Result<Shown, String>,
    may_replay: bool,
}

struct Facts {
    id: DeliveryId,
    badge: Badge,
    live: bool,
    project: ProjectId,
    project_name: String,
    forge: &'static str,
    event: String,
    /// The forge's id of it.
    key: String,
    /// The key of its text.
    auth: &'static str,
    received: Option<Moment>,
    finished: Option<Moment>,
    reason: String,
    attempts: i64,
    builds: Vec<BuildId>,
}

struct Shown {
    headers: Vec<(String, String)>,
    /// `None` once it is not kept any more.
    body: Option<Excerpt>,
    meaning: Option<Meaning>,
}

/// The verdict in words and as JSON.
struct Meaning {
    sentence: Sentence,
    events: Vec<String>,
    more_events: usize,
    json: Excerpt,
}

/// Words with an English reason among them.
#[derive(Default)]
struct Sentence {
    before: String,
    reason: String,
    after: String,
}

/// The beginning of a text.
struct Excerpt {
    text: String,
    /// Size of the whole text, if that is longer.
    of: Option<String>,
}

/// `GET /deliveries/{id}`.
pub async fn page(
    State(state): State<ApiState>,
    caller: Caller,
    headers: HeaderMap,
    PathOf(id): PathOf<DeliveryId>,
) -> Result<Response, ApiError> {
    let view = state.db.delivery(&caller.scope, id).await.or_problem()?;
    let project = state.db.project(&caller.scope, view.delivery.project_id).await.or_problem()?;
    let chrome = Chrome::new(&state, caller, &headers, "");
    let payload = match payload::stored(&state, caller, &view.delivery, project.forge).await {
        Ok(payload) => Ok(Shown::new(payload, &project, chrome.texts)?),
        // What became of it is told although the body cannot be read.
        Err(ApiError::Busy(detail, _)) => Err(detail),
        Err(error) => return Err(error),
    };
    let is_live = view.delivery.state == DeliveryState::Received;
    render(&DeliveryPage {
        chrome: if is_live { chrome.refreshed(LIST_MS) } else { chrome },
        may_replay: caller.scope.may_write(view.delivery.tenant_id),
        delivery: Facts::new(view, project, state.clock.now()),
        payload,
    })
}

/// `POST /deliveries/{id}/replay`.
pub async fn replay(
    State(state): State<ApiState>,
    caller: Caller,
    PathOf(id): PathOf<DeliveryId>,
) -> Result<Response, ApiError> {
    replay_delivery(&state, caller, id).await?;
    Ok(Redirect::to(&format!("/deliveries/{id}")).into_response())
}

impl DeliveryPage {
    /// False once the body is known to be gone: replaying it would be refused.
    fn is_kept(&self) -> bool {
        self.payload.as_ref().map_or(true, |shown| shown.body.is_some())
    }
}

impl Facts {
    fn new(view: DeliveryView, project: Project, now: chrono::DateTime<chrono::Utc>) -> Self {
        let DeliveryView { delivery, builds } = view;
        Self {
            id: delivery.id,
            badge: delivery_badge(delivery.state),
            live: delivery.state == DeliveryState::Received,
            project: project.id,
            project_name: project.name,
            forge: forge_word(project.forge),
            event: delivery.event,
            key: delivery.delivery_key,
            auth: auth_key(delivery.auth),
            received: moment(Some(delivery.received_at), now),
            finished: moment(delivery.finished_at, now),
            reason: delivery.reason.unwrap_or_default(),
            attempts: delivery.attempts,
            builds,
        }
    }
}

impl Shown {
    fn new(payload: Payload, project: &Project, texts: Texts) -> Result<Self, ApiError> {
        let body = payload.body.map(|body| excerpt(&String::from_utf8_lossy(&body)));
        let meaning = payload.inspection.map(|inspection| Meaning::new(&inspection, project, texts)).transpose()?;
        Ok(Self { headers: payload.headers.into_iter().collect(), body, meaning })
    }
}

impl Meaning {
    fn new(inspection: &Inspection, project: &Project, texts: Texts) -> Result<Self, ApiError> {
        let events = inspection.events.iter().take(MAX_EVENTS);
        Ok(Self {
            sentence: Sentence::new(inspection, texts),
            events: events
                .map(|event| Telling { forge: project.forge, texts }.sentence(event, &project.repo_path))
                .collect(),
            more_events: inspection.events.len().saturating_sub(MAX_EVENTS),
            json: excerpt(&serde_json::to_string_pretty(inspection).map_err(ApiError::internal)?),
        })
    }
}

impl Sentence {
    fn new(inspection: &Inspection, texts: Texts) -> Self {
        let reason = inspection.reason.clone().unwrap_or_default();
        match inspection.outcome {
            Some("ping") => Self { before: texts.t("delivery-ping").to_string(), ..Self::default() },
            Some("events") => Self::default(),
            Some("lifecycle" | "ignored") => Self { reason, ..Self::default() },
            Some(other) => Self { reason: format!("{other} {reason}"), ..Self::default() },
            None => {
                let (before, after) = texts.t("delivery-unreadable").around("reason");
                Self { before, reason, after }
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.before.is_empty() && self.reason.is_empty()
    }
}

fn excerpt(text: &str) -> Excerpt {
    let shown = &text[..text.floor_char_boundary(MAX_SHOWN)];
    let whole = i64::try_from(text.len()).unwrap_or(i64::MAX);
    Excerpt { text: shown.to_owned(), of: (shown.len() < text.len()).then(|| bytes(whole)) }
}

fn auth_key(auth: HookAuth) -> &'static str {
    match auth {
        HookAuth::HmacSha256 => "delivery-by-hmac-sha256",
        HookAuth::HmacSha1 => "delivery-by-hmac-sha1",
        HookAuth::StandardWebhooksV1 => "delivery-by-standard-webhooks",
        HookAuth::SharedToken => "delivery-by-token",
        HookAuth::TimestampOnly => "delivery-by-timestamp",
        HookAuth::None => "delivery-by-nothing",
    }
}

#[cfg(test)]
mod tests {
    use slipway_forges::inspect::Exit;

    use super::*;
    use crate::texts::ENGLISH;

    #[test]
    fn what_a_forge_said_is_kept_apart_from_our_words() {
        let inspection = Inspection {
            verified: true,
            auth: HookAuth::SharedToken,
            outcome: None,
            reason: Some("no ref".to_owned()),
            events: Vec::new(),
            exit: Exit::Malformed,
        };
        for (outcome, before, reason) in [
            (Some("ping"), "The forge tries whether we listen.", ""),
            (Some("events"), "", ""),
            (Some("lifecycle"), "", "no ref"),
            (Some("ignored"), "", "no ref"),
            (None, "It cannot be read: ", "no ref"),
        ] {
            let told = Sentence::new(&Inspection { outcome, ..inspection.clone() }, ENGLISH);
            assert_eq!((told.before.as_str(), told.reason.as_str(), told.after.as_str()), (before, reason, ""));
            assert_eq!(told.is_empty(), outcome == Some("events"), "{outcome:?}");
        }
    }
}
