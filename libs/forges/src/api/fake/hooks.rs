//! Webhooks, which are much the same everywhere: a list, `POST`, an update and `DELETE`, each forge with words of its
//! own. What is not given as the forge wants it, is refused.

use serde_json::{Value, json};
use slipway_domain::event::ForgeKind;

use super::{Hook, Reply, Request, State, bitbucket, bitbucket_dc, coding, gitea, gitee, github, gitlab, page_of};

const GITLAB: [&str; 4] = ["merge_requests_events", "push_events", "releases_events", "tag_push_events"];
const GITEE: [&str; 3] = ["merge_requests_events", "push_events", "tag_push_events"];

pub(super) fn reply(kind: ForgeKind, state: &mut State, request: &Request, rest: &[&str]) -> Option<Reply> {
    let update = match kind {
        ForgeKind::Github | ForgeKind::Gitea | ForgeKind::Gitee => "PATCH",
        _ => "PUT",
    };
    match (request.method.as_str(), rest) {
        ("GET", []) => Some(list(kind, state, request)),
        ("POST", []) => {
            let made = given(kind, request, true)?;
            let hook = add(state, made);
            Some(Reply::Json(201, entry(kind, hook)))
        }
        (method, [id]) if method == update => {
            let given = given(kind, request, false)?;
            let Some(hook) = state.hooks.iter_mut().find(|hook| id_of(kind, hook) == *id) else {
                return Some(missing(kind));
            };
            // GitLab's pause is not ended by an edit.
            let active = if kind == ForgeKind::Gitlab { hook.active } else { given.active };
            *hook = Hook { id: hook.id, failed: hook.failed, active, ..given };
            Some(Reply::Json(200, entry(kind, hook)))
        }
        ("DELETE", [id]) => {
            let before = state.hooks.len();
            state.hooks.retain(|hook| id_of(kind, hook) != *id);
            Some(if state.hooks.len() < before { Reply::Nothing } else { missing(kind) })
        }
        ("GET", [id, "latest"]) if kind == ForgeKind::BitbucketDc => {
            let hook = state.hooks.iter().find(|hook| id_of(kind, hook) == *id)?;
            let Some(code) = hook.failed else { return Some(Reply::Nothing) };
            let (outcome, words) =
                if code == 0 { ("ERROR", "connect  timed out".to_owned()) } else { ("FAILURE", code.to_string()) };
            Some(Reply::Json(
                200,
                json!({"id": 3, "event": "repo:refs_changed", "result": {"outcome": outcome, "description": words}}),
            ))
        }
        _ => None,
    }
}

/// CODING's, by actions.
pub(super) fn service_hook(state: &mut State, request: &Request, action: &str) -> Option<Reply> {
    let kind = ForgeKind::Coding;
    if request.body["ProjectId"] != 77 || request.body["TargetType"] != "PROJECT" {
        return None;
    }
    match action {
        "DescribeServiceHooks" => {
            let number = |name: &str| request.body[name].as_u64().map(|number| number.to_string());
            let (found, _) = page_of(&state.hooks, &number("PageNumber")?, &number("PageSize")?);
            let found: Vec<Value> = found.iter().map(|hook| entry(kind, hook)).collect();
            Some(coding::success(json!({"Data": {"ServiceHook": found, "TotalCount": state.hooks.len()}})))
        }
        "CreateServiceHook" => {
            let made = given(kind, request, true)?;
            let hook = add(state, made);
            Some(coding::success(json!({"ServiceHook": entry(kind, hook)})))
        }
        "ModifyServiceHook" => {
            let (id, given) = (request.text("/Id")?, given(kind, request, false)?);
            let hook = state.hooks.iter_mut().find(|hook| id_of(kind, hook) == id)?;
            *hook = Hook { id: hook.id, ..given };
            Some(coding::success(json!({"ServiceHook": entry(kind, hook)})))
        }
        "DeleteServiceHook" => {
            let ids = request.body["Id"].as_array()?.clone();
            state.hooks.retain(|hook| !ids.contains(&json!(id_of(kind, hook))));
            Some(coding::success(json!({"Succeed": true})))
        }
        _ => None,
    }
}

fn add(state: &mut State, hook: Hook) -> &Hook {
    let id = state.hooks.iter().map(|hook| hook.id).max().unwrap_or(40) + 1;
    state.hooks.push(Hook { id, ..hook });
    state.hooks.last().expect("pushed")
}

fn id_of(kind: ForgeKind, hook: &Hook) -> String {
    match kind {
        ForgeKind::Bitbucket => format!("{{00000000-{:04}}}", hook.id),
        ForgeKind::Coding => format!("hook-{}", hook.id),
        _ => hook.id.to_string(),
    }
}

