//! Webhooks of a project on GitLab.

use std::borrow::Cow;

use gitlab::api::projects::hooks::{BranchFilterStrategy, CreateHook, DeleteHook, EditHook, Hooks};
use gitlab::api::{BodyError, Endpoint, Pagination, ignore, paged};
use http::Method;
use serde::Deserialize;

use super::client::{not_buildable, query};
use crate::transport::{ForgeError, Transport};
use crate::webhooks::{HOOK_NAME, HookSpec, MAX_PAGES, RemoteHook, missing};

const EVENTS: [&str; 4] = ["push_events", "tag_push_events", "merge_requests_events", "releases_events"];
/// Beginning of a secret that GitLab can sign with.
const SIGNING: &str = "whsec_";

#[derive(Deserialize)]
struct Hook {
    id: u64,
    url: String,
    #[serde(default)]
    push_events: bool,
    #[serde(default)]
    tag_push_events: bool,
    #[serde(default)]
    merge_requests_events: bool,
    #[serde(default)]
    releases_events: bool,
    /// `executable`, `temporarily_disabled` or `disabled`; since GitLab 15.
    alert_status: Option<String>,
    disabled_until: Option<String>,
}

/// A hook with the signing token of GitLab 19.0, which the crate does not know and older servers ignore.
struct Signed<E> {
    hook: E,
    signing_token: Option<String>,
}

impl<E: Endpoint> Endpoint for Signed<E> {
    fn method(&self) -> Method {
        self.hook.method()
    }

    fn endpoint(&self) -> Cow<'static, str> {
        self.hook.endpoint()
    }

    fn body(&self) -> Result<Option<(&'static str, Vec<u8>)>, BodyError> {
        let Some((mime, body)) = self.hook.body()? else { return Ok(None) };
        let mut form: url::form_urlencoded::Serializer<'_, String> =
            url::form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(url::form_urlencoded::parse(&body));
        if let Some(token) = &self.signing_token {
            form.append_pair("signing_token", token);
        }
        Ok(Some((mime, form.finish().into_bytes())))
    }
}

/// `GET /projects/:id/hooks`.
pub(crate) async fn list(transport: &Transport, repo: &str) -> Result<Vec<RemoteHook>, ForgeError> {
    let request = Hooks::builder().project(repo).build().map_err(not_buildable)?;
    let found: Vec<Hook> = query(transport, paged(request, Pagination::Limit(MAX_PAGES * 100))).await?;
    Ok(found.into_iter().map(Hook::ours).collect())
}

/// `POST /projects/:id/hooks`.
pub(crate) async fn make(transport: &Transport, repo: &str, spec: &HookSpec) -> Result<(), ForgeError> {
    let hook = CreateHook::builder()
        .project(repo)
        .url(&*spec.url)
        .name(HOOK_NAME)
        .push_events(true)
        .branch_filter_strategy(BranchFilterStrategy::AllBranches)
        .tag_push_events(true)
        .merge_requests_events(true)
        .releases_events(true)
        .enable_ssl_verification(true)
        .token(&*spec.secret)
        .build()
        .map_err(not_buildable)?;
    query(transport, ignore(Signed { hook, signing_token: signing_token(spec) })).await
}

/// `PUT /projects/:id/hooks/:hook_id`.
pub(crate) async fn set(transport: &Transport, repo: &str, id: &str, spec: &HookSpec) -> Result<(), ForgeError> {
    let hook = EditHook::builder()
        .project(repo)
        .hook_id(number(id)?)
        .url(&*spec.url)
        .push_events(true)
        .branch_filter_strategy(BranchFilterStrategy::AllBranches)
        .tag_push_events(true)
        .merge_requests_events(true)
        .releases_events(true)
        .enable_ssl_verification(true)
        .token(&*spec.secret)
        .build()
        .map_err(not_buildable)?;
    query(transport, ignore(Signed { hook, signing_token: signing_token(spec) })).await
}

/// `DELETE /projects/:id/hooks/:hook_id`.
pub(crate) async fn remove(transport: &Transport, repo: &str, id: &str) -> Result<(), ForgeError> {
    let request = DeleteHook::builder().project(repo).hook_id(number(id)?).build().map_err(not_buildable)?;
    query(transport, ignore(request)).await
}

fn signing_token(spec: &HookSpec) -> Option<String> {
    Some(spec.secret.clone()).filter(|secret| secret.starts_with(SIGNING))
}

fn number(id: &str) -> Result<u64, ForgeError> {
    id.parse().map_err(|_| ForgeError::Invalid("the webhook's id is not a number".to_owned()))
}

impl Hook {
    fn ours(self) -> RemoteHook {
        let has = |event: &str| match event {
            "push_events" => self.push_events,
            "tag_push_events" => self.tag_push_events,
            "merge_requests_events" => self.merge_requests_events,
            _ => self.releases_events,
        };
        let missing_events = missing(&EVENTS, has);
        let stopped = self.alert_status.filter(|status| status != "executable");
        let last_error = stopped.as_ref().map(|status| match self.disabled_until {
            Some(until) => format!("{status} until {until}, after failed deliveries"),
            None => format!("{status} after failed deliveries"),
        });
        RemoteHook { id: self.id.to_string(), url: self.url, active: stopped.is_none(), missing_events, last_error }
    }
}
