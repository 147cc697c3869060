//! Service hooks on CODING, as public clients of its Open API tell. They belong to a project, and tell of all its
//! repositories; what is told of others is ignored when it comes.

use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{Done, ask};
use super::repos::project_of;
use crate::transport::{ForgeError, Transport};
use crate::webhooks::{HOOK_NAME, HookSpec, MAX_PAGES, RemoteHook, missing};

const EVENTS: [&str; 5] = ["GIT_PUSHED", "GIT_MR_CREATED", "GIT_MR_UPDATED", "GIT_MR_MERGED", "GIT_MR_CLOSED"];
const PER_PAGE: usize = 100;
/// The one kind of hook that has a body and signs it.
const ACTION: &str = "webhook_http_post";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    data: Page,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    #[serde(default)]
    service_hook: Vec<Hook>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Hook {
    id: String,
    enabled: bool,
    #[serde(default)]
    event: Vec<String>,
    /// JSON as text; the token in it is not read.
    #[serde(default)]
    action_properties: String,
}

#[derive(Deserialize)]
struct Properties {
    service_url: String,
}

/// `DescribeServiceHooks`. What its `Status` means is not known.
pub(crate) async fn list(transport: &Transport, repo: &str) -> Result<Vec<RemoteHook>, ForgeError> {
    let project = project_of(transport, repo).await?;
    let mut hooks = Vec::new();
    for page in 1..=MAX_PAGES {
        let fields = json!({
            "ProjectId": project, "TargetType": "PROJECT", "Service": "WebHook",
            "PageNumber": page, "PageSize": PER_PAGE
        });
        let found = ask::<Listed>(transport, "DescribeServiceHooks", fields).await?.data.service_hook;
        let more = found.len() >= PER_PAGE;
        hooks.extend(found.into_iter().map(Hook::ours));
        if !more {
            break;
        }
    }
    Ok(hooks)
}

/// `CreateServiceHook`.
pub(crate) async fn make(transport: &Transport, repo: &str, spec: &HookSpec) -> Result<(), ForgeError> {
    let fields = wanted(transport, repo, spec).await?;
    ask::<Done>(transport, "CreateServiceHook", fields).await.map(|_| ())
}

/// `ModifyServiceHook`.
pub(crate) async fn set(transport: &Transport, repo: &str, id: &str, spec: &HookSpec) -> Result<(), ForgeError> {
    let mut fields = wanted(transport, repo, spec).await?;
    fields["Id"] = id.into();
    ask::<Done>(transport, "ModifyServiceHook", fields).await.map(|_| ())
}

/// `DeleteServiceHook`.
pub(crate) async fn remove(transport: &Transport, repo: &str, id: &str) -> Result<(), ForgeError> {
    let fields = json!({"ProjectId": project_of(transport, repo).await?, "TargetType": "PROJECT", "Id": [id]});
    ask::<Done>(transport, "DeleteServiceHook", fields).await.map(|_| ())
}

async fn wanted(transport: &Transport, repo: &str, spec: &HookSpec) -> Result<Value, ForgeError> {
    let properties = json!({"service_url": spec.url, "token": spec.secret});
    Ok(json!({
        "ProjectId": project_of(transport, repo).await?,
        "TargetType": "PROJECT",
        "Name": HOOK_NAME,
        "Service": "WebHook",
        "ServiceAction": ACTION,
        "Event": EVENTS,
        "Enabled": true,
        "ActionProperty": properties.to_string(),
        "FilterProperty": "{}",
    }))
}

impl Hook {
    fn ours(self) -> RemoteHook {
        let properties: Option<Properties> = serde_json::from_str(&self.action_properties).ok();
        RemoteHook {
            id: self.id,
            url: properties.map(|properties| properties.service_url).unwrap_or_default(),
            active: self.enabled,
            missing_events: missing(&EVENTS, |wanted| self.event.iter().any(|event| event == wanted)),
            last_error: None,
        }
    }
}
