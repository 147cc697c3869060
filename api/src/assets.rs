//! Styles and scripts, compiled into the binary and packed once. All of them live under one hash of everything, so
//! that modules may import each other by relative paths and every answer may be cached forever.

use std::collections::HashMap;
use std::io::Write;
use std::sync::LazyLock;

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use rust_embed::{EmbeddedFile, RustEmbed};
use sha2::{Digest, Sha256};

const FOREVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// For a page of another release that is still open somewhere: it gets what there is, and does not keep it.
const BRIEFLY: HeaderValue = HeaderValue::from_static("no-cache");
const GZIP: HeaderValue = HeaderValue::from_static("gzip");
/// The script that pages name themselves; it imports all others.
const ENTRY: &str = "js/main.js";

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

/// What each asset is packed, by the hash of what it says. A debug build reads assets from the tree: one that has
/// changed since is not in here.
static PACKED: LazyLock<HashMap<[u8; 32], Bytes>> = LazyLock::new(|| {
    let files = Styles::iter().chain(Scripts::iter()).filter_map(|name| find(&name));
    files.filter_map(|file| Some((file.metadata.sha256_hash(), pack(&file.data)?))).collect()
});

fn find(path: &str) -> Option<EmbeddedFile> {
    Styles::get(path).or_else(|| Scripts::get(path))
}

/// The URL under which this release serves `path`, such as `css/slipway.css`.
pub fn url(path: &str) -> String {
    format!("/assets/{}/{path}", *HASH)
}

/// The URLs of all modules that the entry script leads to: a page that names them need not find one after the other.
pub fn modules() -> Vec<String> {
    let mut names: Vec<_> = Scripts::iter().filter(|name| name != ENTRY).collect();
    names.sort();
    names.iter().map(|name| url(name)).collect()
}

/// `GET /assets/{hash}/{*path}`.
pub async fn get(Path((hash, path)): Path<(String, String)>, asked: HeaderMap) -> Response {
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
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CACHE_CONTROL, cache),
        (header::VARY, HeaderValue::from_name(header::ACCEPT_ENCODING)),
    ];
    match takes_gzip(&asked).then(|| packed(&file)).flatten() {
        Some(packed) => (headers, [(header::CONTENT_ENCODING, GZIP)], packed).into_response(),
        None => (headers, file.data).into_response(),
    }
}

fn packed(file: &EmbeddedFile) -> Option<Bytes> {
    PACKED.get(&file.metadata.sha256_hash()).cloned().or_else(|| pack(&file.data))
}

fn pack(data: &[u8]) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(data).ok()?;
    encoder.finish().ok().map(Bytes::from)
}

/// Whether a client takes gzip, by RFC 9110 12.5.3: what it names counts more than `*`, and a weight of 0 refuses.
fn takes_gzip(asked: &HeaderMap) -> bool {
    let values = asked.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let mut any = false;
    for coding in values.flat_map(|value| value.split(',')) {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = weight.trim().to_ascii_lowercase();
        let is_taken =
            weight.strip_prefix("q=").is_none_or(|weight| weight.parse().is_ok_and(|weight: f32| weight > 0.0));
        match name.trim() {
            name if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") => return is_taken,
            "*" => any = is_taken,
            _ => {}
        }
    }
    any
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, header};

    use super::takes_gzip;

    #[test]
    fn gzip_is_sent_to_those_who_take_it() {
        for (asked, taken) in [
            (None, false),
            (Some(""), false),
            (Some("gzip"), true),
            (Some("deflate, GZIP;q=0.5, br"), true),
            (Some("x-gzip"), true),
            (Some("gzip ; q=1"), true),
            (Some("gzip;q=0"), false),
            (Some("gzip;q=0.000, *"), false),
            (Some("*, gzip;q=0"), false),
            (Some("gzip;q=much"), false),
            (Some("*"), true),
            (Some("*;q=0"), false),
            (Some("br, zstd"), false),
            (Some("gzipped"), false),
            (Some("identity"), false),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(asked) = asked {
                headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(asked));
            }
            assert_eq!(takes_gzip(&headers), taken, "{asked:?}");
        }
    }
}
