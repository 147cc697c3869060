//! A small client for one repository of one registry, by the OCI distribution specification: read a
//! manifest, know its digest and size, put it under another tag. Every host it speaks to, the token
//! service included, passes the guard first; a layer is never fetched.

mod auth;
mod realm;

#[cfg(test)]
mod tests;

use std::time::Duration;

use reqwest::{Method, Response, StatusCode, header};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use slipway_domain::agent::Login;
use slipway_domain::failure::{Detail, Failure, FailureClass};
use slipway_domain::git_ref::is_image_tag;
use slipway_domain::image::is_digest;
use slipway_runtime::egress::{BodyError, Egress, EgressError, read_at_most};
use tokio::sync::Mutex;
use url::Url;

use auth::{Access, Challenge};
pub use auth::{Token, TokenRequest, fetch_token};

/// The specification lets registries refuse manifests beyond this.
const MAX_MANIFEST_BYTES: usize = 4 * 1024 * 1024;
/// Longest error text of a registry that is read.
const MAX_ERROR_BYTES: usize = 64 * 1024;
/// Every kind of manifest that an engine pushes.
const MANIFEST_TYPES: [&str; 4] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];
/// More images than an engine puts into an index: one for each platform, and what is attested of it.
const MAX_CHILDREN: usize = 200;

/// One repository of one registry.
pub struct Registry {
    egress: Egress,
    client: reqwest::Client,
    base: Url,
    host: String,
    path: String,
    login: Option<Login>,
    access: Mutex<Access>,
}

/// A manifest as the registry holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// `sha256:…` of the bytes; checked.
    pub digest: String,
    /// Its media type.
    pub media_type: String,
    /// The bytes themselves; another byte would be another digest.
    pub bytes: Vec<u8>,
}

#[derive(Deserialize)]
struct ManifestBody {
    #[serde(default, rename = "mediaType")]
    media_type: Option<String>,
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
    #[serde(default)]
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Descriptor {
    #[serde(default)]
    digest: String,
    #[serde(default)]
    size: i64,
    #[serde(default)]
    platform: Option<Platform>,
}

#[derive(Deserialize)]
struct Platform {
    #[serde(default)]
    os: String,
}

impl Registry {
    /// Opens `host[:port]/path`. Plain http is used only where the guard allows it and nothing speaks TLS.
    pub async fn connect(egress: &Egress, repository: &str, login: Option<&Login>) -> Result<Self, Failure> {
        let (host, path) = split(repository)?;
        let base = |scheme: &str| {
            let url = Url::parse(&format!("{scheme}://{host}/v2/"));
            url.map_err(|_| denied(format!("{host:?} is no registry's host")))
        };
        let secure = base("https")?;
        let client = egress.open(&secure).await.map_err(|error| refused(&host, &error))?;
        let (base, client) = match client.get(secure.clone()).send().await {
            Ok(_) => (secure, client),
            Err(error) => {
                let plain = base("http")?;
                match egress.open(&plain).await {
                    Ok(client) => (plain, client),
                    Err(_) => return Err(unreachable(&host, &error)),
                }
            }
        };
        let access = Mutex::new(Access::default());
        Ok(Self { egress: egress.clone(), client, base, host, path, login: login.cloned(), access })
    }

    /// The digest that a tag or digest shows; `None` if there is no such manifest.
    pub async fn digest(&self, reference: &str) -> Result<Option<String>, Failure> {
        let request = Ask { method: Method::HEAD, reference, body: None, within: None };
        let response = self.ask(request).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        if !response.status().is_success() {
            return Err(self.failure("read", reference, response).await);
        }
        match response.headers().get("docker-content-digest").and_then(|value| value.to_str().ok()) {
            Some(digest) if is_digest(digest) => Ok(Some(digest.to_owned())),
            // Not every registry says it; the bytes always do.
            _ => Ok(Some(self.manifest(reference).await?.digest)),
        }
    }

