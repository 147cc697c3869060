//! Making a GitHub App in two clicks: a form posts the manifest to GitHub, GitHub sends the browser back with a code,
//! and the code is exchanged once for the App's key and secrets
//! (<https://docs.github.com/en/apps/sharing-github-apps/registering-a-github-app-from-a-manifest>).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use slipway_domain::event::ForgeKind;
use slipway_runtime::clock::Clock;
use slipway_runtime::egress::Egress;
use url::Url;

use super::call::call;
use crate::api::api_base;
use crate::api::rest::read;
use crate::transport::{ForgeError, Transport};

/// What an App has to be subscribed to. `installation` and `ping` always come and may not be asked for.
pub(super) const EVENTS: [&str; 8] =
    ["push", "pull_request", "create", "delete", "release", "check_run", "check_suite", "repository"];
/// What an App has to be allowed, and what we ask for in the token for a repository.
pub(super) const PERMISSIONS: [(&str, &str); 5] =
    [("contents", "read"), ("metadata", "read"), ("pull_requests", "read"), ("statuses", "write"), ("checks", "write")];
/// GitHub refuses longer names.
const MAX_NAME_CHARS: usize = 34;
/// GitHub's have 40 characters.
const MAX_CODE_CHARS: usize = 100;
/// GitHub's names have at most 39 characters, and a few more where an enterprise manages them.
const MAX_ACCOUNT_CHARS: usize = 100;

/// What the App is to be.
#[derive(Debug, Clone, Copy)]
pub struct Manifest<'a> {
    /// Its name, unique on that GitHub; whoever makes it can change it there. Cut to 34 characters.
    pub name: &'a str,
    /// Our own page.
    pub our_url: &'a str,
    /// Where deliveries go.
    pub hook_url: &'a str,
    /// Where the browser comes back to with the code.
    pub redirect_url: &'a str,
    /// Where the browser comes to after each installation and each change of one.
    pub setup_url: Option<&'a str>,
}

/// A code and where it is exchanged.
pub struct ManifestCode<'a> {
    /// Where GitHub is; `None` means github.com.
    pub base_url: Option<&'a Url>,
    /// What the browser brought, which can be anything.
    pub code: &'a str,
    /// Decides which addresses may be reached.
    pub egress: Egress,
    /// For waiting times that GitHub gives as a time of day.
    pub clock: Clock,
    /// Limit for the call, everything included.
    pub timeout: Duration,
}

/// An App that was just made.
#[derive(Clone, PartialEq, Eq)]
pub struct NewApp {
    /// Its number.
    pub app_id: u64,
    /// Its name in addresses.
    pub slug: String,
    /// Its name.
    pub name: String,
    /// Its page.
    pub html_url: String,
    /// The key that it signs with. GitHub does not show it again.
    pub private_key_pem: String,
    /// Signs its deliveries.
    pub webhook_secret: String,
    /// For logins by this App.
    pub client_id: String,
    /// For logins by this App.
    pub client_secret: String,
}

#[derive(Deserialize)]
struct Conversion {
    id: u64,
    slug: String,
    name: String,
    html_url: String,
    pem: String,
    webhook_secret: String,
    client_id: String,
    client_secret: String,
}

/// The manifest, which goes as text into the form's field `manifest`.
pub fn manifest(wanted: &Manifest<'_>) -> Value {
    let permissions: Map<String, Value> =
        PERMISSIONS.iter().map(|(name, level)| ((*name).to_owned(), json!(level))).collect();
    let mut manifest = json!({
        "name": wanted.name.chars().take(MAX_NAME_CHARS).collect::<String>(),
        "url": wanted.our_url,
        "hook_attributes": { "url": wanted.hook_url, "active": true },
        "redirect_url": wanted.redirect_url,
        "public": false,
        "default_events": EVENTS,
        "default_permissions": permissions,
    });
    if let Some(setup_url) = wanted.setup_url {
        manifest["setup_url"] = json!(setup_url);
        manifest["setup_on_update"] = json!(true);
    }
    manifest
}

/// The page that the form with the manifest is posted to. The App belongs to the organisation, else to whoever is
/// logged in there. `state` comes back with the code.
pub fn manifest_page(base_url: Option<&Url>, organisation: Option<&str>, state: &str) -> Result<Url, ForgeError> {
    let mut page = web_base(base_url)?;
    let mut path =
        page.path_segments_mut().map_err(|()| ForgeError::Invalid("GitHub's address can have no path".to_owned()))?;
    path.pop_if_empty();
    if let Some(organisation) = organisation {
        if !is_plain(organisation, MAX_ACCOUNT_CHARS) {
            return Err(ForgeError::Invalid("the organisation's name is none that GitHub has".to_owned()));
        }
        path.extend(["organizations", organisation]);
    }
    path.extend(["settings", "apps", "new"]);
    drop(path);
    page.query_pairs_mut().append_pair("state", state);
    Ok(page)
}

/// Exchanges the code for the App, once and within the hour. A lost answer means that the App exists and its key is
/// lost: delete it on GitHub and begin again.
pub async fn convert_manifest(given: ManifestCode<'_>) -> Result<NewApp, ForgeError> {
    let ManifestCode { base_url, code, egress, clock, timeout } = given;
    if !is_plain(code, MAX_CODE_CHARS) {
        return Err(ForgeError::Invalid("the code is none that GitHub gave".to_owned()));
    }
    let base = api_base(ForgeKind::Github, base_url)?;
    let transport = Transport { egress, http: Arc::default(), base, credential: None, timeout, clock };
    let route = format!("/app-manifests/{code}/conversions");
    let answer = call(&transport, Method::POST, route, None::<&()>).await.map_err(used_up)?;
    let made: Conversion = read(&answer)?;
    Ok(NewApp {
        app_id: made.id,
        slug: made.slug,
        name: made.name,
        html_url: made.html_url,
        private_key_pem: made.pem,
        webhook_secret: made.webhook_secret,
        client_id: made.client_id,
        client_secret: made.client_secret,
    })
}

impl fmt::Debug for NewApp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { app_id, slug, name, html_url, .. } = self;
        f.debug_struct("NewApp")
            .field("app_id", app_id)
            .field("slug", slug)
            .field("name", name)
            .field("html_url", html_url)
            .finish_non_exhaustive()
    }
}

fn used_up(e: ForgeError) -> ForgeError {
    match e {
        ForgeError::NotFound(_) => {
            ForgeError::Invalid("GitHub does not take the code: it works once and for an hour; begin again".to_owned())
        }
        other => other,
    }
}

/// Where GitHub's pages are, whether the address given is theirs or the API's.
fn web_base(base_url: Option<&Url>) -> Result<Url, ForgeError> {
    // What is no address for the API is none for the pages.
    let api = api_base(ForgeKind::Github, base_url)?;
    let web = match api.host_str().unwrap_or_default().strip_prefix("api.") {
        Some(host) if host == "github.com" || host.ends_with(".ghe.com") => format!("https://{host}/"),
        _ => api.as_str().trim_end_matches('/').trim_end_matches("/api/v3").to_owned(),
    };
    Url::parse(&web).map_err(|_| ForgeError::Invalid("GitHub's pages have no valid address".to_owned()))
}

fn is_plain(text: &str, max_chars: usize) -> bool {
    (1..=max_chars).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
}

#[cfg(test)]
mod tests;