/// What the request asks for, if it is said as the forge wants it.
fn given(kind: ForgeKind, request: &Request, new: bool) -> Option<Hook> {
    let is = |pointer: &str, wanted: Value| request.body.pointer(pointer) == Some(&wanted);
    let flags = |names: &[&str], yes: &Value| -> Vec<String> {
        names.iter().filter(|name| request.body[**name] == *yes).map(|name| (*name).to_owned()).collect()
    };
    let listed = |pointer: &str| -> Option<Vec<String>> {
        let mut events: Vec<String> = serde_json::from_value(request.body.pointer(pointer)?.clone()).ok()?;
        events.sort_unstable();
        Some(events)
    };
    let (right, url, secret, events) = match kind {
        ForgeKind::Github => (
            is("/config/content_type", json!("json"))
                && is("/config/insecure_ssl", json!("0"))
                && new == is("/name", json!("web")),
            request.text("/config/url")?,
            request.text("/config/secret")?,
            listed("/events")?,
        ),
        ForgeKind::Gitlab => {
            let (token, signing) = (request.text("/token")?, request.text("/signing_token"));
            let signs = token.starts_with("whsec_");
            let right =
                is("/enable_ssl_verification", json!("true")) && is("/branch_filter_strategy", json!("all_branches"));
            (
                right && signing == signs.then(|| token.clone()),
                request.text("/url")?,
                token,
                flags(&GITLAB, &json!("true")),
            )
        }
        ForgeKind::Bitbucket => {
            (is("/description", json!("Slipway")), request.text("/url")?, request.text("/secret")?, listed("/events")?)
        }
        ForgeKind::BitbucketDc => (
            is("/name", json!("Slipway")) && is("/sslVerificationRequired", json!(true)),
            request.text("/url")?,
            request.text("/configuration/secret")?,
            listed("/events")?,
        ),
        ForgeKind::Gitea => (
            is("/config/content_type", json!("json")) && new == is("/type", json!("gitea")),
            request.text("/config/url")?,
            request.text("/config/secret")?,
            listed("/events")?,
        ),
        ForgeKind::Gitee => (
            is("/encryption_type", json!(1)),
            request.text("/url")?,
            request.text("/password")?,
            flags(&GITEE, &json!(true)),
        ),
        ForgeKind::Coding => {
            let properties: Value = serde_json::from_str(&request.text("/ActionProperty")?).ok()?;
            let right = is("/Service", json!("WebHook")) && is("/ServiceAction", json!("webhook_http_post"));
            let text = |name: &str| properties[name].as_str().map(str::to_owned);
            (right && is("/FilterProperty", json!("{}")), text("service_url")?, text("token")?, listed("/Event")?)
        }
    };
    let active = match kind {
        ForgeKind::Gitlab | ForgeKind::Gitee => true,
        ForgeKind::Coding => is("/Enabled", json!(true)),
        _ => is("/active", json!(true)),
    };
    right.then_some(Hook { id: 0, url, secret, events, active, failed: None })
}

/// The hook as the forge shows it: never with its secret, but on Gitee and CODING.
fn entry(kind: ForgeKind, hook: &Hook) -> Value {
    let id = id_of(kind, hook);
    let (events, active, url) = (&hook.events, hook.active, hook.url.as_str());
    let mut shown = match kind {
        ForgeKind::Github => json!({
            "id": hook.id, "name": "web", "active": active, "events": events,
            "config": {"url": url, "secret": "********", "content_type": "json", "insecure_ssl": "0"},
            "last_response": {"code": hook.failed, "status": "…", "message": hook.failed.map(|_| "Service\n Timeout")}
        }),
        ForgeKind::Gitlab => json!({
            "id": hook.id, "url": url, "alert_status": if active { "executable" } else { "temporarily_disabled" },
            "disabled_until": if active { Value::Null } else { json!("2026-11-22T00:00:00Z") }
        }),
        ForgeKind::Bitbucket => json!({"uuid": id, "url": url, "active": active, "events": events, "secret_set": true}),
        ForgeKind::BitbucketDc => {
            json!({"id": hook.id, "url": url, "active": active, "events": events, "configuration": {}})
        }
        ForgeKind::Gitea => {
            let config = json!({"url": url, "content_type": "json"});
            json!({"id": hook.id, "type": "gitea", "active": active, "events": events, "config": config})
        }
        ForgeKind::Gitee => json!({
            "id": hook.id, "url": url, "password": hook.secret, "result_code": hook.failed.unwrap_or(0),
            "result": hook.failed.map_or("", |_| "Service\n Timeout")
        }),
        ForgeKind::Coding => json!({
            "Id": id, "Enabled": active, "Event": events, "Service": "WebHook", "Status": 1,
            "ActionProperties": json!({"service_url": url, "token": hook.secret}).to_string()
        }),
    };
    let flags: &[&str] = match kind {
        ForgeKind::Gitlab => &GITLAB,
        ForgeKind::Gitee => &GITEE,
        _ => &[],
    };
    for flag in flags {
        shown[*flag] = json!(events.iter().any(|event| event == flag));
    }
    shown
}

fn list(kind: ForgeKind, state: &State, request: &Request) -> Reply {
    let entry = |hook: &Hook| entry(kind, hook);
    match kind {
        ForgeKind::Github => github::listed(&state.hooks, request, entry),
        ForgeKind::Gitlab => gitlab::listed(&state.hooks, request, entry),
        ForgeKind::Bitbucket => bitbucket::listed(&state.hooks, request, entry),
        ForgeKind::BitbucketDc => bitbucket_dc::listed(&state.hooks, request, entry),
        ForgeKind::Gitea => gitea::listed(&state.hooks, request, entry),
        ForgeKind::Gitee | ForgeKind::Coding => gitee::listed(&state.hooks, request, entry),
    }
}

fn missing(kind: ForgeKind) -> Reply {
    match kind {
        ForgeKind::Github => github::missing(),
        ForgeKind::Gitlab => gitlab::missing("404 Not found"),
        ForgeKind::Bitbucket => bitbucket::missing("Hook not found"),
        ForgeKind::BitbucketDc => bitbucket_dc::missing("No such webhook."),
        ForgeKind::Gitea => gitea::missing(),
        ForgeKind::Gitee | ForgeKind::Coding => gitee::missing(),
    }
}
