//! A GitHub App's one hook, which tells of every repository that it is installed on. A delivery is verified with the App's
//! secret, routed by installation and repository, and stored on the own hook of each project that builds the repository:
//! from there on it is like any other.

use axum::Json;
use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::HeaderMap;
use serde_json::json;
use slipway_domain::event::{Event, ForgeKind, Outcome};
use slipway_domain::ids::{GithubAppId, HookId};
use slipway_forges::github::parse::installation_of;
use slipway_forges::hook::{Parsed, Received, parse};
use slipway_runtime::problem::ApiError;
use slipway_store::StoreError;
use slipway_store::connections::AppInstallation;

use crate::intake::body;
use crate::intake::receive::{Intake, answer, authenticate, take_in, unknown_hook};
use crate::intake::rules::events;
use crate::store_problem::OrProblem as _;

/// Takes in what came on the hook of an App; 404 where there is no such App either.
pub(super) async fn receive(
    intake: &Intake,
    id: GithubAppId,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let state = &intake.api;
    let app = match state.db.github_app_access(&state.secret_key, id).await {
        Err(StoreError::NotFound(_)) => return Err(unknown_hook()),
        other => other.or_problem()?,
    };
    let mut room = intake.memory.room(app.tenant);
    let body = body::read(body, &mut room).await?;
    let now = state.db.now(&state.clock).await.or_problem()?;
    let received = Received { kind: ForgeKind::Github, headers, body: &body };
    let auth = authenticate(&received, &[app.webhook_secret], now)?;
    let parsed = parse(&received);
    let known = match &parsed {
        Ok(known) => known,
        Err(error) => {
            return Err(ApiError::BadRequest(format!("The delivery is authentic but cannot be read: {error}.")));
        }
    };
    let Some(wanted) = Wanted::of(id, headers, &body, known) else { return Ok(ignored(&reason(known))) };
    let mut first = None;
    for hook in wanted.hooks(intake).await? {
        let hook = match intake.hooks.ask(hook).await? {
            Ok(read) => read.hook,
            // It was taken away meanwhile.
            Err(StoreError::NotFound(_)) => continue,
            Err(error) => return Err(error.into()),
        };
        // Of several projects each has a row of its own; a repetition finds all of them.
        let taken = take_in(intake, &hook, (&received, auth, now), &parsed).await?;
        first.get_or_insert(taken);
    }
    match first {
        Some((verdict, accepted)) => answer(verdict, accepted),
        None => Ok(ignored(&format!("no project of this App builds {}", wanted.path))),
    }
}

/// What a delivery is about.
struct Wanted<'a> {
    installation: AppInstallation,
    repo_id: &'a str,
    path: &'a str,
}

impl<'a> Wanted<'a> {
    fn of(app: GithubAppId, headers: &HeaderMap, body: &[u8], parsed: &'a Parsed) -> Option<Self> {
        let path = events(&parsed.outcome).first().map(Event::repo)?;
        let id = i64::try_from(installation_of(headers, body)?).ok()?;
        let repo_id = parsed.repo_id.as_deref().unwrap_or_default();
        Some(Self { installation: AppInstallation { app, id }, repo_id, path })
    }

    async fn hooks(&self, intake: &Intake) -> Result<Vec<HookId>, ApiError> {
        let hooks = intake.api.db.hooks_of_installation(self.installation, (self.repo_id, self.path)).await;
        hooks.or_problem()
    }
}

/// Why a delivery that is about no repository of ours leads to nothing.
fn reason(parsed: &Parsed) -> String {
    match &parsed.outcome {
        Outcome::Ping => "ping".to_owned(),
        Outcome::Lifecycle(reason) | Outcome::Ignored(reason) => reason.clone(),
        Outcome::Events(_) => "the delivery names no installation of this App".to_owned(),
    }
}

/// Nothing is stored for it: there is no project that it could be shown on.
fn ignored(reason: &str) -> Response {
    Json(json!({ "delivery": null, "reason": reason })).into_response()
}
