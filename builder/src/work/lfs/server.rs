//! One repository's LFS server: what it is asked by the batch API, and the places that it names, which are strangers'
//! until the guard has judged them. Its credential is shown to its own origin alone; what it gives along for a place is
//! shown to that place and, where that sends us on, to nobody else.
//! <https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md>

use std::collections::{BTreeMap, HashMap};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use futures_util::StreamExt as _;
use futures_util::stream::iter;
use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue,
    LOCATION, RANGE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use reqwest::{Client, Response, StatusCode};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use slipway_domain::agent::Login;
use slipway_domain::failure::{Failure, FailureClass};
use slipway_runtime::egress::{Egress, read_at_most};
use tempfile::NamedTempFile;
use tokio::io::AsyncWriteExt as _;
use url::Url;

use super::pointer::Pointer;
use super::{LfsRequest, hinted, shown};
use crate::work::io_failure;
use crate::work::source::submodules::{Part, is_projects_origin};

/// What both sides speak.
const MEDIA_TYPE: &str = "application/vnd.git-lfs+json";
/// Contents that are asked for at once.
const BATCH: usize = 100;
/// Contents that are fetched at once.
const AT_ONCE: usize = 4;
/// Longest answer to a question, bytes.
const MAX_ANSWER_BYTES: usize = 4 << 20;
/// Most headers for one place.
const MAX_HEADERS: usize = 32;
/// A place sends us on so often: some servers have their contents in an object storage behind them.
const MAX_HOPS: usize = 3;
/// They say how a connection is used, which is ours.
const OURS: [HeaderName; 9] =
    [CONNECTION, CONTENT_LENGTH, EXPECT, HOST, RANGE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];

const NO_LFS: &str = "Check that the repository's LFS is on at its forge, and that the connection's token may read it; \
    or switch `lfs` off.";
const NOT_THERE: &str = "Push the file's content with `git lfs push --all`, or commit the file anew.";

pub(super) struct Server<'a> {
    egress: &'a Egress,
    request: &'a LfsRequest<'a>,
    part: &'a Part,
    /// Ends with `info/lfs`.
    url: Url,
    login: Option<&'a Login>,
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
struct Told {
    oid: String,
    authenticated: Option<bool>,
    actions: Option<Actions>,
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    code: u16,
}

#[derive(Deserialize)]
struct Actions {
    download: Option<Place>,
}

#[derive(Deserialize)]
struct Place {
    href: String,
    header: Option<BTreeMap<String, String>>,
}

/// A content and the files that have it.
type Object<'a> = (&'a Pointer, &'a [PathBuf]);

impl<'a> Server<'a> {
    pub(super) fn of(egress: &'a Egress, request: &'a LfsRequest<'a>, part: &'a Part) -> Result<Self, Failure> {
        let url = server_url(&slipway_git::parse_clone_url(&part.clone_url)?)?;
        let login = request.login.filter(|_| is_projects_origin(request.clone_url, &url));
        Ok(Self { egress, request, part, url, login, clients: Mutex::default() })
    }

