//! The places where an LFS server says that contents are. They are strangers' until the guard has judged them: each gets
//! what the server gave along for it, and where it sends us on, that goes to nobody else.

use std::collections::{BTreeMap, HashMap};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use reqwest::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, LOCATION, RANGE, TE,
    TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use reqwest::{Response, StatusCode};
use sha2::{Digest as _, Sha256};
use slipway_domain::failure::{Failure, FailureClass};
use tempfile::NamedTempFile;
use tokio::io::AsyncWriteExt as _;
use url::Url;

use super::hinted;
use super::pointer::Pointer;
use super::server::{NOT_THERE, Object, Place, Refusal, Server, Told, host, silent, unreachable};
use crate::work::io_failure;
use crate::work::source::submodules::is_projects_origin;

/// Most headers for one place.
const MAX_HEADERS: usize = 32;
/// A place sends us on so often: some servers have their contents in an object storage behind them.
const MAX_HOPS: usize = 3;
/// They say how a connection is used, which is ours.
const OURS: [HeaderName; 9] =
    [CONNECTION, CONTENT_LENGTH, EXPECT, HOST, RANGE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];

impl Server<'_> {
    /// Puts a content in place of its pointers.
    pub(super) async fn fetch_one(
        &self,
        (pointer, paths): Object<'_>,
        told: &HashMap<String, Told>,
    ) -> Result<(), Failure> {
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
            if self.is_private() && url.scheme() == "http" {
                return Err(unusable("it is addressed over plain http, although the server is not"));
            }
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
