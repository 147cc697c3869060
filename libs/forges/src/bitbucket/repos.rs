//! Repositories on Bitbucket Cloud, which lists them by workspace only
//! (<https://developer.atlassian.com/cloud/bitbucket/changelog/>, CHANGE-2770).

use serde::Deserialize;

use super::pages::{PER_PAGE, Page, pages};
use crate::api::rest::{address, get, read, two_parts};
use crate::repos::{MAX_PAGES, RemoteRepo, RepoPage, http_url, no_cursor, page_number, usable};
use crate::transport::{ForgeError, Transport};

#[derive(Deserialize)]
struct Access {
    workspace: Workspace,
}

#[derive(Deserialize)]
struct Workspace {
    slug: String,
}

#[derive(Deserialize)]
struct Repo {
    uuid: String,
    full_name: String,
    is_private: Option<bool>,
    mainbranch: Option<Branch>,
    links: Links,
}

#[derive(Deserialize)]
struct Branch {
    name: String,
}

#[derive(Deserialize)]
struct Links {
    html: Option<Link>,
    #[serde(default)]
    clone: Vec<Named>,
}

#[derive(Deserialize)]
struct Link {
    href: String,
}

#[derive(Deserialize)]
struct Named {
    name: String,
    href: String,
}

/// A page of one workspace's list; written `workspace:page`.
struct Place {
    workspace: String,
    page: usize,
}

/// `GET /user/workspaces`, and of each workspace `GET /repositories/{workspace}?sort=-updated_on`. A search with a
/// slash names the workspace: tokens that belong to one may not ask for the list.
pub(crate) async fn list(
    transport: &Transport,
    search: Option<&str>,
    cursor: Option<&str>,
) -> Result<RepoPage, ForgeError> {
    let (workspaces, name) = match search.and_then(|search| search.split_once('/')) {
        Some((workspace, name)) => (vec![workspace.to_owned()], Some(name).filter(|name| !name.is_empty())),
        None => (workspaces(transport).await?, search),
    };
    let mut place = match cursor {
        Some(cursor) => Some(place_of(cursor, &workspaces)?),
        None => workspaces.first().map(|workspace| Place { workspace: workspace.clone(), page: 1 }),
    };
    for _ in 0..MAX_PAGES {
        let Some(at) = place else { return Ok(RepoPage { items: Vec::new(), next: None }) };
        let found = page_at(transport, &at, name).await?;
        place = match found.next() {
            Some(_) => Some(Place { page: at.page + 1, ..at }),
            None => after(&workspaces, &at.workspace),
        };
        if !found.values.is_empty() {
            let items = found.values.into_iter().filter_map(Repo::ours).collect();
            return Ok(RepoPage { items, next: place.map(|place| format!("{}:{}", place.workspace, place.page)) });
        }
    }
    Ok(RepoPage { items: Vec::new(), next: place.map(|place| format!("{}:{}", place.workspace, place.page)) })
}

/// `GET /repositories/{workspace}/{slug}`.
pub(crate) async fn at(transport: &Transport, full_path: &str) -> Result<RemoteRepo, ForgeError> {
    let [workspace, slug] = two_parts(full_path)?;
    one(transport, workspace, slug).await
}

/// `GET /repositories/{}/{uuid}`: an id needs no workspace.
pub(crate) async fn by_id(transport: &Transport, id: &str) -> Result<RemoteRepo, ForgeError> {
    let digits = id.trim_start_matches('{').trim_end_matches('}');
    if digits.is_empty() || !digits.chars().all(|c| c.is_ascii_hexdigit() || c == '-') {
        return Err(ForgeError::Invalid("the repository's id is not a UUID".to_owned()));
    }
    one(transport, "{}", &format!("{{{digits}}}")).await
}

async fn one(transport: &Transport, workspace: &str, repo: &str) -> Result<RemoteRepo, ForgeError> {
    let url = address(transport, ["repositories", workspace, repo], &[])?;
    usable(read::<Repo>(&get(transport, url).await?)?.ours())
}

/// In the order of their names, so that a place in the list keeps its meaning.
async fn workspaces(transport: &Transport) -> Result<Vec<String>, ForgeError> {
    let found = pages::<Access>(transport, MAX_PAGES, &["user", "workspaces"], &[]).await?;
    let mut slugs: Vec<String> = found.items.into_iter().map(|access| access.workspace.slug).collect();
    slugs.sort_unstable();
    Ok(slugs)
}

async fn page_at(transport: &Transport, place: &Place, name: Option<&str>) -> Result<Page<Repo>, ForgeError> {
    let page = place.page.to_string();
    // As a quoted text of Bitbucket's query language.
    let wanted = name.map(|name| format!("name ~ \"{}\"", name.replace('\\', "\\\\").replace('"', "\\\"")));
    let query = [("sort", "-updated_on"), ("pagelen", PER_PAGE), ("page", &page)];
    let query: Vec<(&str, &str)> = query.into_iter().chain(wanted.as_deref().map(|q| ("q", q))).collect();
    two_parts(&format!("{}/x", place.workspace))?;
    read(&get(transport, address(transport, ["repositories", &place.workspace], &query)?).await?)
}

fn place_of(cursor: &str, workspaces: &[String]) -> Result<Place, ForgeError> {
    let (workspace, page) = cursor.split_once(':').ok_or_else(no_cursor)?;
    let known = workspaces.iter().find(|known| *known == workspace).ok_or_else(no_cursor)?;
    Ok(Place { workspace: known.clone(), page: page_number(Some(page))? })
}

fn after(workspaces: &[String], workspace: &str) -> Option<Place> {
    let next = workspaces.iter().skip_while(|known| *known != workspace).nth(1)?;
    Some(Place { workspace: next.clone(), page: 1 })
}

impl Repo {
    fn ours(self) -> Option<RemoteRepo> {
        let clone = self.links.clone.into_iter().find(|link| link.name == "https")?;
        Some(RemoteRepo {
            id: self.uuid,
            full_path: self.full_name,
            clone_url: http_url(&clone.href)?,
            web_url: self.links.html.map(|link| link.href),
            default_branch: self.mainbranch.map(|branch| branch.name),
            private: self.is_private,
        })
    }
}
