//! `POST /images/{name}/push`: a real push by the distribution specification, in the engine's words.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, Request};
use axum::response::Response;
use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use http::StatusCode;
use reqwest::{Method, RequestBuilder, header};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::mpsc;
use url::Url;

use super::image::{Image, digest};
use super::server::{Server, refused, streamed};
use super::trace::{error_line, json_line};

/// How long one request to the registry may take.
const REQUEST: Duration = Duration::from_secs(60);
/// Clients write it with and without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[derive(Debug, Deserialize)]
struct Asked {
    tag: String,
}

/// What `X-Registry-Auth` holds.
#[derive(Debug, Default, Deserialize)]
struct Login {
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
}

struct Push {
    client: reqwest::Client,
    /// `http://host/v2/path/`.
    base: Url,
    login: Login,
    image: Arc<Image>,
    tag: String,
}

/// Begins a push; the answer is its progress.
pub fn answer(server: Server, repository: &str, request: &Request) -> Response {
    let Ok(Query(Asked { tag })) = Query::<Asked>::try_from_uri(request.uri()) else {
        return refused(StatusCode::BAD_REQUEST, "a push needs a tag");
    };
    let reference = format!("{repository}:{tag}");
    let Some(image) = server.images.get(&reference) else {
        let message = format!("An image does not exist locally with the tag: {repository}");
        return refused(StatusCode::NOT_FOUND, &message);
    };
    let Some(base) = base(repository) else {
        return refused(StatusCode::BAD_REQUEST, "invalid reference format");
    };
    let login = login(request.headers().get("x-registry-auth").and_then(|value| value.to_str().ok()));
    let repository = repository.to_owned();
    streamed(|said| async move {
        server.ledger.begin_push(&reference);
        let push = Push { client: server.client.clone(), base, login, image, tag };
        let first = json!({ "status": format!("The push refers to repository [{repository}]") });
        let _ = said.send(json_line(&first)).await;
        let last = match push.run(&said).await {
            Ok(last) => {
                server.ledger.pushed();
                last
            }
            Err(message) => error_line(&message),
        };
        let _ = said.send(last).await;
    })
}

/// Pushes a cache, which is an image like others here, and gives its digest.
pub async fn cache(server: &Server, reference: &str, image: Image) -> Result<String, String> {
    let (repository, tag) = reference.rsplit_once(':').ok_or("invalid reference format")?;
    let base = base(repository).ok_or("invalid reference format")?;
    let pushed = digest(image.manifest().to_string().as_bytes());
    let (client, login, image) = (server.client.clone(), Login::default(), Arc::new(image));
    let (said, _) = mpsc::channel(1);
    Push { client, base, login, image, tag: tag.to_owned() }.run(&said).await.map(|_| pushed)
}

fn base(repository: &str) -> Option<Url> {
    let (host, path) = repository.split_once('/')?;
    Url::parse(&format!("http://{host}/v2/{path}/")).ok()
}

impl Push {
    async fn run(&self, said: &mpsc::Sender<Bytes>) -> Result<Bytes, String> {
        for (blob, id) in [(&self.image.layer, "context"), (&self.image.config, "config")] {
            let _ = said.send(json_line(&json!({ "status": "Pushing", "id": id, "progressDetail": {} }))).await;
            self.blob(blob).await?;
            let _ = said.send(json_line(&json!({ "status": "Pushed", "id": id, "progressDetail": {} }))).await;
        }
        let manifest = self.image.manifest();
        let bytes = manifest.to_string().into_bytes();
        let url = self.at(&format!("manifests/{}", self.tag))?;
        let media_type = manifest["mediaType"].as_str().unwrap_or_default();
        let put = self.client.request(Method::PUT, url).header(header::CONTENT_TYPE, media_type).body(bytes.clone());
        self.send(put).await?;
        let status = format!("{}: digest: {} size: {}", self.tag, digest(&bytes), bytes.len());
        Ok(json_line(&json!({ "status": status })))
    }

    async fn blob(&self, bytes: &[u8]) -> Result<(), String> {
        let begun = self.send(self.client.request(Method::POST, self.at("blobs/uploads/")?)).await?;
        let place = begun.headers().get(header::LOCATION).and_then(|place| place.to_str().ok());
        let mut place = place.and_then(|place| self.base.join(place).ok()).ok_or("the registry names no place")?;
        place.query_pairs_mut().append_pair("digest", &digest(bytes));
        let put = self.client.request(Method::PUT, place).header(header::CONTENT_TYPE, "application/octet-stream");
        self.send(put.body(bytes.to_vec())).await.map(drop)
    }

    fn at(&self, path: &str) -> Result<Url, String> {
        self.base.join(path).map_err(|_| "invalid reference format".to_owned())
    }

    async fn send(&self, mut request: RequestBuilder) -> Result<reqwest::Response, String> {
        if !self.login.username.is_empty() {
            request = request.basic_auth(&self.login.username, Some(&self.login.password));
        }
        let answer = request.timeout(REQUEST).send().await;
        let answer = answer.map_err(|error| {
            let why = if error.is_connect() { "connect: connection refused" } else { "EOF" };
            format!("Get \"{}\": dial tcp: {why}", self.base)
        })?;
        match answer.status() {
            status if status.is_success() => Ok(answer),
            StatusCode::UNAUTHORIZED => Err("unauthorized: authentication required".to_owned()),
            StatusCode::FORBIDDEN => Err("denied: requested access to the resource is denied".to_owned()),
            status => Err(format!("received unexpected HTTP status: {status}")),
        }
    }
}

fn login(header: Option<&str>) -> Login {
    let decoded = header.and_then(|text| BASE64.decode(text).ok());
    decoded.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}
