//! What GitHub says about the App itself, and what it lacks of what we need: whoever made it by hand may have left
//! something out, and an App that was made by an older release lacks what came since.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;

use super::AppApi;
use crate::api::rest::read;
use crate::github::app_manifest::{EVENTS, PERMISSIONS};
use crate::github::call::get;
use crate::transport::ForgeError;

/// GitHub subscribes Apps that may write checks to these by itself, whether or not it lists them among the App's events
/// (<https://docs.github.com/en/webhooks/webhook-events-and-payloads#check_run>).
const EVENTS_WITH_CHECKS: [&str; 2] = ["check_run", "check_suite"];

/// What GitHub says about the App.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppSelf {
    /// Its name in addresses.
    pub slug: String,
    /// Its page.
    pub html_url: String,
    /// What it is subscribed to.
    pub events: Vec<String>,
    /// What it should be subscribed to, too.
    pub missing_events: Vec<String>,
    /// What it may not do and has to, as `checks: write`.
    pub missing_permissions: Vec<String>,
}

#[derive(Deserialize)]
struct SelfAnswer {
    slug: String,
    html_url: String,
    #[serde(default)]
    events: Vec<String>,
    #[serde(default)]
    permissions: HashMap<String, Value>,
}

impl AppApi {
    /// What GitHub says about the App, and what it lacks.
    pub async fn myself(&self) -> Result<AppSelf, ForgeError> {
        let app: SelfAnswer = read(&get(&self.as_app()?, "/app".to_owned()).await?)?;
        let may = |name: &str, wanted: &str| may(app.permissions.get(name).and_then(Value::as_str), wanted);
        let checks = may("checks", "write");
        let comes = |event: &str| {
            app.events.iter().any(|subscribed| subscribed == event) || (checks && EVENTS_WITH_CHECKS.contains(&event))
        };
        Ok(AppSelf {
            missing_events: EVENTS.iter().filter(|event| !comes(event)).map(|event| (*event).to_owned()).collect(),
            missing_permissions: PERMISSIONS
                .iter()
                .filter(|(name, wanted)| !may(name, wanted))
                .map(|(name, wanted)| format!("{name}: {wanted}"))
                .collect(),
            slug: app.slug,
            html_url: app.html_url,
            events: app.events,
        })
    }
}

/// Whether this right includes the wanted one.
pub(super) fn may(granted: Option<&str>, wanted: &str) -> bool {
    match granted {
        Some("admin") => true,
        Some("write") => wanted != "admin",
        other => other == Some(wanted),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::GitHub;
    use super::super::tests::meet;
    use super::*;

    #[tokio::test]
    async fn an_app_that_lacks_something_is_told_what() {
        let (fake, api, inside) = meet(GitHub::default()).await;
        let work = async {
            let bare = api.myself().await.expect("told");
            assert_eq!((bare.slug.as_str(), bare.html_url.as_str()), ("ours", "https://github.example/apps/ours"));
            assert_eq!(bare.missing_events, EVENTS);
            let all = ["contents: read", "metadata: read", "pull_requests: read", "statuses: write", "checks: write"];
            assert_eq!(bare.missing_permissions, all);
            inside.with(|github| {
                github.may = [
                    ("contents", "write"),
                    ("metadata", "read"),
                    ("pull_requests", "none"),
                    ("statuses", "read"),
                    ("checks", "write"),
                ]
                .into();
                github.subscribed = vec!["push", "pull_request", "create", "delete", "release"];
            });
            let some = api.myself().await.expect("told");
            assert_eq!(some.missing_events, ["repository"], "those of checks come by themselves");
            assert_eq!(some.missing_permissions, ["pull_requests: read", "statuses: write"]);
            assert_eq!(some.events, ["push", "pull_request", "create", "delete", "release"]);
        };
        fake.during(work).await;
    }

    #[test]
    fn a_right_includes_the_smaller_ones() {
        let table = [
            (None, "read", false),
            (Some("read"), "read", true),
            (Some("read"), "write", false),
            (Some("write"), "read", true),
            (Some("write"), "write", true),
            (Some("write"), "admin", false),
            (Some("admin"), "write", true),
            (Some("none"), "read", false),
        ];
        for (granted, wanted, expected) in table {
            assert_eq!(may(granted, wanted), expected, "{granted:?} {wanted}");
        }
    }
}