    /// The manifest that a tag or digest shows.
    pub async fn manifest(&self, reference: &str) -> Result<Manifest, Failure> {
        let request = Ask { method: Method::GET, reference, body: None, within: None };
        let response = self.ask(request).await?;
        if !response.status().is_success() {
            return Err(self.failure("read", reference, response).await);
        }
        let said = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let said = said.map(|text| text.split(';').next().unwrap_or(text).trim().to_owned());
        let bytes = match read_at_most(response, MAX_MANIFEST_BYTES).await {
            Ok(bytes) => bytes.to_vec(),
            Err(error @ BodyError::TooLong(_)) => {
                return Err(self.no_registry(format!("sent no manifest: {error}")));
            }
            Err(BodyError::Broken(error)) => return Err(unreachable(&self.host, &error)),
        };
        let digest = format!("sha256:{}", hex::encode(Sha256::digest(&bytes)));
        if is_digest(reference) && reference != digest {
            let message = format!("{} answered {reference} with other bytes, {digest}", self.host);
            return Err(Failure::new(FailureClass::RegistryUnreachable, message));
        }
        let media_type = self.media_type(said, &bytes)?;
        Ok(Manifest { digest, media_type, bytes })
    }

    /// Puts a manifest under a tag, or fails within the time.
    pub async fn put_tag(&self, tag: &str, manifest: &Manifest, within: Duration) -> Result<(), Failure> {
        if !is_image_tag(tag) {
            return Err(denied(format!("{tag:?} is no image tag")));
        }
        let body = Some((manifest.media_type.as_str(), manifest.bytes.clone()));
        let put = self.ask(Ask { method: Method::PUT, reference: tag, body, within: Some(within) });
        let response = tokio::time::timeout(within, put).await.map_err(|_| {
            let message = format!("{} did not take the tag {tag} within {} ms", self.host, within.as_millis());
            Failure::new(FailureClass::RegistryUnreachable, message)
        })??;
        if response.status().is_success() { Ok(()) } else { Err(self.failure("write", tag, response).await) }
    }

    /// Compressed size of an image, config and layers, in bytes; of all images of an index.
    pub async fn size_bytes(&self, manifest: &Manifest) -> Result<i64, Failure> {
        let body = self.parse(&manifest.bytes)?;
        let mut size = body.own_size();
        if body.manifests.len() > MAX_CHILDREN || !body.manifests.iter().all(|child| is_digest(&child.digest)) {
            return Err(self.no_registry("holds an index of images that is none".to_owned()));
        }
        for child in body.manifests {
            let manifest = self.manifest(&child.digest).await?;
            size = size.saturating_add(self.parse(&manifest.bytes)?.own_size());
        }
        Ok(size)
    }

    /// Digests and compressed sizes of an image's layers, the lowest first; of an index its first image's that can run.
    pub async fn layers(&self, manifest: &Manifest) -> Result<Vec<(String, i64)>, Failure> {
        let mut body = self.parse(&manifest.bytes)?;
        // What builders attach to images says of itself that it runs nowhere.
        let runs = |child: &&Descriptor| child.platform.as_ref().is_none_or(|platform| platform.os != "unknown");
        if let Some(child) = body.manifests.iter().find(runs) {
            body = self.parse(&self.manifest(&child.digest).await?.bytes)?;
        }
        Ok(body.layers.into_iter().map(|layer| (layer.digest, layer.size.max(0))).collect())
    }

    fn parse(&self, bytes: &[u8]) -> Result<ManifestBody, Failure> {
        serde_json::from_slice(bytes)
            .map_err(|error| self.no_registry(format!("holds a manifest that is none: {error}")))
    }

    /// The type as the answer says it, or else the manifest itself.
    fn media_type(&self, said: Option<String>, bytes: &[u8]) -> Result<String, Failure> {
        let is_known = |text: &String| MANIFEST_TYPES.contains(&text.as_str());
        if let Some(said) = said.clone().filter(is_known) {
            return Ok(said);
        }
        let body: Option<ManifestBody> = serde_json::from_slice(bytes).ok();
        body.and_then(|body| body.media_type).filter(is_known).ok_or_else(|| {
            let said =
                said.as_deref().map_or_else(|| "without a type".to_owned(), |said| format!("as {}", shown(said)));
            self.no_registry(format!("sent a manifest {said}, which is no image's"))
        })
    }

    fn no_registry(&self, what: String) -> Failure {
        Failure::new(FailureClass::RegistryInvalid, format!("the registry {} {what}", self.host))
    }

    /// One request, repeated once with what the registry asks for when it asks for a login.
    async fn ask(&self, ask: Ask<'_>) -> Result<Response, Failure> {
        let mut access = self.access.lock().await;
        let response = self.send(&ask, &access).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        let challenge = Challenge::of(&response, &self.path);
        *access = auth::answer(&self.egress, &self.base, challenge, self.login.as_ref()).await?;
        self.send(&ask, &access).await
    }

