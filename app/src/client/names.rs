//! Finds what the user named: projects and builders by id or name, builds and jobs by id.

use serde_json::{Value, json};
use slipway_domain::ids::{BuildId, BuilderId, DeliveryId, ProjectId};

use crate::client::api::Api;
use crate::client::exit::Failed;
use crate::client::shapes::{Builder, Page, Project, read};

/// Items of a page that we ask for.
const PAGE: &str = "100";
/// Pages of a list that we read at most; a cursor that never ends is a defect of the server.
const MAX_PAGES: usize = 1000;

/// All items of a list, page after page.
pub async fn all(api: &Api, path: &[&str], filter: &[(&str, String)]) -> Result<Vec<Value>, Failed> {
    let mut items = Vec::new();
    let mut cursor = None;
    for _ in 0..MAX_PAGES {
        let mut query = filter.to_vec();
        query.push(("limit", PAGE.to_owned()));
        query.extend(cursor.take().map(|cursor| ("cursor", cursor)));
        let page: Page = read(&api.get(path, &query).await?)?;
        items.extend(page.items);
        match page.next_cursor {
            Some(next) => cursor = Some(next),
            None => return Ok(items),
        }
    }
    Err(Failed::server("The server's list has no end."))
}

/// A whole list in the form in which the API gives pages.
pub fn as_page(items: Vec<Value>) -> Value {
    json!({ "items": items, "next_cursor": null })
}

/// The id of a project that is named by id or name.
pub async fn project_id(api: &Api, named: &str) -> Result<String, Failed> {
    if let Ok(id) = named.parse::<ProjectId>() {
        return Ok(id.to_string());
    }
    let mut found = Vec::new();
    for item in all(api, &["projects"], &[]).await? {
        let project: Project = read(&item)?;
        if project.name == named {
            found.push(project.id);
        }
    }
    one(found, "project", named)
}

/// The id of a builder that is named by id or name.
pub async fn builder_id(api: &Api, named: &str) -> Result<String, Failed> {
    if let Ok(id) = named.parse::<BuilderId>() {
        return Ok(id.to_string());
    }
    let page: Page = read(&api.get(&["builders"], &[]).await?)?;
    let mut found = Vec::new();
    for item in &page.items {
        let builder: Builder = read(item)?;
        if builder.name == named {
            found.push(builder.id);
        }
    }
    one(found, "builder", named)
}

/// The id of a build or of a job as it is sent; what is no id names nothing.
pub fn id(named: &str, kind: &str) -> Result<String, Failed> {
    named.parse::<BuildId>().map(|id| id.to_string()).map_err(|_| {
        Failed::not_found(format!(
            "\"{named}\" is not the id of a {kind}; `slipway builds list` shows the ids of builds."
        ))
    })
}

/// The id of a delivery as it is sent.
pub fn delivery_id(named: &str) -> Result<String, Failed> {
    named.parse::<DeliveryId>().map(|id| id.to_string()).map_err(|_| {
        Failed::not_found(format!("\"{named}\" is not the id of a delivery; `slipway deliveries list` shows them."))
    })
}

fn one(mut found: Vec<String>, kind: &str, named: &str) -> Result<String, Failed> {
    match (found.pop(), found.is_empty()) {
        (Some(id), true) => Ok(id),
        (Some(_), false) => Err(Failed::usage(format!(
            "More than one {kind} is called \"{named}\"; name it by its id, which `slipway {kind}s list` shows."
        ))),
        (None, _) => Err(Failed::not_found(format!(
            "No {kind} that you can see is called \"{named}\"; `slipway {kind}s list` shows them."
        ))),
    }
}
