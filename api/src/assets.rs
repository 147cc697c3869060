//! Styles and scripts, compiled into the binary. All of them live under one hash of everything, so that
//! modules may import each other by relative paths and every answer may be cached forever.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use rust_embed::{EmbeddedFile, RustEmbed};
use sha2::{Digest, Sha256};

const FOREVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// For a page of another release that is still open somewhere: it gets what there is, and does not keep it.
const BRIEFLY: HeaderValue = HeaderValue::from_static("no-cache");

#[derive(RustEmbed)]
#[folder = "web/css/"]
#[prefix = "css/"]
struct Styles;

#[derive(RustEmbed)]
#[folder = "web/js/"]
#[prefix = "js/"]
struct Scripts;

static HASH: LazyLock<String> = LazyLock::new(|| {
    let mut names: Vec<_> = Styles::iter().chain(Scripts::iter()).collect();
    names.sort();
    let mut all = Sha256::new();
    for name in names {
        if let Some(file) = find(&name) {
            all.update(name.as_bytes());
            all.update(file.metadata.sha256_hash());
        }
    }
    hex::encode(&all.finalize()[..8])
});

fn find(path: &str) -> Option<EmbeddedFile> {
    Styles::get(path).or_else(|| Scripts::get(path))
}

/// The URL under which this release serves `path`, such as `css/slipway.css`.
pub fn url(path: &str) -> String {
    format!("/assets/{}/{path}", *HASH)
}

/// `GET /assets/{hash}/{*path}`.
pub async fn get(Path((hash, path)): Path<(String, String)>) -> Response {
    let Some(file) = find(&path) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let kind = match path.rsplit_once('.').map(|(_, end)| end) {
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    };
    let cache = if hash == *HASH { FOREVER } else { BRIEFLY };
    let headers = [(header::CONTENT_TYPE, HeaderValue::from_static(kind)), (header::CACHE_CONTROL, cache)];
    (headers, file.data).into_response()
}
