//! One repository's LFS server, and what it is asked by the batch API. The credential is shown to its own origin alone.
//! <https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md>

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use futures_util::StreamExt as _;
use futures_util::stream::iter;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Client, StatusCode};
use serde::{Deserialize, Serialize};
use slipway_domain::agent::Login;
use slipway_domain::failure::{Failure, FailureClass};
use slipway_runtime::egress::{Egress, read_at_most};
use url::Url;

use super::pointer::Pointer;
use super::{LfsRequest, hinted, shown};
use crate::work::source::submodules::{Part, is_projects_origin};

/// What both sides speak.
const MEDIA_TYPE: &str = "application/vnd.git-lfs+json";
/// Contents that are asked for at once.
const BATCH: usize = 100;
/// Contents that are fetched at once.
const AT_ONCE: usize = 4;
/// Longest answer to a question, bytes.
const MAX_ANSWER_BYTES: usize = 4 << 20;

const NO_LFS: &str = "Check that the repository's LFS is on at its forge, and that the connection's token may read it; \
    or switch `lfs` off.";
pub(super) const NOT_THERE: &str = "Push the file's content with `git lfs push --all`, or commit the file anew.";

pub(super) struct Server<'a> {
    egress: &'a Egress,
    pub(super) request: &'a LfsRequest<'a>,
    pub(super) part: &'a Part,
    /// Ends with `info/lfs`.
    url: Url,
    pub(super) login: Option<&'a Login>,
    /// By origin.
    clients: Mutex<HashMap<String, Client>>,
}

#[derive(Serialize)]
struct Question<'a> {
    operation: &'a str,
    transfers: [&'a str; 1],
    hash_algo: &'a str,
    objects: Vec<Asked<'a>>,
}

#[derive(Serialize)]
struct Asked<'a> {
    oid: &'a str,
    size: u64,
}

#[derive(Deserialize)]
struct Answer {
    transfer: Option<String>,
    objects: Vec<Told>,
}

#[derive(Deserialize)]
pub(super) struct Told {
    oid: String,
    pub(super) authenticated: Option<bool>,
    pub(super) actions: Option<Actions>,
    pub(super) error: Option<Refusal>,
}

#[derive(Deserialize)]
pub(super) struct Refusal {
    pub(super) code: u16,
}

#[derive(Deserialize)]
pub(super) struct Actions {
    pub(super) download: Option<Place>,
}

#[derive(Deserialize)]
pub(super) struct Place {
    pub(super) href: String,
    pub(super) header: Option<BTreeMap<String, String>>,
}

/// A content and the files that have it.
pub(super) type Object<'a> = (&'a Pointer, &'a [PathBuf]);

impl<'a> Server<'a> {
    pub(super) fn of(egress: &'a Egress, request: &'a LfsRequest<'a>, part: &'a Part) -> Result<Self, Failure> {
        let url = server_url(&slipway_git::parse_clone_url(&part.clone_url)?)?;
        let login = request.login.filter(|_| part.path.is_empty() || request.lends);
        let login = login.filter(|_| is_projects_origin(request.clone_url, &url));
        Ok(Self { egress, request, part, url, login, clients: Mutex::default() })
    }

    /// For people.
    pub(super) fn host(&self) -> String {
        host(&self.url)
    }

