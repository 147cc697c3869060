//! The App's one hook: where it points, which of its deliveries were not taken, and sending those again. GitHub never
//! repeats a delivery by itself, and keeps them for some days only.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use http::{HeaderMap, Method, header};
use octocrab::models::apps::UpdateWebhookConfig;
use serde::Deserialize;
use url::Url;

use super::AppApi;
use crate::api::rest::read;
use crate::github::call::{call, get, route};
use crate::transport::ForgeError;

const DELIVERIES: [&str; 3] = ["app", "hook", "deliveries"];
/// Deliveries that are looked at: this many pages of 100.
const MAX_PAGES: usize = 3;

/// A delivery that was never answered with success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedDelivery {
    /// Number of the last try, by which it is sent again.
    pub id: u64,
    /// What the delivery bears as `X-GitHub-Delivery`; every try of it has the same.
    pub guid: String,
    /// Name of the event.
    pub event: String,
    /// Time of the last try.
    pub delivered_at: DateTime<Utc>,
    /// Tries among those that were looked at, all of them in vain.
    pub tries: usize,
}

#[derive(Deserialize)]
struct Try {
    id: u64,
    guid: String,
    delivered_at: DateTime<Utc>,
    /// 0 where nobody answered.
    #[serde(default)]
    status_code: Option<u16>,
    #[serde(default)]
    event: Option<String>,
}

impl AppApi {
    /// Deliveries of the App's hook of which no try was answered with 2xx, newest first, back to `since` or through
    /// the last 300 tries, whichever is less. A delivery that was tried more than once stands there once.
    pub async fn failed_deliveries(&self, since: DateTime<Utc>) -> Result<Vec<FailedDelivery>, ForgeError> {
        let transport = self.as_app()?;
        let mut tries: Vec<Try> = Vec::new();
        let mut cursor: Option<String> = None;
        for _ in 0..MAX_PAGES {
            let mut query = vec![("per_page", "100")];
            query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let answer = get(&transport, route(DELIVERIES, &query)?).await?;
            tries.extend(read::<Vec<Try>>(&answer)?);
            let reached = tries.last().is_none_or(|oldest| oldest.delivered_at < since);
            cursor = next_cursor(&answer.headers);
            if reached || cursor.is_none() {
                break;
            }
        }
        Ok(never_taken(tries, since))
    }

    /// Asks GitHub to send a delivery again, soon and with the same guid.
    pub async fn redeliver(&self, id: u64) -> Result<(), ForgeError> {
        let route = format!("/app/hook/deliveries/{id}/attempts");
        call(&self.as_app()?, Method::POST, route, None::<&()>).await.map(drop)
    }

    /// Points the App's hook to this address, as JSON and with this secret.
    pub async fn set_hook(&self, url: &str, secret: &str) -> Result<(), ForgeError> {
        let config = UpdateWebhookConfig {
            url: Some(url.to_owned()),
            content_type: Some("json".to_owned()),
            secret: Some(secret.to_owned()),
            insecure_ssl: Some("0".to_owned()),
        };
        call(&self.as_app()?, Method::PATCH, "/app/hook/config".to_owned(), Some(&config)).await.map(drop)
    }
}

/// Where the next page begins, if there is one. Its address is not followed: what an answer holds does not say where
/// our credential goes.
fn next_cursor(headers: &HeaderMap) -> Option<String> {
    let links = headers.get(header::LINK)?.to_str().ok()?;
    let next = links.split(',').find(|link| link.split(';').skip(1).any(|word| word.trim() == r#"rel="next""#))?;
    let address = next.split(';').next()?.trim().strip_prefix('<')?.strip_suffix('>')?;
    let url = Url::parse(address).ok()?;
    url.query_pairs().find(|(name, _)| name == "cursor").map(|(_, cursor)| cursor.into_owned())
}

/// A success is always newer than the failures that it makes good, so it is among the tries that were read.
fn never_taken(tries: Vec<Try>, since: DateTime<Utc>) -> Vec<FailedDelivery> {
    let taken = |one: &Try| one.status_code.is_some_and(|code| (200..300).contains(&code));
    let mut tries_of: HashMap<String, usize> = HashMap::new();
    for one in &tries {
        *tries_of.entry(one.guid.clone()).or_default() += 1;
    }
    let mut done: HashSet<String> = tries.iter().filter(|one| taken(one)).map(|one| one.guid.clone()).collect();
    tries
        .into_iter()
        .filter(|one| one.delivered_at >= since && done.insert(one.guid.clone()))
        .map(|one| FailedDelivery {
            id: one.id,
            tries: tries_of.get(&one.guid).copied().unwrap_or_default(),
            guid: one.guid,
            event: one.event.unwrap_or_default(),
            delivered_at: one.delivered_at,
        })
        .collect()
}

#[cfg(test)]
mod tests;