    async fn send(&self, ask: &Ask<'_>, access: &Access) -> Result<Response, Failure> {
        let url = self.base.join(&format!("{}/manifests/{}", self.path, ask.reference));
        let url = url.map_err(|_| denied(format!("{}/{} is no repository", self.host, self.path)))?;
        let mut request =
            self.client.request(ask.method.clone(), url).header(header::ACCEPT, MANIFEST_TYPES.join(", "));
        request = access.apply(request);
        if let Some((media_type, bytes)) = &ask.body {
            request = request.header(header::CONTENT_TYPE, *media_type).body(bytes.clone());
        }
        if let Some(within) = ask.within {
            request = request.timeout(within);
        }
        request.send().await.map_err(|error| unreachable(&self.host, &error))
    }

    async fn failure(&self, verb: &str, reference: &str, response: Response) -> Failure {
        let status = response.status();
        let place = format!("{}/{}", self.host, self.path);
        if status.is_redirection() {
            return redirected(format!("{place} does not {verb} {reference} itself"), &response);
        }
        let text = read_at_most(response, MAX_ERROR_BYTES).await.unwrap_or_default();
        let text = shown(&String::from_utf8_lossy(&text));
        let message = format!("{place} refused to {verb} {reference}: {status} {text}").trim_end().to_owned();
        Failure::new(class_of(status), message)
    }
}

struct Ask<'a> {
    method: Method,
    reference: &'a str,
    body: Option<(&'a str, Vec<u8>)>,
    within: Option<Duration>,
}

impl ManifestBody {
    fn own_size(&self) -> i64 {
        self.config.iter().chain(&self.layers).fold(0, |sum, part| sum.saturating_add(part.size.max(0)))
    }
}

/// A redirect is followed nowhere: a registry names where manifests lie by answering itself, and whoever is sent
/// elsewhere may be sent inside.
fn redirected(what: String, response: &Response) -> Failure {
    let to = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
    // Only the host: the rest may hold somebody's token.
    let to = to.and_then(|to| response.url().join(to).ok()).and_then(|url| url.host_str().map(shown));
    let to = to.unwrap_or_else(|| "nowhere".to_owned());
    let message = format!("{what}: it sends us on to {to} ({}), and we do not follow", response.status());
    let hint = format!(
        "If {to} is the registry, name it in the image's name, and store its login with POST /api/v1/registries."
    );
    let detail = Box::new(Detail { hint: Some(hint), ..Detail::default() });
    Failure { detail, ..Failure::new(FailureClass::RegistryForbidden, message) }
}

/// As much of a stranger's text as a sentence can bear.
fn shown(text: &str) -> String {
    text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect()
}

/// What a registry's refusal means.
fn class_of(status: StatusCode) -> FailureClass {
    match status.as_u16() {
        401 => FailureClass::RegistryAuth,
        429 => FailureClass::RateLimited,
        408 | 500..=599 => FailureClass::RegistryUnreachable,
        _ => FailureClass::RegistryDenied,
    }
}

/// Host and path of an image name; Docker Hub's short names are written out.
fn split(repository: &str) -> Result<(String, String), Failure> {
    let bad = || denied(format!("{repository:?} is no image name; write host/path"));
    let (host, path) = repository.split_once('/').ok_or_else(bad)?;
    let is_part = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
    };
    // `.` and `..` are what a URL would climb with.
    let is_path = path.split('/').all(|part| is_part(part) && part.bytes().any(|b| b.is_ascii_alphanumeric()));
    if !is_path || host.contains(['@', '?', '#', '\\']) {
        return Err(bad());
    }
    Ok(match host {
        "docker.io" | "index.docker.io" => {
            let library = if path.contains('/') { "" } else { "library/" };
            ("registry-1.docker.io".to_owned(), format!("{library}{path}"))
        }
        host => (host.to_owned(), path.to_owned()),
    })
}

fn denied(message: String) -> Failure {
    Failure::new(FailureClass::RegistryDenied, message)
}

fn refused(host: &str, error: &EgressError) -> Failure {
    let class = if error.is_refusal() { FailureClass::RegistryForbidden } else { FailureClass::RegistryUnreachable };
    Failure::new(class, format!("the registry {host} cannot be used: {error}"))
}

fn unreachable(host: &str, error: &reqwest::Error) -> Failure {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    Failure::new(FailureClass::RegistryUnreachable, format!("the registry {host} does not answer: {cause}"))
}