    /// For people.
    pub(super) fn host(&self) -> String {
        host(&self.url)
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

    async fn fetch_one(&self, (pointer, paths): Object<'_>, told: &HashMap<String, Told>) -> Result<(), Failure> {
        let Some(first) = paths.first() else { return Ok(()) };
        let what = self.words(pointer, first);
        let missing = || {
            let message = format!("the LFS server {} does not have {what}", self.host());
            hinted(FailureClass::CommitMissing, message, NOT_THERE)
        };
        let told = told.get(&pointer.oid).ok_or_else(missing)?;
        if let Some(Refusal { code }) = told.error {
            let (class, hint) = self.class_of(code, FailureClass::CommitMissing);
            if class == FailureClass::CommitMissing {
                return Err(missing());
            }
            let message = format!("the LFS server {} refuses {what} with {code}", self.host());
            return Err(hinted(class, message, hint));
        }
        let place = told.actions.as_ref().and_then(|actions| actions.download.as_ref()).ok_or_else(missing)?;
        let answer = self.open(place, told.authenticated == Some(true), &what).await?;
        let file = self.receive(answer, pointer, (first, &what)).await?;
        put(file, paths).map_err(|error| io_failure("a file from LFS", &error))
    }

    /// Asks a place for a content, and where it sends us on, there.
    async fn open(&self, place: &Place, authenticated: bool, what: &str) -> Result<Response, Failure> {
        let unusable = |why: &str| {
            let message = format!("the LFS server {} names no usable place for {what}: {why}", self.host());
            Failure::new(FailureClass::SourceForbidden, message)
        };
        let mut url = Url::parse(&place.href).map_err(|_| unusable("it is no address"))?;
        let mut headers = headers(place.header.as_ref()).ok_or_else(|| unusable("its headers are none"))?;
        let own = self.login.filter(|_| !authenticated && !headers.contains_key(AUTHORIZATION));
        let mut login = own.filter(|_| is_projects_origin(self.request.clone_url, &url));
        for _ in 0..=MAX_HOPS {
            let client = self.client(&url, what).await?;
            let mut asking = client.get(url.clone()).headers(std::mem::take(&mut headers));
            if let Some(login) = login.take() {
                asking = asking.basic_auth(&login.user, Some(&login.password));
            }
            let host = host(&url);
            // How long it may take is the caller's to say, who knows how much it is.
            let asked = asking.timeout(self.request.timeout).send();
            let asked = tokio::time::timeout(self.request.silence, asked).await.map_err(|_| silent(&host))?;
            let answer = asked.map_err(|error| unreachable(&host, error))?;
            let status = answer.status();
            if status == StatusCode::OK {
                return Ok(answer);
            }
            if !status.is_redirection() {
                let (class, hint) = self.class_of(status.as_u16(), FailureClass::CommitMissing);
                return Err(hinted(class, format!("{host} answered {status} when asked for {what}"), hint));
            }
            let next = answer.headers().get(LOCATION).and_then(|to| to.to_str().ok());
            let next = next.and_then(|to| url.join(to).ok()).ok_or_else(|| unusable("it sends us nowhere"))?;
            if url.scheme() == "https" && next.scheme() != "https" {
                return Err(unusable("it sends us on from https to plain http"));
            }
            url = next;
        }
        Err(unusable("it sends us on again and again"))
    }

    /// Takes in a content and compares it with its hash.
    async fn receive(
        &self,
        mut answer: Response,
        pointer: &Pointer,
        (path, what): (&Path, &str),
    ) -> Result<NamedTempFile, Failure> {
        let failed = |error: std::io::Error| io_failure("a file from LFS", &error);
        let host = host(answer.url());
        let other = || {
            let message = format!("{host} gave other content than was asked for: {what}");
            Failure::new(FailureClass::SourceUnreachable, message)
        };
        let folder = path.parent().unwrap_or(&self.part.root);
        let file = tempfile::Builder::new().prefix(".lfs-").tempfile_in(folder).map_err(failed)?;
        let mut writing = tokio::fs::File::from_std(file.reopen().map_err(failed)?);
        let (mut hash, mut bytes) = (Sha256::new(), 0_u64);
        loop {
            let chunk = tokio::time::timeout(self.request.silence, answer.chunk()).await.map_err(|_| silent(&host))?;
            let Some(chunk) = chunk.map_err(|error| unreachable(&host, error))? else { break };
            bytes = bytes.saturating_add(chunk.len() as u64);
            if bytes > pointer.size {
                return Err(other());
            }
            hash.update(&chunk);
            writing.write_all(&chunk).await.map_err(failed)?;
        }
        writing.flush().await.map_err(failed)?;
        if bytes == pointer.size && hex::encode(hash.finalize()) == pointer.oid { Ok(file) } else { Err(other()) }
    }

    /// A client for an address that the guard allows; one for each origin.
    async fn client(&self, url: &Url, what: &str) -> Result<Client, Failure> {
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
    fn class_of(&self, code: u16, missing: FailureClass) -> (FailureClass, &'static str) {
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

    fn words(&self, pointer: &Pointer, path: &Path) -> String {
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

/// What a server gives along for a place, without what is ours; `None` if it is too much or is no header.
fn headers(given: Option<&BTreeMap<String, String>>) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, value) in given.into_iter().flatten() {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        if OURS.contains(&name) || name.as_str().starts_with("proxy-") {
            continue;
        }
        let mut value = HeaderValue::from_str(value).ok()?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    (headers.len() <= MAX_HEADERS).then_some(headers)
}

/// Puts a content in place of each of its pointers. These may be further names of files that are kept, so they are
/// replaced and never written into.
fn put(file: NamedTempFile, paths: &[PathBuf]) -> std::io::Result<()> {
    let Some((first, others)) = paths.split_first() else { return Ok(()) };
    let mode = first.symlink_metadata()?.permissions();
    file.as_file().set_permissions(mode.clone())?;
    file.persist(first).map_err(|error| error.error)?;
    for path in others {
        let own = path.symlink_metadata()?.permissions();
        std::fs::remove_file(path)?;
        if own.mode() != mode.mode() || std::fs::hard_link(first, path).is_err() {
            std::fs::copy(first, path)?;
            std::fs::set_permissions(path, own)?;
        }
    }
    Ok(())
}

fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn silent(host: &str) -> Failure {
    Failure::new(
        FailureClass::SourceUnreachable,
        format!("{host} said nothing for too long while LFS files were fetched"),
    )
}

/// Without the address, which may be signed.
fn unreachable(host: &str, error: reqwest::Error) -> Failure {
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    Failure::new(FailureClass::SourceUnreachable, format!("{host} does not answer for LFS: {cause}"))
}