    /// Whether nobody between us reads what we say to each other.
    pub(super) fn is_private(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// Fetches all of them.
    pub(super) async fn fetch(&self, objects: &BTreeMap<Pointer, Vec<PathBuf>>) -> Result<(), Failure> {
        let objects: Vec<Object<'_>> = objects.iter().map(|(pointer, paths)| (pointer, paths.as_slice())).collect();
        for batch in objects.chunks(BATCH) {
            let told = self.ask(batch).await?;
            let fetching: Vec<_> = batch.iter().map(|object| self.fetch_one(*object, &told)).collect();
            let mut fetching = iter(fetching).buffer_unordered(AT_ONCE);
            while let Some(done) = fetching.next().await {
                done?;
            }
        }
        Ok(())
    }

    async fn ask(&self, batch: &[Object<'_>]) -> Result<HashMap<String, Told>, Failure> {
        let objects = batch.iter().map(|(pointer, _)| Asked { oid: &pointer.oid, size: pointer.size }).collect();
        let question = Question { operation: "download", transfers: ["basic"], hash_algo: "sha256", objects };
        let url = with_path(&self.url, "objects/batch");
        let mut asking = self.client(&url, "the LFS server").await?.post(url);
        asking = asking.header(ACCEPT, MEDIA_TYPE).header(CONTENT_TYPE, MEDIA_TYPE).json(&question);
        if let Some(login) = self.login {
            asking = asking.basic_auth(&login.user, Some(&login.password));
        }
        let host = self.host();
        let asked = tokio::time::timeout(self.request.silence, asking.send()).await.map_err(|_| silent(&host))?;
        let answer = asked.map_err(|error| unreachable(&host, error))?;
        let status = answer.status();
        if status != StatusCode::OK {
            let (class, hint) = self.class_of(status.as_u16(), FailureClass::SourceMissing);
            let name = super::name(self.part);
            return Err(hinted(class, format!("the LFS server {host} of {name} answered {status}"), hint));
        }
        let invalid = |why: &str| {
            let message = format!("the LFS server {host} gave no answer of one: {why}");
            Failure::new(FailureClass::SourceUnreachable, message)
        };
        let bytes = read_at_most(answer, MAX_ANSWER_BYTES).await.map_err(|_| invalid("it is too long or broke off"))?;
        // The error's text could hold a part of what is secret in it.
        let answer: Answer = serde_json::from_slice(&bytes).map_err(|_| invalid("it does not read"))?;
        match answer.transfer.as_deref() {
            None | Some("basic") => Ok(answer.objects.into_iter().map(|told| (told.oid.clone(), told)).collect()),
            Some(_) => Err(invalid("it wants another transfer than the one that was offered")),
        }
    }

    /// A client for an address that the guard allows; one for each origin.
    pub(super) async fn client(&self, url: &Url, what: &str) -> Result<Client, Failure> {
        let origin = url.origin().ascii_serialization();
        let known = self.clients.lock().unwrap_or_else(PoisonError::into_inner).get(&origin).cloned();
        if let Some(client) = known {
            return Ok(client);
        }
        if !matches!(url.scheme(), "https" | "http") {
            let message = format!("{what} is not addressed by https, and is not fetched");
            return Err(Failure::new(FailureClass::SourceForbidden, message));
        }
        let client = self.egress.open(url).await.map_err(|error| {
            let refused = error.is_refusal();
            let class = if refused { FailureClass::SourceForbidden } else { FailureClass::SourceUnreachable };
            Failure::new(class, format!("{what} cannot be fetched from LFS: {error}"))
        })?;
        self.clients.lock().unwrap_or_else(PoisonError::into_inner).insert(origin, client.clone());
        Ok(client)
    }

    /// What an answer's status means, and what to do about it.
    pub(super) fn class_of(&self, code: u16, missing: FailureClass) -> (FailureClass, &'static str) {
        let hint = if missing == FailureClass::CommitMissing { NOT_THERE } else { NO_LFS };
        match code {
            401 | 403 => (FailureClass::SourceAuth, NO_LFS),
            404 | 410 => (missing, hint),
            // The second is a forge's word for a volume that is used up.
            429 | 509 => (FailureClass::RateLimited, "The LFS server limits how often or how much is fetched; wait."),
            408 | 500..=599 => (FailureClass::SourceUnreachable, FailureClass::SourceUnreachable.hint()),
            300..=399 => (FailureClass::SourceMissing, "Give the project the clone URL that its forge shows today."),
            _ => (FailureClass::BuildRejected, NO_LFS),
        }
    }

    pub(super) fn words(&self, pointer: &Pointer, path: &Path) -> String {
        format!("{} (sha256:{})", shown(self.part, path), pointer.oid)
    }
}

/// Where a repository's LFS server is.
/// <https://github.com/git-lfs/git-lfs/blob/main/docs/api/server-discovery.md>
fn server_url(clone_url: &Url) -> Result<Url, Failure> {
    if !matches!(clone_url.scheme(), "https" | "http") {
        let message = "files in LFS are fetched by https, and the repository is addressed by ssh".to_owned();
        let hint = "Give the project its https clone URL and a connection with a token, or switch `lfs` off.";
        return Err(hinted(FailureClass::SourceForbidden, message, hint));
    }
    let mut url = clone_url.clone();
    url.set_query(None);
    url.set_fragment(None);
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&if path.ends_with(".git") { format!("{path}/info/lfs") } else { format!("{path}.git/info/lfs") });
    Ok(url)
}

fn with_path(url: &Url, further: &str) -> Url {
    let mut url = url.clone();
    url.set_path(&format!("{}/{further}", url.path()));
    url
}

pub(super) fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

pub(super) fn silent(host: &str) -> Failure {
    Failure::new(
        FailureClass::SourceUnreachable,
        format!("{host} said nothing for too long while LFS files were fetched"),
    )
}

/// Without the address, which may be signed.
pub(super) fn unreachable(host: &str, error: reqwest::Error) -> Failure {
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    Failure::new(FailureClass::SourceUnreachable, format!("{host} does not answer for LFS: {cause}"))
}
